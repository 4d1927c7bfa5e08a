# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender 5.3 and later draw splats themselves: a posed head as such a point cloud, for EEVEE and Cycles."""

from typing import Any

import bpy

from .. import convert, native_splats, session
from .base import CoreOperator, active_head


class LOQUENT_OT_to_native_splats(CoreOperator, bpy.types.Operator):
    """Copy the head, as it is posed at this frame, into a point cloud of Blender's own splats"""

    bl_idname = "loquent.to_native_splats"
    bl_label = "Head to Native Splats"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def run(self, context: Any) -> None:
        ob = context.active_object.evaluated_get(context.evaluated_depsgraph_get())
        loaded = session.of(ob)
        gaussians = loaded.pose(convert.channel_values(ob))
        cloud = native_splats.point_cloud(
            f"{ob.name} Splats", native_splats.attributes(gaussians, display=loaded.foreign)
        )
        made = bpy.data.objects.new(cloud.name, cloud)
        made.matrix_world = ob.matrix_world
        context.collection.objects.link(made)
        for other in context.selected_objects:
            other.select_set(False)
        made.select_set(True)
        context.view_layer.objects.active = made


def menu(self: Any, context: Any) -> None:
    self.layout.operator(LOQUENT_OT_to_native_splats.bl_idname, icon="POINTCLOUD_DATA")


CLASSES = (LOQUENT_OT_to_native_splats,) if native_splats.available() else ()
