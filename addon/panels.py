# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels: drawing only."""

import textwrap
from typing import Any

import bpy

from ..core.head.motion import GROUPS
from . import session
from .convert import is_head
from .engine import LoquentRenderEngine
from .properties import CONTROLS


class Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Loquent"


class LOQUENT_PT_speak(Sidebar, bpy.types.Panel):
    bl_label = "Loquent"

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator_menu_enum("loquent.add_head", "avatar", text="Add Head", icon="USER")
        ob = context.active_object
        if is_head(ob):
            head = ob.loquent
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            column.prop(head, "avatar")
            if problem := session.problem(head.avatar):
                notice = layout.column(align=True)
                notice.alert = True
                for i, line in enumerate(textwrap.wrap(problem, 44)):
                    notice.label(text=line, icon="ERROR" if i == 0 else "BLANK1")
            column.prop(head, "sound")
            column.prop(head, "start")
        layout.operator("loquent.choose_sound", icon="FILE_SOUND")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("loquent.speak", icon="PLAY_SOUND")


class LOQUENT_PT_performance(Sidebar, bpy.types.Panel):
    bl_label = "Performance"
    bl_parent_id = "LOQUENT_PT_speak"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return is_head(context.active_object)

    def draw(self, context: Any) -> None:
        head = context.active_object.loquent
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(head, "seed")
        for name in CONTROLS:
            column.prop(head.controls, name)


class LOQUENT_PT_channels(Sidebar, bpy.types.Panel):
    bl_label = "Channels"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return is_head(context.active_object)

    def draw(self, context: Any) -> None:
        self.layout.operator("loquent.reset_channels", text="Reset All", icon="LOOP_BACK").group = ""


def _group_panel(index: int, group: str, channels: tuple[str, ...]):
    def draw_header_preset(self, context: Any) -> None:
        self.layout.operator("loquent.reset_channels", text="", icon="LOOP_BACK", emboss=False).group = group

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        for name in channels:
            column.prop(context.active_object.loquent.motion, name, slider=True)

    return type(
        f"LOQUENT_PT_channels_{index}",
        (Sidebar, bpy.types.Panel),
        {
            "bl_label": group,
            "bl_parent_id": "LOQUENT_PT_channels",
            "bl_options": {"DEFAULT_CLOSED"},
            "draw_header_preset": draw_header_preset,
            "draw": draw,
        },
    )


class OfEngine:
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.engine == LoquentRenderEngine.bl_idname


class LOQUENT_PT_film(OfEngine, bpy.types.Panel):
    bl_label = "Film"
    bl_context = "render"

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        self.layout.prop(context.scene.render, "film_transparent", text="Transparent")


class LOQUENT_PT_world(OfEngine, bpy.types.Panel):
    bl_label = "Background"
    bl_context = "world"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.engine == LoquentRenderEngine.bl_idname and context.world is not None

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        world = context.world
        background = (
            next((n for n in world.node_tree.nodes if n.type == "BACKGROUND"), None) if world.node_tree else None
        )
        if background:
            self.layout.prop(background.inputs["Color"], "default_value", text="Color")
            self.layout.prop(background.inputs["Strength"], "default_value", text="Strength")
        else:
            self.layout.prop(world, "color")


class LOQUENT_PT_passes(OfEngine, bpy.types.Panel):
    bl_label = "Passes"
    bl_context = "view_layer"

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        self.layout.prop(context.view_layer, "use_pass_z", text="Depth")


CLASSES = (
    LOQUENT_PT_speak,
    LOQUENT_PT_performance,
    LOQUENT_PT_channels,
    *(_group_panel(i, group, channels) for i, (group, channels) in enumerate(GROUPS.items())),
    LOQUENT_PT_film,
    LOQUENT_PT_world,
    LOQUENT_PT_passes,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
