# SPDX-License-Identifier: GPL-3.0-or-later
"""The voice under the keys: waveform and phonemes along the lower edge of Dope Sheet and Graph Editor.

Peaks are read once a recording, 200 a second, on a thread of their own, and drawn one column a pixel.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import bpy
import numpy as np

from ..core.errors import LoquentError

PEAKS = 200
"""Peaks a second."""
HEIGHT, MARGIN = 44, 26
"""Pixels of the strip and of what it keeps free for the scrollbar, before the interface's scale."""
LONGEST_SECONDS = 3600
KEEP = 8
"""Recordings whose peaks are kept."""
_handles: list[tuple[Any, Any]] = []
_read: dict[tuple[str, int], np.ndarray | None] = {}
"""Peaks by file and its time; None while they are read."""


def peaks(path: str) -> np.ndarray:
    """(n,) loudest sample of every 1 / PEAKS second, 0 to 1; empty for what cannot be read."""
    from ..core.speech.audio import RATE, read_audio

    try:
        samples = np.abs(read_audio(path).samples[: LONGEST_SECONDS * RATE])
    except (LoquentError, OSError):
        return np.zeros(0, np.float32)
    step = RATE // PEAKS
    count = max(1, len(samples) // step)
    return np.resize(samples, count * step).reshape(count, step).max(1)


def table(path: str, stamp: int) -> np.ndarray | None:
    """The peaks of a file of that time; None for now where they are still to be read: half an hour takes seconds, in which
    nobody wants to wait for a drawing."""
    key = path, stamp
    if key not in _read:
        while len(_read) >= KEEP:
            _read.pop(next(iter(_read)))
        _read[key] = None
        threading.Thread(target=lambda: _read.__setitem__(key, peaks(path)), daemon=True).start()
        bpy.app.timers.register(_when_read, first_interval=0.1)
    return _read[key]


def _when_read() -> float | None:
    """Draw the editors again once everything is read."""
    if any(found is None for found in _read.values()):
        return 0.1
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"DOPESHEET_EDITOR", "GRAPH_EDITOR"}:
                area.tag_redraw()
    return None


def columns(
    table: np.ndarray, start: float, fps: float, frame_at: Callable[[np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """(width,) peak under every pixel column; table: peaks from frame `start` on; frame_at: pixel columns -> frames."""
    if not len(table):
        return np.zeros(width, np.float32)
    edges = (frame_at(np.arange(width + 1, dtype=np.float64)) - start) / fps * PEAKS
    first = np.clip(np.floor(edges[:-1]), 0, len(table) - 1).astype(int)
    last = np.clip(np.ceil(edges[1:]), first + 1, len(table)).astype(int)
    out = np.maximum.reduceat(np.append(table, 0), np.stack([first, last], 1).ravel())[::2]
    return np.where((edges[1:] < 0) | (edges[:-1] > len(table)), 0, out)


def triangles(heights: np.ndarray, bottom: float, height: float) -> np.ndarray:
    """(6 n, 2) corners of two triangles a column that is not silent."""
    x = np.flatnonzero(heights > 0.004).astype(np.float32)
    half = np.maximum(heights[x.astype(int)] * height / 2, 0.5)
    low, high = bottom + height / 2 - half, bottom + height / 2 + half
    corners = [(x, low), (x + 1, low), (x + 1, high), (x, low), (x + 1, high), (x, high)]
    return np.stack([np.stack(corner, 1) for corner in corners], 1).reshape(-1, 2).astype(np.float32)


def draw(context: Any = None) -> None:
    """Called by Blender whenever an editor of keys is drawn."""
    context = context or bpy.context
    ob, region, scene = context.active_object, context.region, context.scene
    if region is None or not getattr(context.window_manager, "loquent_waveform", False):
        return
    if ob is None or ob.type != "MESH" or not (ob.loquent.avatar or ob.loquent.shapes):
        return
    with suppress(LoquentError, OSError):  # a drawing never stands in the way of editing
        _draw(ob, region, scene, context.preferences.system.ui_scale)


def _draw(ob: Any, region: Any, scene: Any, scale: float) -> None:
    from . import convert, phonemes, sound

    view = region.view2d
    left, right = view.region_to_view(0, 0)[0], view.region_to_view(region.width, 0)[0]
    per_pixel = (right - left) / max(region.width, 1)

    def frame_at(x: np.ndarray) -> np.ndarray:
        return left + x * per_pixel

    fps = convert.frames_per_second(scene)
    bottom, height = MARGIN * scale, HEIGHT * scale
    heights = np.zeros(region.width, np.float32)
    frames = frame_at(np.arange(region.width))
    for heard in spoken(ob, scene):
        with suppress(LoquentError, OSError):
            file = sound.readable(heard.path, heard.library)
            found = table(str(file), file.stat().st_mtime_ns)
            if found is not None:
                peak = columns(found, heard.start, fps, frame_at, region.width)
                heights = np.maximum(heights, np.where((frames >= heard.begin) & (frames < heard.end), peak, 0))
    paint(triangles(heights, bottom, height), (0.55, 0.75, 0.95, 0.45))
    action = _action(ob)
    shown = [p for p in phonemes.of(action) if p[1] > left and p[0] < right]
    label(shown, lambda frame: (frame - left) / per_pixel, bottom + height, scale)


class Voice(NamedTuple):
    """A recording that begins at frame `start` and is heard from frame `begin` to `end`."""

    path: str
    library: Any
    start: float
    begin: float = -np.inf
    end: float = np.inf


def spoken(ob: Any, scene: Any) -> list[Voice]:
    """What a performer speaks."""
    from . import convert, sound
    from .paths import home

    settings = ob.loquent
    if settings.source == "FILE":
        return [Voice(settings.sound, home(ob, "sound"), settings.start)] if settings.sound else []
    strip = sound.active_strip(bpy.context) if settings.source == "STRIP" else None
    parts = [sound.Heard(strip, sound._begin(strip), sound._end(strip))] if strip else []
    if settings.source == "TRACK":
        parts = sound.track_strips(scene, settings.track)
    fps = convert.frames_per_second(scene)
    return [
        Voice(
            s.sound.filepath, s.sound.library, sound._start(s) - getattr(s, "sound_offset", 0.0) * fps, begin, end
        )
        for s, begin, end in parts
    ]  # fmt: skip


def _action(ob: Any) -> Any:
    block = ob if ob.loquent.avatar else ob.data.shape_keys
    data = block.animation_data if block else None
    return data.action if data else None


def paint(corners: np.ndarray, colour: tuple[float, float, float, float]) -> None:
    """Fill triangles of one colour in region pixels."""
    if not len(corners):
        return
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    gpu.state.blend_set("ALPHA")
    shader.uniform_float("color", colour)
    batch_for_shader(shader, "TRIS", {"pos": corners}).draw(shader)
    gpu.state.blend_set("NONE")


def label(phones: list[tuple[float, float, str]], x_of: Callable[[float], float], top: float, scale: float) -> None:
    """Write phonemes above the waveform, each from where it begins; none over the one before it: zoomed in all are seen."""
    import blf

    blf.size(0, 11 * scale)
    blf.color(0, 0.9, 0.9, 0.9, 0.9)
    taken = -np.inf
    for first, _, name in phones:
        x = x_of(first) + 2
        if x >= taken:
            blf.position(0, x, top + 2, 0)
            blf.draw(0, name)
            taken = x + blf.dimensions(0, name)[0] + 2


def register() -> None:
    bpy.types.WindowManager.loquent_waveform = bpy.props.BoolProperty(
        name="Voice Under Keys",
        description="Draw the waveform and the phonemes in Dope Sheet and Graph Editor",
        default=True,
    )
    if bpy.app.background:
        return  # no editors, and no graphics to draw with
    for space in (bpy.types.SpaceDopeSheetEditor, bpy.types.SpaceGraphEditor):
        _handles.append((space, space.draw_handler_add(draw, (), "WINDOW", "POST_PIXEL")))


def unregister() -> None:
    while _handles:
        space, handle = _handles.pop()
        space.draw_handler_remove(handle, "WINDOW")
    del bpy.types.WindowManager.loquent_waveform
    _read.clear()
