# SPDX-License-Identifier: GPL-3.0-or-later
"""A performance from a film: the worker follows the face, the head gets a take and, on request, the film's sound."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ..core.errors import AudioError, WorkerError
from ..core.head.motion import Motion
from . import convert, heads, jobs, sound, timeline


@dataclass(frozen=True)
class Request:
    """Plain values of one capture. performer, scene: session identifiers. face: 1 is the largest. focal_mm: 0 estimates it."""

    performer: int
    scene: int
    film: Path
    frame: int
    face: int = 1
    focal_mm: float = 0.0
    sound: bool = True
    bake: timeline.Bake = field(default_factory=timeline.Bake)


class FilmJob:
    """A capture on its way: `poll` until True, then `apply`; `close` in every case."""

    def __init__(self, request: Request) -> None:
        from ..core.worker.client import Worker

        self.request = request
        self.motion: Motion | None = None
        self.sounds = False
        self.warnings: list[str] = []
        fps = convert.frames_per_second(jobs.found(bpy.data.scenes, request.scene, "scene"))
        arguments = {"film": str(request.film), "face": request.face, "focal_mm": request.focal_mm, "fps": fps}
        self._worker = Worker(jobs.launch(), "perform", arguments)
        jobs.begun(self)

    @property
    def fraction(self) -> float:
        return self._worker.fraction

    def poll(self) -> bool:
        """True when the motion is there. Raises what went wrong. Never blocks."""
        if not self._worker.poll():
            return False
        result = self._worker.result
        assert result
        if (values := result.arrays.get("values")) is None:
            raise WorkerError("The worker's result holds no motion. Reinstall the extension.")
        self.motion = Motion(float(result.values["fps"]), values)
        self.sounds = bool(result.values.get("sound"))
        self.warnings = list(result.values.get("warnings", ()))
        return True

    def wait(self) -> None:
        time.sleep(0.02)

    def cancel(self) -> None:
        self._worker.cancel()

    def close(self) -> None:
        self._worker.close(patience=0.1)
        jobs.ended(self)

    def apply(self) -> str:
        """Keys and strip in the scene; what to tell the user."""
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
