# SPDX-License-Identifier: GPL-3.0-or-later
"""What the speech networks answer with, and how that becomes channels of a Motion.

They speak of a symmetric mouth (nothing it learned from tells left from right) and of three states: `seal`, the
lips are shut as in p b m; `bite`, the lower lip touches the upper teeth as in f v; `rest`, nobody speaks. The states are
what makes a mouth readable, so they are not averaged into the channels but enforced on them at the very end, after
smoothing and resampling: on the built-in head mouthClose = jawOpen keeps the lips together at any jaw. The networks give
probabilities; `decided` makes of them shut lips with quick flanks, so that a vowel of 50 ms between two p still opens.
"""

import numpy as np

from ..head.motion import ARKIT, CHANNELS, INDEX

MOUTH = (
    "jawOpen", "jawForward", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthFrown", "mouthStretch", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPress", "mouthLowerDown", "mouthUpperUp", "noseSneer", "cheekPuff", "tongueOut",
)  # fmt: skip
STATES = ("seal", "bite", "rest")
OUTPUTS = MOUTH + STATES
RATE = 100
"""Frames per second of curves: the states are decided every 10 ms."""
NETWORK_RATE = 50
"""Frames per second of the encoder's features and of the channels before they are drawn finer."""

DECISION = {"seal": (0.6, 0.8), "bite": (0.3, 0.6), "rest": (0.02, 0.15)}
"""From where to where a state's probability passes from not at all to wholly; of seal and bite, beside its peak nearby."""
LEAST = {"seal": 0.05, "bite": 0.15}
"""A peak lower than this is none. In noise the network is never sure, but its peaks still stand where the lips shut."""
CLEAR_LEAST = 0.25
"""What LEAST of the seal is where the sound is clear. On clear validation speech 490 of 491 p b m had a higher peak, and of t, d, k, n
and l in a language never heard 5 of 552 did, where 37 passed 0.05 (core/data/speech.md)."""
CLEAR = (12.0, 20.0)
"""dB between the loudest and the quietest of CLEAR_REACH frames at NETWORK_RATE to both sides: noise to clear speech (5 dB of noise: 4 to 12)."""
CLEAR_REACH = 10
PEAK_REACH = 7
FLANKS = {"seal": (0.08, 0.07), "bite": (0.09, 0.08), "rest": (0.02, 0.15)}
"""Seconds in which the lips come to a state before it begins and leave it after it ends."""

STYLE_NUMBERS = 5 * len(MOUTH)

_LIPS_PARTING = ("mouthFunnel", "mouthLowerDown", "mouthUpperUp", "mouthShrugUpper", "noseSneer", "tongueOut")
_CEILING = {"tongueOut": 0.5, "cheekPuff": 0.3, "noseSneer": 0.4, "mouthFrown": 0.5}


def sides(name: str) -> tuple[str, ...]:
    """The ARKit channels a symmetric mouth channel drives: itself, or its left and right."""
    return (name,) if name in ARKIT else (name + "Left", name + "Right")


def smoothed(curves: np.ndarray, seconds: float) -> np.ndarray:
    """(T, n) at RATE after a Gaussian of that standard deviation; no delay, ends held."""
    sigma = seconds * RATE
    if sigma < 0.2:
        return curves
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(curves, ((reach, reach), (0, 0)), "edge")
    out = np.zeros_like(curves)
    for offset, weight in enumerate(kernel / kernel.sum()):
        out += np.float32(weight) * padded[offset : offset + len(curves)]
    return out


def finer(curves: np.ndarray) -> np.ndarray:
    """(T, n) at NETWORK_RATE -> (2T, n) at RATE, linear; the last frame is held."""
    out = np.repeat(curves, 2, 0)
    out[1:-1:2] = (curves[:-1] + curves[1:]) / 2
    return out


def clearness(levels: np.ndarray) -> np.ndarray:
    """(F + 2 * CLEAR_REACH,) levels in dB at NETWORK_RATE -> (2F,) at RATE: 0 where noise fills the pauses, 1 where the sound is clear."""
    near = np.lib.stride_tricks.sliding_window_view(np.maximum(levels, -60), 2 * CLEAR_REACH + 1)
    return np.repeat(eased(near.max(1) - near.min(1), *CLEAR), 2).astype(np.float32)


def decided(states: np.ndarray, clear: np.ndarray | float = 0.0) -> np.ndarray:
    """(T, 3) probabilities at RATE -> (T, 3) how far the lips are in each state: 1 where it is likely, flanks around.

    clear: (T,) of `clearness`; the clearer, the likelier a seal has to be. What a frame becomes depends on no more than REACH frames to each side. Flanks fall off quadratically: lips that part are
    apart at once and take their time for the rest of the way, so that short vowels open without haste.
    """
    out = np.empty_like(states)
    for column, name in enumerate(STATES):
        chance = states[:, column]
        if name in LEAST:
            peak = _largest_near(chance, PEAK_REACH)
            least = LEAST[name] + (CLEAR_LEAST - LEAST[name]) * clear if name == "seal" else LEAST[name]
            chance = np.where(peak >= least, chance / np.maximum(peak, 1e-6), 0)
        sure = eased(chance, *DECISION[name])
        before, after = (round(seconds * RATE) for seconds in FLANKS[name])
        found = sure.copy()
        for k in range(1, before):
            found[:-k] = np.maximum(found[:-k], sure[k:] * (1 - k / before) ** 2)
        for k in range(1, after):
            found[k:] = np.maximum(found[k:], sure[:-k] * (1 - k / after) ** 2)
        out[:, column] = found
    return out


REACH = round(max(max(flanks) for flanks in FLANKS.values()) * RATE) + PEAK_REACH
"""Frames at RATE to each side on which a decided frame depends, besides clearness."""


def _largest_near(x: np.ndarray, reach: int) -> np.ndarray:
    """(T,) the largest of the 2 * reach + 1 numbers around each."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, "edge"), 2 * reach + 1).max(1)


def style_numbers(curves: np.ndarray, rate: float, present: np.ndarray | None = None) -> np.ndarray:
    """(STYLE_NUMBERS,) how somebody moves: mean, deviation, 95th percentile and mean speed of each channel, and which are known.

    curves: (T, 17) of MOUTH; present: (17,) 1 where a channel was captured at all (all of them, where it is not told).
    """
    known = np.ones(len(MOUTH), np.float32) if present is None else present[: len(MOUTH)].astype(np.float32)
    x = curves[:, : len(MOUTH)].astype(np.float32)
    speed = np.abs(np.diff(x, axis=0)).mean(0) * rate if len(x) > 1 else np.zeros(len(MOUTH), np.float32)
    parts = (4 * x.mean(0), 6 * x.std(0), 2 * np.percentile(x, 95, 0), 0.5 * speed)
    return np.concatenate([part * known for part in parts] + [known]).astype(np.float32)


def at_times(curves: np.ndarray, seconds: np.ndarray, span: float) -> np.ndarray:
    """(T, 20) at RATE -> (n, 20) at the given times, linear in between.

    Where seal or bite passes a half within `span` seconds around a time, that time has it, every frame of the curves counting for
    one time only, so that no frame rate steps over a closure shorter than a frame or makes it longer than it must.
    """
    position = np.clip(seconds * RATE, 0, len(curves) - 1)
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, len(curves) - 1)
    mix = (position - before)[:, None].astype(np.float32)
    out = curves[before] * (1 - mix) + curves[after] * mix
    touching = [OUTPUTS.index("seal"), OUTPUTS.index("bite")]
    for k in range(int(np.floor(-span / 2 * RATE)), int(np.ceil(span / 2 * RATE)) + 1):
        near = np.clip(np.round(position).astype(int) + k, 0, len(curves) - 1)
        inside = (near - position > -span / 2 * RATE + 1e-4) & (near - position <= span / 2 * RATE + 1e-4)
        for column in touching:
            whole = curves[near[inside], column]
            out[inside, column] = np.where(whole > 0.5, np.maximum(out[inside, column], whole), out[inside, column])
    return out


def eased(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high` on, a smooth step between."""
    y = np.clip((x - low) / (high - low), 0, 1)
    return y * y * (3 - 2 * y)


def to_channels(
    outputs: np.ndarray, *, articulation: float | np.ndarray, jaw: float | np.ndarray, lips: float | np.ndarray
) -> np.ndarray:
    """(n, 20) outputs, states decided -> (n, 65) channel values within their ranges, closures, bites and rest enforced.

    The scales are numbers, or one a frame.
    """
    seal, bite, rest = (np.clip(outputs[:, OUTPUTS.index(state)], 0, 1) for state in STATES)
    c: dict[str, np.ndarray] = {
        name: np.maximum(outputs[:, i], 0) * articulation * (jaw if name.startswith("jaw") else lips)
        for i, name in enumerate(MOUTH)
    }
    c["jawOpen"] = c["jawOpen"] - bite * np.maximum(0, c["jawOpen"] - 0.07)
    for name, share in (("mouthFunnel", 0.8), ("mouthPucker", 0.5)):  # a lip pushed forward does not reach the teeth
        c[name] = c[name] * (1 - share * bite)
    c["jawOpen"] = c["jawOpen"] - seal * np.maximum(0, c["jawOpen"] - 0.14)
    for name in _LIPS_PARTING:
        c[name] = c[name] * (1 - seal)
    c["mouthLowerDown"] = c["mouthLowerDown"] * (1 - bite)
    c["mouthRollLower"] = np.maximum(c["mouthRollLower"], 0.6 * bite)
    c["mouthUpperUp"] = np.maximum(c["mouthUpperUp"], 0.25 * bite * (1 - seal))
    c["mouthPress"] = np.maximum(c["mouthPress"], 0.12 * seal)
    values = np.zeros((len(outputs), len(CHANNELS)), np.float32)
    for name, column in c.items():
        for side in sides(name):
            values[:, INDEX[side]] = np.clip(column * (1 - rest), 0, _CEILING.get(name, 1.0))
    values[:, INDEX["mouthClose"]] = seal * values[:, INDEX["jawOpen"]]
    return values
