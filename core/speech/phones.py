# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said when, as the 15 visemes of Oculus LipSync: a track to animate by hand on, no transcript needed.

A small convolutional network (core/data/visemes.md) reads the encoder's features and the mel every 10 ms; the most likely
path through its answers, with a price on every change, becomes segments. In any language: a viseme is what a phone looks
like, not which word it belongs to. The mouth of a performance does not come from here (core/prior).
"""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from ..assets import data_file
from ..errors import FormatError
from ..files import written_whole
from .audio import Audio
from .encoder import (
    Encoder,
    encode,
    frame_count,
    load_encoder,
    load_session,
    speech_gain,
    window_mel,
    windows,
)

VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")
"""The Oculus LipSync set, in its order."""
RATE = 100
SPELLED = {
    "sil": "_", "PP": "p b m", "FF": "f v ʋ ɱ", "TH": "θ ð", "DD": "t d l ɾ ɫ ʈ ɖ ɭ ʎ", "kk": "k ɡ g x ɣ h ħ q ɢ ç χ ʔ ʕ ɦ c ɟ",
    "CH": "ʃ ʒ ɕ ʑ ʂ ʐ", "SS": "s z", "nn": "n ŋ ɲ ɳ ɴ", "RR": "ɹ r ɚ ɝ ɜ ʁ ɻ ʀ", "aa": "a ɑ æ ɐ ʌ ə", "E": "e ɛ ɪ ø œ ɘ",
    "ih": "i j ɨ y", "oh": "o ɔ ɒ ɵ", "ou": "u ʊ w ɯ ɥ β ɤ ʉ",
}  # fmt: skip
VISEME_OF = {symbol: viseme for viseme, symbols in SPELLED.items() for symbol in symbols.split()}
"""IPA symbols, single and without marks -> viseme."""
CHANGE = 3.0
"""Price of a change of viseme, in natural logarithms of probability; chosen on validation clips."""


@dataclass(frozen=True)
class Segment:
    """A viseme from begin to end, in seconds; confidence is the mean probability the network gave it, 0..1."""

    begin: float
    end: float
    viseme: str
    confidence: float


@dataclass(frozen=True)
class Recogniser:
    encoder: Encoder
    session: Any  # onnxruntime.InferenceSession of visemes.onnx


def load_recogniser(weights: Path | None = None, encoder: Path | None = None, threads: int = 0) -> Recogniser:
    return Recogniser(load_encoder(encoder, threads), load_session(weights or data_file("visemes.onnx"), threads))


def recognise(
    audio: Audio, recogniser: Recogniser | None = None, progress: Callable[[float], None] | None = None
) -> list[Segment]:  # fmt: skip
    """Segments that follow one another from 0 to the end of the recording, silence included. progress: 0..1, may raise."""
    return segments(posteriors(recogniser or load_recogniser(), audio, progress), audio.seconds)


def posteriors(
    recogniser: Recogniser, audio: Audio, progress: Callable[[float], None] | None = None
) -> np.ndarray:  # fmt: skip
    """(T, 15) probabilities of VISEMES every 10 ms, T = 2 * frame_count."""
    frames, gain = frame_count(len(audio.samples)), speech_gain(audio.samples)
    out = np.zeros((2 * frames, len(VISEMES)), np.float32)
    for window in windows(frames):
        mel = window_mel(audio, window, gain)
        inputs = {"features": encode(recogniser.encoder, mel)[None], "mel": mel.T.reshape(1, -1, 2 * mel.shape[0])}
        kept = slice(2 * (window.keep_begin - window.begin), 2 * (window.keep_end - window.begin))
        out[2 * window.keep_begin : 2 * window.keep_end] = recogniser.session.run(None, inputs)[0][0, kept]
        if progress:
            progress(window.keep_end / frames)
    return out


def segments(probabilities: np.ndarray, seconds: float) -> list[Segment]:
    """The most likely path (Viterbi) of (T, 15) probabilities every 10 ms, as segments that end at `seconds`."""
    path = _path(np.log(np.maximum(probabilities, 1e-6)))
    borders = np.flatnonzero(np.diff(path)) + 1
    begins, ends = np.concatenate(([0], borders)), np.concatenate((borders, [len(path)]))
    return [
        Segment(
            begin / RATE, seconds if end == len(path) else end / RATE, VISEMES[path[begin]],
            float(probabilities[begin:end, path[begin]].mean()),
        )
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        if begin / RATE < seconds
    ]  # fmt: skip


def _path(scores: np.ndarray) -> np.ndarray:
    """(T,) best states when staying is free and every change costs CHANGE."""
    best, came = scores[0].copy(), np.zeros(scores.shape, np.int8)
    stay = np.arange(scores.shape[1])
    for t in range(1, len(scores)):
        top = int(best.argmax())
        moved = best[top] - CHANGE > best
        came[t] = np.where(moved, top, stay)
        best = np.where(moved, best[top] - CHANGE, best) + scores[t]
    path = np.empty(len(scores), int)
    path[-1] = best.argmax()
    for t in range(len(scores) - 1, 0, -1):
        path[t - 1] = came[t, path[t]]
    return path


def write_track(found: Sequence[Segment], path: Path | str) -> None:
    """Write by suffix: .json (list of objects), .csv (begin, end, viseme, confidence) or .txt (Audacity labels)."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        rows = [
            {
                "begin": round(s.begin, 4),
                "end": round(s.end, 4),
                "viseme": s.viseme,
                "confidence": round(s.confidence, 3),
            }
            for s in found
        ]
        text = "[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n"
    elif path.suffix.lower() == ".csv":
        table = StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("begin", "end", "viseme", "confidence"))
        writer.writerows((f"{s.begin:.3f}", f"{s.end:.3f}", s.viseme, f"{s.confidence:.3f}") for s in found)
        text = table.getvalue()
    elif path.suffix.lower() == ".txt":
        text = "".join(f"{s.begin:.6f}\t{s.end:.6f}\t{s.viseme}\n" for s in found)
    else:
        raise FormatError(
            f"'{path}': expected .json, .csv or .txt (Audacity labels), found '{path.suffix}'. Rename it."
        )
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
