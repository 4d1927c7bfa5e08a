# SPDX-License-Identifier: GPL-3.0-or-later
"""Which skin vertices are eyelid, and how far above the eyeball each of them has to stay (core/head/head.py, Lids)."""

from dataclasses import dataclass

import numpy as np

from .parts import Part

REACH = 0.12  # decimetres above the eyeball that still counts as lid: what may slide over it
THICKEST = 0.011  # decimetres: how far above the ball the lid's outer side stays
THINNEST = 0.0015


@dataclass(frozen=True)
class LidData:
    index: np.ndarray
    clearance: np.ndarray
    lashes: np.ndarray
    roots: np.ndarray
    gap_index: np.ndarray  # (K, 4) and gap_weights (K, 4): weighted sums of vertices that give upper minus lower margin
    gap_weights: np.ndarray


def vertex_normals(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (positions[faces[:, k]] for k in range(3))
    out = np.zeros_like(positions)
    np.add.at(out, faces, np.cross(b - a, c - a)[:, None])
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def find(
    skin: Part, template: np.ndarray, lashes: np.ndarray, centre: np.ndarray, radius: float, moves: np.ndarray,
    blink: np.ndarray,
) -> LidData:  # fmt: skip
    """Lids of one eye. `moves` (n,): how far eye units move each skin vertex; `lashes`: vertices of all lash cards;
    `blink` (V, 3): this eye's blink unit.

    The socket behind the lids is lined with skin too; its normals point at the eye and it may stay inside.
    """
    n = len(skin.positions)
    offset = template[:n] - centre
    distance = np.linalg.norm(offset, axis=1)
    facing = (vertex_normals(template[:n], skin.faces) * offset).sum(1) / distance
    index = np.flatnonzero((distance < radius + REACH) & (facing > -0.3) & (moves > 0.002) & (offset[:, 2] > 0.02))
    cap = THINNEST + (THICKEST - THINNEST) * np.clip((facing[index] + 0.1) / 0.7, 0, 1)
    clearance = np.clip(distance[index] - radius, THINNEST, cap)
    margin = np.flatnonzero((np.abs(facing[index]) < 0.6) & (distance[index] < radius + 0.03))
    near = np.flatnonzero(np.linalg.norm(template[lashes] - centre, axis=1) < 3 * radius)
    cards = lashes[near[np.sign(template[lashes[near], 0]) == np.sign(centre[0])]]
    gap = np.linalg.norm(template[cards][:, None] - template[index[margin]][None], axis=2)
    return LidData(index, clearance, cards, margin[gap.argmin(1)], *fissure(skin, template, index, centre, blink))


def fissure(
    skin: Part, template: np.ndarray, index: np.ndarray, centre: np.ndarray, blink: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the lids' margins are cut at stations across the eye, as rows of four vertices and four weights.

    The sum of weights times vertices is the vector from the lower to the upper margin.
    """
    inside = np.zeros(len(template), bool)
    inside[index] = True
    f = skin.faces[inside[skin.faces].all(1)]
    edges = np.unique(np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), 1), axis=0)
    a, b = template[edges[:, 0]], template[edges[:, 1]]
    sinks = blink[edges, 1].mean(1)
    rows, weights = [], []
    for x in centre[0] + np.linspace(-0.1, 0.1, 11):
        t = (x - a[:, 0]) / np.where(a[:, 0] == b[:, 0], 1, b[:, 0] - a[:, 0])
        height = a[:, 1] * (1 - t) + b[:, 1] * t
        crosses = (t >= 0) & (t <= 1) & (a[:, 0] != b[:, 0])
        up = int(np.where(crosses & (sinks < -0.02) & (height > centre[1] - 0.02), height, np.inf).argmin())
        down = int(np.where(crosses & (sinks > -0.01) & (height < centre[1] - 0.01), height, -np.inf).argmax())
        rows.append([*edges[up], *edges[down]])
        weights.append([1 - t[up], t[up], t[down] - 1, -t[down]])
    return np.array(rows), np.array(weights)


def cleared(template: np.ndarray, data: LidData, centre: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Template with the lids (and lashes with them) at least `floor` (L,) from the eye's centre."""
    out = template.copy()
    offset = template[data.index] - centre
    distance = np.linalg.norm(offset, axis=1)
    push = np.maximum(floor / distance - 1, 0)[:, None] * offset
    out[data.index] += push
    out[data.lashes] += push[data.roots]
    return out
