# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser's laws, then its twins: torch for pictures and gradients, numpy for the slow path."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.errors import RasterError
from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.geometry.rotations import axis_angle_to_matrix, axis_angle_to_quat_wxyz, quat_multiply_wxyz
from loquent.core.splats import native, plain
from loquent.core.splats import rasterize as front
from loquent.core.splats.gaussians import SH_C0, Gaussians, join
from loquent.core.splats.rasterize import Layers, backend_name, rasterize, rasterize_batch

needs_library = pytest.mark.skipif(native.library() is None, reason="no native library was built here")
NAMES = ("colour", "alpha", "depth")
FIELDS = ("means", "quats_wxyz", "scales", "opacities", "harmonics")


def cloud(count=250, seed=0, spread=0.08, size=0.02, coefficients=16) -> Gaussians:
    """Gaussians around the origin, from thin to round, from faint to solid."""
    rng = np.random.default_rng(seed)
    opacities = np.where(rng.random(count) < 0.3, rng.uniform(0.9, 1, count), rng.uniform(0.002, 0.9, count))
    return Gaussians(
        rng.normal(0, spread, (count, 3)).astype(np.float32),
        rng.normal(size=(count, 4)).astype(np.float32),
        (size * rng.uniform(0.05, 1, (count, 3))).astype(np.float32),
        opacities.astype(np.float32),
        rng.normal(0, 0.3, (count, coefficients, 3)).astype(np.float32),
    )


def camera(width=96, height=80, eye=(0.2, 0.15, 0.7), fov=0.5) -> Camera:
    return look_at(eye, (0, 0, 0), fov_y=fov, width=width, height=height)


def change(g: Gaussians, **fields) -> Gaussians:
    return Gaussians(**{name: fields.get(name, getattr(g, name)) for name in FIELDS})


def differences(a, b) -> dict[str, float]:
    return {name: float(np.abs(getattr(a, name) - getattr(b, name)).max()) for name in NAMES}


def same(a: Layers, b: Layers) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in NAMES)


def draw_with(kernels: int, g: Gaussians, camera: Camera, threads=1) -> Layers:
    """Draw by one instruction set of the library."""
    shape = camera.height, camera.width
    layers = Layers(np.empty((*shape, 3), np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32))
    scene = native.scene_of(*(np.ascontiguousarray(getattr(g, name), np.float32) for name in FIELDS))
    image = native.Image(*(native.pointer(getattr(layers, name)) for name in NAMES))
    native.Context(kernels).forward(native.pool(threads), scene, native.view_of(camera), image)
    return layers


def twin(g: Gaussians, camera: Camera, background=(0.0, 0.0, 0.0), dtype="float64", features=None, **options) -> Layers:
    torch = pytest.importorskip("torch")
    from loquent.core.splats.twin import rasterize_twin

    arrays = [torch.from_numpy(np.asarray(getattr(g, name))).to(getattr(torch, dtype)) for name in FIELDS]
    matrices = [torch.from_numpy(np.asarray(m, np.float32)).to(arrays[0]) for m in (camera.world_to_camera, camera.K)]
    if features is not None:
        options["features"] = torch.from_numpy(features).to(arrays[0])
    layers = rasterize_twin(*arrays, *matrices, camera.width, camera.height, background, near=camera.near, **options)
    colour, alpha, depth, median, drawn = (x.numpy() for x in layers)
    return Layers(colour, alpha, depth, median, None, drawn)


# ---- laws


def test_the_same_input_gives_the_same_bytes_whatever_the_threads():
    for size in ((96, 80), (900, 700)):  # both tile sizes
        g, c = cloud(3000), camera(*size)
        assert same(rasterize(g, c, threads=1), rasterize(g, c, threads=3))


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_input_does_not_matter(seed):
    g, c = cloud(200, seed), camera()
    order = np.random.default_rng(seed).permutation(len(g))
    assert same(rasterize(g, c), rasterize(Gaussians(*(getattr(g, name)[order] for name in FIELDS)), c))


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_alpha_is_in_0_1_and_black_background_is_premultiplied(seed):
    layers = rasterize(change(cloud(300, seed), harmonics=np.full((300, 1, 3), 5, np.float32)), camera())
    assert layers.alpha.min() >= 0 and layers.alpha.max() <= 1
    colour = 5 * 0.28209479177387814 + 0.5
    np.testing.assert_allclose(layers.colour, layers.alpha[..., None] * np.full(3, colour), atol=2e-6)


def test_the_background_shows_through_what_is_not_covered():
    g, c = cloud(), camera()
    on_black, on_blue = rasterize(g, c), rasterize(g, c, background=(0.1, 0.2, 0.7))
    expected = on_black.colour + (1 - on_black.alpha[..., None]) * np.float32([0.1, 0.2, 0.7])
    np.testing.assert_allclose(on_blue.colour, expected, atol=1e-6)
    assert np.array_equal(on_black.alpha, on_blue.alpha)


def test_a_rigid_motion_of_scene_and_camera_together_changes_nothing():
    g, c = cloud(coefficients=1), camera()  # higher harmonics are fixed to the world
    vector, shift = np.array([0.4, -0.9, 0.3]), np.array([0.05, 0.2, -0.1])
    turn = axis_angle_to_matrix(vector)
    quats = quat_multiply_wxyz(axis_angle_to_quat_wxyz(vector), g.quats_wxyz).astype(np.float32)
    moved = change(g, means=(g.means @ turn.T + shift).astype(np.float32), quats_wxyz=quats)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    followed = Camera((c.world_to_camera @ np.linalg.inv(matrix)).astype(np.float32), c.K, c.width, c.height)
    found = differences(rasterize(g, c), rasterize(moved, followed))
    assert max(found["colour"], found["alpha"]) < 1e-3, found  # float32 world coordinates differ


def test_a_cropped_picture_is_a_part_of_the_whole():
    g, c = cloud(400, spread=0.03), camera(200, 160)  # all inside: what lies beside a picture is drawn coarsely
    whole = rasterize(g, c)
    K = c.K.copy()
    K[0, 2] -= 37
    K[1, 2] -= 21
    part = rasterize(g, Camera(c.world_to_camera, K, 140, 120))
    assert np.abs(part.alpha - whole.alpha[21:141, 37:177]).max() < 1e-5


def test_one_opaque_gaussian_has_its_depth_and_its_place():
    g = Gaussians(*(np.array(x, np.float32) for x in ([[0, 0, 0]], [[1, 0, 0, 0]], [[0.01] * 3], [0.9], [[[1, 0, 0]]])))
    layers = rasterize(
        g,
        Camera(
            look_at((0, 0, 2), (0, 0, 0)).world_to_camera,
            np.diag([100, 100, 1]) + np.array([[0, 0, 20.5], [0, 0, 10.5], [0, 0, 0]]),
            64,
            32,
        ),
    )
    assert np.unravel_index(layers.alpha.argmax(), layers.alpha.shape) == (10, 20)
    np.testing.assert_allclose(layers.alpha[10, 20], 0.9, rtol=1e-6)
    np.testing.assert_allclose(layers.depth[layers.alpha > 0], 2, rtol=1e-4)
    assert (layers.depth[layers.alpha == 0] == 0).all()


def test_the_nearer_of_two_hides_the_other_whatever_their_order():
    means = np.array([[0, 0, 0.1], [0, 0, -0.1]], np.float32)
    harmonics = np.array([[[2, -2, -2]], [[-2, 2, -2]]], np.float32)
    g = Gaussians(
        means,
        np.tile(np.float32([1, 0, 0, 0]), (2, 1)),
        np.full((2, 3), 0.05, np.float32),
        np.ones(2, np.float32),
        harmonics,
    )
    front_view = rasterize(g, look_at((0, 0, 1), (0, 0, 0), width=32, height=32)).colour[16, 16]
    back_view = rasterize(g, look_at((0, 0, -1), (0, 0, 0), width=32, height=32)).colour[16, 16]
    assert front_view[0] > 1 > 0.02 > front_view[1] and back_view[1] > 1 > 0.02 > back_view[0]


# ---- twins

SMALL = camera(60, 50)
"""Splats no wider than a pixel turn the rounding of float32 pixel coordinates, which grows with these, into alpha."""

SCENES = {
    "random": (cloud(400, 1), camera()),
    "large splats": (cloud(200, 2, size=0.2), camera()),
    "long thin splats": (change(cloud(300, 3), scales=np.tile(np.float32([0.2, 5e-4, 5e-4]), (300, 1))), SMALL),
    "sub-pixel splats": (cloud(400, 4, size=2e-4), SMALL),
    "camera inside": (cloud(400, 5), camera(eye=(0.03, 0.01, 0.05), fov=1.2)),
    "off to the side": (cloud(400, 6), Camera(camera().world_to_camera, camera(fov=0.15).K, 96, 80)),
    "all opaque": (change(cloud(300, 7), opacities=np.ones(300, np.float32)), camera()),
    "above one": (change(cloud(300, 8), opacities=np.full(300, 1.5, np.float32)), camera()),
    "near the threshold": (change(cloud(300, 9), opacities=np.full(300, 0.0042, np.float32)), camera()),
    "flat colour": (cloud(300, 10, coefficients=1), camera()),
    "degree 2": (cloud(300, 11, coefficients=9), camera(61, 33)),
    "one row": (cloud(300, 12), camera(130, 1)),
    "one column": (cloud(300, 13), camera(1, 70)),
}


@needs_library
@pytest.mark.parametrize("scene", SCENES)
def test_native_agrees_with_the_torch_twin(scene):
    g, c = SCENES[scene]
    want = twin(g, c)
    for kernels, name in enumerate(native.kernel_names()):
        found = differences(draw_with(kernels, g, c), want)
        limit = 5e-6 if name == "avx2" else 5e-5  # without fused multiply-add
        assert found["colour"] < limit and found["alpha"] < limit, (name, found)
        assert found["depth"] < 2e-4, (name, found)  # alpha of 1/255 leaves 16 bits


@pytest.mark.parametrize("scene", ["random", "camera inside", "above one", "degree 2", "one row"])
def test_numpy_agrees_with_the_torch_twin(scene):
    g, c = SCENES[scene]
    found = differences(Layers(*plain.rasterize_plain(g, c)[:3]), twin(g, c))
    assert found["colour"] < 5e-5 and found["alpha"] < 5e-5 and found["depth"] < 2e-4, found


# ---- gradients


def gradients(function, g, c, torch, dtype, weights, depth=False):
    leaves = [torch.from_numpy(np.asarray(getattr(g, name))).to(dtype).requires_grad_() for name in FIELDS]
    matrices = [torch.from_numpy(np.asarray(m, np.float32)).to(dtype) for m in (c.world_to_camera, c.K)]
    out = function(*leaves, *matrices, c.width, c.height, (0.1, 0.4, 0.2))
    sum((o * torch.from_numpy(w).to(dtype)).sum() for o, w in zip(out, weights, strict=False)).backward()
    return [leaf.grad.numpy() for leaf in leaves]


def relative(found, want):
    return np.linalg.norm(found - want) / max(np.linalg.norm(want), 1e-12)


@needs_library
@pytest.mark.parametrize("scene", ["random", "large splats", "camera inside", "all opaque", "flat colour", "degree 2"])
def test_gradients_agree_with_the_torch_twin(scene):
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch, rasterize_torch_depth
    from loquent.core.splats.twin import rasterize_twin

    g, c = SCENES[scene]
    g, c = Gaussians(*(getattr(g, name)[:120] for name in FIELDS)), Camera(c.world_to_camera, c.K / 2, 48, 40)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(c.height, c.width, *rest)).astype(np.float32) for rest in ((3,), (), ())]
    weights[2] *= 0.5
    for function, parts in ((rasterize_torch, 2), (rasterize_torch_depth, 3)):
        want = gradients(rasterize_twin, g, c, torch, torch.float64, weights[:parts])
        found = gradients(function, g, c, torch, torch.float32, weights[:parts])
        errors = {name: relative(a, b) for name, a, b in zip(FIELDS, found, want, strict=True)}
        assert max(errors.values()) < 1e-4, errors


@needs_library
def test_gradients_agree_with_central_differences():
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch
    from loquent.core.splats.twin import rasterize_twin

    g, c = cloud(12, 3, spread=0.05, size=0.06, coefficients=4), camera(24, 20)
    weights = [np.random.default_rng(1).normal(size=(20, 24, *rest)) for rest in ((3,), ())]
    found = gradients(rasterize_torch, g, c, torch, torch.float32, weights)
    matrices = [torch.from_numpy(np.asarray(m, np.float64)) for m in (c.world_to_camera, c.K)]

    def loss(arrays):
        out = rasterize_twin(*(torch.from_numpy(a) for a in arrays), *matrices, 24, 20, (0.1, 0.4, 0.2))
        return sum(float((o * torch.from_numpy(w)).sum()) for o, w in zip(out, weights, strict=False))

    arrays = [np.asarray(getattr(g, name), np.float64) for name in FIELDS]
    rng = np.random.default_rng(2)
    for k, name in enumerate(FIELDS):
        direction = rng.normal(size=arrays[k].shape)
        step = 1e-7  # small: the picture jumps where a contribution crosses 1/255
        slopes = []
        for sign in (1, -1):
            moved = [a + sign * step * direction if j == k else a for j, a in enumerate(arrays)]
            slopes.append(loss(moved))
        slope = (slopes[0] - slopes[1]) / (2 * step)
        assert abs(slope - float((found[k] * direction).sum())) < 2e-3 * max(1, abs(slope)), name


@needs_library
def test_gradients_do_not_depend_on_threads_and_survive_other_frames_between():
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch

    g, cameras = cloud(3000), [camera(200, 150), camera(120, 90, eye=(0, 0, 1))]
    results = []
    for threads in (1, 3):
        leaves = [torch.from_numpy(getattr(g, name)).clone().requires_grad_() for name in FIELDS]
        outs = [rasterize_torch(*leaves, c.world_to_camera, c.K, c.width, c.height, threads=threads) for c in cameras]
        sum(colour.square().sum() + alpha.sum() for colour, alpha in outs).backward()
        results.append([leaf.grad.numpy() for leaf in leaves])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


@needs_library
def test_projected_centres_get_their_gradient_on_request():
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch

    g, c = cloud(100, spread=0.03, coefficients=1), camera()  # nothing reaches the border
    leaves = [torch.from_numpy(getattr(g, name)) for name in FIELDS]
    centres = torch.zeros(100, 2, requires_grad=True)
    colour, _ = rasterize_torch(*leaves, c.world_to_camera, c.K, c.width, c.height, means2d=centres)
    columns = torch.arange(c.width).float()[None, :, None]
    (colour * columns).sum().backward()  # moving all splats right brightens this by their colour
    assert centres.grad[:, 0].sum() > 0.9 * colour.sum()
    assert abs(float(centres.grad[:, 1].sum())) < 0.05 * float(centres.grad[:, 0].sum())


@needs_library
def test_plain_colours_are_drawn_as_they_are():
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch

    g, c = cloud(50), camera()
    colours = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    leaves = [torch.from_numpy(getattr(g, name)) for name in FIELDS[:4]]
    both = [rasterize_torch(*leaves, x, c.world_to_camera, c.K, c.width, c.height) for x in (colours, 2 * colours)]
    np.testing.assert_allclose(both[1][0].detach(), 2 * both[0][0].detach(), atol=1e-5)
    both[0][0].sum().backward()
    np.testing.assert_allclose(colours.grad.sum(), 3 * both[0][1].sum().detach(), rtol=1e-4)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_plain_colours_are_drawn_like_harmonics_of_degree_0_and_may_be_negative(backend):
    if backend == "native" and native.library() is None:
        pytest.skip("no native library was built here")
    g, c = cloud(150, coefficients=1), camera()
    shades = (g.harmonics[:, 0] * SH_C0 + 0.5).astype(np.float32)
    options = {"backend": backend, "passes": ("normal",), "features": table(150, 2)}
    plain_layers = rasterize(change(g, harmonics=np.maximum(shades, 0)), c, **options)
    layers = rasterize(g, c, **options)
    np.testing.assert_allclose(plain_layers.colour, layers.colour, atol=2e-6)
    for name in ("alpha", "depth", "normal", "features"):
        assert np.array_equal(getattr(plain_layers, name), getattr(layers, name))
    shades -= 0.9
    low = rasterize(change(g, harmonics=shades), c, background=(0.1, 0.2, 0.3), backend=backend)
    want = twin(change(g, harmonics=shades), c, (0.1, 0.2, 0.3))
    assert low.colour.min() < -0.1 and np.abs(low.colour - want.colour).max() < 5e-5


def test_joined_sets_of_plain_colours_and_harmonics_look_as_each_did():
    shaded, c = cloud(100, 1), camera()
    plain_set = change(cloud(80, 2), harmonics=np.random.default_rng(0).uniform(0, 1, (80, 3)).astype(np.float32))
    assert join([plain_set, plain_set]).harmonics.shape == (160, 3)
    both = join([shaded, plain_set])
    assert both.harmonics.shape == (180, 16, 3)
    alone = rasterize(plain_set, c)
    np.testing.assert_allclose(
        rasterize(Gaussians(*(getattr(both, n)[100:] for n in FIELDS)), c).colour, alone.colour, atol=2e-6
    )


# ---- further passes

ALL = ("median_depth", "normal", "features")


def table(count, channels=5, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, channels)).astype(np.float32)


def check_medians(found, want, alpha):
    """Equal but where the transmittance is within rounding of one half or alpha of 1/255: there another Gaussian counts."""
    far = np.abs(found - want) > 1e-5
    assert far.mean() < 2e-3, far.mean()
    assert ((found == 0) == (want == 0))[np.abs(alpha - 1 / 255) > 1e-5].all()


@needs_library
@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize(
    "scene", ["random", "large splats", "camera inside", "above one", "one column", "sub-pixel splats"]
)
def test_every_pass_agrees_with_the_torch_twin(scene, antialiased):
    g, c = SCENES[scene]
    features = table(len(g))
    want = twin(g, c, features=features, antialiased=antialiased)
    found = rasterize(g, c, passes=ALL, features=features, antialiased=antialiased)
    limit = 5e-6 if "avx2" in native.kernel_names() else 5e-5
    assert np.abs(found.colour - want.colour).max() < limit and np.abs(found.alpha - want.alpha).max() < limit
    assert np.abs(found.features - want.features).max() < limit * np.abs(features).max()
    check_medians(found.median_depth, want.median_depth, want.alpha)


@pytest.mark.parametrize("antialiased", [False, True])
def test_numpy_draws_the_same_further_passes(antialiased, monkeypatch):
    (g, c), options = SCENES["random"], {"passes": ALL, "features": table(400), "antialiased": antialiased}
    want = twin(g, c, features=options["features"], antialiased=antialiased)
    native_layers = rasterize(g, c, **options)
    monkeypatch.setattr(native, "library", lambda: None)
    found = rasterize(g, c, **options)
    assert np.abs(found.features - want.features).max() < 2e-4 and np.abs(found.alpha - want.alpha).max() < 5e-5
    check_medians(found.median_depth, want.median_depth, want.alpha)
    clear = native_layers.alpha > 0.05
    assert np.abs(found.normal - native_layers.normal)[clear].max() < 1e-2


@needs_library
@pytest.mark.parametrize("channels", [1, 3, 4, 6, 9])
def test_features_equal_colours_and_asking_for_them_changes_no_other_layer(channels):
    g, c = cloud(300, coefficients=1), camera()
    shades = np.maximum(g.harmonics[:, 0] * np.float32(0.2820947917738781) + np.float32(0.5), 0)
    features = np.tile(shades, (1, 3))[:, :channels]
    layers = rasterize(g, c, passes=ALL, features=features)
    assert same(layers, rasterize(g, c))
    for k in range(channels):
        np.testing.assert_allclose(layers.features[..., k], layers.colour[..., k % 3], atol=2e-6)


def test_further_passes_do_not_depend_on_threads_order_or_tiles():
    g, features = cloud(2000), table(2000, 6)
    order = np.random.default_rng(1).permutation(len(g))
    mixed = Gaussians(*(getattr(g, name)[order] for name in FIELDS))
    for size in ((96, 80), (700, 700)):
        a = rasterize(g, camera(*size), passes=ALL, features=features, threads=1)
        b = rasterize(mixed, camera(*size), passes=ALL, features=features[order], threads=3)
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ALL)


def test_a_flat_gaussian_shows_its_shortest_axis_turned_to_the_camera_in_world_space():
    turn = np.array([0.3, 0.2, -0.4])
    axis = axis_angle_to_matrix(turn)[:, 1]
    quats = axis_angle_to_quat_wxyz(turn)[None].astype(np.float32)
    g = Gaussians(
        np.zeros((1, 3), np.float32), quats, np.float32([[0.05, 0.001, 0.05]]), np.ones(1, np.float32),
        np.zeros((1, 1, 3), np.float32),
    )  # fmt: skip
    for eye in ((0.1, 0.6, 0.5), (0.1, -0.6, 0.5)):
        layers = rasterize(g, camera(eye=eye), passes=("normal",))
        toward = axis if axis @ np.array(eye) > 0 else -axis
        covered = layers.alpha > 0
        assert covered.any() and (layers.normal[~covered] == 0).all()
        np.testing.assert_allclose(layers.normal[covered], np.tile(toward, (covered.sum(), 1)), atol=1e-5)


def test_the_median_depth_is_that_of_the_gaussian_in_which_half_the_light_is_lost():
    def stack(*opacities):
        n = len(opacities)
        means = np.zeros((n, 3), np.float32)
        means[:, 2] = -0.1 * np.arange(n)
        return Gaussians(
            means, np.tile(np.float32([1, 0, 0, 0]), (n, 1)), np.full((n, 3), 0.2, np.float32),
            np.float32(opacities), np.zeros((n, 1, 3), np.float32),
        )  # fmt: skip

    c = look_at((0, 0, 1), (0, 0, 0), width=33, height=33)
    for opacities, depth in (((0.9, 0.9), 1.0), ((0.3, 0.5, 0.9), 1.1), ((0.2, 0.2, 0.1), 1.2), ((0.001,), 0)):
        found = rasterize(stack(*opacities), c, passes=("median_depth",)).median_depth[16, 16]
        assert abs(found - depth) < 1e-6, opacities


def test_antialiasing_keeps_the_light_of_a_sub_pixel_splat_and_leaves_large_ones():
    def light(scale, antialiased):
        g = change(cloud(1), means=np.zeros((1, 3), np.float32), scales=np.full((1, 3), scale, np.float32))
        g = change(g, opacities=np.float32([0.8]))
        K = np.array([[400, 0, 32], [0, 400, 32], [0, 0, 1]], np.float32)
        return rasterize(g, Camera(look_at((0, 0, 1), (0, 0, 0)).world_to_camera, K, 64, 64), antialiased=antialiased)

    small = [light(5e-4, mode).alpha.sum() for mode in (True, False)]
    # a Gaussian of variance 0.2^2 px^2 and height 0.8 holds 0.8 * 2 pi * 0.2^2; blurred to 0.34 px^2 it is wider
    # and sqrt(0.04^2 / 0.34^2) as high, which is the same
    np.testing.assert_allclose(small[0], 0.8 * 2 * np.pi * 0.04, rtol=0.15)  # tails below 1/255 are lost
    assert small[1] > 2 * small[0]
    large = [light(0.02, mode).alpha.max() for mode in (True, False)]
    np.testing.assert_allclose(large[0], large[1], rtol=0.01)


def test_a_batch_of_cameras_equals_single_calls():
    g, features = cloud(300), table(300, 2)
    cameras = [camera(), camera(30, 90, eye=(0, 0, 1)), camera(700, 640), camera(1, 1)]
    options = {"passes": ALL, "features": features, "antialiased": True, "background": (0.1, 0.2, 0.3)}
    batch = rasterize_batch(g, cameras, **options)
    for c, layers in zip(cameras, batch, strict=True):
        alone = rasterize(g, c, **options)
        assert same(layers, alone) and all(np.array_equal(getattr(layers, n), getattr(alone, n)) for n in ALL)
    assert rasterize_batch(g, []) == []


def test_wrong_passes_and_features_are_refused():
    g, c = cloud(60), camera()
    for options, message in (
        ({"passes": ("colour", "normals")}, r"found \['normals'\]"),
        ({"passes": "depth"}, "expected some of"),
        ({"passes": ("features",)}, r"expected features \(60, M\)"),
        ({"features": np.zeros((59, 2), np.float32)}, r"expected \(60, M\).*found \(59, 2\)"),
        ({"features": np.zeros(60, np.float32)}, r"found \(60,\)"),
        ({"features": np.zeros((60, 0), np.float32)}, r"found \(60, 0\)"),
    ):
        with pytest.raises(RasterError, match=message):
            rasterize(g, c, **options)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gaussian_with_a_bad_feature_is_dropped(value):
    g, c, features = cloud(60), camera(40, 30), table(60)
    features[7, 4] = value
    keep = np.arange(60) != 7
    without = Gaussians(*(getattr(g, name)[keep] for name in FIELDS))
    found, want = rasterize(g, c, features=features), rasterize(without, c, features=features[keep])
    assert same(found, want) and np.array_equal(found.features, want.features)


# ---- gradients of further passes and of the camera

MODES = [(scene, mode) for scene in ("random", "large splats", "camera inside", "degree 2") for mode in (False, True)]


def slopes_of(function, arrays, features, c, torch, dtype, weights, **options):
    """Gradients of weighted layers to the five fields, the features and the camera's matrix."""
    leaves = [torch.from_numpy(np.asarray(a)).to(dtype).requires_grad_() for a in arrays]
    more = torch.from_numpy(features).to(dtype).requires_grad_()
    matrix = torch.from_numpy(np.asarray(c.world_to_camera)).to(dtype).requires_grad_()
    out = function(leaves, more, matrix, torch.from_numpy(np.asarray(c.K)).to(dtype))
    sum((out[k] * torch.from_numpy(weights[k]).to(dtype)).sum() for k in (0, 1, 2, 4)).backward()
    return {
        name: x.grad.numpy() for name, x in zip((*FIELDS, "features", "pose"), (*leaves, more, matrix), strict=True)
    }


@needs_library
@pytest.mark.parametrize(("scene", "antialiased"), MODES)
def test_gradients_of_features_and_pose_agree_with_the_torch_twin(scene, antialiased):
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch_layers
    from loquent.core.splats.twin import rasterize_twin

    g, c = SCENES[scene]
    arrays, c = [getattr(g, name)[:120] for name in FIELDS], Camera(c.world_to_camera, c.K / 2, 48, 40)
    features, rng = table(120, 6), np.random.default_rng(0)
    weights = [rng.normal(size=(40, 48, *rest)).astype(np.float32) for rest in ((3,), (), (), (), (6,))]
    size = (48, 40, (0.1, 0.4, 0.2))
    want = slopes_of(
        lambda leaves, more, *matrices: rasterize_twin(*leaves, *matrices, *size, features=more, antialiased=antialiased),
        arrays, features, c, torch, torch.float64, weights,
    )  # fmt: skip
    found = slopes_of(
        lambda leaves, more, *matrices: rasterize_torch_layers(*leaves, more, *matrices, *size, antialiased=antialiased),
        arrays, features, c, torch, torch.float32, weights,
    )  # fmt: skip
    errors = {name: relative(found[name], want[name]) for name in want}
    assert max(errors.values()) < 2e-4, errors


@needs_library
@pytest.mark.parametrize("antialiased", [False, True])
def test_gradients_of_features_and_pose_agree_with_central_differences(antialiased):
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch_layers
    from loquent.core.splats.twin import rasterize_twin

    g, c = cloud(12, 3, spread=0.05, size=0.06, coefficients=4), camera(24, 20)
    arrays, features, rng = [getattr(g, name) for name in FIELDS], table(12), np.random.default_rng(1)
    weights = [rng.normal(size=(20, 24, *rest)).astype(np.float32) for rest in ((3,), (), (), (), (5,))]
    found = slopes_of(
        lambda leaves, more, *matrices: rasterize_torch_layers(*leaves, more, *matrices, 24, 20, antialiased=antialiased),
        arrays, features, c, torch, torch.float32, weights,
    )  # fmt: skip
    values = [
        *(np.asarray(a, np.float64) for a in arrays),
        features.astype(np.float64),
        np.asarray(c.world_to_camera, np.float64),
    ]
    K = torch.from_numpy(np.asarray(c.K, np.float64))

    def loss(values):
        *fields, more, matrix = (torch.from_numpy(v) for v in values)
        out = rasterize_twin(*fields, matrix, K, 24, 20, features=more, antialiased=antialiased)
        return sum(float((out[k] * torch.from_numpy(weights[k])).sum()) for k in (0, 1, 2, 4))

    for k, name in enumerate(found):
        direction = rng.normal(size=values[k].shape)
        direction[3:] *= name != "pose"  # its last row is fixed
        step = 1e-7
        ends = [loss([v + sign * step * direction if j == k else v for j, v in enumerate(values)]) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope - float((found[name] * direction).sum())) < 2e-3 * max(1, abs(slope)), name


@needs_library
def test_gradients_of_features_and_pose_do_not_depend_on_threads():
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch_layers

    g, c = cloud(5000), camera(200, 150)
    results = []
    for threads in (1, 3):
        leaves = [torch.from_numpy(getattr(g, name)).clone().requires_grad_() for name in FIELDS]
        more, matrix = (
            torch.from_numpy(table(5000)).requires_grad_(),
            torch.tensor(c.world_to_camera, requires_grad=True),
        )
        layers = rasterize_torch_layers(*leaves, more, matrix, c.K, 200, 150, threads=threads)
        (layers.colour.square().sum() + layers.features.square().sum() + layers.depth.sum()).backward()
        results.append([x.grad.numpy() for x in (*leaves, more, matrix)])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


@needs_library
def test_gradients_of_the_normals_agree_with_central_differences():
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch_layers, shortest_axes_torch
    from loquent.core.splats.twin import rasterize_twin

    g, c = cloud(12, 3, spread=0.05, size=0.06, coefficients=1), camera(24, 20)
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 24, 3)))
    position = torch.from_numpy(np.asarray(c.position, np.float32))
    leaves = [torch.from_numpy(getattr(g, name)).requires_grad_() for name in FIELDS]

    def loss(draw, leaves, dtype):
        matrices = [torch.from_numpy(np.asarray(m)).to(dtype) for m in (c.world_to_camera, c.K)]
        drawn = draw(leaves, shortest_axes_torch(*leaves[:3], position.to(dtype)), *matrices)
        return (torch.nn.functional.normalize(drawn, dim=-1) * weights.to(dtype)).sum()

    drawn = rasterize(g, c, passes=("normal",)).normal
    axes = shortest_axes_torch(*leaves[:3], position)
    np.testing.assert_allclose(axes.detach(), front.shortest_axes(g, c.position), atol=1e-6)
    layers = rasterize_torch_layers(*leaves, axes, c.world_to_camera, c.K, 24, 20)
    np.testing.assert_allclose(torch.nn.functional.normalize(layers.features, dim=-1).detach(), drawn, atol=1e-6)
    loss(lambda x, axes, *m: rasterize_torch_layers(*x, axes, *m, 24, 20).features, leaves, torch.float32).backward()
    twin_features = lambda x, axes, *m: rasterize_twin(*x, *m, 24, 20, features=axes)[4]  # noqa: E731
    rng, values = np.random.default_rng(2), [leaf.detach().double() for leaf in leaves]
    for k, name in enumerate(FIELDS[:4]):
        direction, step = torch.from_numpy(rng.normal(size=values[k].shape)), 1e-7
        ends = [
            loss(
                twin_features, [v + s * step * direction if j == k else v for j, v in enumerate(values)], torch.float64
            )
            for s in (1, -1)
        ]
        slope = float(ends[0] - ends[1]) / (2 * step)
        assert abs(slope - float((leaves[k].grad * direction).sum())) < 3e-3 * max(1, abs(slope)), name


# ---- input that nobody meant


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_a_gaussian_with_a_bad_number_is_dropped_or_drawn_finite(field, value):
    g, c = cloud(60), camera(40, 30)
    broken = getattr(g, field).copy()
    broken[7].flat[0] = value
    if broken.ndim == 1:
        broken[7] = value
    layers = rasterize(change(g, **{field: broken}), c)
    assert all(np.isfinite(getattr(layers, name)).all() for name in NAMES)
    if np.isnan(value):
        without = rasterize(Gaussians(*(np.delete(getattr(g, name), 7, 0) for name in FIELDS)), c)
        assert same(layers, without)


@needs_library
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_bad_numbers_give_finite_gradients(field, value):
    torch = pytest.importorskip("torch")
    from loquent.core.splats.differentiable import rasterize_torch

    g, c = cloud(60), camera(40, 30)
    broken = getattr(g, field).copy()
    broken[7] = value
    leaves = [torch.from_numpy(getattr(change(g, **{field: broken}), name)).requires_grad_() for name in FIELDS]
    colour, alpha = rasterize_torch(*leaves, c.world_to_camera, c.K, c.width, c.height)
    (colour.sum() + alpha.sum()).backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


EMPTY = Gaussians(*(np.zeros((0, *rest), np.float32) for rest in ((3,), (4,), (3,), (), (1, 3))))
DEGENERATE = {
    "no gaussians": EMPTY,
    "one": cloud(1),
    "zero scales": change(cloud(60), scales=np.zeros((60, 3), np.float32)),
    "huge scales": change(cloud(60), scales=np.full((60, 3), 1e4, np.float32)),
    "zero quaternions": change(cloud(60), quats_wxyz=np.zeros((60, 4), np.float32)),
    "zero opacity": change(cloud(60), opacities=np.zeros(60, np.float32)),
    "behind": change(cloud(60), means=(cloud(60).means + np.float32([0.6, 0.45, 2.1])).astype(np.float32)),
    "in one point": change(cloud(60), means=np.zeros((60, 3), np.float32)),
    "in the camera": change(cloud(60), means=np.tile(camera().position.astype(np.float32), (60, 1))),
}


@pytest.mark.parametrize("scene", DEGENERATE)
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (65, 33)])
def test_degenerate_scenes_give_finite_pictures(scene, size):
    layers = rasterize(DEGENERATE[scene], camera(*size))
    assert layers.colour.shape == (size[1], size[0], 3)
    assert all(np.isfinite(getattr(layers, name)).all() for name in NAMES)
    if scene in ("no gaussians", "zero quaternions", "zero opacity", "behind"):
        assert layers.alpha.max() == 0


@needs_library
def test_a_very_wide_picture_and_very_many_gaussians_in_one_pixel_are_drawn():
    assert rasterize(cloud(50), camera(16384, 3)).alpha.max() > 0
    g = cloud(200_000, spread=1e-6, size=1e-5, coefficients=1)
    assert np.isfinite(rasterize(g, camera(8, 8)).colour).all()


def test_layers_of_other_types_are_converted():
    g, c = cloud(50), camera(32, 32)
    double = Gaussians(*(np.asfortranarray(getattr(g, name).astype(np.float64)) for name in FIELDS))
    assert same(rasterize(g, c), rasterize(double, c))


@pytest.mark.parametrize(
    ("field", "shape", "message"),
    [
        ("quats_wxyz", (60, 3), r"expected quats_wxyz \(60, 4\) .* found \(60, 3\)"),
        ("scales", (59, 3), r"expected scales \(60, 3\) .* found \(59, 3\)"),
        ("opacities", (60, 1), r"expected opacities \(60,\) .* found \(60, 1\)"),
        ("harmonics", (60, 5, 3), r"K of 1, 4, 9 or 16, .*; found \(60, 5, 3\)"),
        ("harmonics", (60, 4), r"plain colours \(60, 3\); found \(60, 4\)"),
        ("harmonics", (59, 3), r"plain colours \(60, 3\); found \(59, 3\)"),
    ],
)
def test_wrong_shapes_are_refused_with_what_was_expected(field, shape, message):
    with pytest.raises(RasterError, match=message):
        rasterize(change(cloud(60), **{field: np.zeros(shape, np.float32)}), camera())


def test_impossible_cameras_are_refused():
    c = camera()
    for bad, message in (
        (Camera(c.world_to_camera, c.K, 0, 10), "1 to 65535 pixels"),
        (Camera(c.world_to_camera[:3], c.K, 10, 10), r"world_to_camera \(4, 4\)"),
        (Camera(c.world_to_camera * np.nan, c.K, 10, 10), "finite"),
        (Camera(c.world_to_camera, np.diag([0.0, 1, 1]), 10, 10), "focal"),
        (Camera(c.world_to_camera, c.K + np.eye(3, k=1) * [[0], [0.5], [0]] + 0.1 * np.eye(3, k=-1), 10, 10), "skew"),
    ):
        with pytest.raises(RasterError, match=message):
            rasterize(cloud(5), bad)


def test_without_the_library_numpy_draws_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(native, "library", lambda: None)
    front._warned.clear()
    g, c = cloud(60), camera(40, 30)
    with caplog.at_level(logging.WARNING):
        first, _ = rasterize(g, c), rasterize(g, c)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Slow path" in caplog.text and "build_native.py" in caplog.text
    assert backend_name() == "numpy"
    monkeypatch.undo()
    assert differences(first, rasterize(g, c))["alpha"] < 5e-5
