# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the frozen encoder hear the corpus: `python -m loquent.tools.speech.hear --corpus FOLDER --cache FOLDER [--facegood FOLDER]`.

Each clip is heard clean and once more as another speaker in another room (captures five times more). CACHE/<source>/<number>-<hearing>.npz
gets features (T, 384) and mel (T, 160), float16, 50 frames a second, through the very windows of the extension, and
.curves.npz beside it what targets.py makes. Resumes where it was stopped; what is there is not made again.
"""

import argparse
from pathlib import Path

import numpy as np

from ...core.speech.audio import Audio
from ...core.speech.encoder import Encoder, encode, frame_count, load_encoder, speech_gain, window_mel, windows
from .clips import hearing, sources
from .targets import save, targets


def hear(encoder: Encoder, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """features (T, 384), mel (T, 160) of a whole clip, through the same windows as the extension; float16."""
    audio, gain = Audio(samples), speech_gain(samples)
    features, mels = [], []
    for window in windows(frame_count(len(samples))):
        mel = window_mel(audio, window, gain)
        kept = slice(window.keep_begin - window.begin, window.keep_end - window.begin)
        features.append(encode(encoder, mel)[kept])
        mels.append(mel.T.reshape(-1, 160)[kept])
    return np.concatenate(features).astype(np.float16), np.concatenate(mels).astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--facegood", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    encoder, made, seconds = load_encoder(arguments.encoder, arguments.threads), 0, 0.0
    # every clip once, clean or not in turn, before any clip again: a part of the cache already has all voices
    for clip, which in sorted(
        ((c, which) for c in sources(arguments.corpus, arguments.facegood) for which in range(c.hearings)),
        key=lambda pair: pair[0].hearings == 2 and pair[0].number % 2 != pair[1],
    ):
        path = arguments.cache / f"{clip.name(which)}.npz"
        if path.exists():
            continue
        samples = clip.samples()
        heard = hearing(samples, clip.source, clip.number, which)
        features, mel = hear(encoder, heard.heard(which))
        save(path.with_suffix(".curves.npz"), targets(clip, which, samples, heard, arguments.facegood))
        save(path, {"features": features, "mel": mel})
        made, seconds = made + 1, seconds + len(features) / 50
        if made % 500 == 0:
            print(f"{made} hearings, {seconds / 60:.0f} minutes, last {clip.name(which)}", flush=True)
    print(f"{made} hearings, {seconds / 60:.1f} minutes, now in {arguments.cache}", flush=True)


if __name__ == "__main__":
    main()
