# SPDX-License-Identifier: GPL-3.0-or-later
"""From a photo to a head: photos of all kinds, what is said of bad ones, and a head whose truth is known.

A built-in head is photographed and made anew. A stand-in for MediaPipe gives exact landmarks, and the picture's own alpha is
the matte, so that no model is needed; the test with a real face is MediaPipe's own.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loquent.core.adapt import photo, remarks, surface
from loquent.core.adapt.complexion import complexion
from loquent.core.adapt.consent import Consent
from loquent.core.adapt.paint import around_neck, behind_neck, outside_slots
from loquent.core.adapt.photo import PhotoOptions, head_from_photo
from loquent.core.adapt.picture import BEHIND, display_of, linear_of, read_picture, resized, sampled
from loquent.core.adapt.result import HeadResult
from loquent.core.capture.embedding import load_embedding
from loquent.core.capture.landmarker import Face
from loquent.core.capture.matte import box
from loquent.core.errors import Cancelled, CaptureError, FormatError
from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose, save_avatar
from loquent.core.splats.binding import carry
from loquent.core.splats.gaussians import SH_C0, Gaussians
from loquent.core.splats.holdout import mesh_depth
from loquent.core.splats.rasterize import rasterize

Image = pytest.importorskip("PIL.Image", reason="photos are read by Pillow (extra 'capture')")
HEAD = load_head()
AGREED = Consent("Ada, invented", "", synthetic=True)
PORTRAIT = Path(__file__).resolve().parents[2] / "shared" / "data" / "portrait" / "astronaut_nasa_pd.png"
SIDE = 256
LUMA = np.array([0.2126, 0.7152, 0.0722])


# ---- reading


def save(path: Path, array: np.ndarray, **how) -> Path:
    Image.fromarray(array).save(path, **how)
    return path


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 6 * y, np.full_like(x, 90)], -1).astype(np.uint8)


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    picture = read_picture(save(tmp_path / "a.png", gradient(), exif=exif))
    assert np.array_equal(picture.image, np.rot90(gradient(), -1)) and picture.matte is None


def test_transparent_pixels_become_grey_and_the_matte(tmp_path):
    rgba = np.dstack([gradient(), np.full((40, 60), 255, np.uint8)])
    rgba[:, 30:, 3] = 0
    picture = read_picture(save(tmp_path / "a.png", rgba))
    assert picture.matte is not None and picture.matte[:, :30].min() == 1 and picture.matte[:, 30:].max() == 0
    assert (picture.image[:, 30:] == BEHIND).all() and np.array_equal(picture.image[:, :30], gradient()[:, :30])


def test_grey_sixteen_bit_and_palette_photos_become_colour(tmp_path):
    grey = gradient()[..., 0]
    for path in (
        save(tmp_path / "g.png", grey),
        save(tmp_path / "w.png", (grey.astype(np.uint16) * 257)),
    ):
        image = read_picture(path).image
        assert np.abs(image.astype(int) - grey[..., None]).max() <= 1
    Image.fromarray(gradient()).quantize(64).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").image.shape == (40, 60, 3)


def test_large_photos_shrink_and_sizes_are_told(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((30 * 80, 60 * 80, 3), np.uint8))
    assert max(read_picture(path).image.shape) == 2048


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n0 0 moveto 100 100 lineto stroke\nshowpage\n"


@pytest.mark.parametrize("content", [b"not a picture at all", b"", b"\x89PNG\r\n\x1a\n" + b"0" * 40, POSTSCRIPT])
def test_what_is_no_photo_is_refused(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=r"'a\.jpg' cannot be read as a photo .* Expected a picture of one face"):
        read_picture(path)


def test_missing_and_tiny_photos_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="There is no photo"):
        read_picture(tmp_path / "nowhere.png")
    with pytest.raises(CaptureError, match=r"is 60 x 20 pixels; .* Use the original"):
        read_picture(save(tmp_path / "a.png", gradient(20)))
    with pytest.raises(CaptureError, match=r"is 5000 x 20 pixels"):
        read_picture(save(tmp_path / "a.png", gradient(20, 5000)))


def test_light_goes_both_ways_and_boxes_average():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(display_of(linear_of(levels)), levels)
    image = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    assert np.allclose(resized(image, (0, 0, 32), 8), image.reshape(8, 4, 8, 4, 3).mean((1, 3)), atol=1e-5)
    assert np.allclose(resized(image, (0, 0, 32), 32), image, atol=1e-6)
    assert np.allclose(sampled(image, np.array([[5.5, 7.5]])), image[7, 5], atol=1e-6)


# ---- the surface


def test_the_surface_lies_on_the_mesh_and_mirrors_itself():
    places = surface.slots(HEAD)
    points = places.of(HEAD.template, HEAD.faces)
    means = carry(surface.discs(places, HEAD.template, HEAD.faces), HEAD.template, HEAD.faces)[0]
    assert np.abs(means - points).max() < 1e-6 and 40_000 < len(places) < 60_000
    other, there = surface.mirror(HEAD).of(places)
    skin = np.isin(surface.kinds(HEAD)[places.triangles], ("skin", "lips"))
    assert there[skin].mean() > 0.98
    assert np.abs(other.of(HEAD.template, HEAD.faces) - points * [-1, 1, 1])[there].max() < 0.003


def test_the_surface_is_closed_from_everywhere():
    skin = np.isin(surface.kinds(HEAD), ("skin", "lips"))
    places = surface.slots(HEAD)
    places = surface.Slots(*(a[skin[places.triangles]] for a in (places.triangles, places.bary, places.parts)))
    means, quats, scales = carry(surface.discs(places, HEAD.template, HEAD.faces), HEAD.template, HEAD.faces)
    white = np.full((len(means), 1, 3), 0.5 / SH_C0, np.float32)
    solid = Gaussians(means, quats, scales, np.full(len(means), 0.97, np.float32), white)
    for yaw in (0.0, 0.9, 2.0, 3.1):
        camera = look_at((np.sin(yaw), 0, np.cos(yaw)), (0, 0, 0), fov_y=np.radians(22), width=160, height=160)
        inside = np.isfinite(mesh_depth([(HEAD.template, HEAD.faces[skin])], camera))
        inside &= np.roll(inside, 2, 0) & np.roll(inside, -2, 0) & np.roll(inside, 2, 1) & np.roll(inside, -2, 1)
        alpha = rasterize(solid, camera).alpha[inside]
        assert np.quantile(alpha, 0.01) > 0.9 and alpha.min() > 0.6


# ---- a head whose truth is known


@pytest.fixture(scope="module")
def shown() -> tuple[np.ndarray, np.ndarray]:
    """Ada from the front, smiling a little: (H, W, 4) uint8 with alpha, and her landmarks (478, 2)."""
    ada = load_avatar(builtin_avatars()["ada"])
    values = np.zeros(len(CHANNELS), np.float32)
    values[INDEX["mouthSmileLeft"]] = values[INDEX["mouthSmileRight"]] = 0.4
    camera = front(SIDE)
    person = performer(ada)
    layers = rasterize(pose(person, values), camera)
    straight = display_of(layers.colour / np.maximum(layers.alpha, 1e-3)[..., None])
    rgba = np.dstack([straight, (np.clip(layers.alpha, 0, 1) * 255).astype(np.uint8)])
    points = load_embedding(HEAD).of(pose_vertices(person.identity, values))
    at = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    return rgba, (at[:, :2] / at[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]).astype(np.float32)


def front(side: int, yaw: float = 0.0) -> Camera:
    eye = (np.sin(yaw), 0.0, 0.02 + np.cos(yaw))
    return look_at(eye, (0, 0.0, 0.02), fov_y=np.radians(25), width=side, height=side)


class Exact:
    """Finds the faces it is told to."""

    faces: list[Face] = []

    def __init__(self, model=None, faces=4) -> None: ...

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def photo(self, image: np.ndarray) -> list[Face]:
        return Exact.faces


@pytest.fixture
def taken(tmp_path, monkeypatch, shown) -> Path:
    rgba, points = shown
    monkeypatch.setattr(photo, "Landmarker", Exact)
    scores = np.zeros(len(ARKIT), np.float32)
    scores[[ARKIT.index("mouthSmileLeft"), ARKIT.index("mouthSmileRight")]] = 0.4
    monkeypatch.setattr(Exact, "faces", [Face(points, scores)])
    return save(tmp_path / "ada.png", rgba)


OPTIONS = PhotoOptions("me", AGREED, refine=False, focal_mm=36 / (2 * np.tan(np.radians(12.5))), threads=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory, shown) -> HeadResult:
    rgba, points = shown
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo, "Landmarker", Exact)
        patch.setattr(Exact, "faces", [Face(points, np.zeros(len(ARKIT), np.float32))])
        return head_from_photo(save(tmp_path_factory.mktemp("photo") / "ada.png", rgba), OPTIONS)


def drawn(result: HeadResult, values: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    layers = rasterize(pose(performer(result.avatar), values), camera)
    return display_of(layers.colour + 0.18 * (1 - layers.alpha[..., None])).astype(float) / 255, layers.alpha


def test_the_head_looks_like_the_photo(made, shown):
    assert made.track is not None
    rgba, _ = shown
    alpha = rgba[..., 3:] / 255
    truth = display_of(linear_of(rgba[..., :3]) * alpha + 0.18 * (1 - alpha)).astype(float) / 255
    picture, cover = drawn(made, made.track.motion.values[0], made.track.camera)
    face = np.zeros((SIDE, SIDE), bool)
    low, high = made.track.landmarks[0].min(0).astype(int), made.track.landmarks[0].max(0).astype(int)
    face[low[1] : high[1], low[0] : high[0]] = True
    error = np.square(picture - truth).mean(-1)
    assert -10 * np.log10(error[face].mean()) > 19
    above = (np.arange(SIDE)[:, None] < high[1]) & np.ones_like(face)
    vertices = pose_vertices(performer(made.avatar).identity, made.track.motion.values[0])
    bald = np.isfinite(mesh_depth([(vertices, HEAD.faces)], made.track.camera))
    missed = [np.abs(c - alpha[..., 0])[above].mean() for c in (cover, bald)]
    assert missed[0] < 0.45 * missed[1]  # hair reaches nearly where hers does


def test_hidden_sides_are_neither_black_nor_bare(made):
    still = np.zeros(len(CHANNELS), np.float32)
    for yaw in (0.8, -0.8, 2.4, np.pi):
        picture, cover = drawn(made, still, front(160, yaw))
        solid = cover > 0.95
        assert solid.sum() > 4000
        dark = (picture[solid] @ LUMA < 0.02).mean()
        assert dark < 0.02, f"{dark:.1%} black at {np.degrees(yaw):.0f} degrees"
    back, cover = drawn(made, still, front(160, np.pi))
    face, _ = drawn(made, still, front(160))
    crown = (slice(30, 50), slice(70, 90))
    cheek = face[68:74, 74:86].mean((0, 1))
    hair = face[24:30, 72:88].mean((0, 1))
    assert np.abs(back[crown].mean((0, 1)) - hair).sum() < np.abs(back[crown].mean((0, 1)) - cheek).sum()


def test_eyes_close_under_lids_and_the_mouth_opens_on_teeth(made):
    camera = replace(front(SIDE), K=front(SIDE).K * [[3, 1, 1], [1, 3, 1], [1, 1, 1]])
    person = performer(made.avatar)
    for name in ("eye_left", "eye_right"):
        values = np.zeros(len(CHANNELS), np.float32)
        values[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 1
        ball = np.isin(HEAD.regions[made.avatar.binding.triangles], [HEAD.region_names.index(name)])
        shares = []
        for v in (np.zeros_like(values), values):
            layers = rasterize(pose(person, v), camera, features=ball[:, None].astype(np.float32), passes=("features",))
            assert layers.features is not None
            shares.append(float(layers.features.sum()))
        assert shares[1] < 0.06 * shares[0]
    values = np.zeros(len(CHANNELS), np.float32)
    values[INDEX["jawOpen"]] = 0.6
    values[[INDEX["mouthUpperUpLeft"], INDEX["mouthUpperUpRight"]]] = 0.6
    teeth = np.isin(
        HEAD.regions[made.avatar.binding.triangles],
        [HEAD.region_names.index(n) for n in ("teeth_upper", "teeth_lower")],
    )
    layers = rasterize(pose(person, values), camera, features=teeth[:, None].astype(np.float32), passes=("features",))
    assert layers.features is not None
    share = layers.features[..., 0]
    bright = layers.colour[share > 0.8]
    assert len(bright) > 60 and np.median(bright @ LUMA) > 0.15  # light, and not redder than enamel
    assert np.median(bright[:, 0] / np.maximum(bright[:, 2], 1e-3)) < 2.2


def test_the_same_photo_and_seed_give_the_same_head(made, taken):
    again = head_from_photo(taken, OPTIONS).avatar
    first = head_from_photo(taken, OPTIONS).avatar
    for name in ("opacities", "harmonics", "betas"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_refinement_comes_closer_to_the_photo(taken):
    torch = pytest.importorskip("torch", reason="refinement is a fit by torch (the compute environment)")
    torch.set_num_threads(1)
    quiet = lambda *_: None  # noqa: E731
    fitted = photo.fit_photo(taken, OPTIONS, quiet)
    start, shot = photo.start_of(fitted)
    better = photo.refined(start, fitted, shot, OPTIONS, quiet, steps=12)
    truth = display_of(shot.light * shot.matte[..., None] + 0.18 * (1 - shot.matte[..., None])).astype(float)
    counts = shot.counted() > 0
    errors = [np.square(photo.preview(h, fitted, shot) - truth)[counts].mean() for h in (start, better)]
    assert errors[1] < 0.92 * errors[0]
    hidden = start.loose == 0
    assert hidden.any() and np.allclose(better.colours[hidden], np.clip(start.colours[hidden], 0, 1), atol=2e-3)
    assert np.array_equal(better.binding.offsets[hidden], start.binding.offsets[hidden])


def test_the_prior_speaks_for_hidden_skin_alone(taken):
    pytest.importorskip("torch", reason="the visual prior is a torch network (the compute environment)")
    fitted = photo.fit_photo(taken, OPTIONS, lambda *_: None)
    (told, _), (alone, _) = (photo.start_of(fitted, prior=p) for p in (True, False))
    assert np.array_equal(told.binding.offsets, alone.binding.offsets)
    off = np.abs(told.colours - alone.colours).max(1)
    skin = told.group == 0
    assert not off[~skin].any() and off[told.seen > 0.999].max(initial=0) < 1e-3
    places = carry(told.binding, HEAD.template, HEAD.faces)[0]
    nape = skin & (places[:, 1] < -0.09) & (places[:, 2] < -0.04)
    assert nape.sum() > 100 and not off[nape].any()  # goes on from the neck's sides
    assert (off[skin & (places[:, 1] > -0.045)] > 0.005).sum() > 100


def test_the_file_tells_who_it_is_and_how_it_was_made(made, tmp_path):
    save_avatar(made.avatar, tmp_path / "me.loq")
    about = load_avatar(tmp_path / "me.loq").about
    assert about["subject"] == "Ada, invented" and about["synthetic"] is True and about["source"] == "photo"
    assert "ada.png" in about["provenance"] and about["gaussians"] == len(made.avatar)
    assert made.avatar.thumbnail is not None and made.avatar.thumbnail.shape == (256, 256, 4)
    assert (made.avatar.thumbnail[..., 3] > 200).mean() > 0.2
    assert (tmp_path / "me.loq").stat().st_size < 4e6


# ---- what is hair, and what lies behind


def test_a_bald_crown_is_told_from_hair_by_its_colour_and_texture(taken):
    shot = photo.fit_photo(taken, OPTIONS, lambda *_: None).shot
    assert not complexion(shot).bald
    rng = np.random.default_rng(0)
    skin = complexion(shot).skin_colour * np.exp(0.005 * rng.standard_normal((*shot.matte.shape, 1)))
    above = shot.seen_from(shot.vertices[[HEAD.landmarks["eye_left_outer"]]])[0][0, 1]
    rows, columns = np.mgrid[: shot.side, : shot.side]
    shine = 0.5 * np.exp(-(((columns - shot.side / 2) / 20) ** 2) - ((rows - above + 50) / 20) ** 2)[..., None]
    top = (rows < above)[..., None]
    for beyond in (0, 4):  # the skull as wide as the fitted one, and half a centimetre wider
        matte = (box((shot.first >= 0).astype(np.float32), beyond) > 0).astype(np.float32)
        scalp = np.where(top, skin * 1.2 + shine * complexion(shot).skin_colour.max(), shot.light)
        shaven = replace(shot, light=scalp.astype(np.float32), matte=matte)
        assert complexion(shaven).bald
        stubble = np.where(top, skin * np.exp(0.5 * rng.standard_normal(skin.shape)), shot.light)
        assert not complexion(replace(shaven, light=stubble.astype(np.float32))).bald
        dyed = np.where(top, skin * [0.2, 0.25, 0.5], shot.light)
        assert not complexion(replace(shaven, light=dyed.astype(np.float32))).bald


def test_fair_hair_is_known_in_a_photo_without_colours(taken, shown, monkeypatch):
    rgba, points = shown
    colour = photo.fit_photo(taken, OPTIONS, lambda *_: None)
    luma = photo.linear_of(rgba[..., :3]) @ LUMA.astype(np.float32)
    skin = float(np.median(luma[points[:, 1].astype(int), points[:, 0].astype(int)]))
    above = (rgba[..., 3] > 250) & (np.arange(SIDE)[:, None] < points[:, 1].min())
    fair = np.where(above, luma * 0.5 * skin / np.median(luma[above]), luma)
    save(taken, np.dstack([display_of(np.repeat(fair[..., None], 3, 2)), rgba[..., 3]]))
    grey = photo.fit_photo(taken, OPTIONS, lambda *_: None)
    assert any("black and white" in s for s in grey.warnings) and not grey.look.bald
    hair = colour.look.hair > 0.9
    hair &= np.arange(len(hair))[:, None] < np.nonzero(hair)[0].min() + 0.15 * len(hair)
    assert hair.sum() > 500 and (grey.look.hair[hair] > 0.5).mean() > 0.9
    assert abs(np.log(grey.look.hair_colour[0] / (0.5 * skin))) < 0.4


def test_a_collar_goes_on_round_the_neck_and_mixes_with_nothing():
    places = surface.slots(HEAD)
    places = surface.Slots(*(a[outside_slots(places, HEAD)] for a in (places.triangles, places.bary, places.parts)))
    height = places.of(HEAD.template, HEAD.faces)[:, 1]
    stripes = np.where((height < -0.12)[:, None], [0.02, 0.02, 0.03], [0.8, 0.8, 0.75])
    behind = behind_neck(places, HEAD)
    x, _, z = places.of(HEAD.template, HEAD.faces).T
    seen = (z > 0).astype(float)
    grey = np.full_like(stripes, 0.3)
    found = around_neck(places, HEAD, stripes * seen[:, None], seen, grey)
    back = (behind == 1) & (z < -0.02)
    sure = back & (np.abs(height + 0.12) > 0.006)
    assert sure.sum() > 500 and np.abs(found - stripes)[sure].max() < 1e-6
    assert np.array_equal(around_neck(places, HEAD, stripes, np.zeros(len(x)), grey), grey)
    assert behind[z > HEAD.template[:, 2].max() - 0.03].max() == 0


# ---- photos that are not good


def test_consent_is_asked_for_before_anything_is_looked_at(tmp_path):
    with pytest.raises(FormatError, match="needs the name of the person and a statement of their consent"):
        head_from_photo(tmp_path / "nowhere.png", replace(OPTIONS, consent=Consent("", "")))


def test_no_face_too_small_a_face_and_a_wrong_number_are_refused(taken, monkeypatch, shown):
    _, points = shown
    scores = np.zeros(len(ARKIT), np.float32)
    with pytest.raises(CaptureError, match=r"Face 3 was asked for; 'ada\.png' shows 1 at most"):
        head_from_photo(taken, replace(OPTIONS, face=3))
    monkeypatch.setattr(Exact, "faces", [Face(points * 0.1, scores)])
    with pytest.raises(CaptureError, match=r"is \d+ pixels high; expected 60 or more"):
        head_from_photo(taken, OPTIONS)
    monkeypatch.setattr(Exact, "faces", [])
    with pytest.raises(CaptureError, match=r"No face was found in 'ada\.png'\. Expected"):
        head_from_photo(taken, OPTIONS)


def test_several_faces_and_blur_are_told(taken, monkeypatch, shown):
    rgba, points = shown
    fitted = photo.fit_photo(taken, OPTIONS, lambda *_: None)
    assert fitted.warnings == ()
    two = [*Exact.faces, Face(points * 0.4, Exact.faces[0].scores)]
    told = remarks.about(fitted.picture, two, 1, fitted.track, fitted.shot, fitted.look)
    assert "There are 2 faces in 'ada.png'; face 1" in told[0]
    soft = photo.linear_of(rgba[..., :3])
    for _ in range(3):
        soft = np.mean([np.roll(soft, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)], 0)
    blurred = replace(fitted.picture, image=display_of(soft))
    assert remarks.sharpness(blurred.image, points) < remarks.BLURRED < remarks.sharpness(fitted.picture.image, points)
    assert any("blurred" in s for s in remarks.about(blurred, [two[0]], 1, fitted.track, fitted.shot, fitted.look))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_photo_that_does_not_stand_upright_is_turned(tmp_path, monkeypatch, shown, quarters):
    """The finder behaves as MediaPipe does: right about faces on their side, and it lays an upright face over one upside down."""
    rgba, points = shown

    class Found(Exact):
        def photo(self, image: np.ndarray) -> list[Face]:
            turns = next(k for k in range(4) if np.array_equal(read_picture(pictures[k]).image, image))
            x, y = (points - SIDE / 2).T
            at = {0: (x, y), 1: (y, -x), 2: (x, 0.8 * y + 0.1 * abs(x)), 3: (-y, x)}[turns]
            return [Face((np.stack(at, 1) + SIDE / 2).astype(np.float32), np.zeros(len(ARKIT), np.float32))]

    pictures = [save(tmp_path / f"{k}.png", np.ascontiguousarray(np.rot90(rgba, k))) for k in range(4)]
    monkeypatch.setattr(photo, "Landmarker", Found)
    fitted = photo.fit_photo(pictures[quarters], OPTIONS, lambda *_: None)
    assert np.array_equal(fitted.picture.image, read_picture(pictures[0]).image)
    assert abs(fitted.values[INDEX["headRoll"]]) < 0.05
    assert [s for s in fitted.warnings if "upright" in s] == ["The photo did not stand upright, and was turned."] * (
        quarters > 0
    )


class ShortSighted:
    """Sees the largest bright square of a picture, and none that is less than a third of its width."""

    def photo(self, image: np.ndarray) -> list[Face]:
        rows, columns = np.nonzero(image[..., 0] > 200)
        if not len(rows):
            return []
        right = columns > columns.min() + 60 if np.ptp(columns) > 60 else np.ones(len(columns), bool)
        box = np.array(
            [[columns[right].min(), rows[right].min()], [columns[right].max(), rows[right].max()]], np.float32
        )
        return [Face(box, np.zeros(52, np.float32))] if 3 * np.ptp(box[:, 0]) > image.shape[1] / 2 else []


def test_faces_beside_larger_ones_and_far_ones_are_found():
    wide = np.zeros((120, 260, 3), np.uint8)
    wide[30:60, 20:50] = wide[20:70, 190:240] = 255
    found = photo.faces_of(wide, ShortSighted().photo)
    assert [tuple(face.box) for face in found] == [(190, 20, 239, 69), (20, 30, 49, 59)]
    far = np.zeros((240, 240, 3), np.uint8)
    far[130:160, 70:100] = 255
    assert [tuple(face.box) for face in photo.faces_of(far, ShortSighted().photo)] == [(70, 130, 99, 159)]
    assert photo.faces_of(np.zeros((240, 240, 3), np.uint8), ShortSighted().photo) == []


def test_sunglasses_and_turned_heads_are_told(taken):
    fitted = photo.fit_photo(taken, OPTIONS, lambda *_: None)
    shot = fitted.shot
    eyes = shot.seen_from(shot.vertices[[HEAD.landmarks["eye_left_outer"], HEAD.landmarks["eye_right_outer"]]])[0]
    light = shot.light.copy()
    y, x = int(eyes[:, 1].mean()), eyes[:, 0].astype(int)
    light[y - 12 : y + 14, x.min() - 10 : x.max() + 10] = 0.01
    dark = replace(shot, light=light)
    told = remarks.about(fitted.picture, Exact.faces, 1, fitted.track, dark, fitted.look)
    assert any("sunglasses" in s for s in told)
    values = fitted.track.motion.values.copy()
    values[:, INDEX["headYaw"]] = 1.0
    away = replace(fitted.track, motion=replace(fitted.track.motion, values=values))
    assert any(
        "57 degrees: a profile" in s for s in remarks.about(fitted.picture, Exact.faces, 1, away, shot, fitted.look)
    )


def test_a_user_may_cancel(taken):
    def stop(stage: str, fraction: float, image: np.ndarray | None) -> None:
        if stage.startswith("Hair"):
            raise Cancelled

    with pytest.raises(Cancelled):
        head_from_photo(taken, OPTIONS, stop)


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="MediaPipe finds faces (extra 'capture')")
@pytest.mark.skipif(not PORTRAIT.is_file(), reason=f"the real portrait is not at {PORTRAIT}")
def test_a_real_portrait_becomes_a_head():
    seen = []
    result = head_from_photo(
        PORTRAIT, replace(OPTIONS, focal_mm=None), lambda stage, fraction, image: seen.append((stage, fraction))
    )
    assert result.warnings == () and result.track is not None and result.track.error < 0.02
    assert {stage for stage, _ in seen} >= {"Reading the photo", "Cutting out", "Hair, skin, eyes and mouth"}
    smile = result.track.motion.values[0, INDEX["mouthSmileLeft"]]
    assert smile > 0.3  # she does, and the head at rest must not
    assert identity(HEAD, result.avatar.betas) is not None
