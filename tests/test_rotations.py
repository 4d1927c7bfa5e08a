# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.geometry import rotations as rot

vectors = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)
tiny = st.tuples(*[st.floats(-1e-5, 1e-5)] * 3).map(np.array)


def random_rotations(count, seed=0):
    return rot.quat_wxyz_to_matrix(np.random.default_rng(seed).normal(size=(count, 4)))


@given(st.one_of(vectors, tiny))
@settings(deadline=None)
def test_axis_angle_gives_the_same_rotation_through_matrices_and_quaternions(vector):
    direct = rot.axis_angle_to_matrix(vector)
    np.testing.assert_allclose(direct, rot.quat_wxyz_to_matrix(rot.axis_angle_to_quat_wxyz(vector)), atol=1e-12)
    np.testing.assert_allclose(direct @ direct.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(direct) == pytest.approx(1)


@given(st.one_of(vectors, tiny))
@settings(deadline=None)
def test_the_logarithm_undoes_the_exponential_up_to_half_a_turn(vector):
    back = rot.quat_wxyz_to_axis_angle(rot.axis_angle_to_quat_wxyz(vector))
    if np.linalg.norm(vector) < np.pi:
        np.testing.assert_allclose(back, vector, atol=1e-9)
    assert np.linalg.norm(back) <= np.pi + 1e-12
    np.testing.assert_allclose(rot.axis_angle_to_matrix(back), rot.axis_angle_to_matrix(vector), atol=1e-9)


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = rot.axis_angle_to_matrix(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_quaternions_survive_matrices_also_near_half_turns():
    rng = np.random.default_rng(1)
    axes = rot.normalized(rng.normal(size=(200, 3)))
    angles = np.r_[rng.uniform(0, np.pi, 100), np.pi - 10.0 ** rng.uniform(-9, -2, 100)]
    quats = rot.axis_angle_to_quat_wxyz(axes * angles[:, None])
    back = rot.matrix_to_quat_wxyz(rot.quat_wxyz_to_matrix(quats))
    np.testing.assert_allclose(np.abs((back * quats).sum(1)), 1, atol=1e-12)
    assert (back[:, 0] >= 0).all()


def test_the_product_of_quaternions_is_the_product_of_matrices():
    rng = np.random.default_rng(2)
    a, b = rot.normalized(rng.normal(size=(2, 50, 4)))
    product = rot.quat_wxyz_to_matrix(rot.quat_multiply_wxyz(a, b))
    np.testing.assert_allclose(product, rot.quat_wxyz_to_matrix(a) @ rot.quat_wxyz_to_matrix(b), atol=1e-12)


def test_the_conjugate_is_the_inverse():
    q = rot.normalized(np.random.default_rng(3).normal(size=(20, 4)))
    identity = np.broadcast_to([1.0, 0, 0, 0], q.shape)
    np.testing.assert_allclose(rot.quat_multiply_wxyz(q, rot.quat_conjugate_wxyz(q)), identity, atol=1e-12)


@pytest.mark.parametrize("function, width", [
    (rot.axis_angle_to_matrix, 3), (rot.axis_angle_to_quat_wxyz, 3), (rot.quat_wxyz_to_matrix, 4),
    (rot.quat_wxyz_to_axis_angle, 4), (rot.skew, 3),
])  # fmt: skip
def test_batches_equal_loops(function, width):
    values = np.random.default_rng(4).normal(size=(2, 3, width))
    values[0, 0] = 1e-7 if width == 3 else [1, 0, 0, 0]
    looped = np.array([[function(v) for v in row] for row in values])
    np.testing.assert_allclose(function(values), looped, atol=1e-15)


def test_zero_length_gives_no_nan():
    assert (rot.normalized(np.zeros(3)) == 0).all()
    assert (rot.axis_angle_to_matrix(np.zeros(3)) == np.eye(3)).all()
    assert (rot.axis_angle_to_quat_wxyz(np.zeros(3)) == [1, 0, 0, 0]).all()


def test_yaw_turns_left_pitch_looks_down_and_roll_is_counter_clockwise_from_the_front():
    forward, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert (rot.yaw_pitch_roll(0.3, 0, 0) @ forward)[0] > 0.2  # the subject's left is +x
    assert (rot.yaw_pitch_roll(0, 0.3, 0) @ forward)[1] < -0.2
    assert (rot.yaw_pitch_roll(0, 0, 0.3) @ up)[0] < -0.2


def test_yaw_pitch_roll_is_the_product_of_its_three_turns():
    yaw, pitch, roll = np.random.default_rng(5).normal(size=(3, 7))
    about = rot.axis_angle_to_matrix
    expected = about(yaw[:, None] * [0, 1, 0]) @ about(pitch[:, None] * [1, 0, 0]) @ about(roll[:, None] * [0, 0, 1])
    np.testing.assert_allclose(rot.yaw_pitch_roll(yaw, pitch, roll), expected, atol=1e-12)
