# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians in the packed .ply of PlayCanvas and SuperSplat: 16 bytes for each, and one for each higher harmonic.

An element `chunk` gives the range of means, logarithms of scales and colours of 256 Gaussians each; `vertex` has four
32-bit words for each: mean (11, 10, 11 bits), rotation (which of wxyz is largest, ten bits for each other), scale
(11, 10, 11), colour and opacity (8 each); `sh`, where it is there, has harmonics as bytes over -4..4. Written from the
format's description in PlayCanvas's manual. Read only: to write something small, use spz.py.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FormatError
from .colour import linear_harmonics
from .gaussians import SH_C0, Gaussians
from .ply_table import MAX_ROWS, Element, read_elements

CHUNK = 256
WORDS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
RANGES = tuple(f"{end}_{name}" for end in ("min", "max") for name in ("x", "y", "z", "scale_x", "scale_y", "scale_z"))
COLOURS = tuple(f"{end}_{name}" for end in ("min", "max") for name in ("r", "g", "b"))
MAX_LOG_SCALE = 80.0


def is_packed(path: Path | str) -> bool:
    """Whether a file starts like a packed .ply; False for whatever cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return b"packed_position" in stream.read(4096)
    except OSError:
        return False


def about_packed_ply(path: Path | str) -> tuple[int, int]:
    """Number of Gaussians and SH degree. Raises FormatError as read_packed_ply does for what is not whole."""
    try:
        with Path(path).open("rb") as stream:
            _, words, bytes_ = _tables(stream, Path(path))
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {error.strerror or error}. Copy it to a local disk.") from error
    return len(words), 0 if bytes_ is None else {9: 1, 24: 2, 45: 3}[bytes_.shape[1]]


def read_packed_ply(path: Path | str, *, linear: bool = True) -> Gaussians:
    """Gaussians of a packed .ply. linear: as for read_ply. Raises FormatError for anything else and for damage."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            chunks, words, bytes_ = _tables(stream, path)
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {error.strerror or error}. Copy it to a local disk.") from error
    of = np.arange(len(words)) // CHUNK
    means = _between(_eleven_ten_eleven(words["packed_position"]), chunks, of, ("x", "y", "z"))
    logs = _between(_eleven_ten_eleven(words["packed_scale"]), chunks, of, ("scale_x", "scale_y", "scale_z"))
    if not (np.isfinite(means).all() and np.isfinite(logs).all() and logs.max() < MAX_LOG_SCALE):
        raise FormatError(
            f"'{path}': expected finite ranges and logarithms of scales in its chunks, found others. It is damaged."
        )
    octets = words["packed_color"][:, None] >> np.array([24, 16, 8, 0], np.uint32) & 255
    colour = octets[:, :3] / 255
    if COLOURS[0] in (chunks.dtype.names or ()):
        colour = _between(colour, chunks, of, ("r", "g", "b"))
    harmonics = ((colour - 0.5) / SH_C0)[:, None]
    if bytes_ is not None:
        table = np.where(bytes_ == 0, 0, np.where(bytes_ == 255, 1, (bytes_ + 0.5) / 256)) * 8 - 4
        higher = table.reshape(len(table), 3, -1).transpose(0, 2, 1)
        harmonics = np.concatenate([harmonics, higher], 1)
    if not np.isfinite(harmonics).all():
        raise FormatError(f"'{path}': expected finite colours in its chunks, found others. It is damaged.")
    harmonics = harmonics.astype(np.float32)
    return Gaussians(
        means.astype(np.float32),
        _rotations(words["packed_rotation"]).astype(np.float32),
        np.exp(logs).astype(np.float32),
        (octets[:, 3] / 255).astype(np.float32),
        linear_harmonics(harmonics) if linear else harmonics,
    )


def _tables(stream: BinaryIO, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows of `chunk` and `vertex` as structures, and of `sh` as (N, 9 | 24 | 45) bytes; counts checked first."""
    encoding, start, elements = read_elements(stream, str(path))
    by_name = {element.name: element for element in elements}
    chunk, vertex, sh = (by_name.get(name) for name in ("chunk", "vertex", "sh"))
    if chunk is None or vertex is None or encoding != "binary_little_endian" or len(by_name) != len(elements):
        raise _unfit(path, f"elements {', '.join(by_name) or 'none'} in {encoding}")
    wanted = [(chunk, "f4", RANGES), (vertex, "u4", WORDS)]
    if sh is not None:
        wanted.append((sh, "u1", tuple(f"f_rest_{i}" for i in range(len(sh.columns)))))
    for element, kind, names in wanted:
        if not set(names) <= set(element.columns) or set(element.types) != {kind}:
            raise _unfit(path, f"'{element.name}' with {', '.join(element.columns[:6])}")
    if not 0 < vertex.rows <= MAX_ROWS or chunk.rows != -(-vertex.rows // CHUNK):
        raise _unfit(path, f"{vertex.rows:,} Gaussians in {chunk.rows:,} chunks")
    if sh is not None and (sh.rows != vertex.rows or len(sh.columns) not in (9, 24, 45)):
        raise _unfit(path, f"{sh.rows:,} x {len(sh.columns)} harmonics for {vertex.rows:,} Gaussians")
    if any(c in chunk.columns for c in COLOURS) and not set(COLOURS) <= set(chunk.columns):
        raise _unfit(path, "ranges of some colours only")
    needed = start + sum(element.rows * _row(element).itemsize for element in elements)
    size = stream.seek(0, 2)
    if size < needed:
        raise FormatError(
            f"'{path}': its header promises {vertex.rows:,} Gaussians, which take {needed:,} bytes; found {size:,}. "
            "The file is cut short or its header is wrong; copy or export it again."
        )
    stream.seek(start)
    tables = {}
    for element in elements:
        row = _row(element)
        tables[element.name] = np.frombuffer(stream.read(element.rows * row.itemsize), row)
    bytes_ = None
    if sh is not None:
        order = [sh.columns.index(name) for name in wanted[2][2]]
        bytes_ = tables["sh"].view(np.uint8).reshape(sh.rows, -1)[:, order]
    return tables["chunk"], tables["vertex"], bytes_


def _row(element: Element) -> np.dtype:
    return np.dtype([(c, "<" + kind) for c, kind in zip(element.columns, element.types, strict=True)])


def _unfit(path: Path, found: str) -> FormatError:
    return FormatError(
        f"'{path}': expected a packed .ply of SuperSplat with elements chunk, vertex and perhaps sh, one chunk for each "
        f"{CHUNK} of 1 to {MAX_ROWS:,} Gaussians; found {found}. Export it again, as an uncompressed .ply or as .spz."
    )


def _eleven_ten_eleven(words: np.ndarray) -> np.ndarray:
    """(N, 3) in 0..1."""
    return np.stack([(words >> 21) / 2047, (words >> 11 & 1023) / 1023, (words & 2047) / 2047], -1)


def _between(shares: np.ndarray, chunks: np.ndarray, of: np.ndarray, names: tuple[str, str, str]) -> np.ndarray:
    """(N, 3): from the minimum to the maximum of each one's chunk."""
    low, high = (np.stack([chunks[f"{end}_{name}"][of] for name in names], -1).astype(float) for end in ("min", "max"))
    with np.errstate(all="ignore"):  # a damaged chunk is told by what comes out
        return low + (high - low) * shares


def _rotations(words: np.ndarray) -> np.ndarray:
    """(N, 4) wxyz: the largest component is left out, the others lie within +-1/sqrt(2)."""
    others = ((words[:, None] >> np.array([20, 10, 0], np.uint32) & 1023) / 1023 - 0.5) * np.sqrt(2)
    left_out = np.sqrt(np.maximum(0, 1 - (others**2).sum(1)))
    largest = (words >> 30).astype(int)
    place = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    out = np.empty((len(words), 4))
    np.put_along_axis(out, place, others, 1)
    np.put_along_axis(out, largest[:, None], left_out[:, None], 1)
    return out
