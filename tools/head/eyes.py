# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs made anew: rings about the gaze axis with a corneal bulge, in place of MakeHuman's 72-vertex helpers.

Ring 0 is the middle of the pupil; the rings at IRIS_RINGS bound pupil and iris, so that looks can be painted by ring.
The centre is the eye joint. A neutral eye looks straight ahead (+z).
"""

import numpy as np

from .mpfb import EYES
from .parts import EYE_LEFT, EYE_RIGHT, Part, expand, similarity

SEGMENTS = 28
PUPIL, LIMBUS = 0.12, 0.385  # radians off the gaze axis; the limbus is 5.9 mm from it on a 15.4 mm eye
ANGLES = np.r_[0.06, PUPIL, 0.19, 0.26, 0.325, LIMBUS, 0.45, 0.55, 0.7, 0.9, 1.15, 1.45, 1.8, 2.2, 2.65]
CORNEA_HEIGHT = 0.007  # decimetres above the sphere, at the axis


def cornea(angle: np.ndarray) -> np.ndarray:
    """Height in decimetres of the cornea above the sphere at an angle off the gaze axis."""
    t = np.clip(1 - (angle / (LIMBUS * 1.12)) ** 2, 0, 1)
    return CORNEA_HEIGHT * t**1.5


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    a = np.c_[2 * points, np.ones(len(points))]
    s = np.linalg.lstsq(a, (points**2).sum(1), rcond=None)[0]
    return s[:3], float(np.sqrt(s[3] + s[:3] @ s[:3]))


def eyeball(side: str, mean: np.ndarray, tile: tuple[float, float, float]) -> Part:
    """The eye of `side`. `tile` is (u, v, size) of its square of the texture atlas."""
    anchors = np.array(EYES[side])
    centre, radius = fit_sphere(mean[anchors])
    angle = np.r_[0, np.repeat(ANGLES, SEGMENTS), np.pi]
    turn = np.r_[0, np.tile(np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS, len(ANGLES)), 0]
    unit = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], 1)
    positions = centre + unit * (radius + cornea(angle))[:, None]
    faces = []
    for s in range(SEGMENTS):
        n = (s + 1) % SEGMENTS
        faces.append((0, 1 + s, 1 + n))
        for r in range(len(ANGLES) - 1):
            a, b = 1 + r * SEGMENTS, 1 + (r + 1) * SEGMENTS
            faces += [(a + s, b + s, b + n), (a + s, b + n, a + n)]
        last = 1 + (len(ANGLES) - 1) * SEGMENTS
        faces.append((last + s, len(angle) - 1, last + n))
    polar = np.stack([np.cos(turn), np.sin(turn)], 1) * (angle / np.pi)[:, None]
    uv = np.array(tile[:2]) + (polar * 0.49 + 0.5) * tile[2]
    array = np.array(faces)
    matrix = similarity(positions, mean[anchors], np.ones(len(anchors)))
    region = EYE_LEFT if side == "left" else EYE_RIGHT
    return Part(
        f"eye_{side}", positions, array, uv, array, expand(matrix, anchors),
        np.full(len(positions), -1), np.full(len(array), region, np.uint8),
    )  # fmt: skip
