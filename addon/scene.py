# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that operators and the command line do to a scene, under one name."""

from typing import Any

from .heads import build_head_object, place_camera
from .output import save_blend, set_output_video, setup_compositor
from .sound import add_sound_strip
from .timeline import apply_motion

__all__ = [
    "add_sound_strip", "apply_motion", "build_head_object", "place_camera", "save_blend", "set_output_video",
    "set_rate", "setup_compositor", "setup_scene",
]  # fmt: skip


def setup_scene(scene: Any, ob: Any) -> Any:
    """Ready to press F12: our engine, and a camera framed on the head. The camera."""
    scene.render.engine = "LOQUENT"
    return place_camera(scene, ob)


def set_rate(scene: Any, fps: float) -> None:
    """The scene's frame rate as Blender keeps it: whole frames over a base, so 23.976 becomes 24 / 1.001."""
    whole = max(1, round(fps))
    base = whole / fps
    for known in (1.0, 1.001):
        if abs(base - known) < 1e-4:
            base = known
    scene.render.fps, scene.render.fps_base = whole, base
