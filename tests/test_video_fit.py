# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits to films that are made up here: the built-in Ada, drawn while she speaks, tracked with known errors."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from loquent.core.adapt import footage, refined  # noqa: E402
from loquent.core.adapt.follow import habits  # noqa: E402
from loquent.core.adapt.footage import Footage, Window, chosen_frames, encoded, windows_of  # noqa: E402
from loquent.core.adapt.start import best_place, start_of, start_of_film  # noqa: E402
from loquent.core.adapt.video_fit import Fit, Recipe, Stage, without  # noqa: E402
from loquent.core.capture.embedding import load_embedding  # noqa: E402
from loquent.core.capture.track import Track  # noqa: E402
from loquent.core.errors import Cancelled  # noqa: E402
from loquent.core.geometry.cameras import Camera, look_at  # noqa: E402
from loquent.core.head.head import identity, load_head, pose_vertices  # noqa: E402
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion  # noqa: E402
from loquent.core.splats import native  # noqa: E402
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose  # noqa: E402
from loquent.core.splats.rasterize import rasterize  # noqa: E402

pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")
SIZE, FRAMES, LAYOUT = 96, 16, 56


def camera():
    matrix = np.diag([1.0, -1.0, -1.0, 1.0])
    matrix[2, 3] = 0.9
    matrix[1, 3] = 0.0
    return Camera(matrix, np.array([[150.0, 0, SIZE / 2], [0, 150.0, SIZE / 2], [0, 0, 1]]), SIZE, SIZE)


def speech(frames=FRAMES):
    at = np.linspace(0, 2 * np.pi, frames)
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]] = 0.3 * (1 - np.cos(2 * at))
    values[:, INDEX["headYaw"]] = 0.15 * np.sin(at)
    values[:, INDEX["headPitch"]] = 0.06 * np.cos(at)
    values[frames // 2, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 1
    return values


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Folder of cuts, true values and betas."""
    folder = tmp_path_factory.mktemp("film")
    ada = load_avatar(builtin_avatars()["ada"])
    person, values = performer(ada), speech()
    for k, row in enumerate(values):
        layers = rasterize(pose(person, row), camera())
        alpha = np.clip(layers.alpha, 0, 1)
        footage._write(folder / footage._name(k), encoded(layers.colour / np.maximum(alpha, 1e-3)[..., None]), alpha)
    return folder, values, ada.betas


def landmarks(frames=FRAMES):
    rng = np.random.default_rng(0)
    points = rng.uniform(36, 60, (478, 2)).astype(np.float32)
    points[10], points[152] = (48, 30), (48, 62)
    return np.repeat(points[None], frames, 0)


def tracked(values, betas, **changes):
    count = len(values)
    track = Track(
        betas,
        camera(),
        Motion(25.0, values),
        np.ones(count, np.float32),
        landmarks(count),
        load_head().head_id,
        "made up",
    )
    return replace(track, **changes)


def cuts_of(folder, track, frames=None):
    frames = np.arange(len(track)) if frames is None else frames
    return Footage(folder, frames, (Window(0, 0, SIZE, SIZE),) * len(frames), track.camera, SIZE)


def fit_of(film, plan, values=None, **changes):
    folder, true, betas = film
    track = tracked(true if values is None else values, betas, **changes)
    return Fit(load_head(), start_of(load_head(), betas, LAYOUT), cuts_of(folder, track), track, plan, threads=1)


def nothing(fraction, picture):
    del fraction, picture


def off(fit, values):
    """Mean absolute error of the drawn pictures, sRGB over black."""
    errors = []
    for k in range(0, FRAMES, 3):
        shown = fit.footage.shown(k)
        colour, _ = fit.drawn(values[k], shown.camera)
        errors.append(np.abs(encoded(colour) - shown.colour * shown.matte[..., None]).mean())
    return float(np.mean(errors))


def seen_landmarks(values, betas):
    """(T, 478, 2) where the camera sees them."""
    points = load_embedding(load_head()).of(pose_vertices(identity(load_head(), betas), values))
    at = points @ camera().world_to_camera[:3, :3].T + camera().world_to_camera[:3, 3]
    return (at[..., :2] / at[..., 2:] * camera().K[[0, 1], [0, 1]] + camera().K[:2, 2]).astype(np.float32)


SHORT = Recipe(
    (Stage(48, 25), Stage(64, 25, joint=True, split=1), Stage(64, 20, joint=True, colour=True, rate=(0.4, 0.1)))
)


def test_a_fit_draws_the_film_better_than_the_painted_start(film):
    fit = fit_of(film, SHORT)
    fit.survey(4)
    before, count = off(fit, film[1]), len(fit.module)
    fit.run(None, nothing)
    after = off(fit, fit.values())
    assert after < 0.75 * before, (before, after)
    assert len(fit.module) != count  # split on the way
    colour = fit.colours()
    assert colour is not None and 0 < len(colour.rows) <= len(fit.module)
    avatar = fit.module.avatar("A", colour=colour)
    drawn = rasterize(pose(performer(replace(avatar, betas=fit.betas())), fit.values()[4]), camera()).colour
    np.testing.assert_allclose(drawn, fit.drawn(fit.values()[4], camera())[0], atol=0.03)


def test_a_head_begins_as_the_best_frame_shows_it_and_likelier_from_the_side_than_a_plain_one(film):
    folder, values, betas = film
    track = tracked(values, betas, landmarks=seen_landmarks(values, betas))
    cuts = cuts_of(folder, track)
    best = values[best_place(track, cuts)]
    assert best[INDEX["eyeBlinkLeft"]] == 0 and abs(best[INDEX["headYaw"]]) < 0.1 and best[INDEX["jawOpen"]] < 0.2
    ada, rest = performer(load_avatar(builtin_avatars()["ada"])), np.zeros(len(CHANNELS), np.float32)
    side = look_at((0.55, 0.02, 0.75), (0, 0, 0), fov_y=0.5, width=SIZE, height=SIZE)
    truth = rasterize(pose(ada, rest), side)
    errors = {}
    for name, start in (("film", start_of_film(load_head(), track, cuts)), ("plain", start_of(load_head(), betas))):
        fit = Fit(load_head(), start, cuts, track, SHORT, threads=1)
        fit.survey(4)
        drawn, alpha = fit.drawn(rest, side)
        errors[name] = off(fit, values), np.abs(encoded(drawn) - encoded(truth.colour)).mean()
        assert (fit.blind.norm(dim=1).max() > 0.5) == (name == "film") and fit.pairs.max() < len(fit.module)
        assert np.abs(alpha - truth.alpha).mean() < 0.06
    assert errors["film"][0] < 0.9 * errors["plain"][0] and errors["film"][1] < 0.9 * errors["plain"][1], errors


def test_nothing_moves_where_a_film_cannot_see_that_it_does(film):
    """Ahead and back, of a face that is seen from the front only."""
    folder, values, betas = film
    still = np.zeros_like(values)
    still[:, : len(ARKIT)] = values[:, : len(ARKIT)]
    track = tracked(still, betas, landmarks=seen_landmarks(still, betas))
    cuts = cuts_of(folder, track)
    fit = Fit(load_head(), start_of_film(load_head(), track, cuts), cuts, track, Recipe((Stage(64, 30),)), threads=1)
    fit.run(None, nothing)
    away, moved = fit.blind.numpy(), fit.module.wander.detach().numpy()
    length = np.linalg.norm(away, axis=1)
    assert np.median(length) > 0.95
    free = (fit.free.numpy() > 0.5) & (length > 0.95)
    along = (moved * away).sum(1) / np.maximum(length, 1e-6)
    across = np.linalg.norm(moved, axis=1)
    assert across[free].mean() > 0.02 and np.abs(along[free]).mean() < 0.15 * across[free].mean()


def test_a_closer_look_is_a_part_of_the_picture(film):
    fit = fit_of(film, SHORT, landmarks=seen_landmarks(film[1], film[2]))
    whole = fit.footage.shown(3)
    weight = fit._weight(3, whole.camera, whole.matte)
    looks = [fit._closer(3, whole, weight) for _ in range(12)]
    near, part = next(look for look in looks if look[0] is not whole)
    assert any(look[0] is whole for look in looks)
    left, top = np.round((whole.camera.K - near.camera.K)[:2, 2]).astype(int)
    rows, columns = slice(top, top + near.camera.height), slice(left, left + near.camera.width)
    assert part.shape == near.matte.shape < whole.matte.shape
    assert np.array_equal(near.colour, whole.colour[rows, columns]) and np.array_equal(part, weight[rows, columns])
    small = fit.footage.shown(3, 24)
    for near_by, _ in (fit._closer(3, small, fit._weight(3, small.camera, small.matte)) for _ in range(6)):
        assert near_by.matte.shape == (24, 24)  # nothing is cut out of what is small already
    drawn = (fit.drawn(film[1][3], shown.camera)[0] for shown in (near, whole))
    np.testing.assert_allclose(next(drawn), next(drawn)[rows, columns], atol=1e-3)


def test_colours_side_by_side_in_the_picture_change_together(film):
    folder, values, betas = film
    track = tracked(values, betas, landmarks=seen_landmarks(values, betas))
    cuts = cuts_of(folder, track)
    start, apart = start_of_film(load_head(), track, cuts), []
    for even in (0.0, 3.0):
        fit = Fit(load_head(), start, cuts, track, Recipe((Stage(64, 40),), even=even), threads=1)
        fit.run(None, nothing)
        a, b = fit.pairs.unbind(1)
        edge_on = torch.minimum(fit.square[a], fit.square[b]) < 0.5
        change = (fit.module.dc - fit.first_dc).detach()
        apart.append(float((change[a] - change[b])[edge_on].abs().mean()))
    assert 0 < apart[1] < 0.7 * apart[0], apart


def test_the_inside_of_a_mouth_is_known_as_far_as_it_opens(tmp_path):
    """In pictures that are large enough to show teeth."""
    side, head, ada = 240, load_head(), load_avatar(builtin_avatars()["ada"])
    near = look_at((0, 0.02, 0.85), (0, 0, 0), fov_y=np.radians(26), width=side, height=side)
    person, values, known = performer(ada), np.zeros((4, len(CHANNELS)), np.float32), []
    values[:, INDEX["jawOpen"]] = (0, 0.1, 0.4, 0.8)
    for k, row in enumerate(values):
        layers = rasterize(pose(person, row), near)
        alpha = np.clip(layers.alpha, 0, 1)
        footage._write(tmp_path / footage._name(k), encoded(layers.colour / np.maximum(alpha, 1e-3)[..., None]), alpha)
    points = load_embedding(head).of(pose_vertices(person.identity, values))
    seen = points @ near.world_to_camera[:3, :3].T + near.world_to_camera[:3, 3]
    marks = (seen[..., :2] / seen[..., 2:] * near.K[[0, 1], [0, 1]] + near.K[:2, 2]).astype(np.float32)
    track = tracked(values, ada.betas, landmarks=marks, camera=near)
    start = start_of_film(head, track, Footage(tmp_path, np.arange(4), (Window(0, 0, side, side),) * 4, near, side))
    for frames in ([0, 1, 2, 3], [0]):
        cuts = Footage(tmp_path, np.array(frames), (Window(0, 0, side, side),) * len(frames), near, side)
        fit = Fit(head, start, cuts, track, Recipe((Stage(side, 1),)), threads=1)
        fit.survey(4)
        regions = head.regions[fit.module.start_triangles.numpy()]
        teeth = np.isin(regions, [head.region_names.index(n) for n in ("teeth_upper", "teeth_lower")])
        eyes = np.isin(regions, [head.region_names.index(n) for n in ("eye_left", "eye_right")])
        assert (fit.seen.numpy()[eyes] == 1).all()
        known.append(fit.seen.numpy()[teeth])
    assert known[0].max() == 1 and known[0].min() < 0.1  # what lies behind the front teeth is not seen
    assert known[1].mean() < 0.2 * known[0].mean(), [float(k.mean()) for k in known]


def test_an_interrupted_fit_ends_as_one_that_was_not(film, tmp_path):
    whole = fit_of(film, SHORT)
    whole.run(None, nothing)

    def stop(at):
        def progress(fraction, picture):
            if fraction >= at:
                raise Cancelled

        return progress

    for at in (0.3, 0.85):
        with pytest.raises(Cancelled):
            fit_of(film, SHORT).run(tmp_path, stop(at))
    rest = fit_of(film, SHORT)
    assert rest.run(tmp_path, nothing)
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, rest.module.state_dict()[name]), name
    assert np.array_equal(whole.corrections(), rest.corrections()) and np.array_equal(whole.betas(), rest.betas())
    assert np.array_equal(whole.colours().basis, rest.colours().basis)


def test_work_of_another_recipe_or_a_damaged_file_is_begun_anew(film, tmp_path):
    fit = fit_of(film, SHORT)
    fit.save(tmp_path)
    assert fit_of(film, SHORT).load(tmp_path)
    assert not fit_of(film, replace(SHORT, seed=5)).load(tmp_path)
    assert not fit_of(film, without(SHORT, colour=False)).load(tmp_path)
    (tmp_path / "fit.safetensors").write_bytes(b"cut short")
    assert not fit_of(film, SHORT).load(tmp_path)


def test_refining_tracks_brings_wrong_ones_nearer_the_truth(film):
    wrong = film[1].copy()
    wrong[:, INDEX["headX"]] += 0.004
    plan = Recipe((Stage(64, 20), Stage(64, 48, joint=True)))
    # the Gaussians are held where the truth has them, else they would move instead
    truth = fit_of(film, Recipe((Stage(64, 20),)))
    truth.run(None, nothing)
    fit = fit_of(film, plan, wrong)
    fit.module.adopt(truth.module.state_dict())
    fit.done = 20
    for parameter in fit.module.parameters():
        parameter.requires_grad_(False)
    fit.run(None, nothing)
    found = fit.values()[:, INDEX["headX"]]
    assert np.abs(found).mean() < 0.7 * 0.004, found


def test_frames_that_do_not_fit_are_drawn_seldom(film, tmp_path):
    """A hand over the face: MediaPipe may go on guessing the face below."""
    folder, values, betas = film
    for k in range(FRAMES):
        colour, matte = footage._read(folder / footage._name(k), SIZE, SIZE)
        colour, matte = colour / 255.0, matte / 255.0
        if k in (5, 6):
            colour, matte = colour.copy(), matte.copy()
            colour[40:80, 20:76], matte[40:80, 20:76] = (0.9, 0.2, 0.7), 1
        footage._write(tmp_path / footage._name(k), colour, matte)
    track = tracked(values, betas)
    fit = Fit(
        load_head(),
        start_of(load_head(), betas, LAYOUT),
        cuts_of(tmp_path, track),
        track,
        Recipe((Stage(48, 60),)),
        threads=1,
    )
    fit.run(None, nothing)
    chance = fit._weights() / fit._chance
    assert chance[[5, 6]].max() < 0.8 * np.median(chance)


def test_no_correction_is_tied_or_carried_over_a_cut():
    values = speech(20)
    track = tracked(values, np.zeros(10, np.float32), cuts=(8,))
    frames = np.array([0, 3, 6, 9, 12, 18])
    ties = refined.neighbours(frames, track)
    assert ties[2, 1] == ties[3, 0] == 0 and ties[0, 0] == ties[-1, 1] == 0
    assert 0 < ties[4, 1] < ties[0, 1]  # a wider gap ties less
    corrections = np.zeros((6, len(refined.CORRECTED)), np.float32)
    corrections[3:] = 1
    spread = refined.spread(corrections, frames, track)
    assert (spread[:8] == 0).all() and (spread[8:] == 1).all()


def test_corrected_coefficients_stay_within_their_range():
    values = speech(4)
    corrections = np.full((4, len(refined.CORRECTED)), -50, np.float32)
    out = refined.corrected(values, corrections)
    assert out[:, :52].min() == 0 and out[:, INDEX["headX"]].max() < 0
    assert np.array_equal(out[:, INDEX["jawYaw"]], values[:, INDEX["jawYaw"]])


def test_each_shot_is_cut_for_itself_and_within_the_picture():
    points = landmarks(10)
    points[6:] += (30, 0)
    track = tracked(speech(10), np.zeros(10, np.float32), cuts=(6,), landmarks=points)
    windows = windows_of(track)
    assert windows[0] == windows[5] != windows[6] == windows[9]
    assert all(w.left >= 0 and w.left + w.width <= SIZE and w.top + w.height <= SIZE for w in windows)
    k = windows[6].camera(track.camera, 48).K
    w = windows[6]
    assert k[0, 2] == pytest.approx((SIZE / 2 - w.left) * 48 / max(w.width, w.height), abs=1)


def test_ten_minutes_are_learned_from_a_bounded_number_of_frames():
    values = np.zeros((15000, len(CHANNELS)), np.float32)
    track = tracked(values, np.zeros(10, np.float32))
    confidence = track.confidence.copy()
    confidence[:7000] = 0.05
    frames = chosen_frames(replace(track, confidence=confidence))
    assert len(frames) == footage.MAX_PICTURES and frames.min() >= 7000 and (np.diff(frames) > 0).all()


def test_habits_take_out_what_a_tracker_always_does_wrong():
    rng = np.random.default_rng(0)
    true = np.zeros((300, len(CHANNELS)), np.float32)
    jaw, pitch = INDEX["jawOpen"], INDEX["headPitch"]
    true[:, jaw], true[:, pitch] = rng.uniform(0.1, 0.6, 300), rng.normal(0, 0.05, 300)
    wrong = true.copy()
    wrong[:, pitch] += 0.02 + 0.1 * true[:, jaw]
    wrong += rng.normal(0, 0.001, wrong.shape) * (true != 0)
    found = habits(wrong[:200], true[:200]).corrected(wrong[200:])
    before, after = (np.abs(x[:, pitch] - true[200:, pitch]).mean() for x in (wrong[200:], found))
    assert after < 0.2 * before
