# SPDX-License-Identifier: GPL-3.0-or-later
"""Each weakness of a photo gets its sentence, and a photo without it does not: what tests/test_photo.py does not look at."""

from types import SimpleNamespace

import numpy as np
import pytest

from loquent.core.adapt import remarks
from loquent.core.adapt.picture import Picture
from loquent.core.capture.landmarker import Face
from loquent.core.head.motion import CHANNELS

SIDE, LOW, HIGH = 256, 60, 200
"""Pixels of the picture and of the face's edges in it."""
EVERYTHING = (
    "black and white",
    "drawing",
    "very dark",
    "overexposed",
    "top of the head",
    "blurred",
    "pixels high",
    "degrees",
    "faces",
)


def photo(image=None, *, low=LOW, error=0.02, skin=(0.5, 0.35, 0.3), top=0.0):
    """What `about` says of a noisy, lit face, with one thing changed."""
    if image is None:
        image = np.random.default_rng(0).integers(90, 200, (SIDE, SIDE, 3))
    grid = np.linspace(low, HIGH, 20)
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2).astype(np.float32)
    track = SimpleNamespace(
        landmarks=points[None], error=error, motion=SimpleNamespace(values=np.zeros((1, len(CHANNELS))))
    )
    shot = SimpleNamespace(square=(0.0, top, float(SIDE)))
    look = SimpleNamespace(skin_colour=np.array(skin))
    faces = [Face(points, np.zeros(52, np.float32))]
    return " ".join(remarks.about(Picture("me.png", np.asarray(image, np.uint8)), faces, 1, track, shot, look))


@pytest.fixture(autouse=True)
def eyes_are_seen(monkeypatch):
    monkeypatch.setattr(remarks, "_covered_eyes", lambda shot, look: False)


def told(said: str) -> set[str]:
    return {word for word in EVERYTHING if word in said}


def test_a_good_photo_gets_no_word():
    assert photo() == ""


def drawn():
    """Patches of a single colour, as a comic has them."""
    return np.random.default_rng(1).integers(60, 250, (SIDE // 16, SIDE // 16, 3)).repeat(16, 0).repeat(16, 1)


@pytest.mark.parametrize(("changed", "wanted"), [
    ({"image": drawn()}, "drawing"),
    ({"error": 0.06}, "drawing"),
    ({"skin": (0.4, 0.4, 0.4)}, "black and white"),
    ({"skin": (1.0, 0.99, 0.96)}, "overexposed"),
    ({"skin": (1.0, 0.995, 0.99), "image": drawn() // 200 * 255}, "overexposed"),
    ({"top": -100.0}, "top of the head"),
    ({"image": np.random.default_rng(2).integers(0, 30, (SIDE, SIDE, 3))}, "very dark"),
    ({"low": HIGH - 60}, "pixels high"),
])  # fmt: skip
def test_a_weakness_is_told_and_nothing_else(changed, wanted):
    assert told(photo(**changed)) == {wanted}
