# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves for what hear.py hears: `python -m loquent.tools.speech.targets --corpus FOLDER --cache FOLDER [--facegood FOLDER]`.

CACHE/<source>/<number>-<hearing>.curves.npz gets, on the hearing's own clock: curves (T, 20) float16 at 50 Hz in the order of OUTPUTS,
visemes (T,) uint8, taught (20,) float32 (0 where this source knows nothing), phone_symbols and phone_times (n, 2) seconds of
the simple phones, and table (whose habits), speaker, language, source, split. CACHE/index.json lists all hearings with both
files, split.json who is kept for validation. --again rewrites curves that are there, after a change of articulation.py.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ...core.prior.mouth import OUTPUTS
from ...core.speech.encoder import frame_count
from . import align, articulation, facegood
from .clips import Hearing, Source, hearing, sources

TABLES = 64
"""Imagined speakers that the synthetic clips are given, see articulation.table; 0 speaks a quarter of what these speak."""
TRACT_SPEAKERS, TRACT_SHARE = 24, 0.2
"""Of them, beyond articulation.TRACTS, who move after VocalTractLab's tract, and the share of the clips that is theirs."""
CAPTURED_TABLE = 1000
VALIDATION = {"voices": ("am_onyx", "bf_alice"), "languages": ("cs",)}
WORSE = 9
"""Number of the hearing that hear_noise.py adds."""
SYNTHETIC = np.array(
    [name not in ("mouthFrown", "mouthShrugLower", "mouthShrugUpper", "jawForward", "noseSneer") for name in OUTPUTS],
    np.float32,
)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An uncompressed .npz, whole or not there: training may be reading along."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    with scratch.open("wb") as file:
        np.savez(file, **arrays)
    scratch.replace(path)


def labelled(clip: Source, samples: np.ndarray) -> articulation.Phones:
    """A clip's simple phones on its own clock, the edges of p b m where the sound has them (flite's are exact as they are)."""
    phones = articulation.simple_phones(clip.facts["phones"])
    return phones if clip.source == "flite" else align.snapped(samples, phones)


def targets(
    clip: Source, which: int, samples: np.ndarray, heard: Hearing, captures: Path | None
) -> dict[str, np.ndarray]:
    """The arrays of one .curves.npz; `samples` are the clip's own, `heard` one hearing of them."""
    frames = frame_count(len(heard.dry))
    phones: articulation.Phones = []
    if clip.source == "facegood":
        assert captures
        truth = facegood.curves(captures, clip.facts["clip"], frame_count(len(samples)))
        at = np.clip((np.arange(frames) / 50 - heard.shift) / heard.factor * 50, 0, len(truth) - 1)
        curves = np.stack([np.interp(at, np.arange(len(truth)), column) for column in truth.T], 1)
        taught, table = facegood.CAPTURED, CAPTURED_TABLE
    elif clip.source == "nobody":
        curves = np.zeros((frames, len(OUTPUTS)))
        curves[:, OUTPUTS.index("rest")] = 1
        taught, table, phones = SYNTHETIC, 0, [("_", 0.0, frames / 50)]
    else:
        rng = np.random.default_rng([clip.number, which, 17])
        table = 0 if rng.random() < 0.25 else int(rng.integers(1, TABLES))
        if rng.random() < TRACT_SHARE:
            table = articulation.TRACTS + int(rng.integers(TRACT_SPEAKERS))
        spoken = [
            (s, b * heard.factor + heard.shift, e * heard.factor + heard.shift) for s, b, e in labelled(clip, samples)
        ]
        curves = articulation.curves(spoken, heard.dry, frames, articulation.table(table))
        phones = articulation.ended_with_the_sound(articulation.simple_phones(spoken), heard.dry, frames / 50)
        taught = SYNTHETIC
    speaker, language = clip.facts["speaker"], clip.facts["language"]
    held = language in VALIDATION["languages"] or any(v in speaker for v in VALIDATION["voices"])
    return {
        "curves": curves.astype(np.float16), "visemes": articulation.visemes(phones, frames), "taught": taught,
        "phone_symbols": np.array([p[0] for p in phones], "U2"),
        "phone_times": np.array([p[1:] for p in phones], np.float32).reshape(-1, 2),
        "table": np.array(table), "speaker": np.array(speaker), "language": np.array(language),
        "source": np.array(clip.source), "split": np.array("valid" if held else "train"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--facegood", type=Path)
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    index, minutes = [], {}
    for clip in sources(arguments.corpus, arguments.facegood):
        for which in (*range(clip.hearings), WORSE):
            sound = arguments.cache / f"{clip.name(which)}.npz"
            path = arguments.cache / f"{clip.name(which)}.curves.npz"
            if not sound.exists():
                continue
            if arguments.again or not path.exists():
                samples = clip.samples()
                heard = hearing(samples, clip.source, clip.number, which, rendered=False)
                save(path, targets(clip, which, samples, heard, arguments.facegood))
            with np.load(path) as made:
                about = {k: made[k].item() for k in ("table", "speaker", "language", "source", "split")}
                about["frames"] = len(made["curves"])
            index.append(
                {"sound": str(sound.relative_to(arguments.cache)), "curves": str(path.relative_to(arguments.cache))}
                | about
            )
            minutes[clip.source] = minutes.get(clip.source, 0.0) + about["frames"] / 3000
    for name, facts in (("index", index), ("split", VALIDATION)):
        scratch = arguments.cache / f"{name}.part"
        scratch.write_text(json.dumps(facts, ensure_ascii=False), "utf8")
        scratch.replace(arguments.cache / f"{name}.json")
    print(f"{len(index)} hearings: " + ", ".join(f"{k} {v:.1f} minutes" for k, v in sorted(minutes.items())))


if __name__ == "__main__":
    main()
