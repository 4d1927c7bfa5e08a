# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a fit against pictures looks: at lips and eyes more than elsewhere, and at the head more than at the shoulders."""

import numpy as np

from ..geometry.cameras import Camera
from .footage import Shown

LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
CHIN = 152
MARGINS = np.array([0.4, 0.5, 0.4, 0.2])
"""How much further than the landmarks the head alone reaches to the left, above, to the right and below, in heights of the face."""
LEAST_SIDE = 32
"""Pixels of the head alone, which losses over windows need."""


def attended(points: np.ndarray, camera: Camera, mouth: float = 2.5, eyes: float = 1.5) -> np.ndarray:
    """(H, W) what a pixel counts, .8 without landmarks (478, 2) near: lips and eyes more, what lies below the chin less."""
    x, y = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
    out = np.full((camera.height, camera.width), 0.8, np.float32)
    for share, chosen in ((mouth, LIPS), (eyes, LEFT_EYE), (eyes, RIGHT_EYE)):
        part = points[list(chosen)]
        middle, half = part.mean(0), np.maximum(np.ptp(part, axis=0), 0.4 * np.ptp(part[:, 0])) * 0.75
        bump = np.exp(-0.5 * ((y - middle[1]) / half[1]) ** 2)[:, None] * np.exp(
            -0.5 * ((x - middle[0]) / half[0]) ** 2
        )
        out += share * bump.astype(np.float32)
    chin = points[CHIN, 1] + 0.12 * np.ptp(points[:, 1])
    out *= np.where(y > chin, 0.6, 1.0).astype(np.float32)[:, None]
    return out


def head_alone(
    shown: Shown, weight: np.ndarray, points: np.ndarray, margins: np.ndarray = MARGINS
) -> tuple[Shown, np.ndarray]:
    """A cut and its weights (H, W), made smaller to the head round its landmarks (478, 2)."""
    c = shown.camera
    low, high = points.min(0), points.max(0)
    margin = margins * (high[1] - low[1])
    size = np.array([c.width, c.height])
    least = np.minimum(size, LEAST_SIDE)
    left, top = first = np.clip((low - margin[:2]).round().astype(int), 0, size - least)
    right, bottom = np.clip((high + margin[2:]).round().astype(int), first + least, size)
    part = slice(top, bottom), slice(left, right)
    k = c.K.copy()
    k[:2, 2] -= (left, top)
    camera = Camera(c.world_to_camera, k, int(right - left), int(bottom - top))
    return Shown(shown.colour[part], shown.matte[part], camera), weight[part]
