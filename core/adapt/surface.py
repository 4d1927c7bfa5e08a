# SPDX-License-Identifier: GPL-3.0-or-later
"""A closed skin of flat Gaussians over the head's mesh: every triangle is cut into equal parts, one Gaussian a part.

Parts are small where people look (eyes, lips, teeth, the face) and large elsewhere, by places on the mean head, so that all
people get the same Gaussians in the same order.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry.rotations import matrix_to_quat_wxyz
from ..geometry.triangles import triangle_frames
from ..head.head import Head
from ..head.motion import ARKIT
from ..splats.binding import Binding

COVER, COVER_WIDE = 1.85, 2.5
"""Standard deviations of a Gaussian in those of its part, for parts of 2 mm and from 5 mm on: less leaves gaps at the corners,
more blurs, which matters where parts are small because something is to be seen there."""
THIN = 0.16
"""Thickness of a Gaussian in its mean width."""
ROUND = 0.4
"""Least width of a Gaussian in its length."""


@dataclass(frozen=True)
class Slots:
    """N places on the mesh. triangles (N,) int32; bary (N, 3); parts (N,) along an edge its triangle is cut into."""

    triangles: np.ndarray
    bary: np.ndarray
    parts: np.ndarray

    def __len__(self) -> int:
        return len(self.triangles)

    def of(self, field: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """(N, ...) values at the slots of a field (V, ...) over the vertices."""
        corners = field[faces[self.triangles]]
        return np.einsum("nk,nk...->n...", self.bary, corners)


def lids(head: Head) -> np.ndarray:
    """(V,) 0..1: skin that closing eyes unfold or draw along."""
    moved = np.linalg.norm(head.units[[ARKIT.index("eyeBlinkLeft"), ARKIT.index("eyeBlinkRight")]], axis=-1).max(0)
    out = np.maximum(np.clip(moved / (0.15 * moved.max()), 0, 1), head.masks["eyelids"])
    out[head.parts["skin"].stop :] = 0
    return out


def kinds(head: Head) -> np.ndarray:
    """(F,) of skin, lips, mouth, teeth, gums, tongue, eyes, lashes."""
    short = {"teeth_upper": "teeth", "teeth_lower": "teeth", "mouth_interior": "mouth", "eye_left": "eyes",
             "eye_right": "eyes"}  # fmt: skip
    return np.array([short.get(n, n) for n in head.region_names])[head.regions]


def slots(head: Head) -> Slots:
    """The slots of a head, about 48,000. 20 ms."""
    return slots_of(head, edge_lengths(head, head.template[head.faces].mean(1)), np.arange(len(head.faces)))


def slots_of(head: Head, wanted: np.ndarray, chosen: np.ndarray) -> Slots:
    """Slots on triangles `chosen` (n,), cut so that edges are about `wanted` (F,) metres long on the mean head."""
    corners = head.template[head.faces[chosen]]
    edge = np.sqrt(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 0.87
    )
    count = np.clip(np.round(edge / wanted[chosen]), 1, 12).astype(int)
    triangles, bary, parts = [], [], []
    for k in np.unique(count):
        mine = chosen[count == k]
        cells = _cells(int(k))
        triangles.append(np.repeat(mine, len(cells)))
        bary.append(np.tile(cells, (len(mine), 1)))
        parts.append(np.full(len(mine) * len(cells), k))
    order = np.argsort(np.concatenate(triangles), kind="stable")
    return Slots(
        np.concatenate(triangles)[order].astype(np.int32), np.concatenate(bary)[order].astype(np.float32),
        np.concatenate(parts)[order],
    )  # fmt: skip


def _cells(k: int) -> np.ndarray:
    """(k * k, 3) middles of the parts of a triangle whose edges are cut into k."""
    ij = np.array([(i, j) for i in range(k) for j in range(k - i)], float)
    upward = (ij + 1 / 3) / k
    downward = (ij[ij.sum(1) < k - 1] + 2 / 3) / k
    two = np.concatenate([upward, downward])
    return np.concatenate([two, 1 - two.sum(1, keepdims=True)], 1)


def edge_lengths(head: Head, middle: np.ndarray) -> np.ndarray:
    """(F,) metres that the edges of parts should have, of triangles about `middle` (F, 3) on the mean head."""
    kind, z, y = kinds(head), middle[:, 2], middle[:, 1]
    faceness = np.clip((z - 0.02) / 0.03, 0, 1) * np.clip((y + 0.10) / 0.02, 0, 1)
    front = np.clip((z + 0.01) / 0.03, 0, 1)  # neck and chest, where collars are
    skin = 6.5 - 2.0 * front
    skin = skin + (2.6 - skin) * faceness
    masks = head.masks | {"lids": lids(head)}
    near = lambda name: masks[name][head.faces].mean(1)  # noqa: E731
    skin = skin + near("ears") * np.minimum(0, 3.0 - skin)
    for name, fine in (
        ("brow_left", 1.5),
        ("brow_right", 1.5),
        ("lips", 1.5),
        ("eyelids", 0.9),
    ):  # lids stretch threefold
        skin = skin + near(name) * np.minimum(0, fine - skin)
    eyes = np.minimum(*(np.linalg.norm((middle - head.joints[k])[:, :2], axis=1) for k in (3, 4)))
    inner = np.interp(z, [0.055, 0.08], [6.0, 1.9])
    table = {"skin": skin, "lips": np.minimum(skin, 1.5), "eyes": np.where(eyes < 0.0075, 0.9, 2.2), "teeth": inner,
             "gums": np.maximum(inner, 2.5), "tongue": np.maximum(inner, 3.0), "mouth": np.maximum(inner, 3.5),
             "lashes": np.full(len(z), 3.0)}  # fmt: skip
    return 1e-3 * np.select([kind == name for name in table], list(table.values()))


def discs(slots: Slots, vertices: np.ndarray, faces: np.ndarray) -> Binding:
    """Gaussians shaped as their parts of the triangles of vertices (V, 3): the surface is closed from everywhere."""
    which, inverse = np.unique(slots.triangles, return_inverse=True)
    origins, rotations, sizes = triangle_frames(vertices.astype(np.float32), faces[which])
    corners = np.einsum("nji,nkj->nki", rotations, vertices[faces[which]] - origins[:, None]) / sizes[:, None, None]
    x, z = corners[..., 0], corners[..., 2]
    xx, zz, xz = (x * x).sum(1) / 12, (z * z).sum(1) / 12, (x * z).sum(1) / 12
    turn = 0.5 * np.arctan2(2 * xz, xx - zz)
    half, spread = (xx + zz) / 2, np.hypot((xx - zz) / 2, xz)
    long, wide = np.sqrt(half + spread), np.sqrt(np.maximum(half - spread, 1e-9))
    wide = np.maximum(wide, ROUND * long)
    scales = np.stack([long, THIN * np.sqrt(long * wide), wide], 1)[inverse] / slots.parts[:, None]
    width = np.sqrt(scales[:, 0] * scales[:, 2]) * sizes[inverse] / 0.204  # metres, of an equilateral triangle's edge
    scales *= np.interp(width, [0.002, 0.005], [COVER, COVER_WIDE])[:, None]
    c, s, o = np.cos(turn), np.sin(turn), np.zeros_like(turn)
    axes = np.stack([np.stack([c, o, -s], 1), np.stack([o, o + 1, o], 1), np.stack([s, o, c], 1)], 1)
    offsets = np.einsum("nk,nkd->nd", slots.bary, corners[inverse])
    return Binding(
        slots.triangles, offsets.astype(np.float32), matrix_to_quat_wxyz(axes)[inverse].astype(np.float32),
        scales.astype(np.float32),
    )  # fmt: skip


@dataclass(frozen=True)
class Mirror:
    """The other side of the head. vertices (V,): the mirrored vertex; triangles (F,) and order (F, 3): the mirrored triangle
    and which of its corners mirrors each corner, or -1 where the mesh has none."""

    vertices: np.ndarray
    triangles: np.ndarray
    order: np.ndarray

    def of(self, slots: Slots) -> tuple[Slots, np.ndarray]:
        """The mirrored places and (N,) whether there is one; where not, the places themselves."""
        there = self.triangles[slots.triangles] >= 0
        bary = slots.bary.copy()
        order = self.order[slots.triangles[there]]
        swapped = np.empty_like(bary[there])
        np.put_along_axis(swapped, order, slots.bary[there], 1)
        bary[there] = swapped
        return Slots(np.where(there, self.triangles[slots.triangles], slots.triangles), bary, slots.parts), there


def mirror(head: Head) -> Mirror:
    """The head's symmetry: of its skin; about 0.3 s."""
    skin = head.parts["skin"]
    points = head.template[skin].astype(np.float32)
    flipped = points * np.array([-1, 1, 1], np.float32)
    other = np.arange(len(head.template))
    square = (points**2).sum(1)
    for start in range(0, len(points), 1000):
        chunk = flipped[start : start + 1000]
        other[start : start + len(chunk)] = (square - 2 * chunk @ points.T).argmin(1)
    known = {tuple(sorted(f)): i for i, f in enumerate(head.faces.tolist())}
    image = other[head.faces]
    triangles = np.array([known.get(tuple(sorted(f)), -1) for f in image.tolist()])
    inside = (head.faces < skin.stop).all(1)
    triangles[~inside] = -1
    order = np.zeros_like(head.faces)
    for k in range(3):
        order[:, k] = (head.faces[triangles] == image[:, k : k + 1]).argmax(1)
    return Mirror(other, triangles, order)
