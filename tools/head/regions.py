# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to what: face labels from MPFB's texture masks, per-vertex masks for scalp, brows, ears, lids, beard."""

import numpy as np

from .mpfb import Source
from .parts import LIPS, MOUTH_INTERIOR, Part


def sampled(mask: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Values of an atlas mask at texture coordinates."""
    height, width = mask.shape
    x = np.clip((uv[..., 0] * width).astype(int), 0, width - 1)
    y = np.clip(((1 - uv[..., 1]) * height).astype(int), 0, height - 1)
    return mask[y, x]


def label_skin(source: Source, skin: Part) -> np.ndarray:
    """(F,) region of the skin's faces: lips and mouth interior set apart."""
    centre = skin.uv[skin.faces_uv].mean(1)
    labels = skin.regions.copy()
    labels[sampled(source.mask("lips"), centre) > 0.5] = LIPS
    labels[sampled(source.mask("inside-mouth"), centre) > 0.5] = MOUTH_INTERIOR
    return labels


def vertex_mask(source: Source, skin: Part, name: str) -> np.ndarray:
    """(n,) an atlas mask brought to the skin's vertices: mean over their corners."""
    total, count = np.zeros(len(skin.positions)), np.zeros(len(skin.positions))
    value = sampled(source.mask(name), skin.uv[skin.faces_uv])
    np.add.at(total, skin.faces, value)
    np.add.at(count, skin.faces, 1)
    return total / np.maximum(count, 1)


# hairline height over eye level in decimetres at an azimuth off straight ahead in degrees
HAIRLINE = (
    (0, 0.70), (25, 0.70), (42, 0.62), (52, 0.40), (62, 0.12), (72, -0.2), (82, -0.25), (90, 0.12), (100, 0.2),
    (112, -0.15), (130, -0.6), (155, -0.95), (180, -1.0),
)  # fmt: skip


def scalp(positions: np.ndarray, eye_height: float, ears: np.ndarray) -> np.ndarray:
    """(n,) 0..1: where hair of the head grows; falls off over 12 mm at the hairline."""
    x, y, z = positions.T
    azimuth = np.degrees(np.abs(np.arctan2(x, z - 0.25)))
    line = np.interp(azimuth, *zip(*HAIRLINE, strict=True))
    return np.clip((y - eye_height - line) / 0.12 + 0.5, 0, 1) * (ears < 0.3)


def brows(positions: np.ndarray, eye_left: np.ndarray, side: str) -> np.ndarray:
    """(n,) 0..1: the eyebrow of one side, a tapering arc above the eye."""
    sign = 1 if side == "left" else -1
    out = np.zeros(len(positions))
    for t in np.linspace(0, 1, 25):
        centre = np.array([
            sign * (0.12 + 0.39 * t), eye_left[1] + 0.185 + 0.075 * np.sin(t * 2.2) - 0.05 * max(t - 0.7, 0) / 0.3,
            1.42 - 0.25 * t,
        ])  # fmt: skip
        scale = np.array([0.05, 0.03 * (1.15 - 0.6 * t), 0.25])
        out = np.maximum(out, np.exp(-0.5 * (((positions - centre) / scale) ** 2).sum(1)))
    return out


def beard(positions: np.ndarray, lips: np.ndarray, ears: np.ndarray, eye_height: float) -> np.ndarray:
    """(n,) 0..1: where a beard or moustache grows: chin, jaw and upper lip, not the lips themselves."""
    x, y, z = positions.T
    below = eye_height - y
    top = np.interp(np.abs(x), (0, 0.22, 0.4, 0.6, 0.75), (0.57, 0.57, 0.52, 0.35, 0.1))
    bottom = np.interp(np.abs(x), (0, 0.5), (1.35, 1.15))
    inside = np.clip((below - top) / 0.08, 0, 1) * np.clip((bottom - below) / 0.1, 0, 1)
    return inside * np.clip((z - 0.3) / 0.2, 0, 1) * (1 - np.clip(lips * 1.5, 0, 1)) * (ears < 0.3)
