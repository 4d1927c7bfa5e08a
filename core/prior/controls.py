# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator may ask of a performance. Everything here acts after the network: changing it needs no new run of it.

All but `smoothing` can also change over time (ANIMATABLE): perform() takes one value a frame for each, so keys on these
properties are honoured. A number over time is sampled at the frames of the Motion; `mouth_only` switches where it is 0.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite

import numpy as np

from ..errors import MotionError

RANGES: Mapping[str, tuple[float, float]] = {
    "articulation": (0.0, 2.0), "jaw": (0.0, 2.0), "lips": (0.0, 2.0), "mouth_only": (0.0, 1.0), "blink_rate": (0.0, 60.0),
    "gaze": (0.0, 3.0), "brows": (0.0, 3.0), "head_motion": (0.0, 3.0), "nods": (0.0, 3.0), "breathing": (0.0, 3.0),
    "neutral": (0.0, 1.0), "happy": (0.0, 1.0), "sad": (0.0, 1.0), "angry": (0.0, 1.0), "surprised": (0.0, 1.0),
    "delay_seconds": (-1.0, 1.0), "smoothing": (0.0, 0.2),
}  # fmt: skip
MOODS = ("neutral", "happy", "sad", "angry", "surprised")
ANIMATABLE = tuple(name for name in RANGES if name != "smoothing")


@dataclass(frozen=True)
class Controls:
    """The settings of one performance. Raises MotionError for numbers outside RANGES.

    articulation: scale of the whole mouth; jaw and lips: of their halves of it. Lips close where they must at any setting.
    mouth_only: jaw, lips, tongue, cheeks and nose move; eyes, brows and head are left at rest.
    blink_rate: blinks per minute, 0 for none. gaze, brows: scales of their groups, 0 is off.
    head_motion: scale of all head movement, 0 is off; nods and breathing scale their part of it.
    neutral, happy, sad, angry, surprised: moods, laid over the performance; they mix, and neutral waters the others down.
    delay_seconds: moves the mouth later than the sound. smoothing: standard deviation in seconds of a filter that keeps
    closures.
    """

    articulation: float = 1.0
    jaw: float = 1.0
    lips: float = 1.0
    mouth_only: bool = False
    blink_rate: float = 16.0
    gaze: float = 1.0
    brows: float = 1.0
    head_motion: float = 1.0
    nods: float = 1.0
    breathing: float = 1.0
    neutral: float = 0.0
    happy: float = 0.0
    sad: float = 0.0
    angry: float = 0.0
    surprised: float = 0.0
    delay_seconds: float = 0.0
    smoothing: float = 0.015

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), RANGES[field.name]
            if value != high and abs(value - high) <= 1e-6 * high:  # Blender's sliders are of single precision
                object.__setattr__(self, field.name, value := high)
            if not (isfinite(value) and low <= value <= high):
                raise MotionError(f"The control '{field.name}' is {value}; expected a number from {low:g} to {high:g}.")


DEFAULTS = Controls()


def over_time(controls: Controls, keyed: Mapping[str, np.ndarray], frames: int) -> dict[str, np.ndarray]:
    """Every control as (frames,) float32: its keyed values, clipped to its range, or the one number held.

    Raises MotionError for a name that cannot be animated, another number of frames or values that are not finite.
    """
    for name, values in keyed.items():
        if name not in ANIMATABLE:
            raise MotionError(f"The control '{name}' cannot change over time; those that can: {', '.join(ANIMATABLE)}.")
        if np.shape(values) != (frames,) or not np.isfinite(values).all():
            raise MotionError(
                f"The control '{name}' over time has shape {np.shape(values)}; expected ({frames},), finite."
            )
    return {
        name: np.clip(keyed[name], low, high).astype(np.float32) if name in keyed
        else np.broadcast_to(np.float32(getattr(controls, name)), frames)
        for name, (low, high) in RANGES.items()
    }  # fmt: skip
