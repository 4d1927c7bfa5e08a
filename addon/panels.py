# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels: drawing only."""

import textwrap
from typing import Any

import bpy

from ..core.head.motion import GROUPS
from .convert import is_head
from .properties import CONTROLS

ENGINE = "LOQUENT"
MOODS = ("neutral", "happy", "sad", "angry", "surprised")


class Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Loquent"


class OfHead(Sidebar):
    """Shown for heads only."""

    @classmethod
    def poll(cls, context: Any) -> bool:
        return is_head(context.active_object)


def _performer(context: Any) -> Any:
    """The active object if it is a head or a character."""
    ob = context.active_object
    return ob if ob is not None and ob.type == "MESH" and (ob.loquent.avatar or ob.loquent.shapes) else None


def _split(layout: Any) -> Any:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def _problem(layout: Any, avatar: str) -> None:
    from . import session

    if problem := session.problem(avatar):
        notice = layout.column(align=True)
        notice.alert = True
        for i, line in enumerate(textwrap.wrap(problem, 44)):
            notice.label(text=line, icon="ERROR" if i == 0 else "BLANK1")
        layout.operator("loquent.relink", icon="FILE_FOLDER")


class LOQUENT_PT_speak(Sidebar, bpy.types.Panel):
    bl_label = "Loquent"

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        row = layout.row(align=True)
        row.operator_menu_enum("loquent.add_head", "avatar", text="Add Head", icon="USER")
        row.operator("loquent.head_from_photo", text="", icon="IMAGE_DATA")
        row.operator("loquent.head_from_video", text="", icon="FILE_MOVIE")
        ob = _performer(context)
        if ob is None:
            if context.active_object and context.active_object.type == "MESH" and context.active_object.data.shape_keys:
                layout.operator("loquent.find_shapes", icon="SHAPEKEY_DATA")
            layout.operator("loquent.speak", icon="PLAY_SOUND")  # grey, and says why
            return
        head = ob.loquent
        column = _split(layout)
        if head.avatar:
            column.prop(head, "avatar")
            _problem(layout, head.avatar)
            if head.avatar.lower().endswith((".ply", ".spz")):
                from . import sound
                from .paths import home

                layout.label(text="Plain splats stand still", icon="INFO")
                button = layout.operator("loquent.head_from_splats", text="Make a Head That Speaks", icon="USER")
                button.filepath = str(sound.absolute(head.avatar, home(ob, "avatar")))
            column = _split(layout)
        column.prop(head, "source", expand=True)
        if head.source == "FILE":
            row = column.row(align=True)
            row.prop(head, "sound")
            row.operator("loquent.choose_sound", text="", icon="FILE_SOUND")
            column.prop(head, "start")
        elif head.source == "TRACK":
            column.prop(head, "track")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("loquent.speak", icon="PLAY_SOUND")


class LOQUENT_PT_keys(Sidebar, bpy.types.Panel):
    bl_label = "Keys"
    bl_parent_id = "LOQUENT_PT_speak"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _performer(context) is not None

    def draw(self, context: Any) -> None:
        head = _performer(context).loquent
        column = _split(self.layout)
        column.prop(head, "mode")
        column.prop(head, "keep_edits")
        column.prop(head, "sparse")
        row = column.row()
        row.active = head.sparse
        row.prop(head, "millimetres", text="Error (mm)")
        column.prop(head, "use_range")
        row = column.column(align=True)
        row.active = head.use_range
        row.prop(head, "range_start")
        row.prop(head, "range_end")
        column.prop(head, "phones")
        column.prop(context.window_manager, "loquent_waveform")
        column = self.layout.column()
        column.operator("loquent.show_take", icon="ACTION")
        column.operator("loquent.pass_on", icon="COPYDOWN")
        column.operator("loquent.perform", icon="FILE_MOVIE")
        row = column.row(align=True)
        row.operator("loquent.import_motion", text="Import", icon="IMPORT")
        row.operator("loquent.export_motion", text="Export", icon="EXPORT")


class LOQUENT_PT_performance(Sidebar, bpy.types.Panel):
    bl_label = "Performance"
    bl_parent_id = "LOQUENT_PT_speak"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _performer(context) is not None

    def draw(self, context: Any) -> None:
        head = _performer(context).loquent
        column = self.layout.column()
        column.use_property_split = True  # with dots: controls can be keyed
        column.prop(head, "seed")
        column.prop(head, "style")
        for name in CONTROLS:
            if name == MOODS[0]:
                column.separator()
            column.prop(head.controls, name)
            if name == MOODS[-1]:
                column.separator()


class LOQUENT_PT_character(Sidebar, bpy.types.Panel):
    bl_label = "Shape Keys"
    bl_parent_id = "LOQUENT_PT_speak"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        ob = _performer(context)
        return ob is not None and not ob.loquent.avatar

    def draw(self, context: Any) -> None:
        head = context.active_object.loquent
        row = self.layout.row()
        row.template_list("LOQUENT_UL_shapes", "", head, "shapes", head, "shape_index", rows=6)
        column = row.column(align=True)
        for action, icon in (("ADD", "ADD"), ("REMOVE", "REMOVE"), ("CLEAR", "X")):
            column.operator("loquent.shape_row", text="", icon=icon).action = action
        self.layout.operator("loquent.find_shapes", icon="VIEWZOOM")


class LOQUENT_PT_rig(OfHead, bpy.types.Panel):
    bl_label = "Control Rig"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        from . import rig

        ob = context.active_object
        if rig.find_rig(ob) is None:
            other = rig.moved_by(ob)
            if other is not None:
                self.layout.label(text=f"Follows '{other.name}'", icon="LINKED")
                self.layout.operator("loquent.remove_rig", text="Follow No More", icon="X")
            self.layout.operator("loquent.add_rig", icon="ARMATURE_DATA")
            return
        self.layout.prop(context.active_object.loquent, "hold", slider=True)
        row = self.layout.row(align=True)
        row.operator("loquent.reset_rig", text="Reset", icon="LOOP_BACK")
        row.operator("loquent.remove_rig", text="Remove", icon="X")


class LOQUENT_PT_channels(OfHead, bpy.types.Panel):
    bl_label = "Channels"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.row().prop(context.active_object.loquent, "layer", expand=True)
        row = layout.row(align=True)
        row.menu("LOQUENT_MT_expressions", icon="PRESET")
        row.operator("loquent.reset_channels", text="", icon="LOOP_BACK").group = ""


def _group_panel(index: int, group: str, channels: tuple[str, ...]):
    def draw_header_preset(self, context: Any) -> None:
        self.layout.operator("loquent.reset_channels", text="", icon="LOOP_BACK", emboss=False).group = group

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        head = context.active_object.loquent
        for name in channels:
            column.prop(getattr(head, head.layer), name, slider=True)

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
        return context.engine == ENGINE


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
        return context.engine == ENGINE and context.world is not None

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


CLASSES = (
    LOQUENT_PT_speak,
    LOQUENT_PT_keys,
    LOQUENT_PT_performance,
    LOQUENT_PT_character,
    LOQUENT_PT_rig,
    LOQUENT_PT_channels,
    *(_group_panel(i, group, channels) for i, (group, channels) in enumerate(GROUPS.items())),
    LOQUENT_PT_film,
    LOQUENT_PT_world,
)


register, unregister = bpy.utils.register_classes_factory(CLASSES)
