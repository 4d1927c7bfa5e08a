# SPDX-License-Identifier: GPL-3.0-or-later
"""Phone times -> curves of the mouth channels at 50 Hz: what the synthetic half of the corpus teaches.

Coarticulation is Cohen & Massaro's (1993): each phone pulls each channel towards its target with a dominance that decays
around it, and a channel is the dominance-weighted mean of the targets. Over that stand hard constraints in the manner of
JALI (Edwards et al. 2016): p b m seal the lips, f v put the lower lip to the upper teeth, sibilants keep the jaw narrow,
silence rests. Loud vowels open wider. The numbers in the tables were chosen for this project by looking at the built-in
head; they are one speaker's articulation, not a measurement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...core.prior.mouth import OUTPUTS
from . import tract

RATE = 100  # curves are made at this rate and read at 50 Hz
COLUMN = {name: i for i, name in enumerate(OUTPUTS)}

VOWELS = {
    # phone: jaw, pucker, funnel, smile, stretch, lowerDown, upperUp
    "a": (0.54, 0.00, 0.00, 0.02, 0.04, 0.16, 0.08), "ɑ": (0.57, 0.00, 0.06, 0.00, 0.00, 0.14, 0.07), "æ": (0.47, 0.00, 0.00, 0.10, 0.14, 0.18, 0.10),
    "ɐ": (0.42, 0.00, 0.00, 0.02, 0.03, 0.13, 0.06), "ʌ": (0.35, 0.00, 0.04, 0.00, 0.02, 0.12, 0.06), "ɛ": (0.33, 0.00, 0.00, 0.09, 0.12, 0.18, 0.10),
    "e": (0.26, 0.00, 0.00, 0.13, 0.16, 0.17, 0.09), "ɪ": (0.18, 0.00, 0.00, 0.10, 0.12, 0.15, 0.08), "i": (0.12, 0.00, 0.00, 0.20, 0.20, 0.17, 0.09),
    "ə": (0.20, 0.02, 0.04, 0.00, 0.00, 0.11, 0.05), "ɚ": (0.20, 0.16, 0.20, 0.00, 0.00, 0.13, 0.06), "ɜ": (0.23, 0.16, 0.20, 0.00, 0.00, 0.14, 0.06),
    "ɔ": (0.45, 0.26, 0.40, 0.00, 0.00, 0.10, 0.05), "ɒ": (0.47, 0.18, 0.30, 0.00, 0.00, 0.11, 0.06), "o": (0.29, 0.50, 0.46, 0.00, 0.00, 0.07, 0.04),
    "ʊ": (0.18, 0.55, 0.26, 0.00, 0.00, 0.07, 0.04), "u": (0.11, 0.86, 0.26, 0.00, 0.00, 0.04, 0.03), "y": (0.10, 0.84, 0.26, 0.00, 0.00, 0.05, 0.03),
    "ø": (0.20, 0.56, 0.36, 0.00, 0.00, 0.07, 0.04), "œ": (0.30, 0.40, 0.36, 0.00, 0.00, 0.10, 0.05), "ɨ": (0.14, 0.00, 0.00, 0.10, 0.12, 0.13, 0.06),
    "ɯ": (0.13, 0.00, 0.00, 0.08, 0.10, 0.12, 0.06), "ɤ": (0.23, 0.00, 0.02, 0.03, 0.04, 0.12, 0.06),
}  # fmt: skip
CONSONANTS = {
    # phone: jaw, pucker, funnel, smile, stretch, lowerDown, upperUp; dominance over jaw, lips, rounding
    "p": (0.07, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.7, 1.0, 0.15), "b": (0.07, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.7, 1.0, 0.15),
    "m": (0.07, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.6, 1.0, 0.15), "f": (0.07, 0.00, 0.00, 0.02, 0.04, 0.00, 0.13, 1.0, 1.0, 0.40),
    "v": (0.07, 0.00, 0.00, 0.02, 0.04, 0.00, 0.13, 1.0, 1.0, 0.40), "s": (0.05, 0.00, 0.00, 0.08, 0.12, 0.26, 0.12, 1.0, 0.6, 0.25),
    "z": (0.05, 0.00, 0.00, 0.08, 0.12, 0.26, 0.12, 1.0, 0.6, 0.25), "ʃ": (0.06, 0.28, 0.50, 0.00, 0.00, 0.22, 0.14, 1.0, 0.7, 0.80),
    "ʒ": (0.06, 0.28, 0.50, 0.00, 0.00, 0.22, 0.14, 1.0, 0.7, 0.80), "ɕ": (0.05, 0.10, 0.26, 0.06, 0.08, 0.24, 0.13, 1.0, 0.7, 0.60),
    "ʂ": (0.06, 0.20, 0.42, 0.00, 0.00, 0.22, 0.13, 1.0, 0.7, 0.70), "t": (0.09, 0.00, 0.00, 0.04, 0.06, 0.15, 0.07, 0.5, 0.2, 0.08),
    "d": (0.09, 0.00, 0.00, 0.04, 0.06, 0.15, 0.07, 0.5, 0.2, 0.08), "n": (0.11, 0.00, 0.00, 0.04, 0.06, 0.14, 0.07, 0.4, 0.2, 0.08),
    "ɾ": (0.11, 0.00, 0.00, 0.03, 0.05, 0.14, 0.07, 0.3, 0.2, 0.08), "l": (0.15, 0.00, 0.00, 0.04, 0.05, 0.15, 0.07, 0.35, 0.2, 0.10),
    "r": (0.13, 0.00, 0.00, 0.02, 0.04, 0.14, 0.07, 0.35, 0.2, 0.10), "θ": (0.12, 0.00, 0.00, 0.02, 0.05, 0.20, 0.08, 0.8, 0.6, 0.20),
    "ð": (0.12, 0.00, 0.00, 0.02, 0.05, 0.20, 0.08, 0.7, 0.5, 0.20), "k": (0.14, 0.00, 0.00, 0.03, 0.04, 0.13, 0.06, 0.25, 0.15, 0.06),
    "ɡ": (0.14, 0.00, 0.00, 0.03, 0.04, 0.13, 0.06, 0.25, 0.15, 0.06), "ŋ": (0.15, 0.00, 0.00, 0.03, 0.04, 0.13, 0.06, 0.25, 0.15, 0.06),
    "h": (0.20, 0.00, 0.00, 0.00, 0.00, 0.10, 0.05, 0.08, 0.08, 0.04), "x": (0.17, 0.00, 0.00, 0.02, 0.03, 0.13, 0.06, 0.3, 0.15, 0.06),
    "ʁ": (0.18, 0.00, 0.02, 0.00, 0.00, 0.12, 0.06, 0.3, 0.15, 0.06), "ɹ": (0.12, 0.30, 0.28, 0.00, 0.00, 0.13, 0.06, 0.5, 0.5, 0.60),
    "w": (0.09, 0.90, 0.28, 0.00, 0.00, 0.03, 0.02, 0.7, 0.9, 1.40), "ɥ": (0.09, 0.84, 0.26, 0.00, 0.00, 0.04, 0.02, 0.7, 0.9, 1.20),
    "j": (0.10, 0.00, 0.00, 0.16, 0.17, 0.15, 0.08, 0.5, 0.4, 0.30), "ç": (0.11, 0.00, 0.00, 0.12, 0.14, 0.18, 0.09, 0.6, 0.4, 0.25),
    "β": (0.08, 0.00, 0.00, 0.00, 0.00, 0.02, 0.01, 0.6, 0.8, 0.15), "ʔ": (0.20, 0.00, 0.00, 0.00, 0.00, 0.10, 0.05, 0.02, 0.02, 0.02),
}  # fmt: skip
SAME_AS = {
    "ɫ": "l", "ʎ": "j", "ɲ": "n", "ɳ": "n", "ɴ": "ŋ", "ɻ": "ɹ", "ɽ": "ɾ", "ɖ": "d", "ʈ": "t", "c": "k", "ɟ": "ɡ", "g": "ɡ", "q": "k", "χ": "x",
    "ɣ": "x", "ɦ": "h", "ʝ": "j", "ʋ": "v", "ɱ": "m", "ɸ": "f", "ʐ": "ʒ", "ʑ": "ʒ", "ʀ": "ʁ", "ᵻ": "ɪ", "ᵊ": "ə", "ɘ": "ə", "ɵ": "ø", "ɞ": "œ",
    "ɝ": "ɜ", "ʏ": "y", "ɰ": "ɡ", "ʍ": "w", "ʉ": "u", "T": "ɾ",
}  # fmt: skip
SPLIT = {
    "A": "eɪ",
    "I": "aɪ",
    "O": "oʊ",
    "W": "aʊ",
    "Y": "ɔɪ",
    "Q": "əʊ",
    "ʤ": "dʒ",
    "ʧ": "tʃ",
    "ʣ": "dz",
    "ʦ": "ts",
    "ʨ": "tɕ",
    "ʥ": "dɕ",
    "ꭧ": "tʂ",
}
SEALED, BITTEN, HISSED = set("pbm"), set("fv"), set("szʃʒɕʂ")

CHANNELS = ("jawOpen", "mouthPucker", "mouthFunnel", "mouthSmile", "mouthStretch", "mouthLowerDown", "mouthUpperUp")
GROUP_OF = (0, 2, 2, 1, 1, 1, 1)  # jaw, lips, rounding
DECAY = (24.0, 26.0, 14.0)  # of the dominance, per second, for each group: rounding starts early and ends late
TONGUE = {"θ": 0.34, "ð": 0.28, "l": 0.03, "n": 0.02, "t": 0.02, "d": 0.02}

Phones = list[tuple[str, float, float]]


def simple_phones(phones: Phones) -> Phones:
    """Any engine's symbols -> the table's: marks dropped, diphthongs and affricates split, short gaps closed."""
    out: Phones = []
    for symbol, begin, end in phones:
        parts = "".join(SPLIT.get(c, c) for c in symbol)
        parts = [SAME_AS.get(c, c) for c in parts if c in VOWELS or c in CONSONANTS or c in SAME_AS or c == "_"]
        if not parts:
            if out:
                out[-1] = (out[-1][0], out[-1][1], end)
            continue
        if parts == ["_"] and end - begin < 0.08 and out:
            out[-1] = (out[-1][0], out[-1][1], end)
            continue
        share = 0.4 if parts[0] in "td" and len(parts) == 2 else 0.55 if len(parts) == 2 else 1 / len(parts)
        middle = begin
        for i, part in enumerate(parts):
            stop = end if i == len(parts) - 1 else middle + share * (end - begin)
            out.append((part, middle, stop))
            middle = stop
    return out


def plateau(t: np.ndarray, begin: float, end: float, attack: float, release: float) -> np.ndarray:
    """1 on [begin, end] with raised-cosine flanks of `attack` seconds before and `release` seconds after."""
    rise = np.clip((t - (begin - attack)) / attack, 0, 1)
    fall = np.clip(((end + release) - t) / release, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))


SHARE_SHUT = {"p": 0.6, "b": 0.8, "m": 0.92}
"""Of a sounding p b m that the lips are shut: up to its burst, its release, nearly all."""
LONGEST_SHUT = {"p": 0.11, "b": 0.11, "m": 0.15}
SHORTEST_SHUT = 0.045


def closures(phones: Phones) -> Phones:
    """(phone, begin, end) of the moments the lips are shut in simple phones, in order; neighbours (mp, bm) are one.

    A closure lasts 45 to 110 ms (m: 150) and lies before its release; what it lacks in length it takes from the phone before
    and after, but of a vowel never more than a fifth, so that a vowel of 60 ms between two p is still open for 36.
    """
    out: Phones = []
    for i, (symbol, begin, end) in enumerate(phones):
        if symbol not in SEALED:
            continue
        stop = begin + SHARE_SHUT[symbol] * (end - begin)
        start = max(begin, stop - LONGEST_SHUT[symbol])
        lack = SHORTEST_SHUT - (stop - start)
        if lack > 0:
            stop = min(stop + lack / 2, _limit(phones, i + 1, end, 1))
            start = max(start - max(0.0, SHORTEST_SHUT - (stop - start)), _limit(phones, i - 1, begin, -1))
        if out and phones[i - 1][0] in SEALED and start - out[-1][2] < 0.04:
            out[-1] = (symbol, out[-1][1], stop)
        else:
            out.append((symbol, start, stop))
    return out


SHORTEST_BITE = 0.055


def bites(phones: Phones) -> Phones:
    """(phone, begin, end) of the moments the lower lip is at the upper teeth: f and v, at least 55 ms even in fast speech."""
    out: Phones = []
    for i, (symbol, begin, end) in enumerate(phones):
        if symbol in BITTEN:
            start, stop = begin + 0.01, end - 0.01
            lack = max(0.0, SHORTEST_BITE - (stop - start)) / 2
            start, stop = (
                max(start - lack, _limit(phones, i - 1, begin, -1)),
                min(stop + lack, _limit(phones, i + 1, end, 1)),
            )
            out.append((symbol, start, stop))
    return out


def _limit(phones: Phones, neighbour: int, edge: float, side: int) -> float:
    """How far a closure may reach over `edge` into its neighbour."""
    if not 0 <= neighbour < len(phones):
        return edge + side * 0.03
    symbol, begin, end = phones[neighbour]
    return edge + side * (0.2 if symbol in VOWELS else 0.6) * min(end - begin, 0.1)


@dataclass(frozen=True)
class Table:
    """One speaker's habits: factors on the tables above. Number 0 is the tables as they stand.

    jaw, spread, rounding, lower, upper: amplitudes; crisp: how fast dominance decays; lead: how early rounding begins; loudness,
    length: how much loud and long vowels open; press, hiss: lips in p b m, jaw in s; vowels: (vowel -> factors on its targets).
    tract, tract_jaw: how much of rounding, of lips parting and tongue, and of the jaw is VocalTractLab's (tract.py), 0 to 1.
    """

    number: int = 0
    jaw: float = 1.0
    spread: float = 1.0
    rounding: float = 1.0
    lower: float = 1.0
    upper: float = 1.0
    crisp: float = 1.0
    lead: float = 1.0
    loudness: float = 0.28
    length: float = 0.4
    press: float = 1.0
    hiss: float = 1.0
    vowels: Mapping[str, np.ndarray] = field(default_factory=dict)
    tract: float = 0.0
    tract_jaw: float = 0.0


TABLE = Table()
TRACTS = 100
"""From this number on imagined speakers move after VocalTractLab's tract, each as far as he does."""


def table(number: int) -> Table:
    """The habits of imagined speaker `number`."""
    if not number:
        return TABLE
    rng = np.random.default_rng([number, 11])

    def about(spread: float) -> float:
        return float(np.exp(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread)))

    return Table(
        number, jaw=about(0.18), spread=about(0.35), rounding=about(0.18), lower=about(0.3), upper=about(0.35), crisp=about(0.16),
        lead=about(0.2), loudness=rng.uniform(0.12, 0.42), length=rng.uniform(0.25, 0.5), press=about(0.3), hiss=about(0.25),
        vowels={v: np.exp(rng.normal(0, 0.09, 7)) for v in VOWELS},
        tract=rng.uniform(0.4, 1.0) if number >= TRACTS else 0.0, tract_jaw=rng.uniform(0.0, 0.4) if number >= TRACTS else 0.0,
    )  # fmt: skip


def curves(phones: Phones, samples: np.ndarray, frames: int, habits: Table = TABLE) -> np.ndarray:
    """Curves of OUTPUTS, (frames, len(OUTPUTS)) float32 at 50 Hz, for any engine's phones over 16 kHz samples."""
    t = np.arange(2 * frames) / RATE
    phones = ended_with_the_sound(simple_phones(phones), samples, frames / 50)
    out = np.zeros((len(t), len(OUTPUTS)))
    opening = _opening(samples, phones, habits)
    amplitude = np.array(
        [habits.jaw, habits.rounding, habits.rounding, habits.spread, habits.spread, habits.lower, habits.upper]
    )
    weights = np.zeros((3, len(t)))
    mixed = np.zeros((len(CHANNELS), len(t)))
    for (symbol, begin, end), opened in zip(phones, opening, strict=True):
        before = np.maximum(0, (begin + end) / 2 - t - 0.3 * (end - begin))
        after = np.maximum(0, t - (begin + end) / 2 - 0.3 * (end - begin))
        if symbol == "_":
            target, strength = np.zeros(len(CHANNELS)), (0.8, 0.8, 0.5)
            reach = max(0.0, (end - begin) / 2 - 0.05)
            before, after = np.maximum(0, (begin + end) / 2 - t - reach), np.maximum(0, t - (begin + end) / 2 - reach)
        elif symbol in VOWELS:
            # a closed vowel is heard for what its jaw is, so it holds on to it more than an open one's lips do
            target, strength = np.array(VOWELS[symbol]), (1.3, 0.7, 0.5 if VOWELS[symbol][1] < 0.1 else 1.1)
            target = target * habits.vowels.get(symbol, 1.0) * amplitude * np.array([opened, 1, 1, 1, 1, 1, 1])
        else:
            target, strength = np.array(CONSONANTS[symbol][:7]) * amplitude, CONSONANTS[symbol][7:]
            target[0] = CONSONANTS[symbol][0]
        for group, decay in enumerate(DECAY):
            early = decay * habits.crisp / (habits.lead if group == 2 else 1.0)
            dominance = strength[group] * np.exp(-early * before - decay * habits.crisp * after)
            weights[group] += dominance
            for channel, of in enumerate(GROUP_OF):
                if of == group:
                    mixed[channel] += dominance * target[channel]
    for channel, name in enumerate(CHANNELS):
        out[:, COLUMN[name]] = np.clip(mixed[channel] / weights[GROUP_OF[channel]], 0, 0.95)
    if habits.tract:
        _follow(out, tract.movement(phones, len(t)), habits, amplitude)
    _constrain(out, t, phones, habits)
    return out[::2].astype(np.float32)


def _follow(out: np.ndarray, movement: tract.Movement, habits: Table, amplitude: np.ndarray) -> None:
    """The curves drawn towards a vocal tract's movement, in place; phones that its speaker lacks stay the tables'."""
    share = habits.tract * movement.known
    theirs = (*tract.rounding(movement), *tract.parting(movement))
    for name, curve in zip(("mouthPucker", "mouthFunnel", "mouthLowerDown", "mouthUpperUp"), theirs, strict=True):
        ours = out[:, COLUMN[name]]
        ours += share * (np.clip(amplitude[CHANNELS.index(name)] * curve, 0, 0.95) - ours)
    jaw = out[:, COLUMN["jawOpen"]]
    jaw += habits.tract_jaw * movement.known * (np.clip(habits.jaw * tract.opening(movement), 0, 0.95) - jaw)
    out[:, COLUMN["tongueOut"]] = share * tract.tongue(movement)


def ended_with_the_sound(phones: Phones, samples: np.ndarray, seconds: float) -> Phones:
    """Adjoining silences joined, silence around the whole, and the last sounds of a phrase ended where the sound ends."""
    power = np.append(0.0, np.cumsum(np.square(samples), dtype=np.float64))
    middle = np.arange(0, len(samples), 160)
    level = np.sqrt((power[np.minimum(middle + 240, len(samples))] - power[np.maximum(middle - 240, 0)]) / 480)
    quiet = level < 0.012 * level.max() if len(level) else np.zeros(0, bool)
    out: Phones = [("_", -2.0, 0.0)]
    for symbol, begin, end in [*phones, ("_", phones[-1][2] if phones else 0.0, seconds + 2)]:
        if symbol == "_" and out[-1][0] != "_":  # does the sound end before its label does?
            last, first, stop = out[-1]
            heard = np.flatnonzero(~quiet[int(max(first, 0) * 100) : int(stop * 100)])
            stop = min(stop, max(first + 0.04, first + (heard[-1] + 2) / 100 if len(heard) else 0.0))
            out[-1], begin = (last, first, stop), stop
        if symbol == out[-1][0] == "_":
            out[-1] = ("_", out[-1][1], end)
        else:
            out.append((symbol, max(begin, out[-1][2]) if out[-1][0] == "_" and len(out) == 1 else begin, end))
    if out[0][2] <= 0 < len(out) - 1:
        out[0] = ("_", -2.0, out[1][1])
    return out


OPENNESS = 0.83
"""Brings the jaw's percentiles over speech to between the two ways the captured actor speaks (95 %: .35 to .45 and .45; here .46)."""


def _opening(samples: np.ndarray, phones: Phones, habits: Table) -> list[float]:
    """Factor on each phone's jaw: how loud and how long it is beside the clip's other vowels, and how fast the clip is spoken."""
    levels = [10 * np.log10(1e-8 + np.mean(np.square(samples[int(max(b, 0) * 16000) : int(max(e, 0) * 16000) + 1] if len(samples) else 0)))
              if s != "_" else -80.0 for s, b, e in phones]  # fmt: skip
    vowels = [(level, e - b) for (s, b, e), level in zip(phones, levels, strict=True) if s in VOWELS]
    if not vowels:
        return [1.0] * len(phones)
    mean, deviation = np.mean([v[0] for v in vowels]), np.std([v[0] for v in vowels]) + 2
    pace = np.clip((np.mean([v[1] for v in vowels]) / 0.085) ** 0.3, 0.8, 1.15)
    loud = [np.clip(1 + habits.loudness * (level - mean) / deviation, 0.5, 1.6) for level in levels]
    long = [np.clip((max(0.02, e - b) / 0.09) ** habits.length, 0.5, 1.2) for _, b, e in phones]
    return [float(np.clip(OPENNESS * x * y * pace, 0.3, 1.4)) for x, y in zip(loud, long, strict=True)]


def _constrain(out: np.ndarray, t: np.ndarray, phones: Phones, habits: Table) -> None:
    """The hard constraints, in place."""
    seal, bite, hiss, rest = (np.zeros(len(t)) for _ in range(4))
    for symbol, begin, end in closures(phones):
        # lips come in 55 ms and part in 45, faster where that would swallow a short vowel
        room_before, room_after = _vowel_before(phones, begin), _vowel_after(phones, end)
        shut = plateau(
            t, begin, end, min(0.055, max(0.012, 0.45 * room_before)), min(0.045, max(0.012, 0.45 * room_after))
        )
        seal = np.maximum(seal, shut)
        out[:, COLUMN["mouthPress"]] = np.maximum(
            out[:, COLUMN["mouthPress"]], np.clip(0.34 * habits.press, 0, 0.8) * shut
        )
        roll = (0.10 if symbol == "m" else 0.15) * habits.press * shut
        for name in ("mouthRollLower", "mouthRollUpper"):
            out[:, COLUMN[name]] = np.maximum(out[:, COLUMN[name]], roll)
        if symbol != "m":
            out[:, COLUMN["cheekPuff"]] = np.maximum(out[:, COLUMN["cheekPuff"]], 0.07 * shut)
    for _, begin, end in bites(phones):
        attack, release = (
            float(np.clip(0.45 * f(phones, x), 0.015, most))
            for f, x, most in ((_vowel_before, begin, 0.06), (_vowel_after, end, 0.05))
        )
        bite = np.maximum(bite, plateau(t, begin, end, attack, release))
    for symbol, begin, end in phones:
        if symbol in HISSED:
            hiss = np.maximum(hiss, plateau(t, begin + 0.01, max(begin + 0.03, end - 0.01), 0.06, 0.06))
        elif symbol == "_" and end - begin > 0.2:
            attack, release = (0.16, 0.13) if end - begin > 0.4 else (0.1, 0.1)
            rest = np.maximum(rest, plateau(t, begin + attack, end - release, attack, release))
        if symbol in TONGUE:
            tongue = TONGUE[symbol] * plateau(t, begin + 0.01, end - 0.01, 0.06, 0.06)
            out[:, COLUMN["tongueOut"]] = np.maximum(out[:, COLUMN["tongueOut"]], tongue)
    jaw = out[:, COLUMN["jawOpen"]]
    jaw -= seal * np.maximum(0, jaw - 0.10) * 0.8
    jaw -= bite * np.maximum(0, jaw - 0.07)
    jaw -= hiss * np.maximum(0, jaw - 0.07 * habits.hiss)
    for name in ("mouthLowerDown", "mouthUpperUp", "mouthSmile"):
        out[:, COLUMN[name]] *= 1 - seal
    out[:, COLUMN["mouthLowerDown"]] *= 1 - bite
    out[:, COLUMN["mouthRollLower"]] = np.maximum(out[:, COLUMN["mouthRollLower"]], 0.42 * bite)
    out[:, COLUMN["mouthFunnel"]] *= 1 - 0.8 * seal
    out *= (1 - rest)[:, None]
    out[:, COLUMN["seal"]], out[:, COLUMN["bite"]], out[:, COLUMN["rest"]] = seal, bite, rest


def _vowel_before(phones: Phones, moment: float) -> float:
    """Seconds of vowel between `moment` and the consonant or silence before it; 1 where none ends there."""
    return next(
        (moment - b for s, b, e in reversed(phones) if s in VOWELS and b < moment and abs(e - moment) < 0.03), 1.0
    )


def _vowel_after(phones: Phones, moment: float) -> float:
    return next((e - moment for s, b, e in phones if s in VOWELS and e > moment and abs(b - moment) < 0.03), 1.0)


VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")
"""Oculus' fifteen."""
VISEME_OF = {
    symbol: viseme
    for viseme, symbols in {
        "sil": "_", "PP": "pbmβ", "FF": "fv", "TH": "θð", "DD": "tdɾ", "kk": "kɡxhʔ", "CH": "ʃʒɕʂ", "SS": "sz", "nn": "nŋl", "RR": "ɹrʁɚɜ",
        "aa": "aɑæɐʌ", "E": "eɛəɤ", "I": "iɪjɨɯç", "O": "oɔɒøœ", "U": "uʊwyɥ",
    }.items()
    for symbol in symbols
}  # fmt: skip


def visemes(phones: Phones, frames: int) -> np.ndarray:
    """(frames,) uint8 at 50 Hz: which of VISEMES sounds in the middle of each frame, from simple phones."""
    out = np.zeros(frames, np.uint8)
    for symbol, begin, end in phones:
        first, last = (int(np.clip(np.ceil(50 * x - 0.5), 0, frames)) for x in (begin, end))
        out[first:last] = VISEMES.index(VISEME_OF[symbol])
    return out
