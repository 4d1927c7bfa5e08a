# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters of any make: find their shape keys, edit the table, and pass a performance on."""

from typing import Any

import bpy

from .base import CoreOperator, active_performer


def _active_mesh(cls: Any, context: Any) -> Any:
    ob = context.active_object
    if ob is None or ob.type != "MESH" or ob.loquent.avatar:
        cls.poll_message_set("Select a mesh character first")
        return None
    if not ob.is_editable:
        cls.poll_message_set("This character is linked: make a library override of it first")
        return None
    return ob


class LOQUENT_OT_find_shapes(CoreOperator, bpy.types.Operator):
    """Map this character's shape keys to speech by their names; what the table held is replaced"""

    bl_idname = "loquent.find_shapes"
    bl_label = "Find Shape Keys"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        ob = _active_mesh(cls, context)
        if ob is None:
            return False
        if ob.data.shape_keys is None:
            cls.poll_message_set("This mesh has no shape keys")
            return False
        return True

    def run(self, context: Any) -> None:
        from .. import characters

        count = characters.find_shapes(context.active_object)
        self.report({"INFO"}, f"{count} shape keys of '{context.active_object.name}' follow the speech.")


class LOQUENT_OT_shape_row(CoreOperator, bpy.types.Operator):
    """Add or remove a row of the table of shape keys"""

    bl_idname = "loquent.shape_row"
    bl_label = "Row"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    action: bpy.props.EnumProperty(
        items=[
            ("ADD", "Add", "Add a row"),
            ("REMOVE", "Remove", "Remove the selected row"),
            ("CLEAR", "Clear", "Remove all rows: the mesh is no character of Loquent's any more"),
        ]
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _active_mesh(cls, context) is not None

    def run(self, context: Any) -> None:
        head = context.active_object.loquent
        if self.action == "ADD":
            row = head.shapes.add()
            row.name, row.channel = "", "jawOpen"
            head.shape_index = len(head.shapes) - 1
        elif self.action == "CLEAR":
            head.shapes.clear()
        elif 0 <= head.shape_index < len(head.shapes):
            head.shapes.remove(head.shape_index)
            head.shape_index = max(0, head.shape_index - 1)


class LOQUENT_OT_pass_on(CoreOperator, bpy.types.Operator):
    """Copy the speech of the active head or character, key for key, to the other selected heads and characters"""

    bl_idname = "loquent.pass_on"
    bl_label = "Copy Speech to Selected"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if active_performer(cls, context) is None:
            return False
        if not _others(context):
            cls.poll_message_set("Select the characters that shall say the same too, the speaker last")
            return False
        return True

    def run(self, context: Any) -> None:
        from .. import characters
        from ..performers import is_performer

        source = context.active_object
        mapped = 0
        for target in _others(context):
            if not is_performer(target):
                characters.find_shapes(target)
                mapped += 1
            characters.pass_on(context.scene, source, target)
        told = f"{len(_others(context))} selected now say what '{source.name}' says."
        self.report({"INFO"}, told + (f" {mapped} had their shape keys mapped by name." if mapped else ""))


def _others(context: Any) -> list[Any]:
    from ..performers import is_performer

    return [
        ob
        for ob in context.selected_objects
        if ob != context.active_object and ob.type == "MESH" and (is_performer(ob) or ob.data.shape_keys)
    ]


class LOQUENT_UL_shapes(bpy.types.UIList):
    """Rows of a character's table: shape key, channel, factor."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, active: Any, prop: Any, index: int
    ) -> None:
        from ...core.head.motion import CHANNELS

        key = context.active_object.data.shape_keys
        row = layout.row(align=True)
        row.alert = key is None or item.name not in key.key_blocks or item.channel not in CHANNELS
        if key:
            row.prop_search(item, "name", key, "key_blocks", text="")
        row.prop_search(item, "channel", data.motion.bl_rna, "properties", text="")
        row.prop(item, "factor", text="", emboss=False)


CLASSES = (LOQUENT_OT_find_shapes, LOQUENT_OT_shape_row, LOQUENT_OT_pass_on, LOQUENT_UL_shapes)
