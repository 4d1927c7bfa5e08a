# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's compositing tree and the node groups, run by Blender itself."""

import bpy
import numpy as np
import pytest

from loquent.addon import compositor, node_groups
from loquent.core.splats.regions import REGIONS

from .exr import read_exr
from .pictures import render_channels, render_passes


def composite(scene, folder):
    """(H, W, 4) of the finished picture, row 0 on top."""
    return picture_of(render_channels(scene, folder))


def picture_of(channels):
    found = {n[-1]: picture for n, picture in channels.items() if n.startswith("Composite")}
    return np.stack([found[c] for c in "RGBA"], -1)


def constant(tree, value):
    """A socket of one colour or number in every pixel."""
    node = tree.nodes.new("CompositorNodeRGB" if np.ndim(value) else "ShaderNodeValue")
    node.outputs[0].default_value = value
    return node.outputs[0]


def own_tree(scene):
    """A tree as a user may have it: the render through an exposure to the output."""
    tree = compositor.tree_of(scene)
    layers = next(n for n in tree.nodes if n.type == "R_LAYERS")
    exposure = tree.nodes.new("CompositorNodeExposure")
    exposure.name = "Mine"
    tree.links.new(layers.outputs["Image"], exposure.inputs["Image"])
    tree.links.new(exposure.outputs[0], compositor.output_of(tree))
    return tree


def shape_of(tree):
    nodes = {
        n.name: (n.type, tuple(n.location), [s.default_value for s in n.inputs if s.type == "VALUE"])
        for n in tree.nodes
    }
    links = {(k.from_node.name, k.from_socket.name, k.to_node.name, k.to_socket.name) for k in tree.links}
    return nodes, links


@pytest.fixture
def set_scene(scene, head):
    """The head's scene as a set: Cycles, one sample, a grey wall of light behind the head's right half in the picture."""
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = 1, False, "CPU"
    scene.render.film_transparent = False
    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    world = bpy.data.worlds.new("World")
    if world.node_tree is None:
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.05, 0.1, 0.2, 1)
    scene.world = world
    return scene


def wall(scene, y):
    """A lamp-like wall over the right half of the picture, `y` metres behind the head's pivot."""
    mesh = bpy.data.meshes.new("Wall")
    mesh.from_pydata([(0, y, -3), (3, y, -3), (3, y, 3), (0, y, 3)], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("Light")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    light = tree.nodes.new("ShaderNodeEmission")
    light.inputs["Color"].default_value = (0.6, 0.5, 0.3, 1)
    tree.links.new(light.outputs[0], next(n for n in tree.nodes if n.type == "OUTPUT_MATERIAL").inputs["Surface"])
    mesh.materials.append(material)
    ob = bpy.data.objects.new("Wall", mesh)
    scene.collection.objects.link(ob)
    return ob


def test_one_render_gives_the_set_with_the_head_over_it(set_scene, head, tmp_path):
    wall(set_scene, 0.5)
    plate = render_passes(set_scene, tmp_path)["Combined"]
    assert bpy.ops.loquent.head_over_plate() == {"FINISHED"}
    finished = composite(set_scene, tmp_path)
    heads = compositor.head_scene_of(set_scene)
    bpy.context.window.scene = heads
    alone = render_passes(heads, tmp_path)["Combined"]
    assert alone[..., 3].max() > 0.9
    expected = plate[..., :3] * (1 - alone[..., 3:]) + alone[..., :3]
    assert np.allclose(finished[..., :3], expected, atol=2e-3)


def test_a_film_over_a_set_shows_what_is_keyed(set_scene, head, tmp_path):
    wall(set_scene, 0.5)
    head.location.x = 0.03
    for frame, yaw in ((1, -0.6), (3, 0.6)):
        head.loquent.motion.headYaw = yaw
        head.keyframe_insert("loquent.motion.headYaw", frame=frame)
    bpy.ops.loquent.head_over_plate()
    singles = []
    for frame in (1, 2, 3):
        set_scene.frame_set(frame)
        singles.append(composite(set_scene, tmp_path))
    assert np.abs(singles[0] - singles[1]).max() > 0.05 and np.abs(singles[2] - singles[1]).max() > 0.05
    set_scene.frame_start, set_scene.frame_end = 1, 3
    set_scene.render.filepath = str(tmp_path / "film_####")
    bpy.ops.render.render(animation=True)
    for frame, single in zip((1, 2, 3), singles, strict=True):
        film = read_exr(tmp_path / f"film_{frame:04d}.exr")
        assert np.allclose(picture_of(film), single, atol=2e-3)


@pytest.mark.parametrize("meshes_hide", [True, False])
def test_what_stands_before_the_head_in_the_set_hides_it(set_scene, head, tmp_path, meshes_hide):
    """By cutting the head out where it is drawn, or by the depths alone: both give the wall before the head."""
    set_scene.loquent_render.use_holdout = meshes_hide
    wall(set_scene, -0.4)
    plate = render_passes(set_scene, tmp_path)["Combined"]
    bpy.ops.loquent.head_over_plate()
    finished = composite(set_scene, tmp_path)
    assert np.allclose(finished[:, 50:, :3], plate[:, 50:, :3], atol=2e-3)  # the wall's half is the wall's
    assert np.abs(finished[20:44, 36:46, :3] - plate[20:44, 36:46, :3]).max() > 0.1  # the other half has the head


def test_the_users_nodes_and_links_stay(set_scene, head, tmp_path):
    tree = own_tree(set_scene)
    nodes, links = shape_of(tree)
    bpy.ops.loquent.head_over_plate()
    after_nodes, after_links = shape_of(tree)
    assert {name: after_nodes[name] for name in nodes} == nodes
    lost = links - after_links
    assert {link[2] for link in lost} == {compositor.output_of(tree).node.name} and len(lost) == 1
    over = next(n for n in tree.nodes if n.type == "GROUP")
    assert over.inputs["Plate"].links[0].from_node.name == "Mine"
    assert compositor.output_of(tree).links[0].from_node == over


def test_without_connecting_no_link_is_lost(set_scene, head):
    tree = own_tree(set_scene)
    nodes, links = shape_of(tree)
    bpy.ops.loquent.head_over_plate(insert=False)
    for group in (node_groups.OVER, node_groups.MATTE, node_groups.GRAIN):
        bpy.ops.loquent.add_to_compositor(group=group, insert=False)
    after_nodes, after_links = shape_of(tree)
    assert links <= after_links and nodes.items() <= after_nodes.items()


def test_pressing_twice_makes_one_scene_and_uses_the_group_as_the_user_left_it(set_scene, head):
    bpy.ops.loquent.head_over_plate()
    bpy.data.node_groups[node_groups.OVER].nodes.new("NodeFrame").name = "Changed"
    bpy.ops.loquent.head_over_plate()
    assert len(bpy.data.scenes) == 2
    groups = [g for g in bpy.data.node_groups if g.name.startswith("Loquent")]
    assert [g.name for g in groups] == [node_groups.OVER] and "Changed" in groups[0].nodes
    assert groups[0].asset_data is not None and groups[0].asset_data.description
    tree = compositor.tree_of(set_scene)
    scenes = [n.scene for n in tree.nodes if n.type == "R_LAYERS"]
    assert len(scenes) == len(set(scenes)) == 2


def test_the_head_scene_follows_the_plates_camera_border_and_size(set_scene, head, tmp_path):
    bpy.ops.loquent.head_over_plate()
    heads = compositor.head_scene_of(set_scene)
    assert (
        heads.render.engine == "LOQUENT"
        and heads.render.film_transparent
        and len(heads.objects) == len(set_scene.objects)
    )
    whole = composite(set_scene, tmp_path)
    render = set_scene.render
    render.use_border, render.use_crop_to_border = True, True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.25, 0.75, 0.5, 1.0
    part = composite(set_scene, tmp_path)
    assert part.shape[:2] == (32, 48) and np.allclose(part, whole[:32, 24:72], atol=2e-3)
    render.use_border = False
    second = bpy.data.objects.new("Second", set_scene.camera.data.copy())
    second.matrix_world = set_scene.camera.matrix_world
    second.location.x += 0.05
    set_scene.collection.objects.link(second)
    heads.collection.objects.link(second)
    first = set_scene.camera
    for name, frame, camera in (("Start", 1, first), ("Cut", 5, second)):
        set_scene.timeline_markers.new(name, frame=frame).camera = camera
    moved = []
    for frame in (1, 5):
        set_scene.frame_set(frame)
        moved.append(composite(set_scene, tmp_path))
    assert np.allclose(moved[0], whole, atol=1e-3), np.abs(moved[0] - whole).max()
    assert np.abs(moved[1] - moved[0]).max() > 0.1


def test_a_button_that_cannot_work_says_why(scene, head):
    assert not bpy.ops.loquent.head_over_plate.poll()  # drawn by Loquent itself
    scene.render.engine = "CYCLES"
    assert bpy.ops.loquent.head_over_plate.poll() and not bpy.ops.loquent.add_to_compositor.poll()
    bpy.data.objects.remove(head)
    assert not bpy.ops.loquent.head_over_plate.poll()


def test_no_camera_is_told(set_scene, head):
    set_scene.camera = None
    with pytest.raises(RuntimeError, match="has no camera"):
        bpy.ops.loquent.head_over_plate()
    assert len(bpy.data.scenes) == 1


def over_node(scene, **values):
    """The group on constant colours, to the output."""
    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    tree = compositor.tree_of(scene)
    node = compositor._group_node(tree, node_groups.OVER)
    for name, value in values.items():
        tree.links.new(constant(tree, value), node.inputs[name.replace("_", " ")])
    tree.links.new(node.outputs["Image"], compositor.output_of(tree))
    return node


@pytest.mark.parametrize(
    ("plate_depth", "head_depth", "share"),
    [(2.0, 1.0, 1), (1.0, 2.0, 0), (1.0, 1.0, 0.5), (1.0, 1e10, 1), (1e10, 1.0, 1)],
)
def test_head_over_plate_is_exact_for_premultiplied_colour(scene, head, tmp_path, plate_depth, head_depth, share):
    over_node(
        scene, Plate=(0.5, 0.25, 1.0, 1), Head=(0.2, 0.3, 0.1, 0.5), Plate_Depth=plate_depth, Head_Depth=head_depth
    )
    expected = np.array([0.5, 0.25, 1.0]) * (1 - 0.5 * share) + share * np.array([0.2, 0.3, 0.1])
    # a constant has no size: the picture has it from the render, which goes to the head's input in real trees
    picture = composite(scene, tmp_path)
    assert np.allclose(picture[..., :3], expected, atol=2e-3)


def test_mattes_by_region_are_those_of_cryptomatte(scene, head, tmp_path):
    from loquent.core.splats.cryptomatte import number

    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    head.loquent.avatar = "ada"
    head.loquent.motion.jawOpen = 0.5
    bpy.ops.loquent.add_to_compositor(group=node_groups.MATTE)
    passes = render_passes(scene, tmp_path)
    tree = compositor.tree_of(scene)
    node = next(n for n in tree.nodes if n.type == "GROUP")
    for region in REGIONS:
        tree.links.new(node.outputs[region.title()], compositor.output_of(tree))
        expected = sum(
            np.where(passes[f"CryptoMaterial{k:02d}"][..., r] == number(region), passes[f"CryptoMaterial{k:02d}"][..., r + 1], 0)
            for k in range(3) for r in (0, 2)
        )  # fmt: skip
        assert expected.max() > 0.05 and np.allclose(composite(scene, tmp_path)[..., 0], expected, atol=2e-3), region


def test_blenders_cryptomatte_node_picks_a_head_by_name(scene, head, other, tmp_path):
    from loquent.addon.scene import build_head_object

    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    build_head_object(scene, other, name="Zoë", location=(0.05, -0.12, 0))
    bpy.context.view_layer.use_pass_cryptomatte_object = True
    bpy.context.view_layer.use_pass_cryptomatte_material = True
    passes = render_passes(scene, tmp_path)
    tree = compositor.tree_of(scene)
    node = tree.nodes.new("CompositorNodeCryptomatteV2")
    node.source, node.scene = "RENDER", scene
    tree.links.new(node.outputs["Matte"], compositor.output_of(tree))
    from .test_passes import matte

    for kind, name in (("CryptoObject", "Zoë"), ("CryptoObject", head.name), ("CryptoMaterial", "skin")):
        node.layer_name = f"{scene.view_layers[0].name}.{kind}"
        node.matte_id = name
        expected = matte(passes, kind, name)
        assert expected.max() > 0.9 and np.allclose(composite(scene, tmp_path)[..., 0], expected, atol=2e-3)


def noisy_plate(deviation, size=(192, 128)):
    rng = np.random.default_rng(2)
    image = bpy.data.images.new("Plate", *size, float_buffer=True, alpha=True)
    image.colorspace_settings.name = "Linear Rec.709"
    pixels = np.ones((size[1], size[0], 4), np.float32)
    pixels[..., :3] = 0.3 + rng.normal(0, deviation, (size[1], size[0], 1))
    pixels[:, size[0] // 2 :, :3] += 0.4  # an edge, which is no grain
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


@pytest.mark.parametrize("deviation", [0.004, 0.015])
@pytest.mark.parametrize("size", [0.0, 2.0])
def test_grain_match_gives_the_head_the_plates_grain(scene, head, tmp_path, deviation, size):
    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    scene.render.resolution_x, scene.render.resolution_y = 192, 128
    tree = compositor.tree_of(scene)
    node = compositor._group_node(tree, node_groups.GRAIN)
    node.inputs["Size"].default_value = size
    image = tree.nodes.new("CompositorNodeImage")
    image.image = noisy_plate(deviation)
    layers = next(n for n in tree.nodes if n.type == "R_LAYERS")
    tree.links.new(image.outputs["Image"], node.inputs["Plate"])
    tree.links.new(layers.outputs["Image"], node.inputs["Head"])
    tree.links.new(node.outputs["Image"], compositor.output_of(tree))
    bare = render_passes(scene, tmp_path)["Combined"]
    frames = []
    for frame in (1, 1, 2):
        scene.frame_set(frame)
        frames.append(composite(scene, tmp_path))
    assert np.array_equal(frames[0], frames[1]) and not np.array_equal(frames[0], frames[2])
    solid, empty = bare[..., 3] > 0.99, bare[..., 3] == 0
    added = frames[0][..., :3] - bare[..., :3]
    assert np.abs(added[empty]).max() < 1e-6 and np.allclose(frames[0][..., 3], bare[..., 3], atol=1e-5)
    assert added[solid].std(0) == pytest.approx(deviation, rel=0.25)
    assert abs(added[solid].mean()) < 0.2 * deviation


def test_saving_and_opening_keeps_the_set_up(set_scene, head, tmp_path):
    bpy.ops.loquent.head_over_plate()
    before = composite(set_scene, tmp_path)
    name = set_scene.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    scene = bpy.data.scenes[name]
    assert compositor.head_scene_of(scene) is not None
    assert np.allclose(composite(scene, tmp_path), before, atol=1e-6)
