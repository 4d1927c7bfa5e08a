# SPDX-License-Identifier: GPL-3.0-or-later
"""How far labels are from the sound: `python -m loquent.tools.speech.lateness --corpus FOLDER [--clips 120]`.

For each engine, in milliseconds, positive where the label is late: sibilants against the energy above 4 kHz, vowels against that of
200 to 1200 Hz (best lag of the correlation), and, between vowels, the begin of p b m against the steepest fall of the energy of
500 to 5000 Hz and the release that articulation.closures assumes against its steepest rise (median, and how many lie within 20 ms).
"""

import argparse
from pathlib import Path

import numpy as np

from . import articulation
from .clips import Source, sources

STEP, RATE = 80, 200  # samples of 16 kHz; frames a second


def bands(samples: np.ndarray) -> np.ndarray:
    """(3, n) log energies every 5 ms: above 4 kHz less the voice's, 200 to 1200 Hz, 500 to 5000 Hz; frame k around k * 5 ms."""
    padded = np.pad(samples, (160, 400))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 320)[::STEP] * np.hanning(320)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hertz = np.fft.rfftfreq(320, 1 / 16000)

    def level(low: float, high: float) -> np.ndarray:
        return np.log10(power[:, (hertz >= low) & (hertz < high)].sum(1) + 1e-6)

    voice = level(200, 1200)
    return np.stack((level(4000, 8000) - voice, voice, level(500, 5000)))


def best_lag(label: np.ndarray, energy: np.ndarray, reach: int = 24) -> float:
    """Milliseconds by which `label` is later than `energy`."""
    inside = slice(reach, len(label) - reach)
    scores = [np.corrcoef(np.roll(label, -lag)[inside], energy[inside])[0, 1] for lag in range(-reach, reach + 1)]
    return 1000 / RATE * (int(np.nanargmax(scores)) - reach)


def measured(clip: Source) -> dict[str, list[float]]:
    samples = clip.samples()
    levels = bands(samples / max(1e-6, float(np.abs(samples).max())))
    phones = articulation.simple_phones(clip.facts["phones"])
    t = np.arange(levels.shape[1]) / RATE
    out: dict[str, list[float]] = {"sibilant": [], "vowel": [], "begin": [], "release": []}
    for name, row, symbols in (("sibilant", 0, articulation.HISSED), ("vowel", 1, set(articulation.VOWELS))):
        label = np.zeros(len(t))
        for symbol, begin, end in phones:
            if symbol in symbols:
                label[(t >= begin) & (t < end)] = 1
        if label[24:-24].std() > 0.1:
            out[name].append(best_lag(label, levels[row]))
    steps = np.gradient(np.convolve(levels[2], np.full(3, 1 / 3), "same"))
    for before, here, after in zip(phones, phones[1:], phones[2:], strict=False):
        if here[0] in articulation.SEALED and before[0] in articulation.VOWELS and after[0] in articulation.VOWELS:
            shut = articulation.closures([before, here, after])[0]
            middle = (shut[1] + shut[2]) / 2
            early, late = (int(RATE * (middle + x)) for x in (-0.09, 0.09))
            if early > 0 and late < len(t):
                fall = (early + np.argmin(steps[early : int(RATE * middle) + 4])) / RATE
                rise = (int(RATE * middle) - 3 + np.argmax(steps[int(RATE * middle) - 3 : late])) / RATE
                out["begin"].append(1000 * (shut[1] - fall))
                out["release"].append(1000 * (shut[2] - rise))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=120)
    arguments = parser.parse_args()
    clips = [clip for clip in sources(arguments.corpus, None) if clip.source != "nobody"]
    print(f"{'engine':14}{'sibilants':>18}{'vowels':>18}{'p b m begin':>26}{'p b m release':>26}")
    for engine in sorted({clip.source for clip in clips}):
        mine = [clip for clip in clips if clip.source == engine]
        found = [measured(clip) for clip in mine[:: max(1, len(mine) // arguments.clips)][: arguments.clips]]
        cells = []
        for name, width in (("sibilant", 18), ("vowel", 18), ("begin", 26), ("release", 26)):
            values = np.array([v for f in found for v in f[name]])
            text = f"{np.median(values):+.0f} ({len(values)})" if len(values) else "-"
            if name in ("begin", "release") and len(values):
                text = f"{np.median(values):+.0f}, {np.mean(np.abs(values) <= 20):.0%} ({len(values)})"
            cells.append(f"{text:>{width}}")
        print(f"{engine:14}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
