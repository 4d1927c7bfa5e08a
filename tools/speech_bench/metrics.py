# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark measures, as plain functions of arrays; tests/test_speech_metrics.py knows the truth of each.

A mouth is measured on the built-in head's mesh, not on channels: `gaps` (T,) millimetres between the inner lips, the
widest of the middle and half way to both corners (0 or less: they touch), and `lips` (T, L, 3) millimetres, the vertices
of both lips. Phones are (symbol, begin, end) in seconds, "_" is silence, symbols as in tools/speech/articulation.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...core.head.head import Head, Identity, identity, pose_vertices
from ...core.head.motion import INDEX, Motion
from ..speech.articulation import SEALED, VOWELS, Phones, simple_phones

PAIRS = tuple((f"lip_upper_{side}", f"lip_lower_{side}") for side in ("middle", "left", "right"))
SHUT = 0.1
"""Lips count as shut where the gap is below this part of the clip's 95th percentile."""
REACH = 0.04
"""Seconds around a p, b, m within which the lips must shut."""
FAR = 0.12
"""Seconds from a closure beyond which a shut mouth is not that closure's."""
RELEASE = {"p": 0.6, "b": 0.85, "m": 0.95}
"""Part of the phone after which the lips part: the rest is burst and aspiration."""
PAUSE = 0.5
"""Seconds of silence from which on it is a pause."""
SETTLING = (0.2, 0.18)
"""Seconds after speech ends and before it begins that are not counted as pause: the mouth may close and prepare."""


# ---- the mouth of a motion


def mouth_only(head: Head) -> Identity:
    """The average person of the head cut down to the vertices that are measured: the same numbers in a tenth of the time."""
    lips = np.flatnonzero(head.masks["lips"] > 0.5)
    marks = [head.landmarks[name] for pair in PAIRS for name in pair]
    keep = np.unique(np.concatenate([lips, marks]))
    at = {int(vertex): k for k, vertex in enumerate(keep)}
    part = replace(
        head, template=head.template[keep], shapedirs=head.shapedirs[:, keep], units=head.units[:, keep], posedirs=head.posedirs[:, keep],
        weights=head.weights[keep], masks={"lips": head.masks["lips"][keep]}, lids=(),
        landmarks={name: at[head.landmarks[name]] for pair in PAIRS for name in pair},
    )  # fmt: skip
    return replace(identity(part), blink_gains=(1.0, 1.0))  # without lids there is nothing to match blinks to


def mouth(person: Identity, values: np.ndarray, chunk: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """gaps (T,) and lips (T, L, 3), float32 millimetres, of channel values (T, 65); a whole person or one by mouth_only."""
    marks = person.head.landmarks
    index = np.flatnonzero(person.head.masks["lips"] > 0.5)
    gaps, lips = [], []
    for start in range(0, len(values), chunk):
        vertices = pose_vertices(person, values[start : start + chunk])
        gaps.append(np.max([vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in PAIRS], axis=0))
        lips.append(vertices[:, index])
    return 1e3 * np.concatenate(gaps), 1e3 * np.concatenate(lips)


def moved(curves: np.ndarray, frames: int) -> np.ndarray:
    """The same curves (T, ...) that many frames later (earlier if negative), ends held."""
    return curves[np.clip(np.arange(len(curves)) - frames, 0, len(curves) - 1)]


# ---- closures


@dataclass(frozen=True)
class Closures:
    """Counts over p b m and over vowels; rates are not a number where there was nothing to count.

    closed of closures found; false: vowels of at least 40 ms whose whole middle half is shut; touched: vowels with any
    frame of the middle half shut (stricter on us, and on the labels).
    """

    closed: int = 0
    closures: int = 0
    false: int = 0
    touched: int = 0
    vowels: int = 0

    def __add__(self, other: "Closures") -> "Closures":
        return Closures(
            *(getattr(self, n) + getattr(other, n) for n in ("closed", "closures", "false", "touched", "vowels"))
        )

    @property
    def recall(self) -> float:
        return self.closed / self.closures if self.closures else float("nan")

    @property
    def false_rate(self) -> float:
        return self.false / self.vowels if self.vowels else float("nan")

    @property
    def touched_rate(self) -> float:
        return self.touched / self.vowels if self.vowels else float("nan")


def shut_limit(gaps: np.ndarray) -> float:
    return float(SHUT * np.percentile(gaps, 95))


def frames_within(begin: float, end: float, fps: float, frames: int) -> slice:
    """The frames at times in [begin, end]."""
    return slice(max(0, int(np.ceil(begin * fps - 1e-9))), max(0, min(frames, int(np.floor(end * fps + 1e-9)) + 1)))


def count_closures(gaps: np.ndarray, fps: float, phones: Phones) -> Closures:
    limit, total = shut_limit(gaps), Closures()
    for symbol, begin, end in simple_phones(phones):
        if symbol in SEALED:
            near = gaps[frames_within(begin - REACH, end + REACH, fps, len(gaps))]
            if len(near):
                total += Closures(closed=int(near.min() < limit), closures=1)
        elif symbol in VOWELS and end - begin >= 0.04:
            quarter = (end - begin) / 4
            inside = gaps[frames_within(begin + quarter, end - quarter, fps, len(gaps))]
            if len(inside):
                total += Closures(false=int(inside.max() < limit), touched=int(inside.min() < limit), vowels=1)
    return total


def shut_intervals(gaps: np.ndarray, fps: float) -> list[tuple[float, float]]:
    """(begin, end) seconds of the stretches with shut lips, crossings placed between frames by linear interpolation."""
    limit = shut_limit(gaps)
    shut = gaps < limit
    out = []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shut, [False]]).astype(int)))
    for first, after in edges.reshape(-1, 2):
        begin = float(first)
        if first > 0:
            begin = first - (limit - gaps[first]) / max(gaps[first - 1] - gaps[first], 1e-9)
        end = float(after - 1)
        if after < len(gaps):
            end = after - 1 + (limit - gaps[after - 1]) / max(gaps[after] - gaps[after - 1], 1e-9)
        out.append((begin / fps, end / fps))
    return out


def closure_lags(gaps: np.ndarray, fps: float, phones: Phones) -> tuple[list[float], list[float]]:
    """Seconds by which the lips shut late for p b m, and part late after them; early is negative.

    The truth is the sound's: shut where the phone begins, parted at its release. A neighbour that is silence hides its
    side, and a closure that was missed has no lag (recall counts it).
    """
    merged: list[tuple[str, float, float]] = []
    for phone in simple_phones(phones):
        if merged and phone[0] in SEALED and merged[-1][0][-1] in SEALED:  # "m b" is one closure, released as b
            merged[-1] = (merged[-1][0] + phone[0], merged[-1][1], phone[2])
        else:
            merged.append(phone)
    closing, parting = [], []
    intervals = shut_intervals(gaps, fps)
    for k, (symbol, begin, end) in enumerate(merged):
        if symbol[-1] not in SEALED:
            continue
        last = end - begin if len(symbol) == 1 else (end - begin) / len(symbol)
        release = end - (1 - RELEASE[symbol[-1]]) * last
        overlaps = [(min(e, release + FAR) - max(b, begin - FAR), b, e) for b, e in intervals]
        near = [o for o in overlaps if o[0] > 0 and o[1] < release + REACH and o[2] > begin - REACH]
        if not near:
            continue
        _, shut, parted = max(near)
        if k > 0 and merged[k - 1][0] != "_":
            closing.append(shut - begin)
        if k + 1 < len(merged) and merged[k + 1][0] != "_":
            parting.append(parted - release)
    return closing, parting


# ---- against a capture


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 0 where one of both does not move."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def lip_error(lips: np.ndarray, truth: np.ndarray) -> float:
    """Lip vertex error in millimetres: mean over frames of the largest distance of a lip vertex from its truth.

    Not squared (CodeTalker's cal_metric squares it).
    """
    return float(np.sqrt(np.square(lips - truth).sum(-1)).max(-1).mean())


def variance_ratios(values: np.ndarray, truth: np.ndarray, groups: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Per group of channels: the sum of the variances over time, over that of the capture. values, truth (T, 65)."""
    out = {}
    for group, names in groups.items():
        columns = [INDEX[name] for name in names]
        out[group] = float(values[:, columns].var(0).sum() / max(truth[:, columns].var(0).sum(), 1e-12))
    return out


def jerk(lips: np.ndarray, fps: float) -> float:
    """Mean size of the third derivative of the lip vertices, mm / s^3. Compare at one frame rate only."""
    return float(np.sqrt(np.square(np.diff(lips, 3, axis=0)).sum(-1)).mean() * fps**3)


# ---- stillness and life


def pauses(phones: Phones, seconds: float) -> Iterator[tuple[float, float]]:
    """The parts of pauses in which a mouth should be still: silences of PAUSE and more without SETTLING at speech."""
    sounding = [p for p in phones if p[0] != "_"]
    edges = [(-SETTLING[0], 0.0), *((b, e) for _, b, e in sounding), (seconds, seconds + SETTLING[1])]
    for (_, end), (begin, _) in pairwise(edges):
        lead = end <= 0.0
        if begin - end >= PAUSE:
            yield (end if lead else end + SETTLING[0]), (begin if begin >= seconds else begin - SETTLING[1])


def lip_speeds(lips: np.ndarray, fps: float, phones: Phones) -> tuple[np.ndarray, np.ndarray]:
    """Mean speed of the lip vertices, mm / s, at the frames of pauses and at those of speech."""
    speed = np.sqrt(np.square(np.diff(lips, axis=0)).sum(-1)).mean(-1) * fps
    sounding = [p for p in phones if p[0] != "_"]
    quiet = [speed[frames_within(b, e, fps, len(speed))] for b, e in pauses(phones, len(lips) / fps)]
    loud = [speed[frames_within(b, e, fps, len(speed))] for _, b, e in sounding]
    empty = [np.zeros(0)]
    return np.concatenate(quiet or empty), np.concatenate(loud or empty)


def blinks_per_minute(motion: Motion) -> float:
    """Closings of either eye past one half, a minute; both eyes together are one."""
    lids = np.maximum(motion.column("eyeBlinkLeft"), motion.column("eyeBlinkRight")) > 0.5
    return float(((~lids[:-1]) & lids[1:]).sum() / motion.seconds * 60)


def best_lag(score: Callable[[int], float], reach: int) -> int:
    """The lag in frames, of -reach to reach, with the largest score; of equals the smallest."""
    return max(range(-reach, reach + 1), key=lambda k: (score(k), -abs(k)))
