# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the test sets: `python -m loquent.tools.speech.heldout --engines FOLDER --out FOLDER`.

OUT/unseen: voices that training never hears, in languages that it does. OUT/languages: languages that it never hears
(Japanese and Hindi by neural voices; German, Polish, Russian by espeak-ng, robotic but with exact phone times).
OUT/noise and OUT/telephone: twenty of those once more at 5 dB, and at 300 to 3400 Hz and 8 kHz. Each clip is a .flac
at 16 kHz (telephone: 8 kHz) and a .phones.json: voice, language, text, seed, seconds, phones as (symbol, begin, end) with "_"
for silence, and where the times come from. All sentences were written for this project (CC0).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from ...core.speech.audio import resample
from . import align, voices
from .articulation import ended_with_the_sound

ENGLISH = (
    "Papa bought a big brown puppy at the farm.",
    "We hope the summer boat trip will make Tom happy.",
    "A cup of warm milk helps my baby nap.",
    "Please move the purple lamp above the map.",
    "Every good film begins before the problem appears.",
    "The judge will visit the beach with seven fresh fish.",
    "You should choose two shoes for the new school.",
    "Maybe Bob and Pam can bump into them at camp.",
    "Nothing was farther from my father's thoughts.",
    "Did you leave the door open when it began to rain?",
    "The five of us would have voted for a better view.",
    "Sophie keeps her paper maps in a wooden box upstairs.",
)
FRENCH = (
    "Bonjour, je m'appelle Ada et j'habite au bord de la mer.", "Papa a vu un beau bateau bleu près du pont.",
    "Ma petite sœur veut boire une soupe bien chaude.", "Combien de pommes vertes avez-vous mangées ce matin ?",
    "Le vieux boulanger vend du pain frais tous les jours.", "Peux-tu fermer la porte et ouvrir la fenêtre ?",
)  # fmt: skip
ITALIAN = ("Mia mamma prepara una buona pasta al pomodoro.", "Il bambino ha perso la palla sotto il ponte.",
           "Vorrei bere un bicchiere di vino prima di partire.")  # fmt: skip
JAPANESE = (
    "わたしの ままは まいばん ぱんを たべます。", "まもなく あめが ふりそうです。", "ぼくの ぼーしは あかい はこの なかです。",
    "ふゆの ふじさんは とても うつくしい。", "えきまえの ぱんやで あんぱんを みっつ かいました。", "なつやすみに うみで ふねを みました。",
    "いもーとは ぴあのを ひくのが すきです。", "あさごはんの まえに さんぽを しましょー。", "この みせの ぷりんは ほんとーに おいしい。",
    "びょーいんまで ばすで ごふん かかります。",
)  # fmt: skip
HINDI = (
    "मेरी माँ ने बाज़ार से पपीता खरीदा।", "पापा बाहर बगीचे में पौधे लगा रहे हैं।", "बच्चे मैदान में फुटबॉल खेल रहे हैं।", "मुझे गरम चाय और बिस्कुट पसंद हैं।",
    "बारिश में भीगना मुझे बहुत अच्छा लगता है।", "वह अपनी बहन के साथ मुंबई जा रहा है।", "आप कब वापस आएंगे?", "पुराने पुल के पास एक मंदिर है।",
)  # fmt: skip
GERMAN = (
    "Meine Mutter backt am Abend einen warmen Apfelkuchen.", "Der blaue Ballon fliegt über den Fluss.", "Wann fährt der Bus nach Bamberg ab?",
    "Viele Vögel bauen im Frühling ihre Nester.", "Wir wollen übermorgen bei Papa wohnen.", "Fünf Freunde kaufen frisches Obst.",
)  # fmt: skip
POLISH = (
    "Moja mama piecze pyszny placek ze śliwkami.", "Babcia kupiła dwa bilety na pociąg.", "Wieczorem pójdziemy razem nad wodę.",
    "Czy możesz otworzyć okno w pokoju?", "Pies mojego brata biega po polu.",
)  # fmt: skip
RUSSIAN = (
    "Моя мама купила белую рубашку.", "Папа пьёт тёплое молоко по утрам.", "Во дворе бегают весёлые собаки.", "Мы поедем в Москву на поезде.",
    "Бабушка варит вкусный борщ.",
)  # fmt: skip

PLAN = (
    # folder, engine, voices, language, sentences: voices take turns
    ("unseen", "kokoro", ("af_bella", "am_michael", "bf_emma", "am_puck"), "en-us", ENGLISH * 2),
    ("unseen", "flite", ("rms",), "en-us", ENGLISH[:6]),
    ("unseen", "kokoro", ("ff_siwis",), "fr-fr", FRENCH),
    ("unseen", "kokoro", ("ff_siwis", "am_michael"), "it", ITALIAN),
    ("languages", "kokoro", ("jf_alpha", "jm_kumo"), "ja", JAPANESE),
    ("languages", "kokoro", ("hf_alpha", "hm_omega"), "hi", HINDI),
    ("languages", "espeak", ("de+f2", "de"), "de", GERMAN),
    ("languages", "espeak", ("pl", "pl+f3"), "pl", POLISH),
    ("languages", "espeak", ("ru+m3", "ru+f1"), "ru", RUSSIAN),
)


def spoken(
    engine: str, voice: str, language: str, sentence: str, machines: dict
) -> tuple[np.ndarray, voices.Phones, str]:
    """16 kHz samples, phones and the source of their times."""
    if engine == "espeak":
        samples, rate, phones = machines["espeak"].speak(sentence, voice, 160, 50)
        return resample(samples, rate), phones, "espeak-ng's phone events (exact)"
    if engine == "flite":
        samples, rate, phones = voices.flite(sentence, voice, 1.0)
        return resample(samples, rate), phones, "flite's segments (exact)"
    kokoro = machines["kokoro"]
    english = language.startswith("en")
    ipa = machines["hibari"].phonemes(sentence) if english else voices.ipa_of(sentence, language)
    samples, rate, phones = kokoro.speak(ipa, kokoro.voices[voice], 0.95)
    samples = resample(samples, rate)
    aligned = align.aligned(samples, sentence) if english else None
    if aligned:
        return samples, aligned, "PocketSphinx two-pass alignment"
    return samples, phones, "durations inside Kokoro-82M, moved 48 ms earlier (its measured lateness)"


def at_five_decibels(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pinkish noise 5 dB below the speech, whose level is that of the samples above 5 % of the peak."""
    spectrum = np.fft.rfft(rng.normal(size=len(samples)))
    hiss = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 30) ** -0.4, len(samples))
    loud = samples[np.abs(samples) > 0.05 * np.abs(samples).max()]
    return samples + hiss / hiss.std() * np.sqrt(np.mean(np.square(loud))) * 10 ** (-5 / 20)


def by_telephone(samples: np.ndarray) -> np.ndarray:
    """8 kHz samples between 300 and 3400 Hz, through the 8 bits of the mu-law."""
    spectrum = np.fft.rfft(samples)
    hertz = np.linspace(0, 8000, len(spectrum))
    gain = 1 / (1 + (300 / np.maximum(hertz, 1)) ** 8) / (1 + (hertz / 3400) ** 24)
    narrow = np.fft.irfft(spectrum * np.sqrt(gain), len(samples))[::2]
    x = narrow / np.abs(narrow).max()
    coded = np.round(np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) * 127) / 127
    return np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255 * 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    machines = {
        "kokoro": voices.Kokoro(arguments.engines),
        "hibari": voices.Hibari(arguments.engines),
        "espeak": voices.Espeak(),
    }
    seed, worse = 0, 0
    for folder, engine, speakers, language, sentences in PLAN:
        for i, sentence in enumerate(sentences):
            # the second round of the English sentences goes to the other pair of voices
            voice = speakers[(i + (2 if i >= len(sentences) // 2 and len(speakers) == 4 else 0)) % len(speakers)]
            name = f"{seed:03d}_{voice.replace('+', '-')}_{language}"
            samples, phones, source = spoken(engine, voice, language, sentence, machines)
            pad = np.zeros(int(0.3 * 16000), np.float32)
            samples = np.concatenate((pad, samples * 0.7 / np.abs(samples).max(), pad)).astype(np.float32)
            phones = [(s, b + 0.3, e + 0.3) for s, b, e in phones]
            ended = ended_with_the_sound(phones, samples, len(samples) / 16000)
            facts = {
                "voice": voice, "engine": engine, "language": language, "text": sentence, "seed": seed, "source": source,
                "seconds": len(samples) / 16000,
                "phones": [[s, round(max(b, 0), 4), round(min(e, len(samples) / 16000), 4)] for s, b, e in ended],
            }  # fmt: skip
            versions = {folder: (samples, 16000)}
            if seed % 7 in (1, 4, 6) and worse < 20 and seed % 3 != 1:
                worse += 1
                versions["noise"] = at_five_decibels(samples, np.random.default_rng([seed, 5])), 16000
                versions["telephone"] = by_telephone(samples), 8000
            for where, (sound, rate) in versions.items():
                (arguments.out / where).mkdir(parents=True, exist_ok=True)
                path = arguments.out / where / f"{name}.flac"
                soundfile.write(path, sound / max(1, np.abs(sound).max() * 1.02), rate, subtype="PCM_16")
                path.with_suffix(".phones.json").write_text(json.dumps(facts, ensure_ascii=False) + "\n", "utf8")
            seed += 1
    print(f"{seed} sentences, {worse} of them also in noise and by telephone, in {arguments.out}")


if __name__ == "__main__":
    main()
