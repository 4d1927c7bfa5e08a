# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes after the first: what the artist changed survives, ranges and lines that are added leave the rest alone."""

import itertools

import bpy
import numpy as np
import pytest

from loquent.addon.timeline import Bake, apply_motion, edits, takes_of
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion

from .test_timeline import curves_of, evaluated, fingerprint

JAW = "loquent.motion.jawOpen"
SPARSE = Bake(millimetres=0.3, recording="//line.wav")
DENSE = Bake(recording="//line.wav")


def spoken(seed: int = 3, frames: int = 60, fps: float = 24.0) -> Motion:
    """Smooth, random ARKit channels."""
    rng = np.random.default_rng(seed)
    rough = rng.random((frames // 6 + 2, len(ARKIT)))
    at = np.arange(frames) / 6
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    for c in range(len(ARKIT)):
        values[:, c] = np.interp(at, np.arange(len(rough)), rough[:, c])
    return Motion(fps, values)


def curve(ob, path=JAW):
    return curves_of(ob.animation_data.action)[path, 0]


def key_near(ob, frame: float, path=JAW):
    return min(curve(ob, path).keyframe_points, key=lambda k: abs(k.co.x - frame))


def set_key(ob, frame: float, value: float, path=JAW) -> float:
    """Drag the key nearest to a frame to a value, handles along with it, as in the Graph Editor. Its frame."""
    key = key_near(ob, frame, path)
    rise = value - key.co.y
    for point in (key.co, key.handle_left, key.handle_right):
        point.y += rise
    return key.co.x


@pytest.mark.parametrize("bake", [SPARSE, DENSE])
def test_a_take_that_nobody_touched_has_no_edits_and_is_replaced_whole(scene, head, bake):
    apply_motion(scene, head, spoken(3), 1, bake=bake)
    data = head.animation_data
    assert edits(data.action, data.action_slot) == {}
    new = spoken(4)
    apply_motion(scene, head, new, 1, bake=bake)
    shown = np.stack([evaluated(scene, head, 1 + k) for k in range(0, 60, 7)])
    assert np.abs(shown - new.values[::7]).max() < (0.12 if bake is SPARSE else 1e-6)


@pytest.mark.parametrize("bake", [SPARSE, DENSE])
def test_a_key_that_was_dragged_stays_and_all_around_it_is_new(scene, head, bake):
    apply_motion(scene, head, spoken(3), 1, bake=bake)
    frame = set_key(head, 30, -0.7)
    first = head.animation_data.action
    before = fingerprint(first)
    new = spoken(4)
    apply_motion(scene, head, new, 1, bake=bake)
    assert head.animation_data.action != first and fingerprint(first) == before
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-5)
    tolerance = 0.12 if bake is SPARSE else 1e-5
    for k in (2, 8, 50, 58):
        assert evaluated(scene, head, 1 + k)[INDEX["jawOpen"]] == pytest.approx(
            new.values[k, INDEX["jawOpen"]], abs=tolerance
        )
    apply_motion(scene, head, spoken(5), 1, bake=bake)  # and once more: it is remembered as the artist's
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-5)
    assert len(takes_of(head)) == 3


def test_a_moved_an_added_and_a_deleted_key_survive(scene, head):
    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    moved = key_near(head, 15)
    moved.co_ui = (moved.co.x + 0.4, 0.33)
    moved_to = moved.co.x
    curve(head).update()
    added = curve(head, "loquent.motion.browInnerUp").keyframe_points.insert(27.5, 1.5)
    added.interpolation = "CONSTANT"
    smile = curve(head, "loquent.motion.mouthSmileLeft")
    gone = key_near(head, 40, "loquent.motion.mouthSmileLeft").co.x
    smile.keyframe_points.remove(key_near(head, 40, "loquent.motion.mouthSmileLeft"))
    apply_motion(scene, head, spoken(4), 1, bake=SPARSE)
    assert key_near(head, moved_to).co.x == pytest.approx(moved_to) and key_near(head, moved_to).co.y == pytest.approx(
        0.33
    )
    kept = key_near(head, 27.5, "loquent.motion.browInnerUp")
    assert tuple(kept.co) == (27.5, 1.5) and kept.interpolation == "CONSTANT"
    assert abs(key_near(head, gone, "loquent.motion.mouthSmileLeft").co.x - gone) > 0.5


def test_what_an_artist_does_to_whole_curves_survives(scene, head):
    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    action = head.animation_data.action
    curves = curves_of(action)
    curves[JAW, 0].mute = True
    curves["loquent.motion.mouthPucker", 0].modifiers.new("NOISE").strength = 0.5
    curves["loquent.motion.tongueOut", 0].lock = True
    bag = action.layers[0].strips[0].channelbag(head.animation_data.action_slot)
    bag.fcurves.remove(curves["loquent.motion.cheekPuff", 0])
    head.location.x = 3
    head.keyframe_insert("location", index=0, frame=5)
    apply_motion(scene, head, spoken(4), 1, bake=SPARSE)
    again = curves_of(head.animation_data.action)
    assert again[JAW, 0].mute and again["loquent.motion.tongueOut", 0].lock
    assert again["loquent.motion.mouthPucker", 0].modifiers[0].strength == 0.5
    assert ("loquent.motion.cheekPuff", 0) not in again and ("location", 0) in again
    apply_motion(scene, head, spoken(5), 1, bake=SPARSE)
    assert ("loquent.motion.cheekPuff", 0) not in curves_of(head.animation_data.action)
    assert not head.animation_data.nla_tracks


def test_another_recording_takes_no_edits_over_and_keep_edits_can_be_off(scene, head):
    for bake in (Bake(0.3, "//another.wav"), Bake(0.3, "//line.wav", keep_edits=False)):
        head.animation_data_clear()
        apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
        frame = set_key(head, 30, -0.7)
        apply_motion(scene, head, spoken(4), 1, bake=bake)
        assert evaluated(scene, head, frame)[INDEX["jawOpen"]] > -0.1


def test_edits_travel_with_a_line_that_begins_elsewhere_or_at_another_rate(scene, head):
    scene.render.fps = 24
    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    frame = set_key(head, 31, -0.7)
    apply_motion(scene, head, spoken(4), 101, bake=SPARSE)
    assert evaluated(scene, head, frame + 100)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-4)
    scene.render.fps = 48
    apply_motion(scene, head, spoken(5, 120, 48.0), 101, bake=SPARSE)
    assert evaluated(scene, head, 101 + 2 * (frame - 1))[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-4)


@pytest.mark.parametrize("bake", [SPARSE, DENSE])
def test_a_range_spoken_again_leaves_every_key_outside_it(scene, head, bake):
    old, new = spoken(3), spoken(4)
    apply_motion(scene, head, old, 1, bake=bake)
    before = {
        path: [(k.co.x, k.co.y) for k in c.keyframe_points]
        for (path, _), c in curves_of(head.animation_data.action).items()
    }
    again = Bake(bake.millimetres, bake.recording, region=(21, 40))
    apply_motion(scene, head, Motion(24.0, new.values[20:40]), 21, bake=again)
    for (path, _), c in curves_of(head.animation_data.action).items():
        keys = [(k.co.x, k.co.y) for k in c.keyframe_points]
        for key in before[path]:
            if not 21 <= key[0] <= 40:
                assert key in keys, path
    tolerance = 0.12 if bake is SPARSE else 1e-5
    for frame in (5, 15, 20, 45, 60):
        assert np.abs(evaluated(scene, head, frame) - old.values[frame - 1]).max() < tolerance
    for frame in (26, 30, 35):
        assert np.abs(evaluated(scene, head, frame) - new.values[frame - 1]).max() < tolerance
    data = head.animation_data
    assert edits(data.action, data.action_slot) == {}


def test_a_line_added_behind_keeps_the_first_with_its_edits(scene, head):
    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    frame = set_key(head, 30, -0.7)
    second = spoken(4, 40)
    apply_motion(scene, head, second, 101, bake=Bake(0.3, "//two.wav", region=(101, 140)))
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-4)
    assert np.abs(evaluated(scene, head, 120) - second.values[19]).max() < 0.12
    assert tuple(head.animation_data.action.frame_range) == (1, 140)


def test_sparse_and_dense_takes_follow_each_other_with_edits_kept(scene, head):
    apply_motion(scene, head, spoken(3), 1, bake=DENSE)
    frame = set_key(head, 30, -0.7)
    apply_motion(scene, head, spoken(4), 1, bake=SPARSE)
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-5)
    assert len(curve(head).keyframe_points) < 40


def test_a_take_whose_record_is_damaged_is_kept_whole_and_replaced(scene, head):
    from loquent.addon.timeline import RECORD

    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    set_key(head, 30, -0.7)
    first = head.animation_data.action
    first[RECORD] = b"not a record"
    before = fingerprint(first)
    apply_motion(scene, head, spoken(4), 1, bake=SPARSE)
    assert fingerprint(first) == before and evaluated(scene, head, 30)[INDEX["jawOpen"]] > -0.1


def test_edits_survive_saving_and_reloading(scene, head, tmp_path):
    name = head.name
    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    frame = set_key(head, 30, -0.7)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    head, scene = bpy.data.objects[name], bpy.context.scene
    apply_motion(scene, head, spoken(4), 1, bake=SPARSE)
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-5)


def test_a_sparse_take_is_smooth_and_its_handles_stay_within_their_neighbours(scene, head):
    apply_motion(scene, head, spoken(3), 1, bake=SPARSE)
    for c in curves_of(head.animation_data.action).values():
        points = c.keyframe_points
        for a, b in itertools.pairwise(points):
            assert a.interpolation == "BEZIER" and a.handle_right_type == b.handle_left_type == "ALIGNED"
            assert a.co.x < a.handle_right.x < b.handle_left.x < b.co.x
