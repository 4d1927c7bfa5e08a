# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain rows: the loudness of the sound as the jaw, and a ridge regression on log-mel taught by our own data.

    python -m loquent.tools.speech_bench.baselines CACHE [--facegood FOLDER]     # writes baselines.npz beside this file

CACHE holds the very hearings that our networks learned from (tools/speech/hear.py, targets.py). The ridge hears 40 log-mel bands from 120 ms before to 120 ms after a frame and answers in our own terms (the OUTPUTS of
core/prior/mouth.py), twice: after the phone-derived curves and after the captured actor; both are mixed as our regression
mixes them and go through the same enforcement of closures. The envelope's smoothing, lag, exponent and gain were fitted
to the jaw of the captures' training part. Both are therefore as good as their kind gets with what we have.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ...core.head.motion import CHANNELS, INDEX
from ...core.prior.mouth import OUTPUTS, STATES, eased, to_channels
from ...core.prior.regression import CAPTURED_SHARE, SURE, loudness
from ...core.speech.audio import Audio, read_audio
from ...core.speech.encoder import frame_count, log_mel, speech_gain
from ..speech import facegood

WEIGHTS = Path(__file__).with_name("baselines.npz")
BANDS, REACH = 40, 6
FLOOR = -60.0
RATE = 50


def hearing(samples: np.ndarray) -> np.ndarray:
    """(T, BANDS * 13 + 1) float32 at 50 Hz, the last column 1."""
    mel = log_mel(samples * np.float32(speech_gain(samples)))
    return stacked(mel.T.reshape(-1, 2 * mel.shape[0]))


def stacked(mel: np.ndarray) -> np.ndarray:
    """What the ridge hears, of log-mel (T, 160) as our networks take it: two columns of 80 a frame."""
    bands = mel.astype(np.float32).reshape(len(mel), 2, BANDS, -1).mean((1, 3))
    padded = np.pad(bands, ((REACH, REACH), (0, 0)), "edge")
    context = np.concatenate([padded[k : k + len(bands)] for k in range(2 * REACH + 1)], 1)
    return np.concatenate([context, np.ones((len(bands), 1), np.float32)], 1)


def envelope(samples: np.ndarray, exponent: float, sigma: float) -> np.ndarray:
    """(T,) smoothed loudness at 50 Hz: amplitude to the power of the exponent."""
    curve = 10 ** (np.maximum(loudness(samples, speech_gain(samples)), FLOOR) / 20 * exponent)
    kernel = np.exp(-0.5 * (np.arange(-24, 25) / max(sigma, 1e-3)) ** 2)
    return np.convolve(curve, kernel / kernel.sum(), "same")


def envelope_motion(audio: Audio) -> np.ndarray:
    """(T, 65) at 50 Hz: only the jaw moves."""
    with np.load(WEIGHTS) as w:
        exponent, sigma, lag, gain, offset = w["envelope"]
    values = np.zeros((frame_count(len(audio.samples)), len(CHANNELS)), np.float32)
    curve = gain * envelope(audio.samples, exponent, sigma) + offset
    values[:, INDEX["jawOpen"]] = np.clip(np.roll(curve, int(lag)), 0, 1)
    return values


def ridge_curves(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """OUTPUTS (T, n) at 50 Hz after the phone-derived curves, and after the captured actor."""
    x = hearing(audio.samples)
    with np.load(WEIGHTS) as w:
        return x @ w["ridge_phones"].astype(np.float32), x @ w["ridge_actor"].astype(np.float32)


def ridge_motion(audio: Audio, seal_gain: float = 1.0) -> np.ndarray:
    """(T, 65) at 50 Hz; seal_gain lifts the state that a least-squares answer never dares to call certain."""
    phones, actor = ridge_curves(audio)
    share = np.array([CAPTURED_SHARE.get(name, 0.0) for name in OUTPUTS], np.float32)
    curves = phones + share * (actor - phones)
    for state in STATES:
        column = OUTPUTS.index(state)
        curves[:, column] = eased(curves[:, column] * (seal_gain if state != "rest" else 1.0), *SURE[state])
    return to_channels(curves.astype(np.float32), articulation=1.0, jaw=1.0, lips=1.0)


class Squares:
    """Sums of a weighted least-squares problem, gathered clip by clip."""

    def __init__(self, features: int, outputs: int) -> None:
        self.xx, self.xy, self.rows = np.zeros((features, features)), np.zeros((features, outputs)), 0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        self.xx += (x.T @ x).astype(float)
        self.xy += (x.T @ y).astype(float)
        self.rows += len(x)

    def solved(self, penalty: float) -> np.ndarray:
        ridge = penalty * self.rows * np.eye(len(self.xx))
        ridge[-1, -1] = 0.0
        return np.linalg.solve(self.xx + ridge, self.xy)


def train(cache: Path, captures: Path, limit: int) -> dict[str, np.ndarray]:
    phones, actor = (Squares(BANDS * (2 * REACH + 1) + 1, len(OUTPUTS)) for _ in range(2))
    listed = [k for k in json.loads((cache / "index.json").read_text("utf8")) if k["split"] == "train"]
    captured = [k for k in listed if k["source"] == "facegood"]
    spoken = [k for k in listed if k["source"] != "facegood"]
    for squares, chosen in ((phones, spoken[:: max(1, len(spoken) // limit)]), (actor, captured)):
        for hearing_of in chosen:
            with np.load(cache / hearing_of["sound"]) as sound, np.load(cache / hearing_of["curves"]) as taught:
                x, y = stacked(sound["mel"]), taught["curves"].astype(np.float32)
            count = min(len(x), len(y))
            squares.add(x[:count], y[:count])
        print(f"{len(chosen)} hearings, {squares.rows / RATE / 60:.1f} minutes")
    clips = []
    for clip in facegood.CLIPS:
        if clip != facegood.NEVER_TRAINED:
            samples = read_audio(captures / f"{clip}.wav").samples
            rig = facegood.weights(captures, clip)[:, facegood.JAW]
            frames = int(facegood.TRAIN_SHARE * min(frame_count(len(samples)), len(rig) / facegood.FPS * RATE))
            clips.append((samples, np.interp(np.arange(frames) / RATE, np.arange(len(rig)) / facegood.FPS, rig)))
    return {
        "ridge_phones": phones.solved(1e-4).astype(np.float16), "ridge_actor": actor.solved(1e-3).astype(np.float16),
        "envelope": fit_envelope(clips),
    }  # fmt: skip


def fit_envelope(clips: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """exponent, sigma in frames, lag in frames, gain, offset of the envelope that follows these jaws best."""
    best: tuple[float, ...] = (-1.0,)
    truth = np.concatenate([jaw for _, jaw in clips])
    for exponent in (0.25, 0.5, 1.0):
        for sigma in (0, 1, 2, 3, 4, 6, 8):
            heard = [envelope(samples, exponent, sigma)[: len(jaw)] for samples, jaw in clips]
            for lag in range(-10, 11):
                x = np.concatenate([np.roll(h, lag) for h in heard])
                r = float(np.corrcoef(x, truth)[0, 1])
                if r > best[0]:
                    gain, offset = np.polyfit(x, truth, 1)
                    best = (r, exponent, sigma, lag, gain, offset)
    print(f"envelope: r {best[0]:.3f} on the training part; exponent, sigma, lag, gain, offset {best[1:]}")
    return np.array(best[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument(
        "--facegood", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "facegood"
    )
    parser.add_argument("--limit", type=int, default=4000, help="hearings of synthetic voices to learn from")
    given = parser.parse_args()
    weights: dict[str, Any] = train(given.cache, given.facegood, given.limit)
    np.savez(WEIGHTS, **weights)
