# SPDX-License-Identifier: GPL-3.0-or-later
"""The frozen speech encoder: samples -> features at 50 Hz, by OpenAI's Whisper tiny.en (core/data/encoder.md).

Feature frame k describes the sound around k * 0.02 s. Whisper was trained on 30 s pieces, but its encoder keeps its
meaning on shorter ones, so short clips are not padded and long ones are cut into overlapping windows whose margins are
thrown away. Instead of Whisper's loudest-point reference, which would change from window to window, the whole recording
is brought to one speech level first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..assets import data_file
from .audio import RATE, Audio

FEATURE_RATE = 50
HOP = RATE // FEATURE_RATE  # samples a feature frame
FEATURES = 384
MELS = 80

_FFT, _STEP = 400, 160
_FLOOR = -6.5  # log10 power: Whisper's "8 below the loudest" for speech at TARGET_LEVEL
TARGET_LEVEL = 0.08
"""Root mean square that the loud parts of speech are brought to."""


@dataclass(frozen=True)
class Window:
    """Feature frames [begin, end) that one run sees, and [keep_begin, keep_end) of which it answers for."""

    begin: int
    end: int
    keep_begin: int
    keep_end: int


def frame_count(samples: int) -> int:
    """Feature frames of a recording: ceil(samples / 320)."""
    return -(-samples // HOP)


def speech_gain(samples: np.ndarray) -> float:
    """Factor that brings the loud parts of a recording to TARGET_LEVEL; 1 for silence, at most 40.

    The level is the 90th percentile of the 20 ms root mean squares within 40 dB of the loudest, so pauses do not count.
    """
    whole = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    if not len(whole):
        return 1.0
    levels = np.sqrt(np.einsum("th,th->t", whole, whole) / HOP)
    loud = levels[levels > max(1e-3, 0.01 * float(levels.max()))]
    return float(np.clip(TARGET_LEVEL / np.percentile(loud, 90), 0.05, 40)) if len(loud) else 1.0


def log_mel(samples: np.ndarray) -> np.ndarray:
    """(n,) -> (80, 2 * frame_count(n)) float32: Whisper's scaled log-mel spectrogram, column j around j * 0.01 s."""
    frames = 2 * frame_count(len(samples))
    padded = np.zeros((frames - 1) * _STEP + _FFT, np.float32)
    padded[_FFT // 2 :][: len(samples)] = samples[: len(padded) - _FFT // 2]
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_STEP]
    power = np.abs(np.fft.rfft(pieces * _hann(), axis=1).astype(np.complex64)) ** 2
    mel = np.log10(np.maximum(_mel_filters() @ power.T, 10**_FLOOR))
    return ((mel + 4) / 4).astype(np.float32)


@cache
def _hann() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)


@cache
def _mel_filters() -> np.ndarray:
    """(80, 201) triangles of equal area on Slaney's mel scale (linear to 1 kHz, logarithmic above), 0 to 8 kHz."""

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + np.log(8000 / 1000) * 27 / np.log(6.4)
    edges = hertz(np.linspace(0, top, MELS + 2))
    bins = np.linspace(0, RATE / 2, _FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def windows(frames: int, keep: int = 1000, margin: int = 75) -> Iterator[Window]:
    """Windows over `frames` feature frames: each keeps at most `keep` (20 s) and sees `margin` (1.5 s) more on each side."""
    begin = 0
    while begin < frames:
        end = min(frames, begin + keep)
        if frames - end < margin:
            end = frames  # no sliver of a last window
        yield Window(max(0, begin - margin), min(frames, end + margin), begin, end)
        begin = end


@dataclass(frozen=True)
class Encoder:
    session: Any  # onnxruntime.InferenceSession


def load_session(path: Path, threads: int = 0) -> Any:
    """An ONNX Runtime session on the CPU; 0 threads means as many as the runtime likes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # Blender needs the cores too
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load_encoder(path: Path | None = None, threads: int = 0) -> Encoder:
    return Encoder(load_session(path or data_file("encoder.onnx"), threads))


def encode(encoder: Encoder, mel: np.ndarray) -> np.ndarray:
    """(80, 2T) log-mel -> (T, 384) features; T at most 1500 (30 s)."""
    return encoder.session.run(None, {"mel": mel[None]})[0][0]


def window_mel(audio: Audio, window: Window, gain: float) -> np.ndarray:
    """Log-mel of the feature frames a window sees: (80, 2 * (end - begin)).

    The sound just outside the window is heard by the outermost frames, so that mels do not depend on where windows lie.
    """
    before = min(window.begin, 1)
    piece = audio.samples[(window.begin - before) * HOP : (window.end + 1) * HOP] * np.float32(gain)
    mel = log_mel(piece)[:, 2 * before :]
    return mel[:, : 2 * (window.end - window.begin)]
