# SPDX-License-Identifier: GPL-3.0-or-later
"""The clips that every row hears, with the phones said in them.

unseen: voices that no training heard. languages: languages that no training heard. Both are small, ship beside this file
(clips/, spoken by engines whose voices may be given on; made by tools/speech/heldout.py and packed by pack.py) and carry
the phone times of their engines or an aligner. noise and telephone: every second clip of unseen once more, at 5 dB of
pinkish noise, and as 8 kHz samples of 300 to 3400 Hz in mu-law. real: people (real.py), where they are at hand.
"""

import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from ...core.speech.audio import RATE, Audio, from_samples, read_audio
from ..speech.articulation import Phones
from ..speech.heldout import at_five_decibels, by_telephone
from . import real

CLIPS = Path(__file__).with_name("clips")
ROOT_BUILD = real.ROOT / "build" / "speech_bench"
SETS = ("unseen", "real", "languages", "noise", "telephone")
FPS = 50


@dataclass(frozen=True)
class Clip:
    """name is unique over all sets; frames of a motion at FPS over it."""

    name: str
    set: str
    audio: Audio
    phones: Phones
    language: str = "en-us"
    voice: str = ""
    text: str = ""

    @property
    def frames(self) -> int:
        return max(1, ceil(self.audio.seconds * FPS - 1e-6))


def load_sets(wanted: tuple[str, ...] = SETS) -> tuple[list[Clip], list[str]]:
    """All clips of these sets, and in words what is missing."""
    clips: list[Clip] = []
    notes = []
    spoken = {name: shipped(name) for name in ("unseen", "languages")}
    for name in wanted:
        if name in spoken:
            clips += spoken[name]
        elif name == "real":
            found = real_clips()
            clips += found
            lacking = sorted(set(real.RECORDINGS) - {clip.name for clip in found})
            if lacking:
                notes.append(
                    f"Real recordings not at hand: {', '.join(lacking)} (python -m loquent.tools.speech_bench.real)"
                )
        elif name == "noise":
            clips += [noisy(clip, k) for k, clip in enumerate(spoken["unseen"][1::2])]
        elif name == "telephone":
            clips += [phoned(clip) for clip in spoken["unseen"][1::2]]
        else:
            raise ValueError(f"There is no set '{name}'; there are {', '.join(SETS)}.")
    return clips, notes


def shipped(name: str) -> list[Clip]:
    listed = json.loads((CLIPS / f"{name}.json").read_text("utf8"))
    return [
        Clip(key, name, read_audio(CLIPS / name / f"{key}.ogg"), [(s, b, e) for s, b, e in about["phones"]],
             about["language"], about["voice"], about["text"])
        for key, about in listed.items()
    ]  # fmt: skip


def real_clips() -> list[Clip]:
    out = []
    for name, recording in real.RECORDINGS.items():
        path = real.find(name)
        if path is not None:
            begin, end = recording.part
            samples = read_audio(path).samples[int(begin * RATE) : int(end * RATE) if end else None]
            out.append(Clip(name, "real", Audio(samples), real.phones(name), voice="a person", text=recording.text))
    return out


def noisy(clip: Clip, seed: int) -> Clip:
    """The clip at 5 dB signal to noise; the same noise for the same seed."""
    sound = at_five_decibels(clip.audio.samples, np.random.default_rng([seed, 5])).astype(np.float32)
    return Clip(f"{clip.name}_noise", "noise", Audio(sound / max(1.0, float(np.abs(sound).max()))), clip.phones, clip.language, clip.voice, clip.text)  # fmt: skip


def phoned(clip: Clip) -> Clip:
    """The clip as a telephone gives it: an 8 kHz recording, which our own reader brings back to 16 kHz."""
    audio = from_samples(by_telephone(clip.audio.samples), 8000)
    return Clip(f"{clip.name}_telephone", "telephone", audio, clip.phones, clip.language, clip.voice, clip.text)
