# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads that are copied, shared between scenes, overridden from another folder; takes pushed down or deleted; undo."""

import itertools
import shutil

import bpy
import numpy as np
import pytest

from loquent.addon import rig, session
from loquent.addon.scene import apply_motion, build_head_object
from loquent.addon.sound import _begin, _file, strips_of
from loquent.addon.timeline import RATE, Bake, takes_of
from loquent.core.head.motion import INDEX

from .test_speak import GOOD, VOICE, child  # noqa: F401
from .test_takes import spoken
from .test_timeline import evaluated, fingerprint

SPARSE = Bake(0.3, "//line.wav")


@pytest.fixture
def ready(scene, head, child):  # noqa: F811
    child(GOOD)
    scene.render.fps, scene.render.fps_base = 24, 1.0
    head.loquent.sound = str(VOICE)
    return head


def activate(ob) -> None:
    for other in bpy.context.selected_objects:
        other.select_set(False)
    ob.select_set(True)
    bpy.context.view_layer.objects.active = ob


def duplicate(*objects):
    """Shift-D of some objects; the copies in the same order."""
    before = set(bpy.data.objects)
    activate(objects[0])
    for ob in objects:
        ob.select_set(True)
    bpy.ops.object.duplicate()
    return sorted(set(bpy.data.objects) - before, key=lambda o: [x.type for x in objects].index(o.type))


def push_down(data) -> None:
    """What the button Push Down Action of the Dope Sheet does."""
    action, slot = data.action, getattr(data, "action_slot", None)
    strip = data.nla_tracks.new().strips.new(action.name, int(action.frame_range[0]), action)
    if slot is not None:
        strip.action_slot = slot
    data.action = None


def jaw(ob) -> float:
    return ob.evaluated_get(bpy.context.evaluated_depsgraph_get()).loquent.rig.jawOpen


def test_a_copied_head_speaks_for_itself(scene, ready):
    bpy.ops.loquent.speak()
    theirs = ready.animation_data.action
    before = fingerprint(theirs)
    (copy,) = duplicate(ready)
    copy.loquent.seed = 9
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    assert ready.animation_data.action == theirs and fingerprint(theirs) == before
    assert copy.animation_data.action != theirs and copy.loquent.uuid != ready.loquent.uuid
    assert theirs in takes_of(ready) and copy.animation_data.action in takes_of(copy)
    assert theirs not in takes_of(copy)


def test_a_copy_of_a_head_follows_its_rig_until_it_has_one_of_its_own(scene, ready):
    bpy.ops.loquent.add_rig()
    first = rig.find_rig(ready)
    (copy,) = duplicate(ready)
    assert rig.find_rig(copy) is None and rig.moved_by(copy) == first
    assert bpy.ops.loquent.add_rig() == {"FINISHED"}
    second = rig.find_rig(copy)
    assert second != first and rig.find_rig(ready) == first
    first.pose.bones["Jaw Control"].location.y = -0.015
    scene.frame_set(2)
    assert jaw(ready) == pytest.approx(0.5, abs=1e-5) and jaw(copy) == 0
    assert all(len(d.driver.variables) <= 2 for d in copy.animation_data.drivers)
    assert bpy.ops.loquent.remove_rig() == {"FINISHED"}
    assert rig.find_rig(ready) == first and rig.moved_by(copy) is None


def test_a_copy_can_stop_following_and_removing_a_rig_frees_all_who_follow_it(scene, ready):
    bpy.ops.loquent.add_rig()
    first = rig.find_rig(ready)
    (one,) = duplicate(ready)
    (two,) = duplicate(ready)
    activate(one)
    assert not bpy.ops.loquent.reset_rig.poll() and bpy.ops.loquent.remove_rig() == {"FINISHED"}
    assert rig.find_rig(ready) == first and rig.moved_by(two) == first and rig.moved_by(one) is None
    activate(ready)
    bpy.ops.loquent.remove_rig()
    assert not bpy.data.armatures and rig.moved_by(two) is None and not two.animation_data.drivers


def test_a_head_copied_with_its_rig_has_the_copied_rig(scene, ready):
    bpy.ops.loquent.add_rig()
    first = rig.find_rig(ready)
    copy, second = duplicate(ready, first)
    assert rig.find_rig(copy) == second and rig.find_rig(ready) == first
    second.pose.bones["Jaw Control"].location.y = -0.015
    scene.frame_set(2)
    assert jaw(copy) == pytest.approx(0.5, abs=1e-5) and jaw(ready) == 0


def test_a_rig_that_was_deleted_by_hand_can_be_added_again(scene, ready):
    bpy.ops.loquent.add_rig()
    bpy.data.objects.remove(rig.find_rig(ready))
    assert rig.find_rig(ready) is None and bpy.ops.loquent.add_rig() == {"FINISHED"}
    rig.find_rig(ready).pose.bones["Jaw Control"].location.y = -0.015
    scene.frame_set(2)
    assert jaw(ready) == pytest.approx(0.5, abs=1e-5)


def test_two_scenes_share_a_head_each_at_its_own_rate(scene, ready):
    other = bpy.data.scenes.new("Thirty")
    other.collection.objects.link(ready)
    other.render.fps = 30
    bpy.ops.loquent.speak()
    first = ready.animation_data.action
    bpy.context.window.scene = other
    activate(ready)
    bpy.ops.loquent.speak()
    second = ready.animation_data.action
    assert (first[RATE], second[RATE]) == (24, 30) and set(takes_of(ready)) == {first, second}
    assert [len(strips_of(s)) for s in (scene, other)] == [1, 1]


def test_a_take_that_was_pushed_down_plays_on_beside_the_next_line(scene, ready):
    first, second = spoken(3), spoken(4, 40)
    apply_motion(scene, ready, first, 1, bake=SPARSE)
    push_down(ready.animation_data)
    alone = [evaluated(scene, ready, f) for f in (1, 30, 60)]
    apply_motion(scene, ready, second, 201, bake=Bake(0.3, "//two.wav"))
    for frame, expected in zip((1, 30, 60), alone, strict=True):
        assert np.array_equal(evaluated(scene, ready, frame), expected)
    assert np.abs(evaluated(scene, ready, 220) - second.values[19]).max() < 0.12


def test_the_same_line_spoken_above_a_take_that_was_pushed_down_is_what_shows(scene, ready):
    apply_motion(scene, ready, spoken(3), 1, bake=SPARSE)
    push_down(ready.animation_data)
    new = spoken(5)
    apply_motion(scene, ready, new, 1, bake=SPARSE)
    assert np.abs(evaluated(scene, ready, 31) - new.values[30]).max() < 0.12
    assert len(ready.animation_data.nla_tracks) == 1 and len(takes_of(ready)) == 2


def test_after_its_action_is_unlinked_or_deleted_a_head_speaks_again(scene, ready):
    bpy.ops.loquent.speak()
    bpy.data.actions.remove(ready.animation_data.action)
    assert not bpy.ops.loquent.show_take.poll()
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    ready.animation_data.action = None
    assert bpy.ops.loquent.speak() == {"FINISHED"} and len(takes_of(ready)) == 2
    assert len(strips_of(scene)) == 1


def test_speech_may_begin_before_frame_nought(scene, ready):
    ready.loquent.start, ready.loquent.phones = -30, "STRIPS"
    bpy.ops.loquent.speak()
    assert tuple(ready.animation_data.action.frame_range) == (-30, 9)
    assert _begin(strips_of(scene)[0]) == -30
    ready.loquent.use_range, ready.loquent.range_start, ready.loquent.range_end = True, -20, 4
    assert bpy.ops.loquent.speak() == {"FINISHED"}


@pytest.fixture
def elsewhere(scene, tiny, tmp_path):
    """An override, in one folder, of a head whose file and voice lie beside its own .blend in another."""
    library, shot = tmp_path / "library", tmp_path / "shot"
    library.mkdir()
    shot.mkdir()
    shutil.copy(tiny, library / "kopf.loq")
    shutil.copy(VOICE, library / "line.flac")
    bpy.ops.wm.save_as_mainfile(filepath=str(library / "head.blend"))
    ob = build_head_object(scene, "//kopf.loq", name="Head")
    ob.loquent.sound = "//line.flac"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(shot / "shot.blend"))
    with bpy.data.libraries.load(str(library / "head.blend"), link=True, relative=True) as (_, into):
        into.objects = ["Head"]
    linked = bpy.data.objects["Head"]
    scene = bpy.context.scene
    scene.collection.objects.link(linked)
    return linked, scene, library, shot


def test_paths_of_a_linked_and_of_an_overridden_head_count_from_its_own_file(elsewhere, child):  # noqa: F811
    linked, scene, library, shot = elsewhere
    assert session.of(linked).path == str(library / "kopf.loq")
    mine = linked.override_create(remap_local_usages=True)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    assert session.of(mine).path == session.of(mine.evaluated_get(depsgraph)).path == str(library / "kopf.loq")
    activate(mine)
    child(GOOD)
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    (strip,) = strips_of(scene)
    assert _file(strip) == library / "line.flac" and strip.sound.filepath.startswith("//..")
    shutil.copy(VOICE, shot / "own line.flac")
    assert bpy.ops.loquent.choose_sound(filepath=str(shot / "own line.flac")) == {"FINISHED"}
    assert mine.loquent.sound == "//own line.flac"
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(shot / "shot.blend"))
    mine = next(o for o in bpy.data.objects if o.override_library)
    assert session.of(mine).path == str(library / "kopf.loq") and mine.loquent.sound == "//own line.flac"


def test_a_linked_recording_is_spoken_from_where_it_lies(scene, ready, tmp_path):
    library, shot = tmp_path / "sounds", tmp_path / "shot"
    library.mkdir()
    shot.mkdir()
    name = ready.name
    bpy.ops.wm.save_as_mainfile(filepath=str(shot / "shot.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    shutil.copy(VOICE, library / "line.flac")
    bpy.ops.wm.save_as_mainfile(filepath=str(library / "sounds.blend"))
    data = bpy.data.sounds.load(str(library / "line.flac"))
    data.filepath, data.use_fake_user = "//line.flac", True
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(shot / "shot.blend"))
    with bpy.data.libraries.load(str(library / "sounds.blend"), link=True, relative=True) as (_, into):
        into.sounds = ["line.flac"]
    scene, ob = bpy.context.scene, bpy.data.objects[name]
    strip = strips_of(scene).new_sound("line", str(library / "line.flac"), 2, 7)
    strip.sound = into.sounds[0]
    scene.sequence_editor.active_strip = strip
    activate(ob)
    ob.loquent.source = "STRIP"
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    assert ob.animation_data.action.frame_range[0] == 7


def test_a_whole_session_is_undone_step_by_step_and_redone(scene, ready):
    name = ready.name

    def state():
        ob = bpy.data.objects[name]
        action = ob.animation_data and ob.animation_data.action
        own = rig.find_rig(ob)
        return (
            ob.loquent.sound, action and fingerprint(action), sorted(a.name for a in bpy.data.actions),
            len(strips_of(bpy.context.scene)), own and own.name, round(ob.loquent.adjust.mouthSmileLeft, 4),
            sorted(o.name for o in bpy.data.objects),
        )  # fmt: skip

    def edit() -> None:
        action = bpy.data.objects[name].animation_data.action
        curve = action.layers[0].strips[0].channelbags[0].fcurves[INDEX["jawOpen"]]
        curve.keyframe_points[3].co.y = 0.123
        bpy.ops.ed.undo_push(message="edit")

    operators = bpy.ops.loquent
    steps = [
        lambda: operators.choose_sound("EXEC_DEFAULT", True, filepath=str(VOICE.with_name("voice_bruno.flac"))),
        lambda: operators.speak("EXEC_DEFAULT", True),
        edit,
        lambda: operators.speak("EXEC_DEFAULT", True),
        lambda: operators.add_rig("EXEC_DEFAULT", True),
        lambda: operators.apply_expression("EXEC_DEFAULT", True, name="Smile"),
        lambda: operators.remove_rig("EXEC_DEFAULT", True),
        lambda: operators.speak("EXEC_DEFAULT", True),
    ]
    strips_of(scene)
    bpy.ops.ed.undo_push(message="start")
    states = [state()]
    for step in steps:
        step()
        states.append(state())
    assert all(a != b for a, b in itertools.pairwise(states))
    for k in reversed(range(len(steps))):
        bpy.ops.ed.undo()
        assert state() == states[k], k
    for k in range(1, len(steps) + 1):
        bpy.ops.ed.redo()
        assert state() == states[k], k
