# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians in .spz files (Niantic 2024): some 64 bytes for each at degree 3, gzipped; versions 2 and 3.

A gzip stream of a 16-byte header (magic, version, count, SH degree, fractional bits, flags), then attribute after
attribute: means as 24-bit fixed point, opacities as bytes, mean colours as bytes (harmonic * 0.15 + 0.5), scales as bytes
(logarithm * 16 + 160), rotations (version 2: xyz as bytes with w >= 0; version 3: the largest component left out, ten bits
for each other), higher harmonics as bytes (value * 128 + 128). Written from the format's description in nianticlabs/spz,
since no library of it has wheels for every platform of Blender.

The format is coarse: means to half of 2 ** -bits, scales to 3 %, opacities and colours to 1/510 of their range, rotations
to .2 degrees, harmonics to 1/256 within -1..1. What was read is written again without further loss.

Coordinates are left as they are, as for .ply: by its description the format has y up and z back (RUB), but its own
converter and SuperSplat's store those of the .ply unchanged, so a file does not tell. Version 4 (Zstandard) is refused: Python before 3.14 cannot
unpack it. Of degree 4, degrees 0-3 are kept; extensions at the end are ignored.
"""

import gzip
import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..files import written_whole
from .colour import display_harmonics, linear_harmonics
from .gaussians import Gaussians
from .ply_table import MAX_ROWS

log = logging.getLogger(__name__)
MAGIC = b"NGSP"
HEADER = struct.Struct("<4sIIBBBB")
HIGHER = {0: 0, 1: 3, 2: 8, 3: 15, 4: 24}
"""Harmonics beyond the mean colour, by degree."""
COLOUR_SCALE = 0.15
MAX_BITS = 16
"""Of a mean's fraction when writing: 15 micrometres; fewer where the scene is too large for it."""
MAX_RATIO = 1032
"""No deflate stream unpacks to more than so many times its size."""


def about_spz(path: Path | str) -> tuple[int, int, int]:
    """Version, number of Gaussians and SH degree that the header states. Raises FormatError where it is none."""
    path = Path(path)
    version, count, degree, _, _ = _header(_start(path, 1 << 16), path)
    return version, count, degree


def read_spz(path: Path | str, *, linear: bool = True) -> Gaussians:
    """Gaussians of a .spz file. linear: as for read_ply. Raises FormatError for anything else and for damage."""
    path = Path(path)
    packed = _start(path, MAX_ROWS * 100)
    version, count, degree, bits, data = _unpacked(packed, path)
    higher, turn = HIGHER[degree], 4 if version == 3 else 3
    sizes = (9, 1, 3, 3, turn, 3 * higher)
    parts, start = [], 0
    for size in sizes:
        parts.append(np.frombuffer(data, np.uint8, count * size, start).reshape(count, size))
        start += count * size
    position, alpha, colour, scale, rotation, rest = parts
    octets = position.reshape(count, 3, 3).astype(np.int32)
    fixed = octets[..., 0] | octets[..., 1] << 8 | octets[..., 2] << 16
    means = (np.where(fixed & 0x800000, fixed - (1 << 24), fixed) / (1 << bits)).astype(np.float32)
    quats = _smallest_three(rotation) if version == 3 else _first_three(rotation)
    dc = (colour[:, None] / 255 - 0.5) / COLOUR_SCALE
    rest = (rest.reshape(count, higher, 3)[:, :15].astype(np.float32) - 128) / 128
    harmonics = np.concatenate([dc, rest], 1).astype(np.float32)
    return Gaussians(
        means,
        quats.astype(np.float32),
        np.exp(scale / 16 - 10.0).astype(np.float32),
        (alpha[:, 0] / 255).astype(np.float32),
        linear_harmonics(harmonics) if linear else harmonics,
    )


def write_spz(gaussians: Gaussians, path: Path | str, *, linear: bool = True) -> None:
    """Write a .spz of version 3, with all eight bits of the harmonics. linear: as for write_ply.

    What the format cannot hold is clipped: scales to 45 micrometres ... 380 m, mean colours to -.44 ... 1.44, higher
    harmonics to -1 ... 1. Raises FormatError for nothing, NaN, Inf or means beyond 8,000 km.
    """
    g = gaussians
    n, k = len(g.means), g.harmonics.shape[1] if g.harmonics.ndim == 3 else 0
    shapes = [np.shape(part) for part in (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)]
    if n == 0 or k not in (1, 4, 9, 16) or shapes != [(n, 3), (n, 4), (n, 3), (n,), (n, k, 3)]:
        raise FormatError(
            f"Cannot write '{path}': expected at least one Gaussian, with (N, 3), (N, 4), (N, 3), (N,) and "
            f"(N, 1 | 4 | 9 | 16, 3); found {shapes}."
        )
    length = np.linalg.norm(g.quats_wxyz.astype(np.float64), axis=1, keepdims=True)
    parts = (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)
    most = float(np.abs(g.means).max())
    if not all(np.isfinite(part).all() for part in parts) or not length.all() or most >= (1 << 23) - 1:
        raise FormatError(
            f"Cannot write '{path}': expected finite numbers, quaternions of some length and means within 8,000 km; found "
            f"others (largest mean {most:g}). Remove such Gaussians first."
        )
    bits = int(np.clip(np.floor(np.log2(((1 << 23) - 1) / max(most, 1e-9))), 0, MAX_BITS))
    fixed = np.rint(g.means.astype(np.float64) * (1 << bits)).astype(np.int32)
    harmonics = display_harmonics(g.harmonics) if linear else g.harmonics
    arrays = (
        np.stack([fixed & 255, fixed >> 8 & 255, fixed >> 16 & 255], -1),
        _byte(np.clip(g.opacities, 0, 1) * 255.0),
        _byte(harmonics[:, 0] * (COLOUR_SCALE * 255) + 127.5),
        _byte((np.log(np.maximum(g.scales, 1e-30)) + 10) * 16),
        _three_of(g.quats_wxyz / length),
        _byte(harmonics[:, 1:] * 128 + 128),
    )
    header = HEADER.pack(MAGIC, 3, n, {1: 0, 4: 1, 9: 2, 16: 3}[k], bits, 0, 0)
    data = header + b"".join(array.astype(np.uint8).tobytes() for array in arrays)
    with written_whole(path) as temporary:
        temporary.write_bytes(gzip.compress(data, 6, mtime=0))


def _start(path: Path, most: int) -> bytes:
    """So many bytes of the file at most."""
    if not path.is_file():
        raise FormatError(f"'{path}': expected a .spz file, found {'a folder' if path.is_dir() else 'nothing'} there.")
    try:
        with path.open("rb") as stream:
            return stream.read(min(most, path.stat().st_size))  # read() makes room for all it is asked for
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {error.strerror or error}. Copy it to a local disk.") from error


def _header(packed: bytes, path: Path) -> tuple[int, int, int, int, Any]:
    """Version, count, degree, fractional bits, and the stream that goes on with the attributes; all within limits."""
    if packed[:4] == MAGIC:
        raise FormatError(
            f"'{path}' is a .spz of version {int.from_bytes(packed[4:8], 'little')}; expected version 2 or 3. Export it "
            "again as version 3, or as a .ply."
        )
    if packed[:2] != b"\x1f\x8b":
        raise FormatError(f"'{path}': expected a .spz file (gzip), found a file that starts with {packed[:8]!r}.")
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        header = stream.decompress(packed, HEADER.size)
    except zlib.error as error:
        raise _damaged(path, error) from error
    if len(header) < HEADER.size or header[:4] != MAGIC:
        raise FormatError(f"'{path}': expected a .spz file, found gzipped data that start with {header[:8]!r}.")
    _, version, count, degree, bits, _, _ = HEADER.unpack(header)
    if version not in (2, 3) or degree not in HIGHER or bits > 24 or not 0 < count <= MAX_ROWS:
        raise FormatError(
            f"'{path}': expected a .spz of version 2 or 3, SH degree 0 to 4, at most 24 fractional bits and 1 to "
            f"{MAX_ROWS:,} Gaussians; found version {version}, degree {degree}, {bits} bits, {count:,} Gaussians. "
            "Export it again as version 3, or as a .ply."
        )
    return version, count, degree, bits, stream


def _unpacked(packed: bytes, path: Path) -> tuple[int, int, int, int, bytes]:
    """Version, count, degree, fractional bits and all attributes; never more memory than the header accounts for."""
    version, count, degree, bits, stream = _header(packed, path)
    needed = count * (16 + (4 if version == 3 else 3) + 3 * HIGHER[degree])
    try:
        data = stream.decompress(stream.unconsumed_tail, needed) if needed <= MAX_RATIO * len(packed) else b""
    except zlib.error as error:
        raise _damaged(path, error) from error
    if len(data) < needed:
        raise FormatError(
            f"'{path}': its header promises {count:,} Gaussians, which take {needed:,} bytes unpacked; the file of "
            f"{len(packed):,} bytes does not hold them. It is cut short or its header is wrong; export it again."
        )
    if degree == 4:
        log.warning("'%s' has harmonics of degree 4; degrees 0 to 3 are kept.", path)
    return version, count, degree, bits, data


def _damaged(path: Path, error: zlib.error) -> FormatError:
    return FormatError(f"'{path}' is damaged ({error}); copy or export it again.")


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255)


def _first_three(rotation: np.ndarray) -> np.ndarray:
    """(N, 4) wxyz of bytes xyz."""
    xyz = rotation / 127.5 - 1
    w = np.sqrt(np.maximum(0, 1 - (xyz**2).sum(1, keepdims=True)))
    return np.concatenate([w, xyz], 1)


def _smallest_three(rotation: np.ndarray) -> np.ndarray:
    """(N, 4) wxyz of 32 bits: which of xyzw is largest, then sign and nine bits of the others, the last one lowest."""
    word = np.ascontiguousarray(rotation).view("<u4")[:, 0].astype(np.int64)
    rows, largest = np.arange(len(word)), word >> 30
    xyzw = np.zeros((len(word), 4))
    for component in (3, 2, 1, 0):
        here = component != largest
        value = np.sqrt(0.5) * (word & 511) / 511 * np.where(word >> 9 & 1, -1, 1)
        xyzw[here, component] = value[here]
        word = np.where(here, word >> 10, word)
    xyzw[rows, largest] = np.sqrt(np.maximum(0, 1 - (xyzw**2).sum(1)))
    return xyzw[:, [3, 0, 1, 2]]


def _three_of(quats_wxyz: np.ndarray) -> np.ndarray:
    """(N, 4) bytes: what _smallest_three reads."""
    xyzw = quats_wxyz[:, [1, 2, 3, 0]]
    rows, largest = np.arange(len(xyzw)), np.abs(xyzw).argmax(1)
    xyzw = xyzw * np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    word = largest.astype(np.int64)
    for component in range(4):
        value = xyzw[:, component]
        size = np.minimum(np.floor(np.abs(value) / np.sqrt(0.5) * 511 + 0.5), 511).astype(np.int64)
        word = np.where(component != largest, word << 10 | (value < 0).astype(np.int64) << 9 | size, word)
    return word.astype("<u4").view(np.uint8).reshape(-1, 4)
