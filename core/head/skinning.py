# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint chains and linear blend skinning (Li et al. 2017, "Learning a model of facial shape and expression", eq. 2-3)."""

from dataclasses import dataclass

import numpy as np


def joint_transforms(joints: np.ndarray, parents: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (T, J, 3, 3) and translations (T, J, 3) that carry rest points: x -> R x + t.

    joints (J, 3) at rest; parents (J,), -1 for the root, each before its children; rotations (T, J, 3, 3) of each
    joint relative to its parent.
    """
    world_r, world_t = np.empty_like(rotations), np.empty(rotations.shape[:2] + (3,), rotations.dtype)
    for j, parent in enumerate(parents):
        local_t = joints[j] - rotations[:, j] @ joints[j]
        if parent < 0:
            world_r[:, j], world_t[:, j] = rotations[:, j], local_t
        else:
            world_r[:, j] = world_r[:, parent] @ rotations[:, j]
            world_t[:, j] = (world_r[:, parent] @ local_t[..., None])[..., 0] + world_t[:, parent]
    return world_r, world_t


@dataclass(frozen=True)
class Binding:
    """Skinning weights laid out for speed: one joint carries all vertices, the others add their difference.

    main: the joint with the largest total weight. others: (joint, indices (n,), weights (n, 1)) for each joint that
    moves any vertex.
    """

    main: int
    others: tuple[tuple[int, np.ndarray, np.ndarray], ...]


def bind(weights: np.ndarray) -> Binding:
    """Binding of weights (V, J) whose rows sum to one."""
    main = int(np.argmax(weights.sum(0)))
    others = []
    for j in range(weights.shape[1]):
        index = np.flatnonzero(weights[:, j])
        if j != main and len(index):
            others.append((j, index, np.ascontiguousarray(weights[index, j, None], np.float32)))
    return Binding(main, tuple(others))


def skin(vertices: np.ndarray, binding: Binding, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """(T, V, 3) posed vertices: the weighted mean of what each joint's transform makes of them.

    vertices (T, V, 3); rotations (T, J, 3, 3) and translations (T, J, 3) as `joint_transforms` returns them.
    """
    main_r, main_t = rotations[:, binding.main], translations[:, binding.main]
    out = vertices @ main_r.transpose(0, 2, 1) + main_t[:, None]
    for joint, index, weights in binding.others:
        r, t = rotations[:, joint] - main_r, translations[:, joint] - main_t
        out[:, index] += weights * (vertices[:, index] @ r.transpose(0, 2, 1) + t[:, None])
    return out
