# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads out of Blender as splat files, and avatars of other heads in it."""

from dataclasses import replace

import bpy
import numpy as np
import pytest

from loquent.core.assets import data_file
from loquent.core.head.head import load_head
from loquent.core.head.motion import CHANNELS
from loquent.core.splats.avatar import load_avatar, performer, pose, save_avatar
from loquent.core.splats.formats import read_splats


def posed(path: str, **channels: float):
    values = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        values[CHANNELS.index(name)] = value
    return pose(performer(load_avatar(path)), values)


@pytest.mark.parametrize(("suffix", "metres"), [(".ply", 1e-6), (".spz", 1e-4)])
def test_what_the_head_shows_now_is_written(head, tiny, tmp_path, suffix, metres):
    head.loquent.motion.jawOpen = 0.5
    path = tmp_path / f"now{suffix}"
    assert bpy.ops.loquent.export_splats(filepath=str(path), format=suffix) == {"FINISHED"}
    assert np.abs(read_splats(path).means - posed(tiny, jawOpen=0.5).means).max() < metres


def test_every_frame_becomes_a_file_and_the_frame_stays(head, tiny, tmp_path):
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 3, 5
    for frame, value in ((3, 0.0), (5, 1.0)):
        head.loquent.motion.jawOpen = value
        head.loquent.motion.keyframe_insert("jawOpen", frame=frame)
    scene.frame_set(4)
    assert bpy.ops.loquent.export_splats(filepath=str(tmp_path / "take.ply"), sequence=True) == {"FINISHED"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"take_000{k}.ply" for k in (3, 4, 5)]
    assert scene.frame_current == 4
    last = read_splats(tmp_path / "take_0005.ply").means
    assert np.abs(last - posed(tiny, jawOpen=1.0).means).max() < 1e-6
    assert np.abs(last - read_splats(tmp_path / "take_0003.ply").means).max() > 1e-3


def test_where_it_stands_is_the_scene_with_z_up(head, tiny, tmp_path):
    head.location, head.scale, head.rotation_euler = (1, 2, 3), (2, 2, 2), (0, 0, 0.7)
    bpy.context.view_layer.update()
    assert bpy.ops.loquent.export_splats(filepath=str(tmp_path / "here.ply"), placed=True) == {"FINISHED"}
    from loquent.addon.convert import object_points

    points = object_points(posed(tiny).means)
    matrix = np.array(head.matrix_world)
    found = read_splats(tmp_path / "here.ply")
    assert np.abs(found.means - (points @ matrix[:3, :3].T + matrix[:3, 3])).max() < 1e-4
    assert np.allclose(found.scales, 2 * posed(tiny).scales, rtol=1e-3)


def test_a_folder_that_cannot_be_written_is_told(head, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Cannot write"):
        bpy.ops.loquent.export_splats(filepath=str(tmp_path / "file" / "a.ply"))


def test_the_file_menus_offer_both(registered):
    for menu, text in (
        (bpy.types.TOPBAR_MT_file_import, "_import_menu"),
        (bpy.types.TOPBAR_MT_file_export, "_export_menu"),
    ):
        names = [f.__name__ for f in menu._dyn_ui_initialize() if "splat_files" in f.__module__]
        assert names == [text]


def test_an_avatar_of_another_head_performs_where_its_head_lies_beside_it(scene, tiny_avatar, tmp_path):
    from loquent.addon import session
    from loquent.core.head.flame_convert import write_head

    built_in = dict(np.load(data_file("head.npz")))
    built_in["faces"] = np.roll(built_in["faces"], 1, 1)  # the same shape, another topology by its id
    write_head(built_in, tmp_path / "other.head.npz")
    head = load_head(tmp_path / "other.head.npz")
    save_avatar(replace(tiny_avatar, head_id=head.head_id), tmp_path / "me.loq")
    assert bpy.ops.loquent.add_head(avatar="FILE", filepath=str(tmp_path / "me.loq")) == {"FINISHED"}
    loaded = session.of(bpy.context.active_object)
    values = np.zeros(len(CHANNELS), np.float32)
    values[CHANNELS.index("jawOpen")] = 0.5
    wanted = pose(performer(load_avatar(tmp_path / "me.loq"), head), values)
    assert loaded.foreign and np.abs(loaded.pose(values).means - wanted.means).max() < 1e-6
    (tmp_path / "other.head.npz").unlink()
    save_avatar(replace(tiny_avatar, head_id=head.head_id, name="lost"), tmp_path / "lost.loq")
    with pytest.raises(RuntimeError, match="belongs to another head"):
        bpy.ops.loquent.add_head(avatar="FILE", filepath=str(tmp_path / "lost.loq"))
