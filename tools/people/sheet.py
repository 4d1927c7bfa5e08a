# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheets of people's files: `python -m tools.people.sheet FOLDER -o sheet.png`; --overlay draws the head's mesh on top.

The overlay poses the head with the file's values and betas and projects it with the file's camera: lines must follow lids, lips,
ears and the outline of a bald head.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loquent.core.head.head import Head, identity, load_head, pose_vertices

from .make import encode

GREY = 0.18


def over_grey(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 picture of a person over middle grey."""
    x = image.astype(np.float32) / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return encode(linear + GREY * (1 - matte[..., None].astype(np.float32) / 255))


def projected(file, view: int, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """(V, 2) pixels and (V,) depths of the head's vertices in one picture of a loaded file."""
    vertices = pose_vertices(identity(head, file["betas"]), file["values"][view])
    matrix, K = file["world_to_camera"][view], file["K"][view]
    p = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    return p[:, :2] / p[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2], p[:, 2]


def overlay(picture: np.ndarray, file, view: int, head: Head) -> np.ndarray:
    """The picture, twice as large, with edges of the skin, eyes and lips that face the camera."""
    size = picture.shape[0]
    large = Image.fromarray(picture).resize((2 * size, 2 * size), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(large)
    xy, _ = projected(file, view, head)
    colours = {"skin": (0, 255, 160), "lips": (255, 60, 60), "eye_left": (80, 160, 255), "eye_right": (80, 160, 255)}
    for name, colour in colours.items():
        faces = head.faces[head.faces_of(name)]
        a, b, c = (xy[faces[:, k]] for k in range(3))
        towards = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) < 0
        for triangle in faces[towards][:: 3 if name == "skin" else 1]:
            draw.polygon([tuple(2 * xy[i]) for i in triangle], outline=colour)
    return np.asarray(large)


def sheet(paths: list[Path], views: list[int], *, lines: bool = False, columns: int = 1) -> np.ndarray:
    """Rows of people, `columns` people a row, some views of each."""
    head = load_head()
    people = []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            data = {n: file[n] for n in file.files}
        tiles = [over_grey(data["images"][v], data["matte"][v]) for v in views]
        if lines:
            tiles = [overlay(t, data, v, head) for t, v in zip(tiles, views, strict=True)]
        people.append(np.concatenate(tiles, 1))
    people = people[: len(people) // columns * columns]
    return np.concatenate([np.concatenate(people[i : i + columns], 1) for i in range(0, len(people), columns)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.people.sheet", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--views", type=int, nargs="+", default=[0, 4, 7])
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--overlay", action="store_true")
    parser.add_argument("--width", type=int, help="pixels of the whole sheet")
    parser.add_argument("--colours", type=int, default=0, help="palette of the PNG, 0 for all")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("[0-9]*.npz"))[arguments.first : arguments.first + arguments.people]
    image = Image.fromarray(sheet(paths, arguments.views, lines=arguments.overlay, columns=arguments.columns))
    if arguments.width:
        height = round(image.height * arguments.width / image.width)
        image = image.resize((arguments.width, height), Image.Resampling.LANCZOS)
    if arguments.colours:
        image = image.quantize(arguments.colours, dither=Image.Dither.NONE)
    image.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
