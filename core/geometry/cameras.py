# SPDX-License-Identifier: GPL-3.0-or-later
"""Pinhole cameras in OpenCV's convention."""

from dataclasses import dataclass
from math import radians, tan

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: x right, y down, z forward.

    world_to_camera: (4, 4), rigid (a uniform scale is allowed).
    K: (3, 3) intrinsics in pixels; pixel centres lie at +0.5.
    width, height: picture size in pixels.
    near, far: depths in metres between which things are drawn.
    """

    world_to_camera: np.ndarray
    K: np.ndarray
    width: int
    height: int
    near: float = 0.01
    far: float = 1e10

    @property
    def position(self) -> np.ndarray:
        """(3,) of the optical centre in the world."""
        return -np.linalg.solve(self.world_to_camera[:3, :3], self.world_to_camera[:3, 3])


def intrinsics(fov_y: float, width: int, height: int) -> np.ndarray:
    """(3, 3) K of a centred camera with square pixels and vertical field of view `fov_y` in radians."""
    focal = 0.5 * height / tan(0.5 * fov_y)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)


def look_at(
    eye: np.ndarray | tuple[float, float, float],
    target: np.ndarray | tuple[float, float, float],
    *,
    up: tuple[float, float, float] = (0.0, 1.0, 0.0),
    fov_y: float = radians(25),
    width: int = 512,
    height: int = 512,
) -> Camera:
    """A camera at `eye` looking at `target`, world +y up unless told otherwise."""
    eye = np.asarray(eye, np.float64)
    forward = np.asarray(target, np.float64) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, np.asarray(up, np.float64))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = -rotation @ eye
    return Camera(matrix.astype(np.float32), intrinsics(fov_y, width, height), width, height)
