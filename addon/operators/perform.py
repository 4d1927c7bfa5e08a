# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion from Video: the active head or character does what a face does in a film. The work runs in a worker process."""

from typing import Any

import bpy

from .base import FILE, FileJobOperator, OfFace, active_performer, chosen, idle, shown_files

SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".png", ".jpg", ".jpeg")


class LOQUENT_OT_perform(OfFace, FileJobOperator, bpy.types.Operator):
    """Capture a face from a film or a photo as a take of this head or character. Needs a Worker Python with MediaPipe"""

    bl_idname = "loquent.perform"
    bl_label = "Motion from Video"
    bl_options = {"REGISTER", "UNDO"}
    what = "of the film"

    filepath: FILE
    filter_glob: shown_files(SUFFIXES)
    sound: bpy.props.BoolProperty(name="Sound", description="Add the film's sound as a strip", default=True)

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_performer(cls, context) is not None and idle(cls)

    def job(self, context: Any) -> Any:
        from .. import capture, timeline

        film = chosen(self.filepath, "There is no film or photo{}. Choose one that shows a face.")
        ob = context.active_object
        settings = ob.loquent
        bake = timeline.Bake(settings.millimetres if settings.sparse else 0.0, f"film {film.name}")
        return capture.FilmJob(
            capture.Request(
                ob.session_uid,
                context.scene.session_uid,
                film,
                settings.start,
                self.face,
                self.focal_mm,
                self.sound,
                bake,
            )
        )


CLASSES = (LOQUENT_OT_perform,)
