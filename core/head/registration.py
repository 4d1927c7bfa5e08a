# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering a head of another topology to the built-in one, once: what is known of ours can then be carried over.

Three steps, each from what the one before left (prototype and figures: docs/elsewhere.md):

* similarity: from landmarks, or without any from the face's foremost part, tried at several scales;
* shape-space ICP: our identity components towards the other surface, similarity solved again each time;
* Laplacian non-rigid ICP (after Amberg, Romdhani and Vetter 2007, "Optimal Step Nonrigid ICP Algorithms", with a membrane
  instead of affine terms): every vertex free, stiffness falling. Each step is a sparse system solved by conjugate gradients,
  so that numpy suffices.

Expression units, masks and weights are then carried by barycentric weights and turned by the similarity. Turning them by
the local deformation was measured and is worse.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import FormatError
from ..geometry.rotations import axis_angle_to_matrix
from ..geometry.surface import Closest, Surface, components
from .head import Head

STIFFNESS = (50, 20, 10, 4, 2, 1, 0.5)
SOLVES = 2
ICP_ROUNDS = 12
REACH = 0.012
"""Metres of our head, from which a closest point is none."""
BORDER = 0.004
FACING = 0.3
"""Cosine of normals, below which a closest point belongs to another side."""
SURE_METRES = 0.002
SURE_FACING = 0.5
"""Of our head, how near and how alike in normals a carrier must be to be relied on."""
SHAPE_SIGMA = 0.004
"""Metres a vertex may err for one standard deviation of shape."""
POINTS = 300.0
"""What all closest points together count in shape space, so many independent ones."""
SLIDE = 0.05
"""Weight of a closest point itself beside that of its plane."""
LANDMARK_WEIGHT = 5.0
PLAUSIBLE_METRES = 0.004
"""Mean distance between the surfaces of faces, over which they are not held to be registered."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Landmarks:
    """L pairs: corners (L, 3) and weights (L, 3) of points on our head, points (L, 3) on the other.

    trust: 1 for points measured on the mesh; less for many and rough ones, more for a few that must hold the shape.
    """

    corners: np.ndarray
    weights: np.ndarray
    points: np.ndarray
    trust: float = 1.0

    def ours(self, vertices: np.ndarray) -> np.ndarray:
        """(L, 3) on our head at these vertices (V, 3)."""
        return np.einsum("lk,lkd->ld", self.weights, vertices[self.corners])


@dataclass(frozen=True)
class Similarity:
    """x -> scale R x + shift."""

    scale: float
    rotation: np.ndarray
    shift: np.ndarray

    def of(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) moved points."""
        return self.scale * points @ self.rotation.T + self.shift

    def back(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points before the move."""
        return (points - self.shift) @ self.rotation / self.scale

    def turned(self, vectors: np.ndarray) -> np.ndarray:
        """(..., 3) moved displacements."""
        return self.scale * vectors @ self.rotation.T


@dataclass(frozen=True)
class Registration:
    """Our head on another one's surface.

    head: ours. betas (S,): the identity that comes nearest. similarity: head space to the other's space. vertices (V, 3): ours,
    in the other's space, after the last step; shaped (V, 3): after the second one. target: the other's Surface, the part of
    it that was registered. error: mean distance in metres of our head between the faces.
    """

    head: Head
    betas: np.ndarray
    similarity: Similarity
    shaped: np.ndarray
    vertices: np.ndarray
    target: Surface
    error: float

    @cached_property
    def ours(self) -> Surface:
        """Our outer skin on the other's surface."""
        return Surface(self.vertices, outer_skin(self.head))

    @cached_property
    def carrier(self) -> Closest:
        """For each vertex of the other (V', 3) the point of our skin that it is."""
        return self.ours.closest(self.target.vertices, self.target.normals)

    def carry(self, values: np.ndarray) -> np.ndarray:
        """(V', ...) at the other's vertices, of plain values (V, ...) at ours: weights, masks."""
        return self.carrier.of(self.ours.faces, values)

    @cached_property
    def sure(self) -> np.ndarray:
        """(V',) bool: where the carrier is near and faces the same way. Eye sockets and the like are unsure."""
        carrier = self.carrier
        facing = (self.ours.face_normals[carrier.triangles] * self.target.normals).sum(1)
        return (carrier.distances < SURE_METRES * self.similarity.scale) & (facing > SURE_FACING)

    def carry_displacements(self, fields: np.ndarray, still: np.ndarray | None = None) -> np.ndarray:
        """(K, V', 3) in the other's space, of displacements (K, V, 3) in head space: units.

        What has no sure carrier moves as its neighbourhood does, harmonically; `still` (V',) bool: what shall not move.
        """
        corners = self.ours.faces[self.carrier.triangles]
        bary = self.carrier.bary.astype(np.float32)
        out = np.stack([np.einsum("qk,qkd->qd", bary, np.asarray(field, np.float32)[corners]) for field in fields])
        flat = self.similarity.turned(out).transpose(1, 0, 2).reshape(len(bary), -1).astype(np.float64)
        known = self.sure if still is None else self.sure | still
        if still is not None:
            flat[still] = 0
        weights = np.where(known, 1e4, 1e-6)
        right = np.where(known[:, None], weights[:, None] * flat, 0)
        flat = _solve(_Laplacian(self.target.faces, len(flat)), 1.0, weights, right, flat)
        return flat.reshape(len(bary), -1, 3).transpose(1, 0, 2).astype(np.float32)

    def places(self, points: np.ndarray, normals: np.ndarray | None = None) -> Closest:
        """Points of ours, (Q, 3) in the other's space after registration, on the other's surface: landmarks."""
        return self.target.closest(points, normals)


def outer_skin(head: Head) -> np.ndarray:
    """(F', 3) triangles of skin and lips without the mouth's inside."""
    faces = head.faces[head.faces_of("skin", "lips")]
    return faces[(faces < head.parts["skin"].stop).all(1)]


def face_surface(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F', 3) triangles of the largest connected piece, by area: a head without eyeballs, teeth and lashes."""
    piece = components(faces, len(vertices))[faces[:, 0]]
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return faces[piece == np.argmax(np.bincount(piece, area))]


def register(
    head: Head,
    vertices: np.ndarray,
    faces: np.ndarray,
    landmarks: Landmarks | None = None,
    *,
    shapes: int | None = None,
    seen_only: bool = False,
    progress: Progress | None = None,
) -> Registration:
    """Register our head to vertices (V', 3) and triangles (F', 3) of another, in any unit.

    With landmarks in any frame, without them with y up and z forward. shapes: identity components to use, all unless told.
    seen_only: the mesh is no whole head but what was seen of one, in loose pieces, hair included: only its face counts.
    About 8 s for 5,000 vertices. Raises FormatError where the surfaces do not come together: it is no head, or turned.
    """
    tell = progress or (lambda fraction: None)
    vertices = np.asarray(vertices, np.float64)
    if len(vertices) < 100 or not np.isfinite(vertices).all():
        raise FormatError(
            f"Registering needs the mesh of a head; found {len(vertices)} vertices"
            f"{'' if np.isfinite(vertices).all() else ', some not finite'}. Give a whole, finite mesh."
        )
    faces = np.asarray(faces)
    target = Surface(vertices, faces if seen_only else face_surface(vertices, faces))
    work = _Work(head, target, landmarks, seen_only)
    if landmarks is not None:
        start = procrustes(landmarks.ours(head.template.astype(np.float64)), landmarks.points)
    else:
        start = work.guess()
    tell(0.15)
    betas, similarity = work.shape(start, shapes or len(head.shapedirs))
    tell(0.4)
    shaped = similarity.of(head.template + np.tensordot(betas, head.shapedirs.astype(np.float64), 1))
    fitted = work.bend(shaped, similarity.scale, lambda fraction: tell(0.4 + 0.6 * fraction))
    error = work.distance(fitted, similarity.scale)
    if not error < PLAUSIBLE_METRES:
        raise FormatError(
            f"The mesh could not be registered: its face lies {error * 1e3:.1f} mm from the built-in head's, expected less "
            f"than {PLAUSIBLE_METRES * 1e3:.0f}. It should be a human head with y up and z forward, or give landmarks."
        )
    return Registration(head, betas.astype(np.float32), similarity, shaped, fitted, target, error)


def procrustes(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """The similarity that brings points a (N, 3) closest to b (N, 3) (Umeyama 1991)."""
    w = np.ones(len(a)) if weights is None else weights
    w = (w / w.sum())[:, None]
    ca, cb = (w * a).sum(0), (w * b).sum(0)
    u, s, vt = np.linalg.svd(((a - ca) * w).T @ (b - cb))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign @ vt).T
    scale = float((s * sign).sum() / (w * (a - ca) ** 2).sum())
    return Similarity(scale, rotation, cb - scale * rotation @ ca)


class _Work:
    """What the steps share: our outer skin, the target, its border."""

    def __init__(self, head: Head, target: Surface, landmarks: Landmarks | None, seen_only: bool = False):
        self.head, self.target, self.landmarks = head, target, landmarks
        self.faces = outer_skin(head)
        self.skin = np.unique(self.faces)
        template = head.template
        front = (template[:, 2] > template[head.landmarks["eye_left_outer"], 2] - 0.03) & (
            template[:, 1] > template[head.landmarks["chin"], 1] - 0.005
        )
        self.face = self.skin[front[self.skin]]
        # What is seen of closed lips is one surface. Looking for their like there makes them cross: the upper lip's lower side
        # finds what else faces down, the lower lip's. They follow landmarks and the skin around.
        lips = np.unique(head.faces[head.faces_of("lips")])
        self.rows = np.setdiff1d(self.face, lips) if seen_only else self.skin
        self.seen_only = seen_only
        self.border = _border(target.faces, len(target.vertices))

    def guess(self) -> Similarity:
        """Of a head that looks along z with y up: the best of ICPs at several sizes, from where noses coincide."""
        ours = self.head.template.astype(np.float64)
        used = self.target.vertices[self.target.used]
        nose = used[np.argmax(used[:, 2])]
        width = np.ptp(used[:, 0]) / np.ptp(ours[self.face][:, 0])
        best: tuple[float, Similarity] | None = None
        for factor in (1.0, 0.85, 0.7, 0.55, 0.4):
            scale = width * factor
            found = Similarity(scale, np.eye(3), nose - scale * ours[self.head.landmarks["nose_tip"]])
            rows = self.face[::8]
            for _ in range(15):
                moved = found.of(ours)
                closest = self.target.closest(moved[rows], Surface(moved, self.faces).normals[rows])
                near = closest.distances <= np.quantile(closest.distances, 0.85)
                found = procrustes(ours[rows][near], closest.points[near])
            error = float(np.sort(closest.distances)[: int(0.85 * len(rows))].mean() / found.scale)
            if best is None or error < best[0]:
                best = error, found
        assert best is not None
        return best[1]

    def shape(self, similarity: Similarity, count: int) -> tuple[np.ndarray, Similarity]:
        """Betas (S,) and similarity by ICP in shape space: to the planes of closest points, so that skin may slide."""
        template = self.head.template.astype(np.float64)
        dirs = self.head.shapedirs[:count].astype(np.float64)
        betas = np.zeros(len(self.head.shapedirs))
        rows = self.rows[::2]
        marks = self.landmarks
        prior = np.concatenate([np.ones(count), np.zeros(7)])
        for round_ in range(ICP_ROUNDS):
            shaped = template + np.tensordot(betas[:count], dirs, 1)
            closest, weights = self.match(
                similarity.of(shaped), rows, similarity.scale, reach=REACH * (2.5 - round_ / 8)
            )
            near = np.flatnonzero(weights)
            if len(near) < 50:
                break
            at = rows[near]
            goal = similarity.back(closest.points[near])  # in head space, the unit of SHAPE_SIGMA
            normals = closest.of(self.target.faces, self.target.normals)[near] @ similarity.rotation
            # neighbours err alike: all of them together are worth so many points
            sure = POINTS / len(near) / SHAPE_SIGMA**2
            moves = np.concatenate([dirs[:, at], _similarity_moves(shaped[at])])  # (S + 7, n, 3)
            across = np.einsum("knd,nd->kn", moves, normals)
            off = goal - shaped[at]
            normal = sure * across @ across.T
            right = sure * across @ (normals * off).sum(1)
            flat = moves.reshape(len(moves), -1)
            normal += SLIDE * sure * flat @ flat.T
            right += SLIDE * sure * flat @ off.ravel()
            if marks is not None:
                flat = np.concatenate(
                    [
                        np.einsum("lk,slkd->sld", marks.weights, dirs[:, marks.corners]),
                        _similarity_moves(marks.ours(shaped)),
                    ]
                ).reshape(len(moves), -1)
                normal += marks.trust * flat @ flat.T / SHAPE_SIGMA**2
                right += (
                    marks.trust * flat @ (similarity.back(marks.points) - marks.ours(shaped)).ravel() / SHAPE_SIGMA**2
                )
            right[:count] -= betas[:count]
            change = np.linalg.solve(normal + np.diag(prior), right)
            betas[:count] += change[:count]
            similarity = _moved(similarity, change[count:])
        return betas, similarity

    def bend(self, start: np.ndarray, scale: float, progress: Progress) -> np.ndarray:
        """(V, 3) with every vertex free, ever less stiff. Teeth, eyes and tongue follow the skin nearest to them."""
        skin = self.skin
        laplacian = _Laplacian(self.faces, len(start))
        moved = start.copy()
        marks = self.landmarks
        pulls = np.zeros(len(start))
        if marks is not None:
            at = marks.corners[np.arange(len(marks.corners)), marks.weights.argmax(1)]
            pulls[at] = LANDMARK_WEIGHT * min(marks.trust, 1.0)
        for step, stiffness in enumerate(np.repeat(STIFFNESS, SOLVES)):
            closest, weight = self.match(moved, self.rows, scale)
            weights = np.zeros(len(start))
            weights[self.rows] = weight
            goal = moved.copy()
            goal[self.rows] = closest.points
            wanted = weights[:, None] * goal
            if marks is not None:
                there = moved.copy()
                there[at] += marks.points - marks.ours(moved)
                wanted = wanted + pulls[:, None] * there
            hold = 1e-6
            right = stiffness * laplacian(start) + wanted + hold * moved
            moved = _solve(laplacian, stiffness, weights + pulls + hold, right, moved)
            progress((step + 1) / (len(STIFFNESS) * SOLVES))
        rest = np.setdiff1d(np.arange(len(start)), skin)
        closest = Surface(start, self.faces).closest(start[rest])
        moved[rest] = start[rest] + closest.of(self.faces, moved - start)
        return moved

    def match(
        self, vertices: np.ndarray, rows: np.ndarray, scale: float, reach: float = REACH
    ) -> tuple[Closest, np.ndarray]:
        """Closest points of some of our vertices and whether, 1 or 0, each counts."""
        normals = Surface(vertices, self.faces).normals[rows]
        closest = self.target.closest(vertices[rows], normals)
        facing = (normals * closest.of(self.target.faces, self.target.normals)).sum(1) > FACING
        inside = closest.of(self.target.faces, self.border.astype(np.float64)) < 1e-6
        return closest, (facing & inside & (closest.distances < reach * scale)).astype(np.float64)

    def distance(self, vertices: np.ndarray, scale: float) -> float:
        """Mean distance, in metres of our head, of our face's vertices from the target: from the nearer two thirds of them
        where the target is only what was seen."""
        distances = np.sort(self.target.closest(vertices[self.face]).distances)
        count = len(distances) * 2 // 3 if self.seen_only else len(distances)
        return float(distances[:count].mean() / scale)


def _border(faces: np.ndarray, count: int) -> np.ndarray:
    """(V,) whether a vertex lies on an open edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    kinds, times = np.unique(edges, axis=0, return_counts=True)
    out = np.zeros(count, bool)
    out[kinds[times == 1]] = True
    return out


def _similarity_moves(points: np.ndarray) -> np.ndarray:
    """(7, N, 3) what small shifts, turns about the axes and growth do to points (N, 3)."""
    shifts = np.broadcast_to(np.eye(3)[:, None], (3, len(points), 3))
    turns = np.cross(np.eye(3)[:, None], points[None])
    return np.concatenate([shifts, turns, points[None]])


def _moved(similarity: Similarity, change: np.ndarray) -> Similarity:
    """A similarity after a small one (7,), made exact."""
    angle = float(np.linalg.norm(change[3:6]))
    turn = axis_angle_to_matrix(change[3:6]) if angle > 0 else np.eye(3)
    scale = float(np.exp(np.clip(change[6], -0.2, 0.2)))
    return Similarity(
        similarity.scale * scale, similarity.rotation @ turn, similarity.of(change[:3])
    )  # fmt: skip


class _Laplacian:
    """The graph Laplacian of a mesh as a function: sum over neighbours of x_i - x_j."""

    def __init__(self, faces: np.ndarray, count: int):
        edges = np.unique(np.concatenate([faces[:, [i, j]] for i in range(3) for j in range(3) if i != j]), axis=0)
        self.degree = np.bincount(edges[:, 0], minlength=count).astype(np.float64)
        self._neighbours = edges[:, 1]
        self._rows = np.flatnonzero(self.degree)
        self._starts = np.searchsorted(edges[:, 0], self._rows)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        out = self.degree[:, None] * x
        out[self._rows] -= np.add.reduceat(x[self._neighbours], self._starts, axis=0)
        return out


def _solve(
    laplacian: _Laplacian, stiffness: float, weights: np.ndarray, right: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """x of (stiffness L + diag(weights)) x = right, by conjugate gradients preconditioned by the diagonal."""
    diagonal = (stiffness * laplacian.degree + weights)[:, None]

    def product(x: np.ndarray) -> np.ndarray:
        return stiffness * laplacian(x) + weights[:, None] * x

    x = start.copy()
    residual = right - product(x)
    z = residual / diagonal
    direction, before = z, (residual * z).sum(0)
    tiny = 1e-12 * np.maximum((right * right / diagonal).sum(0), 1e-300)
    for _ in range(400):
        along = product(direction)
        step = before / np.maximum((direction * along).sum(0), 1e-300)
        x += step * direction
        residual -= step * along
        z = residual / diagonal
        after = (residual * z).sum(0)
        if (after <= tiny).all():
            break
        direction = z + after / np.maximum(before, 1e-300) * direction
        before = after
    return x
