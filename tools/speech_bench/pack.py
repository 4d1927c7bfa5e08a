# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the test sets that ship: `python -m loquent.tools.speech_bench.pack FOLDER`, FOLDER made by tools/speech/heldout.py.

Ogg Vorbis at 16 kHz, an eighth of the flac: small enough for the repository. Phone times are rounded to milliseconds.
"""

import argparse
import json
from pathlib import Path

import soundfile

from .sets import CLIPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=float, default=0.5, help="0 to 1, of the Vorbis encoder")
    arguments = parser.parse_args()
    for name in ("unseen", "languages"):
        out = CLIPS / name
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("*.ogg"):
            old.unlink()
        listed = {}
        for path in sorted((arguments.folder / name).glob("*.phones.json")):
            about = json.loads(path.read_text("utf8"))
            key = path.name.removesuffix(".phones.json")
            samples, rate = soundfile.read(path.with_name(f"{key}.flac"), dtype="float32")
            soundfile.write(
                out / f"{key}.ogg", samples, rate, "VORBIS", format="OGG", compression_level=1 - arguments.quality
            )
            listed[key] = {k: about[k] for k in ("engine", "voice", "language", "text", "source")}
            listed[key]["phones"] = [[s, round(b, 3), round(e, 3)] for s, b, e in about["phones"]]
        lines = (f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in listed.items())
        (CLIPS / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf8")
        size = sum(p.stat().st_size for p in out.iterdir()) / 1e6
        print(f"{name}: {len(listed)} clips, {size:.2f} MB")


if __name__ == "__main__":
    main()
