# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the encoder hear clips once more where it is hard: `python -m loquent.tools.speech.hear_noise --corpus … --cache … --clips 1000`.

hear.py's rooms and noises are what recordings mostly are; this adds what lips are lost in: noise of 0 to 15 dB, other people
talking at 3 to 15 dB, a telephone's band and bits. Writes hearing 9 of every chosen clip beside the others, sound and curves.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...core.speech.audio import from_samples
from ...core.speech.encoder import load_encoder
from .clips import Source, hearing, sources
from .hear import hear
from .heldout import by_telephone
from .targets import save, targets

WHICH = 9


def _loudness(samples: np.ndarray) -> float:
    loud = samples[np.abs(samples) > 0.05 * np.abs(samples).max()]
    return float(np.sqrt(np.mean(np.square(loud)))) if len(loud) else 0.0


def spoiled(samples: np.ndarray, others: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The clip in coloured noise, among `others`, or by telephone with some noise; timing is kept."""
    size, kind = len(samples), rng.random()
    if kind < 0.25 and others:
        crowd = np.sum(
            [np.resize(np.roll(o, int(rng.integers(len(o)))), size) / max(_loudness(o), 1e-6) for o in others], 0
        )
        decibels = rng.uniform(3, 15)
    else:
        spectrum = np.fft.rfft(rng.normal(size=size))
        crowd = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 30) ** -rng.uniform(0, 1.2), size)
        decibels = rng.uniform(10, 30) if kind > 0.75 else rng.uniform(0, 15)
    noisy = samples + crowd / crowd.std() * _loudness(samples) * 10 ** (-decibels / 20)
    noisy = noisy * rng.uniform(0.3, 0.9) / max(1e-6, np.abs(noisy).max())
    return (from_samples(by_telephone(noisy), 8000).samples[:size] if kind > 0.75 else noisy).astype(np.float32)


def chosen(clips: list[Source], count: int) -> Iterator[Source]:
    """Clips of all engines in turn."""
    groups: dict[str, list[Source]] = {}
    for clip in clips:
        groups.setdefault(clip.source, []).append(clip)
    taken = 0
    for turn in range(max(map(len, groups.values()), default=0)):
        for group in groups.values():
            if turn < len(group) and taken < count:
                taken += 1
                yield group[turn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--facegood", type=Path)
    parser.add_argument("--clips", type=int, default=1000)
    arguments = parser.parse_args()
    encoder, made = load_encoder(None, 1), 0
    others: list[np.ndarray] = []
    clips = [c for c in sources(arguments.corpus, arguments.facegood) if c.source != "nobody"]
    for clip in chosen(clips, arguments.clips):
        path = arguments.cache / f"{clip.name(WHICH)}.npz"
        samples = clip.samples()
        heard = hearing(samples, clip.source, clip.number, WHICH)
        others = [*others[-2:], heard.dry[: 8 * 16000]]
        if path.exists():
            continue
        sound = spoiled(heard.dry, others[:-1], np.random.default_rng([clip.number, WHICH, sum(clip.source.encode())]))
        features, mel = hear(encoder, sound)
        save(path.with_suffix(".curves.npz"), targets(clip, WHICH, samples, heard, arguments.facegood))
        save(path, {"features": features, "mel": mel})
        made += 1
    print(f"{made} clips heard in noise, now in {arguments.cache}", flush=True)


if __name__ == "__main__":
    main()
