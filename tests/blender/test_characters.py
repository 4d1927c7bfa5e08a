# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech on meshes that Loquent did not make: names, tables, links and overrides."""

import bpy
import numpy as np
import pytest

from loquent.addon import characters, jobs
from loquent.addon.operators import speak
from loquent.addon.scene import apply_motion
from loquent.addon.timeline import Bake
from loquent.core.errors import SceneError
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX

from .test_speak import GOOD, VOICE, child  # noqa: F401
from .test_takes import spoken
from .test_timeline import curves_of, evaluated, fingerprint
from .waiting import finished

VRM = [name[0].upper() + name[1:] for name in ARKIT]
SPARSE = Bake(millimetres=0.3, recording="//line.wav")


def character(scene, names=ARKIT, name="Hero"):
    """A triangle with shape keys of those names, selected and active."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    ob = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(ob)
    ob.shape_key_add(name="Basis")
    for shape in names:
        block = ob.shape_key_add(name=shape)
        block.slider_min, block.value = -1, 0
    for other in bpy.context.selected_objects:
        other.select_set(False)
    ob.select_set(True)
    bpy.context.view_layer.objects.active = ob
    return ob


def shown(scene, ob, frame: int) -> dict[str, float]:
    scene.frame_set(frame)
    key = ob.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.shape_keys or ob.data.shape_keys
    return {block.name: block.value for block in key.key_blocks[1:]}


@pytest.mark.parametrize("names", [ARKIT, VRM])
def test_a_character_speaks_by_its_own_names_in_an_action_of_its_key(scene, names):
    ob = character(scene, names)
    assert bpy.ops.loquent.find_shapes() == {"FINISHED"}
    motion = spoken()
    action = apply_motion(scene, ob, motion, 5)
    assert ob.data.shape_keys.animation_data.action == action and ob.animation_data is None
    assert len(curves_of(action)) == 52
    curve = curves_of(action)[f'key_blocks["{names[17]}"].value', 0]
    assert curve.group.name == "Jaw"
    for k in (0, 20, 59):
        values = shown(scene, ob, 5 + k)
        assert [values[n] for n in names] == pytest.approx(list(motion.values[k, :52]), abs=1e-6)


def test_a_table_edited_by_hand_is_followed(scene):
    ob = character(scene, ["Mund auf", 'blinzeln "x"', "Fat"])
    with pytest.raises(RuntimeError, match="No shape key of 'Hero' has a name"):
        bpy.ops.loquent.find_shapes()
    for name, channel, factor in [
        ("Mund auf", "jawOpen", 2.0), ("Mund auf", "mouthClose", -0.5), ('blinzeln "x"', "eyeBlinkLeft", 1.0),
        ("gone", "jawOpen", 1.0), ("Fat", "no channel", 1.0),
    ]:  # fmt: skip
        bpy.ops.loquent.shape_row(action="ADD")
        row = ob.loquent.shapes[-1]
        row.name, row.channel, row.factor = name, channel, factor
    motion = spoken()
    for bake, tolerance in ((Bake(), 1e-5), (SPARSE, 0.1)):
        apply_motion(scene, ob, motion, 1, bake=bake)
        values = shown(scene, ob, 31)
        jaw, close = motion.values[30, [INDEX["jawOpen"], INDEX["mouthClose"]]]
        assert values["Mund auf"] == pytest.approx(min(2 * jaw - 0.5 * close, 1.0), abs=tolerance)
        assert values['blinzeln "x"'] == pytest.approx(motion.values[30, INDEX["eyeBlinkLeft"]], abs=tolerance)
        assert values["Fat"] == 0
    bpy.ops.loquent.shape_row(action="REMOVE")
    assert len(ob.loquent.shapes) == 4
    bpy.ops.loquent.shape_row(action="CLEAR")
    assert not ob.loquent.shapes


def test_a_characters_edits_survive_as_a_heads_do(scene):
    ob = character(scene)
    bpy.ops.loquent.find_shapes()
    apply_motion(scene, ob, spoken(3), 1, bake=SPARSE)
    path = 'key_blocks["jawOpen"].value'
    data = ob.data.shape_keys.animation_data
    key = min(curves_of(data.action)[path, 0].keyframe_points, key=lambda k: abs(k.co.x - 30))
    frame = int(key.co.x)
    for point in (key.handle_left, key.handle_right):
        point.y += 0.9 - key.co.y
    key.co.y = 0.9
    apply_motion(scene, ob, spoken(4), 1, bake=SPARSE)
    assert shown(scene, ob, frame)["jawOpen"] == pytest.approx(0.9, abs=1e-5)


def test_an_action_that_the_artist_keyed_on_the_shape_keys_plays_on_below(scene):
    ob = character(scene, [*ARKIT, "Fat"])
    bpy.ops.loquent.find_shapes()
    ob.data.shape_keys.key_blocks["Fat"].value = 0.5
    ob.data.shape_keys.key_blocks["Fat"].keyframe_insert("value", frame=1)
    theirs = ob.data.shape_keys.animation_data.action
    before = fingerprint(theirs)
    apply_motion(scene, ob, spoken(), 1)
    assert fingerprint(theirs) == before and shown(scene, ob, 20)["Fat"] == pytest.approx(0.5)


def test_shape_keys_that_drivers_move_are_named(scene, child):  # noqa: F811
    ob = character(scene, [*ARKIT, "Fat"])
    bpy.ops.loquent.find_shapes()
    for name in ("jawOpen", "mouthPucker", "Fat"):
        driver = ob.data.shape_keys.key_blocks[name].driver_add("value").driver
        driver.expression = "0.25"
    ob.loquent.sound = str(VOICE)
    child(GOOD)
    told = finished(jobs.SpeakJob(speak.request(bpy.context)))
    assert "'mouthPucker'" in told and "'jawOpen'" in told and "Fat" not in told and "drivers" in told
    assert shown(scene, ob, 20)["jawOpen"] == pytest.approx(0.25)


def linked_character(scene, tmp_path):
    character(scene)
    bpy.ops.loquent.find_shapes()
    collection = bpy.data.collections.new("Hero")
    scene.collection.children.link(collection)
    collection.objects.link(bpy.data.objects["Hero"])
    scene.collection.objects.unlink(bpy.data.objects["Hero"])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "hero.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "hero.blend"), link=True) as (_, into):
        into.collections = ["Hero"]
    return bpy.data.collections["Hero"], bpy.context.scene


def test_a_linked_character_is_refused_and_its_override_speaks_and_still_does_after_reloading(scene, tmp_path):
    collection, scene = linked_character(scene, tmp_path)
    scene.collection.children.link(collection)
    with pytest.raises(SceneError, match="library override"):
        apply_motion(scene, bpy.data.objects["Hero"], spoken(), 1)
    override = collection.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    ob = next(o for o in override.all_objects if o.override_library)
    motion = spoken()
    apply_motion(scene, ob, motion, 1)
    assert shown(scene, ob, 20)["jawOpen"] == pytest.approx(motion.values[19, INDEX["jawOpen"]], abs=1e-6)
    ob.loquent.controls.jaw = 0.25
    ob.loquent.shapes[3].factor = 0.5
    name = ob.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    scene = bpy.context.scene
    ob = next(o for o in bpy.data.objects if o.name == name and o.override_library)
    assert shown(scene, ob, 20)["jawOpen"] == pytest.approx(motion.values[19, INDEX["jawOpen"]], abs=1e-6)
    assert ob.loquent.controls.jaw == 0.25 and ob.loquent.shapes[3].factor == 0.5
    assert len(ob.loquent.shapes) == 52


def test_a_heads_speech_goes_to_selected_characters_key_for_key(scene, head):
    motion = spoken()
    apply_motion(scene, head, motion, 1, bake=SPARSE)
    hero, other = character(scene, VRM), character(scene, ARKIT, "Other")
    for ob in (hero, other, head):
        ob.select_set(True)
    bpy.context.view_layer.objects.active = head
    assert bpy.ops.loquent.pass_on() == {"FINISHED"}
    for ob, names in ((hero, VRM), (other, ARKIT)):
        for name, channel in zip(names, ARKIT, strict=True):
            theirs = curves_of(ob.data.shape_keys.animation_data.action)[f'key_blocks["{name}"].value', 0]
            ours = curves_of(head.animation_data.action)[f"loquent.motion.{channel}", 0]
            assert [tuple(k.co) for k in theirs.keyframe_points] == [tuple(k.co) for k in ours.keyframe_points]
            assert np.allclose(
                [tuple(k.handle_left) for k in theirs.keyframe_points],
                [tuple(k.handle_left) for k in ours.keyframe_points],
                atol=1e-5,
            )


def test_a_characters_speech_goes_back_to_a_head(scene, head):
    ob = character(scene)
    bpy.ops.loquent.find_shapes()
    motion = spoken()
    apply_motion(scene, ob, motion, 1)
    head.select_set(True)
    bpy.ops.loquent.pass_on()
    assert evaluated(scene, head, 25)[:52] == pytest.approx(motion.values[24, :52], abs=1e-6)


def test_passing_on_needs_a_speech_and_somebody_selected(scene, head):
    assert not bpy.ops.loquent.pass_on.poll()
    ob = character(scene)
    head.select_set(True)
    bpy.context.view_layer.objects.active = head
    with pytest.raises(RuntimeError, match="no speech in its active Action"):
        bpy.ops.loquent.pass_on()
    assert ob.data.shape_keys.animation_data is None


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("kind", ["head", "character"])
def test_a_performance_written_to_a_file_and_read_again_is_the_same(scene, head, tmp_path, kind, suffix):
    ob = head if kind == "head" else character(scene)
    if kind == "character":
        bpy.ops.loquent.find_shapes()
    bpy.context.view_layer.objects.active = ob
    motion = spoken()
    scene.render.fps, scene.frame_end = 24, 60
    apply_motion(scene, ob, motion, 1)
    path = tmp_path / f"Ein Gesicht 声{suffix}"
    scene.frame_set(7)
    assert bpy.ops.loquent.export_motion(filepath=str(path)) == {"FINISHED"}
    assert scene.frame_current == 7
    ob.loquent.sparse = False
    assert bpy.ops.loquent.import_motion(filepath=str(path)) == {"FINISHED"}
    path_of = "loquent.motion.{}" if kind == "head" else 'key_blocks["{}"].value'
    data = ob.animation_data if kind == "head" else ob.data.shape_keys.animation_data
    assert data.action.name == "Capture Ein Gesicht 声"
    for name in ("jawOpen", "mouthSmileLeft", "browInnerUp"):
        values = [k.co.y for k in curves_of(data.action)[path_of.format(name), 0].keyframe_points]
        assert values == pytest.approx(list(motion.values[:, INDEX[name]]), abs=2e-6)


@pytest.mark.parametrize("kind", ["head", "character"])
def test_flame_parameters_go_out_and_come_back_as_speech(scene, head, tmp_path, kind):
    """A fit: what the mouth does is kept, not every number."""
    ob = head if kind == "head" else character(scene)
    if kind == "character":
        bpy.ops.loquent.find_shapes()
    bpy.context.view_layer.objects.active = ob
    motion = spoken().with_columns({"headYaw": 0.25})
    scene.render.fps, scene.frame_end = 24, 60
    apply_motion(scene, ob, motion, 1)
    path = tmp_path / "Flamme 声.npz"
    assert bpy.ops.loquent.export_motion(filepath=str(path)) == {"FINISHED"}
    with np.load(path) as file:
        assert {len(file[name]) for name in file.files if file[name].ndim == 2} == {60}
    assert bpy.ops.loquent.import_motion(filepath=str(path)) == {"FINISHED"}
    shown = characters.shown_motion(scene, ob, 1, 60)
    assert np.corrcoef(shown.column("jawOpen"), motion.column("jawOpen"))[0, 1] > 0.9
    if kind == "head":
        assert shown.column("headYaw")[30] == pytest.approx(0.25, abs=0.02)


def test_files_of_other_kinds_are_refused_with_a_reason(head, tmp_path):
    with pytest.raises(RuntimeError, match=r"motion files are \.csv"):
        bpy.ops.loquent.import_motion(filepath=str(tmp_path / "take.fbx"))
    with pytest.raises(RuntimeError, match=r"motion files are \.csv"):
        bpy.ops.loquent.export_motion(filepath=str(tmp_path / "take.fbx"))
    with pytest.raises(RuntimeError, match="There is no file"):
        bpy.ops.loquent.import_motion(filepath=str(tmp_path / "take.csv"))


def test_what_hands_and_rig_add_is_in_what_is_exported(scene, head):
    head.loquent.motion.jawOpen, head.loquent.adjust.jawOpen, head.loquent.rig.jawOpen = 0.25, 0.125, 0.5
    motion = characters.shown_motion(scene, head, 1, 1)
    assert motion.column("jawOpen")[0] == 0.875 and len(motion.values[0]) == len(CHANNELS)
    assert np.count_nonzero(motion.values) == 1
