# SPDX-License-Identifier: GPL-3.0-or-later
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquent.core.speech.audio import RATE, Audio, read_audio
from loquent.core.speech.encoder import (
    FEATURES,
    HOP,
    MELS,
    Window,
    encode,
    frame_count,
    load_encoder,
    log_mel,
    speech_gain,
    window_mel,
    windows,
)

ADA = Path(__file__).parent.parent / "sample_scenes" / "voice_ada.flac"


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(threads=1)


@pytest.fixture(scope="module")
def ada():
    return read_audio(ADA)


def test_log_mel_has_two_columns_for_each_feature_frame():
    for n in (1, HOP, HOP + 1, RATE // 2):
        assert log_mel(np.zeros(n, np.float32)).shape == (MELS, 2 * frame_count(n))


def test_log_mel_is_the_one_whisper_was_trained_on(ada):
    """Against a plain transcription of whisper.audio.log_mel_spectrogram with scipy's Fourier transform."""
    signal = pytest.importorskip("scipy.signal")
    samples = ada.samples[: RATE * 3]
    _, _, z = signal.stft(samples, window="hann", nperseg=400, noverlap=240, boundary="zeros", padded=False)
    power = np.abs(z * 200) ** 2  # scipy divides by the window's sum

    def slaney(hertz):
        return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1e-9) / 1000) / np.log(6.4) * 27)

    centres = np.interp(
        np.linspace(0, slaney(np.array(8000.0)), MELS + 2), slaney(np.arange(8001.0)), np.arange(8001.0)
    )
    bins = np.linspace(0, 8000, 201)
    bank = np.stack(
        [np.interp(bins, centres[i : i + 3], (0, 1, 0)) * 2 / (centres[i + 2] - centres[i]) for i in range(MELS)]
    )
    expected = (np.log10(np.maximum(bank @ power, 10**-6.5)) + 4) / 4
    found = log_mel(samples)
    assert np.abs(found[:, 2:-2] - expected[:, 2 : found.shape[1] - 2]).max() < 0.02


def test_a_click_is_felt_at_its_own_frame(encoder):
    samples = np.zeros(RATE, np.float32)
    samples[RATE // 2] = 1
    assert abs(int(log_mel(samples).sum(0).argmax()) - 50) <= 1


@pytest.mark.parametrize("seconds", [0.02, 0.5, 3.0, 23.0])
def test_features_come_at_50_hz_for_any_length(encoder, seconds):
    samples = np.random.default_rng(0).normal(0, 0.01, int(RATE * seconds)).astype(np.float32)
    features = encode(encoder, log_mel(samples))
    assert features.shape == (frame_count(len(samples)), FEATURES) and np.isfinite(features).all()


@given(st.integers(1, 20000), st.integers(50, 1200), st.integers(0, 100))
def test_windows_answer_for_every_frame_once_and_fit_the_encoder(frames, keep, margin):
    found = list(windows(frames, keep, margin))
    assert [f for w in found for f in range(w.keep_begin, w.keep_end)] == list(range(frames))
    for w in found:
        assert 0 <= w.begin <= w.keep_begin < w.keep_end <= w.end <= frames
        assert w.end - w.begin <= keep + 3 * margin
    assert 1000 + 3 * 75 <= 1500  # the defaults against Whisper's positions


def test_the_mel_of_a_window_does_not_depend_on_where_the_window_lies(ada):
    whole = window_mel(ada, Window(0, frame_count(len(ada.samples)), 0, 0), 1.0)
    for begin, end in ((0, 100), (37, 140), (200, frame_count(len(ada.samples)))):
        part = window_mel(ada, Window(begin, end, 0, 0), 1.0)
        assert np.allclose(part, whole[:, 2 * begin : 2 * end], atol=1e-5)


def test_speech_is_brought_to_one_level_whatever_the_recording_level(ada):
    gains = [speech_gain(ada.samples * np.float32(scale)) * scale for scale in (0.05, 0.3, 1.0)]
    assert np.allclose(gains, gains[-1], rtol=0.1)


def test_silence_is_not_amplified():
    assert speech_gain(np.zeros(RATE, np.float32)) == 1
    assert speech_gain(np.full(10, 0.5, np.float32)) == 1  # shorter than a frame
    assert speech_gain(1e-4 * np.ones(RATE, np.float32)) == 1


def test_the_shipped_encoder_tells_sounds_apart(encoder, ada):
    """Frames of one vowel are nearer to each other than to frames of silence."""
    features = encode(encoder, window_mel(Audio(ada.samples), Window(0, 355, 0, 0), speech_gain(ada.samples)))
    vowel, other, silence = features[33], features[36], features[120]

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(vowel, other) > cosine(vowel, silence) + 0.1


CARDS = {"encoder": "encoder", "regression": "regression", "speech": "speech", "denoiser": "speech", "style": "speech"}


@pytest.mark.parametrize("name", CARDS)
def test_the_model_card_speaks_of_the_weights_beside_it(name):
    data = Path(__file__).parent.parent / "core" / "data"
    digest = hashlib.sha256((data / f"{name}.onnx").read_bytes()).hexdigest()
    assert digest in (data / f"{CARDS[name]}.md").read_text("utf8")
