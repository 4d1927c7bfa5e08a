# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.errors import RasterError
from loquent.core.geometry.rotations import axis_angle_to_matrix, quat_wxyz_to_matrix
from loquent.core.splats import native
from loquent.core.splats.binding import Binding, carry, carry_plain
from tests.random_mesh import mesh_and_binding


def rotations(quats):
    return quat_wxyz_to_matrix(quats)  # quaternions of either sign turn alike


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_native_and_numpy_carry_alike(seed):
    points, faces, binding = mesh_and_binding(seed)
    got, want = carry(binding, points, faces), carry_plain(binding, points, faces)
    np.testing.assert_allclose(got[0], want[0], atol=2e-6)
    np.testing.assert_allclose(rotations(got[1]), rotations(want[1]), atol=2e-4)  # slivers have ill-defined normals
    np.testing.assert_allclose(got[2], want[2], rtol=2e-5, atol=1e-8)


def test_a_rigid_motion_of_the_mesh_moves_the_gaussians_with_it():
    points, faces, binding = mesh_and_binding()
    turn = axis_angle_to_matrix(np.array([0.3, -1.1, 0.7]))
    means, quats, scales = carry(binding, points, faces)
    moved = carry(binding, (points @ turn.T + [0.5, -0.2, 0.1]).astype(np.float32), faces)
    np.testing.assert_allclose(moved[0], means @ turn.T + [0.5, -0.2, 0.1], atol=3e-6)
    np.testing.assert_allclose(rotations(moved[1]), turn @ rotations(quats), atol=5e-4)
    np.testing.assert_allclose(moved[2], scales, rtol=1e-4)


def test_a_mesh_twice_the_size_carries_gaussians_twice_the_size():
    points, faces, binding = mesh_and_binding()
    means, quats, scales = carry(binding, points, faces)
    twice = carry(binding, 2 * points, faces)
    np.testing.assert_allclose(twice[0], 2 * means, atol=1e-6)
    np.testing.assert_allclose(twice[1], quats, atol=1e-6)
    np.testing.assert_allclose(twice[2], 2 * scales, rtol=1e-6)


def test_triangles_without_area_give_finite_gaussians():
    points = np.zeros((5, 3), np.float32)
    points[1, 0] = 1
    points[2, 0] = 2
    faces = np.array([[0, 0, 0], [0, 1, 2], [0, 1, 1], [3, 4, 3]], np.int32)
    binding = Binding(
        np.arange(4, dtype=np.int32),
        np.ones((4, 3), np.float32),
        np.eye(4, dtype=np.float32),
        np.ones((4, 3), np.float32),
    )
    for fast, slow in zip(carry(binding, points, faces), carry_plain(binding, points, faces), strict=True):
        assert np.isfinite(fast).all()
        np.testing.assert_allclose(fast, slow, atol=1e-6)


def test_no_gaussians_are_carried_as_none():
    points, faces, _ = mesh_and_binding()
    nothing = Binding(np.zeros(0, np.int32), *(np.zeros((0, k), np.float32) for k in (3, 4, 3)))
    assert [a.shape for a in carry(nothing, points, faces)] == [(0, 3), (0, 4), (0, 3)]


@pytest.mark.skipif(native.library() is None, reason="no native library was built here")
def test_the_number_of_threads_changes_no_byte():
    points, faces, binding = mesh_and_binding(count=9000)
    one, three = carry(binding, points, faces, threads=1), carry(binding, points, faces, threads=3)
    assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("function", [carry, carry_plain])
def test_a_binding_of_another_mesh_is_refused_with_both_ranges(function):
    points, faces, binding = mesh_and_binding()
    with pytest.raises(RasterError, match=r"triangles 0 to 9 .* found 0 to 59"):
        function(binding, points, faces[:10])
    with pytest.raises(RasterError, match=r"corners 0 to 4; found .* and 0 to 39"):
        function(binding, points[:5], faces)


def test_wrong_shapes_are_refused():
    points, faces, binding = mesh_and_binding()
    with pytest.raises(RasterError, match=r"expected triangles \(N,\).*\(500, 4\)"):
        carry(Binding(binding.triangles, binding.offsets[:7], binding.quats_wxyz, binding.scales), points, faces)
    with pytest.raises(RasterError, match=r"vertices \(V, 3\)"):
        carry(binding, points[:, :2], faces)
