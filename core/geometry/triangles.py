# SPDX-License-Identifier: GPL-3.0-or-later
"""Local frames of triangles, by which splats ride on a mesh (Qian et al. 2024, "GaussianAvatars", section 3.1)."""

import numpy as np

TINY = 1e-12


def triangle_frames(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origins (..., F, 3), rotations (..., F, 3, 3) and scales (..., F) of the triangles of vertices (..., V, 3).

    The origin is the centroid. The columns of the rotation are the direction of the first edge, the normal, and their
    cross product; the scale is the mean of that edge's length and the height on it. A triangle without area gets some
    rotation and its true, possibly zero, scale.
    """
    a, b, c = (np.take(vertices, faces[:, k], axis=-2) for k in range(3))
    edge = b - a
    length = np.sqrt(np.einsum("...i,...i->...", edge, edge))[..., None]
    first = np.where(length > TINY, edge / np.maximum(length, TINY), _X)
    other = c - a
    normal = _cross(first, other)
    height = np.sqrt(np.einsum("...i,...i->...", normal, normal))[..., None]
    flat = height <= TINY * np.maximum(length, 1)
    normal = np.where(flat, _any_normal(first), normal / np.maximum(height, TINY))
    rotations = np.stack([first, normal, _cross(first, normal)], -1)
    scales = (length[..., 0] + height[..., 0]) / 2
    return (a + b + c) / 3, rotations, scales


_X = np.array([1.0, 0.0, 0.0], np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """numpy.cross without its overhead."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def _any_normal(direction: np.ndarray) -> np.ndarray:
    """Some unit vector across a unit direction."""
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    zero = np.zeros_like(x)
    flat_x = np.abs(x) > 0.7
    out = np.where(flat_x[..., None], np.stack([-y, x, zero], -1), np.stack([zero, -z, y], -1))
    return out / np.sqrt(np.einsum("...i,...i->...", out, out))[..., None]


def triangle_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(..., F) areas."""
    a, b, c = (np.take(vertices, faces[:, k], axis=-2) for k in range(3))
    return np.linalg.norm(_cross(b - a, c - a), axis=-1) / 2


def barycentric_points(vertices: np.ndarray, faces: np.ndarray, which: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., N, 3) points in triangles `which` (N,) at barycentric weights (N, 3)."""
    corners = np.take(vertices, faces[which], axis=-2)  # (..., N, 3, 3)
    return np.einsum("nk,...nkd->...nd", weights, corners)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of vertices (V, 3), averaged over the faces by area; zero where there is no area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face = _cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for k in range(3):
        for axis in range(3):
            out[:, axis] += np.bincount(faces[:, k], face[:, axis], len(vertices)).astype(vertices.dtype)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return out / np.where(length == 0, 1, length)
