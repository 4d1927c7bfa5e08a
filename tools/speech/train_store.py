# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins what was heard with what is to be learned: `python -m loquent.tools.speech.train_store --corpus … --cache … --store …`.

Adds to STORE (train_data.py) every hearing for which CACHE has both files (hear.py, targets.py) and which STORE lacks. Clips that
targets.py keeps for validation stay out of it and are listed in STORE/valid.json, for choosing settings. The benchmark's
voices and languages are no part of the corpus at all.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import train_data


def hearings(cache: Path, known: set[str]) -> Iterator[train_data.Hearing]:
    for path in sorted(cache.glob("*/*.curves.npz"), key=lambda p: (p.name, p.parent.name)):
        name = f"{path.parent.name}/{path.name.removesuffix('.curves.npz')}"
        sound = path.with_name(path.name.replace(".curves", ""))
        if name in known or not sound.exists():
            continue
        with np.load(path) as made, np.load(sound) as heard:
            if made["split"] != "train" or len(made["curves"]) != len(heard["features"]):
                continue
            captured = path.parent.name == "facegood"
            phones = [
                (str(s), float(b), float(e))
                for s, (b, e) in zip(made["phone_symbols"], made["phone_times"], strict=True)
            ]
            curves = made["curves"].astype(np.float32)
            states = train_data.sharp_states(curves, None if captured else phones)
            speaker = str(made["speaker"]) if captured else f"table {int(made['table'])}"
            if path.parent.name == "nobody":
                speaker = ""
            yield train_data.Hearing(
                heard["features"],
                heard["mel"],
                curves,
                states,
                made["taught"],
                int(captured),
                speaker,
                path.parent.name,
                name,
            )


def renew(store: Path, cache: Path) -> None:
    """Curves and states made again from CACHE, in place; what was heard stays."""
    index = train_data.names(store)
    arrays = {
        name: np.memmap(store / f"{name}.f16", np.float16, "r+").reshape(-1, width)
        for name, (_, width) in train_data.ARRAYS.items() if name in ("curves", "states")
    }  # fmt: skip
    for about in index:
        with np.load(cache / f"{about['name']}.curves.npz") as made:
            curves = made["curves"].astype(np.float32)
            phones = [
                (str(s), float(b), float(e))
                for s, (b, e) in zip(made["phone_symbols"], made["phone_times"], strict=True)
            ]
            taught = made["taught"]
        begin, end = about["begin"], about["begin"] + about["frames"]
        assert len(curves) == about["frames"], about["name"]
        arrays["curves"][begin:end] = curves
        arrays["states"][2 * begin : 2 * end] = train_data.sharp_states(curves, None if about["source"] else phones)
        about["style"] = [round(float(x), 5) for x in train_data.style_numbers(curves, 50, taught)]
    (store / "index.json").write_text(json.dumps(index), "utf8")


def kept_for_validation(corpus: Path, cache: Path) -> Iterator[dict]:
    """Clips (heard clean) that targets.py keeps, as train_evaluate.py reads them."""
    for path in sorted(cache.glob("*/*-0.curves.npz")):
        with np.load(path) as made:
            if made["split"] != "valid":
                continue
        clip = corpus / path.parent.name / f"{path.name.split('-')[0]}.flac"
        facts = json.loads(clip.with_suffix(".json").read_text("utf8"))
        group = "languages" if path.parent.name == "espeak" else "voices"
        yield {
            "path": str(clip),
            "set": group,
            "language": facts["language"],
            "voice": facts["speaker"],
            "phones": facts["phones"],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--again", action="store_true", help="first read the curves of what STORE holds anew")
    arguments = parser.parse_args()
    if arguments.again:
        renew(arguments.store, arguments.cache)
    known = {about["name"] for about in train_data.names(arguments.store)}
    frames = train_data.write(arguments.store, hearings(arguments.cache, known))
    valid = list(kept_for_validation(arguments.corpus, arguments.cache))
    np.random.default_rng(0).shuffle(valid)
    (arguments.store / "valid.json").write_text(json.dumps(valid, ensure_ascii=False), "utf8")
    minutes: dict[str, float] = {}
    for about in train_data.names(arguments.store):
        minutes[about["group"]] = minutes.get(about["group"], 0.0) + about["frames"] / 3000
    print(f"{frames / 180000:.2f} hours in {arguments.store} ({minutes}), {len(valid)} validation clips")


if __name__ == "__main__":
    main()
