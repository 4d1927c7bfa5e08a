# SPDX-License-Identifier: GPL-3.0-or-later
"""A speaking style: how one person moves, in a small file that any recording can then be spoken with.

Two halves. `vector` is what the network is told; `matrix` and `offset` turn the channels it answers with into this person's
(a wider jaw, less pucker, corners that stretch along), which needs no run of the network. The states of the lips are never
adapted: closures belong to the language. A `.style` is a safetensors file with a JSON header that says whom it was made
from and how well it fits; it holds a few hundred numbers and no recording.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .. import checkpoint
from ..errors import FormatError
from ..room import blocks, room
from .controls import RANGES, Controls
from .mouth import MOUTH, OUTPUTS
from .perform import Raw

FORMAT, VERSION = "loquent-style", 1
VECTOR = 64
LARGEST_GAIN = 8.0
"""No entry of a matrix is beyond; a file with more is damaged or hostile."""


def _identity() -> np.ndarray:
    return np.eye(len(MOUTH), dtype=np.float32)


@dataclass(frozen=True)
class Style:
    """vector: (64,) within -1..1. matrix (17, 17), offset (17,): channels = answer @ matrix + offset, in the order of MOUTH.

    network: what the matrix was fitted to (network_of); under another network it means little.
    controls: what this person's upper face asks of Controls, such as blink_rate; a caller's own setting goes before.
    about: provenance, text by text: source, seconds, consent, errors before and after.
    """

    name: str
    vector: np.ndarray
    network: str = ""
    matrix: np.ndarray = field(default_factory=_identity)
    offset: np.ndarray = field(default_factory=lambda: np.zeros(len(MOUTH), np.float32))
    controls: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


def styled(raw: Raw, style: Style) -> Raw:
    """What the network said under style.vector, in this person's channels. States, levels and melody stay."""
    mouth = len(MOUTH)
    assert raw.curves.shape[1] == len(OUTPUTS), raw.curves.shape
    curves = room(raw.curves.shape)
    for part in blocks(len(curves)):
        curves[part, :mouth] = raw.curves[part, :mouth] @ style.matrix + style.offset
        curves[part, mouth:] = raw.curves[part, mouth:]
    return replace(raw, curves=curves)


def with_style(controls: Controls, style: Style) -> Controls:
    """Controls as this person needs them: what is still at its default follows the style."""
    plain = Controls()
    wanted = {name: value for name, value in style.controls.items() if getattr(controls, name) == getattr(plain, name)}
    return replace(controls, **wanted)


def write_style(style: Style, path: Path | str) -> None:
    arrays = {"vector": style.vector, "matrix": style.matrix, "offset": style.offset}
    header = {
        "format": FORMAT, "version": VERSION, "name": style.name, "network": style.network, "channels": list(MOUTH),
        "controls": dict(style.controls), "about": dict(style.about),
    }  # fmt: skip
    checkpoint.write(path, {name: np.asarray(array, np.float32) for name, array in arrays.items()}, header)


def read_style(path: Path | str) -> Style:
    """Raises FormatError for another file, and for numbers that no fit writes."""
    arrays, header = checkpoint.read(path, format=FORMAT, version=VERSION)
    shapes = {"vector": (VECTOR,), "matrix": (len(MOUTH), len(MOUTH)), "offset": (len(MOUTH),)}
    if tuple(header.get("channels", ())) != MOUTH:
        raise FormatError(f"'{path}' speaks of other mouth channels than this Loquent. Fit the voice again.")
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.float32:
            found = "nothing" if array is None else f"{array.shape} {array.dtype}"
            raise FormatError(f"'{path}', {name}: expected {shape} float32, found {found}. Fit the voice again.")
        if not np.isfinite(array).all() or np.abs(array).max() > LARGEST_GAIN:
            raise FormatError(f"'{path}', {name}: numbers out of range. The file is damaged; fit the voice again.")
    controls, about = header.get("controls"), header.get("about")
    if not (isinstance(controls, dict) and isinstance(about, dict)):
        raise FormatError(f"'{path}': its header lacks what every style has. Fit the voice again.")
    for name, value in controls.items():
        low, high = RANGES.get(name, (0.0, -1.0))
        if not isinstance(value, int | float) or not low <= value <= high:
            raise FormatError(f"'{path}': a style cannot set '{name}' to {value}. Fit the voice again.")
    return Style(
        str(header.get("name", "")), arrays["vector"], str(header.get("network", "")), arrays["matrix"], arrays["offset"],
        {name: float(value) for name, value in controls.items()}, {str(k): str(v) for k, v in about.items()},
    )  # fmt: skip
