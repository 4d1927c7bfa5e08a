# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes besides Combined and Depth, and what may hide a head."""

import json
import math

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from loquent.addon import convert, session
from loquent.core.splats.cryptomatte import number
from loquent.core.splats.regions import REGIONS

from .exr import read_texts
from .pictures import psnr, render_channels, render_passes

ALL = ("z", "mist", "normal", "vector", "cryptomatte_object", "cryptomatte_material", "cryptomatte_asset")


def enable(*names, layer=None):
    for name in names:
        setattr(layer or bpy.context.view_layer, f"use_pass_{name}", True)


def plane(scene, y, *, size=2.0, x=0.0, name="Wall"):
    """An upright square facing the camera, `y` metres behind the head's pivot, its left edge at x."""
    mesh = bpy.data.meshes.new(name)
    corners = [(x, y, -size), (x + 2 * size, y, -size), (x + 2 * size, y, size), (x, y, size)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    ob = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(ob)
    return ob


def test_only_the_passes_that_the_view_layer_asks_for_are_there(scene, head, tmp_path):
    assert set(render_passes(scene, tmp_path)) == {"Combined"}
    enable(*ALL)
    bpy.context.view_layer.loquent.use_pass_coverage = True
    bpy.context.view_layer.pass_cryptomatte_depth = 4
    expected = {"Combined", "Depth", "Mist", "Normal", "Vector", "Coverage"}
    expected |= {f"Crypto{kind}{k:02d}" for kind in ("Object", "Material", "Asset") for k in range(2)}
    assert set(render_passes(scene, tmp_path)) == expected


def test_a_multilayer_file_holds_every_pass_of_every_layer_and_eye_as_it_was_drawn(
    scene, head, other, tmp_path, monkeypatch
):
    """Values against what the engine handed over; manifests as other programs read them."""
    from loquent.addon import passes, pixels
    from loquent.addon.engine import LoquentRenderEngine
    from loquent.addon.scene import build_head_object

    build_head_object(scene, other, name="Zoë", location=(0.05, -0.12, 0))
    scene.view_layers.new("Zweite Ebene")
    for layer in scene.view_layers:
        enable(*ALL, layer=layer)
        layer.loquent.use_pass_coverage = True
    moving(head)
    scene.render.use_multiview = True
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    settings.views_format = "MULTIVIEW"
    drawn, now = {}, []

    def hand_over(self, painted, shot, box, view, original=LoquentRenderEngine._hand_over):
        now.append((shot.depsgraph.view_layer.name, view))
        original(self, painted, shot, box, view)

    def fill(*arguments, original=pixels.fill, **named):
        planes = original(*arguments, **named)
        drawn[*now[-1], "Combined"], drawn[*now[-1], "Depth"] = planes.colour.copy(), planes.depth.copy()
        return planes

    def part_of(pictures, box, original=pixels.part_of):
        parts = original(pictures, box)
        drawn.update({(*now[-1], name): part.copy() for name, part in parts.items()})
        return parts

    monkeypatch.setattr(LoquentRenderEngine, "_hand_over", hand_over)
    monkeypatch.setattr(pixels, "fill", fill)
    monkeypatch.setattr(pixels, "part_of", part_of)
    channels = render_channels(scene, tmp_path, 1)
    read = set()
    for layer in scene.view_layers:
        wanted = passes.asked(layer)
        assert len(wanted) == 6 + 3 * 3
        for eye in ("left", "right"):
            for each in wanted:
                picture = drawn[layer.name, eye, each.name].reshape(64, 96, each.channels)[::-1]
                assert picture.any() or each.name[-2:] in {"01", "02"}, each.name  # few things share a pixel here
                for k, letter in enumerate(each.chan_id):
                    name = f"{layer.name}.{each.name}.{eye}.{letter}"
                    assert np.array_equal(channels[name], picture[..., k]), name
                    read.add(name)
    assert read == {name for name in channels if not name.startswith("Composite")}
    texts = read_texts(tmp_path / "render.exr")
    mattes = {text: key.rsplit("/", 1)[0] for key, text in texts.items() if key.endswith("/name")}
    kinds = ("CryptoObject", "CryptoMaterial", "CryptoAsset")
    assert set(mattes) == {f"{layer.name}.{kind}" for layer in scene.view_layers for kind in kinds}
    manifest = json.loads(texts[f"{mattes['Zweite Ebene.CryptoObject']}/manifest"])
    numbers = {name: np.uint32(int(code, 16)).view(np.float32) for name, code in manifest.items()}
    assert numbers == {name: number(name) for name in (head.name, "Zoë")}


def test_coverage_tells_what_an_opaque_film_hides(scene, head, tmp_path):
    clear = render_passes(scene, tmp_path)["Combined"]
    bpy.context.view_layer.loquent.use_pass_coverage = True
    scene.render.film_transparent = False
    passes = render_passes(scene, tmp_path)
    assert (passes["Combined"][..., 3] == 1).all() and np.array_equal(passes["Coverage"], clear[..., 3])


def test_normals_are_those_of_the_surface_in_the_world(scene, head, tmp_path):
    """A built-in head seen from the front: cheeks face the camera, and turn with the head."""
    head.loquent.avatar = "bruno"
    enable("normal")
    passes = render_passes(scene, tmp_path)
    normal, alpha = passes["Normal"], passes["Combined"][..., 3]
    length = np.linalg.norm(normal, axis=-1)
    assert np.allclose(length[alpha > 0.9], alpha[alpha > 0.9], atol=1e-4)  # empty parts of a pixel count as zero
    assert (length <= alpha + 1e-4).all()
    face = normal[26:36, 44:52].mean((0, 1))
    assert face[1] < -0.7  # the head looks along -Y
    turn = Matrix.Rotation(math.radians(70), 4, "Z") @ Matrix.Rotation(0.4, 4, "X")
    for ob in (head, scene.camera):
        ob.matrix_world = turn @ ob.matrix_world
    turned = render_passes(scene, tmp_path)["Normal"]
    assert np.abs(turned - normal @ np.array(turn.to_3x3()).T)[alpha > 0.9].mean() < 2e-3


def test_mist_goes_by_distance_between_its_planes(scene, head, tmp_path):
    world = bpy.data.worlds.new("World")
    scene.world = world
    enable("mist", "z")
    near = -scene.camera.location.y - 0.1
    for falloff, power in (("LINEAR", 1), ("QUADRATIC", 2), ("INVERSE_QUADRATIC", 0.5)):
        world.mist_settings.start, world.mist_settings.depth, world.mist_settings.falloff = near, 0.2, falloff
        passes = render_passes(scene, tmp_path)
        y, x = np.mgrid[:64, :96] + 0.5
        focal = scene.camera.data.lens / scene.camera.data.sensor_width * 96
        distance = passes["Depth"] * np.sqrt(1 + ((x - 48) ** 2 + (y - 32) ** 2) / focal**2)
        alpha = passes["Combined"][..., 3]
        expected = 1 - alpha * (1 - np.clip((distance - near) / 0.2, 0, 1) ** power)
        assert np.allclose(passes["Mist"], expected, atol=2e-4)
    assert passes["Mist"].max() == 1 and passes["Mist"].min() < 0.8


def moving(ob):
    """Two frames to the left and up, none in frame 1 itself."""
    for frame, x, z in ((0, -0.02, 0.01), (1, 0.0, 0.0), (2, 0.05, -0.02)):
        ob.location = (x, 0, z)
        ob.keyframe_insert("location", frame=frame)
    for curve in curves(ob):
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"


def curves(ob):
    action, slot = ob.animation_data.action, ob.animation_data.action_slot
    return action.layers[0].strips[0].channelbag(slot).fcurves


def test_vector_is_where_things_were_and_will_be_in_pixels(scene, head, tmp_path):
    enable("vector", "z")
    moving(head)
    passes = render_passes(scene, tmp_path, 1)
    vector, depth, alpha = passes["Vector"], passes["Depth"], passes["Combined"][..., 3]
    solid = alpha > 0.9
    focal = scene.camera.data.lens / scene.camera.data.sensor_width * 96
    scale = focal / depth[solid]
    for k, metres in enumerate((-0.02, 0.01, -0.05, 0.02)):  # before - now, now - after
        assert np.median(vector[solid][:, k] / scale) == pytest.approx(metres, abs=0.001)
    scene.frame_set(1)
    assert scene.frame_current == 1 and head.location.x == pytest.approx(0)


def test_vector_has_the_signs_and_sizes_of_cycles(scene, head, tmp_path):
    """The same motion of a wall at the head's depth, drawn by Cycles: what Vector Blur expects."""
    enable("vector", "z")
    moving(head)
    scene.camera.keyframe_insert("location", frame=0)
    scene.camera.location.x += 0.03
    scene.camera.keyframe_insert("location", frame=2)
    ours = render_passes(scene, tmp_path, 1)
    solid = ours["Combined"][..., 3] > 0.9
    wall = plane(scene, 0, size=0.15, x=-0.15)
    moving(wall)
    wall.delta_location.y = float(np.median(ours["Depth"][solid])) + scene.camera.location.y
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    theirs = render_passes(scene, tmp_path, 1)["Vector"]
    middle = np.median(theirs[20:44, 40:56].reshape(-1, 4), 0)
    mine = np.median(ours["Vector"][solid], 0)
    assert np.abs(middle).min() > 1 and mine == pytest.approx(middle, rel=0.12)


def test_vector_is_still_where_the_shutter_already_blurs(scene, head, tmp_path):
    enable("vector")
    moving(head)
    scene.render.use_motion_blur = True
    assert not render_passes(scene, tmp_path, 1)["Vector"].any()


def test_cryptomatte_tells_heads_apart(scene, head, other, tmp_path):
    from loquent.addon.scene import build_head_object

    second = build_head_object(scene, other, name="Zoë", location=(0.05, -0.12, 0))
    parent = bpy.data.objects.new("Rig", None)
    scene.collection.objects.link(parent)
    second.parent = parent
    enable("cryptomatte_object", "cryptomatte_asset")
    passes = render_passes(scene, tmp_path)
    mattes = {name: matte(passes, "CryptoObject", name) for name in (head.name, "Zoë")}
    alpha = passes["Combined"][..., 3]
    assert np.allclose(sum(mattes.values()), alpha, atol=1e-4)
    assert all(found.max() > 0.9 for found in mattes.values())
    assert np.array_equal(matte(passes, "CryptoAsset", "Rig"), mattes["Zoë"])
    head.hide_render = True
    assert np.abs(matte(render_passes(scene, tmp_path), "CryptoObject", "Zoë") - mattes["Zoë"]).max() < 0.3


def matte(passes, kind, name):
    total = 0
    for k in range(3):
        layer = passes[f"{kind}{k:02d}"]
        for rank in (0, 2):
            total = total + np.where(layer[..., rank] == number(name), layer[..., rank + 1], 0)
    return total


def test_regions_add_up_to_the_head(scene, head, tmp_path):
    head.loquent.avatar = "ada"
    head.loquent.motion.jawOpen = 0.6
    enable("cryptomatte_material")
    bpy.context.view_layer.pass_cryptomatte_depth = 16
    passes = render_passes(scene, tmp_path)
    total = 0
    for k in range(8):
        total = total + passes[f"CryptoMaterial{k:02d}"][..., 1] + passes[f"CryptoMaterial{k:02d}"][..., 3]
    assert np.allclose(total, passes["Combined"][..., 3], atol=1e-4)
    mattes = {name: matte(passes, "CryptoMaterial", name) for name in REGIONS}
    assert all(found.max() > 0.08 for found in mattes.values()), {k: v.max() for k, v in mattes.items()}
    rows = {name: (found * np.arange(64)[:, None]).sum() / found.sum() for name, found in mattes.items()}
    assert rows["eyes"] < rows["lips"] < rows["body"] and abs(rows["teeth"] - rows["lips"]) < 4


def test_a_wall_before_the_head_hides_it_and_one_behind_does_not(scene, head, tmp_path):
    whole = render_passes(scene, tmp_path)["Combined"]
    wall = plane(scene, 1.0)
    assert np.array_equal(render_passes(scene, tmp_path)["Combined"], whole)
    wall.location.y = -1.3  # from the middle to the right, before the head
    cut = render_passes(scene, tmp_path)["Combined"]
    assert np.array_equal(cut[:, :47], whole[:, :47]) and not cut[:, 49:].any()
    wall.visible_camera = False
    assert np.array_equal(render_passes(scene, tmp_path)["Combined"], whole)
    wall.visible_camera = True
    scene.loquent_render.use_holdout = False
    assert np.array_equal(render_passes(scene, tmp_path)["Combined"], whole)


def test_a_wall_through_the_head_leaves_its_front(scene, head, tmp_path):
    enable("z")
    whole = render_passes(scene, tmp_path)
    y = float(np.median(whole["Depth"][whole["Depth"] < 1e9])) + scene.camera.location.y
    plane(scene, y, x=-2)
    cut = render_passes(scene, tmp_path)
    left = cut["Combined"][..., 3]
    assert left.max() > 0.9 and (left < whole["Combined"][..., 3] - 0.5).any()
    assert cut["Depth"][left > 0.01].max() <= y - scene.camera.location.y + 1e-4


def test_a_slanted_edge_is_smooth(scene, head, tmp_path):
    head.loquent.avatar = "bruno"
    whole = render_passes(scene, tmp_path)["Combined"][..., 3]
    wall = plane(scene, -0.4)
    wall.rotation_euler.y = 0.3
    cut = render_passes(scene, tmp_path)["Combined"][..., 3]
    share = (cut / np.maximum(whole, 1e-6))[20:44, 40:56]
    assert (whole[20:44, 40:56] > 0.95).all()
    partial = (share > 0.1) & (share < 0.9)
    assert 5 < partial.sum() < 60  # a pixel or so in each row
    assert len(np.unique(share[partial].round(2))) > 2


def test_glass_hides_nothing(scene, head, tmp_path):
    whole = render_passes(scene, tmp_path)["Combined"]
    wall = plane(scene, -0.4)
    material = bpy.data.materials.new("Lens")
    if material.node_tree is None:
        material.use_nodes = True
    wall.data.materials.append(material)
    assert psnr(render_passes(scene, tmp_path)["Combined"], whole) < 30
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["Transmission Weight"].default_value = 1.0
    assert np.array_equal(render_passes(scene, tmp_path)["Combined"], whole)


def test_curves_texts_and_instances_hide_too(scene, head, tmp_path):
    whole = render_passes(scene, tmp_path)["Combined"]
    curve = bpy.data.curves.new("Disc", "CURVE")
    curve.dimensions, curve.fill_mode = "2D", "BOTH"
    spline = curve.splines.new("POLY")
    spline.points.add(3)
    for point, place in zip(spline.points, ((0, -1), (2, -1), (2, 1), (0, 1)), strict=True):
        point.co = (*place, 0, 1)
    spline.use_cyclic_u = True
    disc = bpy.data.objects.new("Disc", curve)
    disc.rotation_euler.x = math.pi / 2
    group = bpy.data.collections.new("Group")
    group.objects.link(disc)
    empty = bpy.data.objects.new("Instance", None)
    empty.instance_type, empty.instance_collection, empty.location.y = "COLLECTION", group, -0.4
    scene.collection.objects.link(empty)
    cut = render_passes(scene, tmp_path)["Combined"]
    assert np.array_equal(cut[:, :47], whole[:, :47]) and not cut[:, 49:].any()


def test_view_layers_draw_what_their_collections_let_through(scene, head, other, tmp_path):
    from loquent.addon.scene import build_head_object

    groups = {}
    for name in ("Near", "Far"):
        groups[name] = bpy.data.collections.new(name)
        scene.collection.children.link(groups[name])
    scene.collection.objects.unlink(head)
    groups["Far"].objects.link(head)
    build_head_object(scene, other, name="Second", location=(0.05, -0.15, 0), collection=groups["Near"])
    layer = scene.view_layers[0]
    names = ("Both", "Without", "Holdout", "Indirect")
    layer.name = names[0]
    for name in names[1:]:
        near = scene.view_layers.new(name).layer_collection.children["Near"]
        near.exclude, near.holdout, near.indirect_only = (name == n for n in names[1:])
    for each in scene.view_layers:
        enable("cryptomatte_object", layer=each)
    channels = render_channels(scene, tmp_path)
    pictures = {n: np.stack([channels[f"{n}.Combined.{c}"] for c in "RGBA"], -1) for n in names}
    both, without, held = (pictures[n] for n in names[:3])
    assert np.array_equal(pictures["Indirect"], without) and psnr(both, without) < 30
    second = np.where(channels["Both.CryptoObject00.R"] == number("Second"), channels["Both.CryptoObject00.G"], 0)
    solid = second > 0.99
    assert solid.any() and not held[solid].any(where=held[solid] > 0.02)  # a hole where the second head stands
    clear = second + np.where(
        channels["Both.CryptoObject00.B"] == number("Second"), channels["Both.CryptoObject00.A"], 0
    )
    assert np.allclose(held[clear == 0], without[clear == 0], atol=2e-3)
    first = channels["Holdout.CryptoObject00.R"]
    assert not (first == number("Second")).any() and (first == number(head.name)).any()


def test_a_holdout_is_a_hole_in_an_opaque_film(scene, head, tmp_path):
    clear = render_passes(scene, tmp_path)["Combined"][..., 3]
    head.is_holdout = True
    scene.render.film_transparent = False
    picture = render_passes(scene, tmp_path)["Combined"]
    assert np.allclose(picture[..., 3], 1 - clear, atol=1e-5)


def test_foreign_splats_look_as_their_trainer_saw_them(scene, head, tmp_path):
    """A .ply of display colours: what covers a pixel wholly is that colour on an sRGB display."""
    from loquent.core.splats.colour import display_harmonics, linear_layers
    from loquent.core.splats.gaussians import Gaussians
    from loquent.core.splats.ply import write_ply
    from loquent.core.splats.rasterize import rasterize

    loaded = session.performer(head.loquent.avatar)
    gaussians = loaded.pose(convert.channel_values(head))
    shown = Gaussians(
        gaussians.means, gaussians.quats_wxyz, gaussians.scales, gaussians.opacities,
        display_harmonics(gaussians.harmonics),
    )  # fmt: skip
    path = tmp_path / "foreign.ply"
    write_ply(shown, path, linear=False)
    head.loquent.avatar = str(path)
    picture = render_passes(scene, tmp_path)["Combined"]
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera, _ = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), 96, 64)
    from loquent.addon.placing import camera_in

    seen = linear_layers(rasterize(shown, camera_in(camera, convert.world_from_head(head.matrix_world), 1.0)))
    assert np.abs(picture[..., :3] - seen.colour).max() < 2e-3 and picture[..., 3].max() > 0.9


def test_a_foreign_head_and_an_own_one_hide_each_other(scene, head, tmp_path):
    from loquent.addon.scene import build_head_object
    from loquent.core.splats.gaussians import SH_C0, Gaussians
    from loquent.core.splats.ply import write_ply

    n = 20000
    rng = np.random.default_rng(0)
    means = np.concatenate([rng.uniform(-0.6, 0.6, (n, 2)), np.full((n, 1), 0.0)], 1).astype(np.float32)
    grey = np.full((n, 1, 3), (0.5 - 0.5) / SH_C0, np.float32)  # display 0.5
    sheet = Gaussians(
        means, np.tile(np.float32([1, 0, 0, 0]), (n, 1)), np.full((n, 3), 0.02, np.float32),
        np.full(n, 0.99, np.float32), grey,
    )  # fmt: skip
    path = tmp_path / "sheet.ply"
    write_ply(sheet, path, linear=False)
    whole = render_passes(scene, tmp_path)["Combined"]
    wall = build_head_object(scene, str(path), name="Sheet", location=(0, 0.5, 0))
    behind = render_passes(scene, tmp_path)["Combined"]
    linear = 0.21404114  # of display 0.5
    middle = behind[28:36, 4:10]
    assert np.allclose(middle[..., :3], linear, atol=2e-3)
    assert np.allclose(behind[..., :3], whole[..., :3] + (1 - whole[..., 3:]) * linear, atol=0.02)
    wall.location.y = -0.4
    assert np.allclose(render_passes(scene, tmp_path)["Combined"][20:44, 30:66, :3], linear, atol=2e-3)
