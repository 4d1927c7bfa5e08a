# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the training corpus: `python -m loquent.tools.speech.corpus --engines FOLDER --out FOLDER --minutes kokoro=75 …`.

Writes OUT/<engine>/<number>.flac at 16 kHz and a .json beside it (engine, voice, speaker, language, text, phones). Every clip
depends on its engine and number alone, so a stopped run resumes and two runs agree. The voices in HELD_OUT and the
languages in UNHEARD are for the tests (heldout.py): nothing here speaks with them, not even in a mix.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import soundfile

from ...core.speech.audio import resample
from . import text, voices
from .augment import throat

HELD_OUT = (
    "af_bella", "am_michael", "bf_emma", "am_puck", "ff_siwis",  # languages that others speak in training
    "jf_alpha", "jm_kumo", "hf_alpha", "hm_omega",  # speak the unheard languages
    "rms",  # of flite
)  # fmt: skip
UNHEARD = ("ja", "hi", "de", "pl", "ru")
FLITE = ("awb", "slt", "kal16")
LANGUAGE_OF = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "i": "it", "p": "pt-br", "z": "cmn"}
TONGUES = ("en-us", "en-us", "en-us", "en-gb", "es", "fr-fr", "it", "pt-br", "cmn")
THIN = ("cmn", "cmn", "es", "fr-fr", "it", "pt-br")
ROBOTS = ("en-us", "en", "es", "fr", "it", "pt-br", "cmn", "cs", "bg", "ga", *text.BORROWED)
ACCENTS = ("", "+f1", "+f2", "+f3", "+f4", "+f5", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+klatt2")


def speak(engine: str, number: int, machines: dict, folder: Path) -> tuple[np.ndarray, int, voices.Phones, dict]:
    """samples, rate, phones and the facts {voice, speaker, text, language} of one clip."""
    rng, books = random.Random(f"{engine}-{number}"), folder / "texts"
    language, words = "en-us", ""
    if engine in ("kokoro", "tongues"):
        machine = machines["kokoro"] = machines.get("kokoro") or voices.Kokoro(folder)
        names = [n for n in machine.voices if n not in HELD_OUT]
        first, second = rng.choice(names), rng.choice(names)
        mix = rng.choice((0.0, 0.0, 0.5, rng.random()))
        style = (1 - mix) * machine.voices[first] + mix * machine.voices[second]
        native = LANGUAGE_OF.get(first[0])
        if engine == "kokoro":
            language = native if native and rng.random() < 0.6 else rng.choice(TONGUES)
            words = text.line(books, language, rng) if rng.random() < 0.9 else ""
        else:  # the languages of which there is little, by whoever is at home in them where somebody is
            language = rng.choice(THIN)
            words = text.line(books, language, rng)
            at_home = [n for n in names if LANGUAGE_OF.get(n[0]) == language]
            if at_home and rng.random() < 0.7:
                first = rng.choice(at_home)
                style = (1 - mix) * machine.voices[first] + mix * machine.voices[second]
        ipa = voices.ipa_of(words, language) if words else text.pseudo_words(rng)
        speaker = first if not mix else f"{first}+{mix:.2f}*{second}"
        spoken = machine.speak(ipa, style, rng.uniform(0.8, 1.25))
    elif engine == "hibari":
        machine = machines[engine] = machines.get(engine) or voices.Hibari(folder)
        words = text.line(books, language, rng) if rng.random() < 0.8 else ""
        ipa = machine.phonemes(words) if words else text.pseudo_words(rng)
        formants = rng.uniform(0.82, 1.2)
        pitch = float(np.clip(formants ** rng.uniform(1.0, 3.5) * rng.uniform(0.85, 1.15), 0.45, 1.6))
        speaker = f"heart, pitch {pitch:.2f}, formants {formants:.2f}"
        spoken = machine.speak(ipa, rng.uniform(0.7, 1.35), number, pitch, formants)
    elif engine == "piper":
        machine = machines[engine] = machines.get(engine) or voices.Piper(folder)
        words = text.line(books, language, rng) if rng.random() < 0.85 else ""
        ipa = voices.ipa_of(words, language, misaki=False) if words else text.pseudo_words(rng, text.ESPEAK_ENGLISH)
        samples, rate, phones = machine.speak(ipa, rng.uniform(0.75, 1.35), number)
        speaker, spoken = _another(samples, rate, phones, "joe", rng)
    elif engine == "flite":
        voice, words = FLITE[number % len(FLITE)], text.line(books, language, rng)
        samples, rate, phones = voices.flite(words, voice, rng.uniform(0.8, 1.3))
        speaker, spoken = _another(samples, rate, phones, voice, rng)
    elif engine == "espeak":
        machine = machines[engine] = machines.get(engine) or voices.Espeak()
        language = rng.choice(ROBOTS)
        words = text.line(books, {"en": "en-gb", "fr": "fr-fr"}.get(language, language), rng)
        speaker = rng.choice(ACCENTS)
        spoken = machine.speak(words, language + speaker, rng.randint(115, 200), rng.randint(20, 85))
    else:
        raise SystemExit(f"Unknown engine '{engine}'; expected kokoro, tongues, hibari, piper, flite or espeak.")
    return *spoken, {"voice": speaker, "speaker": f"{engine}:{speaker}", "text": words or ipa, "language": language}


def _another(
    samples: np.ndarray, rate: int, phones: voices.Phones, voice: str, rng: random.Random
) -> tuple[str, voices.Spoken]:
    """The clip in another throat two times of three, with the phones where its sounds have gone."""
    if rng.random() < 1 / 3:
        return voice, (samples, rate, phones)
    formants = rng.choice((0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2))
    pitch = rng.choice((0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3))
    samples, factor = throat(resample(samples, rate), pitch, formants)
    return f"{voice}, pitch {pitch:.2f}, formants {formants:.2f}", (
        samples, 16000, [(s, b * factor, e * factor) for s, b, e in phones],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=Path, required=True, help="folder made by fetch.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--minutes", nargs="+", default=["hibari=210", "piper=150", "flite=75", "espeak=120", "kokoro=75"]
    )
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
                scratch = facts.with_suffix(".part")  # whole or absent: the encoder may be reading along
                scratch.write_text(json.dumps(about, ensure_ascii=False), "utf8")
                scratch.replace(facts)
                seconds += about["seconds"]
            number += 1
        print(f"{engine}: {number} clips, {seconds / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
