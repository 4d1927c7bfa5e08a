# SPDX-License-Identifier: GPL-3.0-or-later
"""The captured actor as truth: FACEGOOD's clip that nothing was trained on, and the last fifths of the others.

The capture is retargeted to our channels (tools/speech/facegood.py) and posed on the built-in head, so that every row is
compared with it there, in millimetres. Only a mouth was captured: brows, eyes and head have no truth here.
"""

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from ...core.adapt.voice import Heard, fit_voice
from ...core.head.motion import CHANNELS, INDEX, Motion
from ...core.prior.model import Prior
from ...core.prior.mouth import sides
from ...core.prior.regression import Regression
from ...core.prior.style import Style
from ...core.speech.audio import RATE, Audio, read_audio
from ..speech import facegood
from .sets import FPS, Clip

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "facegood"
GROUPS: dict[str, tuple[str, ...]] = {
    "jaw": ("jawOpen", "jawForward"),
    "rounding": ("mouthFunnel", "mouthPucker"),
    "corners": (
        "mouthSmileLeft",
        "mouthSmileRight",
        "mouthFrownLeft",
        "mouthFrownRight",
        "mouthStretchLeft",
        "mouthStretchRight",
    ),
    "upper lip": ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthRollUpper", "mouthShrugUpper"),
    "lower lip": (
        "mouthLowerDownLeft",
        "mouthLowerDownRight",
        "mouthRollLower",
        "mouthShrugLower",
        "mouthPressLeft",
        "mouthPressRight",
    ),
}
"""The captured channels in the groups whose liveliness is compared."""


@dataclass(frozen=True)
class Capture:
    """clip: sound without phones; truth (T, 65) at FPS on the sound's clock; native (n, 65) at facegood.FPS; whole: the unseen clip."""

    clip: Clip
    truth: np.ndarray
    native: np.ndarray
    whole: bool


def retargeted(rig: np.ndarray) -> np.ndarray:
    """(T, 116) rig weights -> (T, 65) channel values."""
    values = np.zeros((len(rig), len(CHANNELS)), np.float32)
    for name, shares in facegood.COLUMNS.items():
        column = np.max([rig[:, c] * share for c, share in shares], axis=0)
        for side in sides(name):
            values[:, INDEX[side]] = np.clip(column, 0, 1)
    return values


def captures(folder: Path = FOLDER) -> list[Capture]:
    """The whole unseen clip first, then the others' last fifths; empty where the recordings are not at hand."""
    if not folder.is_dir():
        return []
    out = []
    for name in sorted(facegood.CLIPS, key=lambda n: n != facegood.NEVER_TRAINED):
        rig = facegood.weights(folder, name)
        samples = read_audio(folder / f"{name}.wav").samples
        whole = name == facegood.NEVER_TRAINED
        first = 0 if whole else int(np.ceil(facegood.TRAIN_SHARE * len(rig)))
        rig, samples = rig[first:], samples[round(first / facegood.FPS * RATE) :]
        seconds = min(len(samples) / RATE, len(rig) / facegood.FPS)
        samples, native = samples[: int(seconds * RATE)], retargeted(rig[: int(seconds * facegood.FPS)])
        clip = Clip(f"{name}{'' if whole else '_tail'}", "captured", Audio(samples), [], "zh", "an actor")
        times = np.arange(ceil(seconds * FPS - 1e-6)) / FPS
        truth = np.stack([np.interp(times, np.arange(len(native)) / facegood.FPS, column) for column in native.T], 1)
        out.append(Capture(clip, truth[: clip.frames].astype(np.float32), native, whole))
    return out


def fitted_style(model: Prior | Regression, folder: Path = FOLDER, seconds: float = 60.0) -> Style:
    """The actor's style by `loquent fit-voice`'s own function, on the first minute of each take that training saw as well."""
    sounds, motions = [], []
    for name in facegood.CLIPS:
        if name != facegood.NEVER_TRAINED:
            rig = facegood.weights(folder, name)
            seconds = min(seconds, facegood.TRAIN_SHARE * len(rig) / facegood.FPS)
            sounds.append(read_audio(folder / f"{name}.wav").samples[: int(seconds * RATE)])
            motions.append(retargeted(rig[: int(seconds * facegood.FPS)]))
    heard = Heard(Audio(np.concatenate(sounds)), model)
    return fit_voice(heard, Motion(facegood.FPS, np.concatenate(motions)), name="the captured actor").style


def at_native_rate(values: np.ndarray, frames: int) -> np.ndarray:
    """Channel values at FPS -> at the capture's rate, linear in between."""
    times = np.arange(frames) / facegood.FPS * FPS
    return np.stack([np.interp(times, np.arange(len(values)), c) for c in values.T], 1).astype(np.float32)
