# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the training corpus: `python -m loquent.tools.speech.corpus --engines FOLDER --out FOLDER --minutes kokoro=30 …`.

Writes OUT/<engine>/<number>.flac at 16 kHz and a .json beside it (engine, voice, text, phones). Every clip depends on its
engine and number alone, so a stopped run resumes and two runs agree.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import soundfile

from ...core.speech.audio import resample
from . import text, voices

HELD_OUT = ("af_bella", "am_michael")
"""Voices of the sample recordings: never trained on."""
FLITE = ("awb", "rms", "slt", "kal16")
LANGUAGE_OF = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "i": "it", "p": "pt-br"}
ROBOTS = ("en-us", "en-gb", "es", "fr-fr", "it", "pt-br")


def speak(engine: str, number: int, machines: dict, folder: Path) -> tuple[np.ndarray, int, voices.Phones, dict]:
    rng = random.Random(f"{engine}-{number}")
    if engine == "kokoro":
        machine = machines[engine] = machines.get(engine) or voices.Kokoro(folder)
        names = [n for n in machine.voices if n not in HELD_OUT]
        first, second = rng.choice(names), rng.choice(names)
        mix = rng.choice((0.0, 0.0, 0.5, rng.random()))
        style = (1 - mix) * machine.voices[first] + mix * machine.voices[second]
        language = LANGUAGE_OF.get(first[0]) or rng.choice(("en-us", "en-us", "es", "fr-fr", "it"))
        words = text.sentence(language, rng) if rng.random() < 0.8 else ""
        ipa = voices.ipa_of(words, language) if words else text.pseudo_words(rng)
        samples, rate, phones = machine.speak(ipa, style, rng.uniform(0.8, 1.25))
        return (
            samples,
            rate,
            phones,
            {"voice": f"{first}+{mix:.2f}*{second}", "text": words or ipa, "language": language},
        )
    if engine == "hibari":
        machine = machines[engine] = machines.get(engine) or voices.Hibari(folder)
        words = text.sentence("en-us", rng) if rng.random() < 0.75 else ""
        ipa = machine.phonemes(words) if words else text.pseudo_words(rng)
        samples, rate, phones = machine.speak(ipa, rng.uniform(0.75, 1.3), number)
        return samples, rate, phones, {"voice": "heart", "text": words or ipa, "language": "en-us"}
    if engine == "flite":
        voice, words = FLITE[number % len(FLITE)], text.sentence("en-us", rng)
        samples, rate, phones = voices.flite(words, voice, rng.uniform(0.85, 1.3))
        return samples, rate, phones, {"voice": voice, "text": words, "language": "en-us"}
    if engine == "espeak":
        machine = machines[engine] = machines.get(engine) or voices.Espeak()
        language = rng.choice(ROBOTS)
        words = text.sentence(language, rng)
        voice = language + rng.choice(("", "+f2", "+f3", "+m3", "+m7"))
        samples, rate, phones = machine.speak(words, voice, rng.randint(130, 190), rng.randint(30, 75))
        return samples, rate, phones, {"voice": voice, "text": words, "language": language}
    raise SystemExit(f"Unknown engine '{engine}'; expected kokoro, hibari, flite or espeak.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=Path, required=True, help="folder made by fetch.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", nargs="+", default=["flite=8", "hibari=12", "espeak=6", "kokoro=30"])
    arguments = parser.parse_args()
    machines: dict = {}
    for wanted in arguments.minutes:
        engine, minutes = wanted.split("=")
        folder = arguments.out / engine
        folder.mkdir(parents=True, exist_ok=True)
        seconds, number = 0.0, 0
        while seconds < 60 * float(minutes):
            sound, facts = folder / f"{number:05d}.flac", folder / f"{number:05d}.json"
            if facts.exists():
                seconds += json.loads(facts.read_text("utf8"))["seconds"]
            else:
                samples, rate, phones, about = speak(engine, number, machines, arguments.engines)
                samples = resample(samples, rate)
                about |= {"engine": engine, "phones": phones, "seconds": len(samples) / 16000}
                soundfile.write(sound, np.clip(samples, -1, 1), 16000, subtype="PCM_16")
                facts.write_text(json.dumps(about, ensure_ascii=False), "utf8")
                seconds += about["seconds"]
            number += 1
        print(f"{engine}: {number} clips, {seconds / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
