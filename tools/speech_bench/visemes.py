# SPDX-License-Identifier: GPL-3.0-or-later
"""Other engines' mouth shapes -> our channels, so that every row is measured on the same head.

The table is openfacefx 0.24.0's ARKit preset (MIT, retarget.py `_ARKIT`): 15 Oculus visemes, each a few ARKit weights.
Rhubarb's shapes go through the viseme whose picture in Rhubarb's README they are. In the engines' favour p b m get the same
seal of the lips as ours (mouthClose follows the jaw where their closed shape holds), and hard cues are cross-faded over
about 80 ms as an animator would.
"""

import numpy as np

from ...core.head.motion import CHANNELS, INDEX

BOTH = ("Left", "Right")
TABLE: dict[str, dict[str, float]] = {
    "sil": {},
    "PP": {"mouthPress": 0.5, "mouthRollLower": 0.22, "mouthRollUpper": 0.22},
    "FF": {"mouthShrugLower": 0.52, "mouthUpperUp": 0.3, "mouthRollLower": 0.3, "jawOpen": 0.07},
    "TH": {"tongueOut": 0.95, "jawOpen": 0.12, "mouthUpperUp": 0.15, "mouthLowerDown": 0.15},
    "DD": {"jawOpen": 0.24, "tongueOut": 0.28, "mouthUpperUp": 0.12},
    "kk": {"jawOpen": 0.32, "mouthLowerDown": 0.12},
    "CH": {"mouthFunnel": 0.6, "mouthPucker": 0.4, "jawOpen": 0.16},
    "SS": {"jawOpen": 0.09, "mouthStretch": 0.3, "mouthUpperUp": 0.28, "mouthLowerDown": 0.28},
    "nn": {"jawOpen": 0.2, "tongueOut": 0.22, "mouthLowerDown": 0.1},
    "RR": {"mouthPucker": 0.45, "mouthFunnel": 0.3, "jawOpen": 0.18},
    "aa": {"jawOpen": 0.6, "mouthLowerDown": 0.1},
    "E": {"jawOpen": 0.42, "mouthStretch": 0.32, "mouthDimple": 0.22},
    "I": {"jawOpen": 0.16, "mouthStretch": 0.5, "mouthSmile": 0.32, "mouthUpperUp": 0.2},
    "O": {"mouthFunnel": 0.7, "mouthPucker": 0.42, "jawOpen": 0.42},
    "U": {"mouthPucker": 0.85, "mouthFunnel": 0.5, "jawOpen": 0.12},
}
RHUBARB = {
    "X": "sil",  # rest
    "A": "PP",  # closed, p b m
    "B": "I",  # slightly open with teeth, most consonants and ee
    "C": "E",  # open, eh and ae
    "D": "aa",  # wide open
    "E": "O",  # slightly rounded
    "F": "U",  # puckered
    "G": "FF",  # teeth on the lower lip
    "H": "nn",  # tongue up, l
}
VISEMES = tuple(TABLE)
_FADE = 0.02
"""Standard deviation in seconds of the cross-fade between cues: 10 % to 90 % in 51 ms, all of it in about 80."""
_PARTING = ("mouthFunnel", "mouthLowerDown", "mouthUpperUp", "tongueOut")


def from_rhubarb(cues: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Rhubarb's cues as visemes; its letter E is a rounded mouth, the viseme E a spread one."""
    return [(RHUBARB[letter], begin, end) for letter, begin, end in cues]


def sides(name: str) -> tuple[str, ...]:
    return (name,) if name in INDEX else tuple(name + side for side in BOTH)


def weights_of(shapes: list[tuple[str, float, float]], frames: int, fps: float) -> np.ndarray:
    """(frames, 15) viseme weights of hard cues (viseme, begin, end), a later cue over an earlier one, cross-faded."""
    fine = 10  # steps a frame
    t = (np.arange(frames * fine) + 0.5) / (fps * fine) - 0.5 / fps
    row = np.full(len(t), VISEMES.index("sil"))
    for symbol, begin, end in sorted(shapes, key=lambda shape: shape[1]):
        row[(t >= begin) & (t < end)] = VISEMES.index(symbol)
    hard = np.eye(len(VISEMES), dtype=np.float32)[row]
    sigma = _FADE * fps * fine
    kernel = np.exp(-0.5 * (np.arange(-int(4 * sigma), int(4 * sigma) + 1) / sigma) ** 2)
    soft = np.stack(
        [np.convolve(np.pad(c, len(kernel) // 2, "edge"), kernel / kernel.sum(), "valid") for c in hard.T], 1
    )
    return soft.reshape(frames, fine, -1).mean(1).astype(np.float32)


def channels(weights: np.ndarray) -> np.ndarray:
    """(T, 65) channel values of viseme weights (T, 15)."""
    values = np.zeros((len(weights), len(CHANNELS)), np.float32)
    for k, shape in enumerate(TABLE.values()):
        for name, amount in shape.items():
            for side in sides(name):
                values[:, INDEX[side]] += amount * weights[:, k]
    x = np.clip((weights[:, VISEMES.index("PP")] - 0.25) / 0.35, 0, 1)
    seal = x * x * (3 - 2 * x)
    for name in _PARTING:
        for side in sides(name):
            values[:, INDEX[side]] *= 1 - seal
    values[:, INDEX["mouthClose"]] = seal * values[:, INDEX["jawOpen"]]
    return np.clip(values, 0, 1)
