# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains core/data/regression.onnx, the plain regression that the prior is measured beside.

    python -m loquent.tools.speech.train_regression --corpus FOLDER --facegood ../shared/data/facegood --cache FOLDER --out core/data/regression.onnx

First every clip is heard by the frozen encoder, once clean and a few times augmented, and kept in CACHE as one .npz; then the
network of core/prior/network.py learns from random windows. Synthetic clips teach all outputs but those only a capture
shows; captures teach what was captured. Everything follows from --seed.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...core.prior.mouth import MOUTH, OUTPUTS
from ...core.prior.network import SHAPE, Mouth, Shape
from ...core.speech.audio import read_audio
from ...core.speech.encoder import HOP, Encoder, frame_count, load_encoder
from . import articulation, augment, facegood
from .hear import hear

SYNTHETIC = np.array(
    [name not in ("mouthFrown", "mouthShrugLower", "mouthShrugUpper", "jawForward", "noseSneer") for name in OUTPUTS],
    np.float32,
)
WEIGHT = np.array(
    [
        {"jawOpen": 4.0, "mouthPucker": 2.0, "mouthFunnel": 2.0, "mouthLowerDown": 2.0}.get(name, 1.0)
        for name in OUTPUTS
    ],
    np.float32,
)


@dataclass(frozen=True)
class Clip:
    """One hearing of one clip: features (T, 384) and mel (T, 160) float16, curves (T, 20) float16, and whose curves they are."""

    features: np.ndarray
    mel: np.ndarray
    curves: np.ndarray
    style: int


def synthetic_clips(encoder: Encoder, facts: Path, hearings: int) -> list[Clip]:
    about = json.loads(facts.read_text("utf8"))
    dry = read_audio(facts.with_suffix(".flac")).samples
    rng = np.random.default_rng([int(facts.stem), sum(facts.parent.name.encode())])
    clips = []
    for hearing in range(hearings):
        samples, factor = (dry, 1.0) if hearing == 0 else augment.speed(dry, rng)
        before, after = int(rng.uniform(0.1, 0.8) * 16000), int(rng.uniform(0.1, 0.8) * 16000)
        samples = np.concatenate((np.zeros(before, np.float32), samples, np.zeros(after, np.float32)))
        phones = [(s, b / factor + before / 16000, e / factor + before / 16000) for s, b, e in about["phones"]]
        curves = articulation.curves(phones, samples, frame_count(len(samples)))
        heard = samples if hearing == 0 else augment.recording(samples, rng)
        clips.append(Clip(*hear(encoder, heard), curves.astype(np.float16), 0))
    return clips


def captured_clips(encoder: Encoder, folder: Path, hearings: int) -> list[Clip]:
    clips = []
    for number, name in enumerate(facegood.CLIPS):
        if name == facegood.NEVER_TRAINED:
            continue
        whole = read_audio(folder / f"{name}.wav").samples
        dry = whole[: int(facegood.TRAIN_SHARE * len(whole)) // HOP * HOP]
        truth = facegood.curves(folder, name, len(dry) // HOP)
        rng = np.random.default_rng([number, 7])
        for hearing in range(hearings):
            samples, factor = (dry, 1.0) if hearing % 2 == 0 else augment.speed(dry, rng)
            if hearing:
                samples = augment.recording(samples, rng)
            frames = frame_count(len(samples))
            at = np.arange(frames) * factor
            curves = np.stack([np.interp(at, np.arange(len(truth)), column) for column in truth.T], 1)
            clips.append(Clip(*hear(encoder, samples), curves.astype(np.float16), 1))
    return clips


def silent_clips(encoder: Encoder, count: int) -> list[Clip]:
    """Recordings of nobody: every channel at rest."""
    clips = []
    for number in range(count):
        heard = hear(encoder, augment.nobody(np.random.default_rng([number, 3])))
        curves = np.zeros((len(heard[0]), len(OUTPUTS)), np.float16)
        curves[:, OUTPUTS.index("rest")] = 1
        clips.append(Clip(*heard, curves, 0))
    return clips


def cached(path: Path, make: Callable[[], list[Clip]]) -> list[Clip]:
    if not path.exists():
        clips = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            count=len(clips),
            **{f"{k}{i}": getattr(c, k) for i, c in enumerate(clips) for k in ("features", "mel", "curves", "style")},
        )
    with np.load(path) as data:
        return [
            Clip(data[f"features{i}"], data[f"mel{i}"], data[f"curves{i}"], int(data[f"style{i}"]))
            for i in range(int(data["count"]))
        ]


def batch(
    clips: list[Clip], chances: np.ndarray, count: int, frames: int, rng: np.random.Generator
) -> tuple[torch.Tensor, ...]:
    """features, mel, style, curves, mask of `count` random windows; short clips are followed by nothing (mask 0)."""
    features, mel = np.zeros((count, frames, 384), np.float32), np.zeros((count, frames, 160), np.float32)
    curves, mask = (
        np.zeros((count, frames, len(OUTPUTS)), np.float32),
        np.zeros((count, frames, len(OUTPUTS)), np.float32),
    )
    style = np.zeros((count, 2), np.float32)
    for i, index in enumerate(rng.choice(len(clips), count, p=chances)):
        clip = clips[index]
        start = int(rng.integers(0, max(1, len(clip.features) - frames + 1)))
        part = slice(start, start + frames)
        length = len(clip.features[part])
        features[i, :length], mel[i, :length], curves[i, :length] = (
            clip.features[part],
            clip.mel[part],
            clip.curves[part],
        )
        mask[i, :length] = (SYNTHETIC, facegood.CAPTURED)[clip.style]
        style[i, clip.style] = 1
    return tuple(map(torch.from_numpy, (features, mel, style, curves, mask)))


def loss(found: torch.Tensor, curves: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Huber on the channels and on their changes; cross-entropy on the states."""
    n = len(MOUTH)
    weight = mask[..., :n] * torch.from_numpy(WEIGHT)[:n]
    error = found[..., :n] - curves[..., :n]
    value = (
        weight * torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=0.1)
    ).sum() / weight.sum()
    change = error.diff(dim=1)
    pace = (
        weight[:, 1:] * torch.nn.functional.huber_loss(change, torch.zeros_like(change), reduction="none", delta=0.05)
    ).sum() / weight[:, 1:].sum()
    states = torch.nn.functional.binary_cross_entropy(
        found[..., n:].clamp(1e-4, 1 - 1e-4), curves[..., n:].clamp(0, 1), reduction="none"
    )
    entropy = (states * mask[..., n:]).sum() / mask[..., n:].sum().clamp(min=1)
    return 20 * value + 40 * pace + 0.5 * entropy


def train(
    clips: list[Clip], steps: int, seed: int, *, shape: Shape = SHAPE, size: int = 16, frames: int = 200, rate: float = 2e-3,
    capture_share: float = 0.12, start: dict[str, torch.Tensor] | None = None, report: Callable[[str], None] = print,
) -> Mouth:  # fmt: skip
    """A network that learned `steps` batches, from chance or from `start`; deterministic in `seed` on one thread."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Mouth(shape)
    some = np.concatenate([c.features[::7].astype(np.float32) for c in clips])
    model.feature_mean.copy_(torch.from_numpy(some.mean(0)))
    model.feature_scale.copy_(torch.from_numpy(1 / (some.std(0) + 1e-3)))
    if start:
        model.load_state_dict(start)
    lengths = np.array([len(c.features) for c in clips], float)
    captured = np.array([c.style == 1 for c in clips])
    share = capture_share if captured.any() and not captured.all() else captured.mean()
    chances = np.where(
        captured,
        share * lengths / max(1, lengths[captured].sum()),
        (1 - share) * lengths / max(1, lengths[~captured].sum()),
    )
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    average, running = [p.detach().clone() for p in model.parameters()], 0.0
    for step in range(steps):
        features, mel, style, curves, mask = batch(clips, chances, size, frames, rng)
        value = loss(model(features, mel, style), curves, mask)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        keep = min(0.995, step / (step + 10))
        for mean, p in zip(average, model.parameters(), strict=True):
            mean.lerp_(p.detach(), 1 - keep)
        running = 0.98 * running + 0.02 * float(value.detach())
        if step % 100 == 99:
            report(f"step {step + 1}: loss {running / (1 - 0.98 ** (step + 1)):.4f}")
    for mean, p in zip(average, model.parameters(), strict=True):
        p.data.copy_(mean)
    return model.eval()


def export(model: Mouth, path: Path) -> None:
    """The network as ONNX for regression.py; any number of styles and frames."""
    example = (torch.zeros(2, 90, 384), torch.zeros(2, 90, 160), torch.eye(2))
    axes = {
        "features": {0: "styles", 1: "frames"},
        "mel": {0: "styles", 1: "frames"},
        "style": {0: "styles"},
        "outputs": {0: "styles", 1: "frames"},
    }
    with warnings.catch_warnings():  # the newer exporter needs onnxscript and gives nothing more for plain convolutions
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model, example, str(path), dynamo=False, opset_version=17, input_names=["features", "mel", "style"],
            output_names=["outputs"], dynamic_axes=axes,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--facegood", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16, help="windows of 4 s a step")
    parser.add_argument("--capture-share", type=float, default=0.12, help="of the windows that come from captures")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--start", type=Path, help="go on from the .pt that a run left in its CACHE")
    parser.add_argument("--hearings", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encoder = load_encoder(arguments.encoder, arguments.threads)
    clips: list[Clip] = []
    for facts in sorted(arguments.corpus.glob("*/*.json")):
        where = arguments.cache / facts.parent.name / f"{facts.stem}.npz"
        clips += cached(where, lambda facts=facts: synthetic_clips(encoder, facts, arguments.hearings))
    clips += cached(arguments.cache / "nobody.npz", lambda: silent_clips(encoder, 60))
    if arguments.facegood:
        clips += cached(
            arguments.cache / "facegood.npz",
            lambda: captured_clips(encoder, arguments.facegood, 2 * arguments.hearings),
        )
    minutes = [sum(len(c.features) for c in clips if c.style == s) / 3000 for s in (0, 1)]
    print(f"{len(clips)} hearings: {minutes[0]:.1f} minutes synthetic, {minutes[1]:.1f} captured", flush=True)
    start = torch.load(arguments.start, weights_only=True) if arguments.start else None
    model = train(
        clips, arguments.steps, arguments.seed, shape=Shape(width=arguments.width, dropout=arguments.dropout), size=arguments.batch, rate=arguments.rate,
        capture_share=arguments.capture_share, start=start, report=lambda line: print(line, flush=True),
    )  # fmt: skip
    torch.save(model.state_dict(), arguments.cache / f"seed{arguments.seed}-{arguments.steps}.pt")
    export(model, arguments.out)
    print(
        f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB, {sum(p.numel() for p in model.parameters())} parameters"
    )


if __name__ == "__main__":
    main()
