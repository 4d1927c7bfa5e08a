# SPDX-License-Identifier: GPL-3.0-or-later
import bpy
import numpy as np
import pytest

from loquent.core.head.motion import ARKIT, CHANNELS, GROUPS, Motion


def spoken(frames: int = 30, fps: float = 24.0) -> Motion:
    """Random ARKit channels but for a still tongue; a constant turn of the head."""
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    values[:, : len(ARKIT)] = np.random.default_rng(3).random((frames, len(ARKIT)))
    return Motion(fps, values).with_columns({"tongueOut": 0.0, "headYaw": 0.25})


def evaluated(scene, ob, frame: float) -> np.ndarray:
    from loquent.addon.convert import channel_values

    scene.frame_set(int(np.floor(frame)), subframe=frame - np.floor(frame))
    return channel_values(ob.evaluated_get(bpy.context.evaluated_depsgraph_get()))


def curves_of(action):
    from loquent.addon.timeline import curves

    return {(c.data_path, c.array_index): c for c in curves(action)}


def fingerprint(action) -> bytes:
    """Everything in an Action that an artist could miss."""
    parts = [action.name, str([round(v, 6) for v in action.frame_range])]
    for (path, index), curve in sorted(curves_of(action).items()):
        keys = [(*k.co, k.interpolation, *k.handle_left, *k.handle_right) for k in curve.keyframe_points]
        parts.append(f"{path}{index}{curve.mute}{curve.group and curve.group.name}{keys}")
    return "\n".join(parts).encode()


def test_every_key_holds_the_motion_exactly_at_its_frame(scene, head):
    from loquent.addon.scene import apply_motion

    motion = spoken()
    action = apply_motion(scene, head, motion, 7)
    assert head.animation_data.action == action and action.name == "Speak"
    for k in (0, 1, 13, 29):
        assert np.array_equal(evaluated(scene, head, 7 + k), motion.values[k])
    assert np.allclose(evaluated(scene, head, 10.5), (motion.values[3] + motion.values[4]) / 2, atol=1e-6)
    assert np.array_equal(evaluated(scene, head, 500), motion.values[-1])


def test_curves_stand_in_the_groups_that_animators_know(scene, head):
    from loquent.addon.scene import apply_motion

    curves = curves_of(apply_motion(scene, head, spoken(), 1))
    assert len(curves) == len(CHANNELS)
    for group, channels in GROUPS.items():
        for channel in channels:
            assert curves[f"loquent.motion.{channel}", 0].group.name == group


def test_a_still_channel_takes_one_key_and_overrules_a_slider_left_by_hand(scene, head):
    from loquent.addon.scene import apply_motion

    head.loquent.motion.tongueOut = 0.8
    curves = curves_of(apply_motion(scene, head, spoken(), 1))
    assert len(curves["loquent.motion.tongueOut", 0].keyframe_points) == 1
    assert len(curves["loquent.motion.jawOpen", 0].keyframe_points) == 30
    assert evaluated(scene, head, 12)[CHANNELS.index("tongueOut")] == 0


@pytest.mark.parametrize(("fps", "base"), [(24, 1.001), (25, 1.0), (60, 1.0), (30, 1.001)])
def test_motion_of_another_rate_keeps_its_seconds(scene, head, fps, base):
    from loquent.addon.scene import apply_motion

    scene.render.fps, scene.render.fps_base = fps, base
    seconds = np.arange(120) / 50
    motion = Motion.rest(120, 50).with_columns({"jawOpen": seconds / 3})
    apply_motion(scene, head, motion, 1)
    for frame in (1, 20, 40):
        expected = (frame - 1) * base / fps / 3
        assert evaluated(scene, head, frame)[CHANNELS.index("jawOpen")] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("fps", [23.976, 24000 / 1001, 24, 25, 29.97, 30, 50, 59.94, 60, 12.5])
def test_the_scenes_rate_is_what_was_asked_for(scene, fps):
    from loquent.addon.convert import frames_per_second
    from loquent.addon.scene import set_rate

    set_rate(scene, fps)
    assert frames_per_second(scene) == pytest.approx(fps, rel=2e-6 if fps not in (23.976, 29.97, 59.94) else 2e-5)
    if fps in (23.976, 24000 / 1001):
        assert scene.render.fps == 24 and scene.render.fps_base == pytest.approx(1.001)


def test_the_frame_range_grows_and_never_shrinks(scene, head):
    from loquent.addon.scene import apply_motion

    scene.frame_end = 20
    apply_motion(scene, head, spoken(30), 5)
    assert scene.frame_end == 34
    apply_motion(scene, head, spoken(10), 1)
    assert scene.frame_end == 34


def walk(ob):
    """An artist's Action: the object moves along X, and one key on a channel of ours."""
    ob.location.x = 0
    ob.keyframe_insert("location", index=0, frame=1)
    ob.location.x = 10
    ob.keyframe_insert("location", index=0, frame=101)
    ob.loquent.motion.browInnerUp = 0.9
    ob.keyframe_insert("loquent.motion.browInnerUp", frame=1)
    return ob.animation_data.action


def test_an_artists_action_is_not_altered_and_goes_on_playing_below(scene, head):
    from loquent.addon.scene import apply_motion

    theirs = walk(head)
    x_before = [head.matrix_world.translation.x for f in (1, 37, 80) if not scene.frame_set(f)]
    before = fingerprint(theirs)
    motion = spoken()
    ours = apply_motion(scene, head, motion, 1)
    assert fingerprint(theirs) == before and theirs != ours
    assert head.animation_data.action == ours
    assert [head.matrix_world.translation.x for f in (1, 37, 80) if not scene.frame_set(f)] == x_before
    assert np.array_equal(evaluated(scene, head, 4), motion.values[3])
    strip = head.animation_data.nla_tracks[0].strips[0]
    assert strip.action == theirs and len(head.animation_data.nla_tracks) == 1


@pytest.mark.parametrize("beyond", ["EXTRAPOLATE", "CYCLES"])
def test_an_artists_curve_that_goes_on_beyond_its_keys_still_does(scene, head, beyond):
    from loquent.addon.scene import apply_motion

    curve = curves_of(walk(head))["location", 0]
    for key in curve.keyframe_points:
        key.interpolation = "LINEAR"
    curve.keyframe_points[0].co.x, curve.keyframe_points[1].co.x = 31, 51
    curve.extrapolation = "LINEAR"
    if beyond == "CYCLES":
        curve.modifiers.new("CYCLES")
    curve.update()
    frames = (1, 12, 31, 40, 51, 77, 249)
    before = [head.matrix_world.translation.x for f in frames if not scene.frame_set(f)]
    apply_motion(scene, head, spoken(), 1)
    after = [head.matrix_world.translation.x for f in frames if not scene.frame_set(f)]
    assert len(set(before)) == len(before) and after == pytest.approx(before, abs=1e-4)


def test_while_a_strip_is_being_tweaked_speak_is_refused_with_a_reason(scene, head):
    from loquent.addon.scene import apply_motion
    from loquent.core.errors import SceneError

    theirs = walk(head)
    data = head.animation_data
    track = data.nla_tracks.new()
    strip = track.strips.new("walk", 1, theirs)
    data.action = None
    track.select = strip.select = True
    data.nla_tracks.active = track
    data.use_tweak_mode = True
    assert data.use_tweak_mode
    with pytest.raises(SceneError, match="tweak mode"):
        apply_motion(scene, head, spoken(), 1)
    assert list(bpy.data.actions) == [theirs]


def test_a_second_take_is_a_new_action_and_the_first_is_kept_with_its_edits(scene, head):
    from loquent.addon.scene import apply_motion

    first = apply_motion(scene, head, spoken(), 1, "Speak a")
    curves_of(first)["loquent.motion.jawOpen", 0].keyframe_points[3].co.y = 0.123
    before = fingerprint(first)
    second = apply_motion(scene, head, spoken(20), 1, "Speak a")
    assert second != first and second.name == "Speak a.001"
    assert fingerprint(first) == before and first.use_fake_user
    assert not head.animation_data.nla_tracks


def test_an_artists_keys_in_our_former_take_go_on_playing(scene, head):
    from loquent.addon.scene import apply_motion

    first = apply_motion(scene, head, spoken(), 1)
    walk(head)
    assert head.animation_data.action == first  # Blender put the artist's keys into it
    apply_motion(scene, head, spoken(20), 1)
    scene.frame_set(101)
    assert head.matrix_world.translation.x == pytest.approx(10)


def test_a_linked_head_is_refused_with_a_reason(scene, head, tmp_path):
    from loquent.addon.scene import apply_motion
    from loquent.core.errors import SceneError

    name, path = head.name, str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(path, link=True) as (_, into):
        into.objects = [name]
    linked = bpy.data.objects[name]
    with pytest.raises(SceneError, match="library override"):
        apply_motion(bpy.context.scene, linked, spoken(), 1)
    assert linked.animation_data is None and not bpy.data.actions


def test_a_minute_at_sixty_frames_a_second_has_every_key_in_place(scene, head):
    from loquent.addon.scene import apply_motion

    scene.render.fps = 60
    motion = Motion(60, np.random.default_rng(0).random((3600, len(CHANNELS))).astype(np.float32))
    curves = curves_of(apply_motion(scene, head, motion, 1))
    assert len(curves) == len(CHANNELS)
    for (path, _), curve in curves.items():
        keys = np.empty((3600, 2), np.float32)
        assert len(curve.keyframe_points) == 3600
        curve.keyframe_points.foreach_get("co", keys.ravel())
        assert np.array_equal(keys[:, 0], np.arange(1, 3601))
        assert np.array_equal(keys[:, 1], motion.column(path.rsplit(".", 1)[1]))
