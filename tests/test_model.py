# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped prior: any length without seams, seeded, streaming equal to one-shot."""

from pathlib import Path

import numpy as np
import pytest

from loquent.core.assets import DATA
from loquent.core.errors import Cancelled, MotionError
from loquent.core.head.motion import GROUPS, INDEX
from loquent.core.prior.controls import Controls
from loquent.core.prior.generate import NATURAL, generate, generate_live, listen
from loquent.core.prior.model import KEEP, Sampling, frame_noise, joined, load_prior, prior_curves, stream
from loquent.core.prior.mouth import MOUTH, OUTPUTS
from loquent.core.speech.audio import RATE, Audio, read_audio
from loquent.core.speech.encoder import frame_count, speech_gain

SCENES = Path(__file__).parent.parent / "sample_scenes"
JAW = OUTPUTS.index("jawOpen")
MOUTH_CHANNELS = [INDEX[n] for g in ("Jaw", "Lips", "Cheeks and Nose") for n in GROUPS[g]]


@pytest.fixture(scope="module")
def model():
    return load_prior(threads=1)


@pytest.fixture(scope="module")
def style(model):
    return model.mixed_style(NATURAL)


@pytest.fixture(scope="module")
def minute():
    """Sixty seconds of two voices taking turns: eight windows of the network."""
    parts = [read_audio(SCENES / f"{name}.flac").samples for name in ("voice_ada", "voice_bruno")]
    return Audio(np.resize(np.concatenate(parts), 60 * RATE))


@pytest.fixture(scope="module")
def curves(model, style, minute):
    return prior_curves(model, minute, style=style)[0]


def test_a_minute_of_speech_has_no_jump_where_windows_meet(curves):
    """At borders the largest change from frame to frame is what it is anywhere, and so is the usual one."""
    steps = np.abs(np.diff(curves[::2, : len(MOUTH)], axis=0))
    borders = np.arange(KEEP, len(steps), KEEP)
    near = np.stack([steps[b - 4 : b + 16] for b in borders])
    assert near.max(1).max(0)[JAW] <= steps[:, JAW].max() * 1.05
    usual = np.sqrt(np.square(steps).mean(0))
    there = np.sqrt(np.square(near).mean((0, 1)))
    lively = usual > 1e-3
    assert (there[lively] < 1.6 * usual[lively]).all(), dict(zip(MOUTH, there / usual, strict=True))
    jerks = np.abs(np.diff(curves[::2, JAW], 3))
    at = np.abs(np.arange(len(jerks))[:, None] - borders).min(1) < 4
    assert np.percentile(jerks[at], 90) < 2 * np.percentile(jerks[~at], 90)


def test_the_same_sentence_is_said_alike_wherever_it_stands(model, style):
    """Between two and ten seconds later in the recording, over window borders, with the same noise asked of it: none."""
    ada = read_audio(SCENES / "voice_ada.flac").samples
    gain, still = speech_gain(ada), Sampling(variety=0.0)
    alone = joined(stream(model, [ada], gain=gain, style=style, sampling=still))[0]
    for seconds in (2, 7):
        later = np.concatenate((np.zeros(seconds * RATE, np.float32), ada))
        moved = joined(stream(model, [later], gain=gain, style=style, sampling=still))[0][seconds * 100 :]
        count = min(len(alone), len(moved))
        apart = np.abs(alone[20:count, : len(MOUTH)] - moved[20:count, : len(MOUTH)])
        assert apart.mean() < 0.02 and np.corrcoef(alone[20:count, JAW], moved[20:count, JAW])[0, 1] > 0.97


@pytest.mark.parametrize("size", [997, 16000, 10**9])
def test_streaming_equals_one_shot_however_the_sound_is_cut(model, style, minute, curves, size):
    samples = minute.samples[: 21 * RATE]
    chunks = (samples[at : at + size] for at in range(0, len(samples), size))
    streamed, levels = joined(stream(model, chunks, gain=speech_gain(samples), style=style))
    whole, expected = prior_curves(model, Audio(samples), style=style)
    assert np.array_equal(streamed, whole) and np.array_equal(levels, expected)


def test_a_piece_comes_before_the_sound_is_over_and_needs_little_more_than_itself(model, style, minute):
    heard = [0]

    def microphone():
        for at in range(0, len(minute.samples), 1600):
            heard[0] += 1600
            yield minute.samples[at : at + 1600]

    gain, spoken = speech_gain(minute.samples), 0
    for piece in stream(model, microphone(), gain=gain, style=style, sampling=Sampling(steps=1), keep=50):
        spoken += len(piece.channels) / 50
        assert heard[0] / RATE - spoken < 1.5 + 0.13 or heard[0] >= len(minute.samples)


@pytest.mark.parametrize("fps", [23.976, 25, 60])
def test_the_live_mouth_is_the_mouth_of_one_shot(model, minute, fps):
    samples = minute.samples[: 20 * RATE + 77]
    controls = Controls(mouth_only=True, delay_seconds=0.05)
    chunks = (samples[at : at + 800] for at in range(0, len(samples), 800))
    pieces = list(generate_live(chunks, fps=fps, gain=speech_gain(samples), controls=controls, model=model, keep=KEEP))
    live = np.concatenate([p.values for p in pieces])
    whole = generate(Audio(samples), fps=fps, controls=controls, model=model).values
    assert live.shape == whole.shape
    assert np.abs(live - whole)[:, MOUTH_CHANNELS].max() < 1e-4


def test_the_seed_decides_how_the_sound_is_said_and_closures_are_not_its_affair(model, style):
    audio = read_audio(SCENES / "voice_ada.flac")
    a, b, c = (prior_curves(model, audio, seed=s, style=style)[0] for s in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.array_equal(a[:, len(MOUTH) :], c[:, len(MOUTH) :])  # states are heard, not drawn
    assert np.corrcoef(a[:, JAW], c[:, JAW])[0, 1] > 0.8
    still = [prior_curves(model, audio, seed=s, style=style, sampling=Sampling(variety=0.0))[0] for s in (1, 2)]
    assert np.array_equal(*still)


def test_noise_belongs_to_its_frame():
    whole = frame_noise(7, 0, 500)
    assert np.array_equal(frame_noise(7, 130, 333), whole[130:333])
    assert not np.array_equal(frame_noise(8, 130, 333), whole[130:333])
    assert abs(whole.mean()) < 0.05 and abs(whole.std() - 1) < 0.05


def test_styles_move_the_mouth_from_one_manner_to_the_other(model):
    audio = read_audio(SCENES / "voice_ada.flac")
    plain = Sampling(variety=0.0)
    ends = [
        listen(audio, style=model.styles[n], sampling=plain, model=model).curves for n in ("articulated", "captured")
    ]
    middle = listen(audio, style=model.mixed_style(0.5), sampling=plain, model=model).curves
    wide = np.abs(ends[0] - ends[1])[:, : len(MOUTH)].mean(0)
    assert wide.max() > 0.01
    between = np.abs(middle - (ends[0] + ends[1]) / 2)[:, : len(MOUTH)].mean(0)
    assert between.mean() < 0.6 * wide.mean()


@pytest.mark.parametrize("samples", [1, 319, 321, 8000])
def test_the_shortest_recordings_work(model, style, samples):
    curves, levels = prior_curves(model, Audio(np.full(samples, 0.1, np.float32)), style=style)
    assert len(levels) == frame_count(samples) and len(curves) == 2 * len(levels) and np.isfinite(curves).all()


def test_more_steps_and_other_samplers_say_the_same_thing(model, style):
    audio = read_audio(SCENES / "voice_ada.flac")
    reference = prior_curves(model, audio, style=style, sampling=Sampling(steps=16))[0][:, JAW]
    for sampling in (
        Sampling(steps=4),
        Sampling(steps=8, sampler="euler"),
        Sampling(steps=4, sampler="heun"),
        Sampling(steps=0),
    ):
        found = prior_curves(model, audio, style=style, sampling=sampling)[0][:, JAW]
        assert np.corrcoef(found, reference)[0, 1] > 0.85, sampling


def test_a_long_recording_is_told_its_progress_and_may_be_stopped(model, style, minute):
    seen: list[float] = []
    prior_curves(model, minute, style=style, sampling=Sampling(steps=0), progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1 and len(seen) == 8

    def stop(part):
        raise Cancelled

    with pytest.raises(Cancelled):
        prior_curves(model, minute, style=style, progress=stop)


def test_memory_stays_while_the_sound_goes_on(model, style):
    """Ten minutes in chunks: what is held between pieces is seconds of sound, not minutes."""
    import tracemalloc

    rng, most = np.random.default_rng(0), []
    tracemalloc.start()
    chunks = ((0.05 * rng.normal(size=RATE)).astype(np.float32) for _ in range(600))
    for _ in stream(model, chunks, gain=1.0, style=style, sampling=Sampling(steps=0)):
        most.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(most) == 75 and most[-1] < most[5] + 1e6, most[::10]


@pytest.mark.parametrize("bad", [{"sampler": "magic"}, {"steps": -1}, {"guidance": 99.0}, {"variety": -1.0}])
def test_wrong_sampling_is_refused(bad):
    with pytest.raises(MotionError, match="expected"):
        Sampling(**bad)


def test_the_networks_are_small():
    assert sum((DATA / f"{name}.onnx").stat().st_size for name in ("speech", "denoiser", "style")) < 12e6
