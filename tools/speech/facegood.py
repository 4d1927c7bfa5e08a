# SPDX-License-Identifier: GPL-3.0-or-later
"""Real captures: FACEGOOD-Audio2Face (MIT), 116 rig weights at 30 fps, retargeted to the mouth channels at 50 Hz.

Column i of the arrays is line i + 1 of bsname.txt counting the leading "116" as line 1 (the pairs of equal left and right
columns fit no other order): column 74 is mouth_stretch_c, the jaw. Only the mouth was captured, and it is symmetric: brows, lids, gaze,
cheeks, nose, tongue and head are 0 in every frame, left and right differ by less than 0.04, so mirroring gives nothing new. Sound and
curves share one clock: against a model taught by phone times alone, the jaw's best lag is 0 to 6 ms in all four clips, the lips' -7
to 21 ms.
"""

from pathlib import Path

import numpy as np

from ...core.prior.mouth import OUTPUTS

CLIPS = ("1114_2_01", "1114_2_02", "1114_2_03", "1114_3_15")
NEVER_TRAINED = "1114_3_15"
TRAIN_SHARE = 0.8
FPS = 30
JAW = 74
COLUMNS = {
    name: tuple((c, 1.0) for c in columns)
    for name, columns in {
        "jawOpen": (74,), "jawForward": (35,), "mouthSmile": (53, 54), "mouthFrown": (46, 47, 48, 49), "mouthStretch": (57, 58),
        "mouthRollLower": (75, 76), "mouthRollUpper": (77, 78), "mouthShrugLower": (37,), "mouthShrugUpper": (38,), "mouthPress": (66, 67),
        "mouthLowerDown": (59, 60), "mouthUpperUp": (79, 80),
    }.items()
} | {
    # column 63, mouth_oh_c, rounds both ways; two of the clips use it in place of the pucker
    "mouthPucker": ((68, 1.0), (69, 1.0), (64, 0.8), (63, 0.7)), "mouthFunnel": ((42, 1.0), (43, 1.0), (44, 1.0), (45, 1.0), (63, 0.5)),
}  # fmt: skip
"""Channel -> (column, share) pairs whose largest product it is."""
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
    t = np.arange(frames) / 50
    out = np.zeros((frames, len(OUTPUTS)), np.float32)
    for i, name in enumerate(OUTPUTS):
        if name in COLUMNS:
            shares = np.array([share for _, share in COLUMNS[name]], np.float32)
            out[:, i] = np.interp(t, np.arange(len(rig)) / FPS, (rig[:, [c for c, _ in COLUMNS[name]]] * shares).max(1))
    return out
