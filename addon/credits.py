# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a picture shows goes with it: names and consent of all heads that were drawn, in the metadata of what is written.

PNG, JPEG and OpenEXR carry what the render result is stamped with, as long as the scene writes any metadata at all. MP4 and
QuickTime have no place for Blender's stamps: those films get a note at their end when they are finished. WebP, TIFF and AVI
stay without. Where heads are composed over another engine's picture, that scene's own note names them.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import bpy

KEY = "Loquent Heads"
HEADER = 33
"""Bytes of a PNG's signature and first chunk."""
_drawn: set[str] = set()
"""Of the render that is under way."""


def of(depsgraph: Any) -> list[str]:
    """One line for each head that the depsgraph shows, sorted."""
    from ..core.adapt.consent import credit
    from . import convert, session

    lines = set()
    for instance in convert.head_instances(depsgraph):
        loaded = session.of(instance.object)
        lines.add(credit(loaded.name, {} if loaded.foreign else loaded.performer.avatar.about))
    return sorted(lines)


def stamp(result: Any, depsgraph: Any) -> None:
    """Into a render result that is being made."""
    lines = of(depsgraph)
    if lines:
        _drawn.update(lines)
        result.stamp_data_add_field(KEY, " | ".join(sorted(lines)))


def note(scene: Any) -> None:
    """The heads of a scene that another engine renders, into the note of its metadata: a composed picture is not ours to stamp.

    What the user has noted there stays before it. Heads that come later are not in it.
    """
    from ..core.adapt.consent import credit
    from . import convert, session

    lines = set()
    for ob in scene.objects:
        if convert.is_head(ob):
            loaded = session.of(ob)
            lines.add(credit(loaded.name, {} if loaded.foreign else loaded.performer.avatar.about))
    render = scene.render
    own = render.stamp_note_text.split(f"{KEY}: ")[0].rstrip(" |")
    render.stamp_note_text = " | ".join([*([own] if own else []), f"{KEY}: {' | '.join(sorted(lines))}"])
    render.use_stamp_note = True


def add_to_png(path: Path, told: str) -> None:
    """Into a PNG that Blender has saved as an image, which it stamps nothing on: a chunk of text before the pixels."""
    data = path.read_bytes()
    text = KEY.encode() + b"\0\0\0\0\0" + told.encode()  # plain, no language, no translated keyword, UTF-8
    chunk = struct.pack(">I", len(text)) + b"iTXt" + text + struct.pack(">I", zlib.crc32(b"iTXt" + text))
    path.write_bytes(data[:HEADER] + chunk + data[HEADER:])


def begin(*_: object) -> None:
    _drawn.clear()


def end(scene: Any, *_: object) -> None:
    """After a film is finished. One that cannot be noted is a film all the same: the console says so."""
    from ..core.adapt.film_note import SUFFIXES, add_note
    from ..core.errors import LoquentError

    render = scene.render
    if not _drawn or not render.is_movie_format:
        return
    path = Path(bpy.path.abspath(render.frame_path(frame=scene.frame_start)))
    if path.suffix.lower() in SUFFIXES and path.is_file():
        try:
            add_note(path, f"{KEY}: {' | '.join(sorted(_drawn))}")
        except (LoquentError, OSError) as error:
            import logging

            logging.getLogger(__name__).warning("Loquent: %s", error)
    _drawn.clear()
