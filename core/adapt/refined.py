# SPDX-License-Identifier: GPL-3.0-or-later
"""Which channels of a track a fit against pictures may correct, by how much a step, and how corrections go together in time."""

from itertools import pairwise

import numpy as np

from ..capture.face_model import FITTED
from ..capture.track import Track
from ..head.motion import ARKIT, CHANNELS, INDEX

NECK = ("neckPitch", "neckYaw", "neckRoll")
"""Not tracked by landmarks: they turn the shoulders, which landmarks do not show."""
CORRECTED = (*FITTED, *NECK)
COLUMNS = np.array([INDEX[name] for name in CORRECTED])
UNIT_COEFFICIENT, UNIT_RADIANS, UNIT_METRES = 0.06, 0.010, 0.0015


def units() -> np.ndarray:
    """(D,) size of a correction of one, per channel of CORRECTED."""
    out = []
    for name in CORRECTED:
        if name in ARKIT:
            out.append(UNIT_COEFFICIENT)
        elif name.startswith(("headX", "headY", "headZ")):
            out.append(UNIT_METRES)
        else:
            out.append(UNIT_RADIANS)
    return np.array(out, np.float32)


def spread(corrections: np.ndarray, frames: np.ndarray, track: Track) -> np.ndarray:
    """(T, D) corrections of all frames of a track from those (F, D) at `frames`: linear between them, held at ends and cuts."""
    out = np.zeros((len(track), corrections.shape[1]), np.float32)
    borders = [0, *track.cuts, len(track)]
    for start, end in pairwise(borders):
        inside = (frames >= start) & (frames < end)
        if inside.any():
            at = np.arange(start, end)
            out[start:end] = np.stack([np.interp(at, frames[inside], column) for column in corrections[inside].T], 1)
    return out


def corrected(values: np.ndarray, corrections: np.ndarray) -> np.ndarray:
    """(T, 65) channel values with corrections (T, D) in `units` added; coefficients stay within 0..1."""
    out = values.copy()
    out[:, COLUMNS] += corrections * units()
    out[:, : len(ARKIT)] = np.clip(out[:, : len(ARKIT)], 0, 1)
    assert out.shape[1] == len(CHANNELS), out.shape
    return out


def neighbours(frames: np.ndarray, track: Track) -> np.ndarray:
    """(F, 2) weights 0..1 that tie a frame's correction to that of the frame before and after: less over gaps, none over cuts."""
    gap = np.diff(frames)
    shot = np.searchsorted(np.array(track.cuts), frames, side="right")
    tie = np.where(np.diff(shot) == 0, 1 / np.maximum(gap * 25 / track.fps, 1), 0).astype(np.float32)
    return np.stack([np.r_[0, tie], np.r_[tie, 0]], 1).astype(np.float32)
