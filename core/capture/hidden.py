# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before a face: MediaPipe finds lips and eyes through a hand, and puts them somewhere.

A landmark has much the same colour in all pictures of a shot. Where many of a face's landmarks have not, something else is seen there.
Turned heads show their landmarks other sides, so that only faces turned about as the shot's usual are judged.
"""

from collections.abc import Sequence

import numpy as np

from .landmarker import Face

OTHER, SPREADS = 0.2, 5.0
"""A landmark shows something else where its colour is so far from the usual one, in shares of the face's brightness, and so many
times its usual deviation; mouths and lids that open and shut deviate by themselves."""
MOST = 0.15
"""Share of landmarks that may: speaking, nodding and blinking reach .03, a hand over the mouth .3 and more."""
TURNED = 0.12
"""Off the usual place of the nose between the cheeks, in shares of the face's width, from which on a head is turned: 20 degrees."""
FEWEST = 12
"""Pictures below which nothing is usual."""
AROUND = 3
"""Pictures before and after in which the hand is coming and going."""
AT_ONCE = 32
NOSE, CHEEKS = 1, (234, 454)


def hidden(faces: Sequence[Face], indices: Sequence[int]) -> np.ndarray:
    """(F,) whether something is before the faces (F) of one person in one shot, found in those pictures."""
    none = np.zeros(len(faces), bool)
    if len(faces) < FEWEST or any(face.colours is None for face in faces):
        return none
    nose = np.array([_nose(face.points) for face in faces])
    strange = (strangeness(faces) > MOST) & (np.abs(nose - np.median(nose)) < TURNED)
    if strange.mean() > 1 / 3:  # then who knows what is usual
        return none
    index, reach = np.asarray(indices), np.arange(-AROUND, AROUND + 1)
    return np.isin(index, (index[strange][:, None] + reach).ravel())


def strangeness(faces: Sequence[Face]) -> np.ndarray:
    """(F,) shares of each face's landmarks that do not have their usual colour. Few landmarks at a time: long films have many faces."""
    colours = np.stack([face.colours for face in faces if face.colours is not None])
    level = np.array(
        [max(float(np.median(own)), 5.0) for own in colours], np.float32
    )  # of light that changes everywhere alike
    count = np.zeros(len(faces))
    for first in range(0, colours.shape[1], AT_ONCE):
        own = colours[:, first : first + AT_ONCE] / level[:, None, None]
        off = np.linalg.norm(own - np.median(own, 0), axis=-1)
        count += (off > np.maximum(OTHER, SPREADS * np.median(off, 0))).sum(1)
    return count / colours.shape[1]


def _nose(points: np.ndarray) -> float:
    """0..1 from the subject's right cheek to the left."""
    right, left = points[CHEEKS[0]], points[CHEEKS[1]]
    across = left - right
    return float((points[NOSE] - right) @ across / max(float(across @ across), 1e-6))
