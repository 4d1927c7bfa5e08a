# SPDX-License-Identifier: GPL-3.0-or-later
"""The control rig: bones that add to what is spoken."""

import bpy
import numpy as np
import pytest

from loquent.addon import rig
from loquent.addon.scene import apply_motion
from loquent.core.head.motion import CHANNELS, INDEX

from .test_takes import spoken
from .test_timeline import evaluated, fingerprint


@pytest.fixture
def rigged(head):
    assert bpy.ops.loquent.add_rig() == {"FINISHED"}
    return rig.find_rig(head)


def test_a_rig_at_rest_changes_nothing_and_the_selection_stays(scene, head, rigged):
    assert bpy.context.view_layer.objects.active == head and head.select_get() and bpy.context.mode == "OBJECT"
    assert np.abs(evaluated(scene, head, 1)).max() < 1e-6
    assert rigged.parent == head and len(rigged.pose.bones) == len(rig.CONTROLS)


@pytest.mark.parametrize(
    ("bone", "location", "channel", "value"),
    [
        ("Jaw Control", (0, -0.015, 0), "jawOpen", 0.5),
        ("Jaw Control", (0.012, 0, 0), "jawLeft", 1.0),
        ("Mouth Control", (0, 0, 0.015), "mouthPucker", 1.0),
        ("Corner Control.L", (0, 0.006, 0), "mouthSmileLeft", 0.5),
        ("Corner Control.R", (-0.012, 0, 0), "mouthStretchRight", 1.0),
        ("Brow Control.R", (0, -0.01, 0), "browDownRight", 1.0),
        ("Brow Control", (0, 0.005, 0), "browInnerUp", 0.5),
        ("Lid Control.L", (0, -0.01, 0), "eyeBlinkLeft", 1.0),
        ("Head Control", (0, 0.02, 0), "headY", 0.02),
        ("Look Control", (0.5, 0, 0), "gazeYaw", np.pi / 4),
        ("Look Control", (0, -0.5, 0), "gazePitch", np.pi / 4),
    ],
)
def test_each_control_moves_its_channel(scene, head, rigged, bone, location, channel, value):
    rigged.pose.bones[bone].location = location
    values = evaluated(scene, head, 1)
    assert values[INDEX[channel]] == pytest.approx(value, abs=1e-5)
    same = {c for c in CHANNELS if abs(values[INDEX[c]]) > 1e-5}
    assert channel in same and len(same) <= 2


@pytest.mark.parametrize(("axis", "channel"), [(0, "headPitch"), (1, "headYaw"), (2, "headRoll")])
def test_turning_the_head_bone_turns_the_head_the_same_way(scene, head, rigged, axis, channel):
    rigged.pose.bones["Head Control"].rotation_euler[axis] = 0.3
    assert evaluated(scene, head, 1)[INDEX[channel]] == pytest.approx(0.3, abs=1e-5)


def test_the_heads_bone_turns_in_the_world_as_the_head_does(scene, head, rigged):
    """A point of the skull, carried by the bone, lies where posing the head puts it."""
    from loquent.addon import convert, session
    from loquent.core.head.head import pose_vertices

    bone = rigged.pose.bones["Head Control"]
    bone.rotation_euler = (0.3, -0.5, 0.2)
    values = evaluated(scene, head, 1)
    identity = session.performer(head.loquent.avatar).performer.identity
    top = int(identity.template[:, 1].argmax())
    posed = convert.object_points(pose_vertices(identity, values)[top][None])[0]
    rest = convert.object_points(identity.template[top][None])[0]
    matrix = np.array(bone.matrix) @ np.linalg.inv(np.array(bone.bone.matrix_local))
    assert (matrix @ np.append(rest, 1))[:3] == pytest.approx(posed, abs=2e-4)


def test_the_rig_adds_to_the_speech_which_stays_keyed(scene, head, rigged):
    motion = spoken()
    action = apply_motion(scene, head, motion, 1)
    before = fingerprint(action)
    bone = rigged.pose.bones["Jaw Control"]
    for frame, y in ((1, 0.0), (40, -0.015)):
        bone.location.y = y
        bone.keyframe_insert("location", index=1, frame=frame)
    assert evaluated(scene, head, 40)[INDEX["jawOpen"]] == pytest.approx(
        motion.values[39, INDEX["jawOpen"]] + 0.5, abs=1e-5
    )
    assert fingerprint(action) == before and rigged.animation_data.action != action
    apply_motion(scene, head, spoken(4), 1)
    assert evaluated(scene, head, 40)[INDEX["jawOpen"]] > 0.5


def test_eyes_that_hold_a_target_do_not_follow_head_or_speech(scene, head, rigged):
    motion = spoken().with_columns({"headYaw": 0.3, "gazeYaw": 0.1, "headPitch": -0.2})
    apply_motion(scene, head, motion, 1)
    look = rigged.pose.bones["Look Control"]
    head.loquent.hold = 1.0
    look.location = (0.1, 0.05, 0)
    values = evaluated(scene, head, 10)
    assert values[INDEX["headYaw"]] + values[INDEX["gazeYaw"]] == pytest.approx(np.arctan2(0.1, 0.5), abs=1e-4)
    assert values[INDEX["headPitch"]] + values[INDEX["gazePitch"]] == pytest.approx(-np.arctan2(0.05, 0.5), abs=1e-4)


def test_drivers_need_no_python_and_read_nothing_but_bones(scene, head, rigged):
    """Blender says "Dependency cycle" where an object's driver reads the object; test_housekeeping looks for that too."""
    for curve in head.animation_data.drivers:
        assert curve.driver.is_simple_expression and curve.driver.is_valid, curve.data_path
        assert all(t.id == rigged for v in curve.driver.variables for t in v.targets)


def test_reset_and_removal_leave_the_speech_and_nothing_else(scene, head, rigged):
    motion = spoken()
    apply_motion(scene, head, motion, 1)
    rigged.pose.bones["Jaw Control"].location.y = -0.02
    bpy.ops.loquent.reset_rig()
    assert evaluated(scene, head, 9) == pytest.approx(motion.values[8], abs=1e-6)
    rigged.pose.bones["Jaw Control"].location.y = -0.02
    evaluated(scene, head, 9)
    with pytest.raises(RuntimeError, match="has a control rig already"):
        bpy.ops.loquent.add_rig()
    assert bpy.ops.loquent.remove_rig() == {"FINISHED"}
    assert evaluated(scene, head, 9) == pytest.approx(motion.values[8], abs=1e-6)
    assert not head.animation_data.drivers and not bpy.data.armatures and not bpy.ops.loquent.remove_rig.poll()


def test_a_rig_survives_saving_and_reloading(scene, head, rigged, tmp_path):
    name = head.name
    rigged.pose.bones["Jaw Control"].location.y = -0.015
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert evaluated(bpy.context.scene, bpy.data.objects[name], 1)[INDEX["jawOpen"]] == pytest.approx(0.5, abs=1e-5)
    assert bpy.data.objects[f"{rig.SHAPES} circle"].users


def test_controls_stand_before_the_splats_that_are_drawn_nearer_than_they_are(rigged):
    from loquent.addon import viewport

    nearer = max(viewport.BEFORE_PROXY, viewport.BEFORE_SPLATS)
    assert all(control.offset[2] > nearer + 0.005 for control in rig.CONTROLS if control.parent)
    assert not rigged.show_in_front  # splats are drawn after what is, and over it
