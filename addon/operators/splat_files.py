# SPDX-License-Identifier: GPL-3.0-or-later
"""File > Import and Export: heads of other programs, and what a head shows as splat files."""

from typing import Any

import bpy

from .base import ExportOperator, active_head, format_choice, shown_files

FORMATS = {".ply": "3D Gaussians (.ply)", ".spz": "SPZ (.spz), smaller and coarser"}


class LOQUENT_OT_export_splats(ExportOperator, bpy.types.Operator):
    """Write the active head as 3D Gaussians for other programs: as it is now, or a file for each frame of the scene"""

    bl_idname = "loquent.export_splats"
    bl_label = "Export Head as Splats"
    bl_options = {"REGISTER"}

    filter_glob: shown_files(FORMATS)
    format: format_choice(FORMATS)
    sequence: bpy.props.BoolProperty(
        name="All Frames", description="A file for each frame of the scene; the frame's number comes before the suffix"
    )
    placed: bpy.props.BoolProperty(
        name="Where It Stands",
        description="In the scene's coordinates with z up; else in the head's own, with y up and the joint of the skull at 0",
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def run(self, context: Any) -> None:
        from ...core.splats.formats import write_splats
        from .. import session, sound

        scene, ob = context.scene, context.active_object
        path = sound.absolute(self.filepath)
        path = path if path.suffix.lower() in FORMATS else path.with_suffix(self.format)
        loaded = session.of(ob)
        if not self.sequence:
            count = len(gaussians := _shown(context, ob, loaded, self.placed))
            write_splats(gaussians, path, linear=not loaded.foreign)
            self.report({"INFO"}, f"{count:,} Gaussians in '{path}'.")
            return
        first, last = scene.frame_start, scene.frame_end
        current, sub = scene.frame_current, scene.frame_subframe
        digits = max(4, len(str(last)))
        try:
            for frame in range(first, last + 1):
                scene.frame_set(frame)
                name = path.with_name(f"{path.stem}_{frame:0{digits}d}{path.suffix}")
                write_splats(_shown(context, ob, loaded, self.placed), name, linear=not loaded.foreign)
        finally:
            scene.frame_set(current, subframe=sub)
        self.report({"INFO"}, f"{last - first + 1} files beside '{path}'.")


def _shown(context: Any, ob: Any, loaded: Any, placed: bool) -> Any:
    """Gaussians of a head as the scene shows it now."""
    import numpy as np

    from ...core.splats.moved import moved
    from .. import convert

    evaluated = ob.evaluated_get(context.evaluated_depsgraph_get())
    gaussians = loaded.pose(convert.channel_values(evaluated))
    if not placed:
        return gaussians
    matrix = np.array(evaluated.matrix_world, np.float64) @ convert.OBJECT_FROM_HEAD
    scale = float(np.cbrt(abs(np.linalg.det(matrix[:3, :3]))))
    u, _, vt = np.linalg.svd(matrix[:3, :3])  # an uneven scale becomes the even one that comes nearest
    return moved(gaussians, scale, u @ vt, matrix[:3, 3])


def _import_menu(self: Any, context: Any) -> None:
    self.layout.operator_context = "INVOKE_DEFAULT"
    button = self.layout.operator("loquent.add_head", text="Loquent Head (.loq, .zip, .ply, .spz)")
    button.avatar = "FILE"
    self.layout.operator("loquent.head_from_splats", text="Splats as Speaking Loquent Head (.ply, .spz, .zip)")


def _export_menu(self: Any, context: Any) -> None:
    self.layout.operator(LOQUENT_OT_export_splats.bl_idname, text="Loquent Head as Splats (.ply, .spz)")


def add_menus() -> None:
    """Entries in File > Import and File > Export."""
    bpy.types.TOPBAR_MT_file_import.append(_import_menu)
    bpy.types.TOPBAR_MT_file_export.append(_export_menu)


def remove_menus() -> None:
    bpy.types.TOPBAR_MT_file_export.remove(_export_menu)
    bpy.types.TOPBAR_MT_file_import.remove(_import_menu)


CLASSES = (LOQUENT_OT_export_splats,)
