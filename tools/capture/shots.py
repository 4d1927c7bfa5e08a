# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the built-in heads with everything known: who, what they do, from where; for calibrating and for measuring."""

from dataclasses import dataclass, replace
from functools import cache
from math import cos, radians, sin

import numpy as np

from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.head.head import Head, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX
from loquent.core.splats.avatar import Performer, builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.rasterize import rasterize

BACKGROUND = (0.18, 0.21, 0.24)


@dataclass(frozen=True)
class Shot:
    """image (H, W, 3) uint8 sRGB; vertices (V, 3) posed, head space; points (V, 2) where the camera sees them."""

    image: np.ndarray
    camera: Camera
    vertices: np.ndarray
    points: np.ndarray
    values: np.ndarray
    betas: np.ndarray


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of world points (N, 3)."""
    seen = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    return seen[:, :2] / seen[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]


def cast(betas: np.ndarray | None, name: str) -> Performer:
    """A built-in look, on another identity where `betas` are given."""
    avatar = load_avatar(builtin_avatars()[name])
    return performer(avatar if betas is None else replace(avatar, betas=np.asarray(betas, np.float32)), head_model())


@cache
def head_model() -> Head:
    return load_head()


def camera_at(yaw: float, pitch: float, *, size: int = 512, distance: float = 0.95, fov: float = 25.0) -> Camera:
    """A camera around the face; degrees, yaw > 0 sees the subject's left side."""
    y, p = radians(yaw), radians(pitch)
    target = np.array([0, 0.045, 0.06])
    eye = target + distance * np.array([sin(y) * cos(p), sin(p), cos(y) * cos(p)])
    return look_at(tuple(eye), tuple(target), fov_y=radians(fov), width=size, height=size)


def shoot(actor: Performer, values: np.ndarray, camera: Camera) -> Shot:
    """Draw one frame."""
    layers = rasterize(pose(actor, values), camera, background=BACKGROUND)
    vertices = pose_vertices(actor.identity, values)
    return Shot(srgb(layers.colour), camera, vertices, project(camera, vertices), values, actor.identity.betas)


def srgb(colour: np.ndarray) -> np.ndarray:
    """8-bit display values of scene-linear colour."""
    c = np.clip(colour, 0, 1)
    return (np.where(c < 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def random_values(rng: np.random.Generator) -> np.ndarray:
    """(65,) a lively face: some units, an open jaw or closed lips, gaze."""
    values = np.zeros(len(CHANNELS), np.float32)
    units = [n for n in ARKIT if not n.startswith(("eyeLook", "tongue", "cheekPuff", "jawOpen", "mouthClose"))]
    for name in rng.choice(units, 5, replace=False):
        values[INDEX[name]] = rng.uniform(0, 0.7)
    values[INDEX["jawOpen"]] = rng.choice([0, rng.uniform(0, 0.2), rng.uniform(0.2, 0.8)])
    values[INDEX["mouthClose"]] = rng.choice([0, 0, rng.uniform(0, 1)]) * values[INDEX["jawOpen"]]
    values[INDEX["gazeYaw"]], values[INDEX["gazePitch"]] = rng.normal(0, 0.12, 2)
    return values
