# SPDX-License-Identifier: GPL-3.0-or-later
"""Heard clips for training, kept in a few flat files that every run maps and none copies: hours of speech in little memory.

A store is a folder of arrays, all clips one after another, and index.json. `Hearing` is what goes in.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.prior.mouth import OUTPUTS, STATES, STYLE_NUMBERS, style_numbers
from ...core.speech.encoder import FEATURES
from . import articulation

ARRAYS = {"features": (1, FEATURES), "mel": (1, 160), "curves": (1, len(OUTPUTS)), "states": (2, len(STATES))}
SOURCES = ("synthetic", "captured")
EMPHASIS = {"kokoro": 2.5, "tongues": 2.5, "kokoro_first": 2.0, "piper": 1.5}
"""How much more often windows come from an engine than its minutes would have it: many natural voices are worth more than many minutes."""


@dataclass(frozen=True)
class Hearing:
    """One hearing of one clip of T frames at 50 Hz.

    features (T, 384), mel (T, 160), curves (T, 20), states (2T, 3) at 100 Hz; taught (20,): 1 where `curves` may teach.
    speaker: hearings of one speaker (or table of articulation) share a style; "" is nobody. group: the engine. name: unique in a store.
    """

    features: np.ndarray
    mel: np.ndarray
    curves: np.ndarray
    states: np.ndarray
    taught: np.ndarray
    source: int = 0
    speaker: str = ""
    group: str = ""
    name: str = ""


def sharp_states(curves: np.ndarray, phones: articulation.Phones | None) -> np.ndarray:
    """(2T, 3) states at 100 Hz: when the lips are shut or bitten, edges of 20 ms, without the flanks in which they come to it.

    From simple phones; without any, from the plateaus of the states in `curves` (T, 20). Rest is taken from the curves.
    """
    frames = len(curves)
    t = np.arange(2 * frames) / 100
    out = np.zeros((2 * frames, len(STATES)), np.float32)
    coarse = curves[:, -len(STATES) :].astype(np.float32)
    fine = np.stack([np.interp(t, np.arange(frames) / 50, column) for column in coarse.T], 1)
    out[:, 2] = fine[:, 2]
    if phones is None:
        out[:, :2] = np.clip((fine[:, :2] - 0.8) / 0.2, 0, 1)
        return out
    spans = [(0, b, e) for _, b, e in articulation.closures(phones)]
    spans += [(1, b + 0.005, e - 0.005) for _, b, e in articulation.bites(phones)]
    for column, begin, end in spans:
        near = slice(max(0, int(begin * 100) - 3), int(end * 100) + 5)
        inside = np.clip(np.minimum(t[near] - begin, end - t[near]) / 0.02 + 0.5, 0, 1)
        out[near, column] = np.maximum(out[near, column], inside)
    return out


def write(folder: Path, hearings: Iterable[Hearing]) -> int:
    """Adds to a store, or begins one; returns its frames. A store whose writing was stopped goes on from its last index."""
    folder.mkdir(parents=True, exist_ok=True)
    index = names(folder)
    frames = sum(about["frames"] for about in index)
    files = {}
    for name, (rate, width) in ARRAYS.items():
        path = folder / f"{name}.f16"
        path.touch()
        files[name] = path.open("r+b")
        files[name].truncate(2 * rate * width * frames)
        files[name].seek(0, 2)
    try:
        for h in hearings:
            for name, file in files.items():
                file.write(np.ascontiguousarray(getattr(h, name), np.float16).tobytes())
            about = {
                "begin": frames,
                "frames": len(h.features),
                "source": h.source,
                "speaker": h.speaker,
                "group": h.group,
            }
            numbers = style_numbers(h.curves.astype(np.float32), 50, h.taught)
            rounded = [round(float(x), 5) for x in numbers]
            index.append(about | {"name": h.name, "taught": h.taught.tolist(), "style": rounded})
            frames += len(h.features)
    finally:
        for file in files.values():
            file.close()
    (folder / "index.json").write_text(json.dumps(index), "utf8")
    return frames


def names(folder: Path) -> list[dict]:
    """The index of a store, empty where there is none."""
    path = folder / "index.json"
    return json.loads(path.read_text("utf8")) if path.is_file() else []


@dataclass(frozen=True)
class Store:
    """The clips of a folder that `write` made; arrays are mapped, not read."""

    index: list[dict]
    arrays: dict[str, np.ndarray]

    def clip(self, number: int) -> dict[str, np.ndarray]:
        about = self.index[number]
        begin, end = about["begin"], about["begin"] + about["frames"]
        return {name: self.arrays[name][rate * begin : rate * end] for name, (rate, _) in ARRAYS.items()}

    def only(self, keep: Iterable[int]) -> "Store":
        return Store([self.index[i] for i in keep], self.arrays)

    def minutes(self, source: int | None = None) -> float:
        return sum(a["frames"] for a in self.index if source in (None, a["source"])) / 3000


def opened(folder: Path) -> Store:
    index = json.loads((folder / "index.json").read_text("utf8"))
    arrays = {}
    for name, (rate, width) in ARRAYS.items():
        path = folder / f"{name}.f16"
        arrays[name] = np.memmap(path, np.float16, "r").reshape(-1, width)
        frames = sum(about["frames"] for about in index)
        assert len(arrays[name]) == rate * frames, (path, len(arrays[name]), rate * frames)
    return Store(index, arrays)


def speaker_styles(store: Store) -> dict[str, np.ndarray]:
    """The style numbers of each speaker: the mean over his clips, weighted by length."""
    sums: dict[str, tuple[np.ndarray, float]] = {}
    for about in store.index:
        if about["speaker"]:
            total, weight = sums.get(about["speaker"], (np.zeros(STYLE_NUMBERS), 0.0))
            sums[about["speaker"]] = total + np.array(about["style"]) * about["frames"], weight + about["frames"]
    return {name: (total / weight).astype(np.float32) for name, (total, weight) in sums.items()}


@dataclass(frozen=True)
class Batch:
    """Windows of L frames: see Hearing; style (n, 85), seen (n, L) 1 where there is a clip."""

    features: np.ndarray
    mel: np.ndarray
    curves: np.ndarray
    states: np.ndarray
    taught: np.ndarray
    style: np.ndarray
    seen: np.ndarray


class Batches:
    """Random windows of a store: `capture_share` of them from captures, within a source by length."""

    def __init__(self, store: Store, frames: int, capture_share: float):
        lengths = np.array([a["frames"] * EMPHASIS.get(a["group"], 1.0) for a in store.index])
        captured = np.array([a["source"] == 1 for a in store.index])
        share = capture_share if captured.any() and not captured.all() else float(captured.mean())
        self.chances = np.where(
            captured,
            share * lengths / max(1.0, lengths[captured].sum()),
            (1 - share) * lengths / max(1.0, lengths[~captured].sum()),
        )
        self.store, self.frames, self.styles = store, frames, speaker_styles(store)
        self.names = sorted(self.styles)

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        store, frames = self.store, self.frames
        held = {name: np.zeros((count, rate * frames, width), np.float32) for name, (rate, width) in ARRAYS.items()}
        taught, style = np.zeros((count, len(OUTPUTS)), np.float32), np.zeros((count, STYLE_NUMBERS), np.float32)
        seen = np.zeros((count, frames), np.float32)
        for i, number in enumerate(rng.choice(len(store.index), count, p=self.chances)):
            about = store.index[number]
            start = int(rng.integers(0, max(1, about["frames"] - frames + 1)))
            length = min(frames, about["frames"] - start)
            for name, (rate, _) in ARRAYS.items():
                begin = rate * (about["begin"] + start)
                held[name][i, : rate * length] = store.arrays[name][begin : begin + rate * length]
            seen[i, :length] = 1
            taught[i] = about["taught"]
            if not about["speaker"] and self.names:  # nobody speaks in anybody's manner
                style[i] = self.styles[self.names[rng.integers(len(self.names))]]
            else:
                style[i] = self.styles.get(about["speaker"], about["style"])
        return Batch(**held, taught=taught, style=style, seen=seen)
