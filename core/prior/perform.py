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
from ..head.motion import ARKIT, CHANNELS, GROUPS, INDEX, Motion
from ..room import blocks, room
from . import liveliness, mood
from .controls import DEFAULTS, Controls, over_time
from .mouth import OUTPUTS, RATE, STATES, at_times, smoothed, to_channels

FORMAT, VERSION = "loquent-raw-performance", 1
MOUTH_GROUPS = ("Jaw", "Lips", "Cheeks and Nose")
LIVELY_COLUMNS = 24
"""At least as many as `lively_columns` makes."""


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
    one value a frame (controls.ANIMATABLE). About 1 ms a second of speech; of hours, memory holds a few numbers a frame and
    the rest lies in mapped files. Raises MotionError.
    """
    check_fps(fps)
    times = np.arange(max(1, ceil(raw.seconds * fps - 1e-6))) / fps
    asked = over_time(controls, keyed or {}, len(times))
    settings = mood.manner(asked)
    values = room((len(times), len(CHANNELS)))
    states = np.empty((len(times), len(STATES)), np.float32)
    for part in blocks(len(times)):
        outputs = _mouth(raw.curves, times[part] - asked["delay_seconds"][part], 1 / fps, controls.smoothing)
        scales = {"articulation": settings["articulation"], "jaw": asked["jaw"], "lips": asked["lips"]}
        values[part] = to_channels(outputs, **{name: scale[part] for name, scale in scales.items()})
        states[part] = outputs[:, -len(STATES) :]
    for name, column in raw.extra.items():
        values[:, INDEX[name]] += liveliness.at_times(times, column) * _strength(name, settings)
    *streams, moods = np.random.default_rng(seed).spawn(7)
    whole = settings["mouth_only"] < 0.5
    for name, column in lively_columns(times, raw, streams, settings).items():
        values[:, INDEX[name]] += np.where(whole, column, 0)
    touching = {state: states[:, column] for column, state in enumerate(STATES)}
    mood.overlay(values, touching, asked, times, moods, len(raw.levels))
    np.clip(values[:, : len(ARKIT)], 0, 1, out=values[:, : len(ARKIT)])
    return Motion(fps, values)


def _mouth(curves: np.ndarray, seconds: np.ndarray, span: float, smoothing: float) -> np.ndarray:
    """(n, 20) smoothed curves at these times; only what lies around them is read."""
    reach = 3 * smoothing + span + 0.05
    first = int(np.clip((seconds.min() - reach) * RATE, 0, len(curves) - 1))
    last = int(np.clip((seconds.max() + reach) * RATE + 2, first + 1, len(curves)))
    near = curves[first:last]
    calm = np.concatenate((smoothed(near[:, : -len(STATES)], smoothing), near[:, -len(STATES) :]), 1)
    return at_times(calm, seconds - first / RATE, span)


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
    rows = iter(room((LIVELY_COLUMNS, len(times))))

    def add(made: Mapping[str, np.ndarray], amount: np.ndarray | float) -> None:
        for name, column in made.items():
            if name not in columns:
                columns[name] = next(rows)
                columns[name][:] = 0
            columns[name] += column * amount

    head = settings["head_motion"]
    add(liveliness.sway(times, speech, streams[0]), head)
    add(liveliness.nods(times, speech, streams[1]), head * settings["nods"])
    add(liveliness.breathing(times, speech, streams[2]), head * settings["breathing"])
    for name, share in (("Yaw", 0.25), ("Roll", 0.2)):
        add({"neck" + name: columns["head" + name]}, share)
    add(liveliness.brows(times, speech, streams[3]), settings["brows"])
    add(liveliness.blinks(times, speech, streams[4], np.interp(clock, times, settings["blink_rate"])), 1.0)
    add(liveliness.gaze(times, speech, streams[5]), settings["gaze"])
    for axis in ("Pitch", "Yaw"):  # the eyes hold on to what they look at while the head turns
        held = columns["head" + axis] + columns["neck" + axis]
        columns["gaze" + axis] -= 0.85 * np.minimum(settings["gaze"], 1) * held
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
