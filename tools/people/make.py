# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes files of synthetic people: `python -m tools.people.make OUT --split train --count 600`. Goes on where it stopped.

One file NNNNN.npz a person:
images (V, S, S, 3) uint8, sRGB of the premultiplied linear colour (a picture over black, as the rasteriser draws it),
 matte (V, S, S) uint8, K (V, 3, 3) and
world_to_camera (V, 4, 4) float32 (OpenCV), values (V, 65) float32 motion channels, betas (100,) float32, tags: json of the recipe.
The same split, number and seed give the same bytes.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from . import acting, person
from .recipe import SPLITS, generator

VERSION = 1


def encode(linear: np.ndarray) -> np.ndarray:
    """8-bit sRGB of linear colour."""
    x = np.clip(linear, 0, 1)
    return (np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def record(split: str, index: int, size: int, views: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of one person's file."""
    someone = person.build(split, index, seed)
    out: dict[str, list[np.ndarray]] = {n: [] for n in ("images", "matte", "K", "world_to_camera", "values")}
    for values, camera in acting.views(generator(split, index, 2, seed), views, size):
        colour, matte = person.draw(someone, values, camera)
        out["images"].append(encode(colour))
        out["matte"].append((np.clip(matte, 0, 1) * 255 + 0.5).astype(np.uint8))
        out["K"].append(camera.K)
        out["world_to_camera"].append(camera.world_to_camera)
        out["values"].append(values)
    tags = someone.recipe.tags() | {
        "light": someone.light.name,
        "split": split,
        "index": index,
        "maker": f"people {VERSION}",
    }
    arrays = {n: np.stack(v) for n, v in out.items()}
    return arrays | {"betas": someone.recipe.betas, "tags": np.array(json.dumps(tags, sort_keys=True))}


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes beside the place and renames, so that a file is whole or absent."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    with part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # pyright: ignore[reportArgumentType]
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.people.make", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=tuple(SPLITS), default="train")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.out / arguments.split if arguments.split != "train" else arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    begin, made = time.perf_counter(), 0
    for index in range(arguments.first, arguments.first + arguments.count):
        path = folder / f"{index:05d}.npz"
        if path.exists():
            continue
        save(path, record(arguments.split, index, arguments.size, arguments.views, arguments.seed))
        made += 1
        print(f"{path} {(time.perf_counter() - begin) / made:.2f} s a person", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
