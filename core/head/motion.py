# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion: named channels over time, the one currency between audio, capture, keys and heads.

The first 52 channels are Apple's ARKit blend-shape coefficients, 0 to 1. Two groups of them act through joints instead of
linear displacement: `jawOpen` = 1 is a rotation of the jaw joint by JAW_OPEN_RADIANS (the linear unit is not applied
as well), and the `eyeLook*` coefficients turn the eyeballs besides moving the lids. The others are pose channels in
radians about the head's axes and metres: pitch is positive downwards (about +x), yaw towards the subject's left (about
+y), roll about +z. `head*` turns FLAME's neck joint, which carries the head; `neck*` turns the root, which carries all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import radians

import numpy as np

from ..errors import MotionError

ARKIT: tuple[str, ...] = tuple(
    (
        "eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft "
        "eyeBlinkRight eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight "
        "jawForward jawLeft jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight mouthSmileLeft "
        "mouthSmileRight mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight mouthStretchLeft mouthStretchRight "
        "mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthPressLeft mouthPressRight mouthLowerDownLeft "
        "mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight browDownLeft browDownRight browInnerUp browOuterUpLeft "
        "browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight noseSneerLeft noseSneerRight tongueOut"
    ).split()
)

ROTATIONS = (
    "jawYaw", "jawRoll", "gazePitch", "gazeYaw", "headPitch", "headYaw", "headRoll", "neckPitch", "neckYaw", "neckRoll",
)  # fmt: skip
TRANSLATIONS = ("headX", "headY", "headZ")
POSE = ROTATIONS + TRANSLATIONS
CHANNELS = ARKIT + POSE
INDEX: Mapping[str, int] = {name: i for i, name in enumerate(CHANNELS)}

JAW_OPEN_RADIANS = radians(24.4)
"""Jaw rotation at jawOpen = 1: the rigid part of the ARKit unit that the built-in head is made from."""

LOOK_RADIANS: Mapping[str, float] = {
    "Down": radians(11.0), "Up": radians(9.7), "In": radians(14.6), "Out": radians(14.6),
}  # fmt: skip
"""Turn of an eyeball at eyeLook<direction> = 1, measured on the units that the built-in head is made from."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Jaw": tuple(n for n in CHANNELS if n.startswith("jaw")),
    "Lips": tuple(n for n in CHANNELS if n.startswith(("mouth", "tongue"))),
    "Cheeks and Nose": tuple(n for n in CHANNELS if n.startswith(("cheek", "nose"))),
    "Brows": tuple(n for n in CHANNELS if n.startswith("brow")),
    "Eyes": tuple(n for n in CHANNELS if n.startswith(("eye", "gaze"))),
    "Head": tuple(n for n in CHANNELS if n.startswith(("head", "neck"))),
}
"""Every channel once, in the groups that animators see."""


def channel(name: str) -> int:
    """Column of a channel. Raises MotionError for a name that does not exist."""
    try:
        return INDEX[name]
    except KeyError:
        raise MotionError(
            f"There is no motion channel '{name}'. Channels are the 52 ARKit names and {', '.join(POSE)}."
        ) from None


@dataclass(frozen=True)
class Motion:
    """T frames of all CHANNELS at a constant rate; frame k is at k / fps seconds.

    fps: frames per second, positive and finite.
    values: (T, 65) float32, T >= 1, finite.
    Raises MotionError for anything else.
    """

    fps: float
    values: np.ndarray

    def __post_init__(self) -> None:
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise MotionError(f"A motion's frame rate is {self.fps}; expected a positive number of frames per second.")
        values = np.ascontiguousarray(self.values, np.float32)
        if values.ndim != 2 or values.shape[1] != len(CHANNELS) or not len(values):
            raise MotionError(f"Motion values are {np.shape(self.values)}; expected (frames >= 1, {len(CHANNELS)}).")
        if not np.isfinite(
            [values.min(), values.max()]
        ).all():  # a mask of hours would be as large as a quarter of them
            frame, column = np.argwhere(~np.isfinite(values))[0]
            raise MotionError(
                f"Motion channel '{CHANNELS[column]}' is {values[frame, column]} at frame {frame}; expected finite numbers."
            )
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def seconds(self) -> float:
        """Time of the last frame plus one frame."""
        return len(self.values) / self.fps

    @classmethod
    def rest(cls, frames: int, fps: float) -> "Motion":
        """A still, neutral face."""
        return cls(fps, np.zeros((frames, len(CHANNELS)), np.float32))

    def column(self, name: str) -> np.ndarray:
        """(T,) view of one channel."""
        return self.values[:, channel(name)]

    def with_columns(self, columns: Mapping[str, np.ndarray | float]) -> "Motion":
        """A copy with some channels replaced."""
        values = self.values.copy()
        for name, column in columns.items():
            values[:, channel(name)] = column
        return replace(self, values=values)

    def resample(self, fps: float) -> "Motion":
        """The same motion at another rate, linear between frames; the first and last instants are kept."""
        if fps == self.fps:
            return self
        frames = max(1, int(np.floor((len(self) - 1) / self.fps * fps + 1e-6)) + 1)
        position = np.minimum(np.arange(frames) * (self.fps / fps), len(self) - 1)
        before = np.floor(position).astype(int)
        after = np.minimum(before + 1, len(self) - 1)
        mix = (position - before)[:, None].astype(np.float32)
        return Motion(fps, self.values[before] * (1 - mix) + self.values[after] * mix)

    def at(self, seconds: float) -> np.ndarray:
        """(65,) values at a time, linear between frames and held beyond the ends."""
        position = float(np.clip(seconds * self.fps, 0, len(self) - 1))
        before = int(position)
        after = min(before + 1, len(self) - 1)
        return self.values[before] + np.float32(position - before) * (self.values[after] - self.values[before])
