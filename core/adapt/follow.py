# SPDX-License-Identifier: GPL-3.0-or-later
"""More footage of a person whose head is known: tracked with their identity as it is, and put into the head's own terms.

A tracker follows landmarks, and a head made from pictures has learned what its channels look like: the two differ a little, always
in the same way. What way is learned on the footage that the head was made from, by ridge regression of its corrected tracks on its
plain ones; footage to come needs no pictures for it.
"""

from dataclasses import dataclass

import numpy as np

from ..capture.embedding import load_embedding
from ..capture.fit import fit_motion
from ..capture.perform import chained, fill_in
from ..capture.problem import Problem, Seen, Weights
from ..capture.track import Track
from ..head.head import Head, load_head
from ..head.motion import INDEX
from . import refined

RIDGE = 30.0
"""Frames' worth of belief that the tracker is right."""


def follow(
    seen: Seen, track: Track, count: int, rest: np.ndarray, cuts: tuple[int, ...] = (), head: Head | None = None
) -> np.ndarray:
    """(count, 65) channel values of what is seen, for the identity and camera of `track`. rest: of problem.resting, of that film."""
    head = head or load_head()
    problem = Problem(head, load_embedding(head), seen, track.size, Weights(), track.fps, rest)
    betas = np.zeros(len(head.shapedirs), np.float32)
    betas[: len(track.betas)] = track.betas
    fit = fit_motion(problem, betas, track.focal, chained(seen.index, list(cuts), track.fps))
    values = fit.values.copy()
    flip = np.diag([1.0, -1.0, -1.0])
    middle = flip @ track.camera.world_to_camera[:3, 3]
    values[:, [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]] -= middle.astype(np.float32)
    return fill_in(values, seen.index, count, list(cuts), track.fps)


@dataclass(frozen=True)
class Habits:
    """What to add to tracked values: matrix (D, D) and offset (D,) in refined.units, of values less `mean` (D,) over `scale` (D,)."""

    mean: np.ndarray
    scale: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray

    def corrected(self, values: np.ndarray) -> np.ndarray:
        """(T, 65) tracked values in the head's own terms."""
        x = np.clip((values[:, refined.COLUMNS] - self.mean) / self.scale, -3, 3)
        return refined.corrected(values, (x @ self.matrix + self.offset).astype(np.float32))


def habits(tracked: np.ndarray, found: np.ndarray) -> Habits:
    """Learned from frames tracked plainly (F, 65) and as the head has them (F, 65)."""
    x = tracked[:, refined.COLUMNS].astype(np.float64)
    y = (found - tracked)[:, refined.COLUMNS] / refined.units()
    mean, scale = x.mean(0), np.maximum(x.std(0), 0.25 * refined.units())
    design = (x - mean) / scale
    matrix = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ (y - y.mean(0)))
    return Habits(mean, scale, matrix, y.mean(0))
