# SPDX-License-Identifier: GPL-3.0-or-later
"""Still Gaussians of a head become one that moves: what it shows at rest, and posed beside not moving at all."""

from dataclasses import replace

import numpy as np
import pytest

from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.geometry.rotations import axis_angle_to_matrix
from loquent.core.geometry.surface import Surface, nearest
from loquent.core.head.head import load_head
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.head.registration import Registration, Similarity, outer_skin
from loquent.core.splats import adopt as module
from loquent.core.splats import native
from loquent.core.splats.adopt import adopt, bound_to, in_head_space
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.binding import carry
from loquent.core.splats.gaussians import Gaussians, join
from loquent.core.splats.moved import moved, turned_harmonics
from loquent.core.splats.rasterize import rasterize

HEAD = load_head()
TURN = axis_angle_to_matrix(np.array([0.4, -1.1, 0.7]))
SCALE, SHIFT = 2.5, np.array([1.0, -2.0, 0.5])
CAMERA = look_at((0.05, 0.03, 0.6), (0, 0.0, 0.03), width=96, height=96)


def values(**channels: float) -> np.ndarray:
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        out[INDEX[name]] = value
    return out


def picture(gaussians: Gaussians, camera: Camera = CAMERA) -> np.ndarray:
    return np.clip(rasterize(gaussians, camera).colour, 0, 1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(((a - b) ** 2).mean(), 1e-12)))


@pytest.fixture(scope="module")
def still():
    """ada at rest in another frame and unit, registered perfectly; the head that she became; herself."""
    ada = performer(load_avatar(builtin_avatars()["ada"]))
    head = load_head()
    given = moved(pose(ada, values()), SCALE, TURN, SHIFT)
    similarity = Similarity(SCALE, TURN, SHIFT)
    vertices = similarity.of(ada.identity.template.astype(np.float64))
    registration = Registration(
        head, ada.identity.betas, similarity, vertices, vertices, Surface(vertices, outer_skin(head)), 0.0
    )
    made = adopt(given, registration, load_avatar(builtin_avatars()["bruno"]), "still", {"licence": "CC0-1.0"})
    return ada, registration, given, made


def test_a_move_of_gaussians_and_camera_together_leaves_the_picture():
    g = pose(performer(load_avatar(builtin_avatars()["ada"])), values())
    matrix = CAMERA.world_to_camera.astype(np.float64)
    rotation = matrix[:3, :3] @ TURN.T  # the camera moves along; x -> s R x + t
    moved_matrix = np.eye(4)
    moved_matrix[:3, :3] = rotation
    moved_matrix[:3, 3] = SCALE * matrix[:3, 3] - rotation @ SHIFT
    camera = Camera(moved_matrix.astype(np.float32), CAMERA.K, CAMERA.width, CAMERA.height)
    assert np.abs(picture(moved(g, SCALE, TURN, SHIFT), camera) - picture(g)).max() < 0.02
    assert psnr(picture(moved(g, SCALE, TURN, SHIFT), camera), picture(g)) > 55


def test_turned_harmonics_turn_back_and_keep_plain_colours():
    harmonics = np.random.default_rng(0).normal(size=(9, 16, 3)).astype(np.float32)
    assert np.allclose(turned_harmonics(turned_harmonics(harmonics, TURN), TURN.T), harmonics, atol=1e-5)
    assert turned_harmonics(harmonics[:, 0], TURN) is not None and np.array_equal(
        turned_harmonics(harmonics[:, 0], TURN), harmonics[:, 0]
    )


def test_bound_gaussians_are_carried_back_to_where_they_were():
    head = load_head()
    g = pose(performer(load_avatar(builtin_avatars()["ada"])), values())
    triangles = np.random.default_rng(0).integers(0, len(head.faces), len(g))
    binding = bound_to(g, triangles, head.template, head.faces)
    means, _, scales = carry(binding, head.template, head.faces)
    assert np.abs(means - g.means).max() < 2e-5 and np.allclose(scales, g.scales, rtol=1e-3)


def test_at_rest_it_looks_as_what_was_given(still):
    ada, registration, given, made = still
    wanted = picture(in_head_space(given, registration))
    assert psnr(wanted, picture(pose(ada, values()))) > 45
    assert psnr(picture(pose(performer(made.avatar), values())), wanted) > 30


@pytest.mark.parametrize(
    "channels",
    [dict(jawOpen=0.5), dict(jawOpen=0.3, mouthFunnel=0.6), dict(mouthSmileLeft=0.8, mouthSmileRight=0.8),
     dict(headYaw=0.3, headPitch=0.1), dict(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)],
)  # fmt: skip
def test_posed_it_is_nearer_to_the_true_pose_than_a_still_head(still, channels):
    ada, _, _, made = still
    true = picture(pose(ada, values(**channels)))
    unmoved = psnr(picture(pose(ada, values())), true)
    assert psnr(picture(pose(performer(made.avatar), values(**channels))), true) > unmoved + 1.0


def test_lips_part_and_nothing_is_bound_across_the_mouth(still):
    _, _, _, made = still
    assert made.cut > 20
    head, binding = load_head(), made.avatar.binding
    who = performer(made.avatar)
    closed, opened = pose(who, values()), pose(who, values(jawOpen=0.6))
    lower = head.weights[head.faces, 2].mean(1)[binding.triangles] > 0.5
    lips = np.isin(head.regions[binding.triangles], [head.region_names.index("lips")])
    drop = closed.means[:, 1] - opened.means[:, 1]
    assert np.median(drop[lips & lower]) > 0.005 > np.abs(np.median(drop[lips & ~lower]))


def test_who_is_known_to_act_is_bound_by_that_even_where_the_lips_lie_elsewhere(still):
    ada, registration, given, _ = still
    low = replace(registration, vertices=registration.vertices - SCALE * 0.003 * TURN[:, 1])  # registered 3 mm too low

    def acted(values):
        return moved(pose(ada, values), SCALE, TURN, SHIFT).means

    lips = np.isin(HEAD.regions[ada.avatar.binding.triangles], [HEAD.region_names.index("lips")])
    opening = values(jawOpen=0.6)
    hers = pose(ada, values()).means[lips, 1] - pose(ada, opening).means[lips, 1]
    errors = []
    for guess in (acted, None):
        made = adopt(given, low, None, "acted", {}, guess)
        who = performer(made.avatar)
        rest, opened = pose(who, values()).means, pose(who, opening).means
        near = nearest(rest, pose(ada, values()).means[lips])  # cut and added ones have changed the order
        errors.append(np.abs((rest - opened)[near, 1] - hers).mean())
    assert errors[0] < 0.6 * errors[1] and errors[0] < 0.0025
    assert made.cut and not adopt(given, low, None, "acted", {}, acted).cut


MOUTH = [look_at((0.6 * x, -0.03, 0.65), (0, -0.03, 0.08), fov_y=0.16, width=96, height=96) for x in (0, 0.7, -0.7)]


def thin(given: Gaussians) -> Gaussians:
    """As scans by a network often are: every Gaussian lets most of the light through."""
    return replace(given, opacities=0.25 * given.opacities)


@pytest.mark.skipif(native.library() is None, reason="no native library was built here")
def test_nothing_of_the_others_mouth_shines_through_a_thin_skin(still, monkeypatch):
    _, registration, given, _ = still
    bruno = load_avatar(builtin_avatars()["bruno"])
    red = np.zeros_like(bruno.harmonics)
    red[:, 0] = (np.array([4.0, 0, 0]) - 0.5) / module.SH_C0
    bruno = replace(bruno, harmonics=red)
    wanted = [picture(in_head_space(thin(given), registration), camera) for camera in MOUTH]

    def worst() -> float:
        who = performer(adopt(thin(given), registration, bruno, "thin", {}).avatar)
        return min(psnr(picture(pose(who, values()), camera), w) for camera, w in zip(MOUTH, wanted, strict=True))

    with_lining = worst()
    monkeypatch.setattr(module, "seen", lambda *given: None)  # as it was, and is without the library
    monkeypatch.setattr(module, "recoloured", lambda g, *given, which: g)
    assert with_lining > 23 and with_lining > worst() + 6


@pytest.mark.skipif(native.library() is None, reason="no native library was built here")
def test_skin_that_lies_deep_under_a_beard_is_kept_and_what_lips_hide_is_not(still, monkeypatch):
    ada, registration, given, _ = still
    surface = registration.similarity.back(registration.vertices)
    cameras = module._before_the_mouth(surface, HEAD)
    free = in_head_space(given, registration)
    regions = np.array(HEAD.region_names)[HEAD.regions[ada.avatar.binding.triangles]]
    hidden = module._within_mouth(free, surface, HEAD, cameras)
    assert hidden[regions == "teeth_lower"].mean() > 0.5 and not hidden[regions == "skin"].any()
    raised = surface + 0.003 * Surface(surface, outer_skin(HEAD)).normals  # as if a beard's surface were the skin

    def kept() -> float:
        some = module._picked(free, ~module._within_mouth(free, raised, HEAD, cameras))
        return min(psnr(picture(some, camera), picture(free, camera)) for camera in MOUTH)

    with_what_is_seen = kept()
    monkeypatch.setattr(module, "seen", lambda *given: None)
    assert with_what_is_seen > 35 and with_what_is_seen > kept() + 6


def test_an_open_mouth_shows_both_rows_of_teeth(still):
    _, _, _, made = still
    regions = np.array(HEAD.region_names)[HEAD.regions[made.avatar.binding.triangles]]
    for name in ("teeth_upper", "teeth_lower", "tongue"):
        assert (regions == name).sum() > 50, name


def test_a_gaussian_over_the_lip_line_becomes_two_that_together_cover_it():
    head = load_head()
    surface = head.template.astype(np.float64)
    middle = (surface[head.landmarks["lip_upper_middle"]] + surface[head.landmarks["lip_lower_middle"]]) / 2
    g = Gaussians(
        (middle + [0, 0.0005, 0.001])[None].astype(np.float32), np.array([[1, 0, 0, 0]], np.float32),
        np.array([[0.003, 0.002, 0.0005]], np.float32), np.ones(1, np.float32), np.zeros((1, 1, 3), np.float32),
    )  # fmt: skip
    both, cut = module._cut_at_lips(g, surface, head)
    assert cut == 1 and len(both) == 2
    upper, lower = both.means[0, 1] - middle[1], both.means[1, 1] - middle[1]
    assert upper > 0 > lower and upper > -lower  # the larger part lay above
    assert both.scales.max() == pytest.approx(0.003, rel=1e-3)  # its width across stays
    far = Gaussians(g.means + np.float32([0, 0.05, 0]), g.quats_wxyz, g.scales, g.opacities, g.harmonics)
    assert module._cut_at_lips(far, surface, head)[1] == 0


def test_background_and_broken_gaussians_are_left_out(still):
    _, registration, given, made = still
    n = 50
    far = Gaussians(
        np.concatenate([given.means[:n] + 10, given.means[:1] * np.nan]), given.quats_wxyz[: n + 1], given.scales[: n + 1],
        given.opacities[: n + 1], given.harmonics[: n + 1],
    )  # fmt: skip
    surface = registration.similarity.back(registration.vertices)
    kept = module._near(in_head_space(join([given, far]), registration), surface, registration.head)
    assert kept[: len(given)].mean() > 0.99 and not kept[len(given) :].any() and made.left_out < 0.1 * len(given)
