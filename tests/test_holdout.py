# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest

from loquent.core.errors import RasterError
from loquent.core.geometry.cameras import Camera, intrinsics
from loquent.core.splats import native
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.holdout import limits, mesh_depth
from loquent.core.splats.rasterize import rasterize

needs_library = pytest.mark.skipif(native.library() is None, reason="the native rasteriser is not built")


@pytest.fixture
def camera():
    return Camera(np.eye(4, dtype=np.float32), intrinsics(0.6, 70, 45), 70, 45, near=0.1)


@pytest.fixture
def cloud():
    rng = np.random.default_rng(3)
    n = 300
    means = rng.uniform((-0.5, -0.3, 1.5), (0.5, 0.3, 2.5), (n, 3)).astype(np.float32)
    return Gaussians(
        means,
        rng.normal(size=(n, 4)).astype(np.float32),
        rng.uniform(0.01, 0.05, (n, 3)).astype(np.float32),
        rng.uniform(0.2, 0.99, n).astype(np.float32),
        rng.normal(size=(n, 4, 3)).astype(np.float32) * 0.3,
    )


def wall(z, left=-9.0, right=9.0):
    corners = [(left, -9, z), (right, -9, z), (right, 9, z), (left, 9, z)]
    return np.array(corners, np.float32), np.array([(0, 1, 2), (0, 2, 3)], np.int32)


def soup(seed=1, n=60):
    """Triangles in all directions: some cut by the near plane, some behind the camera, some on edge."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-1, -1, -1), (1, 1, 3), (n, 1, 3))
    vertices = (centres + rng.normal(size=(n, 3, 3)) * 0.3).reshape(-1, 3)
    return vertices.astype(np.float32), np.arange(3 * n, dtype=np.int32).reshape(-1, 3)


def test_nothing_hides_nothing(camera):
    assert np.isinf(mesh_depth([], camera)).all()
    assert limits([wall(5)], camera, 2.6) is None


def test_the_depth_of_a_slanted_wall_is_that_of_its_plane(camera):
    vertices, faces = wall(2)
    vertices[:, 2] += 0.05 * vertices[:, 0] - 0.03 * vertices[:, 1]
    depth = mesh_depth([(vertices, faces)], camera)
    y, x = np.mgrid[:45, :70] + 0.5
    ray = np.stack([(x - 35) / camera.K[0, 0], (y - 22.5) / camera.K[1, 1]])
    assert np.allclose(depth, 2 / (1 - 0.05 * ray[0] + 0.03 * ray[1]), rtol=1e-5)


@needs_library
def test_native_depth_is_that_of_plain_numpy(camera, monkeypatch):
    fast = mesh_depth([soup()], camera)
    monkeypatch.setattr(native, "library", lambda: None)
    slow = mesh_depth([soup()], camera)
    assert np.isfinite(slow).mean() > 0.5
    same = np.isclose(fast, slow, rtol=1e-4) | (np.isinf(fast) & np.isinf(slow))
    assert same.mean() > 0.998  # a pixel's centre on an edge may fall on either side


@needs_library
def test_depth_is_the_same_to_the_byte_on_any_threads_and_in_any_order(camera):
    vertices, faces = soup(n=9000)
    first = mesh_depth([(vertices, faces)], camera, threads=1)
    assert np.array_equal(first, mesh_depth([(vertices, faces[::-1])], camera, threads=3))


@pytest.mark.parametrize("path", ["native", "numpy"])
def test_a_wall_leaves_what_the_far_plane_leaves(camera, cloud, path):
    """A limit is the far plane of one pixel: compared with the picture that ends there."""
    if path == "native" and native.library() is None:
        pytest.skip("the native rasteriser is not built")
    features = np.random.default_rng(1).random((len(cloud), 9)).astype(np.float32)
    z = float(np.median(cloud.means[:, 2])) + 1e-3
    limit = np.full((45, 70), np.inf, np.float32)
    limit[:, 20:50] = z
    passes = {"median_depth", "features"}
    draw = {"passes": passes, "features": features, "background": (0.1, 0.2, 0.3), "backend": path}
    cut = rasterize(cloud, camera, limit=limit, **draw)
    whole, ended = rasterize(cloud, camera, **draw), rasterize(cloud, replace(camera, far=z), **draw)
    for name in ("colour", "alpha", "depth", "median_depth", "features"):
        one, all_of, end = (getattr(layers, name) for layers in (cut, whole, ended))
        assert np.allclose(one[:, 20:50], end[:, 20:50], atol=1e-6), name
        assert np.array_equal(one[:, :20], all_of[:, :20]) and np.array_equal(one[:, 50:], all_of[:, 50:]), name
    assert np.abs(cut.alpha - whole.alpha).max() > 0.1


def test_a_limit_of_another_size_is_refused(camera, cloud):
    with pytest.raises(RasterError, match=r"expected \(45, 70\)"):
        rasterize(cloud, camera, limit=np.zeros((45, 71), np.float32))


def test_the_edge_of_a_wall_takes_its_share_of_each_pixel(camera, cloud):
    """A wall before everything whose edge crosses pixels: what remains is what coverage says, not all or nothing."""
    at = (35.25 - camera.K[0, 2]) / camera.K[0, 0]  # a quarter into a pixel
    cut = limits([wall(1.0, right=at)], camera, 2.6, samples=16)
    assert cut is not None and cut.far is not None
    assert np.allclose(cut.share[:, 35], 0.25, atol=0.07)
    assert (cut.near[:, :36] == 1).all() and np.isinf(cut.near[:, 36:]).all() and np.isinf(cut.far[:, 35]).all()
    assert (cut.far[:, :35] == 0).all() and (cut.share[:, :35] == 1).all()  # inside, the first picture says it all


def test_a_broken_mesh_is_refused(camera):
    vertices, faces = wall(2)
    with pytest.raises(RasterError, match="damaged"):
        mesh_depth([(vertices, faces + 1)], camera)
    with pytest.raises(RasterError, match=r"expected \(V, 3\)"):
        mesh_depth([(vertices[:, :2], faces)], camera)
