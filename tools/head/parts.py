# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of the head mesh, and how each follows displacements that are only known on MakeHuman's vertices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from .mpfb import VERTICES, BaseMesh

SKIN, LIPS, EYE_LEFT, EYE_RIGHT, TEETH_UPPER, TEETH_LOWER, GUMS, TONGUE, MOUTH_INTERIOR, LASHES = range(10)
REGIONS = (
    "skin", "lips", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "gums", "tongue", "mouth_interior", "lashes",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Triangles (F, 3) over n vertices, texture corners (F, 3) into uv, and a linear map of MakeHuman's displacements.

    carry: (3 n, 3 * 19158) sparse. A part cut out of MakeHuman's mesh copies or interpolates; a made part follows its
    stand-in (teeth: the strips, eyes: the helper spheres) by local similarity.
    """

    name: str
    positions: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    carry: csr_matrix
    source_index: np.ndarray
    regions: np.ndarray

    def displaced(self, field: np.ndarray) -> np.ndarray:
        """(n, 3) displacement for a field (19158, 3)."""
        return (self.carry @ field.reshape(-1)).reshape(-1, 3)


def kron3(weights: csr_matrix) -> csr_matrix:
    """The same (n, V) weights for x, y and z of interleaved coordinates."""
    coo = weights.tocoo()
    row = (coo.row[:, None] * 3 + np.arange(3)).ravel()
    col = (coo.col[:, None] * 3 + np.arange(3)).ravel()
    return csr_matrix((np.repeat(coo.data, 3), (row, col)), shape=(3 * weights.shape[0], 3 * weights.shape[1]))


def cut(base: BaseMesh, mean: np.ndarray, groups: Sequence[str], floor: float, region: int, name: str) -> Part:
    """The quads of `groups` above the plane y = `floor` of the mean head, cut along it, as triangles."""
    chosen = np.isin(base.groups, groups)
    height = mean[:, 1] - floor
    keys: dict[tuple[int, int], int] = {}  # (a, a) an original vertex, (a, b) the cut of edge a-b
    uv_keys: dict[tuple[int, int], int] = {}
    rows: list[tuple[int, int, float]] = []
    uvs: list[np.ndarray] = []
    faces, faces_uv = [], []

    def corner(a: int, b: int, ta: int, tb: int) -> tuple[int, int]:
        t = 0.0 if a == b else height[a] / (height[a] - height[b])
        if (b, a) in keys and a != b:
            a, b, ta, tb, t = b, a, tb, ta, 1 - t
        if (a, b) not in keys:
            keys[a, b] = len(rows)
            rows.append((a, b, float(t)))
        uv_key = (min(ta, tb), max(ta, tb))
        if uv_key not in uv_keys:
            uv_keys[uv_key] = len(uvs)
            uvs.append(base.uv[ta] * (1 - t) + base.uv[tb] * t)
        return keys[a, b], uv_keys[uv_key]

    for quad, quad_uv in zip(base.quads[chosen].tolist(), base.quads_uv[chosen].tolist(), strict=True):
        inside = [height[i] > 0 for i in quad]
        if not any(inside):
            continue
        polygon = []
        for k in range(4):
            j = (k + 1) % 4
            a, b, ta, tb = quad[k], quad[j], quad_uv[k], quad_uv[j]
            if inside[k]:
                polygon.append(corner(a, a, ta, ta))
            if inside[k] != inside[j]:
                polygon.append(corner(a, b, ta, tb))
        for k in range(1, len(polygon) - 1):
            triple = (polygon[0], polygon[k], polygon[k + 1])
            if len({v for v, _ in triple}) == 3:
                faces.append([v for v, _ in triple])
                faces_uv.append([t for _, t in triple])
    a, b, t = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    n = len(rows)
    index = np.arange(n)
    weights = csr_matrix((np.r_[1 - t, t], (np.r_[index, index], np.r_[a, b])), shape=(n, VERTICES), dtype=np.float64)
    return Part(
        name, weights @ mean, np.array(faces), np.array(uvs), np.array(faces_uv), kron3(weights),
        np.where(a == b, a, -1), np.full(len(faces), region, np.uint8),
    )  # fmt: skip


def similarity(points: np.ndarray, anchors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(3 n, 3 m) matrix: displacements of `anchors` (m, 3) -> those of `points` (n, 3).

    The displacement is the weighted least-squares infinitesimal similarity (translation, rotation, uniform scale), so
    a part carried by it keeps its shape to first order.
    """
    w = weights / weights.sum()
    centre = w @ anchors

    def design(x: np.ndarray) -> np.ndarray:
        d = x - centre
        out = np.zeros((len(x), 3, 7))
        out[:, :, :3] = np.eye(3)
        out[:, 0, 4], out[:, 0, 5] = d[:, 2], -d[:, 1]
        out[:, 1, 3], out[:, 1, 5] = -d[:, 2], d[:, 0]
        out[:, 2, 3], out[:, 2, 4] = d[:, 1], -d[:, 0]
        out[:, :, 6] = d
        return out.reshape(-1, 7)

    a = design(anchors)
    wa = a * np.repeat(w, 3)[:, None]
    return design(points) @ np.linalg.solve(a.T @ wa + 1e-12 * np.eye(7), wa.T)


def expand(matrix: np.ndarray, anchors: np.ndarray) -> csr_matrix:
    """A dense (3 n, 3 m) map over anchor vertices as a sparse one over all MakeHuman vertices."""
    col = (np.asarray(anchors)[:, None] * 3 + np.arange(3)).ravel()
    rows = np.repeat(np.arange(matrix.shape[0]), len(col))
    cols = np.tile(col, matrix.shape[0])
    return csr_matrix((matrix.ravel(), (rows, cols)), shape=(matrix.shape[0], 3 * VERTICES))
