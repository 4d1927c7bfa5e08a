# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion from Video: the active head or character does what a face does in a film. The work runs in a worker process."""

from typing import Any

import bpy

from ...core.errors import SceneError
from ..convert import is_head
from .base import FILE, FileJobOperator, OfFace, active_performer, chosen, idle, shown_files

SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".png", ".jpg", ".jpeg")


class LOQUENT_OT_perform(OfFace, FileJobOperator, bpy.types.Operator):
    """Capture a face from a film or a photo as a take of this head or character. Needs a Worker Python with MediaPipe"""

    bl_idname = "loquent.perform"
    bl_label = "Motion from Video"
    bl_options = {"UNDO"}  # not REGISTER: a touched setting in the redo panel would follow the film again
    what = "of the film"

    filepath: FILE
    filter_glob: shown_files(SUFFIXES)
    sound: bpy.props.BoolProperty(name="Sound", description="Add the film's sound as a strip", default=True)
    by_pictures: bpy.props.BoolProperty(
        name="Follow Pictures",
        description="Move the motion until this head draws what the film shows: only for the head of the person in it; about a "
        "second a picture",
        default=False,
    )

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
                _file(ob) if self.by_pictures else "",
                bake,
            )
        )


def _file(ob: Any) -> str:
    """Path of a head that can be drawn over a film. Raises SceneError for what has none."""
    from .. import session

    loaded = session.of(ob) if is_head(ob) else None
    if loaded is None or loaded.foreign:
        raise SceneError(
            f"Follow Pictures draws the head of the person in the film, and '{ob.name}' is none that Loquent has made. Switch it off, "
            "or make a head by Head from Video first."
        )
    return loaded.base.path if loaded.base else loaded.path


CLASSES = (LOQUENT_OT_perform,)
