# SPDX-License-Identifier: GPL-3.0-or-later
"""Films that are not perfect: cuts that change little, and what stands before a face."""

from collections.abc import Mapping

import numpy as np
import pytest

from loquent.core.capture.film import USUAL, Changes, open_film
from loquent.core.capture.hidden import AROUND, hidden
from loquent.core.capture.landmarker import Face, colours_at
from loquent.core.capture.people import Trail
from loquent.core.capture.perform import fill_in, jumps, seen_of
from loquent.core.capture.problem import Seen
from loquent.core.errors import CaptureError


def greys(count: int, move: float, seed: int = 0) -> list[np.ndarray]:
    """A room seen by a camera that stands still, with a little change everywhere."""
    rng = np.random.default_rng(seed)
    room = rng.random((32, 32)).astype(np.float32)
    return [room + move * rng.standard_normal((32, 32)).astype(np.float32) for _ in range(count)]


def cuts_of(pictures: list[np.ndarray]) -> list[int]:
    changes = Changes()
    return [k for k, grey in enumerate(pictures) if changes.cut(grey)]


def test_another_framing_of_the_same_room_is_a_cut_though_it_changes_little():
    shot = greys(2 * USUAL, 0.003)
    nearer = [0.75 * grey + 0.25 * grey[::-1] for grey in shot]
    assert 0.05 < np.abs(nearer[0] - shot[-1]).mean() < 0.16
    assert cuts_of([*shot, *nearer, *shot]) == [2 * USUAL, 4 * USUAL]


def test_what_changes_as_much_all_the_time_or_everywhere_alike_is_no_cut():
    assert cuts_of(greys(40, 0.06)) == []  # noise, or a camera carried about
    lit = greys(40, 0.003)
    assert cuts_of([*lit[:20], *(grey + 0.1 for grey in lit[20:])]) == []  # a lamp
    twice = [grey for grey in greys(30, 0.03) for _ in range(2)]  # 60 pictures a second made of 30
    assert cuts_of(twice) == []


def seen(offsets: np.ndarray) -> Seen:
    rng = np.random.default_rng(1)
    face = rng.uniform(0, 100, (478, 2))
    face[33], face[263] = (0, 50), (80, 50)
    points = (face + offsets[:, None, None] * [80, 0] + rng.normal(0, 0.2, (len(offsets), 478, 2))).astype(np.float32)
    return Seen(points, np.zeros((len(offsets), 52), np.float32), np.arange(len(offsets)))


@pytest.mark.parametrize("what, offsets, found", [
    ("a jump cut", np.r_[np.zeros(20), np.full(20, 0.15)], [20]),
    ("a nod", np.r_[np.zeros(15), np.cumsum(np.r_[0.05, 0.12, 0.12, 0.05]), np.full(15, 0.34)], []),
    ("a jump too small to tell", np.r_[np.zeros(20), np.full(20, 0.06)], []),
    ("one bad picture", np.r_[np.zeros(20), 0.2, np.zeros(20)], []),
])  # fmt: skip
def test_a_face_that_is_suddenly_elsewhere_begins_another_shot(what, offsets, found):
    assert jumps(seen(offsets), 25.0) == found, what


def test_long_films_are_filled_in_piece_by_piece_as_short_ones_are(monkeypatch):
    from loquent.core.capture import perform

    rng = np.random.default_rng(2)
    index = np.flatnonzero(rng.random(300) > 0.4)
    values = rng.random((len(index), 7)).astype(np.float32)
    whole = fill_in(values, index, 300, [90, 91, 200], 25.0, rests=False)
    monkeypatch.setattr(perform, "AT_ONCE", 16)
    assert np.array_equal(fill_in(values, index, 300, [90, 91, 200], 25.0, rests=False), whole)
    assert np.array_equal(whole[index], values)


def faces_seen(count: int, odd: Mapping, turn: float = 0.0) -> list[Face]:
    """Faces whose lower half has another colour in some pictures; turn: how far the nose goes aside in those."""
    rng = np.random.default_rng(4)
    points, colours = rng.uniform(20, 76, (478, 2)), rng.uniform(40, 200, (478, 3))
    points[[234, 454]] = (20, 50), (76, 50)
    out = []
    for k in range(count):
        own, at = colours * (1.0 if k < 30 else 0.8) + rng.normal(0, 3, (478, 3)), points.copy()  # a lamp goes out
        at[1] = (48 + 56 * turn * (k in odd), 55)
        if k in odd:
            own[240:] = odd[k]
        out.append(Face(at.astype(np.float32), np.zeros(52, np.float32), np.clip(own, 0, 255).astype(np.uint8)))
    return out


def test_pictures_with_something_before_the_face_are_told():
    hand = dict.fromkeys((12, 13, 14), (150, 100, 80))
    around = list(range(12 - AROUND, 15 + AROUND))
    assert np.flatnonzero(hidden(faces_seen(40, hand), range(40))).tolist() == around
    assert not hidden(faces_seen(40, {}), range(40)).any()
    assert not hidden(faces_seen(40, hand, turn=0.2), range(40)).any()  # a turned head shows other sides
    assert not hidden(
        faces_seen(40, dict.fromkeys(range(0, 40, 2), (150, 100, 80))), range(40)
    ).any()  # what is usual here?
    assert not hidden(faces_seen(8, hand), range(8)).any()


def test_a_face_behind_a_hand_counts_as_not_seen_in_its_own_shot_alone():
    faces = faces_seen(40, dict.fromkeys((12, 13, 14), (150, 100, 80)))
    first, second = Trail(0, list(range(40)), faces), Trail(1, list(range(40, 60)), faces_seen(20, {}))
    index = seen_of([first, second]).index.tolist()
    assert index == [k for k in range(60) if not 12 - AROUND <= k < 15 + AROUND]


def test_colours_are_taken_where_landmarks_are():
    image = np.zeros((20, 30, 3), np.uint8)
    image[4:7, 9:12] = (90, 60, 30)
    assert colours_at(image, np.array([[10.5, 5.5], [-3.0, 50.0]])).tolist() == [[90, 60, 30], [0, 0, 0]]


def test_a_list_of_other_films_is_not_followed_whatever_it_is_called(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "other.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(stream.encode())
    assert open_film(tmp_path / "other.mp4").size == (32, 32)
    (tmp_path / "chosen.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(CaptureError, match="list of other files"):
        open_film(tmp_path / "chosen.mp4")
