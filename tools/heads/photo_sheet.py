# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheet of heads made from photos, beside the photos.

python -m loquent.tools.heads.photo_sheet portrait.png portrait.loq [photo head ...] -o docs/images/head_from_photo.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loquent.core.adapt.picture import display_of, read_picture, resized
from loquent.core.capture.landmarker import Landmarker
from loquent.core.geometry.cameras import look_at
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import Avatar, load_avatar, performer, pose
from loquent.core.splats.rasterize import rasterize

SIDE, ACROSS = 176, 7
GREY = 0.18
TILES: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("0°", 0, {}), ("-15°", -15, {}), ("+15°", 15, {}), ("-30°", -30, {}), ("+30°", 30, {}), ("-45°", -45, {}),
    ("+45°", 45, {}), ("180°", 180, {}), ("jaw open", 0, {"jawOpen": 0.6}),
    ("blink", 0, {"eyeBlinkLeft": 1, "eyeBlinkRight": 1}),
    ("smile", 0, {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.12}),
    ("gaze left", 0, {"gazeYaw": 0.35}), ("gaze right", 0, {"gazeYaw": -0.35}),
)  # fmt: skip


def tile(avatar: Avatar, yaw: float, channels: dict[str, float]) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8, drawn twice as large."""
    values = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        values[INDEX[name]] = value
    a = np.radians(yaw)
    camera = look_at((np.sin(a), 0.015, 0.02 + np.cos(a)), (0, 0.015, 0.02), fov_y=np.radians(17.5), width=2 * SIDE,
                     height=2 * SIDE)  # fmt: skip
    layers = rasterize(pose(performer(avatar), values), camera)
    picture = display_of(layers.colour + GREY * (1 - layers.alpha[..., None]))
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def crop(path: Path, landmarker: Landmarker) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 of the photo round its largest face."""
    image = read_picture(path).image
    box = landmarker.photo(image)[0].box
    side = 2.0 * float(box[3] - box[1])
    left, top = (box[0] + box[2]) / 2 - side / 2, box[1] - 0.34 * side
    return np.clip(resized(image, (float(left), float(top), side), SIDE) + 0.5, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=Path, help="a photo and its head, again and again")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    rows = []
    with Landmarker() as landmarker:
        for photo, head in zip(given.pairs[::2], given.pairs[1::2], strict=True):
            avatar = load_avatar(head)
            tiles = [crop(photo, landmarker), *(tile(avatar, yaw, channels) for _, yaw, channels in TILES)]
            rows += [np.concatenate(tiles[i : i + ACROSS], 1) for i in range(0, len(tiles), ACROSS)]
    sheet = Image.fromarray(np.concatenate(rows))
    draw = ImageDraw.Draw(sheet)
    names = ["photo", *(name for name, _, _ in TILES)]
    for row in range(len(rows)):
        for column in range(ACROSS):
            label = names[(row % 2) * ACROSS + column]
            draw.text((column * SIDE + 5, row * SIDE + 4), label, fill=(255, 255, 255))
    sheet.quantize(256).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
