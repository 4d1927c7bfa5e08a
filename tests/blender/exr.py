# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of OpenEXR to read back what Blender wrote: uncompressed scan lines, one part (4.5) or many (5.x)."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {0: "<u4", 1: "<f2", 2: "<f4"}


def read_exr(path: Path | str) -> dict[str, np.ndarray]:
    """Channel name -> (H, W), row 0 on top. Names of several parts are told apart by the part's name.

    Stereo views are named as in files of one part, whichever the file has: layer.pass.view.channel.
    """
    data, headers, at, multipart = _headers(path)
    pictures: dict[str, np.ndarray] = {}
    for header in headers:
        at += 8 * (header["window"][3] - header["window"][1] + 1)  # the table of offsets; lines follow in order
    while at < len(data):
        part = 0
        if multipart:
            part, at = struct.unpack_from("<i", data, at)[0], at + 4
        y, size = struct.unpack_from("<ii", data, at)
        at += 8
        _line(headers[part], data, at, y, pictures)
        at += size
    return pictures


def read_texts(path: Path | str) -> dict[str, str]:
    """What all parts hold as text besides pictures: Cryptomatte's manifests and what Blender stamps."""
    return {name: text for header in _headers(path)[1] for name, text in header["texts"].items()}


def _headers(path: Path | str) -> tuple[bytes, list[dict[str, Any]], int, bool]:
    """The file, the header of each part, where the tables begin, and whether there may be several parts."""
    data = Path(path).read_bytes()
    assert data[:4] == b"\x76\x2f\x31\x01", "not an EXR file"
    multipart = bool(struct.unpack("<I", data[4:8])[0] & 0x1000)
    headers, at = [], 8
    while True:
        header, at = _header(data, at)
        headers.append(header)
        if not multipart:
            break
        if data[at] == 0:
            at += 1
            break
    return data, headers, at, multipart


def _line(header, data, at, y, pictures) -> None:
    left, top, right, bottom = header["window"]
    width = right - left + 1
    for name, kind in header["channels"]:
        part = header["name"].removesuffix(f"-{header['view']}")
        full = name if name.startswith(part) else f"{part}.{name}"
        if header["view"] and header["view"] not in full.split("."):
            full = f"{full.rpartition('.')[0]}.{header['view']}.{full.rpartition('.')[2]}"
        picture = pictures.setdefault(full, np.zeros((bottom - top + 1, width), np.float32))
        picture[y - top] = np.frombuffer(data, DTYPES[kind], width, at)
        at += width * np.dtype(DTYPES[kind]).itemsize


def _header(data: bytes, at: int):
    header: dict[str, Any] = {"name": "", "view": "", "texts": {}}
    while data[at] != 0:
        name, at = _text(data, at)
        kind, at = _text(data, at)
        size = struct.unpack_from("<i", data, at)[0]
        value, at = data[at + 4 : at + 4 + size], at + 4 + size
        if name == "channels":
            header["channels"] = _channels(value)
        elif name == "dataWindow":
            header["window"] = struct.unpack("<4i", value)
        elif name in {"name", "view"} and kind == "string":
            header[name] = value.decode()
        elif kind == "string":
            header["texts"][name] = value.decode()
        elif name == "compression":
            assert value == b"\0", "written with compression"
    return header, at + 1


def _channels(value: bytes):
    channels, at = [], 0
    while value[at] != 0:
        name, at = _text(value, at)
        channels.append((name, struct.unpack_from("<i", value, at)[0]))
        at += 16
    return channels


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1
