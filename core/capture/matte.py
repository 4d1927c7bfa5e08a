# SPDX-License-Identifier: GPL-3.0-or-later
"""Person or background, pixel by pixel, offline: MediaPipe's selfie segmentation, its edges moved to where the picture has them.

The model (249 KB, Apache-2.0, Google) is in MediaPipe's packages up to 0.10.21 and in none later, so it is taken out of that
wheel once: `python -m loquent.core.capture.matte mediapipe-0.10.21-….whl`. Its SHA-256 must be the known one. Without it
`plain_matte` gives a rougher matte from the fitted head's silhouette and the picture's colours (GrabCut, Rother et al. 2004).
"""

import hashlib
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import CaptureError
from ..files import written_whole

MODEL = "selfie_segmentation.tflite"
MODEL_SHA256 = "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c"
INSIDE_WHEEL = f"mediapipe/modules/selfie_segmentation/{MODEL}"
SHELF = Path(sys.prefix) / "share" / "loquent" / MODEL
"""Where the model is kept in this Python's environment."""
HOW_MATTE = (
    "For clean outlines of hair and shoulders fetch the matte model once: pip download --no-deps --only-binary=:all: "
    "--python-version 3.12 --platform manylinux_2_28_x86_64 mediapipe==0.10.21, then python -m loquent.core.capture.matte "
    "mediapipe-0.10.21-*.whl; or name selfie_segmentation.tflite itself."
)
AROUND = 3.6
"""Sides of the square that the model looks at, in heights of the face: about the selfies it learned from."""


def find_matte_model(path: Path | str | None = None) -> Path | None:
    """The matte model's file, checked; None where there is none. Raises CaptureError for a named file that is not it."""
    spec = find_spec("mediapipe") if path is None else None
    roots = [Path(r) for r in (spec.submodule_search_locations or [])] if spec else []
    places = (
        [Path(path)] if path is not None else [SHELF, *(r / "modules" / "selfie_segmentation" / MODEL for r in roots)]
    )
    found = next((p for p in places if p.is_file()), None)
    if found is None:
        if path is not None:
            raise CaptureError(f"There is no file '{path}'. {HOW_MATTE}")
        return None
    _check(found.read_bytes(), found)
    return found


def shelve(wheel: Path, target: Path = SHELF) -> Path:
    """Take the model out of a MediaPipe wheel and keep it. Raises CaptureError where it is not in there."""
    try:
        with zipfile.ZipFile(wheel) as file:
            data = file.read(INSIDE_WHEEL)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CaptureError(
            f"'{wheel}' holds no '{INSIDE_WHEEL}' ({error}); expected the wheel of mediapipe 0.10.21."
        ) from error
    _check(data, wheel)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as temporary:
        Path(temporary).write_bytes(data)
    return target


def _check(data: bytes, found: Path) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != MODEL_SHA256:
        raise CaptureError(
            f"'{found}' is not the matte model: expected SHA-256 {MODEL_SHA256[:12]}…, found {digest[:12]}…. {HOW_MATTE}"
        )


class Matter:
    """Mattes of successive pictures; a context manager, because MediaPipe holds threads and memory."""

    def __init__(self, model: Path | str | None = None) -> None:
        """Load MediaPipe and the model, 0.1-5 s. Raises CaptureError without them."""
        path = find_matte_model(model)
        if path is None:
            raise CaptureError(f"The matte model '{MODEL}' was not found. {HOW_MATTE}")
        try:
            from mediapipe import Image, ImageFormat
            from mediapipe.tasks.python import BaseOptions, vision
        except (ImportError, OSError) as error:
            from .landmarker import HOW

            raise CaptureError(f"MediaPipe cannot be loaded ({error}). {HOW}") from error
        self._picture: Any = lambda array: Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(array))
        self._segmenter: Any = vision.ImageSegmenter.create_from_options(
            vision.ImageSegmenterOptions(
                base_options=BaseOptions(model_asset_buffer=path.read_bytes()), output_confidence_masks=True,
                output_category_mask=False,
            )
        )  # fmt: skip

    def __enter__(self) -> "Matter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._segmenter.close()

    def __call__(self, image: np.ndarray, face: np.ndarray | None = None) -> np.ndarray:
        """(H, W) float32 0..1 of a picture (H, W, 3) uint8 sRGB.

        face: landmarks (n, 2) in pixels, around which to look closely; the model sees 256 pixels across, so without it
        a small head gets a coarse outline. About 10 ms for a look and 40 ms for the edges of 512 x 512 pixels.
        """
        matte = self._look(image)
        radius = max(image.shape[:2]) / 256
        if face is not None:
            window = _window(face, image.shape)
            near = image[window]
            if max(near.shape[:2]) < 0.75 * max(image.shape[:2]):
                matte[window] += _feather(near.shape[:2]) * (self._look(near) - matte[window])
                radius = max(near.shape[:2]) / 256
        return sharpened(image, matte, max(2, round(3 * radius)))

    def _look(self, image: np.ndarray) -> np.ndarray:
        result = self._segmenter.segment(self._picture(image))
        return np.array(result.confidence_masks[0].numpy_view(), np.float32).reshape(image.shape[:2])


def _window(face: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of head and shoulders."""
    low, high = face.min(0), face.max(0)
    side = AROUND * float((high - low).max())
    middle = (low + high) / 2 + [0, 0.1 * side]
    start = np.floor(middle - side / 2).astype(int)
    end = np.ceil(middle + side / 2).astype(int)
    return slice(max(0, start[1]), min(shape[0], end[1])), slice(max(0, start[0]), min(shape[1], end[0]))


def _feather(shape: tuple[int, ...]) -> np.ndarray:
    """(h, w) 1 in the middle, 0 at the border, over an eighth."""
    ramps = [np.clip((0.5 - np.abs((np.arange(n) + 0.5) / n - 0.5)) * 8, 0, 1) for n in shape]
    return (ramps[0][:, None] * ramps[1][None]).astype(np.float32)


def sharpened(image: np.ndarray, matte: np.ndarray, radius: int) -> np.ndarray:
    """The matte (H, W) with its edges where the picture's are: a guided filter (He, Sun, Tang 2013) near the outline."""
    guide = image.astype(np.float32) / 255
    fine = np.clip((guided(guide, matte, radius) - 0.08) / 0.84, 0, 1)
    doubt = box(((matte > 0.03) & (matte < 0.97)).astype(np.float32), radius)
    share = np.clip(3 * doubt, 0, 1)
    return (matte + share * (fine - matte)).astype(np.float32)


def guided(guide: np.ndarray, values: np.ndarray, radius: int, eps: float = 2e-4) -> np.ndarray:
    """(H, W) values as local linear functions of the colours (H, W, 3) in squares of 2 radius + 1 pixels."""
    mean = np.stack([box(guide[..., c], radius) for c in range(3)], -1)
    about = box(values, radius)
    product = np.stack([box(guide[..., c] * values, radius) for c in range(3)], -1)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    s = {}
    for i, j in pairs:
        s[i, j] = box(guide[..., i] * guide[..., j], radius) - mean[..., i] * mean[..., j] + (eps if i == j else 0)
    # the inverse of a symmetric 3 x 3 matrix by its cofactors, ten times quicker than a solver called for every pixel
    xx, xy, xz = (
        s[1, 1] * s[2, 2] - s[1, 2] ** 2,
        s[0, 2] * s[1, 2] - s[0, 1] * s[2, 2],
        s[0, 1] * s[1, 2] - s[0, 2] * s[1, 1],
    )
    yy, yz, zz = (
        s[0, 0] * s[2, 2] - s[0, 2] ** 2,
        s[0, 1] * s[0, 2] - s[0, 0] * s[1, 2],
        s[0, 0] * s[1, 1] - s[0, 1] ** 2,
    )
    cross = product - mean * about[..., None]
    rows = ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))
    slope = np.stack([sum(row[c] * cross[..., c] for c in range(3)) for row in rows], -1)
    slope /= (s[0, 0] * xx + s[0, 1] * xy + s[0, 2] * xz)[..., None]
    level = about - (slope * mean).sum(-1)
    slope = np.stack([box(slope[..., c], radius) for c in range(3)], -1)
    return (slope * guide).sum(-1) + box(level, radius)


def box(values: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) means over squares of 2 radius + 1 pixels, of what lies inside the picture."""
    for axis in (0, 1):
        n = values.shape[axis]
        total = np.concatenate(
            [np.zeros_like(np.take(values, [0], axis), np.float64), np.cumsum(values, axis, np.float64)], axis
        )
        high, low = np.minimum(np.arange(n) + radius + 1, n), np.maximum(np.arange(n) - radius, 0)
        count = (high - low).reshape((-1, 1) if axis == 0 else (1, -1))
        values = (np.take(total, high, axis) - np.take(total, low, axis)) / count
    return values.astype(np.float32)


def plain_matte(image: np.ndarray, silhouette: np.ndarray, head: np.ndarray | None = None) -> np.ndarray:
    """(H, W) float32 0..1 without the model: what resembles the inside of the fitted head's silhouette (H, W) bool more than
    the picture's upper border. head: the silhouette of its part above the shoulders, whose place landmarks tell; the bust may
    lie beside the person's. About 1 s for 512 x 512 pixels; hair of the background's colour is lost."""
    try:
        import cv2
    except ImportError as error:
        from .landmarker import HOW

        raise CaptureError(f"OpenCV, which comes with MediaPipe, cannot be loaded ({error}). {HOW}") from error
    height, width = silhouette.shape
    shrink = max(1, round(max(height, width) / 320))
    small = np.ascontiguousarray(image[::shrink, ::shrink, ::-1])
    inside = np.ascontiguousarray(silhouette[::shrink, ::shrink]).astype(np.uint8)
    rows = np.flatnonzero(inside.any(1))
    if not len(rows):
        return np.zeros((height, width), np.float32)
    across = np.ones(2, int) * max(3, int(0.12 * np.ptp(rows)) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, tuple(int(k) for k in across))
    wide = cv2.dilate(inside, kernel, iterations=5)
    labels = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    labels[wide > 0] = cv2.GC_PR_BGD
    labels[rows[-1] - int(0.2 * np.ptp(rows)) :] = cv2.GC_PR_BGD  # shoulders go beyond the head
    labels[inside > 0] = cv2.GC_PR_FGD
    core = cv2.erode(inside, kernel, iterations=1 if head is None else 3)
    if head is not None:
        core |= cv2.erode(np.ascontiguousarray(head[::shrink, ::shrink]).astype(np.uint8), kernel)
    labels[core > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    parts, which = cv2.connectedComponents(found)
    if parts > 2:  # keep what hangs together with the face
        found = (which == np.bincount(which[inside > 0])[1:].argmax() + 1).astype(np.uint8)
    full = cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    radius = max(2, 2 * shrink, round(0.02 * shrink * np.ptp(rows)))
    return sharpened(image, box(full, radius // 2), radius)  # soft first: steps between pixels are no edge to be moved


def foreground(colours: np.ndarray, matte: np.ndarray, radius: int) -> np.ndarray:
    """Colours (H, W, 3) of the person alone: what shows through at the edges is taken out (Forte 2021, "Approximate fast
    foreground colour estimation", two rounds). Where the matte is 0 they go on as the nearest person's colours."""
    front, behind = colours, colours
    for size in (radius, max(1, radius // 8)):
        weight, rest = box(matte, size), box(1 - matte, size)
        seen = [box(front[..., c] * matte, size) / (weight + 1e-5) for c in range(3)]
        back = [box(behind[..., c] * (1 - matte), size) / (rest + 1e-5) for c in range(3)]
        mean, behind = np.stack(seen, -1), np.stack(back, -1)
        a = matte[..., None]
        front = np.clip(mean + a * (colours - a * mean - (1 - a) * behind), 0, None)
    return front.astype(np.float32)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(HOW_MATTE)
    try:
        shelve(Path(sys.argv[1]))
    except CaptureError as failure:
        sys.exit(str(failure))
