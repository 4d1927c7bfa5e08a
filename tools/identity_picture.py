# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/images/identity.jpg: what the sliders of identity do, and ada turning into bruno.

python -m loquent.tools.identity_picture docs/images/identity.jpg
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..core.geometry.cameras import Camera
from ..core.head.motion import CHANNELS
from ..core.head.sliders import SLIDERS
from ..core.splats.avatar import Avatar, find_avatar, load_avatar, performer, pose
from ..core.splats.mixing import mixed, reshaped
from ..core.splats.rasterize import rasterize

SIZE = 150
GREY = 0.2
"""Scene-linear background."""


def camera(yaw: float) -> Camera:
    """On the head from 75 cm, turned about it by radians."""
    target, sine, cosine = np.array([0, 0, 0.03]), np.sin(yaw), np.cos(yaw)
    place = target + 0.75 * np.array([sine, 0, cosine])
    forward = (target - place) / 0.75
    right = np.cross(forward, [0, 1, 0])
    rows = np.stack([right / np.linalg.norm(right), np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rows, -rows @ place
    focal = SIZE * 0.75 / 0.34
    K = np.array([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]])
    return Camera(matrix.astype(np.float32), K.astype(np.float32), SIZE, SIZE)


def drawn(avatar: Avatar, yaw: float = 0.35) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8 sRGB."""
    gaussians = pose(performer(avatar), np.zeros(len(CHANNELS), np.float32))
    light = np.clip(rasterize(gaussians, camera(yaw), background=(GREY, GREY, GREY)).colour, 0, 1)
    display = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.round(display * 255).astype(np.uint8)


def main(path: Path) -> None:
    ada, bruno = (load_avatar(find_avatar(name)) for name in ("ada", "bruno"))
    rows = [np.concatenate([drawn(reshaped(bruno, {name: amount})) for name in SLIDERS], 1) for amount in (-3.0, 3.0)]
    factors = np.linspace(0, 1, len(SLIDERS))
    rows.append(np.concatenate([drawn(mixed(ada, bruno, float(f))) for f in factors], 1))
    picture = Image.fromarray(np.concatenate(rows))
    pen = ImageDraw.Draw(picture)
    for column, slider in enumerate(SLIDERS.values()):
        pen.text((column * SIZE + 4, 2), f"{slider.label} -3", fill="white")
        pen.text((column * SIZE + 4, SIZE + 2), "+3", fill="white")
        pen.text((column * SIZE + 4, 2 * SIZE + 2), f"blend {factors[column]:.2f}", fill="white")
    picture.save(path, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
