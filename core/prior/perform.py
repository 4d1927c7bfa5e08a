# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network said -> Motion: controls, closures, moods, upper face and head. Fast enough to repeat while one drags.

The network runs once for a recording and gives a Raw; from it every setting of the controls, any seed and any frame rate
follow without another run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite
from pathlib import Path

import numpy as np

from .. import checkpoint
from ..errors import MotionError
from ..head.motion import ARKIT, GROUPS, INDEX, Motion
from . import liveliness, mood
from .controls import DEFAULTS, Controls, over_time
from .mouth import OUTPUTS, RATE, STATES, at_times, smoothed, to_channels

FORMAT, VERSION = "loquent-raw-performance", 1
MOUTH_GROUPS = ("Jaw", "Lips", "Cheeks and Nose")


@dataclass(frozen=True)
class Raw:
    """What is known of a recording once the network has heard it.

    curves: (T, 20) OUTPUTS at mouth.RATE. The rest has (F,) frames at 50 Hz: levels in dB; pitch in semitones, nan where
    nobody voices; extra: channel -> what a network says of it, added to what the seed makes. seconds: of the recording.
    """

    curves: np.ndarray
    levels: np.ndarray
    pitch: np.ndarray
    seconds: float
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)


def perform(
    raw: Raw, controls: Controls = DEFAULTS, *, fps: float, seed: int = 0, keyed: Mapping[str, np.ndarray] | None = None
) -> Motion:  # fmt: skip
    """A Motion as long as the recording: ceil(seconds * fps) frames.

    seed decides blinks, head, gaze, brows and breath, each from its own stream; keyed holds controls that change over time,
    one value a frame (controls.ANIMATABLE). About 1 ms a second of speech. Raises MotionError.
    """
    check_fps(fps)
    times = np.arange(max(1, ceil(raw.seconds * fps - 1e-6))) / fps
    asked = over_time(controls, keyed or {}, len(times))
    settings = mood.manner(asked)
    curves = np.concatenate((smoothed(raw.curves[:, :-3], controls.smoothing), raw.curves[:, -3:]), 1)
    outputs = at_times(curves, times - asked["delay_seconds"], 1 / fps)
    values = to_channels(outputs, articulation=settings["articulation"], jaw=asked["jaw"], lips=asked["lips"])
    for name, column in raw.extra.items():
        values[:, INDEX[name]] += liveliness.at_times(times, column) * _strength(name, settings)
    *streams, moods = np.random.default_rng(seed).spawn(7)
    whole = settings["mouth_only"] < 0.5
    for name, column in lively_columns(times, raw, streams, settings).items():
        values[:, INDEX[name]] += np.where(whole, column, 0)
    touching = {state: outputs[:, OUTPUTS.index(state)] for state in STATES}
    mood.overlay(values, touching, asked, times, moods, len(raw.levels))
    np.clip(values[:, : len(ARKIT)], 0, 1, out=values[:, : len(ARKIT)])
    return Motion(fps, values)


def check_fps(fps: float) -> None:
    """Raises MotionError for a rate at which no motion is made."""
    if not (isfinite(fps) and 1 <= fps <= 1000):
        raise MotionError(f"The frame rate is {fps}; expected 1 to 1000 frames per second.")


def lively_columns(
    times: np.ndarray, raw: Raw, streams: list[np.random.Generator], settings: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Columns of blinks, head, gaze and brows; each group has its own stream, so one can change without the others."""
    rest = raw.curves[:: RATE // liveliness.RATE, OUTPUTS.index("rest")]
    speech = liveliness.hear(rest[: len(raw.levels)], raw.levels, raw.pitch)
    clock = np.arange(len(raw.levels)) / liveliness.RATE
    columns: dict[str, np.ndarray] = {}

    def add(made: Mapping[str, np.ndarray], amount: np.ndarray | float) -> None:
        for name, column in made.items():
            columns[name] = columns.get(name, 0) + column * amount

    head = settings["head_motion"]
    add(liveliness.sway(times, speech, streams[0]), head)
    add(liveliness.nods(times, speech, streams[1]), head * settings["nods"])
    add(liveliness.breathing(times, speech, streams[2]), head * settings["breathing"])
    columns["neckYaw"], columns["neckRoll"] = 0.25 * columns["headYaw"], 0.2 * columns["headRoll"]
    add(liveliness.brows(times, speech, streams[3]), settings["brows"])
    add(liveliness.blinks(times, speech, streams[4], np.interp(clock, times, settings["blink_rate"])), 1.0)
    add(liveliness.gaze(times, speech, streams[5]), settings["gaze"])
    for axis in ("Pitch", "Yaw"):  # the eyes hold on to what they look at while the head turns
        held = columns["head" + axis] + columns["neck" + axis]
        columns["gaze" + axis] = columns["gaze" + axis] - 0.85 * np.minimum(settings["gaze"], 1) * held
    return columns


def _strength(channel: str, settings: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scale that the controls put on a channel that a network made."""
    group = next(group for group, names in GROUPS.items() if channel in names)
    if group in MOUTH_GROUPS:
        return settings["articulation"] * settings["jaw" if group == "Jaw" else "lips"]
    name = {"Brows": "brows", "Eyes": "gaze", "Head": "head_motion"}[group]
    return settings[name] * (settings["mouth_only"] < 0.5)


def driven(controls: Controls) -> tuple[str, ...]:
    """The channels that a performance with these controls may move; the others are the animator's."""
    groups = MOUTH_GROUPS if controls.mouth_only else tuple(GROUPS)
    return tuple(name for group in groups for name in GROUPS[group])


def save_raw(raw: Raw, path: Path | str) -> None:
    """Keep a Raw, for instance beside a Blender file, so that controls can change without the recording."""
    arrays = {"curves": raw.curves, "levels": raw.levels, "pitch": raw.pitch}
    arrays |= {f"extra.{name}": column for name, column in raw.extra.items()}
    checkpoint.write(path, arrays, {"format": FORMAT, "version": VERSION, "seconds": raw.seconds})


def load_raw(path: Path | str) -> Raw:
    """Raises FormatError for another or a damaged file, MotionError where the arrays do not belong together."""
    arrays, header = checkpoint.read(path, format=FORMAT, version=VERSION)
    frames = len(arrays.get("levels", ()))
    extra = {name[6:]: column for name, column in arrays.items() if name.startswith("extra.") and name[6:] in INDEX}
    shapes = {"curves": (frames * RATE // liveliness.RATE, len(OUTPUTS)), "levels": (frames,), "pitch": (frames,)}
    wrong = [n for n, shape in shapes.items() if n not in arrays or arrays[n].shape != shape or not frames]
    wrong += [n for n, column in extra.items() if column.shape != (frames,)]
    if wrong or not isinstance(header.get("seconds"), float) or not np.isfinite(arrays["curves"]).all():
        raise MotionError(f"'{path}' is not a whole performance: {', '.join(wrong) or 'its numbers'} cannot be right.")
    return Raw(arrays["curves"], arrays["levels"], arrays["pitch"], header["seconds"], extra)
