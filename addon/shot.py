# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole shot in Blender's Python module: what the command line makes from a recording. Importing it loads Blender."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..core.errors import FormatError
from ..core.files import written_whole
from ..core.head.motion import Motion


def build(
    *, head: str | Path, voice: Path | None, motion: Motion, size: tuple[int, int], name: str | None = None
) -> Any:  # fmt: skip
    """A new, empty file with head, keyed Action, packed sound strip, camera and compositor. The head object.

    voice: recording or film with sound; None for silence. name: of the Action.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    from . import register

    register()
    from . import scene as make

    scene = bpy.context.scene
    scene.name = "Shot"
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"  # the heads carry their own studio light, made for an sRGB display
    make.set_rate(scene, motion.fps)
    scene.frame_start, scene.frame_end = 1, len(motion)
    ob = make.build_head_object(scene, str(head))
    make.setup_scene(scene, ob)
    make.setup_compositor(scene)
    make.apply_motion(scene, ob, motion, scene.frame_start, name=name or (f"Speak {voice.stem}" if voice else "Motion"))
    if voice:
        strip = make.add_sound_strip(scene, str(voice), scene.frame_start, ob.loquent.uuid)
        strip.sound.pack()  # the file can be moved and still sounds
        ob.loquent.sound = str(voice)
    scene.frame_end = len(motion)
    scene.frame_set(scene.frame_start)
    return ob


def save(path: Path) -> None:
    """Save the open file as .blend, whole or not at all."""
    from . import scene as make

    make.save_blend(path)


def render(path: Path, progress: Callable[[float], None]) -> None:
    """Render the frame range to an H.264 film with AAC sound. Raises FormatError where Blender wrote none."""
    from . import scene as make
    from .engine import LoquentRenderEngine

    scene = bpy.context.scene
    count = scene.frame_end - scene.frame_start + 1

    stopped: list[BaseException] = []

    def count_up(rendered: Any, _depsgraph: Any = None) -> None:
        # Blender swallows what a handler raises and offers no way to break off an animation from Python: our engine
        # leaves the rest empty, a few milliseconds a frame, and the film is thrown away.
        if not stopped:
            try:
                progress((rendered.frame_current - scene.frame_start + 1) / count)
            except BaseException as error:
                stopped.append(error)
                LoquentRenderEngine.skipping = True

    bpy.app.handlers.render_post.append(count_up)
    try:
        with written_whole(path) as temporary:
            temporary.unlink()  # Blender refuses nothing, but an absent file shows below that it wrote one
            make.set_output_video(scene, temporary.resolve())
            with _quiet():
                bpy.ops.render.render(animation=True)
            if stopped:
                raise stopped[0]
            if not temporary.exists() or not temporary.stat().st_size:
                raise FormatError(f"Blender rendered no film to '{path}'. Is there space left in that folder?")
    except RuntimeError as error:
        raise FormatError(f"Blender could not render '{path}': {error}") from error
    finally:
        LoquentRenderEngine.skipping = False
        bpy.app.handlers.render_post.remove(count_up)


class _quiet:
    """Blender prints a line a frame from C; it goes to a scratch file so that the progress bar stays readable."""

    def __enter__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._saved = os.dup(1)
        os.dup2(self._file.fileno(), 1)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 1)
        os.close(self._saved)
        self._file.close()
