# SPDX-License-Identifier: GPL-3.0-or-later
"""What fitting a voice is worth: python -m loquent.tools.speech.fit_bench [FACEGOOD] [--regression]

Of each capture the first 60 s (at most 60 %) are fitted, the last fifth is scored; nothing in between and nothing of the last
fifth is seen by the fit. Rows: the person's mean face, the loudness envelope (eight curves of it, mapped to all channels by
regression on the same first part), the network's default, its zero-shot style, the fitted style. Figures are root mean squares
over the captured channels (0..1 units) and the correlation of the jaw. 1114_3_15 is a take that no training has seen.
"""

import argparse
from pathlib import Path

import numpy as np

from ...core.adapt.voice import Heard, fit_voice
from ...core.head.motion import CHANNELS, INDEX, Motion
from ...core.prior.generate import listen
from ...core.prior.model import Prior, load_prior
from ...core.prior.mouth import MOUTH, OUTPUTS, RATE, sides
from ...core.prior.regression import Regression, load_regression, loudness
from ...core.speech.audio import RATE as SAMPLES
from ...core.speech.audio import Audio, read_audio
from ...core.speech.encoder import speech_gain
from . import facegood

FACEGOOD = Path(__file__).resolve().parents[3] / "shared" / "data" / "facegood"
KNOWN = facegood.CAPTURED[: len(MOUTH)] > 0


def as_motion(folder: Path, clip: str, seconds: float) -> Motion:
    """The capture as a user would bring it: a Motion at 60 fps."""
    curves = facegood.curves(folder, clip, int(seconds * 50))
    frames = int(seconds * 60)
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    for i, name in enumerate(MOUTH):
        for side in sides(name):
            values[:, INDEX[side]] = np.interp(np.arange(frames) / 60, np.arange(len(curves)) / 50, curves[:, i])
    return Motion(60, np.clip(values, 0, 1))


def scores(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    error = np.sqrt(np.square((np.clip(found, 0, 1) - truth)[:, KNOWN]).mean())
    return float(error), float(np.corrcoef(found[:, 0] + 1e-9 * np.arange(len(found)), truth[:, 0])[0, 1])


def envelope(audio: Audio, truth: np.ndarray, cut: int, part: slice) -> np.ndarray:
    levels = loudness(audio.samples, speech_gain(audio.samples))
    at = np.arange(len(truth)) / RATE * 50
    curves = [
        np.convolve(x, np.ones(k) / k, "same")
        for k in (1, 5, 9, 15)
        for x in (np.maximum(levels, -60), 10 ** (levels / 20))
    ]
    x = np.stack([np.interp(at, np.arange(len(c)), c) for c in curves] + [np.ones(len(at))], 1)
    w = np.linalg.solve(x[:cut].T @ x[:cut] + 1e-4 * np.eye(x.shape[1]), x[:cut].T @ truth[:cut])
    return x[part] @ w


def rows(model: Prior | Regression, folder: Path, clip: str) -> list[tuple[str, float, float]]:
    audio = read_audio(folder / f"{clip}.wav")
    seconds = min(audio.seconds, len(facegood.weights(folder, clip)) / facegood.FPS)
    fitted = min(60.0, 0.6 * seconds)
    truth = facegood.curves(folder, clip, int(seconds * 50))[:, : len(MOUTH)]
    at = np.arange(int(seconds * RATE)) / RATE * 50
    truth = np.stack([np.interp(at, np.arange(len(truth)), c) for c in truth.T], 1)
    part, cut = slice(int(0.8 * len(truth)), len(truth)), int(fitted * RATE)
    heard = Heard(Audio(audio.samples[: int(fitted * SAMPLES)]), model)
    motion = as_motion(folder, clip, fitted)

    def spoken(style: object) -> np.ndarray:
        curves = listen(audio, style=style, model=model).curves  # type: ignore[arg-type]
        rest = curves[part, OUTPUTS.index("rest")][:, None]
        return curves[part, : len(MOUTH)] * (1 - rest)

    quick, fit = (fit_voice(heard, motion, zero_shot=z) for z in (True, False))
    found = {
        "mean face": np.repeat(truth[:cut].mean(0)[None], part.stop - part.start, 0),
        "loudness envelope": envelope(audio, truth, cut, part),
        "default style": spoken(None), "zero-shot": spoken(quick.style), "fitted": spoken(fit.style),
    }  # fmt: skip
    return [(name, *scores(curves, truth[part])) for name, curves in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FACEGOOD)
    parser.add_argument("--regression", action="store_true", help="the plain regression in place of the prior")
    arguments = parser.parse_args()
    model = load_regression(threads=1) if arguments.regression else load_prior(threads=1)
    table = {clip: rows(model, arguments.folder, clip) for clip in facegood.CLIPS}
    print(f"{'rms error (jaw r), last fifth':32}" + "".join(f"{clip:>16}" for clip in table) + f"{'mean':>16}")
    for k, (name, *_) in enumerate(next(iter(table.values()))):
        cells = [found[k][1:] for found in table.values()]
        print(f"{name:32}" + "".join(f"{e:>9.4f} ({r:4.2f})" for e, r in [*cells, tuple(np.mean(cells, 0))]))


if __name__ == "__main__":
    main()
