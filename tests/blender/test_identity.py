# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads of another shape, heads that turn into each other, and colours of the performance: viewport, F12, file, undo."""

from dataclasses import replace

import bpy
import numpy as np
import pytest

from loquent.addon import convert, identities, proxy, session, viewport
from loquent.addon.scene import build_head_object
from loquent.core.errors import FormatError
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.head.sliders import SLIDERS
from loquent.core.splats.avatar import save_avatar
from loquent.core.splats.colour_network import ColourNetwork

from .pictures import psnr, render_passes
from .test_panels import draw_all
from .test_viewport import drawn, from_front, on_gpu, perspective, rasterized, straight, talking  # noqa: F401

ROWS = 250


@pytest.fixture(scope="session")
def lively(tiny_avatar, tmp_path_factory):
    """The tiny head, of which 250 Gaussians change their colour as the jaw opens; the path."""
    rng = np.random.default_rng(9)
    matrix = np.zeros((len(CHANNELS), 2), np.float32)
    matrix[INDEX["jawOpen"]] = 3, -3
    network = ColourNetwork(
        -np.ones(65, np.float32), np.ones(65, np.float32), (matrix,), (np.zeros(2, np.float32),),
        np.sort(rng.choice(len(tiny_avatar), ROWS, replace=False)).astype(np.int32),
        rng.normal(0, 1, (2, ROWS, 3)).astype(np.float32),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("avatars") / "lively.loq"
    save_avatar(replace(tiny_avatar, name="lively", colour=network), path)
    return str(path)


def test_a_neutral_head_is_the_files_own(scene, head, tiny):
    assert identities.wanted(head) is None and session.of(head) is session.performer(tiny)
    head.loquent.blend_with = "ada"
    assert session.of(head) is session.performer(tiny), "nothing is blended yet"


def test_a_slider_reshapes_the_head_and_shares_its_looks(scene, head, tiny):
    head.loquent.identity.width = 2.5
    wide = session.of(head)
    assert wide is session.of(head) and wide.looks is session.performer(tiny)
    skin = [loaded.mesh()[0] for loaded in (wide, session.performer(tiny))]
    assert np.ptp(skin[0][:, 0]) > np.ptp(skin[1][:, 0])
    assert wide.regions is session.performer(tiny).regions
    head.loquent.identity.width = 0
    assert session.of(head) is session.performer(tiny)


def test_f12_and_the_viewport_show_the_shape_that_is_keyed(scene, head, from_front, on_gpu, tmp_path):  # noqa: F811
    head.loquent.identity.keyframe_insert("width", frame=1)
    head.loquent.identity.width = 4
    head.loquent.identity.keyframe_insert("width", frame=11)
    pictures = [render_passes(scene, tmp_path, frame)["Combined"] for frame in (1, 6, 11)]
    assert max(psnr(pictures[0], pictures[1]), psnr(pictures[1], pictures[2])) < 52
    scene.frame_set(6)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    (shown,) = viewport.visible(depsgraph, None)
    assert shown.loaded.performer.avatar.betas[3] == pytest.approx(-2, abs=0.01)
    picture, _ = drawn([shown], from_front, perspective(), on_gpu)
    assert psnr(picture, rasterized([shown], from_front, perspective())[0]) > 50


def test_other_shapes_under_the_same_looks_upload_nothing_anew(scene, head, from_front, on_gpu):  # noqa: F811
    from loquent.addon import splat_drawing

    def views():
        models = set()
        for amount in (1.0, 2.0, 3.0):
            head.loquent.identity.width = amount
            stage = splat_drawing.stage("picture")
            models.add(id(stage.pose(session.of(head), np.zeros(len(CHANNELS), np.float32)).model))
        return models

    assert len(on_gpu(views)) == 1


def test_the_proxy_takes_the_shape_too(scene, head):
    def width():
        depsgraph = bpy.context.evaluated_depsgraph_get()
        mesh = head.evaluated_get(depsgraph).to_mesh()
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        points = points.reshape(-1, 3)
        return np.ptp(points[points[:, 2] > 0, 0])  # of the head, without the shoulders

    proxy.follow_all(scene, bpy.context.evaluated_depsgraph_get())
    before = width()
    head.loquent.identity.width = 4
    head.update_tag()  # as a slider in the panel does
    bpy.context.view_layer.update()
    proxy.follow_all(scene, bpy.context.evaluated_depsgraph_get())
    assert width() > 1.03 * before
    head.loquent.identity.width = 0
    head.update_tag()
    bpy.context.view_layer.update()
    proxy.follow_all(scene, bpy.context.evaluated_depsgraph_get())
    assert width() == pytest.approx(before, rel=1e-4)


def test_a_head_turns_into_another_and_is_it_in_the_end(scene, head, other, tmp_path):
    head.loquent.blend_with = other
    pictures = {}
    for factor in (0.0, 0.5, 1.0):
        head.loquent.blend = factor
        pictures[factor] = render_passes(scene, tmp_path)["Combined"]
    head.loquent.avatar, head.loquent.blend = other, 0.0
    assert np.abs(pictures[1.0] - render_passes(scene, tmp_path)["Combined"]).max() < 1e-4
    assert psnr(pictures[0.0], pictures[0.5]) < 30 and psnr(pictures[0.5], pictures[1.0]) < 30


def test_shape_only_keeps_the_looks(scene, head, tiny):
    head.loquent.blend_with, head.loquent.blend, head.loquent.blend_shape_only = "ada", 1.0, True
    ada = session.performer("ada").performer.avatar
    shaped = session.of(head)
    assert shaped.looks is session.performer(tiny) and np.array_equal(shaped.performer.avatar.betas, ada.betas)


def test_what_cannot_be_blended_is_told_in_the_panel_and_at_f12(scene, head, tmp_path):
    head.loquent.blend_with, head.loquent.blend = "//nobody.loq", 0.5
    with pytest.raises(FormatError, match=r"nobody.loq"):
        session.of(head)
    assert any("nobody.loq" in text for text in draw_all()["LOQUENT_PT_identity"])
    with pytest.raises(RuntimeError, match=r"nobody.loq"):
        render_passes(scene, tmp_path)


def test_sliders_and_blending_survive_saving_undo_and_another_folder(scene, head, other, tmp_path):
    import shutil

    (tmp_path / "a" / "b").mkdir(parents=True)
    shutil.copy(other, tmp_path / "a" / "other.loq")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a" / "shot.blend"))
    head.loquent.blend_with, head.loquent.blend = "//other.loq", 0.25
    head.loquent.identity.deep_skull = 1.5
    bpy.ops.ed.undo_push(message="shaped")
    head.loquent.identity.deep_skull = -2
    bpy.ops.ed.undo_push(message="again")
    bpy.ops.ed.undo()
    ob = next(o for o in bpy.data.objects if o.type == "MESH")
    assert ob.loquent.identity.deep_skull == 1.5
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a" / "b" / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a" / "b" / "shot.blend"))
    ob = next(o for o in bpy.data.objects if o.type == "MESH")
    assert ob.loquent.identity.deep_skull == 1.5 and ob.loquent.blend == 0.25
    assert ob.loquent.blend_with == "//../other.loq"
    session.of(ob)


def test_every_slider_of_the_core_is_in_the_panel(scene, head):
    assert set(SLIDERS) <= set(draw_all()["LOQUENT_PT_identity"])
    kind = head.loquent.identity.bl_rna.properties
    assert all(kind[name].description and kind[name].is_animatable for name in SLIDERS)


# ---- colours that follow the performance


def talks(path, opening):
    shown = talking(path, straight())
    shown.values[INDEX["jawOpen"]] = opening
    return shown


@pytest.mark.parametrize("opening", [0.0, 0.8])
def test_the_viewport_shows_the_colours_of_the_frame(lively, from_front, on_gpu, opening):  # noqa: F811
    heads = [talks(lively, opening)]
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    assert psnr(picture, rasterized(heads, from_front, perspective())[0]) > 50


def test_lively_and_plain_heads_share_a_view(lively, tiny, other, from_front, on_gpu):  # noqa: F811
    heads = []
    for k, (path, opening) in enumerate(((tiny, 0.5), (lively, 0.9), (other, 0.2), (lively, 0.1))):
        shown = talks(path, opening)
        shown.world[:3, 3] += (0.1 * k - 0.15, 0.02 * k, 0)
        heads.append(shown)
    picture, _ = drawn(heads, from_front, perspective(), on_gpu)
    assert psnr(picture, rasterized(heads, from_front, perspective())[0]) > 45


def test_f12_shows_the_colours_of_the_frame(scene, tiny, lively, tmp_path):
    from loquent.addon.scene import setup_scene

    pictures = {}
    for path in (tiny, lively):
        ob = build_head_object(scene, path)
        setup_scene(scene, ob)
        for opening in (0.0, 0.8):
            ob.loquent.motion.jawOpen = opening
            pictures[path, opening] = render_passes(scene, tmp_path)["Combined"]
        bpy.data.objects.remove(ob)
    assert np.abs(pictures[tiny, 0.0] - pictures[lively, 0.0]).max() < 1e-5
    assert psnr(pictures[tiny, 0.8], pictures[lively, 0.8]) < 35


def test_a_lively_head_under_another_shape_keeps_its_colours(scene, lively, from_front, on_gpu):  # noqa: F811
    ob = build_head_object(scene, lively)
    ob.loquent.identity.width = 3
    ob.loquent.motion.jawOpen = 0.8
    shown = viewport.Shown(session.of(ob), convert.channel_values(ob), convert.world_from_head(ob.matrix_world))
    picture, _ = drawn([shown], from_front, perspective(), on_gpu)
    expected = rasterized([shown], from_front, perspective())[0]
    assert psnr(picture, expected) > 50 and expected[..., 3].max() > 0.9
