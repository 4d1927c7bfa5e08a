# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians before any fitting: discs on skin, cloth, teeth and eyes, spindles along hair, all on the head's triangles."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from loquent.core.geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz
from loquent.core.geometry.triangles import triangle_frames
from loquent.core.splats.binding import Binding

from . import shots
from .sitter import Sitter
from .stage import KIND_NAMES, Look, strike
from .strands import KINDS
from .surface import normals, scatter

GROUPS = ("skin", "mouth", "teeth", "gums", "tongue", "shirt", "eyes", "hair", "brow", "lash", "beard")
COUNTS = {"skin": 17500, "mouth": 1700, "teeth": 3200, "gums": 800, "tongue": 1500, "shirt": 3600, "eyes": 3000}
SPINDLES = {"hair": 5, "brow": 1, "lash": 2, "beard": 1}
"""Gaussians a wisp."""


@dataclass(frozen=True)
class Start:
    """binding: N Gaussians, scales local. group: (N,) index into GROUPS. colour: (N, 3) painted base colour, linear.
    heights: (N,) metres at rest."""

    binding: Binding
    group: np.ndarray
    colour: np.ndarray
    heights: np.ndarray


def start(sitter: Sitter, look: Look, seed: int, *, hair_spindles: int) -> Start:
    """Lays Gaussians on the resting person."""
    rng = np.random.default_rng(seed)
    posed = [
        strike(look, sitter, sitter.pose(shots.EXPRESSIONS[n]))
        for n in ("neutral", "wide", "blink", "laugh", "ou", "raised")
    ]
    parts = _surfaces(sitter, look, posed, rng) + _eyes(sitter, look, rng) + _spindles(sitter, look, hair_spindles)
    means, rotations, scales, triangles, group, colour = (np.concatenate(x) for x in zip(*parts, strict=True))
    origins, frames, sizes = triangle_frames(sitter.rest, sitter.faces[triangles])
    inverse = matrix_to_quat_wxyz(frames) * np.array([1, -1, -1, -1])
    binding = Binding(
        triangles.astype(np.int32),
        (np.einsum("nji,nj->ni", frames, means - origins) / sizes[:, None]).astype(np.float32),
        quat_multiply_wxyz(inverse, matrix_to_quat_wxyz(rotations)).astype(np.float32),
        (scales / sizes[:, None]).astype(np.float32),
    )
    return Start(binding, group, colour, means[:, 1])


def spread(vertices: np.ndarray, faces: np.ndarray, weight: np.ndarray, count: int, rng: np.random.Generator):
    """About `count` points at even distances where `weight` (F,) is even; faces (n,), barycentrics (n, 3)."""
    face, bary = scatter(vertices, faces, weight, 5 * count, rng)
    points = np.einsum("nk,nkd->nd", bary, vertices[faces[face]])
    area = 0.5 * np.linalg.norm(np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2))), axis=1)
    room = np.sqrt((area * weight).sum() / count / weight[face])  # metres between neighbours
    order = rng.permutation(len(points))
    tree = cKDTree(points)
    free = np.ones(len(points), bool)
    chosen = []
    for i in order:
        if free[i]:
            chosen.append(i)
            free[tree.query_ball_point(points[i], 0.80 * room[i])] = False
    chosen = np.array(chosen)
    return face[chosen], bary[chosen], room[chosen]


def _basis(normal: np.ndarray) -> np.ndarray:
    """(n, 3, 3) rotations whose third column is the normal."""
    helper = np.where(np.abs(normal[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    a = np.cross(normal, helper)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    return np.stack([a, np.cross(normal, a), normal], 2)


def _areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return 0.5 * np.linalg.norm(
        np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]), axis=1
    )


def _surfaces(sitter: Sitter, look: Look, posed: list, rng: np.random.Generator) -> list:
    rest = posed[0]
    out = []
    area = _areas(rest.skin, look.faces)
    stretch = np.clip(np.max([_areas(p.skin, look.faces) for p in posed], 0) / np.maximum(area, 1e-12), 1, 6)
    middle = look.mean[look.faces].mean(1)
    lips = sitter.lips[sitter.faces].mean(1)[look.owner]
    covered = (np.sort(look.faces, 1)[:, 0] * 0 == 0) & _under_cloth(look)
    for name in ("skin", "mouth", "teeth", "gums", "tongue"):
        mine = np.flatnonzero((look.kind == KIND_NAMES.index(name)) & ~covered)
        weight = stretch[mine].copy()
        p = middle[mine]
        if name == "skin":
            face = np.clip((p[:, 2] - 0.035) / 0.03, 0, 1) * (p[:, 1] > -0.075)
            weight *= 0.35 + 1.1 * face
            weight *= 1 + 3.0 * lips[mine]
            for eye in sitter.person.head.joints[3:5]:
                weight *= 1 + 2.2 * np.exp(-0.5 * (((p - eye) / [0.017, 0.012, 0.03]) ** 2).sum(1))
            weight *= 1 + 0.8 * np.exp(-0.5 * (((p - [0, 0.012, 0.10]) / [0.016, 0.012, 0.03]) ** 2).sum(1))
        if name in ("teeth", "gums", "tongue", "mouth"):
            weight *= np.interp(p[:, 2], [0.02, 0.06, 0.075], [0.25, 0.6, 1.6])
        faces = look.faces[mine]
        f, bary, room = spread(rest.skin, faces, weight, COUNTS[name], rng)
        out.append(_discs(rest.skin, faces, f, bary, room, look.owner[mine][f], GROUPS.index(name), look.colour))
    owner = look.owner[_index_of(look.shirt, look.faces)]
    edge = np.exp(-((look.shell[look.shirt].mean(1) - 0.0045) ** 2) / 0.0015**2)
    keep = look.shell[look.shirt].mean(1) > -0.0015
    faces = look.shirt[keep]
    f, bary, room = spread(rest.shirt, faces, (0.6 + 1.2 * edge)[keep], COUNTS["shirt"], rng)
    out.append(_discs(rest.shirt, faces, f, bary, room, owner[keep][f], GROUPS.index("shirt"), look.shirt_colour))
    return out


def _under_cloth(look: Look) -> np.ndarray:
    """(F_fine,) faces that cloth hides in every view."""
    deep = np.zeros(len(look.mean), bool)
    deep[look.shirt[(look.shell[look.shirt] > 0.002).all(1)]] = True
    return deep[look.faces].all(1)


def _index_of(some: np.ndarray, all_faces: np.ndarray) -> np.ndarray:
    """Rows of `all_faces` that equal the rows of `some`."""
    table = {tuple(row): i for i, row in enumerate(all_faces.tolist())}
    return np.array([table[tuple(row)] for row in some.tolist()])


def _discs(vertices, faces, f, bary, room, owner, group, colour) -> tuple:
    n = np.einsum("nk,nkd->nd", bary, normals(vertices, faces)[faces[f]])
    n /= np.linalg.norm(n, axis=1, keepdims=True) + 1e-12
    scales = np.stack([0.52 * room, 0.52 * room, 0.12 * room], 1)
    means = np.einsum("nk,nkd->nd", bary, vertices[faces[f]]) - n * (0.15 * room)[:, None]
    return means, _basis(n), scales, owner, np.full(len(f), group), np.einsum("nk,nkd->nd", bary, colour[faces[f]])


def _eyes(sitter: Sitter, look: Look, rng: np.random.Generator) -> list:
    out = []
    for number, (name, centre) in enumerate(zip(("eye_left", "eye_right"), sitter.eyes, strict=True)):
        points = look.eye_points[number]
        triangles = np.flatnonzero(sitter.kind == name)
        faces = look.eye_faces
        forward = points[faces].mean(1)
        angle = np.arccos(np.clip(forward[:, 2] / np.linalg.norm(forward, axis=1), -1, 1))
        keep = angle < 1.35
        faces, angle = faces[keep], angle[keep]
        weight = np.where(angle < 0.46, 4.5, np.where(angle < 0.9, 1.0, 0.4))
        f, bary, room = spread(points, faces, weight, COUNTS["eyes"] // 2, rng)
        disc = _discs(
            points, faces, f, bary, room, np.zeros(len(f), int), GROUPS.index("eyes"), look.eye_colours[number]
        )
        means = disc[0] + centre
        near = cKDTree(sitter.rest[sitter.faces[triangles]].mean(1)).query(means)[1]
        out.append((means, *disc[1:3], triangles[near], *disc[4:]))
    return out


def _spindles(sitter: Sitter, look: Look, hair_spindles: int) -> list:
    s = look.strands
    out = []
    for number, kind in enumerate(KINDS):
        mine = np.flatnonzero(s.kind == number)
        if not len(mine):
            continue
        each = hair_spindles if kind == "hair" else SPINDLES[kind]
        points = s.points[mine]
        at = np.linspace(0, points.shape[1] - 1, each + 1)
        low = np.minimum(at.astype(int), points.shape[1] - 2)
        knots = points[:, low] * (1 - (at - low))[None, :, None] + points[:, low + 1] * (at - low)[None, :, None]
        for i in range(each):
            a, b = knots[:, i], knots[:, i + 1]
            along = b - a
            length = np.linalg.norm(along, axis=1)
            thick = s.radius[mine][:, [low[i], low[i + 1]]].mean(1) * (1.25 if kind == "hair" else 0.75)
            keep = length > 0.3 * thick
            middle = points[:, round((at[i] + at[i + 1]) / 2)]
            centre = np.where(
                (np.abs(middle - (a + b) / 2).max(1) < 0.5 * length)[:, None], (a + b + middle) / 3, (a + b) / 2
            )
            rotation = _basis(along / (length[:, None] + 1e-12))[:, :, [2, 0, 1]]
            scales = np.stack([0.36 * length, thick, thick], 1)
            m = mine[keep]
            out.append(
                (
                    centre[keep],
                    rotation[keep],
                    scales[keep],
                    s.triangles[m],
                    np.full(len(m), GROUPS.index(kind)),
                    s.colour[m],
                )
            )
    return out
