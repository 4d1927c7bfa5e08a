# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads in the 3D viewport: in Rendered mode of our engine, and over every other shading of any engine.

Over other engines heads are drawn last, tested against the depth that meshes and overlays left behind. The proxy mesh that
stands under a head is in that depth as well, so heads are tested as if they stood a little nearer than they do.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import bpy
import numpy as np

from ..core.errors import LoquentError
from . import convert, session

SCRUB_STEP = 4
"""While the artist drags through time one Gaussian in so many is drawn, larger."""
BEFORE_PROXY = 0.012
"""Metres that a head of scale 1 is drawn before its place where its proxy is in the depth buffer."""
BEFORE_SPLATS = 0.012
"""The same where its splats are: some of those behind the first belong to it; the control rig stands 2 cm before the skin."""

_handler: Any = None


class Shown(NamedTuple):
    """A head that a view shows. world: (4, 4) from head space. chosen: 0, 1 selected, 2 active as well."""

    loaded: Any
    values: np.ndarray
    world: np.ndarray
    chosen: int = 0


def draw_view(context: Any, depsgraph: Any) -> None:
    """All of our engine's view: meshes, then heads, farthest Gaussian first; scene-linear, with depth for the overlays."""
    import gpu

    from . import mesh_drawing

    view, region, space = context.region_data, context.region, context.space_data
    heads = visible(depsgraph, space)
    with _state(blend="NONE", depth_test="LESS_EQUAL", depth_mask=True):
        mesh_drawing.draw_meshes(depsgraph, space, view.perspective_matrix)
    matrices = view.view_matrix, view.window_matrix, region.width, region.height
    step, planes = _step(context), clip_planes(view)
    with _state(blend="ALPHA_PREMULT", depth_test="LESS_EQUAL"):
        draw_heads(heads, *matrices, step=step, planes=planes)
    # Without depth the grid and the outlines would be drawn through the heads.
    with _state(blend="NONE", depth_test="LESS_EQUAL", depth_mask=True):
        gpu.state.color_mask_set(False, False, False, False)
        draw_heads(heads, *matrices, step=step, planes=planes, depth_only=True)
        gpu.state.color_mask_set(True, True, True, True)


def draw_heads(
    heads: Sequence[Shown],
    view_matrix: Any,
    projection: Any,
    width: int,
    height: int,
    *,
    depth_only: bool = False,
    erase: bool = False,
    step: int = 1,
    planes: Any = (),
    nearer: float = 0.0,
    exposure: float = 1.0,
    purpose: str = "picture",
) -> None:
    """Draw heads into the bound framebuffer. What draws some of them only names another purpose, to keep data apart.

    planes: (P, 4) in the world, what is on their negative side is cut off. The rest as in splat_drawing.Manner.
    """
    from . import splat_drawing as cards

    view_matrix, projection = np.array(view_matrix, np.float64), np.array(projection, np.float64)
    clip = (float(projection[2, 2]), float(projection[2, 3]))
    world_to_camera = convert.OPENCV_FROM_BLENDER @ view_matrix
    seen = []
    for loaded, values, world, _ in heads:
        origin = (view_matrix @ world)[2, 3]
        camera, back = convert.camera_from_matrices(view_matrix, projection, width, height, focus=-origin)
        seen.append(cards.Seen(loaded, values, world, cards.View(camera, back, clip)))
    cut = np.array(planes, np.float64).reshape(-1, 4) @ np.linalg.inv(world_to_camera)
    cards.stage(purpose).draw(seen, cards.Manner(depth_only, step, cut, nearer, exposure, erase))


def visible(depsgraph: Any, space: Any) -> list[Shown]:
    """Heads to draw. One that cannot be loaded is an error only when no other can."""
    heads, failed = [], None
    known: dict[int, tuple[Any, np.ndarray]] = {}
    layer = depsgraph.view_layer
    active = layer.objects.active
    for instance in convert.head_instances(depsgraph):
        ob = instance.object
        owner = instance.parent if instance.is_instance and instance.parent else ob  # evaluated: knows of local views
        if space is not None and not owner.visible_in_viewport_get(space):
            continue
        try:
            uid = ob.original.session_uid
            if uid not in known:
                known[uid] = session.of(ob), convert.channel_values(ob)
        except LoquentError as error:
            failed = error
            continue
        world = convert.world_from_head(instance.matrix_world)
        if abs(np.linalg.det(world[:3, :3])) > 1e-12:  # scaled to nothing: nothing to see
            chosen = owner.original.select_get(view_layer=layer)
            heads.append(Shown(*known[uid], world, chosen and 1 + (owner.original == active)))
    if failed and not heads:
        raise failed
    return heads


def clip_planes(view: Any) -> np.ndarray:
    """(P, 4) planes in the world of a view's clipping region (Alt B); none where it has none."""
    if not view.use_clip_planes:
        return np.zeros((0, 4))
    planes = np.array([list(plane) for plane in view.clip_planes], np.float64)
    return planes[np.abs(planes[:, :3]).max(1) > 0]


def _draw_over() -> None:
    """Heads over Blender's own shading, hidden by meshes and hiding them. Our engine's Rendered mode has drawn its own."""
    context = bpy.context
    space = context.space_data
    if space is None or space.type != "VIEW_3D" or space.shading.type == "WIREFRAME":
        return
    ours = space.shading.type == "RENDERED" and context.engine == "LOQUENT"
    outlined = _outlined(context, space)
    if ours and not outlined:
        return
    try:
        heads = visible(context.evaluated_depsgraph_get(), space)
    except LoquentError:
        return  # the panel shows what is wrong with the head; a redraw is no place for messages
    if not heads:
        return
    view, region = context.region_data, context.region
    matrices = view.view_matrix, view.window_matrix, region.width, region.height
    planes = clip_planes(view)
    size = max(_size(head) for head in heads)
    if not ours:
        exposure = 1.0 if space.shading.type == "SOLID" else 2.0**context.scene.view_settings.exposure
        with _state(blend="ALPHA_PREMULT", depth_test="LESS_EQUAL"):
            draw_heads(
                heads, *matrices, step=_step(context), planes=planes, nearer=BEFORE_PROXY * size, exposure=exposure
            )
    if outlined:
        _draw_outlines(context, heads, matrices, planes, uncover=ours)


def _size(head: Shown) -> float:
    return float(np.cbrt(abs(np.linalg.det(head.world[:3, :3]))))


def _outlined(context: Any, space: Any) -> bool:
    playing = context.screen.is_animation_playing or context.screen.is_scrubbing
    return space.overlay.show_overlays and space.overlay.show_outline_selected and not playing


def _draw_outlines(
    context: Any, heads: list[Shown], matrices: tuple[Any, ...], planes: np.ndarray, *, uncover: bool
) -> None:
    """Lines around selected heads. uncover: first take Blender's own, around the proxy, off heads that lie under it."""
    from . import outline

    pixels = max(1, round(context.preferences.system.pixel_size))
    for kind in (1, 2):
        group = [head for head in heads if head.chosen == kind]
        if not group:
            continue
        purpose = f"outline {kind}"
        if uncover:
            with _state(blend="MULTIPLY", depth_test="LESS_EQUAL"):
                nearer = BEFORE_SPLATS * max(map(_size, group))
                draw_heads(group, *matrices, planes=planes, nearer=nearer, erase=True, purpose=purpose)

        def erase(group: list[Shown] = group, purpose: str = purpose) -> None:
            draw_heads(group, *matrices, planes=planes, erase=True, purpose=purpose)

        colour = outline.theme_colour(context.preferences, kind == 2)
        depth = min(_depth(head, matrices, outline.STANDS_OUT * _size(head)) for head in group)
        with _state(blend="NONE", depth_test="LESS_EQUAL"):
            outline.draw_outline(erase, colour, matrices[2], matrices[3], pixels, depth)


def _depth(head: Shown, matrices: tuple[Any, ...], nearer: float) -> float:
    """Of a head's middle, metres nearer, -1 at the near plane to 1 at the far one."""
    at = np.array(matrices[0], np.float64) @ head.world[:, 3]
    at[2] = min(at[2] + nearer, -1e-6)
    clip = np.array(matrices[1], np.float64) @ at
    return float(np.clip(clip[2] / clip[3], -1, 1)) if clip[3] > 0 else -1.0


@contextmanager
def _state(*, blend: str, depth_test: str, depth_mask: bool = False):
    """Blending and depth for what is drawn inside, Blender's own afterwards."""
    import gpu

    gpu.state.blend_set(blend)
    gpu.state.depth_test_set(depth_test)
    gpu.state.depth_mask_set(depth_mask)
    try:
        yield
    finally:
        gpu.state.depth_mask_set(False)
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


def _step(context: Any) -> int:
    """How many Gaussians share one place: 1, or SCRUB_STEP while the artist drags through time."""
    if not getattr(context.screen, "is_scrubbing", False):
        return 1
    if not bpy.app.timers.is_registered(_sharpen):
        bpy.app.timers.register(_sharpen, first_interval=0.15)
    return SCRUB_STEP


def _sharpen() -> float | None:
    """Draw all Gaussians again once scrubbing has stopped: Blender itself sees nothing that has changed."""
    windows = bpy.context.window_manager.windows
    if any(window.screen.is_scrubbing for window in windows):
        return 0.15
    for window in windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
    return None


def forget() -> None:
    """Free what is on the graphics card."""
    import sys

    for name in (
        "splat_drawing",
        "mesh_drawing",
        "outline",
        "poses",
    ):  # nothing is there to be freed where nothing was drawn
        module = sys.modules.get(f"{__package__}.{name}")
        if module is not None:
            module.forget()


def register() -> None:
    global _handler
    _handler = bpy.types.SpaceView3D.draw_handler_add(_draw_over, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    global _handler
    if _handler is not None and hasattr(bpy.types.SpaceView3D, "draw_handler_remove"):  # gone when Blender is exiting
        bpy.types.SpaceView3D.draw_handler_remove(_handler, "WINDOW")
    _handler = None
    if bpy.app.timers.is_registered(_sharpen):
        bpy.app.timers.unregister(_sharpen)
    forget()
