# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for a worker process, begun from Blender and brought back to it."""

import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..core.errors import SceneError, WorkerError
from ..core.head.motion import Motion
from . import convert, heads, phonemes, sound, timeline
from .preferences import cache_folder, preference

if TYPE_CHECKING:  # starting processes is imported when the first one is started: registering stays quick
    from ..core.worker.client import Launch, Result

_running: list[Any] = []


def running() -> bool:
    return bool(_running)


def current() -> tuple[Any, ...]:
    """What is under way."""
    return tuple(_running)


def shown() -> Any:
    """The job whose progress the sidebar shows, or None."""
    return next((job for job in _running if getattr(job, "title", "")), None)


def begun(job: Any) -> None:
    """One at a time: buttons are grey until it has ended."""
    _running.append(job)


def ended(job: Any) -> None:
    if job in _running:
        _running.remove(job)


def launch() -> "Launch":
    """The worker that this user's preferences ask for."""
    from ..core.worker.client import Launch

    return Launch(
        executable=bpy.path.abspath(preference("worker_python", "")),
        threads=preference("threads", 0),
    )


class WorkerJob:
    """Work in a worker process: `poll` until True, then `apply`; `close` in every case.

    title: what the sidebar calls it while it goes on; empty for what is over too soon to be shown. preview: the latest picture of
    it, (H, W, 3) uint8, or None, and previews how many there were.
    """

    title = ""

    def __init__(self, job: str, arguments: dict[str, Any]) -> None:
        from ..core.worker.client import Worker

        self.warnings: list[str] = []
        self._worker = Worker(launch(), job, arguments)
        begun(self)

    @property
    def fraction(self) -> float:
        return self._worker.fraction

    @property
    def stage(self) -> str:
        return self._worker.stage

    @property
    def preview(self) -> Any:
        return self._worker.preview

    @property
    def previews(self) -> int:
        return self._worker.previews

    def poll(self) -> bool:
        """True when the result is there. Raises what went wrong. Never blocks."""
        if not self._worker.poll():
            return False
        assert self._worker.result
        self._take(self._worker.result)
        return True

    def _take(self, result: "Result") -> None:
        raise NotImplementedError

    def apply(self) -> str:
        """Bring the result into the scene; what to tell the user."""
        raise NotImplementedError

    def wait(self) -> None:
        time.sleep(0.02)

    def cancel(self) -> None:
        self._worker.cancel()

    def close(self) -> None:
        self._worker.close(patience=0.1)  # by now it has answered, or nobody waits for it
        ended(self)


def motion_of(result: "Result") -> Motion:
    """The motion that a worker answered. Raises WorkerError without one."""
    if (values := result.arrays.get("values")) is None:
        raise WorkerError("The worker's result holds no motion. Reinstall the extension.")
    return Motion(float(result.values["fps"]), values)


@dataclass(frozen=True)
class Request:
    """Plain values of one Speak. performer, scene: session identifiers, which survive undo and renaming.

    cuts: what is heard; the first frame of speech is `frame`. strip: path of the recording that becomes a strip, empty
    where the strips are there already. style: a voice style's file. keyed: controls that change over time, a value a frame from `frame` on.
    """

    performer: int
    scene: int
    cuts: tuple[sound.Cut, ...]
    frame: int
    seed: int = 0
    controls: dict[str, float] = field(default_factory=dict)
    keyed: dict[str, list[float]] = field(default_factory=dict)
    style: str = ""
    strip: str = ""
    name: str = ""
    bake: timeline.Bake = field(default_factory=timeline.Bake)
    span: tuple[int, int] | None = None
    append: bool = False
    phones: str = "NONE"


class SpeakJob(WorkerJob):
    """A Speak on its way."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.motion: Motion | None = None
        self.keys: dict[str, Any] | None = None
        self.heard_before = False
        self.phones: list[tuple[float, float, str]] = []
        fps = convert.frames_per_second(found(bpy.data.scenes, request.scene, "scene"))
        arguments = {
            "pieces": [_piece(cut, request.frame, fps) for cut in request.cuts],
            "fps": fps,
            "seed": request.seed,
            "controls": request.controls,
            "keyed": _written(request.keyed),
            "style": request.style,
            "phones": True,
            "cache": _cache(),
            "cache_bytes": _cache_bytes(),
            "reduce": request.bake.millimetres
            and {"millimetres": request.bake.millimetres, "start": request.frame, "span": request.span},
        }
        self._keyed = arguments["keyed"]
        super().__init__("speak", arguments)

    def _take(self, result: "Result") -> None:
        self.motion = motion_of(result)
        self.heard_before = bool(result.values.get("heard_before"))
        if (packed := result.arrays.get("keys")) is not None:
            self.keys = timeline.unpack(packed.tobytes())
        times = result.arrays.get("phones")
        names = str(result.values.get("phones", "")).split()
        if times is not None and len(times) == len(names):
            self.phones = [(float(a), float(b), name) for (a, b), name in zip(times, names, strict=True)]
        self.warnings = list(result.values.get("warnings", ()))

    def close(self) -> None:
        super().close()
        if self._keyed:
            Path(self._keyed).unlink(missing_ok=True)

    def apply(self) -> str:
        """Keys and strip in the scene. Nothing is changed when the head has gone meanwhile."""
        assert self.motion is not None
        ob = found(bpy.data.objects, self.request.performer, "head")
        scene = found(bpy.data.scenes, self.request.scene, "scene")
        return speak(scene, ob, self.motion, self.request, self.phones, self.keys)


def speak(scene: Any, ob: Any, motion: Motion, request: Request, phones: Any = (), keys: Any = None) -> str:
    """Put a spoken motion and its recording on the timeline. The sound comes first: it is the step that can fail.

    keys: of the channels, where the worker has reduced the motion already.
    """
    data = timeline.performer(ob).datablock.animation_data
    before = data.action if data else None
    heads.own_uuid(ob)
    region = _region(request, len(motion))
    start = request.frame
    if request.span:
        first, last = max(request.span[0], start), min(request.span[1], start + len(motion) - 1)
        if first > last:
            raise SceneError(
                f"Nothing is spoken between frames {request.span[0]} and {request.span[1]}: the recording lies between "
                f"{start} and {start + len(motion) - 1}. Change the range."
            )
        motion = Motion(motion.fps, motion.values[first - start : last + 1 - start])
        start, region = first, (first, last)
    if request.strip:
        sound.add_sound_strip(scene, request.strip, request.frame, ob.loquent.uuid, mute_others=not request.append)
    name = f"Speak {request.name}".strip()
    bake = timeline.Bake(request.bake.millimetres, request.bake.recording, region, request.bake.keep_edits)
    action = timeline.apply_motion(scene, ob, motion, start, name, bake, keys)
    phonemes.keep(action, phones, request.frame, motion.fps, region)
    phonemes.show(scene, ob, action, request.phones)
    told = f"'{ob.name}' speaks {motion.seconds:.1f} s in Action '{action.name}'."
    if before and not timeline.is_take(before):
        told += f" Your Action '{before.name}' goes on playing below it, in the NLA."
    elif kept := action.get(timeline.KEPT, 0):
        told += f" Your changes to {kept} {'curve' if kept == 1 else 'curves'} were kept."
    if driven := timeline.performer(ob).driven():
        names = ", ".join(f"'{name}'" for name in driven[:3]) + (" and others" if len(driven) > 3 else "")
        one = len(driven) == 1
        told += f" {names} {'is' if one else 'are'} moved by drivers, not by the speech: remove those drivers if {'it' if one else 'they'} shall speak."
    return told


def _cache_bytes() -> float:
    """What the cache may hold; nothing where the extension runs without being installed."""
    return preference("cache_gigabytes", 0.0) * 1e9


def _cache() -> str:
    """The cache's folder; empty where there is none, or it cannot be made."""
    try:
        return str(cache_folder(create=True)) if _cache_bytes() > 0 else ""
    except OSError:
        return ""


def _region(request: Request, frames: int) -> tuple[int, int] | None:
    return (request.frame, request.frame + frames - 1) if request.append else None


def _piece(cut: sound.Cut, start: int, fps: float) -> dict[str, Any]:
    piece = asdict(cut)
    piece["at"] = (piece.pop("frame") - start) / fps
    return piece


def _written(keyed: dict[str, list[float]]) -> str:
    """Path of a file with the keyed controls, for the worker; empty where there are none. A line of JSON has an end."""
    if not keyed:
        return ""
    path = Path(bpy.app.tempdir) / f"loquent-{uuid.uuid4().hex}.npz"
    columns: dict[str, Any] = {name: np.array(column, np.float32) for name, column in keyed.items()}
    np.savez(path, **columns)
    return str(path)


def found(collection: Any, uid: int, what: str) -> Any:
    for item in collection:
        if item.session_uid == uid:
            return item
    raise SceneError(f"The {what} was deleted while its motion was computed. Undo the deletion and try again.")
