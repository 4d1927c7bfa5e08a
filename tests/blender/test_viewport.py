# SPDX-License-Identifier: GPL-3.0-or-later
"""The viewport's drawing, run without a window inside a render that asks Blender for a GPU context."""

import sys
import traceback

import bpy
import numpy as np
import pytest

from loquent.addon import convert, poses, session, splat_drawing, viewport
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


def drawn(heads, view, projection, on_gpu, *, depth_only=False, wall=1.0, **more):
    """(H, W, 4) colour and (H, W) depth, row 0 on top, of the viewport's own drawing. wall: depth that is there already."""

    def task():
        import gpu

        colour = gpu.types.GPUTexture((WIDTH, HEIGHT), format="RGBA32F")
        depth = gpu.types.GPUTexture((WIDTH, HEIGHT), format="DEPTH_COMPONENT32F")
        buffer = gpu.types.GPUFrameBuffer(depth_slot=depth, color_slots=[colour])
        with buffer.bind():
            buffer.clear(color=(0, 0, 0, 0), depth=wall)
            gpu.state.blend_set("ALPHA_PREMULT")
            gpu.state.depth_test_set("LESS_EQUAL")
            if depth_only:
                gpu.state.blend_set("NONE")
                gpu.state.depth_mask_set(True)
                gpu.state.depth_test_set("LESS_EQUAL")
            viewport.draw_heads(heads, view, projection, WIDTH, HEIGHT, depth_only=depth_only, **more)
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
    for loaded, values, world, _ in heads:
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


def talking(avatar: str, transform, opening: float = 0.6):
    from mathutils import Matrix

    values = np.zeros(len(CHANNELS), np.float32)
    values[[INDEX["jawOpen"], INDEX["mouthSmileLeft"], INDEX["headYaw"]]] = opening, 0.5, 0.3
    return viewport.Shown(session.performer(avatar), values, convert.world_from_head(Matrix(transform)))


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
    heads = [talking(other, near.tolist()), talking(tiny, far.tolist())]
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


def test_heads_inside_each_other_are_blended_in_true_order(tiny, other, from_front, on_gpu):
    """Drawn one after the other, the second would lie over all of the first."""
    beside = np.eye(4)
    beside[:3, 3] = 0.02, 0.01, 0
    heads = [talking(other, beside.tolist()), talking(tiny, straight(), 0.1)]
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    assert psnr(picture, rasterized(heads, from_front, perspective())[0]) > 45


@pytest.mark.parametrize("count", [1, 3])
def test_copies_of_a_head_share_its_data_and_its_pose(tiny, from_front, on_gpu, count):
    heads = []
    for i in range(count):
        place = np.eye(4)
        place[0, 3] = 0.15 * i
        heads.append(talking(tiny, place.tolist()))
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    assert psnr(picture, rasterized(heads, from_front, perspective())[0]) > 45
    stage = splat_drawing.stage("picture")
    assert len(stage._set[0]) == 1 and len(stage._uploaded[0]) == 1


def test_drawing_the_same_again_uploads_nothing_but_matrices(tiny, from_front, on_gpu):
    loaded, values, world, _ = talking(tiny, straight())

    def task():
        import gpu

        made = []
        texture = splat_drawing.texture
        splat_drawing.texture = lambda values, kind: made.append(len(values)) or texture(values, kind)
        colour = gpu.types.GPUTexture((WIDTH, HEIGHT), format="RGBA32F")
        try:
            with gpu.types.GPUFrameBuffer(color_slots=[colour]).bind():
                counts = []
                aside = from_front.copy()
                aside[0, 3] += 0.1
                nearer = aside.copy()
                nearer[2, :3] = aside[2, [1, 0, 2]]
                for v, view in ((values, from_front), (values, from_front), (values, nearer), (values * 0.5, nearer)):
                    made.clear()
                    viewport.draw_heads([viewport.Shown(loaded, v.astype(np.float32), world)], view, perspective(), WIDTH, HEIGHT)
                    counts.append(len(made))
                return counts
        finally:
            splat_drawing.texture = texture

    splat_drawing.forget()
    # static, vertices, order, matrices; matrices; order, matrices; vertices, order, matrices
    assert on_gpu(task) == [4, 1, 2, 3]


def test_scrubbing_draws_a_quarter_that_still_covers_the_head(from_front, on_gpu):
    heads = [talking("ada", straight())]
    full, _ = drawn(heads, from_front, perspective(), on_gpu)
    coarse, _ = drawn(heads, from_front, perspective(), on_gpu, step=4)
    assert psnr(coarse, full) > 24
    inside = full[..., 3] > 0.99
    assert (coarse[..., 3][inside] > 0.9).mean() > 0.97


def test_a_clipping_region_cuts_heads_off(tiny, from_front, on_gpu):
    heads = [talking(tiny, straight())]
    planes = np.array([[1.0, 0, 0, 0.0]])  # keeps the positive side of x in the world
    cut, _ = drawn(heads, from_front, perspective(), on_gpu, planes=planes)
    loaded, values, world, _ = heads[0]
    gaussians = placed(pose(loaded.performer, values), world, np.zeros(3))
    whole, _ = drawn(heads, from_front, perspective(), on_gpu)
    assert 0.2 < cut[..., 3].sum() / whole[..., 3].sum() < 0.8
    right = gaussians.means[:, 0] > 0
    assert 0.2 < right.mean() < 0.8


@pytest.mark.parametrize("projection", [perspective, orthographic])
def test_heads_are_hidden_by_what_stands_before_them_and_hide_what_stands_behind(tiny, from_front, on_gpu, projection):
    """A wall through the middle of the picture, at two depths: the projection's depth of 0.2 m and of 3 m."""
    heads = [talking(tiny, straight())]
    whole, _ = drawn(heads, from_front, projection(), on_gpu)
    for metres, hides in ((0.2, True), (3.0, False)):
        p = projection()
        z = (p[2, 2] * -metres + p[2, 3]) / (metres if p[3, 2] else 1.0)
        picture, _ = drawn(heads, from_front, projection(), on_gpu, wall=z / 2 + 0.5)
        assert np.allclose(picture, 0 if hides else whole, atol=1e-6), metres


def test_splats_of_other_programs_are_drawn_as_well(tiny, from_front, on_gpu, tmp_path):
    from loquent.core.splats.ply import write_ply

    path = tmp_path / "still.ply"
    loaded, values, world, _ = talking(tiny, turned())
    still = pose(loaded.performer, values)
    write_ply(still, path)
    free = session.performer(str(path))
    heads = [viewport.Shown(free, values, world)]
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    expected = rasterize(placed(free.pose(values), world, np.zeros(3)), convert.camera_from_matrices(
        from_front, perspective(), WIDTH, HEIGHT)[0])  # fmt: skip
    assert psnr(picture[..., 3], expected.alpha) > 45


def test_frames_of_triangles_are_those_of_the_core(tiny):
    from loquent.core.geometry.triangles import triangle_frames

    person = session.performer(tiny).performer.identity
    corners = np.ascontiguousarray(person.head.faces.T)
    found = splat_drawing.frames(person.template, corners)
    origins, rotations, scales = triangle_frames(person.template, person.head.faces)
    assert np.allclose(found[3].T, origins, atol=1e-6)
    assert np.allclose(found[:3].transpose(2, 1, 0), rotations * scales[:, None, None], atol=1e-6)


def test_the_drawing_order_is_farthest_first_for_any_view_and_any_heads(tiny):
    loaded = session.performer(tiny)
    performer = loaded.performer
    values = np.zeros(len(CHANNELS), np.float32)
    means = pose(performer, values).means
    model = splat_drawing.model_of(performer.avatar, performer.identity.head.faces)
    head = splat_drawing.Pose(model, poses.vertices(loaded, values))
    rng = np.random.default_rng(2)
    for distance in (0.0, 0.05, 50.0):
        view = np.eye(4)
        view[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rows = [view[2] + [0, 0, 0, 1.0], view[2] + [0, 0, 0, 1.0 + distance]]
        order = splat_drawing.order([head.depths(row) for row in rows]).astype(int)
        assert sorted(order) == list(range(2 * len(means)))
        depths = np.concatenate([means @ row[:3] + row[3] for row in rows])[order]
        assert (np.diff(depths) < 2e-5).all()


def test_no_module_of_the_drawing_is_loaded_by_registering():
    import subprocess

    code = "import bpy, loquent, sys; loquent.register(); print('loquent.addon.splat_drawing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("False"), done.stdout + done.stderr
