# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold of every instruction set and tile shape of the library, and what its memory may grow to.

Both are chosen by the library itself, by the processor and by the size of the picture; here each is forced in turn.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.geometry.cameras import look_at
from loquent.core.splats import native
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import describe, rasterize, rasterize_batch

pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")
NAMES = ("colour", "alpha", "depth", "features", "median_depth")
FIELDS = ("means", "quats_wxyz", "scales", "opacities", "harmonics")
LEVELS = native.kernel_names()
FUSED = ("avx2", "neon")
"""Levels with fused multiply-add; the others round once more at each."""


def cloud(count, seed=0, size=0.03, coefficients=16) -> Gaussians:
    rng = np.random.default_rng(seed)
    return Gaussians(
        rng.normal(0, 0.08, (count, 3)).astype(np.float32),
        rng.normal(size=(count, 4)).astype(np.float32),
        (size * rng.uniform(0.03, 1, (count, 3))).astype(np.float32),
        np.where(rng.random(count) < 0.3, 0.99, rng.uniform(0.003, 0.9, count)).astype(np.float32),
        rng.normal(0, 0.3, (count, coefficients, 3) if coefficients else (count, 3)).astype(np.float32),
    )


def features_of(g: Gaussians, channels: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(len(g), channels)).astype(np.float32)


CAMERA = look_at((0.2, 0.15, 0.7), (0, 0, 0), fov_y=0.5, width=90, height=76)


def arrays_of(g: Gaussians, channels: int) -> list[np.ndarray]:
    return [*(np.ascontiguousarray(getattr(g, name)) for name in FIELDS), features_of(g, channels)]


class Frame:
    """One scene drawn by one level and tile shape, forward and backward, with every layer and gradient."""

    def __init__(self, g, camera=CAMERA, *, level=-1, tile=0, channels=5, antialiased=False, threads=2, weights=None):
        self.context, self.pool = native.Context(level), native.pool(threads)
        arrays, shape = arrays_of(g, channels), (camera.height, camera.width)
        layers = [np.empty((*shape, *rest), np.float32) for rest in ((3,), (), (), (channels,), ())]
        scene, view = native.scene_of(*arrays), native.view_of(camera, (0.1, 0.4, 0.2), None, antialiased, tile)
        image = native.Image(*map(native.pointer, layers))
        self.context.forward(self.pool, scene, view, image)
        self.layers = dict(zip(NAMES, layers, strict=True))
        if weights is None:
            return
        grads, pose = [np.empty_like(a) for a in arrays], np.empty((4, 4), np.float32)
        slope = native.Image(*map(native.pointer, (*weights, None)))
        pointers = map(native.pointer, (*grads[:5], None, grads[5], pose))
        self.context.backward(self.pool, scene, view, image, slope, native.Gradients(*pointers))
        self.grads = dict(zip((*FIELDS, "features", "pose"), (*grads, pose), strict=True))


def weights_of(camera, channels: int) -> list[np.ndarray]:
    rng, shape = np.random.default_rng(3), (camera.height, camera.width)
    return [rng.normal(size=(*shape, *rest)).astype(np.float32) for rest in ((3,), (), (), (channels,))]


def relative(found, want) -> float:
    return float(np.linalg.norm(found - want) / max(np.linalg.norm(want), 1e-12))


def medians_differ(a: np.ndarray, b: np.ndarray) -> float:
    """Part of the pixels in which another Gaussian counts: where the transmittance is within rounding of one half."""
    return float((np.abs(a - b) > 1e-5).mean())


def test_the_best_level_is_chosen_and_told():
    assert LEVELS[0] in ("generic", "neon")
    assert describe().startswith(f"native ({LEVELS[-1]}, ")
    if LEVELS[-1] == "avx2":
        assert LEVELS == ("generic", "sse42", "avx2")
    g = cloud(100)
    chosen, best = Frame(g), Frame(g, level=len(LEVELS) - 1)
    assert all(np.array_equal(chosen.layers[name], best.layers[name]) for name in NAMES)


def test_a_level_that_is_not_there_is_refused():
    with pytest.raises(native.RasterError, match=r"no instruction set 9 .* it has \('"):
        native.Context(9)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("level", range(len(LEVELS)), ids=LEVELS)
def test_each_level_agrees_with_the_torch_twin_in_every_pass_and_gradient(level, antialiased):
    torch = pytest.importorskip("torch")
    from loquent.core.splats.twin import rasterize_twin

    for coefficients, channels in ((16, 3), (9, 13), (4, 4), (0, 5)):
        g = cloud(130, coefficients, coefficients=coefficients)
        camera = look_at((0.2, 0.15, 0.7), (0, 0, 0), fov_y=0.5, width=45, height=38)
        weights = weights_of(camera, channels)
        found = Frame(g, camera, level=level, channels=channels, antialiased=antialiased, weights=weights)
        leaves = [torch.from_numpy(a).double().requires_grad_() for a in arrays_of(g, channels)]
        pose = torch.from_numpy(camera.world_to_camera).double().requires_grad_()
        K = torch.from_numpy(camera.K).double()
        colour, alpha, depth, median, drawn = rasterize_twin(
            *leaves[:5], pose, K, 45, 38, (0.1, 0.4, 0.2), antialiased=antialiased, features=leaves[5]
        )
        parts = zip((colour, alpha, depth, drawn), weights, strict=True)
        torch.stack([(layer * torch.from_numpy(w)).sum() for layer, w in parts]).sum().backward()
        want = dict(zip(NAMES, (x.detach().numpy() for x in (colour, alpha, depth, drawn, median)), strict=True))
        errors = {name: float(np.abs(found.layers[name] - want[name]).max()) for name in NAMES[:4]}
        limit = 5e-6 if LEVELS[level] in FUSED else 5e-5
        assert max(errors["colour"], errors["alpha"]) < limit and errors["features"] < 4 * limit, errors
        assert errors["depth"] < 2e-4, errors  # alpha of 1/255 leaves 16 bits
        assert medians_differ(found.layers["median_depth"], want["median_depth"]) < 2e-3
        slopes = dict(zip(found.grads, (*(leaf.grad.numpy() for leaf in leaves), pose.grad.numpy()), strict=True))
        errors = {name: relative(found.grads[name], slopes[name]) for name in slopes}
        assert max(errors.values()) < 2e-4, errors


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([1, 4, 6, 12]))
@settings(max_examples=12)
def test_pictures_and_gradients_do_not_depend_on_the_tiles(seed, antialiased, channels):
    g, weights = cloud(300, seed), weights_of(CAMERA, channels)
    for level in range(len(LEVELS)):
        small, large = (
            Frame(g, level=level, tile=tile, channels=channels, antialiased=antialiased, weights=weights)
            for tile in (1, 2)
        )
        limit = 5e-6 if LEVELS[level] in FUSED else 5e-5
        for name in ("colour", "alpha", "features"):
            assert np.abs(small.layers[name] - large.layers[name]).max() < 3 * limit, name
        assert medians_differ(small.layers["median_depth"], large.layers["median_depth"]) < 2e-3
        errors = {name: relative(small.grads[name], large.grads[name]) for name in small.grads}
        assert max(errors.values()) < 1e-3, errors


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=8)
def test_every_layer_and_gradient_has_the_same_bytes_whatever_the_threads(seed, antialiased):
    g, weights = cloud(3000, seed), weights_of(CAMERA, 13)
    for level in range(len(LEVELS)):
        one, many = (
            Frame(g, level=level, channels=13, antialiased=antialiased, threads=threads, weights=weights)
            for threads in (1, 5)
        )
        assert all(np.array_equal(one.layers[name], many.layers[name]) for name in NAMES)
        assert all(np.array_equal(one.grads[name], many.grads[name]) for name in one.grads)


@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_two_halves_of_a_batch_equal_the_whole(seed):
    rng = np.random.default_rng(seed)
    g = cloud(150, seed)
    cameras = [
        look_at(rng.normal(0, 0.5, 3), (0, 0, 0.01), fov_y=0.6, width=int(w), height=int(h))
        for w, h in rng.integers(1, 90, (6, 2))
    ]
    options = {"passes": (*NAMES, "normal"), "features": features_of(g, 3), "antialiased": bool(seed % 2)}
    whole = rasterize_batch(g, cameras, **options)
    halves = [*rasterize_batch(g, cameras[:3], **options), *rasterize_batch(g, cameras[3:], **options)]
    for a, b in zip(whole, halves, strict=True):
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in (*NAMES, "normal"))


def test_a_further_pass_changes_no_byte_of_the_others():
    g = cloud(500)
    for level in range(len(LEVELS)):
        bare = rasterize(g, CAMERA, background=(0.1, 0.4, 0.2))
        if level == len(LEVELS) - 1:
            rich = Frame(g, level=level, channels=9)
            assert all(np.array_equal(getattr(bare, name), rich.layers[name]) for name in ("colour", "alpha", "depth"))
        few, many = Frame(g, level=level, channels=2), Frame(g, level=level, channels=9)
        assert all(np.array_equal(few.layers[name], many.layers[name]) for name in ("colour", "alpha", "median_depth"))


# ---- memory

MEMORY = """
import sys, numpy as np
from loquent.core.geometry.cameras import look_at
from loquent.core.splats import native
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def cloud(n, k, rng):
    return [np.ascontiguousarray(a, np.float32) for a in (rng.normal(0, .05, (n, 3)), rng.normal(size=(n, 4)),
            rng.uniform(.0006, .0025, (n, 3)), rng.uniform(.1, 1, n), rng.normal(0, .3, (n, k, 3)))]

rng = np.random.default_rng(0)
"""
PEAK = (
    MEMORY
    + """
width, height, k = map(int, sys.argv[1:])
small, pool, context = cloud(200, k, rng), native.pool(2), native.Context()
def draw(arrays, w, h):
    camera = look_at((0, 0, .6), (0, 0, 0), width=w, height=h)
    layers = [np.ones((h, w, *rest), np.float32) for rest in ((3,), (), ())]
    slopes, grads = [np.ones_like(a) for a in layers[:2]], [np.ones_like(a) for a in arrays]
    held = sum(a.nbytes for group in (arrays, layers, slopes, grads) for a in group)
    image, slope = native.Image(*map(native.pointer, layers)), native.Image(*map(native.pointer, slopes), None)
    scene, view, before = native.scene_of(*arrays), native.view_of(camera), resident()
    context.forward(pool, scene, view, image)
    context.backward(pool, scene, view, native.Image(*map(native.pointer, layers[:2])), slope,
                     native.Gradients(*map(native.pointer, grads)))
    return held, resident() - before
draw(small, 32, 32)  # the threads' stacks
held, more = draw(cloud(60_000, k, rng), width, height)
print((held + more) / held)
"""
)
GROWTH = (
    MEMORY
    + """
scenes = [Gaussians(*cloud(n, 4, rng)) for n in (150, 40, 300)]
cameras = [look_at((0, 0, .6), (0, 0, 0), width=w, height=h) for w, h in ((64, 48), (20, 90), (33, 33))]
def frames(count):
    for k in range(count):
        rasterize(scenes[k % 3], cameras[k // 3 % 3], passes=("colour", "median_depth", "normal"), threads=2)
    return resident()
before = frames(500)
print((frames(10_000) - before) / 1e6)
"""
)


def printed(script: str, *arguments: object) -> float:
    env = {"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-800:]
    return float(done.stdout)


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc, which only Linux has")


@needs_proc
@pytest.mark.parametrize(("width", "height", "coefficients"), [(512, 512, 16), (1920, 1080, 16), (512, 512, 1)])
def test_a_frame_and_its_gradients_take_less_than_three_times_the_memory_of_input_and_output(
    width, height, coefficients
):
    assert printed(PEAK, width, height, coefficients) < 3


@needs_proc
def test_ten_thousand_frames_of_changing_size_take_no_more_memory_than_the_first():
    assert printed(GROWTH) < 1  # megabytes
