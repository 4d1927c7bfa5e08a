# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheets of a fitted avatar, drawn by the product's own rasteriser: `python -m tools.avatars.sheet ada`."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from loquent.core.assets import DATA
from loquent.core.geometry.cameras import Camera
from loquent.core.head.head import Identity, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import Avatar, load_avatar, performer
from loquent.core.splats.binding import carry
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

from . import shots

ROOT = Path(__file__).parents[2]
COLUMNS = ("neutral", "aa", "ou", "laugh", "blink")
VIEWS = (-40.0, 0.0, 40.0)
GREY = 0.18


def values_of(channels: dict[str, float]) -> np.ndarray:
    """(C,) channel values by name."""
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        out[INDEX[name]] = value
    return out


def encode(linear: np.ndarray) -> np.ndarray:
    """8-bit sRGB."""
    x = np.clip(linear, 0, 1)
    return (np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def draw(avatar: Avatar, person: Identity, channels: dict[str, float], camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Colour (H, W, 3) and alpha (H, W) of one expression."""
    means, quats, scales = carry(avatar.binding, pose_vertices(person, values_of(channels)), person.head.faces)
    layers = rasterize(Gaussians(means, quats, scales, avatar.opacities, avatar.harmonics), camera)
    return layers.colour, layers.alpha


def tile(
    avatar: Avatar, person: Identity, channels: dict[str, float], yaw: float, pitch: float, framing: str, size: int
) -> np.ndarray:
    """(S, S, 3) uint8 picture over grey."""
    colour, alpha = draw(avatar, person, channels, shots.Shot("", framing, yaw, pitch).camera(size))
    return encode(colour + GREY * (1 - alpha[..., None]))


def thumbnail(avatar: Avatar, person: Identity, size: int = 192) -> np.ndarray:
    """(S, S, 4) uint8 sRGB, straight alpha."""
    big = 2 * size
    colour, alpha = draw(
        avatar, person, {"mouthSmileLeft": 0.25, "mouthSmileRight": 0.25}, shots.Shot("", shots.FULL, 14, 2).camera(big)
    )
    rgba = np.concatenate([colour, alpha[..., None]], 2).reshape(size, 2, size, 2, 4).mean((1, 3))
    straight = rgba[..., :3] / np.maximum(rgba[..., 3:], 1e-4)
    return np.concatenate([encode(straight), (rgba[..., 3:] * 255 + 0.5).astype(np.uint8)], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--size", type=int, default=384)
    arguments = parser.parse_args()
    avatar = load_avatar(arguments.file or DATA / f"{arguments.name}.loq")
    person = performer(avatar).identity
    rows = []
    for yaw in VIEWS:
        rows.append(
            np.concatenate(
                [tile(avatar, person, dict(shots.EXPRESSIONS[e]), yaw, 2, shots.FULL, arguments.size) for e in COLUMNS],
                1,
            )
        )
    out = arguments.out or ROOT / "docs" / "images" / f"{arguments.name}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    main()
