# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings on the timeline: sound strips in the sequencer."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bpy

from ..core.errors import AudioError

OWNER = "loquent_head"
"""Custom property of a strip: identifier of the head that speaks it."""


def absolute(path: str, library: Any = None) -> Path:
    """A path as the operating system knows it, without `..`; `//` is the folder of the .blend file."""
    return Path(os.path.normpath(bpy.path.abspath(path, library=library)))


def spelt(file: Path) -> str:
    """A file's path as it is stored: relative to the .blend file where that is saved and on the same drive."""
    try:
        return bpy.path.relpath(str(file)) if bpy.data.is_saved else str(file)
    except ValueError:  # another drive on Windows
        return str(file)


def readable(path: str, library: Any = None) -> Path:
    """A file that other programs can read the recording from: itself, or a copy of it where it is packed.

    Raises AudioError where it is neither there nor packed.
    """
    file = absolute(path, library)
    if file.is_file():
        return file
    packed = _packed(file)
    if packed is None:
        raise AudioError(f"The recording '{file}' is not there. Choose the sound again, or restore the file.")
    copy = Path(bpy.app.tempdir) / f"{packed.session_uid}-{file.name}"
    if not copy.is_file() or copy.stat().st_size != packed.packed_file.size:
        copy.write_bytes(packed.packed_file.data)
    return copy


def _packed(file: Path) -> Any:
    """The sound of this file that is packed into the .blend; None without one."""
    return next((s for s in bpy.data.sounds if s.packed_file and absolute(s.filepath, s.library) == file), None)


@dataclass(frozen=True)
class Cut:
    """What is heard of a recording: from which frame on, which seconds of which file, how loud."""

    path: str
    frame: float
    skip: float = 0.0
    seconds: float | None = None
    gain: float = 1.0


def active_strip(context: Any) -> Any:
    """The sequencer's active sound strip, of the scene that its editor shows; None without one."""
    for scene in (context.scene, getattr(context, "sequencer_scene", None)):
        editor = scene.sequence_editor if scene else None
        if editor and editor.active_strip and is_sound(editor.active_strip):
            return editor.active_strip
    return None


class Heard(NamedTuple):
    """A sound strip and the frames, from `begin` to before `end`, that are heard of it."""

    strip: Any
    begin: int
    end: int


def track_strips(scene: Any, channel: int) -> list[Heard]:
    """The sound strips of one channel that are heard, those inside its meta strips too, in order."""
    if scene.sequence_editor is None:
        return []
    found = [h for s in strips_of(scene) if s.channel == channel for h in _heard(s, -(10**9), 10**9)]
    return sorted(found, key=lambda heard: heard.begin)


def _heard(strip: Any, first: int, last: int) -> Iterator[Heard]:
    """What is heard of a strip between two frames; of a meta strip what stands in it, cut as the meta strip is."""
    begin, end = max(first, _begin(strip)), min(last, _end(strip))
    if strip.mute or begin >= end:
        return
    if strip.type == "META":
        for inside in strip.strips if hasattr(strip, "strips") else strip.sequences:
            yield from _heard(inside, begin, end)
    elif is_sound(strip):
        yield Heard(strip, begin, end)


def cut_of(strip: Any, fps: float, begin: int | None = None, end: int | None = None) -> Cut:
    """What a strip plays, or a part of it. Raises AudioError for one whose speed was changed: its file no longer tells when
    what is said."""
    begin, end = _begin(strip) if begin is None else begin, _end(strip) if end is None else end
    if len(getattr(strip, "retiming_keys", ())) > 0:
        raise AudioError(
            f"The strip '{strip.name}' is retimed, and speech follows the recording as it is in its file. Remove the "
            "retiming (Strip > Retiming > Reset), or mix the strip down to a file and speak that."
        )
    return Cut(
        path=str(readable(strip.sound.filepath, strip.sound.library)),
        frame=begin,
        skip=(begin - _start(strip)) / fps + getattr(strip, "sound_offset", 0.0),
        seconds=(end - begin) / fps,
        gain=min(max(float(strip.volume), 0.0), 10.0),
    )


def strips_of(scene: Any) -> Any:
    """The scene's strip collection, made where there is none (`sequences` before 4.4)."""
    editor = scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def add_sound_strip(scene: Any, path: str, frame_start: int, owner: str = "", *, mute_others: bool = True) -> Any:
    """The strip of a recording at a frame, playing in sync with the picture.

    A strip of the same file at the same frame is used as it is. An older strip of the same head that would sound at the
    same time is muted, not removed, unless `mute_others` is false. Raises AudioError where Blender cannot open the file.
    """
    strips = strips_of(scene)
    absolute_path = absolute(path)
    strip = next((s for s in strips if is_sound(s) and _file(s) == absolute_path and _start(s) == frame_start), None)
    if strip is None:
        packed = None if absolute_path.is_file() else _packed(absolute_path)
        strip = _new_strip(strips, readable(path) if packed else absolute_path, frame_start)
        if packed:
            copy = strip.sound
            strip.sound = packed
            bpy.data.sounds.remove(copy)
        elif path != str(absolute_path):
            strip.sound.filepath = path
    strip.mute = False
    if owner:
        strip[OWNER] = owner
        for other in strips:
            if (
                mute_others
                and other != strip
                and is_sound(other)
                and other.get(OWNER) == owner
                and _overlap(other, strip)
            ):
                other.mute = True
    scene.sync_mode = "AUDIO_SYNC"
    scene.use_audio_scrub = True
    scene.frame_end = max(scene.frame_end, _end(strip) - 1)
    return strip


def _new_strip(strips: Any, path: Path, frame_start: int) -> Any:
    existing = list(strips)
    try:
        strip = strips.new_sound(path.stem, str(path), 1, frame_start)
    except RuntimeError as error:
        raise AudioError(f"Blender cannot open '{path}' as a sound: {error}. Save it as WAV or FLAC.") from error
    if not strip.sound.samplerate:  # Blender makes a silent strip of what it cannot read
        data = strip.sound
        strips.remove(strip)
        bpy.data.sounds.remove(data)
        raise AudioError(f"Blender finds no sound in '{path}'. Save the recording as WAV or FLAC.")
    taken = {s.channel for s in existing if _overlap(s, strip)}
    strip.channel = next(c for c in range(1, 129) if c not in taken)
    return strip


def is_sound(strip: Any) -> bool:
    return strip.type == "SOUND" and strip.sound is not None


def _file(strip: Any) -> Path:
    return absolute(strip.sound.filepath, strip.sound.library)


def _start(strip: Any) -> int:
    """Frame at which the sound itself begins; this and its like were renamed in 5.x."""
    return int(strip.content_start if hasattr(strip, "content_start") else strip.frame_start)


def _end(strip: Any) -> int:
    """First frame after what is heard of a strip."""
    return int(strip.right_handle if hasattr(strip, "right_handle") else strip.frame_final_end)


def _begin(strip: Any) -> int:
    return int(strip.left_handle if hasattr(strip, "left_handle") else strip.frame_final_start)


def _overlap(a: Any, b: Any) -> bool:
    return _begin(a) < _end(b) and _begin(b) < _end(a)
