# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads in the 3D viewport: in Rendered mode of our engine, and over Solid and Material Preview of any engine."""

from typing import Any

import bpy
import numpy as np

from ..core.errors import LoquentError
from . import convert, session

_cards: dict[int, Any] = {}
"""Heads on the graphics card, by the object's session identifier; the avatar they were made from beside them."""
_handler: Any = None


def draw_view(context: Any, depsgraph: Any) -> None:
    """Draw all heads that this view shows, farthest head first; colour scene-linear, then depth for the overlays."""
    import gpu

    region, view = context.region, context.region_data
    heads = _visible(depsgraph, context.space_data)
    gpu.state.blend_set("ALPHA_PREMULT")
    gpu.state.depth_test_set("NONE")
    draw_heads(heads, view.view_matrix, view.window_matrix, region.width, region.height)
    # Without depth the grid and the outlines would be drawn through the head.
    gpu.state.blend_set("NONE")
    gpu.state.color_mask_set(False, False, False, False)
    gpu.state.depth_mask_set(True)
    gpu.state.depth_test_set("LESS_EQUAL")
    draw_heads(heads, view.view_matrix, view.window_matrix, region.width, region.height, depth_only=True)
    gpu.state.depth_mask_set(False)
    gpu.state.color_mask_set(True, True, True, True)
    gpu.state.depth_test_set("NONE")


def draw_heads(
    heads: list[tuple[int, Any, np.ndarray, np.ndarray]],
    view_matrix: Any,
    projection: Any,
    width: int,
    height: int,
    *,
    depth_only: bool = False,
) -> None:
    """Draw heads (identifier, loaded avatar, channel values, world matrix) into the bound framebuffer."""
    from .splat_drawing import View

    view_matrix, projection = np.array(view_matrix, np.float64), np.array(projection, np.float64)
    clip = (float(projection[2, 2]), float(projection[2, 3]))
    for uid, loaded, values, world in sorted(heads, key=lambda head: float((view_matrix @ head[3])[2, 3])):
        origin = (view_matrix @ world)[2, 3]
        camera, back = convert.camera_from_matrices(view_matrix, projection, width, height, focus=-origin)
        card = _on_card(uid, loaded)
        card.draw(card.pose(values), world, View(camera, back, clip), depth_only=depth_only)


def _visible(depsgraph: Any, space: Any) -> list[tuple[int, Any, np.ndarray, np.ndarray]]:
    """Heads to draw. One that cannot be loaded is an error only when no other can."""
    heads, failed = [], None
    for instance in convert.head_instances(depsgraph):
        ob = instance.object
        owner = instance.parent.original if instance.is_instance and instance.parent else ob.original
        if space is not None and not owner.visible_in_viewport_get(space):
            continue
        try:
            loaded = session.performer(ob.loquent.avatar, ob.library)
        except LoquentError as error:
            failed = error
            continue
        if loaded.foreign:  # drawn by F12; here its box stands for it
            continue
        world = convert.world_from_head(instance.matrix_world)
        if abs(np.linalg.det(world[:3, :3])) > 1e-12:  # scaled to nothing: nothing to see
            heads.append((ob.original.session_uid, loaded, convert.channel_values(ob), world))
    if failed and not heads:
        raise failed
    return heads


def _on_card(uid: int, loaded: Any) -> Any:
    from .splat_drawing import HeadOnCard

    found = _cards.get(uid)
    if found is None or found[0] is not loaded:
        found = _cards[uid] = (loaded, HeadOnCard(loaded.performer))
    return found[1]


def _draw_over() -> None:
    """The head over Blender's own shading, occluded by meshes. Our engine's Rendered mode has its own drawing."""
    import gpu

    context = bpy.context
    space = context.space_data
    if space is None or space.type != "VIEW_3D" or space.shading.type == "WIREFRAME":
        return
    if space.shading.type == "RENDERED" and context.engine == "LOQUENT":
        return
    depsgraph = context.evaluated_depsgraph_get()
    try:
        heads = _visible(depsgraph, space)
        if heads:
            view, region = context.region_data, context.region
            gpu.state.blend_set("ALPHA_PREMULT")
            gpu.state.depth_test_set("LESS_EQUAL")
            draw_heads(heads, view.view_matrix, view.window_matrix, region.width, region.height)
    except LoquentError:
        pass  # the panel shows what is wrong with the head; a redraw is no place for messages
    finally:
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


def forget() -> None:
    """Free what is on the graphics card."""
    if _cards:
        from . import splat_drawing

        _cards.clear()
        splat_drawing.forget()


def register() -> None:
    global _handler
    _handler = bpy.types.SpaceView3D.draw_handler_add(_draw_over, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    global _handler
    if _handler is not None and hasattr(bpy.types.SpaceView3D, "draw_handler_remove"):  # gone when Blender is exiting
        bpy.types.SpaceView3D.draw_handler_remove(_handler, "WINDOW")
    _handler = None
    forget()
