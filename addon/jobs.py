# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for a worker process, begun from Blender and brought back to it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ..core.errors import SceneError, WorkerError
from ..core.head.motion import Motion
from ..core.worker.client import Launch, Worker
from . import convert, heads, sound, timeline
from .preferences import preference

_running: list["SpeakJob"] = []


def running() -> bool:
    return bool(_running)


def launch() -> Launch:
    """The worker that this user's preferences ask for."""
    return Launch(
        executable=bpy.path.abspath(preference("worker_python", "")),
        threads=preference("threads", 0),
    )


@dataclass(frozen=True)
class Request:
    """Plain values of one Speak. head, scene: session identifiers, which survive undo and renaming."""

    head: int
    scene: int
    sound: str
    path: str
    frame: int
    seed: int
    controls: dict[str, float] = field(default_factory=dict)


class SpeakJob:
    """A Speak on its way: `poll` until True, then `apply`; `close` in every case."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.motion: Motion | None = None
        self.warnings: list[str] = []
        scene = _find(bpy.data.scenes, request.scene, "scene")
        arguments = {
            "path": request.path,
            "fps": convert.frames_per_second(scene),
            "seed": request.seed,
            "controls": request.controls,
        }
        self._worker = Worker(launch(), "speak", arguments)
        _running.append(self)

    @property
    def fraction(self) -> float:
        return self._worker.fraction

    def poll(self) -> bool:
        """True when the motion is there. Raises what went wrong. Never blocks."""
        if not self._worker.poll():
            return False
        result = self._worker.result
        assert result
        values = result.arrays.get("values")
        if values is None:
            raise WorkerError("The worker's result holds no motion. Reinstall the extension.")
        self.motion = Motion(float(result.values["fps"]), values)
        self.warnings = list(result.values.get("warnings", ()))
        return True

    def wait(self) -> None:
        time.sleep(0.02)

    def cancel(self) -> None:
        self._worker.cancel()

    def close(self) -> None:
        self._worker.close(patience=0.1)  # by now it has answered, or nobody waits for it
        if self in _running:
            _running.remove(self)

    def apply(self) -> str:
        """Keys and strip in the scene; what to tell the user. Nothing is changed when the head has gone meanwhile."""
        assert self.motion is not None
        ob = _find(bpy.data.objects, self.request.head, "head")
        scene = _find(bpy.data.scenes, self.request.scene, "scene")
        return speak(scene, ob, self.motion, self.request.sound, self.request.frame)


def speak(scene: Any, ob: Any, motion: Motion, path: str, frame: int) -> str:
    """Put a spoken motion and its recording on the timeline. The sound comes first: it is the step that can fail."""
    before = ob.animation_data.action if ob.animation_data else None
    sound.add_sound_strip(scene, path, frame, heads.own_uuid(ob))
    action = timeline.apply_motion(scene, ob, motion, frame, f"Speak {Path(path).stem}")
    told = f"'{ob.name}' speaks {motion.seconds:.1f} s in Action '{action.name}'."
    if before and not timeline.is_own(before):
        told += f" Your Action '{before.name}' goes on playing below it, in the NLA."
    return told


def _find(collection: Any, uid: int, what: str) -> Any:
    for item in collection:
        if item.session_uid == uid:
            return item
    raise SceneError(f"The {what} was deleted while the speech was computed. Undo the deletion and press Speak again.")
