# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions: sliders set at once, from what ships and from what the user has saved."""

from pathlib import Path
from typing import Any

import bpy

from ...core.errors import FormatError
from ..preferences import user_folder
from .base import CoreOperator, active_head

FOLDER = "expressions"
_items: list[tuple[str, str, str]] = []


def folder(*, create: bool = False) -> Path:
    """Where this user's own expressions lie; never inside the extension, which may be read-only and is erased on update."""
    return user_folder(FOLDER, create=create)


def saved() -> dict[str, Path]:
    """This user's own expressions by name."""
    place = folder()
    return {path.stem: path for path in sorted(place.glob("*.json"))} if place.is_dir() else {}


def _enum(self: Any, context: Any) -> list[tuple[str, str, str]]:
    _items[:] = [
        (name, name, "Delete this expression of yours") for name in saved()
    ]  # Blender keeps no copy of its own
    return _items


class LOQUENT_OT_apply_expression(CoreOperator, bpy.types.Operator):
    """Set the sliders to this expression; with Shift, add it to what they show"""

    bl_idname = "loquent.apply_expression"
    bl_label = "Apply Expression"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.StringProperty(name="Name")
    strength: bpy.props.FloatProperty(name="Strength", default=1.0, soft_min=0.0, soft_max=1.0)
    add: bpy.props.BoolProperty(name="Add", description="Add to what the sliders show")

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.add = event.shift
        return self.execute(context)

    def run(self, context: Any) -> None:
        from ...core.head.expressions import SHIPPED, read_expression
        from ...core.head.motion import CHANNELS

        own = saved()
        if self.name in own:
            values = read_expression(own[self.name])
        elif self.name in SHIPPED:
            values = SHIPPED[self.name]
        else:
            raise FormatError(f"There is no expression '{self.name}'. Choose one from the menu.")
        head = context.active_object.loquent
        layer = getattr(head, head.layer)
        for channel in CHANNELS:
            base = getattr(layer, channel) if self.add else 0.0
            setattr(layer, channel, base + self.strength * values.get(channel, 0.0))


class LOQUENT_OT_save_expression(CoreOperator, bpy.types.Operator):
    """Save what the sliders show as an expression of your own, for every file"""

    bl_idname = "loquent.save_expression"
    bl_label = "Save Expression"
    bl_options = {"REGISTER"}

    name: bpy.props.StringProperty(name="Name", default="My Expression", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def run(self, context: Any) -> None:
        from ...core.head.expressions import write_expression
        from ...core.head.motion import CHANNELS

        name = bpy.path.clean_name(self.name.strip()).strip("_ .")
        if not name:
            raise FormatError("An expression needs a name. Type one.")
        head = context.active_object.loquent
        layer = getattr(head, head.layer)
        values = {channel: getattr(layer, channel) for channel in CHANNELS}
        if not any(values.values()):
            raise FormatError("All sliders stand at zero: there is nothing to save. Move some first.")
        path = folder(create=True) / f"{name}.json"
        write_expression(values, path)
        self.report({"INFO"}, f"Saved as '{path}'.")


class LOQUENT_OT_delete_expression(CoreOperator, bpy.types.Operator):
    """Delete an expression that you have saved"""

    bl_idname = "loquent.delete_expression"
    bl_label = "Delete Expression"
    bl_options = {"REGISTER"}

    name: bpy.props.EnumProperty(name="Expression", items=_enum)

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not saved():
            cls.poll_message_set("You have not saved an expression yet")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def run(self, context: Any) -> None:
        path = saved().get(self.name)
        if path is None:
            raise FormatError(f"There is no expression '{self.name}' of yours.")
        path.unlink(missing_ok=True)


class LOQUENT_MT_expressions(bpy.types.Menu):
    """Expressions to set the sliders to."""

    bl_label = "Expressions"

    def draw(self, context: Any) -> None:
        from ...core.head.expressions import SHIPPED

        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        for name in SHIPPED:
            layout.operator("loquent.apply_expression", text=name).name = name
        own = saved()
        if own:
            layout.separator()
            for name in own:
                layout.operator("loquent.apply_expression", text=name, icon="USER").name = name
        layout.separator()
        layout.operator("loquent.save_expression", icon="ADD")
        layout.operator("loquent.delete_expression", icon="REMOVE")


CLASSES = (
    LOQUENT_OT_apply_expression,
    LOQUENT_OT_save_expression,
    LOQUENT_OT_delete_expression,
    LOQUENT_MT_expressions,
)
