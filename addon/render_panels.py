# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels of rendering and compositing, and the operators that they show."""

from typing import Any

import bpy

from .engine import LoquentRenderEngine
from .node_groups import GRAIN, MATTE, OVER
from .operators import composite, native_splats
from .render_settings import settings


class OfEngine:
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.engine == LoquentRenderEngine.bl_idname


class LOQUENT_PT_sampling(OfEngine, bpy.types.Panel):
    bl_label = "Sampling"
    bl_context = "render"

    def draw(self, context: Any) -> None:
        wanted = settings(context.scene)
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(wanted, "lens_samples")
        column.prop(wanted, "motion_samples")
        column.prop(wanted, "use_holdout")
        column.prop(wanted, "plate")


class LOQUENT_PT_motion_blur(OfEngine, bpy.types.Panel):
    bl_label = "Motion Blur"
    bl_context = "render"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: Any) -> None:
        self.layout.prop(context.scene.render, "use_motion_blur", text="")

    def draw(self, context: Any) -> None:
        render = context.scene.render
        column = self.layout.column()
        column.use_property_split = True
        column.active = render.use_motion_blur
        column.prop(render, "motion_blur_position", text="Position")
        column.prop(render, "motion_blur_shutter")
        column.prop(settings(context.scene), "motion_samples", text="Samples")


class LOQUENT_PT_passes(OfEngine, bpy.types.Panel):
    bl_label = "Passes"
    bl_context = "view_layer"

    def draw(self, context: Any) -> None:
        layer = context.view_layer
        column = self.layout.column(heading="Data")
        column.use_property_split = True
        column.use_property_decorate = False
        for name in ("z", "mist", "normal"):
            column.prop(layer, f"use_pass_{name}")
        row = column.row()
        row.active = not context.scene.render.use_motion_blur
        row.prop(layer, "use_pass_vector")
        column.prop(layer.loquent, "use_pass_coverage")
        column = self.layout.column(heading="Cryptomatte")
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(layer, "use_pass_cryptomatte_object", text="Object")
        column.prop(layer, "use_pass_cryptomatte_material", text="Region")
        column.prop(layer, "use_pass_cryptomatte_asset", text="Asset")
        column.prop(layer, "pass_cryptomatte_depth", text="Levels")


class LOQUENT_PT_compositor(bpy.types.Panel):
    bl_label = "Loquent"
    bl_space_type = "NODE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Loquent"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.space_data.tree_type == "CompositorNodeTree"

    def draw(self, context: Any) -> None:
        column = self.layout.column()
        column.operator("loquent.head_over_plate", icon="OUTLINER_OB_CAMERA")
        column = self.layout.column(align=True)
        for name in (OVER, MATTE, GRAIN):
            column.operator("loquent.add_to_compositor", text=name.removeprefix("Loquent ")).group = name


CLASSES = (
    *composite.CLASSES,
    *native_splats.CLASSES,
    LOQUENT_PT_sampling,
    LOQUENT_PT_motion_blur,
    LOQUENT_PT_passes,
    LOQUENT_PT_compositor,
)


_register, _unregister = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register()
    if native_splats.CLASSES:
        bpy.types.VIEW3D_MT_object_convert.append(native_splats.menu)


def unregister() -> None:
    if native_splats.CLASSES:
        bpy.types.VIEW3D_MT_object_convert.remove(native_splats.menu)
    _unregister()
