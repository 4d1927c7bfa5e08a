# SPDX-License-Identifier: GPL-3.0-or-later
"""What the speech network answers with, and how that becomes channels of a Motion.

The network speaks of a symmetric mouth (nothing it learned from tells left from right) and of three states: `seal`, the
lips are shut as in p b m; `bite`, the lower lip touches the upper teeth as in f v; `rest`, nobody speaks. The states are
what makes a mouth readable, so they are not averaged into the channels but enforced on them at the very end, after
smoothing and resampling: on the built-in head mouthClose = jawOpen keeps the lips together at any jaw.
"""

import numpy as np

from ..head.motion import ARKIT, CHANNELS, INDEX

MOUTH = (
    "jawOpen", "jawForward", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthFrown", "mouthStretch", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPress", "mouthLowerDown", "mouthUpperUp", "noseSneer", "cheekPuff", "tongueOut",
)  # fmt: skip
STATES = ("seal", "bite", "rest")
OUTPUTS = MOUTH + STATES
RATE = 50
"""Frames per second of the network's answer."""

DECISION = {"seal": (0.4, 0.75), "bite": (0.3, 0.7), "rest": (0.3, 0.8)}
"""From where to where a state's probability passes from not at all to wholly."""

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


def at_times(curves: np.ndarray, seconds: np.ndarray, span: float) -> np.ndarray:
    """(T, 20) at RATE -> (n, 20) at the given times, linear in between.

    seal and bite take their largest value within `span` seconds around each time, every network frame counting for one
    time only, so that no frame rate steps over a closure shorter than a frame or makes it longer than it must.
    """
    position = np.clip(seconds * RATE, 0, len(curves) - 1)
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, len(curves) - 1)
    mix = (position - before)[:, None].astype(np.float32)
    out = curves[before] * (1 - mix) + curves[after] * mix
    touching = [OUTPUTS.index("seal"), OUTPUTS.index("bite")]
    for k in range(int(np.floor(-span / 2 * RATE)), int(np.ceil(span / 2 * RATE)) + 1):
        near = np.clip(np.round(position).astype(int) + k, 0, len(curves) - 1)
        inside = (near - position > -span / 2 * RATE) & (near - position <= span / 2 * RATE + 1e-6)
        for column in touching:
            out[inside, column] = np.maximum(out[inside, column], curves[near[inside], column])
    return out


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    y = np.clip((x - low) / (high - low), 0, 1)
    return y * y * (3 - 2 * y)


def to_channels(outputs: np.ndarray, *, articulation: float, jaw: float, lips: float) -> np.ndarray:
    """(n, 20) outputs -> (n, 65) channel values within their ranges, with closures, bites and rest enforced."""
    seal, bite, rest = (_step(outputs[:, OUTPUTS.index(state)], *DECISION[state]) for state in STATES)
    c = {
        name: np.maximum(outputs[:, i], 0) * articulation * (jaw if name.startswith("jaw") else lips)
        for i, name in enumerate(MOUTH)
    }
    c["jawOpen"] = c["jawOpen"] - bite * np.maximum(0, c["jawOpen"] - 0.09)
    c["jawOpen"] = c["jawOpen"] - seal * np.maximum(0, c["jawOpen"] - 0.14)
    for name in _LIPS_PARTING:
        c[name] = c[name] * (1 - seal)
    c["mouthLowerDown"] = c["mouthLowerDown"] * (1 - bite)
    c["mouthRollLower"] = np.maximum(c["mouthRollLower"], 0.5 * bite)
    c["mouthUpperUp"] = np.maximum(c["mouthUpperUp"], 0.25 * bite * (1 - seal))
    c["mouthPress"] = np.maximum(c["mouthPress"], 0.25 * seal)
    values = np.zeros((len(outputs), len(CHANNELS)), np.float32)
    for name, column in c.items():
        for side in sides(name):
            values[:, INDEX[side]] = np.clip(column * (1 - rest), 0, _CEILING.get(name, 1.0))
    values[:, INDEX["mouthClose"]] = seal * values[:, INDEX["jawOpen"]]
    return values
