# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion files of any kind, by suffix: .csv Live Link Face, .json ARKit, .npz FLAME."""

from pathlib import Path

from ..errors import FormatError
from .arkit_json import read_arkit_json, write_arkit_json
from .flame_npz import read_flame, write_flame
from .livelink import read_livelink, write_livelink
from .motion import Motion

READERS = {".csv": read_livelink, ".json": read_arkit_json, ".npz": read_flame}
WRITERS = {".csv": write_livelink, ".json": write_arkit_json, ".npz": write_flame}
KINDS = {".csv": "Live Link Face take", ".json": "ARKit performance", ".npz": "FLAME parameters"}


def read_motion(path: Path | str, fps: float | None = None) -> Motion:
    """The motion in a file; `fps` overrides what the file says of its rate. Raises FormatError."""
    return READERS[check_suffix(path)](path, fps)


def write_motion(motion: Motion, path: Path | str) -> None:
    """Write a motion in the format that the suffix names. Raises FormatError."""
    WRITERS[check_suffix(path)](motion, path)


def check_suffix(path: Path | str) -> str:
    """The suffix in lower case. Raises FormatError where no format has it."""
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        expected = ", ".join(f"{s} ({kind})" for s, kind in KINDS.items())
        raise FormatError(f"'{path}': motion files are {expected}; found '{suffix or 'no suffix'}'.")
    return suffix
