# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs of a synthetic person."""

import numpy as np

from loquent.core.head.head import Identity

from ..avatars import paint
from ..avatars.stage import eye_shape
from .laid import Laid, join
from .layout import Layout, areas, disc_quats
from .recipe import Recipe

SIDES = ("eye_left", "eye_right")


def eyeballs(recipe: Recipe, shape: Identity, points: Layout, rest: np.ndarray, rng: np.random.Generator) -> Laid:
    """Discs on both eyes, left first; each rides on one triangle of its eyeball, which turns rigidly."""
    theta, phi = points.eye_theta, points.eye_phi
    normal = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
    shine = normal.copy()
    shine[theta < 0.43, :2] /= 0.55  # the cornea curves more than the ball, and so do its highlights
    shine /= np.linalg.norm(shine, axis=1, keepdims=True)
    seed = int(rng.integers(1 << 20))
    n = len(theta)
    out = []
    for number, name in enumerate(SIDES):
        radius = shape.eye_radii[number]
        room = points.eye_room * radius
        triangle = np.flatnonzero(points.kind == name)
        triangle = triangle[np.argmax(areas(rest, shape.head.faces[triangle]))]
        out.append(
            Laid(
                means=eye_shape(radius, shape.head.cornea, theta, phi) + shape.joints[3 + number],
                quats_wxyz=disc_quats(normal),
                scales=np.stack([0.52 * room, 0.52 * room, 0.12 * room], 1),
                triangles=np.full(n, triangle),
                colour=paint.eyeball(recipe.palette.iris, theta, phi, seed + number) * [1, 0.985, 0.96],
                opacities=np.full(n, 0.985),
                outward=shine,
                rough=np.full(n, 0.12),
                gloss=np.full(n, 3.0),
                hair=np.zeros(n, bool),
            )
        )
    return join(out)


def lid_shade(balls: Laid, shape: Identity) -> np.ndarray:
    """(n,) 0..1: how much light the lids leave to each place on the resting eyes."""
    half = len(balls) // 2
    out = []
    for number in range(2):
        p = (balls.means[number * half : (number + 1) * half] - shape.joints[3 + number]) / shape.eye_radii[number]
        top = np.clip((p[:, 1] - 0.02) / 0.36, 0, 1)
        side = np.clip((np.abs(p[:, 0]) - 0.45) / 0.4, 0, 1)
        out.append((1 - 0.5 * top) * (1 - 0.4 * side))
    return np.concatenate(out).astype(np.float32)
