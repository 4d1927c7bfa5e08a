# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians in another frame: turned, scaled and shifted as a whole, colours by direction included."""

import numpy as np

from ..geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz
from .gaussians import Gaussians
from .plain import harmonics_basis


def moved(gaussians: Gaussians, scale: float, rotation: np.ndarray, shift: np.ndarray) -> Gaussians:
    """Gaussians at x -> scale R x + shift: the picture of them from a camera that moves along is the same."""
    turn = matrix_to_quat_wxyz(np.asarray(rotation, np.float64))
    return Gaussians(
        means=(scale * gaussians.means.astype(np.float64) @ rotation.T + shift).astype(np.float32),
        quats_wxyz=quat_multiply_wxyz(turn, gaussians.quats_wxyz).astype(np.float32),
        scales=(scale * gaussians.scales).astype(np.float32),
        opacities=gaussians.opacities,
        harmonics=turned_harmonics(gaussians.harmonics, rotation),
    )


def turned_harmonics(harmonics: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Harmonics (N, K, 3) whose colour towards R d is what it was towards d; exact, since each degree stays in itself."""
    if harmonics.ndim == 2 or harmonics.shape[1] == 1:
        return harmonics
    count = harmonics.shape[1]
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    before, after = harmonics_basis(directions, count), harmonics_basis(directions @ np.asarray(rotation).T, count)
    matrix = np.linalg.lstsq(after, before, rcond=None)[0]
    return np.einsum("jk,nkc->njc", matrix, harmonics).astype(np.float32)
