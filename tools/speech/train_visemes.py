# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains core/data/visemes.onnx: `python -m loquent.tools.speech.train_visemes --cache FOLDER --out core/data/visemes.onnx`.

CACHE is what hear.py and targets.py leave. The phones that the curves were made from are the labels, every 10 ms; clips kept for
validation are only scored. Without --cache an existing OUT is scored. Scores are on the benchmark's clips (tools/speech_bench):
frames of speech (10 ms) whose viseme is right, and F1 of lip closure, beside always answering the commonest viseme.
"""

import argparse
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.speech.audio import Audio
from ...core.speech.phones import RATE, VISEME_OF, VISEMES, Recogniser, load_recogniser, posteriors, segments
from . import articulation

INDEX = {viseme: i for i, viseme in enumerate(VISEMES)}
UNKNOWN = -100


class Probe(nn.Module):
    """features (B, T, 384), mel (B, T, 160) -> probabilities (B, 2T, 15)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int = 96, dropout: float = 0.15):
        super().__init__()
        self.register_buffer("mean", torch.zeros(384))
        self.register_buffer("scale", torch.ones(384))
        self.from_features, self.from_mel = nn.Linear(384, width), nn.Conv1d(160, width // 3, 3, padding=1)
        self.join = nn.Conv1d(width + width // 3, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.out = nn.Conv1d(width + width // 3, 2 * len(VISEMES), 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def logits(self, features: Tensor, mel: Tensor) -> Tensor:
        f = self.from_features(self.dropout(((features - self.mean) * self.scale).clamp(-6, 6))).transpose(1, 2)
        m = functional.gelu(self.from_mel(mel.transpose(1, 2)))
        x = self.join(torch.cat((f, m), 1))
        for block in self.blocks:
            x = x + self.dropout(functional.gelu(block(x)))
        y = self.out(torch.cat((functional.gelu(x), m), 1)).transpose(1, 2)
        return y.unflatten(2, (2, len(VISEMES))).flatten(1, 2)

    def forward(self, features: Tensor, mel: Tensor) -> Tensor:
        return torch.softmax(self.logits(features, mel), -1)


def labels(phones: articulation.Phones, frames: int) -> np.ndarray:
    """(frames,) index of VISEMES every 10 ms; UNKNOWN where no phone stands."""
    out = np.full(frames, UNKNOWN, np.int64)
    for symbol, begin, end in phones:
        viseme = VISEME_OF.get(symbol) or VISEME_OF.get(symbol[0])
        if viseme:
            out[max(0, round(begin * RATE)) : max(0, round(end * RATE))] = INDEX[viseme]
    return out


@dataclass(frozen=True)
class Hearing:
    features: np.ndarray
    mel: np.ndarray
    visemes: np.ndarray
    source: str


def load(cache: Path, minutes: float, seed: int) -> tuple[list[Hearing], list[Hearing]]:
    """Training hearings, at most `minutes` of each source, and those kept for validation."""
    rng = np.random.default_rng(seed)
    taught, kept, used = [], [], Counter()
    paths = sorted(cache.glob("*/*.curves.npz"))
    for i in rng.permutation(len(paths)):
        path = paths[i]
        source, sound = path.parent.name, path.with_name(path.name.replace(".curves", ""))
        if source == "facegood" or used[source] > minutes * 3000 or not sound.exists():
            continue
        with np.load(path) as made, np.load(sound) as heard:
            frames = 2 * len(made["curves"])
            phones = [
                (str(s), float(b), float(e))
                for s, (b, e) in zip(made["phone_symbols"], made["phone_times"], strict=True)
            ]
            known = labels(phones, frames)
            if source == "nobody":
                known[:] = INDEX["sil"]
            else:  # what stands before the first and after the last phone is the silence that hear.py added
                spoken = np.flatnonzero(known != UNKNOWN)
                if not len(spoken):
                    continue
                known[: spoken[0]], known[spoken[-1] + 1 :] = INDEX["sil"], INDEX["sil"]
            clip = Hearing(heard["features"], heard["mel"], known, source)
            if len(clip.features) * 2 != frames:
                continue
            if made["split"] == "train":
                taught.append(clip)
                used[source] += len(clip.features)
            elif len(kept) < 300:
                kept.append(clip)
    return taught, kept


def batch(clips: list[Hearing], chances: np.ndarray, size: int, frames: int, rng: np.random.Generator) -> list[Tensor]:
    features, mel = np.zeros((size, frames, 384), np.float32), np.zeros((size, frames, 160), np.float32)
    visemes = np.full((size, 2 * frames), UNKNOWN, np.int64)
    for i, index in enumerate(rng.choice(len(clips), size, p=chances)):
        clip = clips[index]
        start = int(rng.integers(0, max(1, len(clip.features) - frames + 1)))
        part = slice(start, start + frames)
        n = len(clip.features[part])
        features[i, :n], mel[i, :n] = clip.features[part], clip.mel[part]
        visemes[i, : 2 * n] = clip.visemes[2 * start : 2 * (start + n)]
    return [torch.from_numpy(x) for x in (features, mel, visemes)]


def train(clips: list[Hearing], steps: int, seed: int, width: int = 96) -> Probe:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Probe(width)
    some = np.concatenate([c.features[::17].astype(np.float32) for c in clips])
    model.mean.copy_(torch.from_numpy(some.mean(0)))
    model.scale.copy_(torch.from_numpy(1 / (some.std(0) + 1e-3)))
    lengths = np.array([len(c.features) for c in clips], float)
    for source in {c.source for c in clips}:  # neural voices are nearer to people than robots are
        here = np.array([c.source == source for c in clips])
        share = {"kokoro": 0.5, "hibari": 0.15, "flite": 0.13, "espeak": 0.17, "nobody": 0.05}.get(source, 0.1)
        lengths[here] *= share / lengths[here].sum()
    chances = lengths / lengths.sum()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    average, running = [p.detach().clone() for p in model.parameters()], 0.0
    for step in range(steps):
        features, mel, visemes = batch(clips, chances, 16, 150, rng)
        value = functional.cross_entropy(
            model.logits(features, mel).flatten(0, 1), visemes.flatten(), ignore_index=UNKNOWN, label_smoothing=0.05
        )
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        keep = min(0.998, step / (step + 10))
        for mean, p in zip(average, model.parameters(), strict=True):
            mean.lerp_(p.detach(), 1 - keep)
        running = 0.98 * running + 0.02 * float(value.detach())
        if step % 100 == 99:
            print(f"step {step + 1}: loss {running / (1 - 0.98 ** (step + 1)):.4f}", flush=True)
    for mean, p in zip(average, model.parameters(), strict=True):
        p.data.copy_(mean)
    return model.eval()


def export(model: Probe, path: Path) -> None:
    axes = {name: {0: "clips", 1: "frames"} for name in ("features", "mel", "visemes")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model, (torch.zeros(1, 90, 384), torch.zeros(1, 90, 160)), str(path), dynamo=False, opset_version=17,
            input_names=["features", "mel"], output_names=["visemes"], dynamic_axes=axes,
        )  # fmt: skip


def counted(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """frames of speech, right ones, found and true closures (hit, found, true)."""
    speech = (truth != UNKNOWN) & (truth != INDEX["sil"])
    pp, said = found == INDEX["PP"], truth == INDEX["PP"]
    known = truth != UNKNOWN
    return np.array(
        [speech.sum(), (found == truth)[speech].sum(), (pp & said).sum(), (pp & known).sum(), said.sum()], float
    )


def summary(counts: np.ndarray, commonest: float) -> str:
    n, right, hit, found, true = counts
    return f"accuracy {right / n:.3f} (commonest viseme {commonest:.3f}), closure F1 {2 * hit / (found + true):.3f}, {n / RATE:.0f} s of speech"


def commonest(truths: list[np.ndarray]) -> float:
    all_ = np.concatenate([t[(t != UNKNOWN) & (t != INDEX["sil"])] for t in truths])
    return float(np.bincount(all_).max() / len(all_))


def score_kept(model: Probe, kept: list[Hearing]) -> None:
    for source in sorted({c.source for c in kept} - {"nobody"}):
        clips = [c for c in kept if c.source == source]
        total = np.zeros(5)
        for c in clips:
            with torch.no_grad():
                p = model(*(torch.from_numpy(x[None].astype(np.float32)) for x in (c.features, c.mel)))[0].numpy()
            total += counted(p.argmax(1), c.visemes)
        print(f"validation {source}: {summary(total, commonest([c.visemes for c in clips]))}", flush=True)


def decoded(recogniser: Recogniser, audio: Audio) -> np.ndarray:
    """(T,) index every 10 ms, as a user gets it."""
    out = np.zeros(int(np.ceil(audio.seconds * RATE)) + 1, int)
    for s in segments(posteriors(recogniser, audio), audio.seconds):
        out[round(s.begin * RATE) : round(s.end * RATE)] = INDEX[s.viseme]
    return out


def score_sets(recogniser: Recogniser) -> None:
    """The benchmark's clips: voices and languages that no training heard, people, noise, telephone."""
    from ..speech_bench.sets import SETS, load_sets

    clips, notes = load_sets()
    for name in SETS:
        total, truths, speakers = np.zeros(5), [], set()
        for clip in clips:
            if clip.set == name:
                found = decoded(recogniser, clip.audio)
                truths.append(labels(articulation.simple_phones(clip.phones), len(found)))
                total += counted(found, truths[-1])
                speakers.add(clip.language if name == "languages" else clip.voice or clip.name)
        if truths:
            print(
                f"{name}: {summary(total, commonest(truths))}, {len(truths)} clips, {', '.join(sorted(speakers))}",
                flush=True,
            )
    for note in notes:
        print(note, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60, help="of each source at most")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.cache:
        clips, kept = load(arguments.cache, arguments.minutes, arguments.seed)
        minutes: dict[str, float] = {}
        for c in clips:
            minutes[c.source] = minutes.get(c.source, 0.0) + len(c.features) / 3000
        print({k: round(v, 1) for k, v in minutes.items()}, "minutes", flush=True)
        model = train(clips, arguments.steps, arguments.seed)
        export(model, arguments.out)
        print(
            f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB, {sum(p.numel() for p in model.parameters())} parameters"
        )
        score_kept(model, kept)
    recogniser = load_recogniser(arguments.out, threads=arguments.threads)
    score_sets(recogniser)


if __name__ == "__main__":
    main()
