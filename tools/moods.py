# SPDX-License-Identifier: GPL-3.0-or-later
"""A strip of the moods on a built-in head: `python tools/moods.py [--head ada] [--out docs/images/moods.png]`.

One row a mood (and two mixtures), one column a moment of the sample recording: a pause, an `ah`, an `oo`, a `p`. Lips that are shut in
the plain row must be shut in every row.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.prior.controls import Controls
from loquent.core.prior.generate import default_model, listen, perform
from loquent.core.speech.audio import read_audio
from loquent.core.splats.avatar import find_avatar, load_avatar, performer, pose
from loquent.core.splats.rasterize import rasterize
from loquent.tools.avatars.sheet import GREY, encode

ROOT = Path(__file__).resolve().parent.parent
ROWS = {
    "plain": {}, "happy": {"happy": 1.0}, "sad": {"sad": 1.0}, "angry": {"angry": 1.0}, "surprised": {"surprised": 1.0},
    "happy .5 + surprised .5": {"happy": 0.5, "surprised": 0.5}, "sad .5 + angry .5": {"sad": 0.5, "angry": 0.5},
}  # fmt: skip
FPS = 50


def moments(phones: list[list], motion) -> dict[str, int]:
    """Label -> frame: the middle of the longest pause, of the most open and the most rounded vowel and of a p."""
    spoken = [(s, round((b + e) / 2 * FPS)) for s, b, e in phones if s != "_"]
    pause = max(pairwise(phones), key=lambda p: p[1][1] - p[0][2])
    open_ = max((k for _, k in spoken), key=lambda k: motion.column("jawOpen")[k])
    rounded = max((k for _, k in spoken), key=lambda k: motion.column("mouthPucker")[k])
    shut = next(round((0.4 * b + 0.6 * e) * FPS) for s, b, e in phones if s == "p")
    return {"pause": round((pause[0][2] + pause[1][1]) / 2 * FPS), "ah": open_, "oo": rounded, "p": shut}


def portrait(size: int) -> Camera:
    """The face fills the picture."""
    fov = 2 * float(np.arctan(0.115 / 1.4))
    return look_at((0.0, 0.02, 1.4), (0.0, 0.0, 0.0), fov_y=fov, width=size, height=size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", default="ada")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "moods.png")
    parser.add_argument("--size", type=int, default=168)
    arguments = parser.parse_args()
    head = performer(load_avatar(find_avatar(arguments.head)))
    name = f"voice_{arguments.head}"
    raw = listen(read_audio(ROOT / "sample_scenes" / f"{name}.flac"), model=default_model())
    phones = json.loads((ROOT / "sample_scenes" / f"{name}.phones.json").read_text("utf8"))["phones"]
    camera = portrait(arguments.size)
    columns, pictures = {}, []
    for moods in ROWS.values():
        motion = perform(raw, Controls(**moods, blink_rate=0), fps=FPS, seed=2)
        columns = columns or moments(phones, motion)
        for frame in columns.values():
            layers = rasterize(pose(head, motion.values[frame]), camera)
            pictures.append(encode(layers.colour + GREY * (1 - layers.alpha[..., None])))
    size = arguments.size
    sheet = np.zeros((len(columns) * size, len(ROWS) * size, 3), np.uint8)
    for i, picture in enumerate(pictures):
        column, row = divmod(i, len(columns))
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = picture
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for i, label in enumerate(ROWS):
        draw.text((i * size + 4, 2), label, fill="white")
    for i, label in enumerate(columns):
        draw.text((4, (i + 1) * size - 14), label, fill="white")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(200, dither=Image.Dither.NONE).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
