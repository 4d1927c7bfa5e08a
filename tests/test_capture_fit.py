# SPDX-License-Identifier: GPL-3.0-or-later
"""The fit of the head to landmarks whose truth is known: made here, and MediaPipe's on renders of the built-in heads.

The second are in data/mediapipe_on_renders.npz, written by tools/capture/clips.py; MediaPipe itself is not needed.
"""

from dataclasses import replace

import numpy as np
import pytest

from loquent.core.capture import fit, solve
from loquent.core.capture.embedding import load_embedding
from loquent.core.capture.face_model import COLUMNS, FITTED, UNITS, derivatives, face_model
from loquent.core.capture.problem import Seen, Weights, looks
from loquent.core.errors import AssetError
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, INDEX
from loquent.tools.capture import measure
from loquent.tools.capture.clips import some_clips
from loquent.tools.capture.measure import PLAIN, Truth

HEAD = load_head()
EMBEDDING = load_embedding(HEAD)
FOCAL = 900.0
CLIPS = {f"{clip.head}/{clip.name}": clip for clip in some_clips()}


def recorded(name: str) -> Truth:
    """A clip of the file; its head looks along z and the camera went around it."""
    clip = CLIPS[name]
    return Truth(clip.betas, clip.values, Seen(clip.points, clip.scores, clip.index), float(clip.camera.K[0, 0]))


def made(yaw: float, seed: int, frames: int = 16, noise: float = 0.4, bias: float = 1.5) -> Truth:
    """A stranger who talks, blinks and nods, turned by `yaw` degrees: exact landmarks plus what MediaPipe does to them, a
    place on this face that is a bit off (`bias` pixels) and a tremor (`noise` pixels). The head is 0.9 m away."""
    rng = np.random.default_rng(seed)
    betas = rng.normal(0, 0.6, 60).astype(np.float32)
    t = np.arange(frames)
    values = np.zeros((frames, 65), np.float32)
    for name in rng.choice(
        [n for n in UNITS if n.startswith(("mouth", "brow")) and n != "mouthClose"], 4, replace=False
    ):
        values[:, INDEX[name]] = 0.25 * (1 - np.cos(2 * np.pi * t / rng.integers(10, 20)))
    values[:, INDEX["jawOpen"]] = 0.2 * (1 - np.cos(2 * np.pi * t / 12))
    values[:, INDEX["headYaw"]] = np.radians(yaw) + 0.05 * np.sin(t / 6)
    values[:, INDEX["headPitch"]] = 0.06 * np.sin(t / 5)
    values[:, INDEX["headX"]], values[:, INDEX["headZ"]] = 0.02, -0.9
    points = EMBEDDING.of(pose_vertices(identity(HEAD, betas), values))
    pixels = FOCAL * points[..., :2] * (1, -1) / -points[..., 2:] + 256
    pixels = pixels + rng.normal(0, bias, (478, 2)) + rng.normal(0, noise, pixels.shape)
    scores = values[:, : len(ARKIT)] + 0.1
    return Truth(betas, values, Seen(pixels.astype(np.float32), scores, t), FOCAL)


def fitted(truth: Truth, weights: Weights | None = None, focal: float | None = None) -> fit.Fit:
    return measure.fitted(HEAD, EMBEDDING, truth, weights, focal)


def scored(truth: Truth, found: fit.Fit) -> measure.Score:
    return measure.scored(HEAD, EMBEDDING, truth, found)


def test_derivatives_are_those_of_the_posed_landmarks():
    rng = np.random.default_rng(3)
    model = face_model(HEAD, EMBEDDING, 12)
    person = identity(HEAD, rng.normal(0, 0.5, 12))
    values = np.zeros((1, 65), np.float32)
    values[:, COLUMNS] = rng.uniform(0.05, 0.3, len(FITTED))
    values[:, INDEX["mouthClose"]] = 0  # else it follows the jaw
    rows = rng.normal(size=(1, 478, 2, 3)).astype(np.float32)
    slopes, shapes = derivatives(model, person, values, model.points(person, values), rows)
    lips = [13, 14, 78, 308, 152, 1, 33, 263, 4, 61]  # clear of the lids, which the eyeballs push

    def slope(more: np.ndarray, less: np.ndarray, step: float) -> np.ndarray:
        moved = (model.points(person, more) - model.points(person, less)) / (2 * step)
        return (rows @ moved[..., None])[..., 0]

    for k, column in enumerate(COLUMNS):
        if FITTED[k] == "mouthClose":
            continue  # limited by the jaw, and added after the joints
        nudge = np.zeros_like(values)
        nudge[:, column] = 1e-2
        true = slope(values + nudge, values - nudge, 1e-2)
        scale = np.abs(true[0]).max() + 1e-3
        assert np.abs(slopes[0, lips, :, k] - true[0, lips]).max() < 0.12 * scale, FITTED[k]
    for s in (0, 5):
        up, down = (identity(HEAD, person.betas[:12] + d * np.eye(12)[s] * 0.1) for d in (1, -1))
        true = (rows @ ((model.points(up, values) - model.points(down, values)) / 0.2)[..., None])[..., 0]
        assert np.abs(shapes[0, lips, :, s] - true[0, lips]).max() < 0.1 * np.abs(true).max()


def test_a_sweep_over_the_chain_solves_what_the_dense_matrix_solves():
    rng = np.random.default_rng(0)
    frames, k = 7, 4
    root = rng.normal(size=(frames, k, k))
    normal, gradient, x = (
        root @ root.transpose(0, 2, 1) + np.eye(k),
        rng.normal(size=(frames, k)),
        rng.normal(size=(frames, k)),
    )
    ties, tied = rng.uniform(1, 3, k), np.array([False, True, True, False, True, True, True])
    free = np.full((frames, k), np.inf)
    big, right = np.zeros((frames * k, frames * k)), -gradient.reshape(-1)
    for t in range(frames):
        big[t * k : (t + 1) * k, t * k : (t + 1) * k] = normal[t]
    for t in np.flatnonzero(tied):
        difference = np.zeros((k, frames * k))
        difference[:, t * k : (t + 1) * k], difference[:, (t - 1) * k : t * k] = np.eye(k), -np.eye(k)
        big += difference.T @ (ties[:, None] * difference)
        right -= difference.T @ (ties * (x[t] - x[t - 1]))
    wanted = x + np.linalg.solve(big, right).reshape(frames, k)
    assert np.allclose(solve.step(normal, gradient, x, -free, free, ties, tied), wanted)
    bounded = solve.step(normal, gradient, np.clip(x, 0, 1), 0 * free.clip(0, 0), np.ones_like(x), ties, tied)
    assert (bounded >= 0).all() and (bounded <= 1).all()


@pytest.mark.parametrize(("yaw", "seed", "millimetres"), [(0, 1, 2.2), (30, 2, 2.6), (-45, 3, 2.8), (60, 4, 3.2)])
def test_a_stranger_is_found_from_noisy_landmarks_frontal_and_turned(yaw, seed, millimetres):
    truth = made(yaw, seed)
    found = fitted(truth)
    score, plain = scored(truth, found), scored(truth, fitted(truth, PLAIN))
    turn = np.degrees(found.values[:, INDEX["headYaw"]]).mean()
    assert score.vertex < millimetres, (score, plain)
    assert score.jaw < 1.6 and score.expression < 0.05, (score, plain)
    assert score.jerk < plain.jerk, (score, plain)
    assert abs(turn - yaw) < 5


@pytest.mark.parametrize(("name", "millimetres", "jaw"), [("ada/0", 2.0, 1.3), ("bruno/30", 2.9, 1.6),
                                                          ("bruno/-45", 2.9, 1.7), ("ada/60", 3.2, 1.6)])  # fmt: skip
def test_mediapipes_landmarks_of_renders_give_the_true_face(name, millimetres, jaw):
    truth = recorded(name)
    found = fitted(truth)
    score, plain = scored(truth, found), scored(truth, fitted(truth, PLAIN))
    assert score.vertex < millimetres and score.jaw < jaw and score.expression < 0.045, (score, plain)
    assert score.vertex < plain.vertex + 0.1, (score, plain)
    assert score.jerk < 0.7 * plain.jerk, (score, plain)
    assert np.median(found.errors) < 0.03


def test_lips_meet_and_part_when_the_true_ones_do():
    truth = recorded("ada/0")
    found = fitted(truth)

    def gap(betas: np.ndarray, values: np.ndarray) -> np.ndarray:
        lips = pose_vertices(identity(HEAD, betas), values)
        return lips[:, HEAD.landmarks["lip_upper_middle"], 1] - lips[:, HEAD.landmarks["lip_lower_middle"], 1]

    mine, true = gap(found.betas, found.values), gap(truth.betas, truth.values)
    assert np.corrcoef(mine, true)[0, 1] ** 2 > 0.85


def test_a_still_head_stays_still():
    truth = recorded("ada/still")
    score, plain = scored(truth, fitted(truth)), scored(truth, fitted(truth, PLAIN))
    assert score.jerk < 0.3 and score.jerk < 0.3 * plain.jerk, (score, plain)


def test_a_focal_length_that_is_given_is_kept_and_one_that_is_not_is_estimated():
    truth = made(0, 5, frames=8)
    assert fitted(truth, focal=FOCAL).focal == pytest.approx(FOCAL, rel=2e-3)
    assert 500 < fitted(truth).focal < 1100


def test_coefficients_stay_in_their_range_and_mouth_close_below_the_jaw():
    values = fitted(recorded("bruno/30")).values
    assert values[:, : len(ARKIT)].min() >= 0 and values[:, : len(ARKIT)].max() <= 1
    assert (values[:, INDEX["mouthClose"]] <= values[:, INDEX["jawOpen"]] + 0.3).all()


def test_a_film_in_windows_is_the_film_at_once(monkeypatch):
    truth = recorded("ada/0")
    whole = fitted(truth).values
    monkeypatch.setattr(fit, "WINDOW", 10)
    assert np.abs(fitted(truth).values - whole).max() < 0.03


def test_one_frame_is_enough():
    truth = recorded("ada/0")
    one = replace(
        truth, seen=Seen(truth.seen.points[:1], truth.seen.scores[:1], truth.seen.index[:1]), values=truth.values[:1]
    )
    found = fitted(one)
    assert np.isfinite(found.values).all() and found.errors[0] < 0.03


def test_landmarks_of_another_head_are_refused():
    with pytest.raises(AssetError, match="was made for head"):
        load_embedding(replace(HEAD, faces=HEAD.faces[:-1]))


def looking(seed: int = 3) -> Truth:
    """`made`, looking left and right, up and down, as MediaPipe's landmarks (less far) and its scores tell of it; lids that hang."""
    truth = made(0, seed, frames=30)
    values, t = truth.values.copy(), np.arange(30)
    values[:, INDEX["gazeYaw"]], values[:, INDEX["gazePitch"]] = 0.25 * np.sin(t / 4), 0.12 * np.cos(t / 5)
    told = values.copy()
    told[:, [INDEX["gazeYaw"], INDEX["gazePitch"]]] *= 0.5
    points = EMBEDDING.of(pose_vertices(identity(HEAD, truth.betas), told))
    pixels = FOCAL * points[..., :2] * (1, -1) / -points[..., 2:] + 256
    scores = truth.seen.scores.copy()
    for side, sign in (("Left", 1), ("Right", -1)):
        yaw, pitch = sign * values[:, INDEX["gazeYaw"]], values[:, INDEX["gazePitch"]]
        for way, turn, rise in (("Out", yaw, 2.3), ("In", -yaw, 2.3), ("Down", pitch, 1.25), ("Up", -pitch, 1.25)):
            scores[:, ARKIT.index(f"eyeLook{way}{side}")] = np.clip(rise * turn, 0, 1) + 0.3 * (way == "Down")
    return Truth(truth.betas, values, Seen(pixels.astype(np.float32), scores, t), FOCAL)


def test_the_gaze_is_as_far_as_the_eyes_look():
    truth = looking()
    found = fitted(truth).values
    for name, least in (("gazeYaw", 0.7), ("gazePitch", 0.45)):
        true, own = truth.values[:, INDEX[name]], found[:, INDEX[name]]
        gain = np.polyfit(true, own, 1)[0]
        assert least < gain < 1.1, (name, gain)
        assert np.abs(own - true).mean() < np.radians(4)


def test_scores_of_looks_are_radians_in_the_motions_signs():
    scores = np.zeros((5, len(ARKIT)), np.float32)
    scores[0, [ARKIT.index("eyeLookOutLeft"), ARKIT.index("eyeLookInRight")]] = 0.46  # to the subject's left
    scores[1, [ARKIT.index("eyeLookDownLeft"), ARKIT.index("eyeLookDownRight")]] = 0.25
    assert np.allclose(looks(scores)[:3], [[0, 0.2], [0.2, 0], [0, 0]], atol=1e-6)
    assert not looks(scores[1:2])[0, 0]  # of one picture nobody knows how its lids hang
