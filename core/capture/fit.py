# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of one person over time -> identity, focal length and the motion of the parametric head.

Gauss-Newton on the landmarks' reprojection with robust weights (Cauchy), in three steps: the pose of every frame by itself
from an affine camera; identity and focal length from a few dozen frames that differ, together with these frames' expressions;
then all frames in one solve over time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..head.head import Identity, identity
from ..head.motion import INDEX
from . import solve
from .face_model import AT, COLUMNS, FITTED
from .problem import COMPONENTS, Problem

Progress = Callable[[float], None]
IDENTITY_FRAMES = 32


@dataclass(frozen=True)
class Fit:
    """betas (S,); focal in pixels; values (F, 65) of the seen frames, head placed before a camera at the origin whose
    view is along -z (OpenCV's camera turned upright); errors (F,) median landmark error in eye distances."""

    betas: np.ndarray
    focal: float
    values: np.ndarray
    errors: np.ndarray


def fit_person(
    problem: Problem, focal: float, focal_known: bool, rounds: int = 12, progress: Progress | None = None
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """betas (S,), focal, the frames (n,) they were found from and these frames' values (n, 65)."""
    frames = varied_frames(problem, IDENTITY_FRAMES)
    values = problem.start(frames, focal)
    betas = np.zeros(COMPONENTS, np.float32)
    wanted = np.log(focal)
    spread = np.r_[np.full(COMPONENTS, problem.weights.shape), 1e-4 if focal_known else problem.weights.focal]
    for k in range(rounds):
        person = identity(problem.model.head, betas)
        normal, gradient, mixed, shared, pull = problem.shared_quadratic(person, values, frames, focal)
        shared = shared + np.diag(1 / spread**2)
        pull = pull + np.r_[betas, np.log(focal) - wanted] / spread**2
        if k < 3:  # pose alone has to settle before shape may follow
            held = np.ones(len(FITTED), bool)
            held[AT["headPitch"] :] = False
            normal[:, held, held] += 1e3 * 10.0 ** (2 - k)
            shared[range(len(pull)), range(len(pull))] += 1e4 * 10.0 ** (2 - k)
        low, high = problem.bounds(values)
        x = values[:, COLUMNS]
        moved, common = solve.shared_step(normal, gradient, mixed, shared, pull, x, low, high)
        values[:, COLUMNS] = np.clip(x + _limited(moved), low, high)
        betas = betas + np.clip(common[:-1], -1, 1).astype(np.float32)
        focal = float(focal * np.exp(np.clip(common[-1], -0.2, 0.2)))
        if progress:
            progress((k + 1) / rounds)
    return betas, focal, frames, values


def _limited(moved: np.ndarray) -> np.ndarray:
    """A step no longer than what its linear model may be good for."""
    out = moved.copy()
    out[:, : AT["headPitch"]] = np.clip(out[:, : AT["headPitch"]], -0.5, 0.5)
    turn = slice(AT["headPitch"], AT["headX"])
    out[:, turn] = np.clip(out[:, turn], -0.3, 0.3)
    return out


def varied_frames(problem: Problem, most: int) -> np.ndarray:
    """Frames (n,) that differ in pose and expression: each next one is the furthest from those chosen."""
    start = problem.start(np.arange(len(problem)), 1000.0)
    turns = start[:, [INDEX["headYaw"], INDEX["headPitch"], INDEX["headRoll"]]]
    features = np.c_[2 * turns, problem.seen.scores]
    first = int(np.linalg.norm(features - np.median(features, 0), axis=1).argmin())
    chosen, distance = [first], np.linalg.norm(features - features[first], axis=1)
    while len(chosen) < min(most, len(features)) and distance.max() > 1e-3:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return np.array(sorted(chosen))


WINDOW, AHEAD = 256, 24
"""Frames solved at once, and frames beyond that are looked at to get the last ones right; memory stays bounded."""
CHUNK = 16


def fit_motion(
    problem: Problem,
    betas: np.ndarray,
    focal: float,
    tied: np.ndarray,
    known: tuple[np.ndarray, np.ndarray] | None = None,
    rounds: int = 5,
    progress: Progress | None = None,
) -> Fit:
    """All frames. tied (F,): whether a frame follows on the one before, without cut or gap; known: frames and values of
    fit_person, to start from."""
    count = len(problem)
    person = identity(problem.model.head, betas)
    values = problem.start(np.arange(count), focal)
    if known is not None:
        values = _started(values, *known)
    errors = np.zeros(count, np.float32)
    done = 0
    while done < count:
        end = min(done + WINDOW, count)
        window = np.arange(done, min(end + AHEAD, count))
        before = values[done - 1, COLUMNS] if done and tied[done] else None
        x = values[window]
        for _ in range(rounds):
            normal, gradient = _chunked(problem, person, x, window, focal)
            low, high = problem.bounds(x)
            now = x[:, COLUMNS]
            then = solve.step(normal, gradient, now, low, high, problem.ties, tied[window], before)
            x[:, COLUMNS] = np.clip(now + _limited(then - now), low, high)
        values[window] = x
        for chunk in _chunks(window):
            _, off, unit = problem.residuals(person, values[chunk], chunk, focal)
            errors[chunk] = np.median(np.linalg.norm(off, axis=-1), 1) / unit
        done = end
        if progress:
            progress(done / count)
    return Fit(betas, focal, values, errors)


def _started(values: np.ndarray, frames: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Expressions between the frames that are known; turns are each frame's own, all placed as the fitted ones are."""
    out = values.copy()
    index = np.arange(len(values))
    for column in COLUMNS[: AT["headPitch"]]:
        out[:, column] = np.interp(index, frames, known[:, column])
    return out


def _chunks(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[i : i + CHUNK] for i in range(0, len(frames), CHUNK)]


def _chunked(problem: Problem, person: Identity, x: np.ndarray, frames: np.ndarray, focal: float):
    parts = [
        problem.quadratic(person, x[i : i + CHUNK], frames[i : i + CHUNK], focal) for i in range(0, len(frames), CHUNK)
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
