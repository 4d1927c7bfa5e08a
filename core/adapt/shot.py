# SPDX-License-Identifier: GPL-3.0-or-later
"""The photo's part that shows the head, with the fitted mesh in it: what is seen where, and how far it can be trusted."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..capture.embedding import OUTER_CORNERS, load_embedding
from ..capture.matte import box
from ..geometry.cameras import Camera
from ..geometry.triangles import vertex_normals
from ..head.head import Head
from ..splats.holdout import mesh_depth
from .picture import resized, sampled
from .surface import Slots, kinds

OUTER, EYES, MOUTH = 0, 1, 2
"""What the camera meets first in a pixel; -1 where nothing is."""
LAYERS = {"skin": OUTER, "lips": OUTER, "eyes": EYES, "mouth": MOUTH, "teeth": MOUTH, "gums": MOUTH, "tongue": MOUTH}
BUST = -0.11
"""Height on the mean head below which are neck and shoulders."""
LOWEST = -0.17
"""Height on the mean head of what a render is compared down to."""
MARGIN, EXTENT = 0.45, 2.2
"""Above the head, for hair, and of the whole square; in heights of the bald head."""
SIDES = (192, 512)
BEND, MOST_BENT = 0.045, 0.12
"""Reach of a landmark's pull, and how far pixels are moved at most; in distances between the eyes' outer corners."""
STEP = 0.005
"""Metres between neighbouring pixels that make an edge."""
SLACK = 0.004
"""Metres that a surface may lie behind the nearest one and still count as seen."""


@dataclass(frozen=True)
class Shot:
    """S x S pixels round the head. light: (S, S, 3) linear, the background taken out at edges; matte: (S, S);
    camera and vertices: the fitted mesh in front of it; landmarks (478, 2) and square (left, top, side): of the photo."""

    light: np.ndarray
    matte: np.ndarray
    camera: Camera
    vertices: np.ndarray
    head: Head
    landmarks: np.ndarray
    square: tuple[float, float, float]

    @property
    def side(self) -> int:
        return self.camera.width

    @cached_property
    def normals(self) -> np.ndarray:
        return vertex_normals(self.vertices, self.head.faces)

    @cached_property
    def depth(self) -> np.ndarray:
        """(3, S, S) z of each layer, inf where it is not."""
        kind = kinds(self.head)
        layer = np.array([LAYERS.get(k, -1) for k in kind])
        return np.stack([mesh_depth([(self.vertices, self.head.faces[layer == k])], self.camera) for k in range(3)])

    @cached_property
    def first(self) -> np.ndarray:
        """(S, S) which layer is in front, -1 for none."""
        return np.where(np.isfinite(self.depth).any(0), self.depth.argmin(0), -1)

    @property
    def pixel(self) -> float:
        """Metres a pixel at the head's depth."""
        return float(self.seen_from(self.vertices[:1])[1][0] / self.camera.K[0, 0])

    def seen_from(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, 2) and depths (N,) of points (N, 3)."""
        at = points @ self.camera.world_to_camera[:3, :3].T + self.camera.world_to_camera[:3, 3]
        k = self.camera.K
        return at[:, :2] / np.maximum(at[:, 2:], 1e-3) * k[[0, 1], [0, 1]] + k[:2, 2], at[:, 2]

    @cached_property
    def steady(self) -> np.ndarray:
        """(S, S) 0..1: 0 where one part of the person hides another that is farther away, as a chin hides the neck."""
        z = np.where(self.first == OUTER, self.depth[OUTER], np.nan)
        jump = np.zeros(z.shape, np.float32)
        for axis in (0, 1):
            with np.errstate(invalid="ignore"):
                step = np.abs(np.diff(z, axis=axis)) > STEP + 2.5 * self.pixel
            for shift in (slice(None, -1), slice(1, None)):
                jump[(shift, slice(None)) if axis == 0 else (slice(None), shift)] += step
        return np.clip(1 - 4 * box(np.minimum(jump, 1), max(1, round(0.0025 / self.pixel))), 0, 1)

    def trust(self, layer: int, radius: int) -> np.ndarray:
        """(S, S) 0..1: whether the pixels around show that layer and nothing else; the fit is a pixel or two off."""
        good = (self.first == layer) & (self.matte > 0.9)
        return np.clip((box(good.astype(np.float32), radius) - 0.75) / 0.2, 0, 1) * self.steady

    def facing(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(N,) cosine between the surface's normal and the way to the camera."""
        away = self.camera.position - points
        away = away / np.linalg.norm(away, axis=1, keepdims=True)
        length = np.linalg.norm(normals, axis=1)
        return (normals * away).sum(1) / np.maximum(length, 1e-9)

    def counted(self) -> np.ndarray:
        """(S, S) 0 or 1: pixels in which a render of the head should be the photo: not below its hem, nor where clothes reach
        beyond the bust or stay inside it."""
        rows = np.arange(self.side)[:, None] + 0.5
        chin = self.seen_from(self.vertices[[self.head.landmarks["chin"]]])[0][0, 1]
        edge = self.vertices[np.abs(self.head.template[:, 1] - LOWEST) < 0.004]
        above = (rows < self.seen_from(edge)[0][:, 1].min()) & (rows < self._photo_end())
        mesh = self.first >= 0
        agree = (rows < chin) | (mesh == (self.matte > 0.5))
        return (agree & above).astype(np.float32)

    def _photo_end(self) -> float:
        """Row of the shot at which the photo ends below."""
        last = np.flatnonzero(self.matte.max(1) > 0.02)
        return float(last[-1]) if len(last) else 0.0

    def look(self, places: Slots, layer: int, trust: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colours (N, 3) in the photo where the places would be, and weights (N,) 0..1: are they what is seen there?"""
        points = places.of(self.vertices, self.head.faces)
        normals = places.of(self.normals, self.head.faces)
        pixels, z = self.seen_from(points)
        inside = ((pixels > 0.5) & (pixels < self.side - 0.5)).all(1)
        column, row = np.clip(pixels.astype(int), 0, self.side - 1).T
        front = z < self.depth.min(0)[row, column] + SLACK
        weight = np.clip((self.facing(points, normals) - 0.18) / 0.35, 0, 1) * inside * front
        return sampled(self.light, pixels), (weight * sampled(trust, pixels)).astype(np.float32)


def square_around(head: Head, vertices: np.ndarray, camera: Camera) -> tuple[float, float, float]:
    """Left, top and side, in the photo's pixels, of the square that a Shot shows."""
    at = vertices[head.template[:, 1] > BUST] @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    pixels = at[:, :2] / at[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    low, high = pixels.min(0), pixels.max(0)
    height = float(high[1] - low[1])
    side = EXTENT * height
    return float((low[0] + high[0]) / 2 - side / 2), float(low[1] - MARGIN * height), side


def shot_of(
    light: np.ndarray,
    matte: np.ndarray,
    camera: Camera,
    vertices: np.ndarray,
    head: Head,
    landmarks: np.ndarray,
) -> Shot:
    """Cut out of the whole photo's light (H, W, 3), matte (H, W) and camera. Outside of the photo the matte is 0."""
    square = square_around(head, vertices, camera)
    left, top, extent = square
    side = int(np.clip(round(extent), *SIDES))
    K = camera.K.astype(np.float64).copy()
    K[0, 2] -= left
    K[1, 2] -= top
    K[:2] *= side / extent
    cut = resized(matte, square, side)[..., 0]
    middle = np.arange(side) + 0.5
    x, y = left + middle * extent / side, top + middle * extent / side
    cut = cut * ((y > 0) & (y < matte.shape[0]))[:, None] * ((x > 0) & (x < matte.shape[1]))[None]
    small = replace(camera, K=K.astype(np.float32), width=side, height=side)
    shot = Shot(resized(light, square, side), cut.astype(np.float32), small, vertices, head, landmarks, square)
    return _fitting(shot)


def _fitting(shot: Shot) -> Shot:
    """The shot bent by a millimetre here and there, so that its lips, lids and brows lie where the mesh has them: what is
    copied to an upper lid must not be eyeball, nor teeth to a lip, and the mesh cannot open every mouth as its owner does."""
    left, top, extent = shot.square
    seen = (shot.landmarks - [left, top]) * shot.side / extent
    wanted = shot.seen_from(load_embedding(shot.head).of(shot.vertices))[0]
    off = seen - wanted
    eyes = float(np.linalg.norm(wanted[OUTER_CORNERS[0]] - wanted[OUTER_CORNERS[1]]))
    off *= np.minimum(1, MOST_BENT * eyes / np.maximum(np.linalg.norm(off, axis=1, keepdims=True), 1e-6))
    step = max(1, shot.side // 96)
    grid = np.arange(0, shot.side + step, step) + 0.5
    at = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    square = (at**2).sum(1)[:, None] + (wanted**2).sum(1)[None] - 2 * at @ wanted.T
    pull = np.exp(-0.5 * square / (BEND * eyes) ** 2)
    bend = (pull @ off / (pull.sum(1, keepdims=True) + 0.3)).reshape(len(grid), len(grid), 2)
    rows, columns = np.mgrid[: shot.side, : shot.side] + 0.5
    field = sampled(bend, np.stack([columns.ravel(), rows.ravel()], 1) / step - 0.5 / step + 0.5)
    source = np.stack([columns.ravel(), rows.ravel()], 1) + field
    light = sampled(shot.light, source).reshape(shot.light.shape).astype(np.float32)
    matte = sampled(shot.matte, source).reshape(shot.matte.shape).astype(np.float32)
    return replace(shot, light=light, matte=matte)
