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
                    viewport.draw_heads(
                        [viewport.Shown(loaded, v.astype(np.float32), world)], view, perspective(), WIDTH, HEIGHT
                    )
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


def on_paper(draw, on_gpu, *, paper=(1.0, 1.0, 1.0, 1.0), wall=1.0):
    """(H, W, 4) of what `draw` makes of a coloured picture with a wall at a depth; row 0 on top."""

    def task():
        import gpu

        colour = gpu.types.GPUTexture((WIDTH, HEIGHT), format="RGBA32F")
        depth = gpu.types.GPUTexture((WIDTH, HEIGHT), format="DEPTH_COMPONENT32F")
        buffer = gpu.types.GPUFrameBuffer(depth_slot=depth, color_slots=[colour])
        with buffer.bind():
            buffer.clear(color=paper, depth=wall)
            draw()
            return pixels(buffer)

    return on_gpu(task)


def pixels(buffer, width=WIDTH, height=HEIGHT):
    read = buffer.read_color(0, 0, width, height, 4, 0, "FLOAT")
    read.dimensions = width * height * 4  # a buffer of several dimensions exports wrong strides
    return np.frombuffer(read, np.float32).reshape(height, width, 4)[::-1].copy()


def test_erasing_takes_away_what_lies_under_a_head_and_leaves_the_rest(tiny, from_front, on_gpu):
    heads = [talking(tiny, straight())]
    alpha = drawn(heads, from_front, perspective(), on_gpu)[0][..., 3]

    def erase():
        with viewport._state(blend="MULTIPLY", depth_test="LESS_EQUAL"):
            viewport.draw_heads(heads, from_front, perspective(), WIDTH, HEIGHT, erase=True)

    left = on_paper(erase, on_gpu)
    assert np.abs(left - (1 - alpha[..., None])).max() < 0.01
    assert np.array_equal(on_paper(erase, on_gpu, wall=0.0), np.ones_like(left))  # something stands before the head


@pytest.mark.parametrize("chosen", [1, 2])
def test_a_selected_heads_outline_runs_where_its_splats_end(tiny, from_front, on_gpu, chosen):
    head = talking(tiny, turned())._replace(chosen=chosen)
    alpha = drawn([head], from_front, perspective(), on_gpu)[0][..., 3]
    inside = alpha > 0.53  # the mask has eight bits
    matrices = from_front, perspective(), WIDTH, HEIGHT

    def draw():
        viewport._draw_outlines(bpy.context, [head], matrices, np.zeros((0, 4)), uncover=False)

    nothing = (0.0, 0.0, 0.0, 0.0)
    line = on_paper(draw, on_gpu, paper=nothing)[..., 3] > 0
    wide = max(1, round(bpy.context.preferences.system.pixel_size))
    steps = range(-wide, wide + 1)
    grown = np.any([np.roll(inside, (x, y), (0, 1)) for x in steps for y in steps], 0)
    assert line.sum() > 100
    assert not (line & inside).any()
    assert (grown & (alpha < 0.47) & ~line).sum() < 0.05 * line.sum()
    assert np.quantile(alpha[line], 0.01) > 0.25  # and no line elsewhere
    theme = bpy.context.preferences.themes[0].view_3d
    wanted = theme.object_active if chosen == 2 else theme.object_selected
    found = on_paper(draw, on_gpu, paper=nothing)[line][0, :3]
    assert np.allclose(
        np.where(found <= 0.0031308, found * 12.92, 1.055 * found ** (1 / 2.4) - 0.055), wanted[:3], atol=1e-3
    )
    assert not on_paper(draw, on_gpu, paper=nothing, wall=0.0)[..., 3].any()  # a prop stands before it


def spaces():
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    return window, area, region, area.spaces.active


def names(space=None):
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return sorted(round(float(head.world[0, 3]), 3) for head in viewport.visible(depsgraph, space or spaces()[3]))


def test_heads_are_shown_wherever_blender_shows_an_object(scene, head):
    twin = head.copy()  # Alt D
    twin.location.x = 1.0
    aside = bpy.data.collections.new("Aside")
    scene.collection.children.link(aside)
    aside.objects.link(twin)
    many = bpy.data.objects.new("Many", None)  # an instance of the collection
    many.instance_type, many.instance_collection, many.location.x = "COLLECTION", aside, 2.0
    scene.collection.objects.link(many)
    bpy.context.view_layer.update()
    assert twin.data is head.data
    assert names() == [0, 1, 3]
    head.hide_set(True)
    assert names() == [1, 3]
    head.hide_set(False)
    head.hide_viewport = True
    assert names() == [1, 3]
    head.hide_viewport = False
    layer = bpy.context.view_layer.layer_collection.children["Aside"]
    layer.exclude = True
    assert names() == [0, 3]  # as Blender shows instances of an excluded collection
    layer.exclude = False
    layer.hide_viewport = True
    assert 0 in names() and 1 not in names()
    layer.hide_viewport = False
    many.hide_set(True)
    assert names() == [0, 1]


def test_a_head_moves_with_its_parent(scene, head):
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    head.parent = parent
    parent.location, parent.rotation_euler, parent.scale = (0.5, 0, 0), (0, 0, 1), (2, 2, 2)
    (shown,) = viewport.visible(bpy.context.evaluated_depsgraph_get(), None)
    assert np.allclose(shown.world, np.array(parent.matrix_world) @ convert.OBJECT_FROM_HEAD, atol=1e-6)


def test_local_view_shows_its_own_heads_only(scene, head, tiny):
    from loquent.addon.scene import build_head_object

    other = build_head_object(scene, tiny, location=(1, 0, 0))
    window, area, region, space = spaces()
    other.select_set(False)
    head.select_set(True)
    assert names() == [0, 1]
    with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region):
        bpy.ops.view3d.localview()
        assert names(space) == [0]
        bpy.ops.view3d.localview()
    assert names(space) == [0, 1]


def test_selected_and_active_heads_are_told_apart(scene, head, tiny):
    from loquent.addon.scene import build_head_object

    for x in (1, 2):
        build_head_object(scene, tiny, location=(x, 0, 0)).select_set(x == 1)
    found = viewport.visible(bpy.context.evaluated_depsgraph_get(), None)
    assert {round(float(shown.world[0, 3])): int(shown.chosen) for shown in found} == {0: 2, 1: 1, 2: 0}


def test_scrubbing_is_coarse_and_sharp_again_when_it_stops(scene, monkeypatch):
    from types import SimpleNamespace

    def context(scrubs):
        return SimpleNamespace(screen=SimpleNamespace(is_scrubbing=scrubs))

    assert viewport._step(context(False)) == 1
    assert not bpy.app.timers.is_registered(viewport._sharpen)
    assert viewport._step(context(True)) == viewport._step(context(True)) == viewport.SCRUB_STEP
    assert bpy.app.timers.is_registered(viewport._sharpen)
    area = SimpleNamespace(type="VIEW_3D", redrawn=0)
    area.tag_redraw = lambda: setattr(area, "redrawn", area.redrawn + 1)
    window = SimpleNamespace(screen=SimpleNamespace(is_scrubbing=True, areas=[area]))
    manager = SimpleNamespace(window_manager=SimpleNamespace(windows=[window]))
    monkeypatch.setattr(viewport, "bpy", SimpleNamespace(context=manager))
    assert viewport._sharpen() and area.redrawn == 0  # looks again later
    window.screen.is_scrubbing = False
    assert viewport._sharpen() is None and area.redrawn == 1
    monkeypatch.undo()
    bpy.app.timers.unregister(viewport._sharpen)


@pytest.mark.parametrize("perspective_view", [True, False])
def test_in_blenders_own_solid_view_meshes_hide_heads_and_heads_hide_meshes(scene, on_gpu, perspective_view):
    """Blender draws its view, the proxy and its depth included; the splats then go over it as the draw handler does."""
    from mathutils import Matrix

    from loquent.addon.scene import build_head_object

    head = build_head_object(scene, "ada")
    view = np.eye(4)
    view[:3] = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, -0.9]]
    matrices = Matrix(view.tolist()), Matrix((perspective() if perspective_view else orthographic()).tolist())
    _, _, region, space = spaces()
    space.shading.type, space.overlay.show_overlays = "SOLID", False
    shown = [
        viewport.Shown(
            session.performer("ada"), np.zeros(len(CHANNELS), np.float32), convert.world_from_head(head.matrix_world)
        )
    ]

    def view_with(splats):
        def task():
            import gpu

            target = gpu.types.GPUOffScreen(WIDTH, HEIGHT)
            target.draw_view3d(scene, bpy.context.view_layer, space, region, *matrices)
            with target.bind():
                if splats:
                    with viewport._state(blend="ALPHA_PREMULT", depth_test="LESS_EQUAL"):
                        viewport.draw_heads(shown, *matrices, WIDTH, HEIGHT, nearer=viewport.BEFORE_PROXY)
                return pixels(gpu.state.active_framebuffer_get())

        return on_gpu(task)[..., :3]

    head.hide_set(True)
    backdrop = view_with(False)
    head.hide_set(False)
    alone, dressed = view_with(False), view_with(True)
    body = np.abs(alone - backdrop).max(-1) > 0.01  # where the proxy stands
    assert body.mean() > 0.1
    assert (np.abs(dressed - alone).max(-1) > 0.02)[body].mean() > 0.9  # splats cover their proxy
    bpy.ops.mesh.primitive_plane_add(size=0.1, location=(0, -0.3, 0.05), rotation=(np.pi / 2, 0, 0))
    plain, covered = view_with(False), view_with(True)
    prop = np.abs(plain - alone).max(-1) > 0.01
    for _ in range(3):  # Blender smooths its edges, over which splats may lie
        prop &= np.roll(prop, 1, 0) & np.roll(prop, -1, 0) & np.roll(prop, 1, 1) & np.roll(prop, -1, 1)
    assert prop.sum() > 300
    assert np.abs(covered - plain)[prop].max() < 0.02  # not one splat looks through
    bpy.context.active_object.location.y = 0.3
    bpy.context.view_layer.update()
    behind = view_with(True)
    # at the pixels of the body nothing of the plane is seen
    assert np.abs(behind - dressed)[prop & body].max() < 0.02


def test_no_module_of_the_drawing_is_loaded_by_registering():
    import subprocess

    code = "import bpy, loquent, sys; loquent.register(); print('loquent.addon.splat_drawing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("False"), done.stdout + done.stderr
