# SPDX-License-Identifier: GPL-3.0-or-later
"""Hours of sound: what is long lies in files, blocks have no seams, and memory does not grow with the recording."""

import tracemalloc

import numpy as np
import pytest

from loquent.core import room
from loquent.core.head.livelink import write_livelink
from loquent.core.head.motion import Motion
from loquent.core.prior import model
from loquent.core.prior.controls import Controls
from loquent.core.prior.generate import generate
from loquent.core.prior.model import Piece, Prior, joined
from loquent.core.prior.mouth import CLEAR_REACH, MOUTH, OUTPUTS, STATES, clearness, decided, eased, finer
from loquent.core.prior.perform import Raw, perform
from loquent.core.speech.audio import RATE, Audio


class Network:
    """Answers like the sessions of the prior, at once."""

    def run(self, _, given):
        if "noisy" in given:
            return [0.1 * given["noisy"]]
        frames = given["features"].shape[1]
        mean = 0.5 + 0.3 * np.sin(0.7 * np.arange(frames)[:, None] + np.arange(len(MOUTH)))
        states = np.where(np.arange(2 * frames)[:, None] % 60 < 12, 6.0, -6.0) + np.zeros(len(STATES))
        return [np.zeros((1, frames, 128), np.float32), mean[None].astype(np.float32), states[None].astype(np.float32)]


@pytest.fixture
def prior(monkeypatch):
    monkeypatch.setattr(model, "encode", lambda encoder, mel: np.zeros((mel.shape[1] // 2, 384), np.float32))
    styles = {name: np.zeros(model.STYLE, np.float32) for name in model.STYLE_NAMES}
    return Prior(None, Network(), Network(), None, np.full(len(MOUTH), 0.2, np.float32), styles)  # type: ignore[arg-type]


def sound(minutes: float) -> np.ndarray:
    """Syllables of a buzz, written block by block into room that may be a file."""
    samples = room.room((int(minutes * 60 * RATE),))
    t = np.arange(10 * RATE) / RATE
    piece = (0.2 * np.sign(np.sin(2 * np.pi * 120 * t)) * (np.sin(2 * np.pi * 1.5 * t) > -0.3)).astype(np.float32)
    for begin in range(0, len(samples), len(piece)):
        samples[begin : begin + len(piece)] = piece[: len(samples) - begin]
    return samples


def test_memory_does_not_grow_from_one_minute_to_eight(prior, monkeypatch, tmp_path):
    """With the line between memory and files drawn lower, so that minutes stand for hours: the whole way from sound to a take."""
    monkeypatch.setattr(room, "LARGE", 1 << 16)
    monkeypatch.setattr(room, "BLOCK", 1 << 11)

    def peak(minutes: float) -> float:
        samples = sound(minutes)
        tracemalloc.start()
        motion = generate(Audio(samples), fps=30, model=prior)
        write_livelink(motion, tmp_path / "take.csv")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(motion) == 1800 * minutes
        return found / 1e6

    peak(0.1)  # what is made once
    short, long = peak(1), peak(8)
    assert long < short + 1, (
        f"{short:.1f} MB for a minute, {long:.1f} MB for eight"
    )  # channels and curves of seven: 6.6


def test_curves_made_in_blocks_are_those_made_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    pieces = [
        Piece(
            *(
                k * rng.random(shape).astype(np.float32)
                for k, shape in ((1, (n, len(MOUTH))), (1, (2 * n, len(STATES))), (-30, (n,)))
            )
        )
        for n in (400, 37, 1, 250)
    ]
    monkeypatch.setattr(room, "BLOCK", 50)
    curves, levels = joined(iter(pieces), 688)
    channels, states = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("channels", "states"))
    lively = np.array([model.LIVELY.get(name, 1.0) for name in MOUTH], np.float32)
    made = finer(channels) * lively
    made[:, 0] += (
        model.LOUD * finer(model.loud_jaw(np.pad(levels, 7, "edge"))[:, None])[:, 0] * eased(made[:, 0], 0.02, 0.09)
    )
    assert np.array_equal(curves[:, 1 : len(MOUTH)], made[:, 1:])
    assert np.abs(curves[:, 0] - made[:, 0]).max() < 1e-6
    clear = clearness(np.pad(levels, CLEAR_REACH, "edge"))
    assert np.array_equal(curves[:, len(MOUTH) :], decided(states, clear))
    assert np.array_equal(levels, np.concatenate([p.levels for p in pieces]))


@pytest.mark.parametrize("fps", [23.976, 60.0])
def test_a_performance_made_in_blocks_has_no_seams(fps, monkeypatch):
    rng = np.random.default_rng(1)
    frames = 1500
    curves = np.cumsum(rng.normal(0, 0.02, (2 * frames, len(OUTPUTS))), 0) % 1.0
    curves[:, len(MOUTH) :] = decided(rng.random((2 * frames, len(STATES))) ** 6)
    pitch = np.where(rng.random(frames) < 0.5, rng.normal(5, 3, frames), np.nan)
    raw = Raw(curves.astype(np.float32), rng.normal(-30, 10, frames), pitch, frames / 50)
    controls = Controls(delay_seconds=0.04, smoothing=0.03, happy=0.4)
    whole = perform(raw, controls, fps=fps, seed=3).values
    monkeypatch.setattr(room, "BLOCK", 64)
    assert np.abs(perform(raw, controls, fps=fps, seed=3).values - whole).max() < 1e-5


def test_a_take_written_in_blocks_is_the_one_written_at_once(tmp_path, monkeypatch):
    motion = Motion(30.0, np.random.default_rng(2).uniform(-0.2, 0.9, (150, 65)).astype(np.float32))
    write_livelink(motion, tmp_path / "once.csv")
    monkeypatch.setattr(room, "BLOCK", 7)
    write_livelink(motion, tmp_path / "blocks.csv")
    assert (tmp_path / "once.csv").read_bytes() == (tmp_path / "blocks.csv").read_bytes()


def test_without_a_place_for_files_long_arrays_stay_in_memory(monkeypatch):
    def nowhere():
        raise OSError("read-only")

    monkeypatch.setattr(room.tempfile, "TemporaryFile", nowhere)
    monkeypatch.setattr(room, "LARGE", 64)
    made = room.room((10, 4))
    made[:] = 2
    assert made.shape == (10, 4) and made.sum() == 80


def test_in_clear_speech_a_faint_peak_is_no_closure_and_in_noise_it_is():
    states = np.zeros((200, len(STATES)), np.float32)
    states[90:100, STATES.index("seal")] = 0.2
    loud, gap = np.full(100 + 2 * CLEAR_REACH, -20.0), slice(45 + CLEAR_REACH, 50 + CLEAR_REACH)
    clear, noisy = loud.copy(), loud.copy()
    clear[gap], noisy[gap] = -55, -28
    assert clearness(clear)[94] == 1 and clearness(noisy)[94] == 0
    seal = STATES.index("seal")
    assert decided(states, clearness(clear))[94, seal] == 0
    assert decided(states, clearness(noisy))[94, seal] == 1
    states[90:100, seal] = 0.3
    assert decided(states, clearness(clear))[94, seal] == 1
