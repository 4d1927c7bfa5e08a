# SPDX-License-Identifier: GPL-3.0-or-later
"""What a listening camera sees besides the mouth: blinks, head, gaze, brows, breath. All from generators, one a group.

Every group draws from its own stream and is made as a function of time with a continuous derivative, so the same seed
gives the same performance at any frame rate, a longer recording begins like a shorter one, and nothing jerks. Functions
return columns at full strength; perform.py scales and sums them.

Numbers taken from measurements of people (the two studies of blink rates re-read, the others as remembered):
 * blinks: 26 a minute in conversation, 17 at rest, log-normal (Bentivoglio et al. 1997); 10.5 to 32.5 for 95 % of adults in
   conversation (Doughty 2001); the lid falls in about half the time it takes to rise, and rises in a long tail (VanderWerf
   et al. 2003; Trutoiu et al. 2011); blinks gather at breakpoints of speech (Nakano and Kitazawa 2010);
 * gaze: directions, sizes and spans of looking at and away while talking and silent (Lee, Badler and Badler 2002, "Eyes
   Alive"); a saccade of A degrees lasts 21 ms + 2.2 ms A (Bahill, Clark and Stark 1975);
 * brows rise with a part of the pitch accents, starting some 60 ms before them (Flecha-Garcia 2010);
 * the head moves with pitch and loudness (Munhall et al. 2004), more while talking than in pauses (Hadar et al. 1983);
 * breath is drawn in pauses: quickly between phrases, 12 to 18 times a minute at rest.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

RATE = 50
DEGREE = np.pi / 180
SPLIT_SECONDS = 0.25
"""A pause shorter than this is part of the phrase."""


@dataclass(frozen=True)
class Speech:
    """What the liveliness hears, at 50 Hz: talking (T,) 0..1, accent (T,) 0..1 peaks of loudness and melody."""

    talking: np.ndarray
    accent: np.ndarray

    @property
    def seconds(self) -> float:
        return len(self.talking) / RATE

    def accents(self) -> np.ndarray:
        """(n, 2) seconds and strengths 0..1 of the stressed syllables, at least 0.22 s apart."""
        a = self.accent
        peak = np.flatnonzero((a[1:-1] > 0.3) & (a[1:-1] >= a[:-2]) & (a[1:-1] > a[2:])) + 1
        found: list[tuple[float, float]] = []
        for frame in peak:
            if found and frame / RATE - found[-1][0] < 0.22:
                if a[frame] > found[-1][1]:
                    found[-1] = (frame / RATE, float(a[frame]))
            else:
                found.append((frame / RATE, float(a[frame])))
        return np.array(found).reshape(-1, 2)

    def phrases(self) -> list[tuple[float, float]]:
        """Spans of talk in seconds, pauses shorter than SPLIT_SECONDS bridged."""
        edge = np.diff(np.concatenate(([0], (self.talking > 0.5).astype(int), [0])))
        spans: list[tuple[float, float]] = []
        for begin, end in zip(np.flatnonzero(edge > 0) / RATE, np.flatnonzero(edge < 0) / RATE, strict=True):
            if spans and begin - spans[-1][1] < SPLIT_SECONDS:
                spans[-1] = (spans[-1][0], float(end))
            else:
                spans.append((float(begin), float(end)))
        return spans


def hear(rest: np.ndarray, levels: np.ndarray, pitch: np.ndarray | None = None) -> Speech:
    """Speech from the rest state (T,), the level in dB (T,) and, where known, semitones (T,) or nan; all at 50 Hz.

    An accent is what stands out of the last second's loudness and melody; either alone counts for less.
    """
    talking = _blurred(1 - np.clip(rest, 0, 1), 0.1)
    spoken = np.where(rest < 0.5, levels, np.minimum(levels, -45.0))
    quick, slow = _blurred(np.maximum(spoken, -50), 0.06), _blurred(np.maximum(spoken, -50), 0.7)
    accent = np.clip((quick - slow - 2) / 7, 0, 1)
    if pitch is not None and np.isfinite(pitch).sum() > 10:
        known = np.flatnonzero(np.isfinite(pitch))
        melody = np.interp(np.arange(len(pitch)), known, pitch[known])
        rise = np.clip((_blurred(melody, 0.05) - _blurred(melody, 0.8) - 0.3) / 4, 0, 1)
        near = _blurred(np.isfinite(pitch).astype(np.float32), 0.06)
        accent = np.clip(0.65 * accent + 0.6 * rise * np.clip(2 * near, 0, 1), 0, 1)
    return Speech(talking, (accent * talking).astype(np.float32))


def _blurred(x: np.ndarray, seconds: float) -> np.ndarray:
    sigma = seconds * RATE
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(x, reach, "edge"), kernel / kernel.sum(), "valid").astype(np.float32)


def at_times(times: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """A curve at 50 Hz at any times, by cubics whose slopes agree where they meet (Catmull and Rom); ends are held."""
    position = np.clip(times * RATE, 0, len(curve) - 1)
    k = np.minimum(position.astype(int), max(len(curve) - 2, 0))
    u = position - k
    padded = np.pad(curve, (1, 2), "edge").astype(np.float64)
    a, b, c, d = (padded[k + i] for i in range(4))
    out = b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))
    return out.astype(np.float32)


def ease(x: np.ndarray) -> np.ndarray:
    """0 to 1 with no velocity and no acceleration at either end: the minimum-jerk path (Flash and Hogan 1985)."""
    x = np.clip(x, 0, 1)
    return x * x * x * (10 + x * (6 * x - 15))


def _near(times: np.ndarray, begin: float, end: float) -> slice:
    return slice(*np.searchsorted(times, (begin - 0.01, end + 0.01)))


def drift(rng: np.random.Generator, frames: int, seconds: float) -> np.ndarray:
    """(frames,) smooth wandering of about unit variance that turns every `seconds`."""
    sigma = seconds * RATE / 2
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    white = rng.normal(size=frames + 2 * reach)
    return np.convolve(white, kernel / np.sqrt(np.square(kernel).sum()), "valid").astype(np.float32)


def blink_times(speech: Speech, rng: np.random.Generator, rate: float | np.ndarray) -> np.ndarray:
    """(n, 7) blinks: start, closing, closed and opening seconds, depth; the second eye's delay in seconds and lack of depth.

    `rate` is their number per minute, one or one for each frame at 50 Hz. The sign of the delay says which eye is second:
    positive the right one.
    """
    doubled, spread = 0.12, 0.55
    events = np.concatenate(([0], np.cumsum(np.broadcast_to(rate, len(speech.talking)) / (60 * RATE * (1 + doubled)))))
    clock = np.arange(len(events)) / RATE
    ends = np.array([end for _, end in speech.phrases()])
    blinks: list[tuple[float, ...]] = []
    at = rng.uniform(0.2, 0.9)  # in mean intervals, so that a rate that changes only stretches time
    while at < events[-1]:
        start = float(np.interp(at, events, clock))
        waits = ends[(ends > start - 0.8) & (ends < start + 1.0)]
        after, wait = rng.uniform(-0.1, 0.15), rng.random() < 0.75
        start = float(waits[0]) + after if len(waits) and wait else start
        start = max(start, blinks[-1][0] + 0.5) if blinks else max(start, 0.05)
        shape = (rng.uniform(0.07, 0.1), rng.uniform(0.02, 0.045), rng.uniform(0.17, 0.26))
        sides = (rng.uniform(-0.008, 0.008), rng.uniform(0, 0.04))
        depth, again = rng.uniform(0.95, 1.0), rng.uniform(0.05, 0.2)
        blinks.append((start, *shape, depth, *sides))
        if rng.random() < doubled:
            blinks.append((start + sum(shape) + again, *shape, depth - 0.04, *sides))
        at += rng.lognormal(-(spread**2) / 2, spread)
    return np.array(blinks).reshape(-1, 7)


def blinks(
    times: np.ndarray, speech: Speech, rng: np.random.Generator, rate: float | np.ndarray
) -> dict[str, np.ndarray]:
    """eyeBlink of both eyes: a quick fall and a rise with a long tail; the second eye is up to 8 ms late, a little less shut."""
    columns = {name: np.zeros(len(times), np.float32) for name in ("eyeBlinkLeft", "eyeBlinkRight")}
    for start, closing, closed, opening, depth, late, less in blink_times(speech, rng, rate):
        near = _near(times, start, start + closing + closed + opening)
        for name, second in (("eyeBlinkLeft", late < 0), ("eyeBlinkRight", late >= 0)):
            t = times[near] - start - (abs(late) if second else 0)
            rise = ease(np.clip((t - closing - closed) / opening, 0, 1) ** 0.6)
            shape = ease(t / closing) * (1 - rise)
            columns[name][near] = np.maximum(columns[name][near], shape * (depth - (less if second else 0)))
    return columns


def sway(times: np.ndarray, speech: Speech, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The head's slow wandering, livelier while talking, and a new posture at the beginning of some phrases."""
    frames = len(speech.talking) + 2
    wander, shift = rng.spawn(2)
    streams = wander.spawn(6)
    lively = np.pad(_blurred(0.6 + 0.4 * speech.talking, 0.3), (0, 2), "edge")
    sizes = {"headPitch": (1.3, 1.8), "headYaw": (1.5, 2.4), "headRoll": (1.0, 1.8)}  # degrees: wandering, postures
    columns = {}
    for i, (name, (degrees, _)) in enumerate(sizes.items()):
        curve = lively * (drift(streams[2 * i], frames, 1.6) + 0.4 * drift(streams[2 * i + 1], frames, 0.6)) * degrees
        columns[name] = at_times(times, curve * DEGREE)
    moving, arrived = np.zeros((len(times), 3)), np.zeros((len(times) + 1, 3))
    here, last = np.zeros(3), -9.0
    for begin, _ in speech.phrases():
        there = 0.3 * here + shift.normal(0, [size for _, size in sizes.values()])
        lead, lasting, chosen = shift.uniform(0.1, 0.35), shift.uniform(0.55, 1.1), shift.random() < 0.7
        if not chosen or begin - last < 1.2:
            continue
        near = slice(*np.searchsorted(times, (begin - lead, begin - lead + lasting)))
        change = (there - here) * DEGREE
        moving[near] += ease((times[near] - begin + lead) / lasting)[:, None] * change
        arrived[near.stop] += change
        here, last = there, begin
    posture = moving + arrived[:-1].cumsum(0)
    return {name: column + posture[:, i].astype(np.float32) for i, (name, column) in enumerate(columns.items())}


def nods(times: np.ndarray, speech: Speech, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Nods down into stressed syllables, the deeper the stronger the stress, some turned a little aside."""
    pitch, yaw = np.zeros(len(times), np.float32), np.zeros(len(times), np.float32)
    last = -9.0
    for when, strength in speech.accents():
        chosen = rng.random() < 0.25 + 0.5 * strength
        down, stay, back = rng.uniform(0.16, 0.26), rng.uniform(0, 0.06), rng.uniform(0.3, 0.5)
        degrees = min((0.9 + 2.3 * strength) * rng.lognormal(0, 0.3), 4.0)
        aside, peak = rng.normal(0, 0.25), when + rng.normal(0, 0.03)
        if not chosen or when - last < 0.35:
            continue
        last = when
        near = _near(times, peak - down, peak + stay + back)
        t = times[near] - peak
        shape = ease((t + down) / down) * (1 - ease((t - stay) / back)) * degrees * DEGREE
        pitch[near] += shape
        yaw[near] += shape * aside
    return {"headPitch": pitch, "headYaw": yaw}


def breaths(speech: Speech, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) knots of how full the lungs are: seconds and 0..1. In between the breath eases from knot to knot."""
    knots = [(0.0, 0.5)]
    spans = [*speech.phrases(), (speech.seconds + 4, speech.seconds + 5)]

    def quiet(until: float) -> None:
        while True:
            rise, fall = rng.uniform(1.1, 1.7), rng.uniform(1.8, 2.8)
            top, bottom = rng.uniform(0.5, 0.65), rng.uniform(0.15, 0.25)
            at = knots[-1][0]
            if at + rise + fall > until:
                return
            knots.extend([(at + rise, top), (at + rise + fall, bottom)])

    for begin, end in spans:
        draw, full = rng.uniform(0.35, 0.65), rng.uniform(0.75, 1.0)
        quiet(begin - draw - 0.1)
        last, volume = knots[-1]
        draw = min(draw, 0.85 * (begin - last))
        if draw > 0.15:
            if begin - draw - last > 0.3:
                knots.append((begin - draw, volume))
            knots.append((begin, max(full, volume)))
        knots.append((max(end, knots[-1][0] + 0.1), max(0.1, knots[-1][1] - 0.2 * (end - begin))))
    return np.array(knots)


def breathing(times: np.ndarray, speech: Speech, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A drawn breath lifts chest and chin by a fraction of a degree; talking lets them sink again."""
    volume = np.zeros(len(times), np.float32)
    for (begin, low), (end, high) in pairwise(breaths(speech, rng)):
        inside = slice(*np.searchsorted(times, (begin, end)))
        volume[inside] = low + (high - low) * ease((times[inside] - begin) / (end - begin))
    return {"neckPitch": -0.6 * DEGREE * (volume - 0.4), "headPitch": -0.5 * DEGREE * (volume - 0.4)}


LOOKS = np.array([15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.80])
"""Per cent of looks away to 0, 45, 90 ... degrees, counter-clockwise as seen from the front (Lee et al. 2002, table 1)."""


def fixations(speech: Speech, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) where the eyes rest: seconds at which the jump there begins, pitch and yaw in radians."""
    found, at = [(0.0, 0.0, 0.0)], 0.0
    chances = LOOKS / LOOKS.sum()
    while at < speech.seconds + 1:
        talking = speech.talking[min(int(at * RATE), len(speech.talking) - 1)] > 0.5
        at_you = rng.lognormal(np.log(2.0 if talking else 5.0), 0.6)
        away = np.clip(rng.lognormal(np.log(0.9 if talking else 0.45), 0.5), 0.25, 2.5)
        side = rng.choice(8, p=chances) * np.pi / 4 + rng.uniform(-0.3, 0.3)
        size = np.clip(rng.exponential(6.9), 2.0, 13.0) * (1.0 if talking else 0.8)
        small = rng.spawn(1)[0]
        until = at + at_you
        at += small.lognormal(-0.3, 0.5)
        while at < until - 0.12:
            found.append((at, *small.normal(0, (0.45, 0.8)) * DEGREE))
            at += 0.25 + small.lognormal(-0.4, 0.6)
        found.append((until, -0.7 * size * np.sin(side) * DEGREE, size * np.cos(side) * DEGREE))
        if away > 0.9:
            part = until + 0.5 * away
            found.append((part, *(np.array(found[-1][1:]) + small.normal(0, 1.2, 2) * DEGREE)))
        at = until + away
        found.append((at, *small.normal(0, (0.4, 0.7)) * DEGREE))
        at += 0.2
    return np.array(found)


def gaze(times: np.ndarray, speech: Speech, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """gazePitch and gazeYaw: fixations on the camera and away from it, joined by saccades. The lids follow (head.py)."""
    pitch, yaw = np.zeros(len(times), np.float32), np.zeros(len(times), np.float32)
    resting = fixations(speech, rng)
    for (_, *here), (begin, *there), end in zip(resting, resting[1:], [*resting[2:, 0], np.inf], strict=False):
        jump = 0.021 + 0.0022 * np.hypot(there[0] - here[0], there[1] - here[1]) / DEGREE
        inside = slice(*np.searchsorted(times, (begin, end)))
        part = ease((times[inside] - begin) / jump).astype(np.float32)
        pitch[inside] = here[0] + part * (there[0] - here[0])
        yaw[inside] = here[1] + part * (there[1] - here[1])
    return {"gazePitch": pitch, "gazeYaw": yaw}


def brows(times: np.ndarray, speech: Speech, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Brows that rise with some of the accents and knit at a few, a different height each time; eyes widen with them."""
    rise, knit = np.zeros(len(times), np.float32), np.zeros(len(times), np.float32)
    tilt, last = rng.uniform(-0.15, 0.15), -9.0
    tension = np.maximum(0.03 + 0.03 * drift(rng.spawn(1)[0], len(speech.talking) + 2, 1.5), 0)
    tension = at_times(times, _blurred(tension * np.pad(speech.talking, (0, 2), "edge"), 0.15))
    for when, strength in speech.accents():
        chosen, which = rng.random() < 0.15 + 0.4 * strength, rng.random()
        height = min(0.16 * rng.lognormal(0, 0.4) * (0.7 + 0.6 * strength), 0.38)
        up, stay, down = rng.uniform(0.12, 0.24), min(0.12 * rng.lognormal(0, 0.8), 0.9), rng.uniform(0.3, 0.7)
        start = when - 0.09 + rng.normal(0, 0.04)
        if not chosen or when - last < 1.0:
            continue
        last = when
        near = _near(times, start, start + up + stay + down)
        t = times[near] - start
        shape = height * ease(t / up) * (1 - ease((t - up - stay) / down))
        target = rise if which < 0.82 else knit
        target[near] = np.maximum(target[near], shape)
    return {
        "browInnerUp": rise + tension, "browOuterUpLeft": rise * (0.6 + tilt), "browOuterUpRight": rise * (0.6 - tilt),
        "browDownLeft": 0.7 * knit * (1 + tilt), "browDownRight": 0.7 * knit * (1 - tilt),
        "eyeWideLeft": 0.25 * rise, "eyeWideRight": 0.25 * rise,
    }  # fmt: skip
