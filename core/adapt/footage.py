# SPDX-License-Identifier: GPL-3.0-or-later
"""A film as a fit wants it: pictures cut to head and shoulders, each with its matte, in random order, in bounded memory.

Pictures are written once to a folder as PNG files (colour of the person alone, matte as alpha) and decoded when asked for. Of a
long film an even choice is kept: what ten minutes show of a face, MAX_PICTURES of them show as well.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..capture.film import open_film, pictures
from ..capture.landmarker import HOW
from ..capture.matte import Matter, find_matte_model, foreground, plain_matte
from ..capture.track import Track
from ..errors import CaptureError
from ..files import written_whole
from ..geometry.cameras import Camera
from ..head.head import Head, identity, load_head, pose_vertices

MAX_PICTURES = 800
TALL = 2.9
"""Height of a cut in heights of the face (brow to chin, as landmarks have it): hair above, collar below."""
HIGHER = 0.02
"""How much higher than the face's middle the cut's middle lies, in its own heights, downwards positive."""
LEAST_CONFIDENCE = 0.3
"""Frames that the tracker trusts less are not learned from: a hand over the face, a turn too far."""


@dataclass(frozen=True)
class Window:
    """Where a cut lies in the film: left, top, width, height in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def camera(self, camera: Camera, size: int) -> Camera:
        """The film's camera for the cut, whose longer side is made `size` pixels."""
        scale = size / max(self.width, self.height)
        k = camera.K.astype(np.float64).copy()
        k[:2, 2] -= (self.left, self.top)
        width, height = max(8, round(self.width * scale)), max(8, round(self.height * scale))
        k[0] *= width / self.width
        k[1] *= height / self.height
        return Camera(camera.world_to_camera, k, width, height)

    def points(self, of_film: np.ndarray, cut: Camera) -> np.ndarray:
        """(N, 2) pixels in a cut that the camera `cut` sees, of pixels (N, 2) of the film."""
        scale = np.array([cut.width / self.width, cut.height / self.height])
        return (of_film - [self.left, self.top]) * scale


@dataclass(frozen=True)
class Shown:
    """One cut: colour (H, W, 3) sRGB 0..1 of the person alone, matte (H, W) 0..1, float32; its camera."""

    colour: np.ndarray
    matte: np.ndarray
    camera: Camera


class Footage:
    """Cuts of the frames `index` (F,) of a film, in a folder."""

    def __init__(self, folder: Path, index: np.ndarray, windows: tuple[Window, ...], camera: Camera, size: int) -> None:
        self.folder, self.index, self.windows, self.camera, self.size = folder, index, windows, camera, size
        self._small: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.index)

    def shown(self, place: int, size: int | None = None) -> Shown:
        """The cut of frame index[place], its longer side `size` pixels. 2-10 ms; small ones are kept in memory."""
        size = min(size or self.size, self.size)
        camera = self.windows[place].camera(self.camera, size)
        key = place, size
        if key not in self._small:
            pair = _read(self.folder / _name(int(self.index[place])), camera.width, camera.height)
            if size > 200:
                return _floats(pair, camera)
            self._small[key] = pair
        return _floats(self._small[key], camera)


def _floats(pair: tuple[np.ndarray, np.ndarray], camera: Camera) -> Shown:
    return Shown(pair[0].astype(np.float32) / 255, pair[1].astype(np.float32) / 255, camera)


def chosen_frames(track: Track, most: int = MAX_PICTURES) -> np.ndarray:
    """Frames (F,) to learn from: well tracked, evenly spread."""
    good = np.flatnonzero(track.confidence >= LEAST_CONFIDENCE)
    if not len(good):
        good = np.flatnonzero(track.seen)
    if len(good) > most:
        good = good[np.linspace(0, len(good) - 1, most).round().astype(int)]
    return good


def windows_of(track: Track) -> list[Window]:
    """A cut for every frame, one for each shot: it stands still while the head moves in it."""
    width, height = track.size
    out: list[Window] = []
    borders = [0, *track.cuts, len(track)]
    for start, end in pairwise(borders):
        seen = np.flatnonzero(track.seen[start:end]) + start
        points = track.landmarks[seen if len(seen) else np.arange(start, end)]
        low, high = np.quantile(points.min(1), 0.05, axis=0), np.quantile(points.max(1), 0.95, axis=0)
        tall = float(np.median(np.ptp(points[..., 1], axis=1)))
        middle, travel = (low + high) / 2, (high - low).max() - tall
        side = TALL * tall + max(float(travel), 0)
        left, top = middle[0] - side / 2, middle[1] - side * (0.5 - HIGHER)
        box = (
            np.array([max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)]).round().astype(int)
        )
        out += [Window(int(box[0]), int(box[1]), max(8, int(box[2] - box[0])), max(8, int(box[3] - box[1])))] * (
            end - start
        )
    return out


def cut_footage(
    path: Path | str, track: Track, folder: Path, size: int, frames: np.ndarray | None = None,
    progress: Callable[[float, np.ndarray | None], None] | None = None, head: Head | None = None,
) -> Footage:  # fmt: skip
    """Cut the frames of a film (those worth learning from) into `folder`; what lies there already is taken as it is.

    size: longer side in pixels, never more than the film has. About 0.15 s a frame of 450 pixels. progress is told 0..1 and now
    and then a picture (H, W, 3) uint8, and may raise Cancelled.
    """
    _pillow()
    head = head or load_head()
    folder.mkdir(parents=True, exist_ok=True)
    index = chosen_frames(track) if frames is None else np.asarray(frames)
    windows = windows_of(track)
    kept = tuple(windows[i] for i in index)
    size = int(min(size, max(max(w.width, w.height) for w in kept)))
    missing = {int(i) for i in index if not (folder / _name(int(i))).is_file()}
    footage = Footage(folder, index, kept, track.camera, size)
    if not missing:
        return footage
    person = identity(head, track.betas)
    with _matter() as matter:
        done = 0
        for number, picture in enumerate(pictures(open_film(path, track.fps))):
            if number in missing:
                colour, matte = _cut(picture.image, picture.scale, windows[number], size, track, number, person, matter)
                _write(folder / _name(number), colour, matte)
                done += 1
                if progress:
                    shown = np.round(colour * matte[..., None] * 255).astype(np.uint8) if done % 40 == 1 else None
                    progress(done / len(missing), shown)
            if done == len(missing):
                break
    short = [i for i in missing if not (folder / _name(i)).is_file()]
    if short:
        raise CaptureError(
            f"'{Path(path).name}' ended before picture {max(short)}; expected the film that was tracked. Track it again."
        )
    return footage


class _NoMatter:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _matter() -> Any:
    return Matter() if find_matte_model() is not None else _NoMatter()


def _cut(
    image: np.ndarray, shrunk: float, window: Window, size: int, track: Track, frame: int, person: Any, matter: Matter | None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Colour (h, w, 3) sRGB 0..1 of the person and matte (h, w)."""
    rows = slice(round(window.top / shrunk), round((window.top + window.height) / shrunk))
    columns = slice(round(window.left / shrunk), round((window.left + window.width) / shrunk))
    part = np.ascontiguousarray(image[rows, columns])
    camera = window.camera(track.camera, size)
    small = _resized(part, camera.width, camera.height)
    points = window.points(track.landmarks[frame], camera)
    if matter is not None:
        matte = matter(small, points)
    else:
        vertices = pose_vertices(person, track.motion.values[frame])
        matte = plain_matte(small, silhouette(vertices, person.head.faces, camera))
    linear = decoded(small.astype(np.float32) / 255)
    clean = foreground(linear, matte, max(4, size // 24))
    share = np.clip(2 * (1 - matte), 0, 1)[..., None]  # inside, the picture itself is the person
    return encoded(linear + share * (clean - linear)), matte


def silhouette(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) bool: pixels that some triangle of a mesh covers, by points strewn over the triangles; holes are closed."""
    seen = vertices @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    pixels = seen[:, :2] / np.maximum(seen[:, 2:], 1e-3) * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    corners = pixels[faces[(seen[faces, 2] > 0.01).all(1)]]
    out = np.zeros((camera.height, camera.width), bool)
    steps = [(a / 6, b / 6, (6 - a - b) / 6) for a in range(7) for b in range(7 - a)]
    for weights in steps:
        x, y = np.floor(np.einsum("k,nkd->dn", np.array(weights), corners)).astype(int)
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        out[y[inside], x[inside]] = True
    return out


def encoded(linear: np.ndarray) -> np.ndarray:
    """sRGB 0..1 of linear light."""
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-6) ** (1 / 2.4) - 0.055).astype(np.float32)


def decoded(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _name(frame: int) -> str:
    return f"{frame:06d}.png"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise CaptureError(f"Pictures cannot be kept without Pillow ({error}). {HOW}") from error
    return Image


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    pillow = _pillow()
    way = pillow.Resampling.BOX if image.shape[1] > width else pillow.Resampling.BICUBIC
    return np.asarray(pillow.fromarray(image).resize((width, height), way))


def _write(path: Path, colour: np.ndarray, matte: np.ndarray) -> None:
    both = np.concatenate([colour, matte[..., None]], 2)
    data = io.BytesIO()
    _pillow().fromarray(np.round(both * 255).astype(np.uint8), "RGBA").save(data, "PNG", compress_level=1)
    with written_whole(path) as temporary:
        temporary.write_bytes(data.getvalue())


def _read(path: Path, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    with _pillow().open(path, formats=("PNG",)) as file:
        image = np.asarray(file)
    colour, matte = image[..., :3], image[..., 3]
    return _resized(np.ascontiguousarray(colour), width, height), _resized(np.ascontiguousarray(matte), width, height)
