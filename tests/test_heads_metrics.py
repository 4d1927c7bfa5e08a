# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures of pictures: against their definitions, and LPIPS against the values that its own package gives."""

import io
import pickle  # noqa: TID251  writes what must be refused

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="LPIPS runs in torch")
from loquent.core.errors import AssetError  # noqa: E402
from loquent.tools.heads import lpips, metrics  # noqa: E402


def pair(seed: int = 0, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 0.8, (size, size, 3)).astype(np.float32)
    return np.clip(truth + rng.normal(0, 0.05, truth.shape).astype(np.float32), 0, 1), truth


def test_equal_pictures_score_best():
    _, truth = pair()
    assert metrics.psnr(truth, truth) == pytest.approx(100) and metrics.ssim(truth, truth) == pytest.approx(1)


def test_psnr_follows_its_definition_and_counts_inside_the_mask_only():
    picture, truth = pair()
    mask = np.zeros(truth.shape[:2], bool)
    mask[10:20, 5:30] = True
    assert metrics.psnr(picture, truth) == pytest.approx(-10 * np.log10(np.mean((picture - truth) ** 2)), abs=1e-4)
    assert metrics.psnr(picture, truth, mask) == pytest.approx(
        -10 * np.log10(np.mean((picture - truth)[mask] ** 2)), abs=1e-4
    )


def test_ssim_is_the_windowed_formula():
    picture, truth = pair(1, 24)
    x = np.arange(11) - 5
    one = np.exp(-0.5 * (x / 1.5) ** 2)
    kernel = np.outer(one, one) / one.sum() ** 2
    values = []
    for row in range(5, 19):
        for column in range(5, 19):
            for channel in range(3):
                a = picture[row - 5 : row + 6, column - 5 : column + 6, channel].astype(float)
                b = truth[row - 5 : row + 6, column - 5 : column + 6, channel].astype(float)
                ma, mb = (a * kernel).sum(), (b * kernel).sum()
                va, vb = (kernel * (a - ma) ** 2).sum(), (kernel * (b - mb) ** 2).sum()
                cov = (kernel * (a - ma) * (b - mb)).sum()
                values.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    assert metrics.ssim(picture, truth) == pytest.approx(np.mean(values), abs=1e-9)


def test_what_lies_outside_the_mask_does_not_count():
    picture, truth = pair(2)
    mask = np.zeros(truth.shape[:2], np.float32)
    mask[12:36, 12:36] = 1
    wrong = np.where(mask[..., None] > 0, picture, 0.0)
    for measure in (metrics.psnr, metrics.ssim):
        assert measure(wrong, truth, mask) == pytest.approx(measure(picture, truth, mask), abs=1e-6)


def test_lmd_forgives_place_and_measures_shape():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 100, (4, 478, 2)).astype(np.float32)
    moved = truth + np.float32([7, -3])
    assert metrics.lmd(moved, truth) == pytest.approx(0, abs=1e-4)
    apart = truth.copy()
    apart[1] = np.nan
    apart[:, metrics.MOUTH[0]] += np.float32([10, 0])
    # the corner is 10 off, its twenty's mean moves by .5: 9.5 for one place and .5 for nineteen
    assert metrics.lmd(apart, truth) == pytest.approx((9.5 + 19 * 0.5) / 20, abs=1e-4)
    assert np.isnan(metrics.lmd(np.full_like(truth, np.nan), truth))


def test_regions_are_told_apart_in_names_and_numbers():
    picture, truth = pair(4)
    head = np.zeros(truth.shape[:2], np.float32)
    head[16:32, 16:32] = 1
    picture = truth + (picture - truth) * head[..., None]
    found = metrics.by_region([picture], [truth], [{"head": head, "torso": np.maximum(head, 0)}], perceptual=False)
    assert found["whole"].psnr > found["head"].psnr + 6  # nine tenths of the frame are the truth itself
    flat = metrics.figures("a", found)
    assert "a_head_psnr" in flat and "a_whole_lpips" not in flat


def test_a_pickle_that_names_anything_but_arrays_is_refused():
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    with pytest.raises(AssetError, match="only numpy arrays"):
        lpips.ArraysOnly(io.BytesIO(pickle.dumps({"a": Evil()}))).load()
    kept = lpips.ArraysOnly(io.BytesIO(pickle.dumps({"a": np.arange(3.0)}, protocol=4))).load()
    assert kept["a"].tolist() == [0, 1, 2]


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LOQUENT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "other.tar.gz").write_bytes(b"no")
    with pytest.raises(AssetError, match="SHA-256"):
        lpips.weights_file(tmp_path / "other.tar.gz")


def test_lpips_gives_what_its_package_gives():
    if not any(lpips.cache_folder().glob("lpips-alex-*.npz")):
        pytest.skip("LPIPS' weights are not in the cache (python tools/heads/lpips.py fetches them, 64 MB)")
    x = np.linspace(0, 1, 96, dtype=np.float32)
    truth = np.stack(
        [np.outer(np.sin(9 * x), np.cos(7 * x)), np.outer(x, x), np.outer(np.cos(20 * x), np.sin(5 * x))], -1
    )
    truth = (truth - truth.min()) / np.ptp(truth)
    noisy = truth + np.random.default_rng(0).normal(0, 0.05, truth.shape).astype(np.float32)
    assert metrics.lpips(truth, truth) == 0
    whole = metrics.lpips(noisy, truth)
    mask = np.zeros(truth.shape[:2], np.float32)
    mask[24:72, 24:72] = 1
    assert metrics.lpips(noisy, truth, mask) > 0.1 and whole > 0.1
    assert metrics.lpips(noisy, truth, np.ones_like(mask)) == pytest.approx(whole, rel=1e-4)
