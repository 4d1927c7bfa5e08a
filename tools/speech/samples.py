# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the recordings in sample_scenes/: `python -m loquent.tools.speech.samples --engines FOLDER --out sample_scenes`.

Kokoro-82M speaks; each sentence is one run and the pause between them is digital silence joined by short fades. Beside
each recording goes a .phones.json with the engine's own phone times, moved by its measured lateness.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from ...core.speech.audio import resample
from . import voices
from .articulation import ended_with_the_sound

VOICES = {
    "voice_ada": ("af_bella", "en-us", 0.92, (
        "Hello, my name is Ada.",
        "Above the blue moon, five brave puffins follow my father's boat.",
    )),
    "voice_bruno": ("am_michael", "en-us", 0.95, (
        "My mother baked a warm apple pie.",
        "Bob, you could move the big drum before the film, if you want to.",
    )),
    "voice_ada_fr": ("ff_siwis", "fr-fr", 0.95, (
        "Bonjour, je m'appelle Ada.",
        "Papa a vu un beau bateau bleu.",
    )),
}  # fmt: skip
PAUSE = 0.7


def trimmed(samples: np.ndarray, rate: int) -> tuple[int, int]:
    """First and last sample above -45 dB of the peak, with 60 ms before and 120 ms after."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() * 10 ** (-45 / 20))
    return max(0, loud[0] - int(0.06 * rate)), min(len(samples), loud[-1] + int(0.12 * rate))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    kokoro, grapheme = voices.Kokoro(arguments.engines, 2), voices.Hibari(arguments.engines)
    for name, (voice, language, speed, sentences) in VOICES.items():
        rate = kokoro.rate
        pieces, phones, texts = [np.zeros(int(0.35 * rate), np.float32)], [], []
        for sentence in sentences:
            ipa = grapheme.phonemes(sentence) if language == "en-us" else voices.ipa_of(sentence, language)
            samples, _, timed = kokoro.speak(ipa, kokoro.voices[voice], speed)
            begin, end = trimmed(samples, rate)
            cut = samples[begin:end].copy()
            fade = np.linspace(0, 1, int(0.02 * rate), dtype=np.float32)
            cut[: len(fade)] *= fade
            cut[-len(fade) :] *= fade[::-1]
            offset = sum(map(len, pieces)) / rate - begin / rate
            phones += [[s, round(b + offset, 3), round(e + offset, 3)] for s, b, e in timed]
            pieces += [cut, np.zeros(int(PAUSE * rate), np.float32)]
            texts.append(sentence)
        pieces[-1] = np.zeros(int(0.45 * rate), np.float32)
        samples = np.concatenate(pieces)
        samples *= 0.7 / np.abs(samples).max()
        heard = resample(samples, rate)
        phones = [
            [s, round(b, 3), round(e, 3)]
            for s, b, e in ended_with_the_sound(phones, heard, len(heard) / 16000)
            if s != "_"
        ]
        soundfile.write(arguments.out / f"{name}.flac", samples, rate, subtype="PCM_16")
        facts = {
            "file": f"{name}.flac", "voice": voice, "language": language, "text": texts, "seconds": round(len(samples) / rate, 3),
            "source": "durations inside Kokoro-82M, moved 48 ms earlier (its measured lateness)", "phones": phones,
        }  # fmt: skip
        (arguments.out / f"{name}.phones.json").write_text(
            json.dumps(facts, ensure_ascii=False, indent=1) + "\n", "utf8"
        )
        print(name, len(samples) / rate, " ".join(p[0] for p in phones))


if __name__ == "__main__":
    main()
