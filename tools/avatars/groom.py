# SPDX-License-Identifier: GPL-3.0-or-later
"""Hairdresser: grows the hair of the head on a sitter's resting head.

Positions are in head space (metres, y up, z forward, origin at the head's pivot); shapes of hairlines are functions of the
mean head's coordinates, so they follow every identity.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .strands import Strands
from .surface import interpolate, scatter


@dataclass(frozen=True)
class Scalp:
    """What hair grows on and slides over: the skin's fine mesh.

    rest: (V, 3) posed at rest, mean: (V, 3) the same vertices on the mean head, normals: (V, 3), ears: (V,) mask,
    faces: (F, 3), owner: (F,) coarse triangle of each fine face.
    """

    rest: np.ndarray
    mean: np.ndarray
    normals: np.ndarray
    ears: np.ndarray
    faces: np.ndarray
    owner: np.ndarray

    def tree(self) -> cKDTree:
        return cKDTree(self.rest)


def azimuth(p: np.ndarray) -> np.ndarray:
    """Degrees round the head, 0 at the face and 180 behind, either side."""
    return np.degrees(np.abs(np.arctan2(p[:, 0], p[:, 2] - 0.0)))


def hairline(p: np.ndarray, line: dict[float, float], soft: float) -> np.ndarray:
    """0..1: how far points lie inside the hair, `line` maps azimuth to the lowest height with hair."""
    height = np.interp(azimuth(p), list(line), list(line.values()))
    return np.clip((p[:, 1] - height) / soft + 0.5, 0, 1)


BOB_LINE: dict[float, float] = {
    0: 0.107, 22: 0.106, 40: 0.094, 55: 0.073, 68: 0.052, 80: 0.040, 92: 0.050, 112: 0.022, 135: -0.012, 180: -0.028,
}  # fmt: skip
CROP_LINE: dict[float, float] = {
    0: 0.112, 18: 0.114, 34: 0.116, 46: 0.094, 58: 0.074, 70: 0.050, 80: 0.020, 88: 0.046, 112: 0.026, 135: -0.008, 180: -0.022,
}  # fmt: skip


def not_ear(mean: np.ndarray, ears: np.ndarray) -> np.ndarray:
    """0 on the ears and below the nape, 1 elsewhere, on the mean head."""
    return (~((ears > 0.25) | (mean[:, 1] < -0.04))).astype(float)


def roots(scalp: Scalp, density: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """`count` hair roots with density (V,): places, the same on the mean head, normals (n, 3), owning triangles (n,)."""
    weight = density[scalp.faces].mean(1)
    face, bary = scatter(scalp.rest, scalp.faces, weight, count, rng)
    order = rng.permutation(count)
    face, bary = face[order], bary[order]
    root = interpolate(scalp.rest, scalp.faces, face, bary)
    mean = interpolate(scalp.mean, scalp.faces, face, bary)
    normal = interpolate(scalp.normals, scalp.faces, face, bary)
    return root, mean, normal / np.linalg.norm(normal, axis=1, keepdims=True), scalp.owner[face]


def unit(v: np.ndarray) -> np.ndarray:
    """Vectors of length one."""
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-12)


def drift(p: np.ndarray, scale: float, seed: int) -> np.ndarray:
    """Smooth pseudo-random (n, 3) field in -1..1 with features of `scale` metres."""
    rng = np.random.default_rng(seed)
    out = np.zeros_like(p)
    for octave in range(4):
        w = rng.normal(size=(3, 3, 3)) / scale * (1.0 + 0.6 * octave)
        phase = rng.random((3, 3)) * 6.283
        for axis in range(3):
            out[:, axis] += np.sin(p @ w[axis].T + phase[axis]).mean(1) / (1 + octave)
    return out


def bob(scalp: Scalp, tint: tuple[float, float, float], count: int, seed: int) -> Strands:
    """Chin-length hair with a parting on the left, tucked softly inwards at the tips."""
    rng = np.random.default_rng(seed)
    inside = hairline(scalp.mean, BOB_LINE, 0.006) * not_ear(scalp.mean, scalp.ears)
    part_x = 0.022
    front_edge = np.clip(1 - (hairline(scalp.mean - [0, 0.012, 0], BOB_LINE, 0.02)), 0, 1) * (scalp.mean[:, 2] > 0.02)
    root, mean, normal, owner = roots(scalp, inside * (1 + 1.2 * front_edge), count, rng)
    parting = part_x * np.clip((mean[:, 2] + 0.06) / 0.05, 0, 1) + 0.003 * rng.normal(size=count)
    side = np.where(mean[:, 0] > parting, 1.0, -1.0)
    crown = np.clip((0.025 - mean[:, 2]) / 0.045, 0, 1)  # behind the crown hair fans out from the whorl
    high = np.clip((mean[:, 1] - 0.02) / 0.12, 0, 1)
    deep = hairline(mean - [0, 0.028, 0], BOB_LINE, 0.05)
    clearance = 0.0025 + (0.012 * high**1.5 + 0.0035 * rng.random(count)) * (0.35 + 0.65 * deep)
    length_end = -0.062 + 0.006 * rng.normal(size=count) - 0.016 * np.clip(mean[:, 2] / 0.08, 0, 1)
    comb = np.stack([side * (1 - 0.7 * crown), -0.15 * np.ones(count), np.where(crown > 0, -1.1 * crown, -0.42)], 1)
    whorl = unit(mean - np.array([part_x * 0.6, 0.160, -0.005])) * [1.25, 1, 1]
    comb = comb * (1 - crown[:, None]) + 1.1 * whorl * crown[:, None]
    comb += 0.16 * drift(root, 0.03, seed + 1)
    steps, step = 26, 0.0105
    tree = scalp.tree()
    points = np.zeros((count, steps, 3))
    points[:, 0] = root - 0.0005 * normal
    direction = unit(0.45 * normal + unit(comb))
    alive = np.ones(count, bool)
    travelled = np.zeros(count)
    fuzz = rng.normal(size=(count, 3))
    for j in range(1, steps):
        here = points[:, j - 1]
        fall = np.clip(travelled / 0.075, 0, 1)[:, None]
        pull = (1 - fall) * unit(comb) + fall * np.array([0, -1.0, 0]) * 1.3
        pull += 0.10 * drift(here + 0.2 * fuzz * 0.01, 0.022, seed + 2) * fall
        tail = np.clip((0.005 - here[:, 1]) / 0.06, 0, 1)[:, None]
        inward = unit(np.array([0, 0, -0.012]) - here) * [1, 0, 0.7]
        pull += 0.42 * tail**2 * inward
        front = np.clip((here[:, 2] - 0.040) / 0.03, 0, 1) * np.clip((0.095 - here[:, 1]) / 0.03, 0, 1)
        pull += front[:, None] * (np.array([0, 0, -1.0]) + np.stack([side, 0 * side, 0 * side], 1) * 0.5)
        direction = unit(0.55 * direction + 0.45 * unit(pull))
        move = step * np.where(alive, 1.0, 0.02)[:, None]
        new = here + direction * move
        distance, index = tree.query(new, workers=2)
        n = scalp.normals[index]
        gap = ((new - scalp.rest[index]) * n).sum(1)
        want = clearance * (1 - np.exp(-(travelled + step) / 0.022))
        push = np.where(distance < 0.05, np.maximum(want - gap, 0), 0)
        lift = np.where(
            (distance < 0.03) & (travelled < 0.16), np.minimum(want - gap, 0) * 0.5, 0
        )  # lie down on the head
        new = new + n * (push + lift)[:, None]
        cheek = 0.0935 * np.exp(-0.5 * ((new[:, 1] - 0.03) / 0.075) ** 2 - 0.5 * ((new[:, 2] + 0.012) / 0.055) ** 2)
        short = cheek * np.clip(travelled / 0.05, 0, 1) - np.abs(new[:, 0])  # one smooth curtain over the ears
        new[:, 0] += np.sign(new[:, 0]) * np.where(np.abs(new[:, 0]) > 0.055, np.clip(short, 0, 0.004), 0)
        direction = unit(new - here)
        points[:, j] = np.where(alive[:, None], new, here + direction * step * 0.02)
        travelled += step * alive
        alive &= new[:, 1] > length_end
    for _ in range(6):
        points[:, 2:-1] += 0.5 * (0.5 * (points[:, 1:-2] + points[:, 3:]) - points[:, 2:-1])
    points = clump(points, 0.013, 0.45, rng)
    shade = np.asarray(tint) * np.exp(0.20 * rng.normal(size=(count, 1)) + 0.25 * drift(root, 0.02, seed + 3)[:, :1])
    radius = np.linspace(1.0, 0.55, steps)[None] * 0.00042 * np.ones((count, 1))
    return Strands(points, radius, owner, shade, np.zeros(count, int))


def crop(scalp: Scalp, tint: tuple[float, float, float], count: int, seed: int, grey: float) -> Strands:
    """Short textured hair: 3 to 4 cm on top brushed forward and up, clipped sides."""
    rng = np.random.default_rng(seed)
    inside = hairline(scalp.mean, CROP_LINE, 0.010) * not_ear(scalp.mean, scalp.ears)
    root, mean, normal, owner = roots(scalp, inside, count, rng)
    top = np.clip((mean[:, 1] - 0.075) / 0.045, 0, 1)
    length = (0.006 + 0.026 * top**1.3 * (0.75 + 0.45 * rng.random(count))) * np.interp(
        mean[:, 1], [-0.03, 0.04], [0.55, 1]
    )
    swirl = drift(root, 0.03, seed + 1)
    forward = np.stack([0.35 + 0.5 * swirl[:, 0], 0.35 + 0.3 * swirl[:, 1], 0.95 + 0.3 * swirl[:, 2]], 1)
    down = np.stack([0 * top, -np.ones(count), -0.35 + 0.2 * swirl[:, 2]], 1)
    comb = top[:, None] * forward + (1 - top[:, None]) * down
    comb = unit(comb - (comb * normal).sum(1, keepdims=True) * normal)
    steps = 8
    points = np.zeros((count, steps, 3))
    points[:, 0] = root - 0.0004 * normal
    rise = 0.55 + 0.55 * top + 0.25 * rng.normal(size=count)
    direction = unit(comb + rise[:, None] * normal + 0.18 * rng.normal(size=(count, 3)))
    tree = scalp.tree()
    for j in range(1, steps):
        direction = unit(direction + 0.22 * comb - 0.07 * normal + 0.10 * drift(points[:, j - 1], 0.012, seed + 2))
        new = points[:, j - 1] + direction * (length / (steps - 1))[:, None]
        _, index = tree.query(new, workers=2)
        n = scalp.normals[index]
        gap = ((new - scalp.rest[index]) * n).sum(1)
        points[:, j] = new + n * np.maximum(0.0006 + 0.0004 * j * top - gap, 0)[:, None]
    points = clump(points, 0.007, 0.55, rng)
    salt = grey * np.clip((0.08 - mean[:, 1]) / 0.05, 0.12, 1) > rng.random(count)
    shade = np.asarray(tint) * np.exp(0.25 * rng.normal(size=(count, 1)))
    shade = np.where(salt[:, None], np.array([0.32, 0.31, 0.30]) * np.exp(0.15 * rng.normal(size=(count, 1))), shade)
    radius = np.linspace(1.0, 0.5, steps)[None] * 0.00030 * np.ones((count, 1))
    return Strands(points, radius, owner, shade, np.zeros(count, int))


def clump(points: np.ndarray, spacing: float, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Pulls wisps towards locks that start about `spacing` apart, more towards the tips."""
    n, k, _ = points.shape
    roots = points[:, 0]
    chosen: list[int] = []
    tree = cKDTree(roots)
    free = np.ones(n, bool)
    for i in rng.permutation(n):
        if free[i]:
            chosen.append(i)
            free[tree.query_ball_point(roots[i], spacing * 0.7)] = False
    lock = np.asarray(chosen)
    _, near = cKDTree(roots[lock]).query(roots)
    target = points[lock[near]]
    offset = target - points
    far = np.linalg.norm(offset, axis=2, keepdims=True)
    amount = strength * (np.linspace(0, 1, k)[None, :, None] ** 1.2) * np.exp(-far / 0.03)
    return points + offset * amount * rng.uniform(0.4, 1.0, (n, 1, 1))
