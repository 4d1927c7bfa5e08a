# SPDX-License-Identifier: GPL-3.0-or-later
"""Real captures: FACEGOOD-Audio2Face (MIT), 116 rig weights at 30 fps, retargeted to the mouth channels at 50 Hz.

Column i of the arrays is line i + 1 of bsname.txt counting the leading "116" as line 1 (the pairs of equal left and right
columns fit no other order): column 74 is mouth_stretch_c, the jaw. Only the mouth was captured, and it is symmetric.
"""

from pathlib import Path

import numpy as np

from ...core.prior.mouth import OUTPUTS

CLIPS = ("1114_2_01", "1114_2_02", "1114_2_03", "1114_3_15")
NEVER_TRAINED = "1114_3_15"
TRAIN_SHARE = 0.8
FPS = 30
JAW = 74
EARLIER = -1 / 30
"""The sound fits the curves best one frame early: curve time = sound time + this."""

COLUMNS = {
    "jawOpen": (74,), "jawForward": (35,), "mouthFunnel": (42, 43, 44, 45), "mouthPucker": (68, 69), "mouthSmile": (53, 54),
    "mouthFrown": (46, 47, 48, 49), "mouthStretch": (57, 58), "mouthRollLower": (75, 76), "mouthRollUpper": (77, 78), "mouthShrugLower": (37,),
    "mouthShrugUpper": (38,), "mouthPress": (66, 67), "mouthLowerDown": (59, 60), "mouthUpperUp": (79, 80), "noseSneer": (81, 82),
}  # fmt: skip
CAPTURED = np.array([name in COLUMNS for name in OUTPUTS], np.float32)


def weights(folder: Path, clip: str) -> np.ndarray:
    """(T, 116) float32 at 30 fps."""
    path = folder / f"bs_value_{clip}.npy"
    with path.open("rb") as file:  # written by Python 2, whose header numpy reads only with a warning
        version = np.lib.format.read_magic(file)
        assert version == (1, 0), version
        file.read(int.from_bytes(file.read(2), "little"))
        return np.frombuffer(file.read(), np.float64).reshape(-1, 116).astype(np.float32)


def curves(folder: Path, clip: str, frames: int) -> np.ndarray:
    """(frames, len(OUTPUTS)) at 50 Hz on the sound's clock; columns that were not captured are 0 (CAPTURED masks them)."""
    rig = weights(folder, clip)
    t = np.arange(frames) / 50 + EARLIER
    out = np.zeros((frames, len(OUTPUTS)), np.float32)
    for i, name in enumerate(OUTPUTS):
        if name in COLUMNS:
            out[:, i] = np.interp(t, np.arange(len(rig)) / FPS, rig[:, COLUMNS[name]].max(1))
    return out
