# SPDX-License-Identifier: GPL-3.0-or-later
"""Spectacles: two rims, a bridge and temples as Gaussian spindles that ride on the upper teeth, which move with the skull."""

import numpy as np

from loquent.core.head.head import Identity

from ..avatars.groom import unit
from .laid import Laid, along
from .layout import Layout, areas


def spectacles(shape: Identity, points: Layout, rest: np.ndarray, rng: np.random.Generator) -> Laid:
    """One pair."""
    left, right = shape.joints[3], shape.joints[4]
    middle, gap = (left + right) / 2, float(abs(left[0] - right[0]))
    width, height = gap * rng.uniform(0.36, 0.43), gap * rng.uniform(0.25, 0.38)
    power = rng.uniform(2, 4)
    tube = rng.uniform(0.0007, 0.0017)
    front = middle[2] + shape.eye_radii[0] + rng.uniform(0.012, 0.016)
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    curves = []
    for centre in (left, right):
        x = centre[0] + np.sign(centre[0]) * 0.002 + width * np.sign(c) * np.abs(c) ** (2 / power)
        y = centre[1] - 0.003 + height * np.sign(s) * np.abs(s) ** (2 / power)
        z = front - 0.10 * np.abs(x) ** 1.0 * 0.5 + 0 * y
        ring = np.stack([x, y, z], 1)
        curves.append(np.concatenate([ring, ring[:1]]))
    edge = abs(left[0]) + width
    bridge_x = np.linspace(-(abs(left[0]) - width), abs(left[0]) - width, 8)
    curves.append(
        np.stack([bridge_x, middle[1] + 0.002 + 0.003 * np.cos(bridge_x * 150), front + 0.001 + 0 * bridge_x], 1)
    )
    ear = rest[points.head.masks["ears"] > 0.6]
    for sign in (1, -1):
        side = ear[np.sign(ear[:, 0]) == sign]
        z = np.linspace(front - 0.05 * edge, side[:, 2].mean(), 24)
        x = sign * np.linspace(edge, np.abs(side[:, 0]).mean() + 0.001, 24)
        curves.append(np.stack([x, np.linspace(middle[1] + 0.004, side[:, 1].max() - 0.006, 24), z], 1))
    a, b = (np.concatenate([k[i : len(k) - 1 + i] for k in curves]) for i in (0, 1))
    n = len(a)
    length = np.linalg.norm(b - a, axis=1)
    axis = (b - a) / length[:, None]
    scales = np.stack([0.55 * length, np.full(n, tube), np.full(n, tube)], 1)
    teeth = np.flatnonzero(np.isin(points.head.regions, [points.head.region_names.index("teeth_upper")]))
    triangle = teeth[np.argmax(areas(rest, points.head.faces[teeth]))]
    colour = np.tile(rng.uniform(0.005, 0.05) + rng.uniform(0, 0.25, 3) * (rng.random() < 0.4), (n, 1))
    outward = unit(np.stack([0.4 * np.sign(a[:, 0]), 0.3 + 0 * a[:, 0], 1 + 0 * a[:, 0]], 1))
    return Laid(
        means=(a + b) / 2,
        quats_wxyz=along(axis),
        scales=scales,
        triangles=np.full(n, triangle),
        colour=colour,
        opacities=np.full(n, 0.97),
        outward=outward,
        rough=np.full(n, 0.2),
        gloss=np.full(n, 1.5),
        hair=np.zeros(n, bool),
    )
