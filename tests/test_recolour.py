# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours are found again from pictures, and are still colours."""

from dataclasses import replace

import numpy as np
import pytest

from loquent.core.geometry.cameras import look_at
from loquent.core.splats import native, recolour
from loquent.core.splats.gaussians import SH_C0, Gaussians
from loquent.core.splats.rasterize import rasterize

CAMERAS = [look_at((x, 0.1, 0.6), (0, 0, 0), width=64, height=64) for x in (-0.2, 0.0, 0.2)]


def scene(count=400):
    rng = np.random.default_rng(0)
    quats = rng.normal(size=(count, 4)).astype(np.float32)
    return Gaussians(
        rng.normal(0, 0.05, (count, 3)).astype(np.float32), quats / np.linalg.norm(quats, axis=1, keepdims=True),
        rng.uniform(0.004, 0.012, (count, 3)).astype(np.float32), rng.uniform(0.3, 0.9, count).astype(np.float32),
        ((rng.uniform(0, 0.8, (count, 1, 3)) - 0.5) / SH_C0).astype(np.float32),
    )  # fmt: skip


def error(g, wanted):
    return np.sqrt(np.mean([(rasterize(g, c).colour - w) ** 2 for c, w in zip(CAMERAS, wanted, strict=True)]))


@pytest.mark.skipif(native.library() is None, reason="no native library was built here")
def test_colours_are_found_again_from_pictures():
    true = scene()
    wanted = [rasterize(true, camera).colour for camera in CAMERAS]
    grey = replace(true, harmonics=np.zeros_like(true.harmonics))
    found = recolour.recoloured(grey, CAMERAS, wanted)
    assert error(found, wanted) < 0.15 * error(grey, wanted)
    assert (found.harmonics * SH_C0 + 0.5).min() > -1e-6 and found.means is true.means
    right = recolour.recoloured(true, CAMERAS, wanted)
    np.testing.assert_allclose(right.harmonics, true.harmonics, atol=1e-4)


@pytest.mark.skipif(native.library() is None, reason="no native library was built here")
def test_some_make_up_for_the_rest_and_the_others_keep_all_harmonics():
    rng = np.random.default_rng(1)
    true = scene()
    directed = np.concatenate([true.harmonics, rng.normal(0, 0.1, (len(true), 3, 3)).astype(np.float32)], 1)
    which = np.arange(len(true)) % 3 == 0
    directed[which, 1:] = 0
    true = replace(true, harmonics=directed)
    wanted = [rasterize(true, camera).colour for camera in CAMERAS]
    grey = directed.copy()
    grey[which] = 0
    found = recolour.recoloured(replace(true, harmonics=grey), CAMERAS, wanted, which=which)
    assert error(found, wanted) < 0.2 * error(replace(true, harmonics=grey), wanted)
    np.testing.assert_array_equal(found.harmonics[~which], directed[~which])
    assert recolour.recoloured(true, CAMERAS, wanted, which=np.zeros(len(true), bool)) is true


@pytest.mark.skipif(native.library() is None, reason="no native library was built here")
def test_what_lies_behind_others_is_not_seen_until_a_camera_looks_past_them():
    places = np.array([[0, 0, 0.1], [0, 0, 0], [0.3, 0, 0]], np.float32)
    g = Gaussians(
        places, np.tile(np.float32([1, 0, 0, 0]), (3, 1)), np.array([[0.05] * 3, [0.01] * 3, [0.01] * 3], np.float32),
        np.array([0.999, 0.8, 0.4], np.float32), np.zeros((3, 1, 3), np.float32),
    )  # fmt: skip
    front = look_at((0, 0, 1), (0, 0, 0), fov_y=1.0, width=128, height=128)
    side = look_at((1, 0, 0), (0, 0, 0), fov_y=1.0, width=128, height=128)
    shown = recolour.seen(g, [front])
    assert shown is not None and shown[1] < 0.05 and shown[[0, 2]].min() > 0.9
    both = recolour.seen(g, [front, side])
    assert both is not None and both[1] > 0.1 and (both >= shown).all()


def test_without_the_library_colours_stay(monkeypatch):
    monkeypatch.setattr(recolour.native, "library", lambda: None)
    g = scene(5)
    assert recolour.recoloured(g, CAMERAS, [np.zeros((64, 64, 3), np.float32)] * 3) is g
    assert recolour.seen(g, CAMERAS) is None
