# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain rows: the loudness of the sound as the jaw, and a ridge regression on log-mel taught by our own data.

    python -m loquent.tools.speech_bench.baselines CORPUS [--facegood FOLDER]    # writes baselines.npz beside this file

The ridge hears 40 log-mel bands from 120 ms before to 120 ms after a frame and answers in our own terms (the OUTPUTS of
core/prior/mouth.py), twice: after the phone-derived curves and after the captured actor; both are mixed as our regression
mixes them and go through the same enforcement of closures. The envelope's smoothing, lag, exponent and gain were fitted
to the jaw of the captures' training part. Both are therefore as good as their kind gets with what we have.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ...core.head.motion import CHANNELS, INDEX
from ...core.prior.mouth import OUTPUTS, STATES, eased, to_channels
from ...core.prior.regression import CAPTURED_SHARE, SURE, loudness
from ...core.speech.audio import Audio, read_audio
from ...core.speech.encoder import frame_count, log_mel, speech_gain
from ..speech import articulation, facegood

WEIGHTS = Path(__file__).with_name("baselines.npz")
BANDS, REACH = 40, 6
FLOOR = -60.0
RATE = 50


def hearing(samples: np.ndarray) -> np.ndarray:
    """(T, BANDS * 13 + 1) float32 at 50 Hz, the last column 1."""
    mel = log_mel(samples * np.float32(speech_gain(samples)))
    bands = mel.reshape(BANDS, -1, mel.shape[1] // 2, 2).mean((1, 3)).T
    padded = np.pad(bands, ((REACH, REACH), (0, 0)), "edge")
    stacked = np.concatenate([padded[k : k + len(bands)] for k in range(2 * REACH + 1)], 1)
    return np.concatenate([stacked, np.ones((len(bands), 1), np.float32)], 1)


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


def train(corpus: Path, captures: Path, limit: int) -> dict[str, np.ndarray]:
    phones, actor = (Squares(BANDS * (2 * REACH + 1) + 1, len(OUTPUTS)) for _ in range(2))
    files = sorted(corpus.rglob("*.flac"))
    for path in files[:: max(1, len(files) // limit)]:
        about = json.loads(path.with_suffix(".json").read_text("utf8"))
        samples = read_audio(path).samples
        timed = [(s, b, e) for s, b, e in about["phones"]]
        curves = articulation.curves(timed, samples, frame_count(len(samples)))
        phones.add(hearing(samples), at_50(curves, frame_count(len(samples))))
    print(f"{phones.rows / RATE / 60:.1f} minutes of the corpus")
    clips = []
    for clip in facegood.CLIPS:
        if clip == facegood.NEVER_TRAINED:
            continue
        samples = read_audio(captures / f"{clip}.wav").samples
        frames = int(
            facegood.TRAIN_SHARE * min(frame_count(len(samples)), len(facegood.weights(captures, clip)) / 30 * RATE)
        )
        truth = facegood.curves(captures, clip, frames)
        actor.add(hearing(samples)[:frames], at_50(truth, frames))
        clips.append((samples, truth[:, OUTPUTS.index("jawOpen")]))
    print(f"{actor.rows / RATE / 60:.1f} minutes of captures")
    return {
        "ridge_phones": phones.solved(1e-4).astype(np.float16), "ridge_actor": actor.solved(1e-3).astype(np.float16),
        "envelope": fit_envelope(clips),
    }  # fmt: skip


def at_50(curves: np.ndarray, frames: int) -> np.ndarray:
    """Curves of any multiple of 50 Hz, read at 50 Hz."""
    step = max(1, round(len(curves) / frames))
    return curves[::step][:frames]


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
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--facegood", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "facegood"
    )
    parser.add_argument("--limit", type=int, default=2000, help="clips of the corpus to learn from")
    given = parser.parse_args()
    np.savez(WEIGHTS, **train(given.corpus, given.facegood, given.limit))
