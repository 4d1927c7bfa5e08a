# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech to motion beside everything else that runs offline: closures, timing, captured mouths, stillness, speed.

    python3.11 dev.py bench speech [--json FILE]
    python tools/bench_speech.py [--json FILE] [--plot docs/images/speech_bench.svg] [--rows ours,rhubarb] [--sets unseen,real]

docs/voice.md explains every line of the table. The clips with shipped sets are in tools/speech_bench/clips; real recordings
and other engines are fetched into build/speech_bench through pip and npm; what is not at hand is named and left out.
The first run with Rhubarb takes about as long as all clips last (ten minutes); its answers are kept.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from loquent.core.assets import DATA
from loquent.core.head.head import load_head
from loquent.core.prior.generate import generate
from loquent.core.prior.model import DEFAULT
from loquent.core.speech.audio import Audio, read_audio
from loquent.tools.figures import keep, options
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
    ("lve_mm_tails", "lip vertex error, those last fifths, mm", ""),
    ("lve_ratio", "lip vertex error / best other row", "<= .70"),
    ("opening_ratio", "opening difference / best other row", "<= .70"),
    ("variance_ratio_min", "liveliness there, least lively group", ">= .8"),
    ("variance_ratio_max", "liveliness there, liveliest group", "<= 1.2"),
    ("variance_tails_min", "least lively, those last fifths", ""),
    ("variance_tails_max", "liveliest, those last fifths", ""),
    ("jerk_ratio", "jerk / captured", "<= 1.2"),
    ("silence_ratio", "lip speed in pauses / in speech", "<= .02"),
    ("silence_ratio_noise", "the same at 5 dB noise", ""),
    ("blinks_per_min", "blinks a minute", "10 to 25"),
    ("rtf", "compute, s per s of speech", "<= .08"),
    ("cold_s", "worker's first answer, s", "<= 2.5"),
    ("weights_mb", "weights, MB", "<= 40"),
    ("shift_ms", "shifted by (its best), ms", ""),
)  # fmt: skip
OURS = ("ours", "regression", "fitted")


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
    """Seconds of compute per second of speech, everything included, in this process; first answer of a new worker; MB.

    The least of a few runs each, since others may use the machine; beside it all threads' processor time, which hardly depends on
    them, and how busy the machine was.
    """
    audio = Audio(np.concatenate([read_audio(path).samples for path in sorted(VOICE.parent.glob("voice_*.flac"))]))
    waited, worked = [], []
    for run in range(5):
        started, worked_before = time.perf_counter(), time.process_time()
        generate(audio, fps=25, seed=run)
        waited.append((time.perf_counter() - started) / audio.seconds)
        worked.append((time.process_time() - worked_before) / audio.seconds)
    code = (
        "import time; t = time.perf_counter()\nfrom loquent.core.worker.client import Launch, Worker\n"
        f"w = Worker(Launch(), 'speak', dict(pieces=[dict(path={str(VOICE)!r})], fps=25.0, seed=0, controls=dict()))\n"
        "while not w.poll(): time.sleep(0.005)\nprint(time.perf_counter() - t); w.close()"
    )
    cold = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    weights = sum(path.stat().st_size for path in DATA.glob("*.onnx")) / 1e6
    return {"rtf": min(waited), "rtf_processor": min(worked), "cold_s": min(cold), "cold_slowest_s": max(cold), "weights_mb": weights,
            "others_load": os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")}  # fmt: skip


def life_figures(clips: list[sets.Clip]) -> dict[str, float]:
    """Blinks a minute over all clean clips as one recording, mean and spread of three seeds."""
    whole = Audio(np.concatenate([clip.audio.samples for clip in clips if clip.set in ("unseen", "real", "languages")]))
    rates = [metrics.blinks_per_minute(generate(whole, fps=50, seed=seed)) for seed in range(3)]
    return {"blinks_per_min": float(np.mean(rates)), "blinks_per_min_spread": float(np.ptp(rates))}


def long_figures(hours: float) -> dict[str, float]:
    """Seconds per second and peak memory of a recording of many hours, in a process of its own; its sound alone beside it."""
    code = (
        "import resource, time, numpy as np\nfrom loquent.core.prior.generate import generate\n"
        "from loquent.core.speech.audio import Audio, read_audio\n"
        f"v = read_audio({str(VOICE)!r}).samples; generate(Audio(v), fps=25)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"a = Audio(np.resize(v, int({hours} * 3600 * 16000))); t = time.process_time(); m = generate(a, fps=25)\n"
        "print((time.process_time() - t) / a.seconds, before / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "
        "a.samples.nbytes / 1e9, m.values.nbytes / 1e9)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    names = ("long_rtf", "long_short_gb", "long_peak_gb", "long_sound_gb", "long_motion_gb")
    return {"long_hours": hours, **dict(zip(names, map(float, told), strict=True))}


def settings(text: str) -> dict[str, float | int | str]:
    """'steps=8,guidance=1.5' as keywords of Sampling."""
    kinds = {"steps": int, "sampler": str, "guidance": float, "variety": float}
    return {key: kinds[key](value) for key, value in (part.split("=") for part in text.split(","))}


def unflat(figures: dict[str, float], asked: Iterable[str]) -> dict[str, dict[str, float]]:
    """Rows of an earlier run's JSON that were not asked for now, in the table's order."""
    names = [row.name for row in rows.rows() if row.name != "ours"]
    found: dict[str, dict[str, float]] = {}
    for name in (n for n in names if n not in asked):
        longer = tuple(f"{n}_" for n in names if n.startswith(name) and n != name)
        own = {
            k.removeprefix(f"{name}_"): v
            for k, v in figures.items()
            if k.startswith(f"{name}_") and not k.startswith(longer or "-")
        }
        if own:
            found[name] = own
    return found


def run(
    asked: list[rows.Row], set_names: Iterable[str], others: dict[str, float] | None = None
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
    for row in asked:
        started = time.perf_counter()
        try:
            motions = row.motions(clips) | row.motions([capture.clip for capture in truth])
        except Missing as reason:
            notes.append(f"{row.title} was not run: {reason}.")
            continue
        table[row.name], counts[row.name] = scores.speech_figures(person, motions, clips, row.free_lag)
        native = {c.clip.name: row.at_rate(c.clip, 30.0) for c in truth if c.whole} if row.at_rate else None
        table[row.name] |= scores.capture_figures(person, motions, truth, row.free_lag, native)
        table[row.name]["rtf"] = row.compute[0] / max(row.compute[1], 1e-9)
        print(f"{row.title}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    table |= unflat(others or {}, list(table))
    if "ours" in table:
        rivals = [row for name, row in table.items() if name not in OURS and "lve_mm" in row]
        if rivals and "lve_mm" in table["ours"]:
            for name, figure in (("lve_ratio", "lve_mm"), ("opening_ratio", "opening_mm")):
                best = min(row[figure] for row in rivals)
                for own in OURS:
                    if figure in table.get(own, {}):
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


SHORT = {
    "regression": "no diffusion", "fitted": "fitted", "envelope": "loudness", "ridge": "mel ridge", "wawa": "wawa", "openfacefx": "true phones",
}  # fmt: skip
"""Rows whose title is too long for a column."""


def lines_of(table: dict[str, dict[str, float]]) -> list[tuple[str, str, list[str], bool | None]]:
    """What, target, a figure a row, whether ours meets it; lines that nobody has are left out."""
    names = [name for name in table if name != "floor"]
    out = []
    for figure, says, target in TABLE:
        values = [table[name].get(figure, float("nan")) for name in names]
        if not all(np.isnan(v) for v in values):
            mark = met(table.get("ours", {}).get(figure, float("nan")), target)
            out.append((says, target, [shown(v) for v in values], mark))
    return out


def titles(table: dict[str, dict[str, float]]) -> list[str]:
    known = {row.name: SHORT.get(row.name) or row.title for row in rows.rows()}
    return [known[name] for name in table if name != "floor"]


def remarks(
    table: dict[str, dict[str, float]], counts: dict[str, dict[str, metrics.Closures]], notes: list[str]
) -> list[str]:
    out = []
    for of, c in counts.get("ours", {}).items():
        out.append(f"Ours, {of}: {c.closed} of {c.closures} p b m closed; {c.false} of {c.vowels} vowels closed throughout their middle "
                   f"half, {c.touched} in any frame of it.")  # fmt: skip
    if "floor" in table:
        f = table["floor"]
        out.append(f"A mouth at rest: lip vertex error {f['rest_lve_mm']:.2f} mm, opening {f['rest_opening_mm']:.2f} mm; one held at the "
                   f"capture's mean: {f['mean_lve_mm']:.2f} mm, {f['mean_opening_mm']:.2f} mm.")  # fmt: skip
    ours = table.get("ours", {})
    if "rtf_processor" in ours:
        out.append(f"Speed is the least of five runs on 20 s of speech, loading included; processor time of all threads {ours['rtf_processor']:.3f} s per second. "
                   f"Worker: least of three, the slowest {ours['cold_slowest_s']:.1f} s. Load of the machine meanwhile (1 min): "
                   f"{ours['others_load']:.0f} on {os.cpu_count()} cores.")  # fmt: skip
    if "long_hours" in ours:
        out.append(f"A recording of {ours['long_hours']:g} hours: {ours['long_rtf']:.4f} s of processor time per second; at most "
                   f"{ours['long_peak_gb']:.2f} GB, of which its sound {ours['long_sound_gb']:.2f} GB and its motion "
                   f"{ours['long_motion_gb']:.2f} GB; a recording of seconds {ours['long_short_gb']:.2f} GB.")  # fmt: skip
    return [*out, *notes]


def as_text(table: dict[str, dict[str, float]], said: list[str]) -> str:
    width = 13
    out = [f"{'':40}{'target':>9}" + "".join(f"{title:>{width}}" for title in titles(table))]
    for says, target, values, mark in lines_of(table):
        out.append(
            f"{says:40}{target:>9}" + "".join(f"{v:>{width}}" for v in values) + ("  missed" if mark is False else "")
        )
    return "\n".join([*out, "", *said])


def as_markdown(table: dict[str, dict[str, float]], said: list[str]) -> str:
    names = titles(table)
    out = ["| | target | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for says, target, values, mark in lines_of(table):
        first = f"**{values[0]}**" if mark else f"{values[0]} (missed)" if mark is False else values[0]
        bars = says.replace("|", "\\|")
        out.append(f"| {bars} | {target} | " + " | ".join([first, *values[1:]]) + " |")
    return "\n".join([*out, "", *(f"* {line}" for line in said)])


def into_page(page: Path, text: str) -> None:
    """Put the table between the page's marks."""
    begin, end = "<!-- table -->", "<!-- end of table -->"
    old = page.read_text("utf8")
    head, rest = old.split(begin)
    page.write_text(head + begin + "\n" + text + "\n" + end + rest.split(end)[1], "utf8")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--page", type=Path, help="a page of docs whose table is written anew, docs/voice.md")
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), help="only these, of ours, regression, envelope, …"
    )
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(sets.SETS))
    parser.add_argument(
        "--weights", type=Path, help="a folder with another training of the prior (speed is then left out)"
    )
    parser.add_argument("--sampling", type=settings, default={}, help="as steps=8,guidance=1.5: how ours is drawn")
    parser.add_argument(
        "--others",
        type=Path,
        help="JSON of an earlier run: rows not asked for are taken from it, for when only ours has changed",
    )
    parser.add_argument("--hours", type=float, default=0, help="also speak a recording this long and report its memory")
    parser.add_argument("--offline", action="store_true", help="do not fetch recordings")
    given = parser.parse_args()
    if "real" in given.sets and not given.offline:
        for problem in real.fetch():
            print(f"Recordings: {problem}", file=sys.stderr)
    sampling = replace(DEFAULT, **given.sampling)
    asked = [row for row in rows.rows(given.weights, sampling) if not given.rows or row.name in given.rows]
    others = json.loads(given.others.read_text("utf8")) if given.others else None
    table, counts, notes = run(asked, given.sets, others)
    if "ours" in table and not given.weights:
        table["ours"] |= speed_figures() | life_figures(sets.load_sets(("unseen", "real", "languages"))[0])
        if given.hours:
            table["ours"] |= long_figures(given.hours)
    said = remarks(table, counts, notes)
    print(as_text(table, said))
    if given.page:
        into_page(given.page, as_markdown(table, said))
    keep(flat(table), given.json)
    if given.plot:
        from loquent.tools.speech_bench.plot import draw

        draw(table, TABLE, given.plot)


if __name__ == "__main__":
    main()
