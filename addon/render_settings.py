# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene and a view layer say about rendering beyond Blender's own settings."""

from typing import Any

import bpy


class LoquentRender(bpy.types.PropertyGroup):
    """Of a scene."""

    lens_samples: bpy.props.IntProperty(
        name="Lens Samples",
        description="Pictures averaged for depth of field, seen from as many points of the lens. More is smoother and slower",
        default=48, min=1, soft_max=256, max=1024,
    )  # fmt: skip
    motion_samples: bpy.props.IntProperty(
        name="Motion Samples",
        description="Moments averaged for motion blur while the shutter is open. More is smoother and slower",
        default=16, min=1, soft_max=64, max=1024,
    )  # fmt: skip
    use_holdout: bpy.props.BoolProperty(
        name="Meshes Hide Heads",
        description="Meshes of the scene that stand before a head cut it out, so that it fits over a render of them",
        default=True,
    )
    plate: bpy.props.PointerProperty(
        type=bpy.types.Scene,
        name="Plate Scene",
        description="The scene whose render the heads of this one are put over: its camera and render border are used here",
    )


class LoquentLayer(bpy.types.PropertyGroup):
    """Of a view layer."""

    use_pass_coverage: bpy.props.BoolProperty(
        name="Coverage",
        description="What the heads cover, 0 to 1; also where the film is not transparent and Alpha says nothing",
    )


def settings(scene: Any) -> Any:
    """Render settings of a scene, original or evaluated."""
    return scene.loquent_render


_register, _unregister = bpy.utils.register_classes_factory((LoquentRender, LoquentLayer))


def register() -> None:
    _register()
    bpy.types.Scene.loquent_render = bpy.props.PointerProperty(type=LoquentRender)
    bpy.types.ViewLayer.loquent = bpy.props.PointerProperty(type=LoquentLayer)


def unregister() -> None:
    del bpy.types.ViewLayer.loquent
    del bpy.types.Scene.loquent_render
    _unregister()
