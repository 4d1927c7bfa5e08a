# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the sentences of the film strips: `python -m loquent.tools.speech_bench.strip_clips ENGINES` into clips/strips.

The same sentence in three languages by Kokoro-82M, in the environment of tools/speech/requirements.txt. English phone times
come from PocketSphinx, the others from the engine itself, 48 ms earlier (its measured lateness).
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

from ...core.speech.audio import resample
from ..speech import align, voices
from .sets import CLIPS

SENTENCES = {
    "en": ("af_bella", "en-us", "My mother bought a big blue boat for Papa."),
    "fr": ("ff_siwis", "fr-fr", "Ma mère a acheté un beau bateau bleu pour papa."),
    "zh": ("zf_xiaoxiao", "cmn", "妈妈给爸爸买了一条蓝色的小船。"),
}


def main() -> None:
    engines = Path(sys.argv[1])
    kokoro, english = voices.Kokoro(engines), voices.Hibari(engines)
    folder = CLIPS / "strips"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (voice, language, text) in SENTENCES.items():
        ipa = english.phonemes(text) if language == "en-us" else voices.ipa_of(text, language)
        samples, rate, phones = kokoro.speak(ipa, kokoro.voices[voice], 0.9)
        samples = resample(samples, rate)
        samples = samples * np.float32(0.7 / np.abs(samples).max())
        if language == "en-us":
            phones = align.aligned(samples, text) or phones
        soundfile.write(folder / f"{name}.ogg", samples, 16000, "VORBIS", format="OGG", compression_level=0.5)
        about = {
            "voice": voice,
            "language": language,
            "text": text,
            "phones": [[s, round(b, 3), round(e, 3)] for s, b, e in phones],
        }
        (folder / f"{name}.json").write_text(json.dumps(about, ensure_ascii=False) + "\n", "utf8")
        print(name, f"{len(samples) / 16000:.2f} s", " ".join(s for s, _, _ in phones))


if __name__ == "__main__":
    main()
