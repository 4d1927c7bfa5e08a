# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians from a head's space into the world, with the colours that a camera there sees."""

from dataclasses import replace

import numpy as np

from ..core.geometry.cameras import Camera
from ..core.geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz, quat_wxyz_to_matrix
from ..core.splats.gaussians import SH_C0, Gaussians


def similarity(matrix: np.ndarray) -> float | None:
    """Scale of a matrix (4, 4) that keeps shapes, mirror images included; None for shear and unequal scales."""
    linear = np.asarray(matrix, np.float64)[:3, :3]
    scale = float(np.cbrt(abs(np.linalg.det(linear))))
    if scale < 1e-9:
        return None
    rotation = linear / scale
    return scale if np.abs(rotation.T @ rotation - np.eye(3)).max() < 1e-4 else None


def camera_in(camera: Camera, matrix: np.ndarray, scale: float) -> Camera:
    """The camera in the space that `matrix` (a similarity of that scale) carries to the world, in that space's units.

    One head is drawn this way without touching its Gaussians; depths have to be multiplied by the scale.
    """
    world_to_camera = camera.world_to_camera.astype(np.float64) @ matrix
    world_to_camera[:3] /= scale
    return replace(
        camera, world_to_camera=world_to_camera.astype(np.float32), near=camera.near / scale, far=camera.far / scale
    )


def placed(gaussians: Gaussians, matrix: np.ndarray, eye: np.ndarray) -> Gaussians:
    """Gaussians carried by `matrix` (4, 4), colours fixed for a camera at `eye` (3,) in the world.

    Colour is evaluated in the head's own space, so spherical harmonics need no rotation and several heads can be drawn
    as one. Rotation, translation, uniform scale and mirroring are closed forms. Under non-uniform scale or shear each
    covariance is decomposed anew: exact as well, about ten times slower (0.1 s for 60,000 Gaussians).
    """
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    means = gaussians.means @ linear.T.astype(np.float32) + offset.astype(np.float32)
    local_eye = np.linalg.solve(linear, np.asarray(eye, np.float64) - offset)
    colours = seen_colours(gaussians, local_eye)
    size = similarity(matrix)
    if size is not None:
        rotation = linear / size
        if np.linalg.det(rotation) < 0:  # covariances do not tell a mirror image from the point reflection of it
            rotation = -rotation
        quats = quat_multiply_wxyz(matrix_to_quat_wxyz(rotation).astype(np.float32), gaussians.quats_wxyz)
        scales = gaussians.scales * np.float32(size)
    else:
        quats, scales = _sheared(gaussians, linear)
    return Gaussians(means, quats, scales, gaussians.opacities, colours)


def seen_colours(gaussians: Gaussians, eye: np.ndarray) -> np.ndarray:
    """(N, 1, 3) degree-0 harmonics that look from everywhere as the full ones do from `eye`."""
    harmonics = gaussians.harmonics
    if harmonics.shape[1] == 1:
        return harmonics
    directions = gaussians.means - np.asarray(eye, np.float32)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    basis = sh_basis(directions, harmonics.shape[1])
    seen = basis[:, :1] * harmonics[:, 0]
    for k in range(1, harmonics.shape[1]):  # a sum of passes is several times faster than einsum or a batched matmul
        seen += basis[:, k, None] * harmonics[:, k]
    return seen[:, None] / np.float32(SH_C0)


def sh_basis(directions: np.ndarray, count: int) -> np.ndarray:
    """(N, count) real spherical harmonics of unit directions (N, 3), order and signs of Kerbl et al. 2023."""
    x, y, z = directions.T
    columns = [np.full_like(x, SH_C0)]
    if count > 1:
        columns += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    xx, yy, zz = x * x, y * y, z * z
    if count > 4:
        columns += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if count > 9:
        columns += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return np.stack(columns[:count], axis=1).astype(np.float32)


def _sheared(gaussians: Gaussians, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and scales of covariances L S Lᵀ, by one symmetric eigen-decomposition a Gaussian."""
    axes = linear @ (quat_wxyz_to_matrix(gaussians.quats_wxyz) * gaussians.scales[:, None, :]).astype(np.float64)
    values, vectors = np.linalg.eigh(axes @ axes.transpose(0, 2, 1))
    vectors[np.linalg.det(vectors) < 0, :, 0] *= -1
    return matrix_to_quat_wxyz(vectors).astype(np.float32), np.sqrt(np.maximum(values, 1e-16)).astype(np.float32)
