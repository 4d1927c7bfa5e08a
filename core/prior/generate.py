# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech -> Motion of any length at any frame rate, decided by the recording, the seed and the controls alone."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil, isfinite

import numpy as np

from ..errors import MotionError
from ..head.motion import INDEX, Motion
from ..speech.audio import Audio
from ..speech.encoder import speech_gain
from . import liveliness
from .mouth import OUTPUTS, at_times, smoothed, to_channels
from .regression import SpeechModel, load_speech_model, loudness, mouth_curves

RANGES = {
    "articulation": (0.0, 2.0), "jaw": (0.0, 2.0), "lips": (0.0, 2.0), "blink_rate": (0.0, 60.0), "head_motion": (0.0, 3.0),
    "gaze": (0.0, 3.0), "brows": (0.0, 3.0), "delay_seconds": (-1.0, 1.0), "smoothing": (0.0, 0.2),
}  # fmt: skip


@dataclass(frozen=True)
class Controls:
    """What an animator may ask for; each acts after the network.

    articulation scales the whole mouth, jaw and lips their halves of it (lips stay shut where they must at any setting);
    blink_rate is blinks per minute; head_motion, gaze and brows scale their groups, 0 is off; delay_seconds moves the
    mouth later; smoothing is the standard deviation in seconds of a filter that keeps closures.
    Raises MotionError for numbers outside RANGES.
    """

    articulation: float = 1.0
    jaw: float = 1.0
    lips: float = 1.0
    blink_rate: float = 16.0
    head_motion: float = 1.0
    gaze: float = 1.0
    brows: float = 1.0
    delay_seconds: float = 0.0
    smoothing: float = 0.015

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), RANGES[field.name]
            if not (isfinite(value) and low <= value <= high):
                raise MotionError(f"The control '{field.name}' is {value}; expected a number from {low:g} to {high:g}.")


def generate(
    audio: Audio,
    *,
    fps: float,
    seed: int = 0,
    controls: Controls = Controls(),
    progress: Callable[[float], None] | None = None,
    model: SpeechModel | None = None,
) -> Motion:
    """A Motion as long as the recording: ceil(seconds * fps) frames.

    seed decides blinks, head, gaze and brows; the mouth follows the sound alone. progress is told 0..1 and may raise
    Cancelled. model saves loading the weights again (0.3 s).
    """
    if not (isfinite(fps) and 1 <= fps <= 1000):
        raise MotionError(f"The frame rate is {fps}; expected 1 to 1000 frames per second.")
    report = progress or (lambda _: None)
    report(0.0)
    curves = mouth_curves(model or load_speech_model(), audio, progress=lambda part: report(0.9 * part))
    times = np.arange(max(1, ceil(audio.seconds * fps - 1e-6))) / fps
    calm = np.concatenate((smoothed(curves[:, :-3], controls.smoothing), curves[:, -3:]), 1)
    outputs = at_times(calm, times - controls.delay_seconds, 1 / fps)
    values = to_channels(outputs, articulation=controls.articulation, jaw=controls.jaw, lips=controls.lips)
    levels = loudness(audio.samples, speech_gain(audio.samples))
    for name, column in lively_columns(times, curves[:, OUTPUTS.index("rest")], levels, seed, controls).items():
        values[:, INDEX[name]] = column
    report(1.0)
    return Motion(fps, values)


def lively_columns(
    times: np.ndarray, rest: np.ndarray, levels: np.ndarray, seed: int, controls: Controls
) -> dict[str, np.ndarray]:
    """Columns of blinks, head, gaze and brows; each group has its own stream, so one can change without the others."""
    blink, turn, look, raise_brows = np.random.default_rng(seed).spawn(4)
    speech = liveliness.hear(rest, levels)
    turned = liveliness.head(times, speech, turn, controls.head_motion)
    return {
        **liveliness.blinks(times, speech, blink, controls.blink_rate),
        **turned,
        **liveliness.gaze(times, speech, look, controls.gaze, turned),
        **liveliness.brows(times, speech, raise_brows, controls.brows),
    }
