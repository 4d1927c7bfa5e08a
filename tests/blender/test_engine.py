# SPDX-License-Identifier: GPL-3.0-or-later
import bpy
import numpy as np
import pytest
from mathutils import Matrix

from loquent.addon import convert, session
from loquent.addon.placing import placed
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import pose
from loquent.core.splats.gaussians import join
from loquent.core.splats.rasterize import rasterize

from .pictures import psnr, render_channels, render_passes


def expected(scene, obs, places=()):
    """What core draws for the scene's camera at full size: (H, W, 4) and depth. Heads stand at `places` if given."""
    width, height = convert.picture_size(scene)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera, back = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), width, height)
    parts = []
    for ob in obs:
        gaussians = pose(session.performer(ob.loquent.avatar).performer, convert.channel_values(ob))
        for matrix in places or [ob.matrix_world]:
            parts.append(placed(gaussians, convert.world_from_head(matrix), camera.position))
    layers = rasterize(join(parts), camera, passes=("median_depth",))
    depth = layers.median_depth
    return np.concatenate([layers.colour, layers.alpha[..., None]], -1), depth - back * (depth > 0)


def same(picture, other):
    """Equal but for rounding: the engine brings the camera to a single head, these tests bring the head to the world."""
    assert picture.shape == other.shape and psnr(picture, other) > 70, psnr(picture, other)
    assert np.abs(picture - other).max() < 0.02  # a contribution at the edge of 1/255 may fall on either side


def test_f12_hands_blender_the_rasterisers_pixels_and_depth(scene, head, tmp_path):
    bpy.context.view_layer.use_pass_z = True
    passes = render_passes(scene, tmp_path)
    picture, depth = expected(scene, [head])
    assert picture[..., 3].max() > 0.9 and picture.std() > 0.05  # there is something to see
    same(passes["Combined"], picture)
    covered = depth > 0
    assert np.allclose(passes["Depth"][covered], depth[covered], atol=1e-4)
    assert (passes["Depth"][~covered] == np.float32(1e10)).all()


def test_the_head_is_the_right_way_up_and_its_left_is_its_left(scene, head, tmp_path):
    before = render_passes(scene, tmp_path)["Combined"]
    head.loquent.motion.headZ = 0.0
    head.loquent.motion.headY = 0.05
    up = render_passes(scene, tmp_path)["Combined"]
    head.loquent.motion.headY = 0.0
    head.loquent.motion.headX = 0.05
    left = render_passes(scene, tmp_path)["Combined"]

    def middle(picture):
        y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
        weight = picture[..., 3] / picture[..., 3].sum()
        return (x * weight).sum(), (y * weight).sum()

    assert middle(up)[1] < middle(before)[1] - 2  # row 0 is the top
    assert middle(left)[0] > middle(before)[0] + 2  # the subject's left is the viewer's right


def test_a_border_without_crop_equals_the_whole_render_to_the_bit(scene, head, tmp_path):
    whole = render_passes(scene, tmp_path)["Combined"]
    render = scene.render
    render.use_border, render.use_crop_to_border, render.border_min_x, render.border_max_y = True, True, 0.25, 0.5
    assert np.array_equal(render_passes(scene, tmp_path)["Combined"], whole[32:, 24:])


def test_the_same_frame_gives_the_same_bytes(scene, head, tmp_path):
    first = render_passes(scene, tmp_path)["Combined"]
    assert np.array_equal(first, render_passes(scene, tmp_path)["Combined"])


def turned(head):
    head.location, head.rotation_euler, head.scale = (0.02, 0.1, -0.03), (0.2, -0.3, 0.5), (1.2, 1.2, 1.2)


def mirrored(head):
    head.scale = (-1, 1, 1)


def squashed(head):
    head.scale, head.rotation_euler = (1, 0.5, 1.3), (0, 0.3, 0.4)


def parented(head):
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    head.parent, parent.rotation_euler, parent.scale = parent, (0, 0, 0.6), (1.1, 1.1, 1.1)


@pytest.mark.parametrize("change", [turned, mirrored, squashed, parented])
def test_the_objects_transform_is_honoured(scene, head, tmp_path, change):
    still = render_passes(scene, tmp_path)["Combined"]
    change(head)
    picture = render_passes(scene, tmp_path)["Combined"]
    assert psnr(picture, still) < 35
    same(picture, expected(scene, [head])[0])


def test_moving_head_and_camera_together_changes_nothing(scene, head, tmp_path):
    """A law that no wrong axis convention survives: also the view-dependent colours turn with the head."""
    from mathutils import Euler

    still = render_passes(scene, tmp_path)["Combined"]
    move = Matrix.Translation((3, -1, 2)) @ Euler((0.4, -0.7, 1.9)).to_matrix().to_4x4()
    for ob in (head, scene.camera):
        ob.matrix_world = move @ ob.matrix_world
    assert psnr(render_passes(scene, tmp_path)["Combined"], still) > 60


def test_a_head_of_twice_the_size_at_twice_the_distance_looks_the_same(scene, head, tmp_path):
    still = render_passes(scene, tmp_path)["Combined"]
    head.scale = (2, 2, 2)
    scene.camera.location *= 2
    assert psnr(render_passes(scene, tmp_path)["Combined"], still) > 60


def test_keys_drive_the_picture_frame_by_frame(scene, head, tmp_path):
    head.loquent.motion.jawOpen = 0
    head.keyframe_insert("loquent.motion.jawOpen", frame=1)
    head.loquent.motion.jawOpen = 1
    head.keyframe_insert("loquent.motion.jawOpen", frame=11)
    closed, half, wide = (render_passes(scene, tmp_path, frame)["Combined"] for frame in (1, 6, 11))
    assert psnr(closed, half) < 45 and psnr(half, wide) < 45
    scene.frame_set(11)
    same(wide, expected(scene, [head])[0])


@pytest.mark.parametrize("percent", [25, 50, 150, 33])
def test_resolution_percentage(scene, head, tmp_path, percent):
    scene.render.resolution_percentage = percent
    picture = render_passes(scene, tmp_path)["Combined"]
    assert picture.shape[:2] == (64 * percent // 100, 96 * percent // 100)
    same(picture, expected(scene, [head])[0])


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("box", [(0.25, 0.7, 0.1, 0.8), (0.0, 0.5, 0.5, 1.0), (0.333, 0.667, 0.333, 0.667)])
def test_a_border_is_that_part_of_the_whole_picture(scene, head, tmp_path, crop, box):
    render = scene.render
    whole, _ = expected(scene, [head])
    render.use_border, render.use_crop_to_border = True, crop
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = box
    picture = render_passes(scene, tmp_path)["Combined"]
    left, bottom, right, top = convert.border(scene, 96, 64)
    part = whole[64 - top : 64 - bottom, left:right]
    if not crop:
        assert picture.shape == whole.shape
        inside = picture[64 - top : 64 - bottom, left:right]
        outside = picture.copy()
        outside[64 - top : 64 - bottom, left:right] = 0
        assert not outside.any()
        picture = inside
    assert picture.shape == part.shape
    same(picture, part)


def test_a_border_in_a_huge_picture_is_drawn_alone(scene, head, tmp_path, monkeypatch):
    from loquent.addon import engine

    monkeypatch.setattr(engine, "WHOLE_PIXELS", 100)
    whole, _ = expected(scene, [head])
    scene.render.use_border, scene.render.use_crop_to_border = True, True
    scene.render.border_min_x, scene.render.border_max_y = 0.5, 0.75
    picture = render_passes(scene, tmp_path)["Combined"]
    assert picture.shape == (48, 48, 4) and psnr(picture, whole[16:, 48:]) > 55


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("size", [(96, 64), (64, 96)])
def test_lens_sensor_fit_and_shift_project_as_blender_does(scene, head, fit, size):
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.pixel_aspect_x = 1.3
    data = scene.camera.data
    data.lens, data.sensor_fit, data.sensor_height, data.shift_x, data.shift_y = 60, fit, 20, 0.1, -0.07
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera, back = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), *size)
    assert back == 0
    for point in ((0.02, -0.1, 0.03), (-0.1, 0.1, 0.1)):
        x, y, z = (camera.world_to_camera @ np.array([*point, 1]))[:3]
        seen = world_to_camera_view(scene, scene.camera, Vector(point))
        # world_to_camera_view knows nothing of pixel aspect: undo it along the side that it widens
        u = (camera.K[0, 0] * x / z + camera.K[0, 2]) / size[0]
        v = 1 - (camera.K[1, 1] * y / z + camera.K[1, 2]) / size[1]
        assert z == pytest.approx(seen.z, abs=1e-5)
        scene.render.pixel_aspect_x = 1.3
        assert (u, v) == pytest.approx(_through_projection(depsgraph, scene, point, size), abs=1e-4)


def _through_projection(depsgraph, scene, point, size):
    from mathutils import Vector

    projection = scene.camera.calc_matrix_camera(
        depsgraph, x=size[0], y=size[1], scale_x=scene.render.pixel_aspect_x, scale_y=scene.render.pixel_aspect_y
    )
    clip = projection @ scene.camera.matrix_world.inverted() @ Vector((*point, 1))
    return 0.5 + 0.5 * clip.x / clip.w, 0.5 + 0.5 * clip.y / clip.w


def test_an_orthographic_camera_shows_the_same_size_at_any_distance(scene, head, tmp_path):
    bpy.context.view_layer.use_pass_z = True
    scene.camera.data.type, scene.camera.data.ortho_scale = "ORTHO", 0.5
    near = render_passes(scene, tmp_path)
    scene.camera.location.y -= 3
    far = render_passes(scene, tmp_path)
    assert near["Combined"][..., 3].max() > 0.9
    assert psnr(near["Combined"], far["Combined"]) > 45
    covered = near["Combined"][..., 3] > 0.5
    assert np.median(far["Depth"][covered] - near["Depth"][covered]) == pytest.approx(3, abs=1e-3)


def test_without_film_transparency_the_world_stands_behind(scene, head, tmp_path):
    world = bpy.data.worlds.new("World")
    if world.node_tree is None:
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.2, 0.4, 0.6, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.5
    scene.world = world
    scene.render.film_transparent = False
    picture = render_passes(scene, tmp_path)["Combined"]
    bare, _ = expected(scene, [head])
    assert (picture[..., 3] == 1).all()
    assert np.allclose(picture[..., :3], bare[..., :3] + (1 - bare[..., 3:]) * [0.1, 0.2, 0.3], atol=1e-6)


def test_two_heads_hide_each_other_by_depth(scene, head, other, tmp_path):
    from loquent.addon.scene import build_head_object

    second = build_head_object(scene, other, location=(0.04, -0.15, 0))
    second.loquent.motion.jawOpen = 0.7
    picture = render_passes(scene, tmp_path)["Combined"]
    same(picture, expected(scene, [head, second])[0])
    assert psnr(picture, expected(scene, [head])[0]) < 30


def test_instances_of_a_collection_are_drawn(scene, head, tmp_path):
    scene.collection.objects.unlink(head)
    group = bpy.data.collections.new("Heads")
    group.objects.link(head)
    for x in (-0.08, 0.08):
        empty = bpy.data.objects.new("Instance", None)
        empty.instance_type, empty.instance_collection, empty.location.x = "COLLECTION", group, x
        scene.collection.objects.link(empty)
    picture = render_passes(scene, tmp_path)["Combined"]
    assert picture[..., 3].max() > 0.9
    same(picture, expected(scene, [head], [Matrix.Translation((x, 0, 0)) for x in (-0.08, 0.08)])[0])


def test_a_hidden_head_leaves_an_empty_picture(scene, head, tmp_path):
    head.hide_render = True
    assert not render_passes(scene, tmp_path)["Combined"].any()


def test_the_compositor_receives_combined_and_depth(scene, head, tmp_path):
    """Combined goes over a plain background and Depth through a threshold, in the tree that Blender itself runs."""
    from loquent.addon.scene import setup_compositor

    bpy.context.view_layer.use_pass_z = True
    setup_compositor(scene, background=(0.25, 0.5, 0.75))
    channels = render_channels(scene, tmp_path)
    picture, depth = expected(scene, [head])
    over = picture[..., :3] + (1 - picture[..., 3:]) * [0.25, 0.5, 0.75]
    composite = np.stack([channels[n] for n in sorted((n for n in channels if "Composite" in n), key=_rgba)], -1)
    assert np.allclose(composite[..., :3], over, atol=2e-3)  # the GPU compositor of 5.x keeps half floats
    tree = getattr(scene, "compositing_node_group", None) or scene.node_tree
    layers = next(n for n in tree.nodes if n.type == "R_LAYERS")
    output = next(n for n in tree.nodes if n.type in {"COMPOSITE", "GROUP_OUTPUT"})
    tree.links.new(layers.outputs["Depth"], output.inputs[0])
    channels = render_channels(scene, tmp_path)
    red = next(channels[n] for n in channels if n.endswith("Composite.Combined.R") or n == "Composite.R")
    assert np.allclose(red[depth > 0], depth[depth > 0], atol=2e-3)


def _rgba(name: str) -> int:
    return "RGBA".index(name[-1])


def test_no_camera_is_one_message(scene, head):
    scene.camera = None
    with pytest.raises(RuntimeError, match="camera") as told:
        bpy.ops.render.render()
    assert str(told.value).count("Error") == 1


def test_a_missing_avatar_is_one_message_that_names_the_file(scene, head):
    head.loquent.avatar = "//gone/nobody.loq"
    with pytest.raises(RuntimeError, match=r"nobody\.loq") as told:
        bpy.ops.render.render()
    assert str(told.value).count("Error") == 1 and "expected" in str(told.value)


def test_a_panorama_is_refused_with_a_reason(scene, head):
    scene.camera.data.type = "PANO"
    with pytest.raises(RuntimeError, match="perspective and orthographic"):
        bpy.ops.render.render()


def test_an_avatar_file_that_changes_is_read_again(scene, head, tmp_path, tiny, other):
    import os
    import shutil

    path = tmp_path / "changing.loq"
    shutil.copy(tiny, path)
    head.loquent.avatar = str(path)
    first = render_passes(scene, tmp_path)["Combined"]
    shutil.copy(other, path)
    os.utime(path, (1, 1))
    assert psnr(first, render_passes(scene, tmp_path)["Combined"]) < 40


def test_saving_and_loading_keeps_motion_and_pixels(scene, head, tmp_path):
    from loquent.addon.scene import apply_motion, save_blend
    from loquent.core.head.motion import Motion

    values = np.random.default_rng(8).random((12, len(CHANNELS))).astype(np.float32) * 0.3
    values[:, INDEX["headX"] :] *= 0.01
    apply_motion(scene, head, Motion(24, values), 1)
    before = render_passes(scene, tmp_path, 6)["Combined"]
    name = head.name
    save_blend(tmp_path / "shot.blend")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    scene, head = bpy.context.scene, bpy.data.objects[name]
    assert scene.render.engine == "LOQUENT" and head.loquent.uuid
    assert np.array_equal(render_passes(scene, tmp_path, 6)["Combined"], before)
    assert np.array_equal(convert.channel_values(head), values[5])


def test_a_blend_file_cannot_be_saved_into_a_folder_that_is_a_file(scene, head, tmp_path):
    from loquent.addon.scene import save_blend
    from loquent.core.errors import FormatError

    (tmp_path / "taken").write_text("x")
    with pytest.raises(FormatError, match="Cannot write"):
        save_blend(tmp_path / "taken" / "shot.blend")


def test_without_the_native_rasteriser_the_picture_is_the_same_and_the_slow_path_is_named(
    scene, head, tmp_path, monkeypatch, caplog
):
    from loquent.addon.engine import drawing_note
    from loquent.core.splats import native
    from loquent.core.splats import rasterize as drawing

    fast = render_passes(scene, tmp_path)["Combined"]
    assert "slowly" not in drawing_note(join([]))
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(drawing, "_warned", type(drawing._warned)())
    slow = render_passes(scene, tmp_path)["Combined"]
    assert "slowly: the native rasteriser is missing" in drawing_note(join([]))
    assert "Slow path" in caplog.text
    assert psnr(fast, slow) > 60
