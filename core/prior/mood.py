# SPDX-License-Identifier: GPL-3.0-or-later
"""Moods laid over a performance: a face, a posture and a manner for each, which mix and never open lips that are shut.

The faces follow the action units of the basic emotions (Ekman and Friesen, EMFACS): happy 6 + 12, sad 1 + 4 + 15, angry
4 + 5 + 7 + 23, surprised 1 + 2 + 5 + 26, in ARKit's names and in amounts that leave room for speech. Corners of the mouth
yield to rounded vowels; what parts the lips yields to closures, bites and silence.
"""

from collections.abc import Mapping

import numpy as np

from ..head.motion import ARKIT, INDEX
from .controls import MOODS
from .liveliness import DEGREE, at_times, drift
from .mouth import sides

FACES: Mapping[str, Mapping[str, float]] = {
    "happy": {"mouthSmile": 0.66, "cheekSquint": 0.55, "eyeSquint": 0.28, "mouthDimple": 0.15, "browInnerUp": 0.06, "browOuterUp": 0.1,
              "mouthUpperUp": 0.06},
    "sad": {"browInnerUp": 0.8, "browDown": 0.15, "mouthFrown": 0.62, "mouthShrugLower": 0.2, "eyeSquint": 0.12, "eyeBlink": 0.12,
            "mouthPress": 0.06},
    "angry": {"browDown": 0.85, "eyeSquint": 0.3, "eyeWide": 0.2, "noseSneer": 0.32, "mouthPress": 0.2, "mouthFrown": 0.18,
              "mouthStretch": 0.1, "jawForward": 0.12, "mouthUpperUp": 0.08},
    "surprised": {"browInnerUp": 0.7, "browOuterUp": 0.75, "eyeWide": 0.6, "jawOpen": 0.1, "mouthFunnel": 0.05},
}  # fmt: skip
POSTURES: Mapping[str, Mapping[str, float]] = {
    "happy": {"headPitch": -1.5, "headRoll": 1.2},
    "sad": {"headPitch": 4.5, "headRoll": 1.5, "neckPitch": 1.5, "gazePitch": 2.5},
    "angry": {"headPitch": 3.0, "neckPitch": 1.0, "gazePitch": -3.0},
    "surprised": {"headPitch": -3.0, "neckPitch": -0.8, "gazePitch": 1.5},
}
"""Degrees."""
MANNERS: Mapping[str, Mapping[str, float]] = {
    "happy": {"head_motion": 1.2, "nods": 1.1, "brows": 1.2},
    "sad": {"articulation": 0.85, "head_motion": 0.6, "nods": 0.6, "brows": 0.5, "blink_rate": 0.85, "gaze": 0.8},
    "angry": {"articulation": 1.1, "head_motion": 1.15, "nods": 1.5, "blink_rate": 0.8, "gaze": 0.6},
    "surprised": {"head_motion": 0.9, "brows": 1.3, "blink_rate": 0.7},
}
"""Factors on the controls."""

_PARTING = ("jawOpen", "mouthFunnel", "mouthUpperUp", "mouthLowerDown", "noseSneer")
_CORNERS = ("mouthSmile", "mouthDimple", "mouthStretch", "mouthFrown")


def shares(settings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How much of each face there is, (T,): the moods themselves while they sum to at most 1, else in proportion."""
    total = np.maximum(1, sum(settings[mood] for mood in MOODS))
    return {mood: settings[mood] / total if settings[mood].any() else settings[mood] for mood in FACES}


def manner(settings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The settings over time with what the moods do to the performance's own controls."""
    out = dict(settings)
    for mood, share in shares(settings).items():
        if not share.any():
            continue
        for name, factor in MANNERS[mood].items():
            out[name] = out[name] * (1 + share * (factor - 1))
    return out


def overlay(
    values: np.ndarray, touching: Mapping[str, np.ndarray], settings: Mapping[str, np.ndarray], times: np.ndarray,
    rng: np.random.Generator, frames: int,
) -> None:  # fmt: skip
    """Add the moods to channels (T, 65), in place.

    touching: seal, bite and rest (T,), 0..1. rng: makes them breathe, and a little lopsided; frames at 50 Hz, the length
    of the recording. Coefficients may leave 0..1; the caller clips.
    """
    present = shares(settings)
    seal, bite, rest = (touching[name] for name in ("seal", "bite", "rest"))
    parting = (1 - seal) * (1 - bite) * (1 - rest)
    rounded = np.maximum(values[:, INDEX["mouthFunnel"]], values[:, INDEX["mouthPucker"]])
    corners = (1 - 0.65 * np.clip(1.5 * rounded, 0, 1)) * (1 - 0.5 * bite)
    whole = settings["mouth_only"] < 0.5
    for mood, stream in zip(FACES, rng.spawn(len(FACES)), strict=True):
        share = present[mood]
        if not share.any():
            continue
        wave, tilt = at_times(times, drift(stream, frames, 4.0)), float(np.clip(stream.normal(0, 0.05), -0.1, 0.1))
        share = share * np.clip(1 + 0.1 * wave, 0.8, 1.2)
        for name, amount in FACES[mood].items():
            yields = parting if name in _PARTING else corners if name in _CORNERS else 1.0
            if not name.startswith(("mouth", "jaw", "cheek", "nose")):
                yields = whole
            for side in sides(name):
                lean = 1 + tilt if side.endswith("Left") else 1 - tilt if side.endswith("Right") else 1.0
                values[:, INDEX[side]] += amount * lean * share * yields
        for name, degrees in POSTURES[mood].items():
            toward = np.sign(tilt) if name.endswith("Roll") else 1.0
            values[:, INDEX[name]] += degrees * DEGREE * toward * share * whole
    closed = np.clip(values[:, INDEX["jawOpen"]], 0, 1)
    values[:, INDEX["mouthClose"]] = np.where(seal > 0, seal * closed, values[:, INDEX["mouthClose"]])


assert all(side in ARKIT for face in FACES.values() for name in face for side in sides(name))
