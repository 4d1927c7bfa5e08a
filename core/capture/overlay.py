# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted head drawn over the pictures it was fitted to, as a contact sheet: the quickest way to judge a capture."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import CaptureError
from ..files import written_whole
from ..geometry.triangles import vertex_normals
from ..head.head import Head, Identity, identity, load_head, pose_vertices
from .embedding import LOWER_LIDS, LOWER_LIP, UPPER_LIDS, UPPER_LIP
from .film import open_film, pictures
from .landmarker import HOW, IRISES, Face
from .track import Track

LINES = ((0.15, 1.0, 0.55), (1.0, 0.35, 0.3), (0.35, 0.75, 1.0))
"""Skin, lips, eyes."""
TILE = 256
MARKED = 400
AROUND = 0.4
"""Longer side of a picture with landmarks, in pixels, and how much of the faces' box it shows on every side."""
STRENGTH = {"skin": 0.3, "lips": 0.5, "eye_left": 0.3}


def project(track: Track, points: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of points (N, 3) in head space."""
    seen = points @ track.camera.world_to_camera[:3, :3].T + track.camera.world_to_camera[:3, 3]
    k = track.camera.K
    return (seen[:, :2] / np.maximum(seen[:, 2:], 1e-3) * k[[0, 1], [0, 1]] + k[:2, 2]).astype(np.float32)


def draw(
    image: np.ndarray, track: Track, frame: int, person: Identity, scale: float = 1.0, corner: tuple[float, float] = (0, 0)
) -> np.ndarray:  # fmt: skip
    """The picture (h, w, 3) uint8 with the wires of what faces the camera.

    scale: the film's pixels a pixel of it; corner: where in the film it begins, x and y.
    """
    head = person.head
    vertices = pose_vertices(person, track.motion.values[frame])
    pixels = (project(track, vertices) - corner) / scale
    away = track.camera.position - vertices
    facing = (vertex_normals(vertices, head.faces) * away).sum(1) > 0.15 * np.linalg.norm(away, axis=1)
    out = image.astype(np.float32) / 255
    for regions, colour in zip((("skin",), ("lips",), ("eye_left", "eye_right")), LINES, strict=True):
        faces = head.faces[head.faces_of(*regions)]
        faces = faces[facing[faces].all(1)]
        edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1), axis=0)
        _lines(out, pixels[edges], colour, STRENGTH[regions[0]])
    return (out * 255 + 0.5).astype(np.uint8)


def _lines(out: np.ndarray, ends: np.ndarray, colour: tuple[float, float, float], strength: float) -> None:
    """Blend lines (N, 2, 2) over (h, w, 3), in place, one pixel wide."""
    steps = max(2, int(np.abs(ends[:, 1] - ends[:, 0]).max(initial=1)) + 1)
    along = np.linspace(0, 1, steps)[None, :, None]
    points = np.floor(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * along).astype(int).reshape(-1, 2)
    height, width = out.shape[:2]
    points = points[(points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)]
    x, y = np.unique(points, axis=0).T
    out[y, x] += strength * (np.array(colour, np.float32) - out[y, x])


def marked(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """A small copy of what surrounds the faces in the picture (h, w, 3) uint8, all of it without any, with their landmarks: green,
    lips red, lids and irises blue."""
    size = np.array(image.shape[1::-1])
    low, high = np.zeros(2), size.astype(float)
    if faces:
        boxes = np.array([face.box for face in faces])
        first, last = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        low, high = np.maximum(first - AROUND * (last - first), 0), np.minimum(last + AROUND * (last - first), size)
    scale = max(float((high - low).max()) / MARKED, 1e-3)
    shape = np.maximum(np.round((high - low) / scale), 1).astype(int)
    x, y = (np.minimum(low[k] + (np.arange(shape[k]) + 0.5) * scale, size[k] - 1).astype(int) for k in (0, 1))
    out = image[y[:, None], x]
    skin, lips, eyes = (np.round(np.multiply(colour, 255)).astype(np.uint8) for colour in LINES)
    for face in faces:
        at = np.floor((face.points - low) / scale).astype(int)
        for which, colour in (
            (range(len(at)), skin), ([*UPPER_LIP, *LOWER_LIP], lips), ([*UPPER_LIDS, *LOWER_LIDS, *IRISES], eyes)
        ):  # fmt: skip
            for shift in ((0, 0), (1, 0), (0, 1), (1, 1)):  # two pixels wide: the sidebar shows it smaller
                points = at[list(which)] + np.array(shift, int)
                points = points[(points >= 0).all(1) & (points < shape).all(1)]
                out[points[:, 1], points[:, 0]] = colour
    return out


def sheet(
    track: Track,
    path: Path | str,
    target: Path | str,
    count: int = 12,
    head: Head | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a picture of `count` frames, evenly chosen, each cropped to the face: above as filmed, below with the wires.

    path: the film again. Raises CaptureError without Pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise CaptureError(f"Contact sheets need Pillow ({error}). {HOW}") from error
    head = head or load_head()
    person = identity(head, track.betas)
    wanted = set(np.linspace(0, len(track) - 1, min(count, len(track))).round().astype(int).tolist())
    tiles = []
    film = open_film(path, track.fps)
    for index, picture in enumerate(pictures(film)):
        if index in wanted:
            corner, scale = _crop(track, index)
            crop = _cut(picture.image, np.array(corner) / picture.scale, scale / picture.scale)
            tiles.append(np.concatenate([crop, draw(crop, track, index, person, scale, corner)], 0))
        if progress:
            progress(min((index + 1) / len(track), 1.0))
    columns = min(6, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    with written_whole(target) as temporary:
        Image.fromarray(np.concatenate(rows, 0)).save(temporary)


def _crop(track: Track, frame: int) -> tuple[tuple[float, float], float]:
    """Corner and scale, in the film's pixels, of a tile around the face."""
    points = track.landmarks[frame]
    middle = (points.min(0) + points.max(0)) / 2
    half = 0.75 * float(np.ptp(points, axis=0).max())
    return (float(middle[0] - half), float(middle[1] - half)), 2 * half / TILE


def _cut(image: np.ndarray, corner: np.ndarray, scale: float) -> np.ndarray:
    """(TILE, TILE, 3), nearest pixels."""
    at = np.floor(corner[:, None] + (np.arange(TILE) + 0.5) * scale).astype(int)
    x, y = np.clip(at[0], 0, image.shape[1] - 1), np.clip(at[1], 0, image.shape[0] - 1)
    return image[y[:, None], x]
