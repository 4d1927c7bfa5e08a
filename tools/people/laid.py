# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians laid on a resting person that ride on triangles: eyes, hair, spectacles."""

from dataclasses import dataclass

import numpy as np

from loquent.core.geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz
from loquent.core.geometry.triangles import triangle_frames
from loquent.core.splats.binding import Binding

from ..avatars.groom import unit


@dataclass(frozen=True)
class Laid:
    """n Gaussians. means, scales, colour, outward: (n, 3); quats_wxyz: (n, 4); triangles: (n,); opacities, rough, gloss: (n,).

    hair: (n,) bool, spindles whose first axis runs along a hair; outward is then the head's normal near by.
    """

    means: np.ndarray
    quats_wxyz: np.ndarray
    scales: np.ndarray
    triangles: np.ndarray
    colour: np.ndarray
    opacities: np.ndarray
    outward: np.ndarray
    rough: np.ndarray
    gloss: np.ndarray
    hair: np.ndarray

    def __len__(self) -> int:
        return len(self.means)


def join(parts: list[Laid]) -> Laid:
    """All of several."""
    return Laid(*(np.concatenate([getattr(p, f) for p in parts]) for f in Laid.__dataclass_fields__))


def bind(laid: Laid, rest: np.ndarray, faces: np.ndarray) -> tuple[Binding, np.ndarray]:
    """In the frames of the resting triangles; also the outward normals there."""
    triangles = laid.triangles.astype(np.int32)
    origins, frames, sizes = (x[triangles] for x in triangle_frames(rest.astype(np.float32), faces))
    inverse = matrix_to_quat_wxyz(frames) * np.array([1, -1, -1, -1])
    binding = Binding(
        triangles,
        (np.einsum("nji,nj->ni", frames, laid.means - origins) / sizes[:, None]).astype(np.float32),
        quat_multiply_wxyz(inverse, laid.quats_wxyz).astype(np.float32),
        (laid.scales / sizes[:, None]).astype(np.float32),
    )
    return binding, np.einsum("nji,nj->ni", frames, laid.outward).astype(np.float32)


def along(axis: np.ndarray) -> np.ndarray:
    """(n, 4) rotations whose first axis is the (n, 3) unit vector."""
    helper = np.where(np.abs(axis[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    side = unit(np.cross(axis, helper))
    return matrix_to_quat_wxyz(np.stack([axis, side, np.cross(axis, side)], 2))
