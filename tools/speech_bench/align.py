# SPDX-License-Identifier: GPL-3.0-or-later
"""Phone times of the real recordings: `python -m loquent.tools.speech_bench.align` writes real.json beside this file.

PocketSphinx 5.1.1 (`pip install pocketsphinx==5.1.1`; a tool of the benchmark, nothing of it ships) in two passes, words
then phones. On synthetic voices with exact labels its median onset error is 8 ms, 98 % are within 40 ms. Only times are
kept, so that the benchmark itself needs no aligner.
"""

import json
import re
from pathlib import Path

import numpy as np

from ...core.speech.audio import read_audio
from ..speech.voices import ARPABET
from .real import LIST, RECORDINGS, find

NOTHING = ("<sil>", "(NULL)", "<s>", "</s>", "[NOISE]", "[SPEECH]")


def aligned(samples: np.ndarray, text: str) -> list[tuple[str, float, float]]:
    """Phones of 16 kHz samples in which exactly these words are said; tries paddings and beams in turn."""
    from pocketsphinx import Config, Decoder

    pcm = (np.clip(samples / max(np.abs(samples).max(), 1e-6) * 0.9, -1, 1) * 32000).astype("<i2")
    words = re.sub(r"[^a-z' ]", " ", text.lower()).split()
    for pad in (0.25, 0.0, 0.4):
        silence = np.zeros(int(pad * 16000), "<i2")
        sound = np.concatenate([silence, pcm, silence]).tobytes()
        for beam in (1e-48, 1e-80, 1e-120):
            decoder = Decoder(Config(lm=None, loglevel="FATAL", beam=beam, wbeam=beam, pbeam=beam))
            missing = [word for word in words if decoder.lookup_word(word) is None]
            if missing:
                raise SystemExit(f"The dictionary lacks {', '.join(missing)}; write these words differently.")
            try:
                decoder.set_align_text(" ".join(words))
                for again in (False, True):
                    if again:
                        decoder.set_alignment()
                    decoder.start_utt()
                    decoder.process_raw(sound, full_utt=True)
                    decoder.end_utt()
                    if not again and decoder.hyp() is None:  # asking the second pass for one crashes
                        raise RuntimeError("no alignment")
            except RuntimeError:
                continue
            phones = []
            for word in decoder.get_alignment():
                for part in [word] if word.name in NOTHING else list(word):
                    symbol = "_" if word.name in NOTHING else ARPABET.get(part.name.lower(), "_")
                    begin, end = part.start / 100 - pad, (part.start + part.duration) / 100 - pad
                    if end > 0:
                        phones.append((symbol, round(max(0.0, begin), 3), round(end, 3)))
            return phones
    raise SystemExit(f"Could not align: {text[:60]}")


def main() -> None:
    out = {}
    for name, recording in RECORDINGS.items():
        path = find(name)
        if path is None:
            print(f"{name}: not at hand")
            continue
        begin, end = recording.part
        samples = read_audio(path).samples[int(begin * 16000) : int(end * 16000) if end else None]
        out[name] = [list(p) for p in aligned(samples, recording.text)]
        print(f"{name}: {len(samples) / 16000:.1f} s, {sum(p[0] in 'pbm' for p in out[name])} p b m")
    text = ",\n".join(f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in out.items())
    Path(LIST).write_text("{\n" + text + "\n}\n", "utf8")


if __name__ == "__main__":
    main()
