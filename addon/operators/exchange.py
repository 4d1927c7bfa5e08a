# SPDX-License-Identifier: GPL-3.0-or-later
"""Performances from and to other programs: Live Link Face CSV and ARKit JSON."""

from pathlib import Path
from typing import Any

import bpy

from ...core.errors import FormatError
from .. import convert, jobs, sound, timeline
from ..properties import BLEND_RELATIVE
from .base import CoreOperator, active_performer

FORMATS = {".csv": "Live Link Face CSV", ".json": "ARKit JSON"}


def read_motion(path: Path, fps: float | None = None) -> Any:
    """A Motion from a file, by its suffix. Raises FormatError."""
    if path.suffix.lower() == ".csv":
        from ...core.head.livelink import read_livelink

        return read_livelink(path, fps)
    if path.suffix.lower() == ".json":
        from ...core.head.arkit_json import read_arkit_json

        return read_arkit_json(path, fps)
    raise FormatError(
        f"'{path}' ends in '{path.suffix}'; expected {' or '.join(f'{k} ({v})' for k, v in FORMATS.items())}."
    )


def write_motion(motion: Any, path: Path) -> None:
    """A Motion to a file, by its suffix. Raises FormatError."""
    if path.suffix.lower() == ".json":
        from ...core.head.arkit_json import write_arkit_json

        write_arkit_json(motion, path)
    elif path.suffix.lower() == ".csv":
        from ...core.head.livelink import write_livelink

        write_livelink(motion, path)
    else:
        raise FormatError(f"'{path}' should end in .csv (Live Link Face) or .json (ARKit); found '{path.suffix}'.")


class LOQUENT_OT_import_motion(CoreOperator, bpy.types.Operator):
    """Read a captured face, Live Link Face CSV or ARKit JSON, as a take of this head or character"""

    bl_idname = "loquent.import_motion"
    bl_label = "Import Face Capture"
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"} | BLEND_RELATIVE)
    filter_glob: bpy.props.StringProperty(default="*.csv;*.json", options={"HIDDEN"})
    fps: bpy.props.FloatProperty(
        name="Rate", description="Frames per second of the file; 0: as the file tells", min=0.0, max=1000.0
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_performer(cls, context) is not None

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        ob = context.active_object
        path = sound.absolute(self.filepath)
        motion = read_motion(path, self.fps or None)
        settings = ob.loquent
        bake = timeline.Bake(settings.millimetres if settings.sparse else 0.0, f"capture {path.name}")
        jobs.heads.own_uuid(ob)
        action = timeline.apply_motion(context.scene, ob, motion, settings.start, f"Capture {path.stem}", bake)
        self.report({"INFO"}, f"{len(motion)} frames at {motion.fps:g} fps in Action '{action.name}'.")


class LOQUENT_OT_export_motion(CoreOperator, bpy.types.Operator):
    """Write what this head or character shows over the scene's frames as Live Link Face CSV or ARKit JSON"""

    bl_idname = "loquent.export_motion"
    bl_label = "Export Face Capture"
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.csv;*.json", options={"HIDDEN"})
    check_existing: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    format: bpy.props.EnumProperty(
        name="Format",
        items=[(suffix, name, f"Write {name}") for suffix, name in FORMATS.items()],
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_performer(cls, context) is not None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = bpy.path.ensure_ext(bpy.path.clean_name(context.active_object.name), self.format)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: Any) -> bool:
        wanted = str(Path(self.filepath).with_suffix(self.format)) if self.filepath else ""
        changed = wanted != self.filepath
        self.filepath = wanted
        return changed

    def run(self, context: Any) -> None:
        from .. import characters

        scene = context.scene
        path = sound.absolute(self.filepath)
        if path.suffix.lower() not in FORMATS:
            raise FormatError(f"'{path}' should end in .csv (Live Link Face) or .json (ARKit); found '{path.suffix}'.")
        motion = characters.shown_motion(scene, context.active_object, scene.frame_start, scene.frame_end)
        write_motion(motion, path)
        self.report({"INFO"}, f"{len(motion)} frames at {convert.frames_per_second(scene):g} fps in '{path}'.")


CLASSES = (LOQUENT_OT_import_motion, LOQUENT_OT_export_motion)
