# SPDX-License-Identifier: GPL-3.0-or-later
"""The two heads that ship: files in order, and faces with everything a talking head needs, seen by the rasteriser."""

from functools import cache

import numpy as np
import pytest

from loquent.core.assets import AVATARS, DATA
from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.geometry.triangles import triangle_frames
from loquent.core.head.head import load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import Performer, builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.gaussians import SH_C0, Gaussians
from loquent.core.splats.rasterize import rasterize

AA = {"jawOpen": 0.8, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3}
BLINK = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
SIZE = 192


@cache
def actor(name: str) -> Performer:
    return performer(load_avatar(builtin_avatars()[name]))


def channels(**values: float) -> np.ndarray:
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in values.items():
        out[INDEX[name]] = value
    return out


def camera(target: tuple[float, float, float] = (0, 0.0, 0.0), half: float = 0.18, yaw: float = 0.0) -> Camera:
    eye = np.array(target) + 1.4 * np.array([np.sin(yaw), 0, np.cos(yaw)])
    return look_at(eye, target, fov_y=2 * np.arctan(half / 1.4), width=SIZE, height=SIZE)


MOUTH, EYES = camera((0, -0.025, 0.07), 0.05), camera((0, 0.037, 0.06), 0.065)


def share(of: Performer, values: np.ndarray, view: Camera, *regions: str) -> np.ndarray:
    """(H, W) how much of each pixel comes from Gaussians on the named regions of the head."""
    g = pose(of, values)
    chosen = np.isin(of.avatar.binding.triangles, of.identity.head.faces_of(*regions))
    flat = np.where(chosen, 0.5, -0.5).astype(np.float32)[:, None, None] / SH_C0
    coded = Gaussians(g.means, g.quats_wxyz, g.scales, g.opacities, np.repeat(flat, 3, 2))
    return rasterize(coded, view).colour[..., 0]


def luminance(of: Performer, values: np.ndarray, view: Camera) -> np.ndarray:
    """(H, W) scene-linear."""
    return rasterize(pose(of, values), view).colour @ np.float32([0.2126, 0.7152, 0.0722])


def at(view: Camera, points: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Values of a picture (H, W) at world points (n, 3)."""
    p = points @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
    pixel = (p @ view.K.T)[:, :2] / p[:, 2:]
    column, row = np.clip(pixel.astype(int), 0, SIZE - 1).T
    return picture[row, column]


@pytest.mark.parametrize("name", AVATARS)
def test_a_shipped_head_is_small_and_fits_the_built_in_head(name: str) -> None:
    assert (DATA / f"{name}.loq").stat().st_size <= 6_000_000
    avatar = actor(name).avatar
    assert avatar.name == name
    assert 30_000 <= len(avatar) <= 80_000
    assert avatar.head_id == load_head().head_id
    assert np.abs(avatar.betas).max() < 8


@pytest.mark.parametrize("name", AVATARS)
def test_a_shipped_head_says_whose_it_is_and_how_to_make_it_again(name: str) -> None:
    about = actor(name).avatar.about
    assert about["licence"] == "CC0-1.0"
    assert "no photograph" in about["provenance"]
    assert about["consent"] == "Not a real person."
    assert about["command"] == f"python -m tools.avatars {name}"
    assert isinstance(about["seed"], int)
    psnr = about["held_out_psnr_db"]
    assert psnr["fitted"]["all"] > psnr["initial"]["all"] + 3
    assert f"{psnr['fitted']['all']:.1f}" in (DATA / f"{name}.md").read_text(), (
        "the card quotes other figures than the file"
    )


@pytest.mark.parametrize("name", AVATARS)
def test_a_shipped_head_has_a_picture_of_itself(name: str) -> None:
    thumbnail = actor(name).avatar.thumbnail
    assert thumbnail is not None and thumbnail.shape[2] == 4
    assert thumbnail[..., 3].max() == 255 and thumbnail[0, 0, 3] == 0


@pytest.mark.parametrize("name", AVATARS)
def test_no_gaussian_is_larger_than_a_lock_of_hair_in_any_pose(name: str) -> None:
    for values in (channels(), channels(**AA), channels(**BLINK), channels(mouthPucker=1.0, headYaw=0.5)):
        g = pose(actor(name), values)
        for array in (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics):
            assert np.isfinite(array).all()
        assert g.scales.max() < 0.05
        assert np.abs(g.means).max() < 0.5


@pytest.mark.parametrize("name", AVATARS)
def test_the_open_mouth_is_dark_inside_and_shows_bright_teeth(name: str) -> None:
    of, values = actor(name), channels(**AA)
    light = luminance(of, values, MOUTH)
    inside = share(of, values, MOUTH, "mouth_interior", "tongue", "gums") > 0.8
    teeth = share(of, values, MOUTH, "teeth_upper", "teeth_lower") > 0.8
    lips = share(of, values, MOUTH, "lips") > 0.8
    assert inside.sum() > 100 and teeth.sum() > 100 and lips.sum() > 100
    assert light[inside].mean() < 0.06
    assert np.percentile(light[teeth], 70) > 4 * light[inside].mean()
    assert np.percentile(light[teeth], 70) > 1.3 * light[lips].mean()


@pytest.mark.parametrize("name", AVATARS)
def test_the_resting_mouth_is_closed(name: str) -> None:
    behind = ("teeth_upper", "teeth_lower", "gums", "tongue", "mouth_interior")
    shut, wide = ((share(actor(name), channels(**v), MOUTH, *behind) > 0.5).sum() for v in ({}, AA))
    assert wide > 1000
    assert shut < 0.03 * wide


@pytest.mark.parametrize("name", AVATARS)
def test_a_blink_covers_the_eyes(name: str) -> None:
    wide, shut = ((share(actor(name), channels(**v), EYES, "eye_left", "eye_right") > 0.5).sum() for v in ({}, BLINK))
    assert wide > 300
    assert shut < 0.03 * wide


@pytest.mark.parametrize("name", AVATARS)
def test_each_eye_has_a_dark_pupil_a_lighter_white_and_a_glint(name: str) -> None:
    of = actor(name)
    light = luminance(of, channels(), EYES)
    for side, joint in (("left", 3), ("right", 4)):
        eye = share(of, channels(), EYES, f"eye_{side}") > 0.8
        vertices = pose_vertices(of.identity, channels())[of.identity.head.parts[f"eye_{side}"]]
        pupil = at(EYES, vertices[:29], light)
        assert eye.sum() > 100
        assert np.percentile(pupil, 20) < 0.06, f"joint {joint}"
        assert np.percentile(light[eye], 90) > 4 * np.percentile(pupil, 20)
        front = vertices[:169]  # six rings: the iris
        assert at(EYES, front, light).max() > 2.5 * np.median(at(EYES, front, light))


@pytest.mark.parametrize("name", AVATARS)
def test_the_iris_follows_the_gaze(name: str) -> None:
    of = actor(name)
    left, right = (
        at(EYES, pose_vertices(of.identity, v)[of.identity.head.parts["eye_left"]][:29], luminance(of, v, EYES)).mean()
        for v in (channels(eyeLookOutLeft=0.7), channels(eyeLookInLeft=0.7))
    )
    assert max(left, right) < 0.12, "the pupil's place is not dark when the eye has turned"


@pytest.mark.parametrize("name", AVATARS)
def test_brows_and_hair_are_darker_than_the_forehead(name: str) -> None:
    of = actor(name)
    head, view = of.identity.head, camera()
    light, rest = luminance(of, channels(), view), of.identity.template
    brows = np.concatenate([np.flatnonzero(head.masks[f"brow_{side}"] > 0.7) for side in ("left", "right")])
    high = rest[brows, 1].mean()
    forehead = np.flatnonzero(
        (np.abs(rest[:, 0]) < 0.02) & (np.abs(rest[:, 1] - high - 0.022) < 0.008) & (rest[:, 2] > 0.05)
    )
    bright = np.median(at(view, rest[forehead], light))
    assert np.percentile(at(view, rest[brows], light), 25) < 0.6 * bright
    crown = rest[(head.masks["scalp"] > 0.9) & (rest[:, 1] > rest[:, 1].max() - 0.02)]
    assert np.median(at(view, crown, light)) < 0.6 * bright


@pytest.mark.parametrize("name", AVATARS)
def test_hair_stands_off_the_scalp(name: str) -> None:
    of = actor(name)
    head, binding = of.identity.head, of.avatar.binding
    _, _, size = triangle_frames(of.identity.template, head.faces)
    away = np.linalg.norm(binding.offsets, axis=1) * size[binding.triangles]
    scalp = head.masks["scalp"][head.faces].mean(1)[binding.triangles] > 0.5
    assert (scalp & (away > 0.008)).sum() > 3000


@pytest.mark.parametrize("name", AVATARS)
@pytest.mark.parametrize("yaw", [-1.3, -0.6, 0.0, 0.6, 1.3, 3.14])
def test_the_head_has_no_holes_from_any_side(name: str, yaw: float) -> None:
    of = actor(name)
    view = camera(yaw=yaw)
    alpha = rasterize(pose(of, channels()), view).alpha
    skin = of.identity.template[of.identity.head.parts["skin"]]
    inside = skin[(skin[:, 1] > -0.15) & (np.abs(skin[:, 0]) < 0.1)]
    assert np.percentile(at(view, inside, alpha), 2) > 0.9


def test_the_two_heads_are_two_people() -> None:
    ada, bruno = (actor(n) for n in ("ada", "bruno"))
    apart = np.linalg.norm(ada.identity.template - bruno.identity.template, axis=1)
    assert np.median(apart) > 0.004
    view = camera()
    cheeks = [
        at(view, p.identity.template[[p.identity.head.landmarks["nose_tip"]]], luminance(p, channels(), view))[0]
        for p in (ada, bruno)
    ]
    assert cheeks[0] > 1.3 * cheeks[1]
