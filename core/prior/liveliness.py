# SPDX-License-Identifier: GPL-3.0-or-later
"""What a listening camera sees besides the mouth: blinks, the head, the gaze, the brows. All from a generator.

Every group draws from its own stream and is made as a function of time, so the same seed gives the same performance at
any frame rate and a longer recording begins like a shorter one. Numbers: blinks close in 70 to 100 ms and open in 150 to
210 ms, 10 to 25 a minute while talking, at log-normal intervals, some doubled, some waiting for the end of a phrase; gaze
jumps in 30 to 50 ms between fixations of about a second and the eyes turn against the head to keep what they look at.
"""

from dataclasses import dataclass

import numpy as np

RATE = 50
DEGREE = np.pi / 180


@dataclass(frozen=True)
class Speech:
    """What the liveliness hears, at 50 Hz: talking (T,) 0..1, accent (T,) 0..1 peaks of loudness."""

    talking: np.ndarray
    accent: np.ndarray

    @property
    def seconds(self) -> float:
        return len(self.talking) / RATE


def hear(rest: np.ndarray, levels: np.ndarray) -> Speech:
    """Speech from the rest state (T,) and the level in dB (T,), both at 50 Hz."""
    talking = _blurred(1 - np.clip(rest, 0, 1), 0.25)
    spoken = np.where(rest < 0.5, levels, np.minimum(levels, -45.0))
    quick, slow = _blurred(np.maximum(spoken, -50), 0.06), _blurred(np.maximum(spoken, -50), 0.7)
    return Speech(talking, np.clip((quick - slow - 2) / 7, 0, 1) * talking)


def _blurred(x: np.ndarray, seconds: float) -> np.ndarray:
    sigma = seconds * RATE
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(x, reach, "edge"), kernel / kernel.sum(), "valid").astype(np.float32)


def _at(times: np.ndarray, curve: np.ndarray) -> np.ndarray:
    return np.interp(times * RATE, np.arange(len(curve)), curve).astype(np.float32)


def _ease(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _drift(rng: np.random.Generator, frames: int, seconds: float) -> np.ndarray:
    """(frames,) smooth wandering of about unit variance that turns every `seconds`."""
    sigma = seconds * RATE / 2
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    white = rng.normal(size=frames + 2 * reach)
    return np.convolve(white, kernel / np.sqrt(np.square(kernel).sum()), "valid").astype(np.float32)


def blink_times(speech: Speech, rng: np.random.Generator, rate: float) -> np.ndarray:
    """(n, 7) blinks: start, closing, closed and opening seconds, depth; the second eye's delay in seconds and lack of depth.

    `rate` is their number per minute. The sign of the delay says which eye is second: positive the right one.
    """
    blinks: list[tuple[float, ...]] = []
    if rate <= 0:
        return np.zeros((0, 7))
    ends = np.flatnonzero((speech.talking[:-1] > 0.5) & (speech.talking[1:] <= 0.5)) / RATE
    doubled, spread = 0.12, 0.55
    mean = 60 / rate * (1 + doubled)
    at = mean * rng.uniform(0.2, 0.9)
    while at < speech.seconds:
        waits = ends[(ends > at - 0.3) & (ends < at + 0.7)]
        start = float(waits[0]) + rng.uniform(-0.05, 0.15) if len(waits) and rng.random() < 0.7 else at
        start = max(start, blinks[-1][0] + 0.5) if blinks else max(start, 0.05)
        shape = (rng.uniform(0.07, 0.1), rng.uniform(0.04, 0.06), rng.uniform(0.15, 0.21))
        sides = (rng.uniform(-0.008, 0.008), rng.uniform(0, 0.04))
        blinks.append((start, *shape, rng.uniform(0.93, 1.0), *sides))
        if rng.random() < doubled:
            blinks.append((start + sum(shape) + rng.uniform(0.05, 0.2), *shape, rng.uniform(0.9, 1.0), *sides))
        at += mean * rng.lognormal(-(spread**2) / 2, spread)
    return np.array(blinks)


def blinks(times: np.ndarray, speech: Speech, rng: np.random.Generator, rate: float) -> dict[str, np.ndarray]:
    """eyeBlink of both eyes; the second eye follows within 8 ms and closes a little less."""
    columns = {name: np.zeros(len(times), np.float32) for name in ("eyeBlinkLeft", "eyeBlinkRight")}
    for start, closing, closed, opening, depth, late, less in blink_times(speech, rng, rate):
        near = slice(*np.searchsorted(times, (start - 0.05, start + closing + closed + opening + 0.05)))
        for name, second in (("eyeBlinkLeft", late < 0), ("eyeBlinkRight", late >= 0)):
            t = times[near] - start - (abs(late) if second else 0)
            shape = _ease(t / closing) * (1 - _ease((t - closing - closed) / opening)) ** 1.2
            columns[name][near] = np.maximum(columns[name][near], shape * (depth - (less if second else 0)))
    return columns


def head(times: np.ndarray, speech: Speech, rng: np.random.Generator, amount: float) -> dict[str, np.ndarray]:
    """Head rotations: slow wandering, livelier while talking, and small nods on loud syllables."""
    frames = len(speech.talking)
    streams = rng.spawn(7)
    lively = 0.45 + 0.55 * speech.talking
    accent = _blurred(speech.accent, 0.1)
    sizes = {"headPitch": 1.1, "headYaw": 1.7, "headRoll": 0.9}
    columns = {}
    for i, (name, degrees) in enumerate(sizes.items()):
        curve = (
            lively * (_drift(streams[2 * i], frames, 1.6) + 0.45 * _drift(streams[2 * i + 1], frames, 0.6)) * degrees
        )
        if name == "headPitch":
            curve = curve + 1.8 * accent * np.clip(0.6 + 0.4 * _drift(streams[6], frames, 1.0), 0, 1.4) - 0.6
        columns[name] = _at(times, curve * DEGREE * amount)
    columns["neckYaw"] = 0.25 * columns["headYaw"]
    columns["neckRoll"] = 0.2 * columns["headRoll"]
    return columns


def gaze(
    times: np.ndarray, speech: Speech, rng: np.random.Generator, amount: float, turned: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """gazePitch and gazeYaw: fixations around the camera joined by saccades, against the head's rotation."""
    pitch, yaw = np.zeros(len(times), np.float32), np.zeros(len(times), np.float32)
    at, here = 0.0, np.zeros(2)
    while at < speech.seconds + 1:
        away = rng.random() < 0.35
        there = rng.normal(0, (2.2, 5.0) if away else (0.5, 0.9)) * DEGREE
        lasting = 0.25 + rng.lognormal(-0.5 if away else 0.1, 0.5)
        jump = 0.03 + 0.002 * np.linalg.norm(there - here) / DEGREE
        begin, end = np.searchsorted(times, (at, at + lasting + 0.1))
        part = _ease((times[begin:end] - at) / jump)
        pitch[begin:end] = here[0] + part * (there[0] - here[0])
        yaw[begin:end] = here[1] + part * (there[1] - here[1])
        at, here = at + lasting, there
    columns = {"gazePitch": pitch * amount, "gazeYaw": yaw * amount}
    for axis in ("Pitch", "Yaw"):
        for joint in ("head", "neck"):
            if joint + axis in turned:
                columns["gaze" + axis] = columns["gaze" + axis] - 0.85 * min(amount, 1) * turned[joint + axis]
    return columns


def brows(times: np.ndarray, speech: Speech, rng: np.random.Generator, amount: float) -> dict[str, np.ndarray]:
    """Brows that rise with some of the accents, a different height each time."""
    rise = np.zeros(len(speech.accent), np.float32)
    peak = (
        np.flatnonzero(
            (speech.accent[1:-1] > 0.45)
            & (speech.accent[1:-1] >= speech.accent[:-2])
            & (speech.accent[1:-1] > speech.accent[2:])
        )
        + 1
    )
    t, last = np.arange(len(rise)) / RATE, -9.0
    for frame in peak:
        chosen, height, lead = rng.random() < 0.5, rng.uniform(0.12, 0.34), rng.uniform(0.02, 0.12)
        when = frame / RATE - lead
        if not chosen or when - last < 0.9:
            continue
        last = when
        near = slice(max(0, frame - 25), frame + 60)
        shape = _ease((t[near] - when + 0.16) / 0.16) * (1 - _ease((t[near] - when - 0.1) / 0.45))
        rise[near] = np.maximum(rise[near], height * shape)
    inner = _at(times, rise * amount)
    tilt = rng.uniform(-0.15, 0.15)
    return {"browInnerUp": inner, "browOuterUpLeft": inner * (0.6 + tilt), "browOuterUpRight": inner * (0.6 - tilt)}
