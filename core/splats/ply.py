# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians in the .ply files of 3D Gaussian Splatting (Kerbl et al. 2023) and of GaussianAvatars (Qian et al. 2024).

Such files hold opacity as a logit, scales as logarithms, rotations wxyz, and harmonics channel after channel:
f_rest_0..k-1 are red, then green, then blue. Means, rotations and harmonics survive reading and writing bit by bit;
scales and opacities to the rounding of one logarithm or logit.

Colours in a .ply are display colours, while all of core is scene-linear: core/splats/colour.py says what that costs. By
default they are converted, so that Gaussians from a file are like any others; to see a file exactly as its trainer did,
read it with linear=False, draw it without a background and pass the layers through colour.linear_layers.

Coordinates are left as they are: a .ply states neither its unit nor which way is up. Compressed formats: spz.py,
packed_ply.py (SuperSplat's .ply); SOG (WebP pictures in a zip) is not read, since Blender's Python has no WebP decoder.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FormatError
from ..files import written_whole
from .binding import Binding
from .colour import display_harmonics, linear_harmonics
from .gaussians import Gaussians
from .ply_table import Header, read_columns, read_header, write_table

MEAN = ("x", "y", "z")
DC = ("f_dc_0", "f_dc_1", "f_dc_2")
SCALE = ("scale_0", "scale_1", "scale_2")
QUAT = ("rot_0", "rot_1", "rot_2", "rot_3")
REST = {0: 0, 9: 1, 24: 2, 45: 3}
"""SH degree by the number of f_rest properties."""
MAX_LOGIT = 120.0
"""Written for opacities 0 and 1: their float32 sigmoid is 0 and 1 again, in any reader."""


@dataclass(frozen=True)
class PlyAbout:
    """What the header of a splat .ply says: number of Gaussians, SH degree 0-3, encoding, bound to triangles or free."""

    count: int
    degree: int
    encoding: str
    bound: bool


@dataclass(frozen=True)
class BoundSplats:
    """Gaussians on the triangles of a mesh that is not in the file: binding (N), opacities (N,), harmonics (N, K, 3)."""

    binding: Binding
    opacities: np.ndarray
    harmonics: np.ndarray


def about_ply(path: Path | str) -> PlyAbout:
    """The header of a splat .ply, without its data. Raises FormatError where it is none."""
    with _opened(path) as stream:
        header = read_header(stream, str(path))
    return PlyAbout(header.rows, REST[len(splat_columns(header)) - 14], header.encoding, "binding_0" in header.columns)


def read_ply(path: Path | str, *, linear: bool = True) -> Gaussians:
    """Gaussians of a .ply of any SH degree and encoding; properties may stand in any order and others are ignored.

    linear: True converts the file's display colours to scene-linear (see above); False gives harmonics as stored.
    Raises FormatError for anything that is not one whole, finite set of free Gaussians.
    """
    header, values = _read(path, bound=False)
    means, quats, scales, opacities, harmonics = _activated(header, values)
    return Gaussians(means, quats, scales, opacities, linear_harmonics(harmonics) if linear else harmonics)


def read_bound_ply(path: Path | str, *, linear: bool = True) -> BoundSplats:
    """Gaussians of a .ply that GaussianAvatars wrote: means, rotations and scales local to the triangle `binding_0`.

    The triangle frames are those of geometry.triangles; world rotation is frame times local, as in its code since the
    order was corrected there. Which mesh it is (FLAME 2020 or 2023 with teeth) the file does not say.
    """
    header, values = _read(path, bound=True)
    triangles = values[:, -1]
    wrong = (triangles < 0) | (triangles != np.round(triangles)) | (triangles >= 1 << 24)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FormatError(
            f"'{path}': expected triangle numbers in binding_0, found {triangles[row]} at Gaussian {row:,}. "
            "The file is damaged; export it again."
        )
    means, quats, scales, opacities, harmonics = _activated(header, values)
    binding = Binding(triangles.astype(np.int32), means, quats, scales)
    return BoundSplats(binding, opacities, linear_harmonics(harmonics) if linear else harmonics)


def write_ply(gaussians: Gaussians, path: Path | str, *, linear: bool = True) -> None:
    """Write a binary little-endian .ply in the order of the Inria writer, normals zero, that any splat viewer reads.

    linear: True for scene-linear Gaussians, written as display colours; False writes harmonics as they are. Opacities
    beyond 0..1 are clipped; scales of zero become 1e-38 m. Raises FormatError for nothing, NaN or Inf.
    """
    g = gaussians
    _write(path, (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics), linear, None)


def write_bound_ply(splats: BoundSplats, path: Path | str, *, linear: bool = True) -> None:
    """Write what `read_bound_ply` reads, as GaussianAvatars stores it."""
    b = splats.binding
    _write(path, (b.offsets, b.quats_wxyz, b.scales, splats.opacities, splats.harmonics), linear, b.triangles)


def splat_columns(header: Header) -> tuple[str, ...]:
    """Properties in the order that _activated takes them: 14 and then f_rest. Raises FormatError where some are missing."""
    names = set(header.columns)
    if "packed_position" in names:
        raise FormatError(
            f"'{header.name}' is a packed .ply of SuperSplat; expected plain 3D Gaussian Splatting. "
            "Read it as a packed file, or export it again as an uncompressed .ply."
        )
    missing = [name for name in (*MEAN, *QUAT, *SCALE, "opacity", *DC) if name not in names]
    if missing:
        found = ", ".join(header.columns[:12]) + (" ..." if len(header.columns) > 12 else "") or "none"
        raise FormatError(
            f"'{header.name}': expected the properties of 3D Gaussian Splatting, {', '.join(missing)} missing; found "
            f"{found}. A point cloud or mesh cannot be drawn as Gaussians."
        )
    count = sum(name.startswith("f_rest_") for name in names)
    rest = tuple(f"f_rest_{i}" for i in range(count))
    if count not in REST or not names.issuperset(rest):
        raise FormatError(
            f"'{header.name}': expected f_rest_0 to f_rest_8, 23 or 44 or none (SH degree 1, 2, 3 or 0); found {count} "
            "properties of that name. Export the file again with whole degrees."
        )
    return (*MEAN, *QUAT, *SCALE, "opacity", *DC, *rest)


@contextmanager
def _opened(path: Path | str) -> Iterator[BinaryIO]:
    """The file open for reading; whatever the system has against it is a FormatError."""
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise FormatError(f"'{path}': expected a .ply file, found {found} there. Check the path.")
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {error.strerror or error}. Copy it to a local disk.") from error
    except MemoryError as error:
        raise FormatError(f"'{path}' does not fit into memory. Reduce its Gaussians first.") from error


def _read(path: Path | str, *, bound: bool) -> tuple[Header, np.ndarray]:
    with _opened(path) as stream:
        header = read_header(stream, str(path))
        columns = splat_columns(header)
        if bound and "binding_0" not in header.columns:
            raise FormatError(
                f"'{path}': expected a .ply of GaussianAvatars with property binding_0, found one without. "
                "Its Gaussians are free: read it as an ordinary splat file."
            )
        if not bound and "binding_0" in header.columns:
            raise FormatError(
                f"'{path}': expected Gaussians in space, found Gaussians bound to triangles (property binding_0). "
                "They need their mesh: import it with its FLAME head (loquent head import, From Splats in Blender)."
            )
        size = stream.seek(0, os.SEEK_END)
        columns += ("binding_0",) if bound else ()
        # converters from formats with a byte for it write opacities of 0 and 1 as infinite logits
        return header, read_columns(stream, header, size, columns, infinite=("opacity",))


def _activated(header: Header, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, quats_wxyz, scales, opacities and harmonics of the columns named by splat_columns."""
    rest = len(splat_columns(header)) - 14
    with np.errstate(over="ignore"):
        scales = np.exp(values[:, 7:10].astype(np.float64)).astype(np.float32)
        opacities = (1 / (1 + np.exp(-values[:, 10].astype(np.float64)))).astype(np.float32)
    wrong = ~np.isfinite(scales).all(1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FormatError(
            f"'{header.name}': expected logarithms in scale_0 to scale_2, found {values[row, 7:10].max():g} at Gaussian "
            f"{row:,}, larger than any scene. The file is damaged or holds something else."
        )
    higher = values[:, 14 : 14 + rest].reshape(len(values), 3, rest // 3).transpose(0, 2, 1)
    harmonics = np.concatenate([values[:, None, 11:14], higher], 1)
    return values[:, :3].copy(), values[:, 3:7].copy(), scales, opacities, harmonics


def _write(path: Path | str, parts: tuple[np.ndarray, ...], linear: bool, triangles: np.ndarray | None) -> None:
    means, quats, scales, opacities, harmonics = (np.asarray(part, np.float32) for part in parts)
    n, k = len(means), harmonics.shape[1] if harmonics.ndim == 3 else 0
    shapes = [part.shape for part in (means, quats, scales, opacities, harmonics)]
    if n == 0 or k not in (1, 4, 9, 16) or shapes != [(n, 3), (n, 4), (n, 3), (n,), (n, k, 3)]:
        raise FormatError(
            f"Cannot write '{path}': expected at least one Gaussian, with (N, 3), (N, 4), (N, 3), (N,) and "
            f"(N, 1 | 4 | 9 | 16, 3); found {shapes}."
        )
    bad = [name for name, part in zip(("means", "quats_wxyz", "scales", "opacities", "harmonics"),
                                      (means, quats, scales, opacities, harmonics), strict=True)
           if not np.isfinite(part).all()]  # fmt: skip
    if bad:
        raise FormatError(
            f"Cannot write '{path}': expected finite numbers, found NaN or Inf in {', '.join(bad)}. "
            "Remove such Gaussians first."
        )
    if linear:
        harmonics = display_harmonics(harmonics)
    opacity = np.clip(opacities.astype(np.float64), 0, 1)
    with np.errstate(divide="ignore"):
        logits = np.clip(np.log(opacity) - np.log1p(-opacity), -MAX_LOGIT, MAX_LOGIT)
    logs = np.log(np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float64))
    rest = harmonics[:, 1:].transpose(0, 2, 1).reshape(n, -1)
    columns = (*MEAN, "nx", "ny", "nz", *DC, *(f"f_rest_{i}" for i in range(rest.shape[1])), "opacity", *SCALE, *QUAT)
    arrays = [means, np.zeros((n, 3)), harmonics[:, 0], rest, logits[:, None], logs, quats]
    if triangles is not None:
        columns, arrays = (*columns, "binding_0"), [*arrays, np.asarray(triangles)[:, None]]
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        write_table(stream, columns, [array.astype(np.float32) for array in arrays])
