# SPDX-License-Identifier: GPL-3.0-or-later
"""Phone times -> a vocal tract's movement, by VocalTractLab's model of articulation (Birkholz 2013; GPL-3, a tool of the factory only).

`python -m loquent.tools.speech.tract` prints what the tract does in every phone beside the tables of articulation.py. `pip install
vocaltractlab-cython==0.0.17`; some of the imagined speakers of articulation.table move their lips and tongue by it.

Each phone is a gesture: vowels pull the whole tract, consonants lips, tip or body of the tongue, and the tract's
parameters follow as critically damped systems. VocalTractLab's speaker JD3 was measured by magnetic resonance. Of his
parameters we read jaw angle, protrusion and distance of the lips, and the tongue's tip. Gestural scores are written here
directly: its own conversion of phones to gestures knows German alone and takes a hundred times as long.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .voices import Phones

RATE, EVERY = 44100 / 110, 4  # states of a tract a second, and which of them are read
TIME_CONSTANT = 0.012
SHORTEST = 0.02  # of a gesture; VocalTractLab refuses those of a few milliseconds
LEAD = 0.045
"""Seconds that a consonant's gesture begins before its sound: what VocalTractLab's own scores give (38 to 50 ms)."""
PARAMETERS = {"jaw": "JA", "protrusion": "LP", "distance": "LD", "tip": "TTX"}

VOWELS = {
    "a": "a", "ɑ": "a", "æ": "E", "ɐ": "6", "ʌ": "6", "ɛ": "E", "e": "e", "ɪ": "I", "i": "i", "ə": "@", "ɚ": "@", "ɜ": "9", "ɔ": "O",
    "ɒ": "O", "o": "o", "ʊ": "U", "u": "u", "y": "y", "ø": "2", "œ": "9", "ɨ": "I", "ɯ": "i", "ɤ": "@",
    "w": "u", "ɥ": "y",
}  # fmt: skip
"""Nearest vowels of JD3, who is German."""
GESTURES = {
    shape: tuple(phones)
    for shape, phones in {
        "ll-labial-closure": "pbm", "ll-dental-fricative": "fv", "tt-alveolar-closure": "tdnɾr", "tt-alveolar-lateral": "l",
        "tt-alveolar-fricative": "sz", "tt-postalveolar-fricative": "ʃʒʂ", "tt-dental-fricative": "θð", "tb-palatal-fricative": "ɕçj",
        "tb-velar-closure": "kɡŋ", "tb-uvular-fricative": "xʁ",
    }.items()
}  # fmt: skip
TIERS = {"lip-gestures": "ll", "tongue-tip-gestures": "tt", "tongue-body-gestures": "tb"}
UNKNOWN = frozenset("ɹβwɥɚɨɯɤ")
"""Phones whose lips JD3 cannot be asked about: the tables keep them."""


@dataclass(frozen=True)
class Movement:
    """A tract at 100 Hz over (frames,): jaw in degrees (negative is open), protrusion about -1..1, distance of the lips and the
    tongue's tip forward in cm; known: 1 where JD3 has the phones that sound."""

    jaw: np.ndarray
    protrusion: np.ndarray
    distance: np.ndarray
    tip: np.ndarray
    known: np.ndarray


def score(phones: Phones, seconds: float) -> str:
    """VocalTractLab's gestural score of simple phones from time 0."""
    tiers = {name: [] for name in ("vowel-gestures", *TIERS)}
    vowels = [(VOWELS[s], b, e) for s, b, e in phones if s in VOWELS and e > 0]
    ends = [e for _, b, e in vowels[:-1]] + [seconds]
    begin = 0.0
    for (shape, _, _), end in zip(vowels or [("@", 0.0, seconds)], ends or [seconds], strict=False):
        if end > begin + SHORTEST:
            tiers["vowel-gestures"].append((shape, end - begin))
            begin = end
    if begin < seconds and tiers["vowel-gestures"]:  # the last one was too short to be a gesture
        shape, length = tiers["vowel-gestures"][-1]
        tiers["vowel-gestures"][-1] = (shape, length + seconds - begin)
    for tier, part in TIERS.items():
        at = 0.0
        for shape, symbols in _spoken(phones, part):
            first, last = max(at, symbols[0] - LEAD), symbols[1] - 0.02
            if first < at + SHORTEST:
                first = at
            if last < first + SHORTEST:
                continue
            if first > at:
                tiers[tier].append(("", first - at))
            tiers[tier].append((shape, last - first))
            at = last
    lines = ["<gestural_score>"]
    for tier, gestures in tiers.items():
        lines += [f'<gesture_sequence type="{tier}" unit="">', *(_gesture(*g) for g in gestures), "</gesture_sequence>"]
    for tier, unit, value in (
        ("velic-gestures", "", None), ("glottal-shape-gestures", "", "modal"), ("f0-gestures", "st", "82.0"),
        ("lung-pressure-gestures", "dPa", "8000.0"),
    ):  # fmt: skip
        inside = [] if value is None else [_gesture(value, seconds)]
        lines += [f'<gesture_sequence type="{tier}" unit="{unit}">', *inside, "</gesture_sequence>"]
    return "\n".join([*lines, "</gestural_score>", ""])


def _spoken(phones: Phones, part: str) -> list[tuple[str, tuple[float, float]]]:
    shapes = {symbol: shape for shape, symbols in GESTURES.items() if shape.startswith(part) for symbol in symbols}
    return [(shapes[s], (b, e)) for s, b, e in phones if s in shapes]


def _gesture(value: str, seconds: float) -> str:
    return (
        f'<gesture value="{value}" slope="0.000000" duration_s="{seconds:.6f}" '
        f'time_constant_s="{TIME_CONSTANT:.6f}" neutral="{int(not value)}" />'
    )


def movement(phones: Phones, frames: int) -> Movement:
    """What JD3's tract does over `frames` of 100 Hz while it says the simple phones; deterministic."""
    import vocaltractlab_cython as vtl

    seconds = frames / 100 + 0.1
    with tempfile.TemporaryDirectory() as folder:
        gestures, states = Path(folder, "x.ges"), Path(folder, "x.motor")
        gestures.write_text(score(phones, seconds), "utf8")
        vtl.gesture_file_to_motor_file(str(gestures), str(states))
        lines = [line for line in states.read_text("utf8").splitlines() if line and not line.startswith("#")]
    table = np.array(
        [line.split() for line in lines[3::2][::EVERY]], np.float64
    )  # a line of the glottis, one of the tract
    names = [parameter["name"] for parameter in vtl.get_param_info("tract")]
    t = np.arange(frames) / 100
    found = {
        ours: np.interp(t, np.arange(len(table)) * EVERY / RATE, table[:, names.index(theirs)])
        for ours, theirs in PARAMETERS.items()
    }
    foreign = np.zeros(frames)
    for symbol, begin, end in phones:
        if symbol in UNKNOWN:
            away = np.maximum(begin - t, t - end) / 0.06
            foreign = np.maximum(foreign, np.clip(1 - away, 0, 1))
    return Movement(**found, known=1 - foreign)


def rounding(movement: Movement) -> tuple[np.ndarray, np.ndarray]:
    """mouthPucker and mouthFunnel: protruded lips pucker, and the farther apart they are the more they are a funnel."""
    round_ = np.clip((movement.protrusion - 0.10) / 0.85, 0, 1)
    return 0.8 * round_, round_ * np.clip(2.4 * movement.distance - 0.5, 0.2, 2.2)


def parting(movement: Movement) -> tuple[np.ndarray, np.ndarray]:
    """mouthLowerDown and mouthUpperUp: lips 1 cm apart, as in a, are .17 and .08 beyond what the jaw does."""
    distance = np.clip(movement.distance, 0, 1.4)
    return 0.168 * distance, 0.084 * distance


def tongue(movement: Movement) -> np.ndarray:
    """tongueOut: a tip that is forward of where vowels have it, as in l, t, θ; it never leaves JD3's mouth."""
    return 0.06 * np.clip((movement.tip - 4.55) / 0.45, 0, 1)


def opening(movement: Movement) -> np.ndarray:
    """jawOpen: .5 where the jaw hangs as in a, 0 where it is as high as in f."""
    return 0.5 * np.clip((-movement.jaw - 1.7) / 2.4, 0, 1.3)


def main() -> None:
    from . import articulation

    phones: Phones = [("_", 0.0, 0.2)]
    marks, t = [], 0.2
    for symbol in (*articulation.VOWELS, *articulation.CONSONANTS):
        vowel = symbol in articulation.VOWELS
        beside, own = ("t", 0.17) if vowel else ("a", 0.09)
        phones += [(beside, t, t + 0.12), (symbol, t + 0.12, t + 0.12 + own), (beside, t + 0.12 + own, t + 0.24 + own)]
        marks.append((symbol, t + 0.12 + 0.4 * own, t + 0.12 + 0.8 * own))
        phones.append(("_", t + 0.24 + own, t + 0.5))
        t += 0.5
    moved = movement(phones, int(100 * t) + 10)
    pairs = {"jaw": ([], []), "rounding": ([], []), "lips apart": ([], [])}
    print("phone   jaw, tract and table   rounding   lips apart")
    for symbol, begin, end in marks:
        target = articulation.VOWELS.get(symbol) or articulation.CONSONANTS[symbol]
        here = slice(int(100 * begin), int(100 * end) + 1)
        if not moved.known[here].all():
            continue
        numbers = (
            (opening(moved)[here].mean(), target[0]),
            (np.sum(rounding(moved), 0)[here].mean(), target[1] + target[2]),
            (parting(moved)[0][here].mean(), target[5]),
        )
        for (tract, table), (first, second) in zip(numbers, pairs.values(), strict=True):
            first.append(tract)
            second.append(table)
        print(f"{symbol}   " + "   ".join(f"{tract:.2f} {table:.2f}" for tract, table in numbers))
    print("correlation: " + ", ".join(f"{k} {np.corrcoef(*v)[0, 1]:.2f}" for k, v in pairs.items()))


if __name__ == "__main__":
    main()
