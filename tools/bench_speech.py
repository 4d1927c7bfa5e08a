# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech to motion, measured: captured jaws, closures on the samples, stillness in silence, speed.

    python3.11 dev.py bench speech [--json FILE]

Baselines beside the figures: the loudness envelope at its best lag and smoothing, and a ridge regression on log-mel with its
best lag, both given each clip's own first 80 %. Closures are measured on the built-in head, between the inner lips.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from loquent.core.assets import DATA
from loquent.core.head.head import Identity, identity, load_head, pose_vertices
from loquent.core.head.motion import Motion
from loquent.core.prior.generate import Controls, generate
from loquent.core.prior.mouth import OUTPUTS
from loquent.core.prior.regression import SpeechModel, load_speech_model, loudness, mouth_curves
from loquent.core.speech.audio import read_audio
from loquent.core.speech.encoder import log_mel, speech_gain
from loquent.tools.speech import articulation, facegood

ROOT = Path(__file__).resolve().parent.parent
FACEGOOD = ROOT.parent / "shared" / "data" / "facegood"
SAMPLES = ("voice_ada", "voice_bruno", "voice_ada_fr")
PAIRS = tuple((f"lip_upper_{side}", f"lip_lower_{side}") for side in ("middle", "left", "right"))
FPS = 50
STILL = Controls(blink_rate=0, head_motion=0, gaze=0, brows=0)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def shifted(x: np.ndarray, frames: int) -> np.ndarray:
    return np.roll(x, frames)


def envelope_score(levels: np.ndarray, truth: np.ndarray, part: slice) -> float:
    """Best correlation of the loudness on `part`, over lags of +-200 ms, smoothing of 0 to 160 ms, and dB or amplitude."""
    best = -1.0
    for curve in (np.maximum(levels, -60), 10 ** (levels / 20), 10 ** (levels / 40)):
        for smoothing in (0, 1, 2, 3, 4, 6, 8):
            kernel = np.exp(-0.5 * (np.arange(-24, 25) / max(smoothing, 1e-3)) ** 2)
            smooth = np.convolve(curve, kernel / kernel.sum(), "same")
            best = max(best, *(correlation(shifted(smooth, lag)[part], truth[part]) for lag in range(-10, 11)))
    return best


def ridge_score(mel: np.ndarray, truth: np.ndarray, train: slice, part: slice) -> float:
    """Best correlation over lags of a ridge regression from 20 log-mel bands with 80 ms of context to each side."""
    bands = mel.T.reshape(len(truth), 2, 20, 4).mean((1, 3))
    best = -1.0
    for lag in range(-6, 7, 2):
        x = np.concatenate([shifted(bands, lag + k) for k in (-4, -2, 0, 2, 4)] + [np.ones((len(truth), 1))], 1).astype(
            float
        )
        w = np.linalg.solve(x[train].T @ x[train] + 3 * np.eye(x.shape[1]), x[train].T @ truth[train])
        best = max(best, correlation(x[part] @ w, truth[part]))
    return best


def facegood_table(model: SpeechModel) -> tuple[list[tuple], dict[str, float]]:
    """Rows (clip, ours, ours as the actor, envelope, ridge, frames) on the last 20 % of every clip, and the whole unseen one."""
    rows = []
    jaw = OUTPUTS.index("jawOpen")
    for clip in facegood.CLIPS:
        audio = read_audio(FACEGOOD / f"{clip}.wav")
        gain = speech_gain(audio.samples)
        curves = mouth_curves(model, audio)[::2]
        actor = mouth_curves(model, audio, {"jawOpen": 1.0})[::2, jaw]
        rest = curves[:, OUTPUTS.index("rest")]
        ours = curves[:, jaw] * (1 - rest)
        frames = min(len(curves), int(len(facegood.weights(FACEGOOD, clip)) / 30 * 50))
        truth = facegood.curves(FACEGOOD, clip, frames)[:, jaw].astype(float)
        levels, mel = loudness(audio.samples, gain)[:frames], log_mel(audio.samples * np.float32(gain))[:, : 2 * frames]
        cut = int(facegood.TRAIN_SHARE * frames)
        for name, part in ((clip, slice(cut, frames)), (f"{clip} whole", slice(0, frames))):
            if name.endswith("whole") and clip != facegood.NEVER_TRAINED:
                continue
            ridge = ridge_score(mel, truth, slice(0, cut), part) if not name.endswith("whole") else float("nan")
            scores = (correlation(ours[:frames][part], truth[part]), correlation(actor[:frames][part], truth[part]))
            rows.append((name, *scores, envelope_score(levels, truth, part), ridge, part.stop - part.start))
    held = rows[: len(facegood.CLIPS)]
    names = ("jaw_r", "jaw_r_actor", "jaw_r_envelope", "jaw_r_ridge")
    figures = {name: float(np.mean([row[i + 1] for row in held])) for i, name in enumerate(names)}
    figures["jaw_r_unseen_clip"] = rows[-1][1]
    figures["jaw_r_unseen_clip_envelope"] = rows[-1][3]
    return rows, figures


def lip_gaps(person: Identity, motion: Motion) -> np.ndarray:
    """(T,) millimetres between the inner lips at the middle of the mouth and half way to the corners: the widest; <= 0 touches."""
    vertices = pose_vertices(person, motion.values)
    marks = person.head.landmarks
    return 1e3 * np.max([vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in PAIRS], axis=0)


def closure_counts(gaps: np.ndarray, fps: float, phones: articulation.Phones) -> dict[str, tuple[int, int]]:
    """(found, of) closures of p b m, and of vowels wrongly closed; shut is below 0.1 of the clip's 95th percentile."""
    limit = 0.1 * np.percentile(gaps, 95)
    simple = articulation.simple_phones(phones)
    counts = {"closed": [0, 0], "false": [0, 0]}
    for symbol, begin, end in simple:
        if symbol in articulation.SEALED:
            near = gaps[max(0, int(np.ceil((begin - 0.04) * fps))) : int((end + 0.04) * fps) + 1]
            counts["closed"][0] += bool(len(near) and near.min() < limit)
            counts["closed"][1] += 1
        elif symbol in articulation.VOWELS and end - begin > 0.04:
            middle = (begin + end) / 2
            inside = gaps[
                int(np.ceil((middle - 0.25 * (end - begin)) * fps)) : int((middle + 0.25 * (end - begin)) * fps) + 1
            ]
            counts["false"][0] += bool(len(inside) and inside.max() < limit)
            counts["false"][1] += bool(len(inside))
    return {k: (v[0], v[1]) for k, v in counts.items()}


def sample_table(model: SpeechModel, fps: float) -> tuple[list[tuple], dict[str, float]]:
    person = identity(load_head())
    rows, totals, quiet, loud = [], np.zeros((2, 2), int), [], []
    for name in SAMPLES:
        phones = [
            tuple(p) for p in json.loads((ROOT / "sample_scenes" / f"{name}.phones.json").read_text("utf8"))["phones"]
        ]
        motion = generate(read_audio(ROOT / "sample_scenes" / f"{name}.flac"), fps=fps, controls=STILL, model=model)
        gaps = lip_gaps(person, motion)
        counts = closure_counts(gaps, fps, phones)
        totals += np.array([counts["closed"], counts["false"]])
        speed = np.abs(np.diff(np.maximum(gaps, 0))) * fps
        pause = longest_pause(phones)
        inside = slice(int((pause[0] + 0.2) * fps) + 1, int((pause[1] - 0.18) * fps))
        quiet.append(speed[inside])
        loud.append(speed[int(phones[0][1] * fps) : int(phones[-1][2] * fps)])
        rows.append(
            (name, counts["closed"], counts["false"], float(np.percentile(gaps, 95)), float(np.max(gaps[inside])))
        )
    figures = {
        "closure_recall_sample": totals[0, 0] / totals[0, 1],
        "false_closure_sample": totals[1, 0] / totals[1, 1],
        "silence_ratio_sample": float(np.concatenate(quiet).mean() / np.concatenate(loud).mean()),
    }
    return rows, figures


def longest_pause(phones: articulation.Phones) -> tuple[float, float]:
    """Begin and end of the longest stretch between phones that sound."""
    sounding = [p for p in phones if p[0] != "_"]
    return max(((a[2], b[1]) for a, b in pairwise(sounding)), key=lambda pause: pause[1] - pause[0])


def speed_figures(model: SpeechModel) -> dict[str, float]:
    audio = read_audio(ROOT / "sample_scenes" / "voice_ada.flac")
    times = []
    for run in range(4):
        started = time.perf_counter()
        generate(audio, fps=25, seed=run, model=model)
        times.append((time.perf_counter() - started) / audio.seconds)
    code = (
        "import time; t = time.perf_counter()\n"
        "from loquent.core.prior.generate import generate\nfrom loquent.core.speech.audio import read_audio\n"
        f"generate(read_audio({str(ROOT / 'sample_scenes' / 'voice_ada.flac')!r}), fps=25)\nprint(time.perf_counter() - t)"
    )
    cold = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    weights = sum((DATA / name).stat().st_size for name in ("encoder.onnx", "regression.onnx")) / 1e6
    return {"speech_s_per_s": min(times), "speech_cold_s": float(cold), "weights_mb": weights}


def main(json_path: Path | str | None = None) -> None:
    model = load_speech_model()
    figures: dict[str, float] = {}
    if FACEGOOD.is_dir():
        rows, found = facegood_table(model)
        figures |= found
        print("Correlation with the captured jaw, last 20 % of each clip (never trained on; 1114_3_15 wholly unseen)")
        print(f"{'clip':<20}{'ours':>8}{'as actor':>10}{'envelope':>10}{'ridge':>8}{'frames':>8}")
        for clip, ours, actor, envelope, ridge, frames in rows:
            ridge_text = "-" if np.isnan(ridge) else f"{ridge:.3f}"
            print(f"{clip:<20}{ours:>8.3f}{actor:>10.3f}{envelope:>10.3f}{ridge_text:>8}{frames:>8}")
        print(
            f"{'mean':<20}{found['jaw_r']:>8.3f}{found['jaw_r_actor']:>10.3f}{found['jaw_r_envelope']:>10.3f}{found['jaw_r_ridge']:>8.3f}\n"
        )
    else:
        print(f"Captured jaws: skipped, {FACEGOOD} is absent.\n")
    for fps in (50, 25):
        rows, found = sample_table(model, fps)
        if fps == FPS:
            figures |= found
        print(f"Lips on the samples at {fps} fps, measured on the built-in head")
        print(f"{'sample':<16}{'p b m closed':>14}{'false on vowels':>17}{'95 % opening':>14}{'open in pause':>15}")
        for name, closed, false, opening, pause in rows:
            print(
                f"{name:<16}{f'{closed[0]} of {closed[1]}':>14}{f'{false[0]} of {false[1]}':>17}{f'{opening:.1f} mm':>14}{f'{pause:.2f} mm':>15}"
            )
        print(
            f"recall {found['closure_recall_sample']:.3f}, false closure {found['false_closure_sample']:.3f}, "
            f"lip speed in pauses over speech {found['silence_ratio_sample']:.4f}\n"
        )
    figures |= speed_figures(model)
    print(f"{figures['speech_s_per_s']:.4f} s of compute per second of speech; first result after {figures['speech_cold_s']:.2f} s in a new "
          f"process; {figures['weights_mb']:.1f} MB of weights")  # fmt: skip
    if json_path:
        Path(json_path).write_text(json.dumps(figures, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    main(parser.parse_args().json)
