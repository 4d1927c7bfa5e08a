# SPDX-License-Identifier: GPL-3.0-or-later
"""What is heard of the corpus and the captures: each clip clean, and again through other throats, rooms and wires.

The encoder's features (hear.py) and the curves (targets.py) both follow from `hearing()`, so they share one clock.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.speech.audio import read_audio
from ...core.speech.encoder import HOP
from . import augment, facegood

HEARINGS = {"facegood": 6, "nobody": 1}
"""Times a clip is heard, where not twice."""
NOBODIES = 100


@dataclass(frozen=True)
class Hearing:
    """One hearing of one clip.

    dry: 16 kHz samples on the hearing's clock, before rooms and noise: what loudness is measured on.
    to_clip: seconds of the hearing -> seconds of the clip it was made from are (t - shift) / factor.
    """

    dry: np.ndarray
    shift: float
    factor: float
    rng: np.random.Generator

    def heard(self, hearing: int) -> np.ndarray:
        return augment.recording(self.dry, self.rng) if hearing else self.dry


def hearing(samples: np.ndarray, source: str, number: int, which: int, *, rendered: bool = True) -> Hearing:
    """Hearing `which` of a clip: 0 is clean; the others are other throats at other speeds, between silences.

    Not `rendered`, the throat is left out and `dry` only stretched in time: enough for its loudness, and much quicker.
    """
    rng = np.random.default_rng([number, which, sum(source.encode())])
    factor = 1.0
    if which:
        formants = rng.uniform(0.85, 1.18)
        pitch = float(np.clip(formants * rng.uniform(0.85, 1.18), 0.8, 1.25))
        if rendered:
            samples, factor = augment.throat(samples, pitch, formants)
        else:
            count = augment.throat_length(len(samples), pitch)
            factor = count / max(1, len(samples))
            samples = samples[np.minimum(np.arange(count) / factor, len(samples) - 1).astype(int)]
    before, after = (0, 0) if source == "facegood" else (int(rng.uniform(0.1, 0.8) * 16000) for _ in range(2))
    dry = np.concatenate((np.zeros(before, np.float32), samples, np.zeros(after, np.float32)))
    return Hearing(dry.astype(np.float32), before / 16000, factor, rng)


@dataclass(frozen=True)
class Source:
    """A clip before it is heard; `facts` is the corpus' .json, or what stands in for it."""

    source: str
    number: int
    facts: dict
    path: Path | None

    @property
    def hearings(self) -> int:
        return HEARINGS.get(self.source, 2)

    def samples(self) -> np.ndarray:
        if self.source == "nobody":
            return augment.nobody(np.random.default_rng([self.number, 3]))
        assert self.path
        samples = read_audio(self.path).samples
        if self.source == "facegood":
            samples = samples[: int(facegood.TRAIN_SHARE * len(samples)) // HOP * HOP]
        return samples

    def name(self, which: int) -> str:
        return f"{self.source}/{self.number:05d}-{which}"


def sources(corpus: Path, captures: Path | None) -> Iterator[Source]:
    for number in range(NOBODIES):
        yield Source("nobody", number, {"speaker": "nobody", "language": "", "text": ""}, None)
    if captures:
        for number, clip in enumerate(facegood.CLIPS):
            if clip != facegood.NEVER_TRAINED:
                facts = {"speaker": "facegood:1114", "language": "cmn", "text": "", "clip": clip}
                yield Source("facegood", number, facts, captures / f"{clip}.wav")
    # number by number through all engines, so that a part of the cache is already a mix of everything
    for facts in sorted(corpus.glob("*/*.json"), key=lambda path: (path.stem, path.parent.name)):
        yield Source(
            facts.parent.name, int(facts.stem), json.loads(facts.read_text("utf8")), facts.with_suffix(".flac")
        )
