# SPDX-License-Identifier: GPL-3.0-or-later
"""Free Gaussians from any splat file that can be read, told apart by what is in it, not by its name alone."""

from pathlib import Path

from ..errors import FormatError
from .gaussians import Gaussians
from .packed_ply import about_packed_ply, is_packed, read_packed_ply
from .ply import PlyAbout, about_ply, read_ply, write_ply
from .spz import about_spz, read_spz, write_spz

SUFFIXES = (".ply", ".spz")


def about_splats(path: Path | str) -> PlyAbout:
    """What a splat file holds, by its header. Raises FormatError where it is none."""
    path = Path(path)
    if _suffix(path) == ".spz":
        version, count, degree = about_spz(path)
        return PlyAbout(count, degree, f"SPZ {version}", False)
    if is_packed(path):
        return PlyAbout(*about_packed_ply(path), "packed by SuperSplat", False)
    return about_ply(path)


def read_splats(path: Path | str, *, linear: bool = True) -> Gaussians:
    """Gaussians of a .ply, plain or packed by SuperSplat, or a .spz. linear: as for read_ply. Raises FormatError."""
    path = Path(path)
    if _suffix(path) == ".spz":
        return read_spz(path, linear=linear)
    return read_packed_ply(path, linear=linear) if is_packed(path) else read_ply(path, linear=linear)


def write_splats(gaussians: Gaussians, path: Path | str, *, linear: bool = True) -> None:
    """Write a plain .ply, which keeps every bit, or a .spz, some eight times smaller and coarse: by the suffix."""
    path = Path(path)
    (write_spz if _suffix(path) == ".spz" else write_ply)(gaussians, path, linear=linear)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(
            f"'{path}': expected a splat file, {' or '.join(SUFFIXES)}; found '{suffix or 'no suffix'}'. Convert it first, "
            "for example with SuperSplat."
        )
    return suffix
