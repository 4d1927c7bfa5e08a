# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak: a recording becomes motion of the active head or character. The work runs in a worker process; Esc cancels it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ...core.errors import AudioError, FormatError, SceneError
from ..paths import home
from ..properties import CONTROLS
from .base import JobOperator, active_performer, idle

if TYPE_CHECKING:  # registering shall not wait for what only speaking needs
    from .. import jobs, sound

SECONDS = 4 * 3600
"""Controls are followed no further than this."""


class LOQUENT_OT_speak(JobOperator, bpy.types.Operator):
    """Make this head speak its recording: a new Action, and the sound as a strip at the same frame"""

    bl_idname = "loquent.speak"
    bl_label = "Speak"
    bl_options = {"REGISTER", "UNDO"}

    what = "of the speech"

    @classmethod
    def poll(cls, context: Any) -> bool:
        ob = active_performer(cls, context)
        if ob is None:
            return False
        if reason := _nothing_to_speak(context, ob):
            cls.poll_message_set(reason)
            return False
        return idle(cls)

    def job(self, context: Any) -> Any:
        from .. import jobs

        return jobs.SpeakJob(request(context))


def request(context: Any) -> "jobs.Request":
    """What to speak, read from the active head once. Raises before anything starts when it cannot work."""
    from .. import convert, jobs, timeline
    from ..performers import performer

    ob = context.active_object
    settings = ob.loquent
    actor = performer(ob)
    scene = context.scene
    fps = convert.frames_per_second(scene)
    cuts, name, strip = _cuts(context, ob, fps)
    frame = settings.start if strip else round(cuts[0].frame)
    span = (settings.range_start, settings.range_end) if settings.use_range else None
    if span and span[0] >= span[1]:
        raise SceneError(f"The range ends at frame {span[1]}, before it begins at {span[0]}. Change one of them.")
    return jobs.Request(
        performer=ob.session_uid,
        scene=scene.session_uid,
        cuts=cuts,
        frame=frame,
        seed=settings.seed,
        controls={control: float(getattr(settings.controls, control)) for control in CONTROLS},
        keyed=_keyed(actor, frame, int(SECONDS * fps)),
        style=_style(ob),
        strip=strip,
        name=name,
        bake=timeline.Bake(
            millimetres=settings.millimetres if settings.sparse else 0.0,
            recording=strip or name,
            keep_edits=settings.keep_edits,
        ),
        span=span,
        append=settings.mode == "APPEND",
        phones=settings.phones,
    )


def _nothing_to_speak(context: Any, ob: Any) -> str:
    """Why there is nothing to speak; empty if there is."""
    from .. import sound

    settings = ob.loquent
    if settings.source == "FILE" and not settings.sound:
        return "Choose a sound for this head first"
    if settings.source == "STRIP" and sound.active_strip(context) is None:
        return "Select a sound strip in the sequencer first"
    if settings.source == "TRACK" and not sound.track_strips(context.scene, settings.track):
        return f"Channel {settings.track} of the sequencer holds no sound strip that is heard"
    return ""


def _cuts(context: Any, ob: Any, fps: float) -> tuple[tuple["sound.Cut", ...], str, str]:
    """What is heard, a name for it, and the path of a recording that is still to become a strip."""
    from .. import sound

    settings = ob.loquent
    if reason := _nothing_to_speak(context, ob):
        raise AudioError(reason + ".")
    if settings.source == "FILE":
        library = home(ob, "sound")
        path = sound.readable(settings.sound, library)
        strip = sound.spelt(sound.absolute(settings.sound, library)) if library else settings.sound
        return (sound.Cut(str(path), settings.start),), Path(settings.sound.replace("//", "")).stem, strip
    if settings.source == "STRIP":
        strip = sound.active_strip(context)
        return (sound.cut_of(strip, fps),), strip.name, ""
    heard = sound.track_strips(context.scene, settings.track)
    return tuple(sound.cut_of(part.strip, fps, part.begin, part.end) for part in heard), f"channel {settings.track}", ""


def _style(ob: Any) -> str:
    """Path of the voice style's file; empty without one. Raises FormatError where it is not there."""
    from .. import sound

    if not ob.loquent.style:
        return ""
    path = sound.absolute(ob.loquent.style, home(ob, "style"))
    if not path.is_file():
        raise FormatError(f"The voice style '{path}' is not there. Choose it again, or empty the field.")
    return str(path)


def _keyed(actor: Any, frame: int, longest: int) -> dict[str, list[float]]:
    """Controls with keys: their values at every frame from `frame` to the last key."""
    from ..curves import curves_of

    data = actor.ob.animation_data
    if not data or not data.action:
        return {}
    found = {}
    for path, curve in curves_of(data.action, getattr(data, "action_slot", None)).items():
        name = path.removeprefix("loquent.controls.")
        if name in CONTROLS and name != "smoothing" and name != path and len(curve.keyframe_points):
            count = int(min(max(curve.range()[1] - frame, 0) + 1, longest))
            found[name] = [curve.evaluate(frame + k) for k in range(count)]
    return found
