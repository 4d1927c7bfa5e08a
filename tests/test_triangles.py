# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from loquent.core.geometry.rotations import axis_angle_to_matrix
from loquent.core.geometry.triangles import barycentric_points, triangle_areas, triangle_frames, vertex_normals


def soup(seed=0, count=30):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3 * count, 3)), np.arange(3 * count).reshape(-1, 3)


def test_frames_are_right_handed_rotations_on_the_triangle():
    vertices, faces = soup()
    origins, rotations, scales = triangle_frames(vertices, faces)
    np.testing.assert_allclose(origins, vertices[faces].mean(1))
    np.testing.assert_allclose(
        rotations.transpose(0, 2, 1) @ rotations, np.broadcast_to(np.eye(3), rotations.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    edges = vertices[faces[:, 2]] - vertices[faces[:, 0]]
    np.testing.assert_allclose((edges * rotations[..., 1]).sum(1), 0, atol=1e-12)  # the second column is the normal
    assert (scales > 0).all()


def test_the_frame_of_a_known_triangle_is_the_published_one():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 0, -4]])
    origin, rotation, scale = triangle_frames(vertices, np.array([[0, 1, 2]]))
    np.testing.assert_allclose(origin[0], [2 / 3, 0, -4 / 3])
    np.testing.assert_allclose(rotation[0], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-12)
    assert scale[0] == 3  # mean of the edge's length 2 and the height 4 on it


def test_frames_follow_similarities():
    vertices, faces = soup(1)
    turn, shift, size = axis_angle_to_matrix(np.array([0.4, -1.1, 2.0])), np.array([3.0, -1, 2]), 2.5
    origins, rotations, scales = triangle_frames(vertices, faces)
    moved = triangle_frames(size * vertices @ turn.T + shift, faces)
    np.testing.assert_allclose(moved[0], size * origins @ turn.T + shift, atol=1e-12)
    np.testing.assert_allclose(moved[1], turn @ rotations, atol=1e-12)
    np.testing.assert_allclose(moved[2], size * scales)


def test_batches_equal_loops():
    faces = soup()[1]
    batch = np.random.default_rng(2).normal(size=(4, 90, 3)).astype(np.float32)
    for got, each in zip(
        triangle_frames(batch, faces), zip(*[triangle_frames(v, faces) for v in batch], strict=True), strict=True
    ):
        np.testing.assert_array_equal(got, np.array(each))


def test_flat_triangles_have_a_rotation_and_no_nan():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = np.array([[0, 1, 2], [0, 3, 3], [0, 4, 4], [0, 5, 5]])
    _, rotations, scales = triangle_frames(vertices, faces)
    np.testing.assert_allclose(
        rotations.transpose(0, 2, 1) @ rotations, np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-7
    )
    np.testing.assert_allclose(scales, [0.5, 0, 0.5, 0.5])


def test_areas_and_barycentric_points():
    vertices, faces = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]]), np.array([[0, 1, 2]])
    assert triangle_areas(vertices, faces)[0] == 3
    which, weights = np.zeros(2, int), np.array([[1, 0, 0], [0.5, 0.25, 0.25]])
    np.testing.assert_allclose(barycentric_points(vertices, faces, which, weights), [[0, 0, 0], [0.5, 0.75, 0]])


def test_normals_of_a_flat_sheet_all_point_one_way():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
    normals = vertex_normals(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    np.testing.assert_allclose(normals[:4], np.broadcast_to([0, 0, 1], (4, 3)))
    assert (normals[4] == 0).all()  # belongs to no face
