# SPDX-License-Identifier: GPL-3.0-or-later
"""The PLY container: a text header that names columns of numbers, then rows of the `vertex` element.

Read here are all three encodings and every scalar type; lists are refused, since no splat file has them among its
vertices. A header may say anything, so nothing is believed before it is checked against the bytes that are there, and
rows are read block by block: memory is the columns asked for plus one block, whatever the file claims.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ..errors import FormatError

MAX_HEADER = 1 << 16
"""Bytes; the longest header of a real splat file has about 2,000."""
MAX_ROWS = 8_000_000
"""Two gigabytes of degree 3: more than the largest scenes of the literature have."""
BLOCK = 1 << 15
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8",
}  # fmt: skip
ENCODINGS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Header:
    """What the header says of the `vertex` element.

    name: of the file, for messages. encoding: as in ENCODINGS. rows: number of vertices. columns: their property names
    in order. types: numpy type of each, without byte order. start: bytes before the first row. skip_lines: lines (ascii)
    of elements that come before.
    """

    name: str
    encoding: str
    rows: int
    columns: tuple[str, ...]
    types: tuple[str, ...]
    start: int
    skip_lines: int


@dataclass(frozen=True)
class Element:
    """One table of a PLY file: name, number of rows, property names and numpy types without byte order."""

    name: str
    rows: int
    columns: tuple[str, ...]
    types: tuple[str, ...]


def read_elements(stream: BinaryIO, name: str) -> tuple[str, int, list[Element]]:
    """Encoding, length of the header in bytes and every element of a PLY file read from its start.

    Raises FormatError for anything else, and for lists. The counts are what the header says, unchecked.
    """
    encoding, end, words = _header_words(stream, name)
    return encoding, end, _elements(words, name, whole=True)


def read_header(stream: BinaryIO, name: str) -> Header:
    """The header of a PLY file read from its start. Raises FormatError for anything else."""
    encoding, start, words = _header_words(stream, name)
    skip_lines = 0
    for element in _elements(words, name, whole=False):
        rows, columns, types = element.rows, element.columns, element.types
        if element.name == "vertex":
            if not 0 < rows <= MAX_ROWS:
                raise FormatError(f"'{name}' holds {rows:,} Gaussians; expected 1 to {MAX_ROWS:,}.")
            return Header(name, encoding, rows, columns, types, start, skip_lines)
        start += rows * np.dtype(",".join(types)).itemsize if encoding != "ascii" and types else 0
        skip_lines += rows
    raise _header(name, "an element 'vertex'", "none")


def _header_words(stream: BinaryIO, name: str) -> tuple[str, int, list[list[str]]]:
    """Encoding, bytes up to the first row, and the words of each line between."""
    block = stream.read(MAX_HEADER)
    if not re.match(rb"ply\r?\n", block):
        raise FormatError(f"'{name}': expected a .ply file, found a file that starts with {block[:8]!r}.")
    end = re.search(rb"\nend_header[ \t]*\r?\n", block)
    if end is None:
        raise FormatError(
            f"'{name}': expected the .ply header to end within {MAX_HEADER:,} bytes, found no 'end_header'. "
            "The file is damaged or cut short; export it again."
        )
    lines = block[: end.start()].decode("utf-8", "replace").splitlines()[1:]
    words = [line.split() for line in lines if line.strip()]
    formats = [line for line in words if line[0] == "format"]
    if len(formats) != 1 or len(formats[0]) != 3 or formats[0][1] not in ENCODINGS or formats[0][2] != "1.0":
        found = " ".join(formats[0]) if formats else "no such line"
        raise _header(name, f"one line 'format {' | '.join(ENCODINGS)} 1.0'", found)
    return formats[0][1], end.end(), words


def read_columns(
    stream: BinaryIO, header: Header, size: int, wanted: Sequence[str], *, infinite: Sequence[str] = ()
) -> np.ndarray:
    """(rows, len(wanted)) float32 of a stream of `size` bytes whose header was read.

    All are checked to be finite, but for the columns named by `infinite`, which may hold Inf, not NaN.
    """
    which = [header.columns.index(column) for column in wanted]
    out = (_read_ascii if header.encoding == "ascii" else _read_binary)(stream, header, size, which)
    may_be_infinite = np.isin(wanted, infinite)
    for begin in range(0, len(out), BLOCK):
        block = out[begin : begin + BLOCK]
        wrong = np.argwhere(np.where(may_be_infinite, np.isnan(block), ~np.isfinite(block)))
        if len(wrong):
            row, column = wrong[0]
            raise FormatError(
                f"'{header.name}': expected finite numbers, found {wanted[column]} = {out[begin + row, column]} at "
                f"Gaussian {begin + row:,}. Its training diverged or the file is damaged; remove such Gaussians first."
            )
    return out


def _elements(words: list[list[str]], name: str, *, whole: bool) -> list[Element]:
    """Every element, or those up to `vertex`."""
    elements: list[tuple[str, int, list[str], list[str]]] = []
    for line in words:
        if line[0] in ("comment", "obj_info", "format"):
            continue
        if line[0] == "element" and len(line) == 3 and re.fullmatch("[0-9]{1,18}", line[2]):
            if elements and elements[-1][0] == "vertex" and not whole:
                break
            elements.append((line[1], int(line[2]), [], []))
        elif line[0] == "property" and elements and line[1:2] == ["list"]:
            raise _header(name, "plain numbers in element 'vertex' and all before it", " ".join(line)[:80])
        elif line[0] == "property" and elements and len(line) == 3 and line[1] in TYPES:
            if line[2] in elements[-1][2]:
                raise _header(name, "every property once", f"'{line[2][:40]}' twice")
            elements[-1][2].append(line[2])
            elements[-1][3].append(TYPES[line[1]])
        else:
            raise _header(name, "'element NAME COUNT' or 'property TYPE NAME'", " ".join(line)[:80])
    return [Element(element, rows, tuple(columns), tuple(types)) for element, rows, columns, types in elements]


def _header(name: str, expected: str, found: str) -> FormatError:
    return FormatError(
        f"'{name}': the .ply header should have {expected}; found: {found}. Export the file again as a 3D Gaussian "
        "Splatting .ply."
    )


def _read_binary(stream: BinaryIO, header: Header, size: int, which: list[int]) -> np.ndarray:
    order = ENCODINGS[header.encoding]
    row = np.dtype([(f"c{i}", order + kind) for i, kind in enumerate(header.types)])
    needed = header.start + header.rows * row.itemsize
    out = _room(header, size, needed, len(which))
    stream.seek(header.start)
    with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become Inf, which is then reported
        for begin in range(0, header.rows, BLOCK):
            part = out[begin : begin + BLOCK]
            data = stream.read(len(part) * row.itemsize)
            if len(data) < len(part) * row.itemsize:
                raise _cut(header, size, needed)
            rows = np.frombuffer(data, row)
            for target, source in enumerate(which):
                part[:, target] = rows[f"c{source}"]
    return out


def _read_ascii(stream: BinaryIO, header: Header, size: int, which: list[int]) -> np.ndarray:
    width = len(header.columns)
    needed = header.start + 2 * header.skip_lines + 2 * width * header.rows - 1  # a digit and a space for each number
    out = _room(header, size, needed, len(which))
    stream.seek(header.start)
    for _ in range(header.skip_lines):
        stream.readline(MAX_HEADER)
    with np.errstate(over="ignore"):
        for k in range(header.rows):
            words = stream.readline(MAX_HEADER).split()
            try:
                values = [float(word) for word in words]
            except ValueError:
                values = []
            if len(values) != width:
                found = b" ".join(words)[:60].decode("ascii", "replace") or "the end of the file"
                raise FormatError(
                    f"'{header.name}': expected {width} numbers for Gaussian {k:,}, found: {found}. "
                    "The file is damaged or cut short; export it again."
                )
            out[k] = [values[i] for i in which]
    return out


def _room(header: Header, size: int, needed: int, width: int) -> np.ndarray:
    """The array to fill, made only once the file is known to be long enough for what its header promises."""
    if size < needed:
        raise _cut(header, size, needed)
    return np.empty((header.rows, width), np.float32)


def _cut(header: Header, size: int, needed: int) -> FormatError:
    return FormatError(
        f"'{header.name}': its header promises {header.rows:,} Gaussians, which take at least {needed:,} bytes; found "
        f"{size:,}. The file is cut short or its header is wrong; copy or export it again."
    )


def write_table(stream: BinaryIO, columns: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
    """Write float32 columns as a little-endian PLY; `arrays` are (rows, n) with the columns side by side."""
    rows = len(arrays[0])
    names = "".join(f"property float {column}\n" for column in columns)
    stream.write(f"ply\nformat binary_little_endian 1.0\nelement vertex {rows}\n{names}end_header\n".encode("ascii"))
    for begin in range(0, rows, BLOCK):
        block = np.concatenate([array[begin : begin + BLOCK] for array in arrays], 1).astype("<f4")
        assert block.shape[1] == len(columns), (block.shape, len(columns))
        stream.write(block.tobytes())
