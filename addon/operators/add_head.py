# SPDX-License-Identifier: GPL-3.0-or-later
"""Add Head: a head at the 3D cursor."""

from typing import Any

import bpy

from ...core.assets import AVATARS
from ..properties import BLEND_RELATIVE
from .base import CoreOperator

OWN_FILE = "FILE"


class LOQUENT_OT_add_head(CoreOperator, bpy.types.Operator):
    """Add a talking head at the 3D cursor"""

    bl_idname = "loquent.add_head"
    bl_label = "Add Head"
    bl_options = {"REGISTER", "UNDO"}

    avatar: bpy.props.EnumProperty(
        name="Head",
        items=[(name, name.title(), f"The built-in head {name.title()}") for name in AVATARS]
        + [(OWN_FILE, "From File", "A .loq file")],
    )
    filepath: bpy.props.StringProperty(
        name="File", description="A .loq file", subtype="FILE_PATH", options=BLEND_RELATIVE
    )
    filter_glob: bpy.props.StringProperty(default="*.loq;*.ply;*.spz;*.zip", options={"HIDDEN"})
    setup_scene: bpy.props.BoolProperty(
        name="Set Up Scene", description="Also add a camera framed on the head and choose Loquent as render engine"
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave edit mode first")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> set[str]:
        if self.avatar != OWN_FILE:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        from .. import scene as scenes

        avatar = self.filepath if self.avatar == OWN_FILE else self.avatar
        ob = scenes.build_head_object(
            context.scene, avatar, location=context.scene.cursor.location, collection=context.collection
        )
        for other in context.selected_objects:
            other.select_set(False)
        ob.select_set(True)
        context.view_layer.objects.active = ob
        if self.setup_scene:
            scenes.setup_scene(context.scene, ob)

    def draw(self, context: Any) -> None:
        column = self.layout.column()
        column.use_property_split = True
        if context.area is None or context.area.type != "FILE_BROWSER":
            column.prop(self, "avatar")
            if self.avatar == OWN_FILE:
                column.prop(self, "filepath")
        column.prop(self, "setup_scene")
