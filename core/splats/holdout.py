# SPDX-License-Identifier: GPL-3.0-or-later
"""What opaque meshes leave to be seen of Gaussians: a depth for each pixel from which on nothing is drawn.

A pixel at the edge of a mesh sees two depths, so two limits are made of several sample points in it: the nearest, the
farthest, and the share of the pixel that the nearest takes. The mean of the two pictures drawn with them has edges as smooth
as any renderer's, wherever no more than two surfaces meet in one pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import RasterError
from ..geometry.cameras import Camera
from . import native

OPEN = np.float32(np.inf)
FLAT = 0.01
"""Relative difference of depths within a pixel that is the slope of one surface rather than the edge of two."""
Mesh = tuple[np.ndarray, np.ndarray]
"""vertices (V, 3) in the world and faces (F, 3) int32."""


@dataclass(frozen=True)
class Limits:
    """near, far: (H, W) z in the camera, inf where nothing hides; share: (H, W) 0..1 of the pixel that is near's.

    far and share are None where near is all there is.
    """

    near: np.ndarray
    far: np.ndarray | None = None
    share: np.ndarray | None = None


def limits(meshes: Sequence[Mesh], camera: Camera, end: float, *, samples: int = 4, first: int = 0) -> Limits | None:
    """Limits of what lies before the depth `end`; None where no mesh does.

    samples: points of the pixel. With one, pictures of different `first` smooth the edges when they are averaged.
    """
    plastic = np.float64(1.3247179572447460)
    depths: list[np.ndarray] = []
    for k in range(samples):
        # even spread over the pixel, by the same sequence as lens samples
        x, y = (0.5 + (first + k) / np.array([plastic, plastic**2])) % 1 - 0.5
        K = camera.K.copy()
        K[0, 2] -= x
        K[1, 2] -= y
        depth = mesh_depth(meshes, replace(camera, K=K))
        depth[depth > end] = OPEN  # behind it all: no edge to smooth
        depths.append(depth)
    near = depths[0] if samples == 1 else np.minimum.reduce(depths)
    if not (near <= end).any():
        return None
    if samples == 1:
        return Limits(near)
    far = np.maximum.reduce(depths)
    with np.errstate(divide="ignore", invalid="ignore"):
        edge = far > near * (1 + FLAT)
        middle = 2 / (1 / near + 1 / far)  # between the two, infinity included
        share = np.stack([depth < middle for depth in depths]).mean(0, np.float32)
    share[~edge] = 1
    if not edge.any() or not (near[edge] <= end).any():
        return Limits(near)
    far[~edge] = 0  # drawn by the first picture alone
    return Limits(near, far, share)


def mesh_depth(meshes: Sequence[Mesh], camera: Camera, *, threads: int = 0) -> np.ndarray:
    """(H, W) float32 z of the nearest triangle at each pixel's centre, both sides counting; inf where there is none.

    A million triangles at 1080p take about 0.1 s with the native library; without it, numpy draws them one by one.
    """
    depth = np.full((camera.height, camera.width), OPEN, np.float32)
    library = native.library()
    for vertices, faces in meshes:
        vertices, faces = np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise RasterError(f"Mesh: expected (V, 3) and faces (F, 3); found {vertices.shape} and {faces.shape}.")
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise RasterError(
                f"Mesh: expected corners 0 to {len(vertices) - 1}; found {faces.min()} to {faces.max()}. It is damaged."
            )
        if library is None:
            _plain(vertices, faces, camera, depth)
            continue
        pool, view = native.pool(threads), native.view_of(camera)
        native.check(
            library.splat_mesh_depth(
                pool.handle, view, len(vertices), native.pointer(vertices), len(faces), native.pointer(faces),
                native.pointer(depth),
            )
        )  # fmt: skip
    return depth


def _plain(vertices: np.ndarray, faces: np.ndarray, camera: Camera, depth: np.ndarray) -> None:
    """The same in numpy, triangle by triangle: what the native path is tested against, and its stand-in."""
    matrix = camera.world_to_camera.astype(np.float64)
    points = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    K = camera.K.astype(np.float64)
    near = max(camera.near, 1e-6)
    for corners in points[faces]:
        polygon: list[np.ndarray] = []
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
            if a[2] >= near:
                polygon.append(a)
            if (a[2] >= near) != (b[2] >= near):
                polygon.append(a + (near - a[2]) / (b[2] - a[2]) * (b - a))
        for k in range(2, len(polygon)):
            _fill(np.stack([polygon[0], polygon[k - 1], polygon[k]]), K, camera, depth)


def _fill(corners: np.ndarray, K: np.ndarray, camera: Camera, depth: np.ndarray) -> None:
    x, y = K[0, 0] * corners[:, 0] / corners[:, 2] + K[0, 2], K[1, 1] * corners[:, 1] / corners[:, 2] + K[1, 2]
    try:
        edges = np.linalg.inv(np.stack([x, y, np.ones(3)]))  # rows: 1 at a corner, 0 along the edge opposite
    except np.linalg.LinAlgError:
        return
    height, width = depth.shape
    x0, x1 = np.clip([np.ceil(x.min() - 0.5), np.floor(x.max() - 0.5) + 1], 0, width).astype(int)
    y0, y1 = np.clip([np.ceil(y.min() - 0.5), np.floor(y.max() - 0.5) + 1], 0, height).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    px, py = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
    inside = edges @ np.stack([px.ravel(), py.ravel(), np.ones(px.size)])
    with np.errstate(divide="ignore"):
        z = (1 / (inside.T @ (1 / corners[:, 2]))).reshape(px.shape).astype(np.float32)
    covered = (inside >= -1e-5).all(0).reshape(px.shape) & (z > 0) & (z <= camera.far)
    part = depth[y0:y1, x0:x1]
    part[covered & (z < part)] = z[covered & (z < part)]
