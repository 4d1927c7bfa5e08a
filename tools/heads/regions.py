# SPDX-License-Identifier: GPL-3.0-or-later
"""Head, and head with torso, in a film's picture: where pictures of a head are compared (metrics.py).

Taken from the film alone, so that it is the same for every method: the person's matte, and the chin and crown of MediaPipe's
landmarks. The head is what of the person lies above a line just below the chin.
"""

from collections.abc import Sequence

import numpy as np

CHIN, CROWN = 152, 10
BELOW = 0.06
"""How far below the chin the line lies, in heights of the face (chin to crown)."""


def region_masks(matte: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """ "head" and "torso" (the whole person), each (H, W) float32 0 or 1, of a matte (H, W) and landmarks (478, 2) in pixels."""
    chin, up = landmarks[CHIN], landmarks[CROWN] - landmarks[CHIN]
    tall = float(np.linalg.norm(up)) or 1.0
    y, x = np.mgrid[: matte.shape[0], : matte.shape[1]] + 0.5
    above = ((x - chin[0]) * up[0] + (y - chin[1]) * up[1]) / tall > -BELOW * tall
    person = matte > 0.5
    return {"head": (person & above).astype(np.float32), "torso": person.astype(np.float32)}


def masks_of(pictures: Sequence[np.ndarray], landmarks: np.ndarray) -> list[dict[str, np.ndarray]]:
    """region_masks of pictures (H, W, 3) uint8, their mattes by core/capture/matte.py. Raises CaptureError without its model."""
    from loquent.core.capture.matte import Matter

    with Matter() as matter:
        return [region_masks(matter(p, face=points), points) for p, points in zip(pictures, landmarks, strict=True)]
