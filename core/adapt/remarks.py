# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be said about a photo that a head was made from all the same: one sentence a weakness, with what to do."""

import numpy as np

from ..capture.landmarker import Face
from ..capture.matte import box
from ..capture.track import Track
from ..head.motion import INDEX
from .complexion import Complexion, is_grey
from .picture import Picture
from .shot import EYES, Shot

SMALL, TURNED, PROFILE = 90, 0.44, 0.85
"""Pixels of a face's height; radians."""
BLURRED = 0.0065
"""Least change from pixel to pixel, of a face shown 128 pixels high, in display values: sharp ones have .010 and more."""
DARK_EYES = 0.30
"""Brightness of the eyes' surroundings in the cheeks' below which something covers them."""
FLAT, OFF = 0.35, 0.04
"""Share of a face's pixels that equal their neighbours, .1 in compressed films; landmark error in eye distances, .02 on faces."""
DARK = 24
"""Median brightness of a face, of 255."""
LUMA = np.array([0.2126, 0.7152, 0.0722])


def about(picture: Picture, faces: list[Face], chosen: int, track: Track, shot: Shot, look: Complexion) -> list[str]:
    """Sentences, the most important first."""
    said = []
    points = track.landmarks[0]
    tall = float(np.ptp(points[:, 1]))
    if len(faces) > 1:
        said.append(
            f"There are {len(faces)} faces in '{picture.name}'; face {chosen}, counted from the largest, was taken. Choose another by its number."
        )
    if tall < SMALL:
        said.append(
            f"The face is {tall:.0f} pixels high; from {SMALL} on the likeness is good. Use a larger original if there is one."
        )
    turn = abs(float(track.motion.values[0, INDEX["headYaw"]]))
    if turn > PROFILE:
        said.append(
            f"The head is turned {np.degrees(turn):.0f} degrees: a profile. Half of the face is its mirror image and the shape is guessed. Use a photo "
            "from the front."
        )
    elif turn > TURNED:
        said.append(
            f"The head is turned {np.degrees(turn):.0f} degrees; its far side is the mirror image of the near one."
        )
    if np.median(picture.image[_inside(points, picture.image)] @ LUMA) < DARK:
        said.append("The photo is very dark; colours are mostly noise. Brighten it, or take another.")
    elif sharpness(picture.image, points) < BLURRED:
        said.append("The face is blurred, and so will the head be. Use a sharper photo.")
    white = look.skin_colour.min() > 0.95
    if (flatness(picture.image, points) > FLAT and not white) or track.error > OFF:
        said.append(
            "This may be a drawing, a mask or a hand over the face: it has areas of a single colour, or its features lie where no face has "
            "them. The head takes a real face's shape all the same."
        )
    if _covered_eyes(shot, look):
        said.append(
            "The eyes are dark and show no white: something covers them, such as sunglasses, or this is a drawing. What is there is painted "
            "on the face, and the eyes under it are invented. Use a photo that shows them."
        )
    if white:
        said.append("The skin is overexposed to white; its colours are lost. Use a darker exposure.")
    elif is_grey(look.skin_colour):
        said.append("The photo is black and white, and so will the head be.")
    _, top, side = shot.square
    if top + 0.28 * side < 0 or points[:, 1].min() < 0.12 * np.ptp(points[:, 1]):
        said.append(
            "The top of the head is cut off; hair above the picture's edge is missing. Use a photo with room above the head."
        )
    return said


def _inside(points: np.ndarray, image: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the face."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, image.shape[1::-1])
    return slice(low[1], high[1]), slice(low[0], high[0])


def flatness(image: np.ndarray, points: np.ndarray) -> float:
    """Share of the face's pixels that are exactly as their right and lower neighbours."""
    face = image[_inside(points, image)].astype(np.int16)
    if min(face.shape[:2]) < 8:
        return 0.0
    right = np.abs(np.diff(face, axis=1)).max(-1)[:-1]
    below = np.abs(np.diff(face, axis=0)).max(-1)[:, :-1]
    return float(((right == 0) & (below == 0)).mean())


def sharpness(image: np.ndarray, points: np.ndarray) -> float:
    """Mean change from pixel to pixel beyond what a blurred copy has, of the face at 128 pixels' height, display values 0..1."""
    face = image[_inside(points, image)].astype(np.float32) @ LUMA.astype(np.float32) / 255
    if min(face.shape) < 8:
        return 1.0
    shrink = max(1, round(face.shape[0] / 128))
    face = box(face, shrink // 2)[::shrink, ::shrink] if shrink > 1 else face
    fine = face - box(face, 1)
    contrast = float(np.clip(face.std(), 0.02, None))
    return float(np.abs(fine).mean() * min(0.18 / contrast, 3.0))


def _covered_eyes(shot: Shot, look: Complexion) -> bool:
    """Whether the surroundings of both eyes are dark and flat against the cheeks, whites and all."""
    head = shot.head
    lids = (head.masks["eyelids"] > 0.5) & (shot.facing(shot.vertices, shot.normals) > 0.3)
    eyes = shot.first == EYES
    if not lids.any():
        return False
    pixels = np.clip(shot.seen_from(shot.vertices[lids])[0].astype(int), 0, shot.side - 1)
    around = shot.light[pixels[:, 1], pixels[:, 0]] @ LUMA
    cheek = float(look.skin_colour @ LUMA)
    dark = np.median(around) < DARK_EYES * cheek
    white = np.quantile(shot.light[eyes] @ LUMA, 0.9) if eyes.any() else 0.0
    return bool(dark and white < 0.45 * cheek)
