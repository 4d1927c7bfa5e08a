# SPDX-License-Identifier: GPL-3.0-or-later
"""A sentence in the metadata of an MP4 or QuickTime film, as XMP in a box after everything else.

Blender writes what it knows into pictures, but MP4's own tags have no place for it. The XMP specification (Adobe 2016, part 3,
section 1.2.9) has: a `uuid` box at the top level, which players skip and exiftool, ffprobe and editors read. Nothing that was
written before is moved or changed.
"""

import os
import struct
from pathlib import Path
from xml.sax.saxutils import escape

from ..errors import FormatError

SUFFIXES = (".mp4", ".m4v", ".mov")
UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt>'
    '</dc:description></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def add_note(path: Path, text: str) -> None:
    """Append the text to a finished film, in place of a note that ends it already. Raises FormatError for what is no MP4."""
    boxes = _boxes(path)
    body = UUID + PACKET.format(escape(text)).encode("utf-8")
    with path.open("r+b") as file:
        kind, start, size = boxes[-1]
        file.seek(start + 8)
        again = kind == b"uuid" and file.read(16) == UUID
        file.seek(start if again else start + size)
        file.write(struct.pack(">I4s", 8 + len(body), b"uuid") + body)
        file.truncate()


def _boxes(path: Path) -> list[tuple[bytes, int, int]]:
    """(kind, start, bytes) of the boxes at the top level, which must fill the file: nothing may follow an open end."""
    found, at, end = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= end:
            file.seek(at)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size == 1:
                size = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0]
            if size < 8:
                break
            found.append((kind, at, size))
            at += size
    if at != end or not found or found[0][0] not in (b"ftyp", b"wide", b"moov", b"mdat", b"free"):
        raise FormatError(f"'{os.fspath(path)}' is no finished MP4 or QuickTime film: nothing was written into it.")
    return found
