# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores a prior on clips that chose nothing else: `python -m loquent.tools.speech.train_evaluate --valid FILE --prior FOLDER`.

The metrics are the benchmark's (tools/speech_bench); the clips are not: FILE lists validation clips of the corpus (train_store.py),
and the captures are the last fifths of the three clips that training saw the rest of, never the one the benchmark keeps. Lips are
posed by the linear map of lips.py, which is a hundred times faster than the head and 0.03 mm away from it.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.head.head import identity, load_head, pose_vertices
from ...core.head.motion import CHANNELS, INDEX
from ...core.prior.controls import Controls
from ...core.prior.generate import NATURAL, listen
from ...core.prior.model import DEFAULT, Prior, Sampling, load_prior
from ...core.prior.mouth import MOUTH, sides
from ...core.prior.perform import perform
from ...core.prior.regression import Regression, load_regression
from ...core.speech.audio import Audio, from_samples, read_audio
from ..speech_bench import captures, metrics
from ..speech_bench.sets import Clip
from .heldout import at_five_decibels, by_telephone

FPS = 50
PAUSE = 0.9  # seconds of nothing put before and after each clip
STILL = Controls(blink_rate=0, head_motion=0, gaze=0, brows=0)
DRIVEN = tuple(INDEX[side] for name in (*MOUTH, "mouthClose") for side in sides(name))


@dataclass(frozen=True)
class QuickLips:
    """(T, 65) -> gaps (T,) and lip vertices (T, L, 3) in millimetres, linear in the mouth's channels and the jaw's products."""

    weights: np.ndarray

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = _terms(values) @ self.weights
        return found[:, -3:].max(1), found[:, :-3].reshape(len(values), -1, 3)


def _terms(values: np.ndarray) -> np.ndarray:
    mouth, jaw = values[:, DRIVEN], values[:, INDEX["jawOpen"], None]
    return np.concatenate((mouth, mouth * jaw, np.ones_like(jaw)), 1)


def quick_lips(samples: int = 400) -> QuickLips:
    rng = np.random.default_rng(0)
    values = np.zeros((samples, len(CHANNELS)), np.float32)
    values[:, DRIVEN] = rng.random((samples, len(DRIVEN))) * rng.choice((0.0, 0.3, 0.7), (samples, len(DRIVEN)))
    values[:, INDEX["jawOpen"]] = 0.6 * rng.random(samples)
    values[:, INDEX["mouthClose"]] = values[:, INDEX["jawOpen"]] * rng.random(samples)
    person = identity(load_head())
    marks, lips = person.head.landmarks, np.flatnonzero(person.head.masks["lips"] > 0.5)[::3]
    vertices = 1e3 * pose_vertices(person, values)
    gaps = [vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in metrics.PAIRS]
    targets = np.concatenate((vertices[:, lips].reshape(samples, -1), np.stack(gaps, 1)), 1)
    return QuickLips(np.linalg.lstsq(_terms(values).astype(float), targets, rcond=None)[0].astype(np.float32))


def valid_clips(path: Path, limit: int) -> list[Clip]:
    """Clips of FILE: [{path, set, phones, language, voice}]; every third again in noise and by telephone."""
    clips: list[Clip] = []
    for about in json.loads(path.read_text("utf8")):
        same = [c for c in clips if c.set == about["set"]]
        if len(same) >= limit:
            continue
        silence = np.zeros(int(PAUSE * 16000), np.float32)
        audio = Audio(np.concatenate((silence, read_audio(about["path"]).samples, silence)))
        phones = [(s, b + PAUSE, e + PAUSE) for s, b, e in about["phones"]]
        name = f"{about['set']}{len(same):03d}"
        clips.append(Clip(name, about["set"], audio, phones, about["language"], about["voice"]))
        if len(same) % 3 == 0 and about["set"] == "voices":
            noisy = at_five_decibels(audio.samples, np.random.default_rng([len(clips), 9])).astype(np.float32)
            clips.append(Clip(name + "n", "noise", Audio(noisy / max(1.0, float(np.abs(noisy).max()))), phones))
            clips.append(Clip(name + "t", "telephone", from_samples(by_telephone(audio.samples), 8000), phones))
    return clips


def scored(
    speak: Callable[[Audio, float], np.ndarray], clips: list[Clip], tails: list[captures.Capture], lips: QuickLips
) -> dict[str, float]:
    """Figures of (audio, fps) -> (T, 65)."""
    figures: dict[str, float] = {}
    counts: dict[str, metrics.Closures] = {}
    shutting, parting, still, moving = [], [], [], []
    seconds, began = 0.0, time.process_time()
    for clip in clips:
        gaps, vertices = lips(speak(clip.audio, FPS)[: clip.frames])
        seconds += clip.audio.seconds
        counts[clip.set] = counts.get(clip.set, metrics.Closures()) + metrics.count_closures(gaps, FPS, clip.phones)
        a, b = metrics.closure_lags(gaps, FPS, clip.phones)
        shutting, parting = shutting + a, parting + b
        quiet, loud = metrics.lip_speeds(vertices, FPS, clip.phones)
        still.append(quiet)
        moving.append(loud)
    for name, found in counts.items():
        figures |= {
            f"recall_{name}": found.recall,
            f"false_{name}": found.false_rate,
            f"touched_{name}": found.touched_rate,
        }
    if clips:
        figures["lag_ms"] = 1e3 * float(np.median(np.abs(shutting + parting)))
        figures["shutting_ms"], figures["parting_ms"] = (
            1e3 * float(np.median(shutting)),
            1e3 * float(np.median(parting)),
        )
        figures["silence"] = float(np.concatenate(still).mean() / np.concatenate(moving).mean())
    rows, spread = [], {}
    for tail in tails:
        values = speak(tail.clip.audio, FPS)[: len(tail.truth)]
        truth = tail.truth[: len(values)]
        seconds += tail.clip.audio.seconds
        for group, names in captures.GROUPS.items():
            columns = [INDEX[name] for name in names]
            found, true = spread.setdefault(group, [0.0, 0.0]), truth[:, columns].var(0).sum()
            spread[group] = [found[0] + float(values[:, columns].var(0).sum()), found[1] + float(true)]
        native = speak(tail.clip.audio, 30.0)
        count = min(len(native), len(tail.native))
        shaken, actor = (metrics.jerk(lips(v[:count])[1], 30.0) for v in (native, tail.native))
        jaw = INDEX["jawOpen"]
        gaps, vertices = lips(values)
        true_gaps, true_vertices = lips(truth)
        rows.append(
            {
                "jaw_r": metrics.correlation(values[:, jaw], truth[:, jaw]),
                "opening_r": metrics.correlation(gaps, true_gaps),
                "lve_mm": metrics.lip_error(vertices, true_vertices),
                "jerk": shaken / actor,
            }
        )
    for name in rows[0] if rows else ():
        figures[name] = float(np.mean([row[name] for row in rows]))
    figures |= {"var_" + name.replace(" ", "_"): ours / true for name, (ours, true) in spread.items()}
    figures["s_per_s"] = (time.process_time() - began) / max(seconds, 1e-9)
    return {name: round(value, 4) for name, value in figures.items()}


def speaker(
    model: Prior | Regression, sampling: Sampling = DEFAULT, captured: float = NATURAL, seed: int = 0
) -> Callable:
    """(audio, fps) -> (T, 65) by a model; the last recording's Raw is kept, for it is asked at two rates."""
    style = model.mixed_style(captured) if isinstance(model, Prior) else None
    held: list = [None, None]

    def speak(audio: Audio, fps: float) -> np.ndarray:
        if held[0] is not audio:
            held[:] = audio, listen(audio, model=model, seed=seed, style=style, sampling=sampling)
        return perform(held[1], STILL, fps=fps, seed=seed).values

    return speak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--prior", type=Path, help="folder of a run; without one the plain regression is scored")
    parser.add_argument("--regression", type=Path, help="weights of the regression")
    parser.add_argument("--limit", type=int, default=40, help="clips of each set")
    parser.add_argument("--steps", type=int, nargs="+", default=[DEFAULT.steps])
    parser.add_argument("--samplers", nargs="+", default=[DEFAULT.sampler])
    parser.add_argument("--guidance", type=float, nargs="+", default=[DEFAULT.guidance])
    parser.add_argument("--variety", type=float, nargs="+", default=[DEFAULT.variety])
    parser.add_argument("--captured", type=float, nargs="+", default=[NATURAL])
    parser.add_argument("--json", type=Path, help="appends one line a setting")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    clips, lips = valid_clips(arguments.valid, arguments.limit), quick_lips()
    tails = [c for c in captures.captures() if not c.whole]
    model: Prior | Regression
    if arguments.prior:
        model = load_prior(arguments.prior, threads=arguments.threads)
    else:
        model = load_regression(arguments.regression, threads=arguments.threads)
    settings = [
        ({"steps": s, "sampler": k, "guidance": g, "variety": v, "captured": c}, Sampling(s, k, g, v), c)
        for s in arguments.steps for k in arguments.samplers for g in arguments.guidance for v in arguments.variety
        for c in arguments.captured
    ]  # fmt: skip
    for about, sampling, captured in settings:
        line = (
            about
            | {"prior": str(arguments.prior or "regression")}
            | scored(speaker(model, sampling, captured), clips, tails, lips)
        )
        print(json.dumps(line), flush=True)
        if arguments.json:
            with arguments.json.open("a", encoding="utf8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
