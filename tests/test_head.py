# SPDX-License-Identifier: GPL-3.0-or-later
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.assets import DATA
from loquent.core.errors import AssetError, MotionError
from loquent.core.geometry.rotations import yaw_pitch_roll
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, JAW_OPEN_RADIANS, LOOK_RADIANS
from loquent.core.head.skinning import bind, cover, joint_transforms, skin

MM = 1e-3
HEAD = load_head()
MEAN = identity(HEAD)
rng = np.random.default_rng(0)
PEOPLE = [
    MEAN,
    *(identity(HEAD, rng.normal(size=100)) for _ in range(3)),
    *(identity(HEAD, b) for b in HEAD.presets.values()),
]


def values(**channels):
    """A frame; a name without Left or Right stands for both."""
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        for each in [name] if name in INDEX else [name + "Left", name + "Right"]:
            out[INDEX[each]] = value
    return out


def posed(person=MEAN, **channels):
    return pose_vertices(person, values(**channels))


def rigid_residual(before, after):
    """Largest distance that no rotation and translation explains."""
    a, b = before - before.mean(0), after - after.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return np.linalg.norm(a @ turn - b, axis=1).max()


def lip_gap(vertices, where):
    return vertices[HEAD.landmarks[f"lip_upper_{where}"], 1] - vertices[HEAD.landmarks[f"lip_lower_{where}"], 1]


def test_rest_values_give_the_template():
    for person in PEOPLE:
        np.testing.assert_allclose(posed(person), person.template, atol=1e-7)


def test_no_betas_give_the_mean_head_and_missing_betas_are_zero():
    np.testing.assert_array_equal(identity(HEAD, np.zeros(100)).template, MEAN.template)
    np.testing.assert_array_equal(
        identity(HEAD, [1.0, -2.0]).template, identity(HEAD, np.r_[1, -2, np.zeros(98)]).template
    )


def test_a_batch_equals_its_frames():
    frames = np.random.default_rng(1).uniform(-0.2, 1, (37, len(CHANNELS))).astype(np.float32)
    together = pose_vertices(PEOPLE[1], frames)
    assert together.shape == (37, len(HEAD.template), 3) and together.dtype == np.float32
    np.testing.assert_allclose(together, [pose_vertices(PEOPLE[1], f) for f in frames], atol=2e-6)


def test_an_empty_batch_has_no_vertices():
    assert pose_vertices(MEAN, np.zeros((0, len(CHANNELS)))).shape == (0, len(HEAD.template), 3)


@given(st.sampled_from([n for n in ARKIT if not n.startswith(("jaw", "eye", "mouthClose"))]), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_unit_moves_its_vertices_straight_in_proportion(name, amount):
    moved = posed(**{name: amount}) - MEAN.template
    lids = np.concatenate([np.r_[lid.index, lid.lashes] for lid in HEAD.lids])  # these may slide over the eyeball
    expected = amount * HEAD.units[ARKIT.index(name)]
    np.testing.assert_allclose(np.delete(moved, lids, 0), np.delete(expected, lids, 0), atol=1e-6)


def test_the_jaw_joint_reproduces_the_jaw_open_unit():
    unit = HEAD.units[ARKIT.index("jawOpen")][HEAD.parts["skin"]]
    moved = np.linalg.norm(unit, axis=1) > 0.01 * MM
    for amount, mean, most in ((0.25, 0.1, 0.5), (0.5, 0.1, 0.5), (0.75, 0.1, 0.5), (1.0, 0.05, 0.1)):
        miss = np.linalg.norm((posed(jawOpen=amount) - MEAN.template)[HEAD.parts["skin"]] - amount * unit, axis=1)[
            moved
        ]
        assert miss.mean() < mean * MM and miss.max() < most * MM, amount


def test_lower_teeth_turn_rigidly_with_the_jaw_by_the_stated_angle():
    assert pytest.approx(JAW_OPEN_RADIANS) == HEAD.jaw_open_radians
    turn = yaw_pitch_roll(0.0, JAW_OPEN_RADIANS, 0.0)
    for person in PEOPLE[:3]:
        vertices = posed(person, jawOpen=1)
        for part in ("teeth_lower", "gum_lower"):
            span = HEAD.parts[part]
            expected = (person.template[span] - person.joints[2]) @ turn.T + person.joints[2]
            np.testing.assert_allclose(vertices[span], expected, atol=1e-6)


def test_teeth_keep_their_shape_in_every_unit_and_upper_teeth_their_place():
    for name in ARKIT:
        vertices = posed(**{name: 1})
        np.testing.assert_array_equal(vertices[HEAD.parts["teeth_upper"]], MEAN.template[HEAD.parts["teeth_upper"]])
        lower = HEAD.parts["teeth_lower"]
        assert rigid_residual(MEAN.template[lower], vertices[lower]) < 0.02 * MM, name


def test_upper_incisors_overlap_the_lower_ones_by_one_to_two_millimetres():
    tooth = len(MEAN.template[HEAD.parts["teeth_upper"]]) // 14
    for person in PEOPLE:
        upper, lower = (
            person.template[HEAD.parts[f"teeth_{row}"]].reshape(14, tooth, 3)[6:8] for row in ("upper", "lower")
        )
        assert 1 * MM < lower[..., 1].max() - upper[..., 1].min() < 2 * MM
        assert upper[..., 2].max() > lower[..., 2].max() + 1 * MM  # and stand in front of them


def test_eyeballs_turn_rigidly_about_their_joint():
    for joint, side, name in ((3, "left", "Left"), (4, "right", "Right")):
        span = HEAD.parts[f"eye_{side}"]
        for channel, axis, sign in (("eyeLookDown", 0, 1), ("eyeLookUp", 0, -1)):
            angle = HEAD.look_radians[0 if channel == "eyeLookDown" else 3]
            angles = np.zeros(3)
            angles[axis] = sign * angle
            turn = yaw_pitch_roll(angles[1], angles[0], 0.0)
            expected = (MEAN.template[span] - MEAN.joints[joint]) @ turn.T + MEAN.joints[joint]
            np.testing.assert_allclose(posed(**{channel + name: 1})[span], expected, atol=1e-6)
        for person in PEOPLE:
            assert rigid_residual(person.template[span], posed(person, gazeYaw=0.3, gazePitch=-0.2)[span]) < 1e-3 * MM


def test_both_eyes_look_to_the_subjects_left_where_one_looks_out_and_the_other_in():
    vertices = posed(eyeLookOutLeft=1, eyeLookInRight=1)
    for side in ("left", "right"):
        pupil = HEAD.parts[f"eye_{side}"].start
        assert vertices[pupil, 0] - MEAN.template[pupil, 0] > 3 * MM


def test_lids_follow_the_gaze_channels():
    by_gaze = posed(gazePitch=HEAD.look_radians[0])
    np.testing.assert_allclose(by_gaze, posed(eyeLookDown=1), atol=1e-6)


def test_skinning_weights_sum_to_one_and_none_is_negative():
    np.testing.assert_allclose(HEAD.weights.sum(1), 1, atol=1e-6)
    assert (HEAD.weights >= 0).all()


def test_identity_moves_teeth_together_with_the_face():
    rows = {"teeth_upper": "lip_upper_middle", "teeth_lower": "lip_lower_middle"}
    for part, landmark in rows.items():
        teeth = np.array([p.template[HEAD.parts[part]].mean(0) for p in PEOPLE])
        lips = np.array([p.template[HEAD.landmarks[landmark]] for p in PEOPLE])
        apart = np.linalg.norm((teeth - teeth[0]) - (lips - lips[0]), axis=1)
        assert np.linalg.norm(lips - lips[0], axis=1).max() > 4 * MM
        assert apart.max() < 6 * MM, part
        for person in PEOPLE:
            for tooth in np.split(np.arange(HEAD.parts[part].start, HEAD.parts[part].stop), 14):
                size = np.ptp(person.template[tooth], axis=0) / np.ptp(MEAN.template[tooth], axis=0)
                assert (size > 0.7).all() and (size < 1.4).all()


def test_turning_the_head_is_a_rigid_motion_of_all_that_hangs_on_it():
    above = HEAD.weights[:, 0] == 0
    assert above.sum() > 6000
    face = posed(jawOpen=0.3, mouthSmile=0.5, eyeBlink=0.4)
    turned = posed(jawOpen=0.3, mouthSmile=0.5, eyeBlink=0.4, headYaw=0.3, headPitch=-0.2, headRoll=0.1, headX=0.02)
    turn = yaw_pitch_roll(0.3, -0.2, 0.1)
    expected = (face - MEAN.joints[1]) @ turn.T + MEAN.joints[1] + [0.02, 0, 0]
    np.testing.assert_allclose(turned[above], expected[above], atol=2e-6)
    bust = HEAD.weights[:, 0] == 1
    np.testing.assert_allclose(turned[bust], face[bust] + [0.02, 0, 0], atol=1e-6)


def test_neck_channels_turn_everything():
    turned = posed(neckYaw=0.4)
    expected = (MEAN.template - MEAN.joints[0]) @ yaw_pitch_roll(0.4, 0.0, 0.0).T + MEAN.joints[0]
    np.testing.assert_allclose(turned, expected, atol=1e-6)


def test_lips_touch_at_rest_for_every_identity():
    for person in PEOPLE:
        for where in ("middle", "left", "right"):
            assert -1.5 * MM < lip_gap(person.template, where) < 0.5 * MM


@given(st.floats(0.02, 1))
@settings(max_examples=15, deadline=None)
def test_mouth_close_keeps_the_lips_together_over_an_open_jaw(amount):
    closed = posed(jawOpen=amount, mouthClose=amount)
    opened = posed(jawOpen=amount)
    for where in ("middle", "left", "right"):
        assert abs(lip_gap(closed, where) - lip_gap(MEAN.template, where)) < 0.5 * MM
        assert lip_gap(opened, where) > lip_gap(closed, where)


def test_mouth_close_does_not_push_closed_lips_through_each_other():
    np.testing.assert_array_equal(posed(mouthClose=1), MEAN.template)


def test_a_blink_closes_the_lids_of_every_identity_and_no_more():
    for person in PEOPLE:
        vertices = posed(person, eyeBlink=1)
        for lid in HEAD.lids:
            gaps = lid.gaps(vertices)
            assert gaps.max() < 0.3 * MM  # nowhere open
            assert np.median(gaps) > -2.5 * MM  # nor one lid far over the other
            assert lid.gaps(person.template).max() > 5 * MM


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8), st.sampled_from(range(4)))
@settings(max_examples=30, deadline=None)
def test_lids_never_enter_the_eyeball(amounts, who):
    names = ("eyeBlink", "eyeSquint", "eyeWide", "eyeLookDown", "eyeLookUp", "eyeLookIn", "eyeLookOut", "cheekSquint")
    person = PEOPLE[who]
    vertices = posed(person, **dict(zip(names, amounts, strict=True)))
    for lid, floor, radius in zip(HEAD.lids, person.lid_floors, person.eye_radii, strict=True):
        distance = np.linalg.norm(vertices[lid.index] - person.joints[lid.eye_joint], axis=1)
        assert (distance > np.minimum(floor, radius) - 0.01 * MM).all()


def test_every_face_and_vertex_is_named():
    assert HEAD.faces.max() == len(HEAD.template) - 1 and HEAD.faces.min() == 0
    assert set(np.unique(HEAD.regions)) == set(range(len(HEAD.region_names)))
    assert HEAD.faces_uv.max() == len(HEAD.uv) - 1
    assert np.isfinite(HEAD.uv).all() and (HEAD.uv >= 0).all() and (HEAD.uv <= 1).all()
    spans = sorted((s.start, s.stop) for s in HEAD.parts.values())
    assert spans[0][0] == 0 and spans[-1][1] == len(HEAD.template)
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    for mask in HEAD.masks.values():
        assert mask.shape == (len(HEAD.template),) and mask.min() >= 0 and mask.max() <= 1


def test_teeth_and_eyes_face_outwards():
    a, b, c = (HEAD.template[HEAD.faces[:, k]] for k in range(3))
    normals, centres = np.cross(b - a, c - a), (a + b + c) / 3
    for region in ("eye_left", "eye_right"):
        faces = HEAD.faces_of(region)
        middle = HEAD.template[HEAD.parts[region]].mean(0)
        assert ((normals[faces] * (centres[faces] - middle)).sum(1) > 0).all()
    for region in ("teeth_upper", "teeth_lower"):
        for tooth in np.split(HEAD.faces_of(region), 14):
            assert (normals[tooth] * (centres[tooth] - centres[tooth].mean(0))).sum() > 0


def test_the_file_is_small_and_its_licence_is_beside_it():
    assert (DATA / "head.npz").stat().st_size < 6e6
    assert "CC0 1.0 Universal" in (DATA / "LICENSE-CC0.txt").read_text()
    assert "MakeHuman" in (DATA / "CREDITS.md").read_text()


def test_wrong_channel_counts_and_identities_are_refused():
    with pytest.raises(MotionError, match=r"Posing needs 65 channel values a frame; got an array of shape \(52,\)"):
        pose_vertices(MEAN, np.zeros(52))
    with pytest.raises(AssetError, match="has 100 finite identity numbers; got 101"):
        identity(HEAD, np.zeros(101))
    with pytest.raises(AssetError, match="finite"):
        identity(HEAD, [np.nan])


def test_a_damaged_or_foreign_head_file_is_refused(tmp_path):
    whole = (DATA / "head.npz").read_bytes()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssetError, match=r"broken.npz' cannot be read .*reinstall"):
        load_head(broken)
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, faces=np.zeros(3))
    with pytest.raises(AssetError, match="not a head file: expected the arrays of"):
        load_head(foreign)
    with pytest.raises(AssetError, match="cannot be read"):
        load_head(tmp_path / "none.npz")


def test_skinning_equals_the_textbook_sum():
    generator = np.random.default_rng(7)
    weights = generator.dirichlet(np.ones(4), 50).astype(np.float32)
    weights[:20, 1] = 0
    weights /= weights.sum(1, keepdims=True)
    joints, parents = generator.normal(size=(4, 3)), np.array([-1, 0, 1, 1])
    turns = yaw_pitch_roll(*generator.normal(size=(3, 2, 4)))
    points = generator.normal(size=(2, 50, 3))
    r, t = joint_transforms(joints, parents, turns)
    np.testing.assert_allclose(r[:, 2], turns[:, 0] @ turns[:, 1] @ turns[:, 2], atol=1e-12)
    expected = np.einsum("vj,tjab,tvb->tva", weights, r, points) + np.einsum("vj,tja->tva", weights, t)
    got = skin(points.transpose(0, 2, 1), bind(weights), r, t).transpose(0, 2, 1)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_covering_slices_contain_every_vertex_once():
    index = np.array([3, 4, 9, 500, 501, 2000])
    runs = cover(index, largest_hole=100)
    assert runs == [slice(3, 10), slice(500, 502), slice(2000, 2001)]
    assert cover(np.array([], int)) == []


def test_the_files_eye_angles_are_those_that_live_link_is_written_with():
    names = ("Down", "In", "Out", "Up")
    assert np.allclose(load_head().look_radians, [LOOK_RADIANS[name] for name in names], atol=1e-6)
