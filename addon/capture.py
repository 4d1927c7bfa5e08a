# SPDX-License-Identifier: GPL-3.0-or-later
"""A performance from a film: the worker follows the face, the head gets a take and, on request, the film's sound."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from ..core.errors import AudioError
from ..core.head.motion import Motion
from . import convert, heads, jobs, sound, timeline

if TYPE_CHECKING:
    from ..core.worker.client import Result


@dataclass(frozen=True)
class Request:
    """Plain values of one capture. performer, scene: session identifiers. face: 1 is the largest. focal_mm: 0 estimates it.
    head: file of the head of the person in the film, which the motion is matched to the pictures with; empty leaves that out."""

    performer: int
    scene: int
    film: Path
    frame: int
    face: int = 1
    focal_mm: float = 0.0
    sound: bool = True
    head: str = ""
    bake: timeline.Bake = field(default_factory=timeline.Bake)


class FilmJob(jobs.WorkerJob):
    """A capture on its way."""

    def __init__(self, request: Request) -> None:
        self.request, self.title = request, request.film.name
        self.motion: Motion | None = None
        self.sounds = False
        fps = convert.frames_per_second(jobs.found(bpy.data.scenes, request.scene, "scene"))
        arguments = {
            "film": str(request.film), "face": request.face, "focal_mm": request.focal_mm, "fps": fps, "head": request.head,
        }  # fmt: skip
        super().__init__("perform", arguments)

    def _take(self, result: "Result") -> None:
        self.motion = jobs.motion_of(result)
        self.sounds = bool(result.values.get("sound"))
        self.warnings = list(result.values.get("warnings", ()))

    def apply(self) -> str:
        """Keys and strip in the scene."""
        assert self.motion is not None
        asked = self.request
        ob = jobs.found(bpy.data.objects, asked.performer, "head")
        scene = jobs.found(bpy.data.scenes, asked.scene, "scene")
        heads.own_uuid(ob)
        if asked.sound and self.sounds:
            try:
                sound.add_sound_strip(scene, str(asked.film), asked.frame, ob.loquent.uuid)
            except AudioError as error:
                self.warnings.append(str(error))  # the motion is not lost with it
        name = f"Capture {asked.film.stem}"
        action = timeline.apply_motion(scene, ob, self.motion, asked.frame, name, asked.bake)
        return f"'{ob.name}' does {self.motion.seconds:.1f} s of '{asked.film.name}' in Action '{action.name}'."
