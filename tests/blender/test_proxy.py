# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh under the splats: what it is made of, and that it does what the channels say, whoever changed them."""

import bpy
import numpy as np
import pytest

from loquent.addon import convert, poses, proxy, session
from loquent.core.head.motion import ARKIT, CHANNELS, Motion
from loquent.core.head.proxy import proxy_of


def shown(ob) -> np.ndarray:
    """(P, 3) of the evaluated mesh in object space."""
    evaluated = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    points = np.empty(3 * len(evaluated.data.vertices), np.float32)
    evaluated.data.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def skin(ob) -> np.ndarray:
    """(P, 3) of the posed head's own vertices, in object space."""
    evaluated = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    loaded = session.performer(ob.loquent.avatar)
    vertices = poses.vertices(loaded, convert.channel_values(evaluated))
    return convert.object_points(vertices[proxy_of(loaded.performer.identity.head).index])


def distance(ob) -> float:
    """Greatest distance in metres between the proxy and the skin it stands for."""
    return float(np.linalg.norm(shown(ob) - skin(ob), axis=1).max())


def test_the_proxy_is_a_few_thousand_triangles_with_uv_and_arkit_keys(head):
    mesh = head.data
    assert 2000 < len(mesh.polygons) < 6000
    uv = np.empty(2 * len(mesh.loops), np.float32)
    mesh.uv_layers["UVMap"].data.foreach_get("uv", uv)
    assert 0 <= uv.min() < 0.1 and 0.9 < uv.max() <= 1
    names = [block.name for block in mesh.shape_keys.key_blocks]
    assert names == ["Basis", *ARKIT, "Pose"]
    rest = np.empty(3 * len(mesh.vertices), np.float32)
    other = rest.copy()
    mesh.shape_keys.key_blocks[0].points.foreach_get("co", rest)
    for name in set(ARKIT) - {"tongueOut"}:  # there is no tongue
        mesh.shape_keys.key_blocks[name].points.foreach_get("co", other)
        assert 0.0005 < np.abs(other - rest).max() < 0.06, name


def test_uv_triangles_are_as_they_are_on_the_head():
    """Collapsing edges must not carry a corner over a seam: no triangle grows large in the layout."""
    from loquent.core.head.head import load_head

    made = proxy_of(load_head())
    a, b, c = made.uv.transpose(1, 0, 2)
    u, v = b - a, c - a
    area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    assert area.max() < 0.02
    assert area.sum() < 1.0


def test_the_proxy_lies_just_under_the_skin_at_rest(head):
    assert 0.0005 < np.median(np.linalg.norm(shown(head) - skin(head), axis=1)) < 0.004
    assert distance(head) < 0.0035


@pytest.mark.parametrize("name", ["ada", "bruno"])
def test_the_proxy_ends_where_the_splats_end(scene, name):
    """The rim of the bust, which nobody has dressed, would look out under a shirt."""
    from loquent.addon.scene import build_head_object

    ob = build_head_object(scene, name)
    used = np.empty(len(ob.data.loops), np.int32)
    ob.data.loops.foreach_get("vertex_index", used)
    splats = convert.object_points(session.performer(name).pose(np.zeros(len(CHANNELS), np.float32)).means)
    height = shown(ob)[np.unique(used), 2]
    assert (splats[:, 2] < height.min()).sum() > 100
    assert np.quantile(splats[:, 2], 0.05) > height.min()
    assert distance(ob) < 0.0035  # vertices stay, all of them


@pytest.mark.parametrize("seed", range(3))
def test_the_proxy_follows_channels_that_are_set_by_hand(head, seed):
    values = np.random.default_rng(seed).uniform(-0.2, 0.8, len(CHANNELS)).astype(np.float32)
    for name, value in zip(CHANNELS, values, strict=True):
        setattr(head.loquent.motion, name, float(value) * (0.05 if name.endswith(("X", "Y", "Z")) else 1))
    bpy.context.view_layer.update()
    bpy.context.view_layer.update()
    assert distance(head) < 0.0035
    blocks = head.data.shape_keys.key_blocks
    evaluated = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
    wanted = np.clip(convert.channel_values(evaluated)[: len(ARKIT)], 0, 1)
    assert np.allclose([blocks[name].value for name in ARKIT], wanted, atol=1e-6)


def test_the_proxy_follows_speech_from_frame_to_frame(scene, head):
    from loquent.addon.scene import apply_motion

    values = np.random.default_rng(3).uniform(0, 0.5, (20, len(CHANNELS))).astype(np.float32)
    apply_motion(scene, head, Motion(scene.render.fps, values), 1)
    seen = []
    for frame in (1, 8, 15, 8):
        scene.frame_set(frame)
        assert distance(head) < 0.0035, frame
        seen.append(shown(head))
    assert np.abs(seen[0] - seen[1]).max() > 0.005
    assert np.array_equal(seen[1], seen[3])


def test_undo_brings_the_proxy_back(scene, head):
    bpy.ops.ed.undo_push(message="before")
    bpy.context.active_object.loquent.motion.headYaw = 0.5
    bpy.context.view_layer.update()
    bpy.ops.ed.undo_push(message="turned")
    bpy.ops.ed.undo()
    bpy.context.view_layer.update()
    (ob,) = (o for o in bpy.context.scene.objects if convert.is_head(o))
    assert ob.loquent.motion.headYaw == 0 and distance(ob) < 0.0035
    bpy.ops.ed.redo()
    bpy.context.view_layer.update()
    (ob,) = (o for o in bpy.context.scene.objects if convert.is_head(o))
    assert abs(ob.loquent.motion.headYaw - 0.5) < 1e-6 and distance(ob) < 0.0035


def test_saved_and_opened_again_it_follows_still(scene, head, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "шот.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "шот.blend"))
    (ob,) = (o for o in bpy.context.scene.objects if convert.is_head(o))
    ob.loquent.motion.jawOpen = 0.7
    bpy.context.view_layer.update()
    bpy.context.view_layer.update()
    assert distance(ob) < 0.0035


def test_linked_duplicates_share_a_mesh_until_they_play_different_parts(scene, head):
    twin = head.copy()
    scene.collection.objects.link(twin)
    bpy.context.view_layer.update()
    assert twin.data is head.data
    head.loquent.motion.jawOpen = twin.loquent.motion.jawOpen = 0.4
    head.update_tag()
    twin.update_tag()
    bpy.context.view_layer.update()
    assert twin.data is head.data
    twin.loquent.motion.headYaw = 0.6
    twin.update_tag()  # what a slider does by itself
    for _ in range(2):
        bpy.context.view_layer.update()
    assert twin.data is not head.data
    assert distance(twin) < 0.0035 and distance(head) < 0.0035


def test_a_proxy_that_the_artist_has_remodelled_is_left_alone(head):
    head.shape_key_add(name="Mine", from_mix=False).value = 0.25
    head.loquent.motion.headYaw = 0.6
    head.update_tag()
    bpy.context.view_layer.update()
    assert distance(head) > 0.01
    assert head.data.shape_keys.key_blocks["Mine"].value == 0.25


def test_a_missing_avatar_leaves_the_proxy_standing(scene, head, tmp_path):
    head.loquent.avatar = str(tmp_path / "gone.loq")
    head.loquent.motion.headYaw = 0.6
    head.update_tag()
    bpy.context.view_layer.update()
    assert np.isfinite(shown(head)).all() and len(shown(head)) > 1000


def test_cycles_sees_the_proxys_shadow_and_not_the_proxy(scene, head, tmp_path):
    from .pictures import render_passes

    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device, scene.cycles.use_denoising = 8, "CPU", False
    scene.world = bpy.data.worlds.new("World")
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3, (0.9, 0, 0.5)
    scene.collection.objects.link(sun)
    bpy.ops.mesh.primitive_plane_add(size=4, location=(0, 0.3, 0), rotation=(np.pi / 2, 0, 0))

    def light() -> np.ndarray:
        return render_passes(scene, tmp_path)["Combined"][..., 0]

    with_head = light()
    head.visible_shadow = False
    without = light()
    assert (with_head < 0.5 * without).mean() > 0.03
    assert not (with_head > 1.2 * without + 0.05).any()


def test_in_a_film_of_cycles_the_shadow_moves_as_in_single_frames(scene, head, tmp_path):
    from loquent.addon.scene import apply_motion

    values = np.zeros((3, len(CHANNELS)), np.float32)
    values[:, CHANNELS.index("headX")] = 0, 0.1, -0.2
    apply_motion(scene, head, Motion(scene.render.fps, values), 1)
    scene.frame_start, scene.frame_end = 1, 3
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device, scene.cycles.use_denoising = 4, "CPU", False
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3, (0.9, 0, 0.5)
    scene.collection.objects.link(sun)
    bpy.ops.mesh.primitive_plane_add(size=4, location=(0, 0.3, 0), rotation=(np.pi / 2, 0, 0))
    scene.render.image_settings.file_format = "PNG"

    def picture(name: str) -> np.ndarray:
        image = bpy.data.images.load(str(tmp_path / name))
        return np.array(image.pixels[:])

    scene.render.filepath = str(tmp_path / "film_")
    bpy.ops.render.render(animation=True)
    film = [picture(f"film_{frame:04d}.png") for frame in (1, 2, 3)]
    assert np.abs(film[0] - film[1]).mean() > 0.01 and np.abs(film[1] - film[2]).mean() > 0.01
    for frame in (3, 1, 2):
        scene.frame_set(frame)
        scene.render.filepath = str(tmp_path / f"single_{frame}.png")
        bpy.ops.render.render(write_still=True)
        assert np.array_equal(picture(f"single_{frame}.png"), film[frame - 1]), frame


def test_splats_of_other_programs_stand_on_a_mesh_too(scene, tmp_path, tiny):
    from loquent.addon.scene import build_head_object
    from loquent.core.splats.avatar import pose
    from loquent.core.splats.ply import write_ply

    values = np.zeros(len(CHANNELS), np.float32)
    write_ply(pose(session.performer(tiny).performer, values), tmp_path / "free.ply")
    ob = build_head_object(scene, str(tmp_path / "free.ply"))
    assert ob.data.shape_keys is None and len(ob.data.polygons) == 12
    assert proxy.follow(ob, values) is False
    low, high = np.array(ob.bound_box).min(0), np.array(ob.bound_box).max(0)
    assert (high - low > 0.1).all()
