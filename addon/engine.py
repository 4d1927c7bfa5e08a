# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine: F12, animations and the Rendered viewport."""

from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..core.errors import LoquentError, SceneError
from . import convert, pixels, session
from .placing import camera_in, placed, similarity
from .preferences import preference

if TYPE_CHECKING:  # registering shall not wait for what only drawing needs
    from ..core.geometry.cameras import Camera
    from ..core.splats.gaussians import Gaussians
    from ..core.splats.rasterize import Layers

WHOLE_PIXELS = 32_000_000
"""Up to this size a render border is cut from the whole picture, so that it equals it to the bit: the rasteriser
linearises the projection within reach of the picture's edges, which a smaller picture would move (by up to 0.002)."""


class LoquentRenderEngine(bpy.types.RenderEngine):
    """Draws the Loquent heads of a scene; other objects are left to other engines and the compositor."""

    bl_idname = "LOQUENT"
    bl_label = "Loquent"
    bl_use_preview = False
    bl_use_postprocess = True  # without it neither compositor nor sequencer see the result
    bl_use_shading_nodes_custom = False  # keep the nodes of Cycles and EEVEE in the menus
    bl_use_eevee_viewport = True  # Material Preview stays EEVEE's
    skipping = False
    """Set while an animation that was cancelled runs to its end: nothing is drawn."""

    bl_use_gpu_context = False  # F12 runs on the CPU: no display, no GL context, same pixels everywhere

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def update_render_passes(self, scene: Any = None, renderlayer: Any = None) -> None:
        self.register_pass(scene, renderlayer, "Combined", 4, "RGBA", "COLOR")
        if renderlayer.use_pass_z:
            self.register_pass(scene, renderlayer, "Depth", 1, "Z", "VALUE")

    def render(self, depsgraph: Any) -> None:
        """One view layer of one frame. Reads the depsgraph only: in the GUI this is not the main thread."""
        if LoquentRenderEngine.skipping:
            return
        try:
            self._render(depsgraph)
        except LoquentError as error:
            self.report({"ERROR"}, str(error))  # error_set alone lets scripts and films go on without a picture

    def _render(self, depsgraph: Any) -> None:
        scene = depsgraph.scene
        width, height = convert.picture_size(scene)
        if scene.camera is None:
            raise SceneError(f"Scene '{scene.name}' has no camera. Add one, or choose one in the scene's properties.")
        if self.camera_override is not None:
            camera, back = convert.render_camera(depsgraph, self.camera_override, width, height)
        else:
            camera, back = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), width, height)
        self.update_stats("", "Posing")
        gaussians, camera, scale = visible_gaussians(depsgraph, camera)
        if self.test_break():
            return
        self.update_stats("", drawing_note(gaussians))
        box = convert.border(scene, width, height)
        if width * height > WHOLE_PIXELS:  # a border in a huge picture: its own small camera
            left, bottom, right, top = box
            camera = convert.cropped(camera, left, height - top, right - left, top - bottom)
            box = 0, 0, camera.width, camera.height
        behind = None if scene.render.film_transparent else convert.world_colour(scene)
        planes = pixels.fill(layers(gaussians, camera, behind), box, behind=behind)
        if not self.test_break():
            pixels.to_metres(planes.depth, scale, back)
            self._hand_over(planes, depsgraph.view_layer.name)
        pixels.release(planes)

    def _hand_over(self, planes: pixels.Planes, layer: str) -> None:
        height, width = planes.depth.shape
        result = self.begin_result(0, 0, width, height, layer=layer)  # a border's own size, at offset zero
        for render_pass in result.layers[0].passes:
            if render_pass.name == "Combined":
                render_pass.rect.foreach_set(planes.colour.reshape(-1))
            elif render_pass.name == "Depth":
                render_pass.rect.foreach_set(planes.depth.reshape(-1))
        self.end_result(result)
        self.update_progress(1.0)

    def view_update(self, context: Any, depsgraph: Any) -> None:
        self.tag_redraw()

    def view_draw(self, context: Any, depsgraph: Any) -> None:
        from . import viewport

        try:
            viewport.draw_view(context, depsgraph)
            self.update_stats("", "")
        except LoquentError as error:
            self.update_stats("Loquent", str(error))  # shown in the corner of the view; F12 raises it as an error


def drawing_note(gaussians: "Gaussians | None") -> str:
    """What the render window says while a frame is drawn; the slow path does not go unnoticed."""
    from ..core.splats.rasterize import backend_name

    if gaussians is None:
        return "No head in view"
    slow = "" if backend_name() == "native" else " slowly: the native rasteriser is missing, reinstall the extension"
    return f"Drawing {len(gaussians):,} Gaussians{slow}"


def visible_gaussians(depsgraph: Any, camera: "Camera") -> tuple["Gaussians | None", "Camera", float]:
    """All visible heads at the depsgraph's frame as one set of Gaussians, the camera to draw them with, and what to
    multiply its depths by. None where no head is visible.

    A head alone keeps its own space and the camera comes to it; several go into the world.
    """
    from ..core.splats.avatar import pose
    from ..core.splats.gaussians import join

    instances: list[tuple[Gaussians, np.ndarray]] = []
    posed: dict[int, Gaussians] = {}
    for instance in convert.head_instances(depsgraph):
        ob = instance.object
        uid = ob.original.session_uid
        if uid not in posed:  # instances share one pose
            loaded = session.performer(ob.loquent.avatar, ob.library)
            posed[uid] = pose(loaded.performer, convert.channel_values(ob))
        matrix = convert.world_from_head(instance.matrix_world)
        if abs(np.linalg.det(matrix)) > 1e-12:  # scaled to nothing: nothing to see
            instances.append((posed[uid], matrix))
    if not instances:
        return None, camera, 1.0
    if len(instances) == 1 and (scale := similarity(instances[0][1])) is not None:
        return instances[0][0], camera_in(camera, instances[0][1], scale), scale
    eye = camera.position
    return join([placed(gaussians, matrix, eye) for gaussians, matrix in instances]), camera, 1.0


def layers(gaussians: "Gaussians | None", camera: "Camera", behind: np.ndarray | None) -> "Layers | None":
    """The rasteriser's picture over (3,) colour `behind`, None for transparency; None without anything to draw."""
    from ..core.splats.rasterize import rasterize

    if gaussians is None:
        return None
    red, green, blue = (0.0, 0.0, 0.0) if behind is None else map(float, behind)
    return rasterize(gaussians, camera, background=(red, green, blue), threads=preference("threads", 0))


def _shared_panels():
    """Blender's panels that suit any engine: output, frame range, camera, world, visibility and so on."""
    for panel in bpy.types.Panel.__subclasses__():
        engines = getattr(panel, "COMPAT_ENGINES", None)
        if engines is not None and "BLENDER_RENDER" in engines and "freestyle" not in panel.__name__.lower():
            yield panel


def register() -> None:
    bpy.utils.register_class(LoquentRenderEngine)
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.add(LoquentRenderEngine.bl_idname)


def unregister() -> None:
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.discard(LoquentRenderEngine.bl_idname)
    bpy.utils.unregister_class(LoquentRenderEngine)
