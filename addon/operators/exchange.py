# SPDX-License-Identifier: GPL-3.0-or-later
"""Performances from and to other programs: Live Link Face CSV, ARKit JSON, FLAME."""

from typing import Any

import bpy

from .base import ExportOperator, FileOperator, active_performer, format_choice, shown_files

FORMATS = {".csv": "Live Link Face CSV", ".json": "ARKit JSON", ".npz": "FLAME parameters"}


class LOQUENT_OT_import_motion(FileOperator, bpy.types.Operator):
    """Read a captured face, Live Link Face CSV, ARKit JSON or FLAME, as a take of this head or character"""

    bl_idname = "loquent.import_motion"
    bl_label = "Import Face Capture"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: shown_files(FORMATS)
    fps: bpy.props.FloatProperty(
        name="Rate", description="Frames per second of the file; 0: as the file tells", min=0.0, max=1000.0
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_performer(cls, context) is not None

    def run(self, context: Any) -> None:
        from ...core.head.motion_files import read_motion
        from .. import heads, sound, timeline

        ob = context.active_object
        path = sound.absolute(self.filepath)
        motion = read_motion(path, self.fps or None)
        settings = ob.loquent
        bake = timeline.Bake(settings.millimetres if settings.sparse else 0.0, f"capture {path.name}")
        heads.own_uuid(ob)
        action = timeline.apply_motion(context.scene, ob, motion, settings.start, f"Capture {path.stem}", bake)
        self.report({"INFO"}, f"{len(motion)} frames at {motion.fps:g} fps in Action '{action.name}'.")


class LOQUENT_OT_export_motion(ExportOperator, bpy.types.Operator):
    """Write what this head or character shows over the scene's frames as Live Link Face CSV, ARKit JSON or FLAME"""

    bl_idname = "loquent.export_motion"
    bl_label = "Export Face Capture"
    bl_options = {"REGISTER"}

    filter_glob: shown_files(FORMATS)
    format: format_choice(FORMATS)

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_performer(cls, context) is not None

    def run(self, context: Any) -> None:
        from ...core.head.motion_files import check_suffix, write_motion
        from .. import characters, convert, sound

        scene = context.scene
        path = sound.absolute(self.filepath)
        check_suffix(path)  # before minutes of frames are gone through
        motion = characters.shown_motion(scene, context.active_object, scene.frame_start, scene.frame_end)
        write_motion(motion, path)
        self.report({"INFO"}, f"{len(motion)} frames at {convert.frames_per_second(scene):g} fps in '{path}'.")


CLASSES = (LOQUENT_OT_import_motion, LOQUENT_OT_export_motion)
