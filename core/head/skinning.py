# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint chains and linear blend skinning (Li et al. 2017, "Learning a model of facial shape and expression", eq. 2, 3).

Vertices are planes (T, 3, V) here, not rows: long contiguous inner loops are several times faster in numpy. For the
same reason sparse sets of vertices are covered by a few slices instead of being gathered.
"""

from dataclasses import dataclass

import numpy as np

LARGEST_HOLE = 700
"""Vertices that a covering slice may take in without need; gathering costs more than computing them."""


def joint_transforms(joints: np.ndarray, parents: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (T, J, 3, 3) and translations (T, J, 3) that carry rest points: x -> R x + t.

    joints (J, 3) at rest; parents (J,), -1 for the root, each before its children; rotations (T, J, 3, 3) of each
    joint relative to its parent.
    """
    local = joints - (rotations @ joints[..., None])[..., 0]
    world_r, world_t = rotations.copy(), local.copy()
    for j, parent in enumerate(parents):
        if parent >= 0:
            world_r[:, j] = world_r[:, parent] @ rotations[:, j]
            world_t[:, j] = (world_r[:, parent] @ local[:, j, :, None])[..., 0] + world_t[:, parent]
    return world_r, world_t


def cover(index: np.ndarray, largest_hole: int = LARGEST_HOLE) -> list[slice]:
    """Few slices that contain all of a sorted set of vertices (n,)."""
    if not len(index):
        return []
    ends = np.flatnonzero(np.diff(index) > largest_hole)
    return [
        slice(int(index[a]), int(index[b]) + 1)
        for a, b in zip(np.r_[0, ends + 1], np.r_[ends, len(index) - 1], strict=True)
    ]


@dataclass(frozen=True)
class Binding:
    """Skinning weights laid out for speed: one joint carries all vertices, the others add their difference.

    main: the joint with the largest total weight. others: (joint, vertices, weights (n,)) for runs of vertices.
    """

    main: int
    others: tuple[tuple[int, slice, np.ndarray], ...]


def bind(weights: np.ndarray) -> Binding:
    """Binding of weights (V, J) whose rows sum to one."""
    main = int(np.argmax(weights.sum(0)))
    others = [
        (j, run, np.ascontiguousarray(weights[run, j], np.float32))
        for j in range(weights.shape[1])
        if j != main
        for run in cover(np.flatnonzero(weights[:, j]))
    ]
    return Binding(main, tuple(others))


def skin(planes: np.ndarray, binding: Binding, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """(T, 3, V) posed vertices: the weighted mean of what each joint's transform makes of them.

    planes (T, 3, V); rotations (T, J, 3, 3) and translations (T, J, 3) as `joint_transforms` returns them.
    """
    main_r, main_t = rotations[:, binding.main], translations[:, binding.main]
    out = main_r @ planes + main_t[..., None]
    for joint, run, weights in binding.others:
        turn, shift = rotations[:, joint] - main_r, translations[:, joint] - main_t
        if turn.any() or shift.any():
            out[..., run] += weights * (turn @ planes[..., run] + shift[..., None])
    return out
