# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.keys import BEZIER, evaluate
from loquent.core.head.motion import CHANNELS, INDEX, Motion
from loquent.core.head.reduction import dense_keys, sealed, sparse_keys

VOICE = Path(__file__).resolve().parents[1] / "sample_scenes" / "voice_ada.flac"


@pytest.fixture(scope="module")
def person():
    return identity(load_head())


@pytest.fixture(scope="module")
def speech():
    from loquent.core.prior.generate import generate
    from loquent.core.speech.audio import read_audio

    audio = read_audio(VOICE)
    return {fps: generate(audio, fps=fps, seed=0) for fps in (24, 60)}


def curves(keys, frames: int, start: int) -> np.ndarray:
    """(T, C) what the keys show at every frame."""
    at = np.arange(frames) + start
    return np.stack([evaluate(keys[name], at) for name in CHANNELS], 1).astype(np.float32)


def furthest(person, a: np.ndarray, b: np.ndarray) -> float:
    """Millimetres between the vertices of two motions, at the worst vertex and frame."""
    worst = 0.0
    for i in range(0, len(a), 60):
        off = pose_vertices(person, a[i : i + 60]) - pose_vertices(person, b[i : i + 60])
        worst = max(worst, float(np.linalg.norm(off, axis=2).max()))
    return worst * 1e3


def count(keys) -> int:
    return sum(len(k) for k in keys.values())


@pytest.mark.parametrize(("fps", "fewer"), [(24, 6), (60, 12)])
def test_speech_takes_many_times_fewer_keys_and_no_vertex_is_further_off_than_stated(person, speech, fps, fewer):
    motion = speech[fps]
    keys = sparse_keys(motion, 7)
    assert count(dense_keys(motion, 7)) >= fewer * count(keys)
    assert furthest(person, curves(keys, len(motion), 7), motion.values) <= 0.3
    assert furthest(person, curves(keys, len(motion), 7), motion.values) > 0.1  # the bound is used


@pytest.mark.parametrize("millimetres", [0.05, 1.0])
def test_a_bound_that_is_asked_for_is_kept(person, speech, millimetres):
    motion = speech[24]
    keys = sparse_keys(motion, 0, millimetres)
    assert furthest(person, curves(keys, len(motion), 0), motion.values) <= millimetres
    assert (count(keys) > count(sparse_keys(motion, 0))) == (millimetres < 0.3)


@pytest.mark.parametrize("fps", [24, 60])
def test_where_the_lips_are_shut_they_stay_shut(speech, fps):
    motion = speech[fps]
    shut = sealed(motion)
    assert shut.sum() > 10
    shown = curves(sparse_keys(motion, 0), len(motion), 0)
    for name in ("jawOpen", "mouthClose"):
        assert np.abs(shown[shut, INDEX[name]] - motion.column(name)[shut]).max() < 2e-4


def test_keys_lie_on_whole_frames_and_on_the_dense_curve_with_aligned_handles(speech):
    motion = speech[24]
    for name, keys in sparse_keys(motion, 5).items():
        at = keys.frames.astype(int) - 5
        assert np.array_equal(keys.frames, at + 5) and (np.diff(at) > 0).all()
        assert np.array_equal(keys.values, motion.column(name)[at])
        if len(keys) > 1:
            assert (keys.kinds[:, 0] == BEZIER).all()
            left, right = keys.numbers[:, :2] - keys.numbers[:, 2:4], keys.numbers[:, 4:6] - keys.numbers[:, :2]
            assert np.allclose(left[:, 0] * right[:, 1], right[:, 0] * left[:, 1], atol=1e-5)


def test_what_stands_still_is_kept_exactly_still_and_a_constant_takes_one_key():
    jaw = np.concatenate([np.zeros(20), np.sin(np.linspace(0, np.pi, 9)) * 0.5, np.zeros(30)])
    keys = sparse_keys(Motion.rest(len(jaw), 25).with_columns({"jawOpen": jaw, "headYaw": 0.2}), 1)
    assert len(keys["tongueOut"]) == len(keys["headYaw"]) == 1 and keys["headYaw"].values[0] == np.float32(0.2)
    shown = evaluate(keys["jawOpen"], np.arange(1, len(jaw) + 1, 0.25))
    assert (shown[: 19 * 4] == 0).all() and (shown[31 * 4 :] == 0).all()


def test_a_single_blink_is_a_handful_of_keys_with_one_at_its_peak():
    blink = np.exp(-0.5 * ((np.arange(100) - 40) / 2.5) ** 2)
    blink[np.abs(np.arange(100) - 40) > 9] = 0
    keys = sparse_keys(Motion.rest(100, 25).with_columns({"eyeBlinkLeft": blink}), 0)["eyeBlinkLeft"]
    assert 40 in keys.frames and 4 < len(keys) < 14


@settings(max_examples=25)
@given(frames=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_noise_of_any_length_is_within_the_bound_too(person, frames, seed):
    rng = np.random.default_rng(seed)
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    lively = rng.random(len(CHANNELS)) < 0.2
    values[:, lively] = rng.random((frames, int(lively.sum()))) * 0.2
    keys = sparse_keys(Motion(24, values), 0)
    assert set(keys) == set(CHANNELS)
    assert furthest(person, curves(keys, frames, 0), values) <= 0.3
