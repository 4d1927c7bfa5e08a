# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse keys: the fewest that a greedy search finds whose curves keep every vertex of the built-in head within a bound.

Between keys a curve is Hermite's cubic with one slope a key, least squares over the frames; so handles are aligned and
the curve passes through the given values at its keys. Keys start where an animator would put them: at the ends, at the
extremes of each channel, at both ends of every stretch that stands still, and where the lips close and part. Then the
worst frame of every segment gets a key until each channel is within its share of the bound, and last the vertices are
looked at together: wherever their summed error is beyond the bound, the channel that adds most to it gets a key there.

The error of a vertex is linear in the channels here (displacement a unit, measured on the posed head); tests and
tools/bench_blender.py measure the true one.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .head import Identity, identity, load_head, pose_vertices
from .keys import Keys, hermite, linear
from .motion import ARKIT, CHANNELS, INDEX, TRANSLATIONS, Motion

DEFAULT_MILLIMETRES = 0.3
SHARE = 1.0
"""Of the bound, what one channel may take for itself: more gives fewer first keys and more to mend."""
SAFETY = 0.9
"""Of the bound, what the linear estimate may reach."""
SEALED = 0.01
"""Of the share, what jawOpen and mouthClose may take while the lips are shut: they must not part."""
LIPS_SEALED = 0.5
"""The same for every other channel of the mouth."""
STILL_SECONDS = 0.3
"""What stands still for so long is kept exactly still."""
ROUNDS = 14
CHECKED = 200
"""Frames posed for certain at the end."""
REACH = 3
"""Frames on either side over which an extreme is one."""


@dataclass(frozen=True)
class _Gains:
    """displacements (C, 3 W): metres a unit of each channel at W witness vertices; largest (C,) at any vertex."""

    displacements: np.ndarray
    largest: np.ndarray


@lru_cache(maxsize=1)
def _person() -> Identity:
    return identity(load_head())


@lru_cache(maxsize=1)
def _gains() -> _Gains:
    """Measured on the built-in head's mean person: 0.4 s, once a process."""
    person = _person()
    steps = np.array([1.0 if c in ARKIT else 0.02 if c in TRANSLATIONS else 0.1 for c in CHANNELS], np.float32)
    shares = np.array([0.0, 0.1, 0.4, 0.7, 1.0], np.float32)  # lids slide round the eye: fastest counts
    rows = np.diag(steps) * shares[:, None, None]
    rows[:, INDEX["mouthClose"], INDEX["jawOpen"]] = 1.0  # it counts no further than jawOpen
    posed = pose_vertices(person, rows.reshape(-1, len(CHANNELS))).reshape(len(shares), len(CHANNELS), -1, 3)
    moved = np.zeros_like(posed[0])
    for i, part in enumerate(np.diff(shares)):
        speed = (posed[i + 1] - posed[i]) / (steps[:, None, None] * part)
        faster = np.linalg.norm(speed, axis=2) > np.linalg.norm(moved, axis=2)
        moved[faster] = speed[faster]
    sizes = np.linalg.norm(moved, axis=2)
    largest = np.maximum(sizes.max(1), 1e-6)
    # Witnesses: the vertices that are furthest off under one channel's error, or under some mixture of several.
    lively = np.flatnonzero((sizes[: len(ARKIT)] > 0.3 * largest[: len(ARKIT), None]).any(0))
    rng = np.random.default_rng(0)
    mixtures = rng.normal(size=(900, len(CHANNELS))) * (rng.random((900, len(CHANNELS))) < 0.15) / largest
    off = (mixtures.astype(np.float32) @ moved[:, lively].reshape(len(CHANNELS), -1)).reshape(900, -1, 3)
    witnesses = np.union1d(sizes.argmax(1), lively[(off * off).sum(2).argmax(1)])
    flat = np.ascontiguousarray(moved[:, witnesses].reshape(len(CHANNELS), -1), np.float32)
    return _Gains(flat, largest)


def dense_keys(motion: Motion, frame_start: int) -> dict[str, Keys]:
    """A key a frame for every channel, one for a channel that never changes."""
    frames = np.arange(len(motion)) + float(frame_start)
    return {
        name: linear(frames[:1], column[:1]) if (column == column[0]).all() else linear(frames, column)
        for name, column in zip(CHANNELS, motion.values.T, strict=True)
    }


def sparse_keys(motion: Motion, frame_start: int, millimetres: float = DEFAULT_MILLIMETRES) -> dict[str, Keys]:
    """Keys on whole frames for every channel, vertices of the built-in head within `millimetres` at every frame.

    One key for a channel that never changes. A minute at 60 frames a second takes about 0.5 s on one core.
    """
    moving = np.flatnonzero(np.ptp(motion.values, axis=0) > 0)
    keys = dense_keys(Motion(motion.fps, motion.values[:1]), frame_start)
    if not len(moving):
        return keys
    fit = _Fit(motion.values[:, moving].T.astype(np.float64), moving, max(4, round(STILL_SECONDS * motion.fps)))
    limit = SAFETY * millimetres * 1e-3
    tolerances = np.repeat(SHARE * limit / fit.gains.largest[moving], fit.count).reshape(len(moving), -1)
    shut = sealed(motion)
    lips = np.array([CHANNELS[column].startswith(("mouth", "tongue", "jaw")) for column in moving])
    hinge = np.isin(moving, [INDEX["jawOpen"], INDEX["mouthClose"]])
    tolerances[np.ix_(lips & ~hinge, shut)] *= LIPS_SEALED
    tolerances[np.ix_(hinge, shut)] *= SEALED
    fit.begin(tolerances, shut)
    for _ in range(ROUNDS):
        if not fit.split(tolerances.ravel()):
            break
    for parity in (0, 1, 0, 1):
        fit.thin(tolerances.ravel(), parity)
    fit.split(tolerances.ravel())
    while fit.mend(limit) | fit.split(np.where(shut, tolerances, np.inf).ravel()):
        pass
    for _ in range(3):
        if not fit.check(motion.values, millimetres * 1e-3):
            break
    frames = np.arange(fit.count) + float(frame_start)
    for row, column in enumerate(moving):
        at, slopes = fit.channel(row)
        keys[CHANNELS[column]] = hermite(frames[at], motion.values[at, column], slopes)
    return keys


def sealed(motion: Motion) -> np.ndarray:
    """(T,) mask of frames in which mouthClose holds the lips together over an open jaw."""
    close, jaw = motion.column("mouthClose"), motion.column("jawOpen")
    return (close > 0.02) & (close >= jaw - 0.005)


def _still(values: np.ndarray, least: int) -> list[tuple[int, int, int]]:
    """(row, first, last) of the stretches of `least` equal frames or more."""
    equal = np.zeros((len(values), values.shape[1] + 1), np.int8)
    equal[:, 1:-1] = np.diff(values, axis=1) == 0
    change = np.diff(equal, axis=1)
    rows, firsts = np.nonzero(change == 1)
    lasts = np.nonzero(change == -1)[1]
    long = lasts - firsts + 1 >= least
    return list(zip(rows[long].tolist(), firsts[long].tolist(), lasts[long].tolist(), strict=True))


class _Fit:
    """All moving channels end to end in one array, so that each step is a few passes over it."""

    def __init__(self, values: np.ndarray, moving: np.ndarray, stillness: int) -> None:
        self.stillness = stillness
        self.rows, self.count = values.shape
        self.values = values.ravel()
        self.moving = moving
        self.gains = _gains()
        self.knots = np.zeros(values.shape, bool)
        self.held = np.zeros(values.shape, bool)
        self.flat = np.zeros(values.shape, bool)
        self.slopes = np.zeros(0)
        self.errors = np.zeros(values.size)

    def begin(self, tolerances: np.ndarray, shut: np.ndarray) -> None:
        """The keys to start from. Those at ends, around stillness and around closures are held to the end."""
        values = self.values.reshape(self.knots.shape)
        self.held[:, [0, -1]] = True
        lips = np.isin(self.moving, [INDEX["jawOpen"], INDEX["mouthClose"]])
        parting = np.flatnonzero(np.diff(shut.astype(np.int8)))
        self.held[np.ix_(lips, np.union1d(parting, parting + 1))] = True
        if self.count > 2 * REACH + 1:
            padded = np.pad(values, ((0, 0), (REACH, REACH)), "edge")
            windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1, axis=1)
            low, high = windows.min(2), windows.max(2)
            self.knots |= (high - low > 4 * tolerances) & ((values == high) | (values == low))
        for row, first, last in _still(values, self.stillness):
            self.knots[row, first : last + 1] = False
            self.held[row, first + 1 : last] = False
            self.held[row, [first, last]] = self.flat[row, [first, last]] = True
        self.knots |= self.held
        self._solve()

    def split(self, tolerances: np.ndarray) -> bool:
        """A key at the worst frame of every segment beyond its tolerance; whether there was one."""
        beyond = np.abs(self.errors) / tolerances
        frames = np.flatnonzero(beyond > 1)
        if not len(frames):
            return False
        segment = np.cumsum(self.knots.ravel())[frames]
        order = np.lexsort((beyond[frames], segment))
        worst = frames[order[np.r_[np.diff(segment[order]) > 0, True]]]
        self.knots.reshape(-1)[worst] = True
        self._solve()
        return True

    def thin(self, tolerances: np.ndarray, parity: int) -> None:
        """Drop every second key that its neighbours can do without, slopes as they are, unless it is held."""
        knots = np.flatnonzero(self.knots)
        chosen = np.zeros(len(knots), bool)
        chosen[1 + parity : -1 : 2] = True
        chosen &= ~self.held.ravel()[knots]
        stay, gone = knots[~chosen], knots[chosen]
        over = _Segments(self.values, stay)
        worst = np.zeros(len(stay) - 1)
        errors = np.abs(over.errors(self.slopes[~chosen])) / tolerances[over.frames]
        np.maximum.at(worst, over.segment, errors)
        self.knots.reshape(-1)[gone[worst[np.searchsorted(stay, gone) - 1] < 1]] = False
        self._solve()

    def mend(self, limit: float) -> bool:
        """Keys for the channel that adds most, where vertices are further off than `limit`; whether any were."""
        frames, errors, off, vertex = self._peaks(limit)
        if not len(frames):
            return False
        towards = off[frames, vertex[frames]]
        by_channel = self.gains.displacements.reshape(len(CHANNELS), -1, 3)[:, vertex[frames]]
        parts = errors[frames] * np.einsum("cfk,fk->fc", by_channel, towards)
        self.knots[parts[:, self.moving].argmax(1), frames] = True
        self._solve()
        return True

    def check(self, values: np.ndarray, limit: float) -> bool:
        """Pose the most doubtful frames for certain; those beyond `limit` get keys for what is most off there."""
        frames, errors, off, vertex = self._peaks(0.8 * SAFETY * limit)
        distance = np.linalg.norm(off[frames, vertex[frames]], axis=1)
        frames = np.sort(frames[np.argsort(distance)[-CHECKED:]])
        person = _person()
        true = pose_vertices(person, values[frames]) - pose_vertices(person, values[frames] - errors[frames])
        frames = frames[np.einsum("tvk,tvk->tv", true, true).max(1) > limit * limit]
        if not len(frames):
            return False
        worth = np.abs(errors[frames]) * self.gains.largest
        for row in np.argsort(worth[:, self.moving], 1)[:, -4:].T:
            self.knots[row, frames] = True
        self._solve()
        return True

    def _peaks(self, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Frames where the estimate peaks beyond `limit`; errors (T, C), offsets (T, W, 3), worst witness (T,)."""
        errors = np.zeros((self.count, len(CHANNELS)), np.float32)
        errors[:, self.moving] = self.errors.reshape(self.rows, -1).T
        off = (errors @ self.gains.displacements).reshape(self.count, -1, 3)
        squared = np.einsum("twk,twk->tw", off, off)
        vertex = squared.argmax(1)
        worst = np.sqrt(squared[np.arange(self.count), vertex])
        around = np.pad(worst, 1)
        frames = np.flatnonzero((worst > limit) & (worst >= around[:-2]) & (worst >= around[2:]))
        return frames, errors, off, vertex

    def channel(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames (K,) of one channel's keys and slopes there."""
        first = int(self.knots[:row].sum())
        at = np.flatnonzero(self.knots[row])
        return at, self.slopes[first : first + len(at)]

    def _solve(self, sweeps: int = 12) -> None:
        """Slopes by least squares and the errors that remain.

        The normal equations couple neighbours only and are diagonally dominant: red-black Gauss-Seidel gains a digit in
        about four sweeps.
        """
        knots = np.flatnonzero(self.knots)
        # Nothing is fitted from one channel's end to the next one's start.
        over = _Segments(self.values, knots, knots[:-1] % self.count != self.count - 1)
        diagonal, right = np.full(len(knots), 1e-9), np.zeros(len(knots))
        diagonal[:-1] += over.summed(over.leaving * over.leaving)
        diagonal[1:] += over.summed(over.arriving * over.arriving)
        coupling = over.summed(over.leaving * over.arriving)
        right[:-1] += over.summed(over.leaving * over.rest)
        right[1:] += over.summed(over.arriving * over.rest)
        weights = ~self.flat.ravel()[knots] / diagonal
        slopes = right * weights
        for _ in range(sweeps):
            for parity in (0, 1):
                total = right.copy()
                total[:-1] -= coupling * slopes[1:]
                total[1:] -= coupling * slopes[:-1]
                slopes[parity::2] = (total * weights)[parity::2]
        self.slopes = slopes
        self.errors[:] = 0
        self.errors[over.frames] = over.errors(slopes)


class _Segments:
    """Hermite's cubics between knots (K,), at every frame (n,) but the last.

    leaving, arriving (n,): what a slope of one at the segment's first and last knot adds; rest (n,): what the values at
    the knots leave over.
    """

    def __init__(self, values: np.ndarray, knots: np.ndarray, real: np.ndarray | None = None) -> None:
        widths = np.diff(knots)
        self.widths, self.starts = widths, knots[:-1] - knots[0]
        self.count = len(widths)
        self.segment = np.repeat(np.arange(self.count), widths)
        self.frames = np.arange(knots[0], knots[-1])
        u = (self.frames - np.repeat(knots[:-1], widths)) * np.repeat(1 / widths, widths)
        start, rise = values[knots[:-1]], np.diff(values[knots])
        square = u * u
        self.rest = (
            values[knots[0] : knots[-1]] - np.repeat(start, widths) - np.repeat(rise, widths) * square * (3 - 2 * u)
        )
        width = np.repeat(widths if real is None else widths * real, widths)
        if real is not None:
            self.rest *= np.repeat(real, widths)
        self.arriving = square * (u - 1) * width
        self.leaving = (u - 2 * square) * width + square * u * width

    def summed(self, weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat(weights, self.starts)

    def errors(self, slopes: np.ndarray) -> np.ndarray:
        return (
            self.rest
            - self.leaving * np.repeat(slopes[:-1], self.widths)
            - self.arriving * np.repeat(slopes[1:], self.widths)
        )
