# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair as wisps: curves rooted on triangles, a few hairs thick, drawn by Cycles and turned into long thin Gaussians."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Strands:
    """n wisps of k points.

    points: (n, k, 3) metres, on the resting head, root first. radius: (n, k) metres.
    triangles: (n,) coarse triangle each wisp rides on. colour: (n, 3) linear base colour. kind: (n,) small integer, see KINDS.
    """

    points: np.ndarray
    radius: np.ndarray
    triangles: np.ndarray
    colour: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


KINDS = ("hair", "brow", "lash", "beard")


def join(parts: list[Strands], points: int) -> Strands:
    """All wisps with the same number of points each."""
    resampled = [resample(p, points) for p in parts]
    return Strands(*(np.concatenate([getattr(p, f) for p in resampled]) for f in Strands.__dataclass_fields__))


def resample(strands: Strands, points: int) -> Strands:
    """The same curves with `points` points each, evenly along the index."""
    k = strands.points.shape[1]
    if k == points:
        return strands
    at = np.linspace(0, k - 1, points)
    low = np.minimum(at.astype(int), k - 2)
    mix = at - low
    curve = strands.points[:, low] * (1 - mix)[None, :, None] + strands.points[:, low + 1] * mix[None, :, None]
    radius = strands.radius[:, low] * (1 - mix) + strands.radius[:, low + 1] * mix
    return Strands(curve, radius, strands.triangles, strands.colour, strands.kind)


def children(strands: Strands, each: int, spread: float, rng: np.random.Generator) -> Strands:
    """`each` thinner hairs within every wisp, parallel to it and meeting towards the tip."""
    n, k, _ = strands.points.shape
    tangent = np.gradient(strands.points, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-12
    offset = rng.normal(size=(n, each, 1, 3))
    offset = offset - (offset * tangent[:, None]).sum(-1, keepdims=True) * tangent[:, None]
    taper = np.linspace(1.0, 0.7, k)[None, None, :, None]
    wave = 1 + 0.5 * np.sin(np.linspace(0, 5, k)[None, None, :, None] + 6.3 * rng.random((n, each, 1, 1)))
    width = strands.radius[:, None, :, None] * spread
    points = strands.points[:, None] + offset * width * taper * wave
    tone = 1 + 0.16 * rng.normal(size=(n, each, 1))
    return Strands(
        points.reshape(-1, k, 3),
        np.repeat(strands.radius, each, 0),
        np.repeat(strands.triangles, each),
        np.clip(strands.colour[:, None] * tone, 0.002, 1).reshape(-1, 3),
        np.repeat(strands.kind, each),
    )
