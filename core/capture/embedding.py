# SPDX-License-Identifier: GPL-3.0-or-later
"""Where MediaPipe's 478 landmarks lie on the built-in head (core/data/face_landmarks.npz, made by tools/capture/embed.py)."""

from dataclasses import dataclass

import numpy as np

from ..assets import data_file
from ..errors import AssetError
from ..head.head import Head

UPPER_LIP = (13, 82, 312, 81, 311, 80, 310, 191, 415)
LOWER_LIP = (14, 87, 317, 178, 402, 88, 318, 95, 324)
"""Inner margins of the lips, facing each other, from the middle to the corners."""
UPPER_LIDS = (159, 158, 160, 157, 161, 173, 246, 386, 385, 387, 384, 388, 398, 466)
LOWER_LIDS = (145, 153, 144, 154, 163, 155, 7, 374, 380, 373, 381, 390, 382, 249)
EYE_CORNERS = ((33, 133), (362, 263))
"""Of the subject's right eye and left eye."""
LIP_MIDDLE = (13, 14)
OUTER_CORNERS = (33, 263)


@dataclass(frozen=True)
class Embedding:
    """L landmarks as points of triangles.

    corners (L, 3) vertices; weights (L, 3) barycentric; sigmas (L,) how far MediaPipe's points lie from them, typically, in
    units of the distance between the eyes' outer corners.
    """

    corners: np.ndarray
    weights: np.ndarray
    sigmas: np.ndarray

    def of(self, field: np.ndarray) -> np.ndarray:
        """(..., L, D) values at the landmarks of a field (..., V, D) over the vertices."""
        w = self.weights
        return sum(w[:, k, None] * np.take(field, self.corners[:, k], axis=-2) for k in range(3))  # type: ignore[return-value]


def load_embedding(head: Head) -> Embedding:
    """The landmarks of the built-in head. Raises AssetError where the file and the head do not belong together."""
    path = data_file("face_landmarks.npz")
    with np.load(path, allow_pickle=False) as file:
        triangles, weights, sigmas, head_id = (file[n] for n in ("triangles", "weights", "sigmas", "head_id"))
    if str(head_id) != head.head_id:
        raise AssetError(
            f"'{path}' was made for head '{head_id}'; this is '{head.head_id}'. Run python -m loquent.tools.capture.embed."
        )
    return Embedding(head.faces[triangles].astype(np.int32), weights.astype(np.float32), sigmas.astype(np.float32))
