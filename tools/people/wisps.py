# SPDX-License-Identifier: GPL-3.0-or-later
"""All hair of a synthetic person, on head and face, as spindles."""

import numpy as np

from ..avatars import facehair, groom
from ..avatars.groom import Scalp
from ..avatars.sitter import Sitter
from ..avatars.strands import KINDS, Strands
from . import complexion, hair
from .laid import Laid, along
from .layout import Layout
from .recipe import Recipe

OPACITY = {"hair": 0.92, "brow": 0.62, "lash": 0.6, "beard": 0.6}
THICKER = {"hair": 1.0, "brow": 1.15, "lash": 1.2, "beard": 1.6}
GLOSS = {"hair": 1.0, "brow": 0.1, "lash": 0.1, "beard": 0.4}
BEARDS = {"moustache": (500, 0.009), "goatee": (900, 0.012), "short": (2200, 0.007), "full": (2600, 0.020)}
"""Wisps and metres."""


def grown(recipe: Recipe, sitter: Sitter, scalp: Scalp, points: Layout, rng: np.random.Generator) -> list[Strands]:
    """Hair of the head (unless bald), brows, lashes and a beard, on a resting person."""
    out = []
    of_head = hair.grow(recipe, scalp, rng)
    if of_head is not None:
        out.append(of_head)
    eyes = np.stack(sitter.eyes)
    thick, arch, drop, dense = recipe.brow
    seeds = [int(s) for s in rng.integers(1 << 30, size=3)]
    out.append(
        facehair.brows(
            scalp, eyes, recipe.brow_colour, int(700 * dense), seeds[0], thick=thick, arch=arch, drop=drop
        )
    )  # fmt: skip
    out.append(facehair.lashes(sitter, eyes, 210, seeds[1], long=recipe.woman))
    if recipe.beard in BEARDS:
        lips = np.clip(points.scalp_linear @ sitter.lips, 0, 1)
        area = complexion.beard_area(recipe, scalp.mean, lips, complexion.mouth_of(points))
        count, length = BEARDS[recipe.beard]
        tint = tuple(0.85 * np.asarray(recipe.hair))
        out.append(facehair.beard(scalp, area, tint, count, seeds[2], recipe.grey, length * recipe.beard_length))
    return out


def spindles(strands: Strands, scalp: Scalp) -> Laid:
    """One Gaussian for each step of each wisp; short hairs of the face are one each."""
    kind = KINDS[int(strands.kind[0])]
    points, radius = strands.points, strands.radius
    if kind in ("brow", "beard"):
        points, radius = points[:, ::3], radius[:, ::3]
    a, b = points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3)
    each = points.shape[1] - 1
    thick = (0.5 * (radius[:, :-1] + radius[:, 1:])).ravel() * THICKER[kind]
    length = np.linalg.norm(b - a, axis=1)
    keep = length > 0.8 * thick
    colour = np.repeat(strands.colour, each, 0)
    if kind == "hair" and each > 3:  # darker at the root
        colour = colour * (0.8 + 0.35 * np.tile(np.linspace(0, 1, each), len(points))[:, None])
    middle = (a + b)[keep] / 2
    outward = groom.unit(middle - [0, 0.02, -0.01]) if kind == "hair" else _normals(scalp, strands, each)[keep]
    n = len(middle)
    return Laid(
        means=middle,
        quats_wxyz=along((b - a)[keep] / (length[keep, None] + 1e-12)),
        scales=np.stack([0.40 * length, thick, thick], 1)[keep],
        triangles=np.repeat(strands.triangles, each)[keep],
        colour=colour[keep],
        opacities=np.full(n, OPACITY[kind]),
        outward=outward,
        rough=np.full(n, 0.4),
        gloss=np.full(n, GLOSS[kind]),
        hair=np.ones(n, bool),
    )


def _normals(scalp: Scalp, strands: Strands, each: int) -> np.ndarray:
    """Normals of the triangles that wisps ride on; lashes, which ride on their cards, take the front."""
    first = np.full(max(scalp.owner.max(), strands.triangles.max()) + 1, -1)
    first[scalp.owner] = scalp.faces[:, 0]
    index = first[strands.triangles]
    return np.repeat(np.where(index[:, None] < 0, [[0.0, 0.0, 1.0]], scalp.normals[index]), each, 0)
