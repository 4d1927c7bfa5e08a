# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a fit is from the truth, and the baseline that stands beside it in every table."""

from dataclasses import dataclass

import numpy as np

from loquent.core.capture.embedding import Embedding
from loquent.core.capture.face_model import COLUMNS, UNITS
from loquent.core.capture.fit import Fit, fit_motion, fit_person
from loquent.core.capture.perform import GUESSED_MM, SENSOR_MM
from loquent.core.capture.problem import Problem, Seen, Weights
from loquent.core.head.head import Head, identity, pose_vertices
from loquent.core.head.motion import INDEX

PLAIN = Weights(
    data=0.12, pair=1e6, score=0, look=0, gaze=0.2, blink=0.25, shape=1, focal=0.25,
    rate_units=0, rate_lips=0, rate_lids=0, rate_gaze=0, rate_turn=0, rate_place=0,
)  # fmt: skip
"""The baseline: landmarks alone, each frame by itself, with the best weights that were found for it."""
LIPS = ("lip_upper_middle", "lip_lower_middle")


@dataclass(frozen=True)
class Truth:
    """betas, values (F, 65) and focal length (pixels) behind what was seen in pictures of `size`."""

    betas: np.ndarray
    values: np.ndarray
    seen: Seen
    focal: float
    size: tuple[int, int] = (512, 512)


@dataclass(frozen=True)
class Score:
    """vertex: mm of the face's vertices after a similarity; expression: mean error of a coefficient; jaw, yaw: degrees;
    opening: mm between the lips; jerk: root mean square of second differences in time, mm; pixels: landmarks off the fit; gaze: degrees up or
    down and aside, of eyes that are open."""

    vertex: float
    expression: float
    jaw: float
    yaw: float
    opening: float
    jerk: float
    pixels: float
    gaze: float


def fitted(
    head: Head, embedding: Embedding, truth: Truth, weights: Weights | None = None, focal: float | None = None
) -> Fit:
    """One unbroken shot at 25 fps; `focal`: in pixels, where it is known."""
    problem = Problem(head, embedding, truth.seen, truth.size, weights or Weights(), 25.0)
    guess = GUESSED_MM / SENSOR_MM * max(truth.size)
    betas, found, frames, values = fit_person(problem, focal or guess, focal is not None)
    tied = np.r_[False, np.ones(len(truth.seen.index) - 1, bool)]
    return fit_motion(problem, betas, found, tied, (frames, values))


def scored(head: Head, embedding: Embedding, truth: Truth, fit: Fit, turn: float = 0.0) -> Score:
    """turn: degrees by which the camera went around the head, which the fit sees as the head's yaw the other way."""
    face = np.unique(embedding.corners)
    me, them = identity(head, fit.betas), identity(head, truth.betas)
    mine, true = pose_vertices(me, fit.values), pose_vertices(them, truth.values)
    off = [np.linalg.norm(aligned(a, b) - b, axis=1).mean() for a, b in zip(mine[:, face], true[:, face], strict=True)]
    change = fit.values - truth.values
    upper, lower = (head.landmarks[name] for name in LIPS)
    gaps = [v[:, upper, 1] - v[:, lower, 1] for v in (mine, true)]
    jaw, yaw = change[:, INDEX["jawOpen"]], change[:, INDEX["headYaw"]]
    awake = truth.values[:, INDEX["eyeBlinkLeft"]] < 0.1
    unit = np.linalg.norm(truth.seen.points[:, 33] - truth.seen.points[:, 263], axis=1)
    return Score(
        1e3 * float(np.mean(off)), float(np.abs(change[:, COLUMNS[: len(UNITS)]]).mean()),
        24.4 * float(np.abs(jaw).mean()), abs(float(np.degrees(yaw).mean()) + turn),
        1e3 * float(np.abs(gaps[0] - gaps[1]).mean()),
        jerk(mine[:, face]),
        float(np.median(fit.errors * unit)),
        float(np.degrees(np.abs(change[:, [INDEX["gazePitch"], INDEX["gazeYaw"]]][awake]).mean())),
    )  # fmt: skip


def jerk(vertices: np.ndarray) -> float:
    """Root mean square of second differences in time of vertices (F, V, 3) in metres, in mm."""
    return 1e3 * float(np.sqrt((np.diff(vertices, 2, axis=0) ** 2).sum(-1).mean()))


def aligned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Points a (N, 3) turned, moved and scaled onto b (Umeyama 1991)."""
    a0, b0 = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a0.T @ b0)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (s * sign).sum() / (a0**2).sum() * a0 @ (u * sign @ vt) + b.mean(0)


def lip_gap(points: np.ndarray) -> np.ndarray:
    """(F,) between the middles of the inner lips, in eye distances, of landmarks (F, 478, 2)."""
    between = np.linalg.norm(points[:, 13] - points[:, 14], axis=1)
    return between / np.linalg.norm(points[:, 33] - points[:, 263], axis=1)


def r2(found: np.ndarray, true: np.ndarray) -> float:
    """Coefficient of determination: 1 - residual / variance, with neither offset nor scale given away."""
    return float(1 - ((found - true) ** 2).sum() / ((true - true.mean()) ** 2).sum())
