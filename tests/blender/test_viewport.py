# SPDX-License-Identifier: GPL-3.0-or-later
"""The viewport's drawing, run without a window inside a render that asks Blender for a GPU context."""

import sys
import traceback

import bpy
import numpy as np
import pytest

from loquent.addon import convert, session, viewport
from loquent.addon.placing import placed
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import pose
from loquent.core.splats.gaussians import join
from loquent.core.splats.rasterize import rasterize

from .pictures import psnr

WIDTH, HEIGHT = 320, 240


@pytest.fixture
def on_gpu(scene):
    """Runs a function where Blender has a GPU context; what it returns comes back."""
    result = []

    class Engine(bpy.types.RenderEngine):
        bl_idname, bl_label, bl_use_gpu_context = "LOQUENT_TEST", "Test", True
        task = None

        def render(self, depsgraph):
            try:
                result.append((Engine.task(), None))
            except Exception:
                result.append((None, traceback.format_exc()))

    bpy.utils.register_class(Engine)
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))  # none, no render
    scene.collection.objects.link(scene.camera)
    engine = scene.render.engine

    def run(task):
        result.clear()
        Engine.task = task
        scene.render.engine = "LOQUENT_TEST"
        try:
            bpy.ops.render.render()
        finally:
            scene.render.engine = engine
        if not result:
            pytest.skip("no GPU context on this machine")
        value, error = result[0]
        assert error is None, error
        return value

    yield run
    bpy.utils.unregister_class(Engine)
    viewport.forget()


def drawn(heads, view, projection, on_gpu, *, depth_only=False):
    """(H, W, 4) colour and (H, W) depth, row 0 on top, of the viewport's own drawing."""

    def task():
        import gpu

        colour = gpu.types.GPUTexture((WIDTH, HEIGHT), format="RGBA32F")
        depth = gpu.types.GPUTexture((WIDTH, HEIGHT), format="DEPTH_COMPONENT32F")
        buffer = gpu.types.GPUFrameBuffer(depth_slot=depth, color_slots=[colour])
        with buffer.bind():
            buffer.clear(color=(0, 0, 0, 0), depth=1.0)
            gpu.state.blend_set("ALPHA_PREMULT")
            if depth_only:
                gpu.state.blend_set("NONE")
                gpu.state.depth_mask_set(True)
                gpu.state.depth_test_set("LESS_EQUAL")
            viewport.draw_heads(heads, view, projection, WIDTH, HEIGHT, depth_only=depth_only)
            gpu.state.depth_test_set("NONE")
            gpu.state.depth_mask_set(False)
            gpu.state.blend_set("NONE")
            read = buffer.read_color(0, 0, WIDTH, HEIGHT, 4, 0, "FLOAT")
            read.dimensions = WIDTH * HEIGHT * 4  # a buffer of several dimensions exports wrong strides
            z = buffer.read_depth(0, 0, WIDTH, HEIGHT)
            z.dimensions = WIDTH * HEIGHT
            return (
                np.frombuffer(read, np.float32).reshape(HEIGHT, WIDTH, 4)[::-1].copy(),
                np.frombuffer(z, np.float32).reshape(HEIGHT, WIDTH)[::-1].copy(),
            )

    return on_gpu(task)


def rasterized(heads, view, projection):
    parts, camera = [], None
    for _, loaded, values, world in heads:
        focus = -(view @ world)[2, 3]
        camera, _ = convert.camera_from_matrices(view, projection, WIDTH, HEIGHT, focus=focus)
        parts.append(placed(pose(loaded.performer, values), world, camera.position))
    layers = rasterize(join(parts), camera)
    return np.concatenate([layers.colour, layers.alpha[..., None]], -1), layers.depth


def perspective() -> np.ndarray:
    near, far, zoom = 0.05, 50.0, 3.0
    return np.array([
        [zoom, 0, 0.1, 0], [0, zoom * WIDTH / HEIGHT, -0.05, 0],
        [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)], [0, 0, -1, 0],
    ])  # fmt: skip


def orthographic() -> np.ndarray:
    near, far, size = 0.05, 50.0, 0.6
    return np.array([
        [2 / size, 0, 0, 0.05], [0, 2 / size * WIDTH / HEIGHT, 0, -0.1],
        [0, 0, -2 / (far - near), -(far + near) / (far - near)], [0, 0, 0, 1],
    ])  # fmt: skip


@pytest.fixture
def from_front() -> np.ndarray:
    from mathutils import Euler, Matrix

    eye = Matrix.Translation((0.1, -0.9, 0.1)) @ Euler((np.pi / 2, 0, 0.1)).to_matrix().to_4x4()
    return np.array(eye.inverted())


def talking(avatar: str, transform, uid: int = 1):
    from mathutils import Matrix

    values = np.zeros(len(CHANNELS), np.float32)
    values[[INDEX["jawOpen"], INDEX["mouthSmileLeft"], INDEX["headYaw"]]] = 0.6, 0.5, 0.3
    return uid, session.performer(avatar), values, convert.world_from_head(Matrix(transform))


def straight():
    return np.eye(4).tolist()


def turned():
    from mathutils import Euler, Matrix

    matrix = Matrix.Translation((0.02, 0.1, 0.03)) @ Euler((0.2, 0.3, -0.5)).to_matrix().to_4x4() @ Matrix.Scale(1.2, 4)
    return [list(row) for row in matrix]


def squashed():
    return np.diag([1, 0.5, 1.4, 1]).tolist()


@pytest.mark.parametrize("projection", [perspective, orthographic])
@pytest.mark.parametrize("transform", [straight, turned, squashed])
def test_the_viewport_shows_the_rasterisers_picture(tiny, from_front, on_gpu, projection, transform):
    heads = [talking(tiny, transform())]
    picture, _ = drawn(heads, from_front, projection(), on_gpu)
    expected, _ = rasterized(heads, from_front, projection())
    assert expected[..., 3].max() > 0.9
    assert psnr(picture, expected) > 50


def test_a_built_in_head_agrees_as_well(from_front, on_gpu):
    heads = [talking("ada", straight())]
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    expected, _ = rasterized(heads, from_front, perspective())
    assert psnr(picture, expected) > 45


def test_the_nearer_of_two_heads_stands_in_front(tiny, other, from_front, on_gpu):
    far, near = np.eye(4), np.eye(4)
    near[:3, 3] = (0.05, -0.4, 0)
    heads = [talking(other, near.tolist(), 2), talking(tiny, far.tolist(), 1)]
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    assert psnr(picture, rasterized(heads, from_front, perspective())[0]) > 45


def test_depth_for_overlays_lies_on_the_head(tiny, from_front, on_gpu):
    heads = [talking(tiny, straight())]
    _, z = drawn(heads, from_front, perspective(), on_gpu, depth_only=True)
    _, expected = rasterized(heads, from_front, perspective())
    p = perspective()
    metres = p[2, 3] / (2 * z.astype(np.float64) - 1 + p[2, 2])  # undoes the projection
    written = z < 1
    assert written.mean() > 0.05
    assert np.abs(metres[written] - 0.9).max() < 0.3
    both = written & (expected > 0)
    assert np.median(np.abs(metres[both] - expected[both])) < 0.02


def test_drawing_the_same_pose_again_uploads_no_pose(tiny, from_front, on_gpu):
    heads = [talking(tiny, straight())]

    def task():
        import gpu

        colour = gpu.types.GPUTexture((WIDTH, HEIGHT), format="RGBA32F")
        with gpu.types.GPUFrameBuffer(color_slots=[colour]).bind():
            viewport.draw_heads(heads, from_front, perspective(), WIDTH, HEIGHT)
            card = viewport._on_card(1, heads[0][1])
            first = card.pose(heads[0][2])
            viewport.draw_heads(heads, from_front, perspective(), WIDTH, HEIGHT)
            again = card.pose(heads[0][2])
            moved = card.pose(heads[0][2] * np.float32(0.5))
            return again is first, moved is first

    assert on_gpu(task) == (True, False)


def test_the_drawing_order_is_farthest_first_for_any_view(tiny):
    from types import SimpleNamespace

    from loquent.addon.splat_drawing import HeadOnCard, Pose
    from loquent.core.geometry.triangles import triangle_frames

    performer = session.performer(tiny).performer
    binding = performer.avatar.binding
    origins, rotations, scales = triangle_frames(performer.identity.template, performer.identity.head.faces)
    card = SimpleNamespace(_offsets=binding.offsets, _triangles=binding.triangles)
    means = pose(performer, np.zeros(len(CHANNELS), np.float32)).means
    rng = np.random.default_rng(2)
    for _ in range(5):
        view = np.eye(4)
        view[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        view[2, 3] = 1.0
        order = HeadOnCard.order(card, Pose(origins, rotations * scales[:, None, None], None), view).astype(int)
        assert sorted(order) == list(range(len(means)))
        depths = (means @ view[2, :3])[order]
        assert (np.diff(depths) < np.ptp(depths) / 30000).all()


def test_no_module_of_the_drawing_is_loaded_by_registering():
    import subprocess

    code = "import bpy, loquent, sys; loquent.register(); print('loquent.addon.splat_drawing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("False"), done.stdout + done.stderr
