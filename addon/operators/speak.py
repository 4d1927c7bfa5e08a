# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak: a recording becomes motion of the active head. The work runs in a worker process; Esc cancels it."""

from typing import Any

import bpy

from ...core.errors import AudioError
from .. import jobs
from ..properties import CONTROLS
from ..sound import absolute
from ..timeline import check_target
from .base import CoreOperator, active_head

TICK = 0.1


class LOQUENT_OT_speak(CoreOperator, bpy.types.Operator):
    """Make this head speak its recording: a new Action, and the sound as a strip at the same frame"""

    bl_idname = "loquent.speak"
    bl_label = "Speak"
    bl_options = {"REGISTER", "UNDO"}

    _job: Any = None
    _timer: Any = None

    @classmethod
    def poll(cls, context: Any) -> bool:
        ob = active_head(cls, context)
        if ob is None:
            return False
        if not ob.loquent.sound:
            cls.poll_message_set("Choose a sound for this head first")
            return False
        if jobs.running():
            cls.poll_message_set("A head is learning its lines already: wait, or press Esc over the viewport")
            return False
        return True

    def run(self, context: Any) -> None:
        """To the end, with Blender waiting: scripts and background mode."""
        job = jobs.SpeakJob(request(context))
        try:
            while not job.poll():
                job.wait()
            self._finish(job)
        finally:
            job.close()

    def invoke(self, context: Any, event: Any) -> set[str]:
        if bpy.app.background:
            return self.execute(context)
        return self.guarded(self._start, context)

    def _start(self, context: Any) -> set[str]:
        self._job = jobs.SpeakJob(request(context))
        window = context.window_manager
        self._timer = window.event_timer_add(TICK, window=context.window)
        window.progress_begin(0, 100)
        window.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        if event.type == "ESC" and event.value == "PRESS":
            self._job.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        answer = self.guarded(self._tick, context)
        if answer & {"FINISHED", "CANCELLED"}:
            self._stop(context)
        return answer

    def _tick(self, context: Any) -> set[str]:
        if not self._job.poll():
            context.window_manager.progress_update(self._job.fraction * 100)
            context.workspace.status_text_set(f"Loquent: {self._job.fraction:.0%} of the speech (Esc cancels)")
            return {"PASS_THROUGH"}
        self._finish(self._job)
        return {"FINISHED"}

    def _finish(self, job: Any) -> None:
        told = job.apply()
        for warning in job.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, told)

    def cancel(self, context: Any) -> None:
        """Blender is closing or opens another file."""
        self._stop(context)

    def _stop(self, context: Any) -> None:
        self._job.close()
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)


def request(context: Any) -> jobs.Request:
    """What to speak, read from the active head once. Raises before anything starts when it cannot work."""
    ob = context.active_object
    check_target(ob)
    path = absolute(ob.loquent.sound, ob.library)
    if not path.is_file():
        raise AudioError(f"The recording '{path}' is not there. Choose the sound again.")
    return jobs.Request(
        head=ob.session_uid,
        scene=context.scene.session_uid,
        sound=ob.loquent.sound,
        path=str(path),
        frame=ob.loquent.start,
        seed=ob.loquent.seed,
        controls={name: getattr(ob.loquent.controls, name) for name in CONTROLS},
    )
