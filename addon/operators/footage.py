# SPDX-License-Identifier: GPL-3.0-or-later
"""Head over Its Footage, and the frames that its inpainter makes of head and film."""

from pathlib import Path
from typing import Any

import bpy

from ..paths import home
from ..properties import BLEND_RELATIVE
from .base import FileJobOperator, FileOperator, active_head, idle, shown_files
from .perform import SUFFIXES

TRACK = bpy.props.StringProperty(
    name="Track",
    description="A .track of the film, for a head that was not made from it. Empty: what the head's file knows",
    subtype="FILE_PATH",
    options={"SKIP_SAVE"} | BLEND_RELATIVE,
)


class LOQUENT_OT_head_over_footage(FileOperator, bpy.types.Operator):
    """Put this head back into the film it was made from: the film's camera, size, rate and length, and its pictures behind
    the head in the viewport, which looks through that camera, and in F12. Your compositing nodes stay as they are"""

    bl_idname = "loquent.head_over_footage"
    bl_label = "Head over Its Footage"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: shown_files(SUFFIXES)
    track: TRACK
    performance: bpy.props.EnumProperty(
        name="Performance",
        description="What becomes of the head's motion",
        items=[
            (
                "AUTO",
                "Take in the Film",
                "The present take, with the film's turns of the head; without a take, all of the film's",
            ),
            ("HEAD", "Turns of the Head", "The present take, with the film's turns of the head"),
            ("FILM", "All of the Film's", "A new take: what the head did in the film"),
            ("KEEP", "Keep", "The head goes on doing what it does"),
        ],
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = self.filepath or context.active_object.loquent.footage
        return super().invoke(context, event)

    def run(self, context: Any) -> None:
        from .. import footage

        ob = context.active_object
        plate = footage.plate_of(ob, self.track)
        path, library = (self.filepath, None) if self.filepath else (ob.loquent.footage, home(ob, "footage"))
        film = footage.film_file(path, plate, library)
        for note in footage.set_up(context.scene, ob, plate, film, self.performance):
            self.report({"INFO"}, note)
        for area in context.screen.areas if context.screen else ():
            if area.type == "VIEW_3D":
                area.spaces.active.region_3d.view_perspective = "CAMERA"  # from elsewhere the film is not seen
        self.report(
            {"INFO"}, f"'{ob.name}' is in '{film.name}': {len(plate.motion)} frames. F12 shows it over the film"
        )


class LOQUENT_OT_inpaint_footage(FileJobOperator, bpy.types.Operator):
    """Make finished frames of head and film, with neck, collar and background closed round the head, and lead them to the
    compositor's output. Esc stops; the frames made so far stay"""

    bl_idname = "loquent.inpaint_footage"
    bl_label = "Inpaint Footage"
    bl_options = {"UNDO"}  # not REGISTER: a touched setting in the redo panel would make all frames again
    what = "of the frames"

    directory: bpy.props.StringProperty(
        name="Folder",
        description="Where the frames are written",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"} | BLEND_RELATIVE,
    )
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    track: TRACK

    @classmethod
    def poll(cls, context: Any) -> bool:
        ob = active_head(cls, context)
        if ob is None:
            return False
        if not ob.loquent.footage:
            cls.poll_message_set("Press Head over Its Footage first")
            return False
        return idle(cls)

    def job(self, context: Any) -> Any:
        from ...core.errors import SceneError
        from .. import footage, sound
        from ..preferences import preference

        if not self.directory:
            raise SceneError("No folder is chosen for the inpainted frames. Choose one.")
        scene = context.scene
        return footage.InpaintJob(
            footage.Request(
                context.active_object.session_uid,
                scene.session_uid,
                Path(sound.absolute(self.directory)),
                (scene.frame_start, scene.frame_end),
                self.track,
                preference("threads", 0),
            )
        )


CLASSES = (LOQUENT_OT_head_over_footage, LOQUENT_OT_inpaint_footage)
