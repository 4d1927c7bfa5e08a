# SPDX-License-Identifier: GPL-3.0-or-later
"""The hair of the face: beard, brows and lashes on a sitter's resting head."""

import numpy as np
from scipy.spatial import cKDTree

from .groom import Scalp, roots, unit
from .sitter import Sitter
from .strands import KINDS, Strands, join


def beard(
    scalp: Scalp, mask: np.ndarray, tint: tuple[float, float, float], count: int, seed: int, grey: float, length: float
) -> Strands:
    """A short beard where `mask` (V,) says, lying downwards and outwards."""
    rng = np.random.default_rng(seed)
    root, mean, normal, owner = roots(scalp, mask, count, rng)
    lip = (mean[:, 1] > -0.024) & (mean[:, 2] > 0.075)
    comb = np.stack([np.sign(mean[:, 0]) * np.where(lip, 0.75, 0.15), -np.ones(count), np.where(lip, 0.0, 0.15)], 1)
    comb = unit(comb - (comb * normal).sum(1, keepdims=True) * normal) + 0.22 * rng.normal(size=(count, 3))
    direction = unit(comb + 0.75 * normal)
    steps = 4
    reach = length * (0.6 + 0.6 * rng.random(count))
    points = np.zeros((count, steps, 3))
    points[:, 0] = root - 0.0003 * normal
    for j in range(1, steps):
        direction = unit(direction + 0.3 * comb)
        points[:, j] = points[:, j - 1] + direction * (reach / (steps - 1))[:, None]
    shade = np.asarray(tint) * np.exp(0.25 * rng.normal(size=(count, 1)))
    chin = np.clip((-0.03 - mean[:, 1]) / 0.03, 0, 1) * np.clip((0.035 - np.abs(mean[:, 0])) / 0.015, 0, 1)
    salt = rng.random(count) < grey * (0.3 + 1.2 * chin)
    shade = np.where(salt[:, None], np.array([0.34, 0.33, 0.32]), shade)
    radius = np.linspace(1.0, 0.5, steps)[None] * 0.00020 * np.ones((count, 1))
    return Strands(points, radius, owner, shade, np.full(count, KINDS.index("beard")))


def brows(
    scalp: Scalp,
    eyes: np.ndarray,
    tint: tuple[float, float, float],
    count: int,
    seed: int,
    *,
    thick: float,
    arch: float,
    drop: float,
) -> Strands:
    """Both brows as combed rows: upwards at the inner end, along the arch further out.

    eyes: (2, 3) centres, left first. thick: half height in metres. arch: rise of the bend. drop: lowers the whole brow.
    """
    rng = np.random.default_rng(seed)
    facing = scalp.normals[:, 2] > 0.05
    candidates = np.flatnonzero(facing & (scalp.rest[:, 1] > eyes[0, 1]) & (scalp.rest[:, 1] < eyes[0, 1] + 0.05))
    plan = cKDTree(scalp.rest[candidates, :2])
    parts = []
    for eye, sign in zip(eyes, (1.0, -1.0), strict=True):
        half = count // 2
        t = 0.9 * rng.random(half) ** 0.85
        across = rng.uniform(-1, 1, half)

        def curve(t: np.ndarray, sign: float = sign, eye: np.ndarray = eye) -> np.ndarray:
            x = sign * (0.0125 + 0.0425 * t)
            y = (
                eye[1]
                + 0.0165
                - drop
                + arch * np.sin(np.pi * np.clip(t / 1.28, 0, 1))
                - 0.004 * np.clip(t - 0.62, 0, 1) / 0.38
            )
            return np.stack([x, y], 1)

        width = thick * np.interp(t, [0, 0.12, 0.5, 0.8, 1], [0.62, 1.0, 0.92, 0.46, 0.22])
        along = curve(t + 0.02) - curve(t - 0.02)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        normal2 = np.stack([-along[:, 1] * sign, along[:, 0] * sign], 1)
        flat = curve(t) + normal2 * (across * width)[:, None]
        _, near = plan.query(flat)
        index = candidates[near]
        root = np.c_[
            flat,
            scalp.rest[index, 2]
            - ((flat - scalp.rest[index, :2]) * scalp.normals[index, :2]).sum(1)
            / np.maximum(scalp.normals[index, 2], 0.2),
        ]
        normal = scalp.normals[index]
        up = np.interp(t, [0, 0.15, 0.4, 1], [1.5, 0.9, 0.42, 0.05]) - 0.45 * across * np.clip(t / 0.3, 0, 1)
        comb = np.c_[along + up[:, None] * normal2, np.zeros(half)]
        comb = unit(comb - (comb * normal).sum(1, keepdims=True) * normal) + 0.10 * rng.normal(size=(half, 3))
        reach = 0.0075 * np.interp(t, [0, 0.3, 1], [0.85, 1.0, 0.75]) * rng.uniform(0.75, 1.15, half)
        steps = 4
        points = np.zeros((half, steps, 3))
        points[:, 0] = root - 0.0002 * normal
        direction = unit(comb + 0.30 * normal)
        for j in range(1, steps):
            direction = unit(direction + np.c_[0.25 * along, np.zeros(half)] - 0.16 * normal)
            points[:, j] = points[:, j - 1] + direction * (reach / (steps - 1))[:, None]
        owner = _owners(scalp, index)
        shade = np.asarray(tint) * np.exp(0.2 * rng.normal(size=(half, 1)))
        radius = np.linspace(1.0, 0.35, steps)[None] * 0.00017 * np.ones((half, 1))
        parts.append(Strands(points, radius, owner, shade, np.full(half, KINDS.index("brow"))))
    return join(parts, 4)


def lashes(sitter: Sitter, eyes: np.ndarray, count: int, seed: int, *, long: bool) -> Strands:
    """Lashes rooted along the lids' edges: a polyline of the head's lash cards, which follow the lids."""
    rng = np.random.default_rng(seed)
    cards = np.flatnonzero(sitter.kind == "lashes")
    parts = []
    for number, eye in enumerate(eyes):
        sign = (1.0, -1.0)[number]
        size = sitter.person.eye_radii[number] / 0.0154
        average = sitter.person.head.joints[3 + number]
        near = cards[np.abs(sitter.rest[sitter.faces[cards]].mean(1)[:, 0] - eye[0]) < 0.03]
        corner = np.unique(sitter.faces[near])
        p = (sitter.mean[corner] - average) * [sign, 1, 1]  # rows are told apart on the mean head, whoever sits
        here = (sitter.rest[corner] - eye) / size * [sign, 1, 1]
        shell = np.linalg.norm(p, axis=1)
        for upper in (True, False):
            row = (
                (np.abs(shell - 0.0171) < 0.0009)
                & (p[:, 0] > -0.0095)
                & ((p[:, 1] > 0.0003) if upper else (p[:, 1] < -0.0024))
            )
            line = here[row][np.argsort(here[row, 0])]
            n = count // 3 * (2 if upper else 1)
            x = line[0, 0] + (line[-1, 0] - line[0, 0]) * rng.random(n) ** (0.8 if upper else 1.0)
            root = np.stack([x] + [np.interp(x, line[:, 0], line[:, k]) for k in (1, 2)], 1)
            across = x / 0.012
            fan = np.stack(
                [0.55 * across + 0.10, (0.12 if upper else -0.35) * np.ones(n), 0.95 - 0.35 * np.abs(across)], 1
            )
            direction = unit(fan + 0.08 * rng.normal(size=(n, 3)))
            bend = np.array([0.05, 0.42 if upper else -0.10, 0.0])
            reach = (
                (0.0088 if long else 0.0066)
                * (1.0 if upper else 0.5)
                * (0.72 + 0.35 * np.clip(across + 0.3, 0, 1))
                * rng.uniform(0.75, 1.1, n)
            )
            points = np.zeros((n, 5, 3))
            points[:, 0] = root
            for j in range(1, 5):
                points[:, j] = points[:, j - 1] + direction * (reach / 4)[:, None]
                direction = unit(direction + bend)
            points = points * [sign, 1, 1] * size + eye
            owner = near[cKDTree(sitter.rest[sitter.faces[near]].mean(1)).query(points[:, 0])[1]]
            radius = np.linspace(1.0, 0.3, 5)[None] * (0.00016 if long else 0.00012) * np.ones((n, 1))
            parts.append(Strands(points, radius, owner, np.full((n, 3), 0.006), np.full(n, KINDS.index("lash"))))
    return join(parts, 5)


def _owners(scalp: Scalp, vertices: np.ndarray) -> np.ndarray:
    """A coarse triangle that touches each fine vertex."""
    first = np.full(len(scalp.rest), -1)
    first[scalp.faces[:, ::-1].T.ravel()] = np.tile(np.arange(len(scalp.faces)), 3)
    return scalp.owner[first[vertices]]
