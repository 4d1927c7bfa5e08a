# SPDX-License-Identifier: GPL-3.0-or-later
"""The points that every synthetic person is made of: one set on the mean head's smooth surface, finer where people look.

Points are shared by all people, so what depends on the head alone is computed once a process: which triangles they ride
on, how they follow its vertices, and masks.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from loquent.core.geometry.rotations import matrix_to_quat_wxyz
from loquent.core.head.head import Head, load_head

from ..avatars.sitter import KINDS
from ..avatars.stage import eye_grid
from ..avatars.surface import normals, refine, scatter

GROUPS = ("skin", "mouth", "teeth", "gums", "tongue", "eyes")
COUNTS = {"skin": 36000, "mouth": 1600, "teeth": 3600, "gums": 900, "tongue": 1300}
EYE_POINTS = 1500
"""Of each eye."""


@dataclass(frozen=True)
class Layout:
    """N points on skin, mouth, teeth, gums and tongue, then E on each eye.

    group: (N,) of GROUPS. triangle: (N,) coarse triangle. smooth: (N, V) sparse, position on the smooth surface. linear: (N, V)
    sparse, for masks and normals. mean: (N, 3) on the mean head. room: (N,) metres between neighbours there.
    lips, inner, ears, lids: (N,) masks 0..1.
    average: (V, V) sparse, mean of each vertex and its neighbours. blur: (N, N) sparse, of each point and its neighbours in its
    group. scalp_*: mesh that hair grows on.
    eye_theta, eye_phi, eye_room: (E,) places on a unit eyeball about its axis.
    """

    head: Head
    kind: np.ndarray
    group: np.ndarray
    triangle: np.ndarray
    smooth: sp.csr_matrix
    linear: sp.csr_matrix
    mean: np.ndarray
    room: np.ndarray
    lips: np.ndarray
    inner: np.ndarray
    ears: np.ndarray
    lids: np.ndarray
    average: sp.csr_matrix
    blur: sp.csr_matrix
    inner_vertices: np.ndarray
    scalp_weights: sp.csr_matrix
    scalp_linear: sp.csr_matrix
    scalp_faces: np.ndarray
    scalp_owner: np.ndarray
    eye_theta: np.ndarray
    eye_phi: np.ndarray
    eye_room: np.ndarray

    def __len__(self) -> int:
        return len(self.group)


@cache
def layout() -> Layout:
    """The points; a few seconds the first time."""
    head = load_head()
    rng = np.random.default_rng(0)
    kind = np.array([KINDS[n] for n in head.region_names])[head.regions]
    fine = refine(head.faces, len(head.template), 2)
    surface = fine.weights @ head.template
    inner = np.zeros(len(head.template))
    mouth_faces, skin_faces = head.faces[kind == "mouth"], head.faces[kind == "skin"]
    inner[mouth_faces] = 1
    inner[np.intersect1d(mouth_faces, skin_faces)] = 0.5
    owner = fine.coarse(np.arange(len(fine.faces)))
    rows, parts = [], []
    for number, name in enumerate(GROUPS[:-1]):
        mine = np.flatnonzero(kind[owner] == name)
        faces = fine.faces[mine]
        weight = _importance(name, surface[faces].mean(1), head, head.masks["lips"][head.faces[owner[mine]]].mean(1))
        face, bary, room = _spread(surface, faces, weight, COUNTS[name], rng)
        n = len(face)
        rows.append(sp.csr_matrix((bary.ravel(), (np.repeat(np.arange(n), 3), faces[face].ravel())), (n, len(surface))))
        parts.append((np.full(n, number), owner[mine][face], room))
    at = sp.vstack(rows).tocsr()
    group, triangle, room = (np.concatenate(x) for x in zip(*parts, strict=True))
    smooth, linear = (
        sp.csr_matrix(at @ fine.weights, dtype=np.float32),
        sp.csr_matrix(at @ fine.linear, dtype=np.float32),
    )
    masks = {n: linear @ head.masks[n] for n in ("lips", "ears", "eyelids")}
    coarse = refine(head.faces, len(head.template), 1)
    scalp = np.repeat(kind == "skin", 4)
    theta, phi, eye_room = _eye_points(rng)
    return Layout(
        head, kind, group, triangle, smooth, linear, smooth @ head.template, room, masks["lips"], linear @ inner.astype(np.float32),
        masks["ears"], masks["eyelids"], _average(head.faces, len(head.template)),
        _blur(smooth @ head.template, group), inner, coarse.weights, coarse.linear,
        coarse.faces[scalp], coarse.coarse(np.flatnonzero(scalp)), theta, phi, eye_room,
    )  # fmt: skip


def _importance(name: str, p: np.ndarray, head: Head, lips: np.ndarray) -> np.ndarray:
    """(F,) points wanted per area."""
    if name != "skin":
        return np.interp(p[:, 2], [0.02, 0.06, 0.075], [0.25, 0.6, 1.6])
    face = np.clip((p[:, 2] - 0.030) / 0.03, 0, 1) * (p[:, 1] > -0.085)
    collar = np.exp(-(((p[:, 1] + 0.115) / 0.04) ** 2)) * (np.abs(p[:, 0]) < 0.11)  # cloth has its edges here
    weight = (0.30 + 1.1 * face + 0.35 * collar) * np.where(p[:, 1] < -0.16, 0.75, 1) * (1 + 1.6 * lips)
    for eye in head.joints[3:5]:
        weight = weight * (1 + 2.2 * np.exp(-0.5 * (((p - eye) / [0.018, 0.012, 0.03]) ** 2).sum(1)))
    return weight * (1 + 0.8 * np.exp(-0.5 * (((p - [0, 0.012, 0.10]) / [0.016, 0.012, 0.03]) ** 2).sum(1)))


def _spread(vertices, faces, weight, count, rng):
    """About `count` points at even distances where `weight` is even: faces, barycentrics and metres between neighbours."""
    face, bary = scatter(vertices, faces, weight, 14 * count, rng)
    points = np.einsum("nk,nkd->nd", bary, vertices[faces[face]])
    area = 0.5 * np.linalg.norm(np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2))), axis=1)
    room = np.sqrt((area * weight).sum() / count / weight[face])
    tree = cKDTree(points)
    free = np.ones(len(points), bool)
    chosen = []
    for i in rng.permutation(len(points)):
        if free[i]:
            chosen.append(i)
            free[tree.query_ball_point(points[i], 0.86 * room[i])] = False
    pick = np.sort(np.array(chosen))
    return face[pick], bary[pick], room[pick]


def _average(faces: np.ndarray, n: int) -> sp.csr_matrix:
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1], np.repeat(np.arange(n)[:, None], 2, 1)]), axis=0)
    matrix = sp.csr_matrix((np.ones(len(edges), np.float32), edges.T), (n, n))
    return sp.csr_matrix(sp.diags(1 / np.asarray(matrix.sum(1)).ravel()) @ matrix, dtype=np.float32)


def _blur(points: np.ndarray, group: np.ndarray, neighbours: int = 9) -> sp.csr_matrix:
    apart = np.c_[points, 10.0 * group]
    _, near = cKDTree(apart).query(apart, neighbours)
    rows = np.repeat(np.arange(len(points)), neighbours)
    return sp.csr_matrix((np.full(near.size, 1 / neighbours, np.float32), (rows, near.ravel())), (len(points),) * 2)


def _eye_points(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    faces, theta, phi = eye_grid(40, 64)
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
    angle = theta[faces].mean(1)
    faces, angle = faces[angle < 1.35], angle[angle < 1.35]
    weight = np.where(angle < 0.46, 4.5, np.where(angle < 0.9, 1.0, 0.4))
    face, bary, room = _spread(points, faces, weight, EYE_POINTS, rng)
    place = np.einsum("nk,nkd->nd", bary, points[faces[face]])
    place /= np.linalg.norm(place, axis=1, keepdims=True)
    return np.arccos(np.clip(place[:, 2], -1, 1)), np.arctan2(place[:, 1], place[:, 0]), room


def disc_quats(normal: np.ndarray) -> np.ndarray:
    """(n, 4) rotations whose third axis is the (n, 3) unit normal."""
    helper = np.where(np.abs(normal[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    a = np.cross(normal, helper)
    a /= np.linalg.norm(a, axis=1, keepdims=True) + 1e-12
    return matrix_to_quat_wxyz(np.stack([a, np.cross(normal, a), normal], 2)).astype(np.float32)


def areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) of triangles."""
    p = vertices[faces]
    return 0.5 * np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1)


__all__ = ["GROUPS", "Layout", "areas", "disc_quats", "layout", "normals"]
