# SPDX-License-Identifier: GPL-3.0-or-later
"""What a speaking head costs in the viewport, beside the way that other splat add-ons draw; called by bench_blender.

Everything runs where Blender has a GPU context without a window: inside a render. Times are CPU time of the drawing thread
while poses change from frame to frame (threads that BLAS lets spin beside it are not work), without the draw calls
themselves: those are the graphics card's, or with Mesa's llvmpipe the CPU's playing a graphics card. Only the redraw of a
whole view counts them in.
"""

import statistics
import time
import traceback
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion

FRAMES = 60
SIZE = 512


def viewport_figures() -> dict[str, float]:
    """viewport_cpu_ms, viewport_peer_ms, viewport_peer_ratio, viewport_psnr, viewport_redraw_ms, viewport_redraw_proxy_ms,
    proxy_frame_ms, proxy_driver_ms.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    figures = _on_gpu(scene, _drawing)
    from loquent.addon import scene as make

    head = make.build_head_object(scene, "ada")
    return figures | _on_gpu(scene, lambda: _redraw(scene, head)) | _proxy()


def _on_gpu(scene: Any, task: Callable[[], dict[str, float]]) -> dict[str, float]:
    found: list[dict[str, float]] = []

    class Engine(bpy.types.RenderEngine):
        bl_idname, bl_label, bl_use_gpu_context = "LOQUENT_BENCH", "Bench", True

        def render(self, depsgraph: Any) -> None:
            try:
                found.append(task())
            except Exception:
                traceback.print_exc()

    bpy.utils.register_class(Engine)
    try:
        scene.render.engine = "LOQUENT_BENCH"
        bpy.ops.render.render()
    finally:
        scene.render.engine = "LOQUENT"
        bpy.utils.unregister_class(Engine)
    if not found:
        print("  no GPU context on this machine: the viewport's figures are left out")
    return found[0] if found else {}


def _drawing() -> dict[str, float]:
    from loquent.addon import convert, poses, session, splat_drawing, viewport

    loaded = session.performer("ada")
    motion = _speech()
    view = np.eye(4)
    view[:3] = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, -0.8]]
    projection = _projection()
    world = np.eye(4) @ convert.OBJECT_FROM_HEAD
    camera, back = convert.camera_from_matrices(view, projection, SIZE, SIZE)
    where = splat_drawing.View(camera, back, (float(projection[2, 2]), float(projection[2, 3])))
    manner = splat_drawing.Manner()
    stage = splat_drawing.stage("picture")

    def ours(i: int) -> None:
        poses.forget()  # nothing that an earlier frame has computed
        stage.prepare([splat_drawing.Seen(loaded, motion[i], world, where)], manner)

    peer = _Peer(loaded, world, camera)
    cpu = {"ours": [], "peer": []}
    for i in range(-3, FRAMES):  # in turn, so that what else the machine does falls on both
        for name, draw in (("ours", ours), ("peer", peer.prepare)):
            began = time.thread_time()
            draw(i % FRAMES)
            if i >= 0:
                cpu[name].append((time.thread_time() - began) * 1e3)
    mine, theirs = statistics.median(cpu["ours"]), statistics.median(cpu["peer"])
    picture = _picture(viewport, [viewport.Shown(loaded, motion[30], world)], view, projection)
    expected = _rasterised(loaded, motion[30], world, camera)
    error = float(np.mean((picture.astype(np.float64) - expected) ** 2))
    return {
        "viewport_cpu_ms": mine, "viewport_peer_ms": theirs, "viewport_peer_ratio": theirs / mine,
        "viewport_psnr": -10 * float(np.log10(error)),
    }  # fmt: skip


class _Peer:
    """Four vertices a Gaussian, attributes sorted and uploaded anew: centre, covariance, colour and opacity.

    Harmonics are left at degree 0, which is in its favour: all of them would be four times its upload.
    """

    def __init__(self, loaded: Any, world: np.ndarray, camera: Any) -> None:
        self.loaded, self.motion = loaded, _speech()
        self.row = (camera.world_to_camera.astype(np.float64) @ world)[2].astype(np.float32)
        import gpu

        self.layout = gpu.types.GPUVertFormat()
        for name, size in (("corner", 2), ("centre", 3), ("covariance_a", 3), ("covariance_b", 3), ("colour", 4)):
            self.layout.attr_add(id=name, comp_type="F32", len=size, fetch_mode="FLOAT")
        count = len(loaded.performer.avatar)
        self.corners = np.tile(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32), (count, 1))
        first = np.arange(count, dtype=np.int32)[:, None] * 4
        self.triangles = gpu.types.GPUIndexBuf(
            type="TRIS", seq=np.concatenate([first + [0, 1, 2], first + [0, 2, 3]]).astype(np.int32)
        )

    def prepare(self, i: int) -> Any:
        import gpu

        from loquent.core.geometry.rotations import quat_wxyz_to_matrix
        from loquent.core.splats.gaussians import SH_C0

        gaussians = self.loaded.pose(self.motion[i])
        order = np.argsort(-(gaussians.means @ self.row[:3]))
        axes = quat_wxyz_to_matrix(gaussians.quats_wxyz) * gaussians.scales[:, None]
        covariance = axes @ axes.transpose(0, 2, 1)
        colour = np.concatenate([gaussians.harmonics[:, 0] * SH_C0 + 0.5, gaussians.opacities[:, None]], 1)
        parts = [gaussians.means, covariance[:, 0], covariance[:, [1, 1, 2], [1, 2, 2]], colour]
        buffer = gpu.types.GPUVertBuf(self.layout, 4 * len(order))
        buffer.attr_fill("corner", self.corners)
        for name, values in zip(("centre", "covariance_a", "covariance_b", "colour"), parts, strict=True):
            buffer.attr_fill(name, np.repeat(values[order], 4, 0).astype(np.float32))
        return gpu.types.GPUBatch(type="TRIS", buf=buffer, elem=self.triangles)


def _speech() -> np.ndarray:
    """(FRAMES, C) of a face in lively motion."""
    rng = np.random.default_rng(0)
    rows = np.zeros((FRAMES, len(CHANNELS)), np.float32)
    rows[:, : len(ARKIT)] = rng.random((FRAMES, len(ARKIT))) * 0.3
    rows[:, [INDEX["headYaw"], INDEX["headPitch"]]] = rng.normal(size=(FRAMES, 2)) * 0.1
    return rows


def _projection() -> np.ndarray:
    near, far, zoom = 0.05, 50.0, 3.2
    return np.array([
        [zoom, 0, 0, 0], [0, zoom, 0, 0],
        [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)], [0, 0, -1, 0],
    ])  # fmt: skip


def _picture(viewport: Any, heads: list[Any], view: np.ndarray, projection: np.ndarray) -> np.ndarray:
    import gpu

    colour = gpu.types.GPUTexture((SIZE, SIZE), format="RGBA32F")
    buffer = gpu.types.GPUFrameBuffer(color_slots=[colour])
    with buffer.bind():
        buffer.clear(color=(0, 0, 0, 0))
        gpu.state.blend_set("ALPHA_PREMULT")
        viewport.draw_heads(heads, view, projection, SIZE, SIZE)
        gpu.state.blend_set("NONE")
        read = buffer.read_color(0, 0, SIZE, SIZE, 4, 0, "FLOAT")
    read.dimensions = SIZE * SIZE * 4  # a buffer of several dimensions exports wrong strides
    return np.frombuffer(read, np.float32).reshape(SIZE, SIZE, 4)[::-1].copy()


def _rasterised(loaded: Any, values: np.ndarray, world: np.ndarray, camera: Any) -> np.ndarray:
    from loquent.addon.placing import placed
    from loquent.core.splats.rasterize import rasterize

    layers = rasterize(placed(loaded.pose(values), world, camera.position), camera)
    return np.concatenate([layers.colour, layers.alpha[..., None]], -1)


def _redraw(scene: Any, head: Any) -> dict[str, float]:
    """Milliseconds until a Solid view stands there, graphics card included: of the proxy mesh alone, and with its splats."""
    import gpu
    from mathutils import Matrix

    from loquent.addon import convert, session, viewport

    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    space = area.spaces.active
    space.shading.type = "SOLID"
    view = np.eye(4)
    view[:3] = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, -0.8]]
    matrices = Matrix(view.tolist()), Matrix(_projection().tolist())
    shown = [viewport.Shown(session.performer("ada"), _speech()[0], convert.world_from_head(head.matrix_world))]
    target = gpu.types.GPUOffScreen(SIZE, SIZE)

    def redraw(splats: bool) -> float:
        began = time.perf_counter()
        target.draw_view3d(scene, bpy.context.view_layer, space, region, *matrices)
        with target.bind():
            if splats:
                gpu.state.blend_set("ALPHA_PREMULT")
                gpu.state.depth_test_set("LESS_EQUAL")
                viewport.draw_heads(shown, *matrices, SIZE, SIZE, nearer=viewport.BEFORE_PROXY)
                gpu.state.depth_test_set("NONE")
                gpu.state.blend_set("NONE")
            gpu.state.active_framebuffer_get().read_color(0, 0, 1, 1, 4, 0, "FLOAT")  # waits for the card
        return (time.perf_counter() - began) * 1e3

    times = [[redraw(splats) for splats in (False, True)] for _ in range(12)][2:]
    alone, with_splats = (statistics.median(column) for column in zip(*times, strict=True))
    return {"viewport_redraw_ms": with_splats, "viewport_redraw_proxy_ms": alone}


def _proxy() -> dict[str, float]:
    """Milliseconds a frame that the proxy's following adds to a change of frame, by handler and by 52 drivers."""
    from loquent.addon import handlers
    from loquent.addon import scene as make

    def frames(scene: Any) -> float:
        times = []
        for frame in range(1, FRAMES + 1):
            began = time.process_time()
            scene.frame_set(frame)
            times.append((time.process_time() - began) * 1e3)
        return statistics.median(times)

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    head = make.build_head_object(scene, "ada")
    make.apply_motion(scene, head, Motion(scene.render.fps, _speech()), 1)
    followed = frames(scene)
    following = bpy.app.handlers.frame_change_post, bpy.app.handlers.depsgraph_update_post
    for handler in following:
        handler.remove(handlers._follow)
    still = frames(scene)
    for name in ARKIT:
        driver = head.data.shape_keys.key_blocks[name].driver_add("value").driver
        for layer in ("motion", "adjust", "rig"):
            variable = driver.variables.new()
            variable.name = layer
            variable.targets[0].id = head
            variable.targets[0].data_path = f"loquent.{layer}.{name}"
        driver.expression = "motion + adjust + rig"
    driven = frames(scene)
    for handler in following:
        handler.append(handlers._follow)
    return {"proxy_frame_ms": followed - still, "proxy_driver_ms": driven - still}


def told(figures: dict[str, float]) -> str:
    """The figures in words, a line each."""
    lines = []
    if "viewport_cpu_ms" in figures:
        lines += [
            f"  viewport, CPU a frame of ada       {figures['viewport_cpu_ms']:7.2f} ms   four vertices a splat, uploaded "
            f"anew: {figures['viewport_peer_ms']:.1f} ms, {figures['viewport_peer_ratio']:.1f} times as much",
            f"  viewport against the rasteriser    {figures['viewport_psnr']:7.1f} dB",
            f"  redraw of a Solid view, {SIZE}²       {figures['viewport_redraw_ms']:7.1f} ms   of its proxy mesh alone: "
            f"{figures['viewport_redraw_proxy_ms']:.1f} ms; graphics card included",
        ]
    lines.append(
        f"  proxy, on top of a frame change    {figures['proxy_frame_ms']:7.2f} ms   52 drivers, which cannot turn it: "
        f"{figures['proxy_driver_ms']:.2f} ms"
    )
    return "\n".join(lines)
