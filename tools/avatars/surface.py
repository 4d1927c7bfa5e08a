# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooth surfaces over a coarse triangle mesh, and points that ride on its triangles."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Refinement:
    """A fine mesh whose vertices are fixed linear combinations of the coarse ones (Loop 1987).

    weights: (V_fine, V) sparse, smooth. linear: (V_fine, V) sparse, the same points without smoothing.
    faces: (F * 4**levels, 3); fine face i lies in coarse face i // 4**levels.
    """

    weights: sp.csr_matrix
    linear: sp.csr_matrix
    faces: np.ndarray
    levels: int

    def coarse(self, fine: np.ndarray) -> np.ndarray:
        """Coarse faces of fine faces."""
        return fine // 4**self.levels


def refine(faces: np.ndarray, vertices: int, levels: int) -> Refinement:
    """Loop subdivision of (F, 3) `faces`; borders follow the cubic spline rule."""
    smooth = linear = sp.csr_matrix(sp.identity(vertices))
    for _ in range(levels):
        step, mid, faces = _loop(faces, smooth.shape[0])
        smooth, linear = sp.csr_matrix(step @ smooth), sp.csr_matrix(mid @ linear)
    return Refinement(smooth, linear, faces, levels)


def _loop(faces: np.ndarray, n: int) -> tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]:
    corners = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    edges, index, count = np.unique(np.sort(corners, 1), axis=0, return_inverse=True, return_counts=True)
    index = index.ravel()
    m = len(edges)
    border = count == 1
    row = n + np.arange(m)
    inner = np.where(border, 0.5, 0.375)
    wings = sp.csr_matrix((np.where(border[index], 0.0, 0.125), (n + index, opposite)), shape=(n + m, n))
    ends = sp.csr_matrix((np.r_[inner, inner], (np.r_[row, row], edges.T.ravel())), shape=(n + m, n))
    neighbours = sp.csr_matrix((np.ones(2 * m), (edges.T.ravel(), edges[:, ::-1].T.ravel())), shape=(n, n))
    valence = np.asarray(neighbours.sum(1)).ravel()
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    on_border = np.zeros(n, bool)
    on_border[edges[border].ravel()] = True
    e = edges[border]
    rim = sp.csr_matrix((np.full(2 * len(e), 0.125), (e.T.ravel(), e[:, ::-1].T.ravel())), shape=(n, n))
    inside = sp.diags(np.where(on_border, 0.0, beta)) @ neighbours
    old = inside + sp.diags(np.where(on_border, 0.75, 1 - beta * valence)) + rim
    step = (sp.vstack([old, sp.csr_matrix((m, n))]) + ends + wings).tocsr()
    half = sp.csr_matrix((np.full(2 * m, 0.5), (np.r_[row, row], edges.T.ravel())), shape=(n + m, n))
    mid = (sp.vstack([sp.identity(n), sp.csr_matrix((m, n))]) + half).tocsr()
    e0, e1, e2 = (n + index[k * len(faces) : (k + 1) * len(faces)] for k in range(3))
    a, b, c = faces.T
    children = np.stack([np.stack(t, 1) for t in ((a, e0, e2), (b, e1, e0), (c, e2, e1), (e0, e1, e2))], 1)
    return step, mid, children.reshape(-1, 3)


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit vertex normals, area weighted."""
    p = vertices[faces]
    n = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    out = np.stack([np.bincount(faces.ravel(), np.repeat(n[:, k], 3), len(vertices)) for k in range(3)], 1)
    return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12)


def scatter(
    vertices: np.ndarray, faces: np.ndarray, weight: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`count` blue-ish random points on a mesh with density proportional to per-face `weight` (F,).

    Stratified along the face list, so neighbouring faces share fairly. Returns face indices (N,) and barycentrics (N, 3).
    """
    p = vertices[faces]
    area = 0.5 * np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1) * weight
    cumulative = np.cumsum(area)
    at = (np.arange(count) + rng.random(count)) / count * cumulative[-1]
    face = np.searchsorted(cumulative, at).clip(0, len(faces) - 1)
    r = rng.random((count, 2))
    flip = r.sum(1) > 1
    r[flip] = 1 - r[flip]
    return face, np.c_[1 - r.sum(1), r]


def interpolate(values: np.ndarray, faces: np.ndarray, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """Vertex values (V, ...) at points on faces."""
    return np.einsum("nk,nk...->n...", barycentric, values[faces[face]])
