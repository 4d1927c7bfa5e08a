# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine: F12, animations and the Rendered viewport."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..core.errors import Cancelled, LoquentError, SceneError
from . import convert
from .render_settings import settings

if TYPE_CHECKING:  # registering shall not wait for what only drawing needs
    from ..core.splats.gaussians import Gaussians
    from . import picture

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
        from . import passes

        for wanted in passes.asked(renderlayer):
            self.register_pass(scene, renderlayer, wanted.name, wanted.channels, wanted.chan_id, wanted.kind)

    def render(self, depsgraph: Any) -> None:
        """One view layer of one frame. Reads the depsgraph only: in the GUI this is not the main thread."""
        if LoquentRenderEngine.skipping:
            return
        try:
            with suppress(Cancelled):  # Esc: Blender keeps what was there before
                self._render(depsgraph)
        except LoquentError as error:
            self.report({"ERROR"}, str(error))  # error_set alone lets scripts and films go on without a picture

    def _render(self, depsgraph: Any) -> None:
        from . import passes, picture

        scene = depsgraph.scene
        plate = settings(scene).plate
        width, height = self.resolution_x, self.resolution_y
        camera = _camera(depsgraph, plate) or self.camera_override or scene.camera
        if camera is None:
            raise SceneError(f"Scene '{scene.name}' has no camera. Add one, or choose one in the scene's properties.")
        box = convert.border(scene, width, height)
        if plate is not None and not self._has_size(box, depsgraph.view_layer.name):
            box = convert.border(plate, width, height)  # rendered as part of the plate, whose border counts
        names = [wanted.name for wanted in passes.asked(depsgraph.view_layer)]
        crop = None
        if width * height > WHOLE_PIXELS:  # a border in a huge picture: its own small camera
            left, bottom, right, top = box
            crop = left, height - top, right - left, top - bottom
            box = 0, 0, right - left, top - bottom
        behind = None if scene.render.film_transparent else convert.world_colour(scene)
        for view in _views(scene):
            look = None
            if view:
                self.active_view_set(view)
                look = self._stereo
            shot = picture.Shot(depsgraph, camera.original, (width, height), names, behind, crop, look)
            self._hand_over(picture.paint(shot, self), shot, box, view)
        self.update_progress(1.0)

    def _stereo(self, camera: Any) -> tuple[np.ndarray, float]:
        """Matrix and shift of the camera as the active view has them."""
        return np.array(self.camera_model_matrix(camera), np.float64), self.camera_shift_x(camera)

    def _has_size(self, box: tuple[int, int, int, int], layer: str) -> bool:
        left, bottom, right, top = box
        result = self.begin_result(0, 0, self.resolution_x, self.resolution_y, layer=layer)
        size = result.resolution_x, result.resolution_y
        self.end_result(result, cancel=True)
        return size == (right - left, top - bottom)

    def _hand_over(
        self, painted: "picture.Picture", shot: "picture.Shot", box: tuple[int, int, int, int], view: str
    ) -> None:
        from . import credits, passes, pixels
        from . import picture as drawing

        layer = shot.depsgraph.view_layer.name
        planes = pixels.fill(painted.layers, painted.seen, box, behind=shot.behind)
        more = pixels.part_of(drawing.decode(painted, shot), box)
        # Parts that begin_result hands out are allocated anew and copied: 45 ms at 1080p. One pixel makes Blender allocate the
        # passes of the whole picture, which then are written to directly.
        self.end_result(self.begin_result(0, 0, 1, 1, layer=layer, view=view))
        drawn = self.get_result().layers[layer].passes
        for name, picture in {"Combined": planes.colour, "Depth": planes.depth, **more}.items():
            render_pass = drawn.find_by_name(name, view)
            if render_pass is not None:
                render_pass.rect.foreach_set(picture.reshape(-1))
        if painted.made is not None and painted.made.names:
            for key, value in passes.crypto_metadata(layer, painted.made.names).items():
                self.get_result().stamp_data_add_field(key, value)
        credits.stamp(self.get_result(), shot.depsgraph)
        pixels.release(planes)

    def view_update(self, context: Any, depsgraph: Any) -> None:
        from . import mesh_drawing

        mesh_drawing.changed(depsgraph)
        self.tag_redraw()

    def view_draw(self, context: Any, depsgraph: Any) -> None:
        from . import viewport

        try:
            viewport.draw_view(context, depsgraph)
            self.update_stats("", "")
        except LoquentError as error:
            self.update_stats("Loquent", str(error))  # shown in the corner of the view; F12 raises it as an error


def _camera(depsgraph: Any, plate: Any) -> Any:
    """The plate's camera, where this scene has it too: markers switch it there."""
    if plate is None or plate.camera is None:
        return None
    found = plate.camera.original.evaluated_get(depsgraph)
    return found if found.is_evaluated else None


def _views(scene: Any) -> list[str]:
    """Names of the stereo views to draw; one empty name without."""
    render = scene.render
    if not render.use_multiview:
        return [""]
    stereo = render.views_format == "STEREO_3D"
    return [view.name for view in render.views if view.use and (not stereo or view.name in {"left", "right"})]


def drawing_note(gaussians: "Gaussians | None") -> str:
    """What the render window says while a frame is drawn; the slow path does not go unnoticed."""
    from ..core.splats.rasterize import backend_name

    if gaussians is None:
        return "No head in view"
    slow = "" if backend_name() == "native" else " slowly: the native rasteriser is missing, reinstall the extension"
    return f"Drawing {len(gaussians):,} Gaussians{slow}"


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
