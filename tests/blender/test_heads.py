# SPDX-License-Identifier: GPL-3.0-or-later
import gc

import bpy
import numpy as np
import pytest

from loquent.core.head.head import Head
from loquent.core.head.motion import ARKIT, CHANNELS, GROUPS


def test_add_head_makes_one_object_at_the_cursor_and_nothing_else(scene, tiny):
    scene.cursor.location = (1, 2, 3)
    engine = scene.render.engine
    assert bpy.ops.loquent.add_head(avatar="FILE", filepath=tiny) == {"FINISHED"}
    assert len(scene.objects) == 1 and scene.camera is None and scene.render.engine == engine
    ob = bpy.context.active_object
    assert tuple(ob.location) == (1, 2, 3) and ob.select_get()
    assert ob.loquent.avatar == tiny and ob.loquent.uuid and ob.type == "MESH"


def test_from_file_asks_for_the_file_and_a_built_in_head_does_not(scene):
    from types import SimpleNamespace

    from loquent.addon.operators.add_head import LOQUENT_OT_add_head as operator

    asked = []
    context = SimpleNamespace(window_manager=SimpleNamespace(fileselect_add=asked.append))
    for avatar, result in (("FILE", {"RUNNING_MODAL"}), ("ada", {"FINISHED"})):
        button = SimpleNamespace(avatar=avatar, execute=lambda context: {"FINISHED"})
        assert operator.invoke(button, context, None) == result
    assert [button.avatar for button in asked] == ["FILE"]


def test_the_head_stands_upright_and_looks_along_minus_y(head):
    from loquent.addon import session
    from loquent.addon.convert import object_points

    person = session.performer(head.loquent.avatar).performer.identity
    nose, chin = (object_points(person.template[[person.head.landmarks[n]]])[0] for n in ("nose_tip", "chin"))
    assert nose[1] < -0.08 and abs(nose[0]) < 0.01
    assert chin[2] < nose[2]
    corners = np.array(head.bound_box)
    assert 0.2 < np.ptp(corners[:, 2]) < 0.6  # a head and its neck, in metres


def test_set_up_scene_adds_a_camera_that_frames_the_head_and_chooses_the_engine(scene, tiny):
    scene.render.engine = scene.render.bl_rna.properties["engine"].enum_items[0].identifier
    bpy.ops.loquent.add_head(avatar="FILE", filepath=tiny, setup_scene=True)
    assert scene.render.engine == "LOQUENT"
    assert scene.camera is not None and scene.camera.location.y < -0.3


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (512, 512)])
@pytest.mark.parametrize("turn", [0.0, 1.2])
def test_the_close_up_holds_the_whole_head_in_any_format(scene, tiny, size, turn):
    from loquent.addon import convert
    from loquent.addon import scene as make
    from loquent.addon.heads import close_up

    scene.render.resolution_x, scene.render.resolution_y = size
    ob = make.build_head_object(scene, tiny, location=(3, 1, 2))
    ob.rotation_euler.z = turn
    ob.scale = (1.5, 1.5, 1.5)
    make.place_camera(scene, ob)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera, _ = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), *size)
    low, high = close_up(ob)
    corners = np.array([[x, y, z, 1] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    seen = corners @ np.array(ob.matrix_world).T @ camera.world_to_camera.T
    pixels = seen[:, :2] / seen[:, 2:3] * [camera.K[0, 0], camera.K[1, 1]] + camera.K[:2, 2]
    assert (pixels >= 0).all() and (pixels <= size).all()
    assert max(np.ptp(pixels[:, 0]) / size[0], np.ptp(pixels[:, 1]) / size[1]) > 0.7


def test_channels_are_named_ranged_and_at_rest(head):
    properties = head.loquent.motion.bl_rna.properties
    assert set(CHANNELS) <= set(properties.keys())
    assert properties["jawOpen"].soft_min == 0 and properties["jawOpen"].soft_max == 1
    assert properties["mouthSmileLeft"].name == "Mouth Smile Left"
    assert properties["headPitch"].subtype == "ANGLE" and properties["headX"].subtype == "DISTANCE"
    assert all(getattr(head.loquent.motion, name) == 0 for name in CHANNELS)
    assert all(head.loquent.motion.bl_rna.properties[name].hard_min < 0 for name in ARKIT)


@pytest.mark.parametrize("layer", ["adjust", "motion"])
def test_reset_returns_one_group_or_all_of_what_the_sliders_show(head, layer):
    head.loquent.layer = layer
    values = getattr(head.loquent, layer)
    other = head.loquent.motion if layer == "adjust" else head.loquent.adjust
    values.jawOpen = values.browInnerUp = other.jawOpen = 0.5
    bpy.ops.loquent.reset_channels(group="Jaw")
    assert values.jawOpen == 0 and values.browInnerUp == 0.5
    bpy.ops.loquent.reset_channels(group="")
    assert all(getattr(values, name) == 0 for group in GROUPS.values() for name in group)
    assert other.jawOpen == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "expected one of"), ("/nowhere/else.loq", "/nowhere/else.loq"), ("//gone.loq", "gone.loq")],
)
def test_a_head_that_is_not_there_is_one_message_and_no_object(scene, text, says):
    with pytest.raises(RuntimeError, match="Error: There is no head") as told:
        bpy.ops.loquent.add_head(avatar="FILE", filepath=text)
    assert says in str(told.value) and str(told.value).count("Error") == 1
    assert not scene.objects and not bpy.data.meshes


def test_a_truncated_head_file_is_one_message_and_no_object(scene, tiny, tmp_path):
    from pathlib import Path

    broken = tmp_path / "broken.loq"
    broken.write_bytes(Path(tiny).read_bytes()[:500])
    with pytest.raises(RuntimeError, match=r"broken\.loq"):
        bpy.ops.loquent.add_head(avatar="FILE", filepath=str(broken))
    assert not scene.objects and not bpy.data.meshes


def test_a_damaged_file_is_read_once_and_its_message_kept_for_the_panel(scene, tiny, tmp_path, monkeypatch):
    import os
    from pathlib import Path

    from loquent.addon import session
    from loquent.core.errors import FormatError
    from loquent.core.splats import other_head

    path = tmp_path / "broken.loq"
    path.write_bytes(Path(tiny).read_bytes()[:500])
    reads = []
    load = other_head.load_avatar
    monkeypatch.setattr(other_head, "load_avatar", lambda p: reads.append(p) or load(p))
    for _ in range(3):
        with pytest.raises(FormatError):
            session.performer(str(path))
    assert len(reads) == 1 and "broken.loq" in session.problem(str(path))
    path.write_bytes(Path(tiny).read_bytes())
    os.utime(path, (9, 9))
    assert session.performer(str(path)).performer.avatar.name == "tiny"
    assert session.problem(str(path)) == ""


def test_a_copy_of_a_head_gets_an_identifier_of_its_own(scene, head):
    from loquent.addon.heads import own_uuid

    copy = head.copy()
    scene.collection.objects.link(copy)
    first = head.loquent.uuid
    assert copy.loquent.uuid == first
    assert own_uuid(copy) != first and own_uuid(head) == first


def test_a_head_lies_in_the_folder_of_the_blend_file(scene, tiny, tmp_path):
    from pathlib import Path

    folder = tmp_path / "Тени и огни"
    folder.mkdir()
    (folder / "my head.loq").write_bytes(Path(tiny).read_bytes())
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))
    assert bpy.ops.loquent.add_head(avatar="FILE", filepath="//my head.loq") == {"FINISHED"}
    assert bpy.context.active_object.loquent.avatar == "//my head.loq"


def test_other_engines_do_not_render_the_still_proxy(scene, head, tmp_path):
    from .pictures import render_passes

    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = 1, "CPU"
    assert not render_passes(scene, tmp_path)["Combined"].any()


def test_adding_a_head_can_be_undone_and_redone(scene, tiny):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.loquent.add_head(avatar="FILE", filepath=tiny, setup_scene=True)
    bpy.ops.ed.undo_push(message="Add Head")
    bpy.ops.ed.undo()
    assert not bpy.context.scene.objects and bpy.context.scene.camera is None
    bpy.ops.ed.redo()
    (ob,) = (o for o in bpy.context.scene.objects if o.type == "MESH")
    assert ob.loquent.avatar == tiny and bpy.context.scene.camera is not None


def test_new_files_leave_no_heads_in_memory(registered):
    def alive():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.loquent.add_head(avatar="ada")
        gc.collect()
        return sum(isinstance(thing, Head) for thing in gc.get_objects())

    first = alive()
    assert alive() == alive() == first
