# SPDX-License-Identifier: GPL-3.0-or-later
"""The voice's melody by a light autocorrelation: enough to hear which syllables are stressed, not to tune an instrument.

Method: Boersma (1993), "Accurate short-term analysis of the fundamental frequency": the autocorrelation of each window is
divided by that of the window function; the best peak between LOWEST and HIGHEST counts where its height passes VOICED. One
candidate a frame and a median over five frames in place of the path search. 10 ms of compute for a second of sound at most.
"""

import numpy as np

from ..room import blocks
from .audio import RATE
from .encoder import HOP, frame_count

LOWEST, HIGHEST = 65.0, 420.0  # Hz
VOICED = 0.5
_DOWN = 2  # decimation: 8 kHz is plenty for lags
_WINDOW = 384  # 48 ms at 8 kHz: three periods of the lowest voice
_FFT = 1024
_CHUNK = 1024


def pitch(samples: np.ndarray) -> np.ndarray:
    """(n,) at 16 kHz -> (frame_count(n),) semitones above 100 Hz at 50 Hz, nan where nobody voices; float32."""
    frames, rate = frame_count(len(samples)), RATE // _DOWN
    out = np.full(frames, np.nan, np.float32)
    if not frames:
        return out
    window = np.hanning(_WINDOW).astype(np.float32)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, _FFT)) ** 2)[: _FFT // 2]
    low, high = int(rate / HIGHEST), int(rate / LOWEST) + 1
    scale = np.float32(1) / (own[low - 1 : high + 2] / own[0]).astype(np.float32)
    loud = max(float(max(samples.max(), -samples.min())) * 0.02, 1e-4)
    for begin in range(0, frames, _CHUNK):
        x = _pieces(samples, begin, min(begin + _CHUNK, frames))
        x = (x - x.mean(1, keepdims=True)) * window
        r = np.fft.irfft(np.abs(np.fft.rfft(x, _FFT)) ** 2)[:, : high + 2]
        power = r[:, :1]
        y = r[:, low - 1 : high + 2] / np.maximum(power, 1e-9) * scale
        # a longer lag must be clearly better: octaves below the voice repeat it exactly
        cost = y[:, 1:-1] - 0.06 * np.log2(np.arange(low, high + 1) / low)
        cost[(y[:, 1:-1] < y[:, :-2]) | (y[:, 1:-1] < y[:, 2:])] = -1
        best = cost.argmax(1)
        row = np.arange(len(x))
        a, b, c = y[row, best], y[row, best + 1], y[row, best + 2]
        bend = np.minimum(a - 2 * b + c, -1e-9)
        lag = best + low + 0.5 * (a - c) / bend
        voiced = (b > VOICED) & (cost[row, best] > 0) & (power[:, 0] > loud**2 * _WINDOW / 8)
        out[begin : begin + len(x)] = np.where(voiced, 12 * np.log2(rate / np.maximum(lag, 1) / 100), np.nan)
    return _median(out)


def _pieces(samples: np.ndarray, begin: int, end: int) -> np.ndarray:
    """(end - begin, _WINDOW) float32 at 8 kHz around the frames from begin to end; zeros beyond the recording.

    Frames are taken some at a time: hours of sound are not copied.
    """
    hop = HOP // _DOWN
    first, last = begin * hop - _WINDOW // 2, (end - 1) * hop + _WINDOW // 2
    count = max(len(samples) // _DOWN, 1)
    part = samples[max(first, 0) * _DOWN : min(last, count) * _DOWN]
    half = part[: len(part) // _DOWN * _DOWN].reshape(-1, _DOWN).mean(1) if len(samples) > 1 else part
    padded = np.zeros(last - first, np.float32)
    padded[max(-first, 0) :][: len(half)] = half
    return np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop]


def _median(x: np.ndarray) -> np.ndarray:
    """Median over five frames of the voiced ones; frames with fewer than two voiced neighbours are not voiced."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, 2, constant_values=np.nan), 5)
    out = np.empty(len(x), np.float32)
    for part in blocks(len(x)):
        near = windows[part]
        known = np.isfinite(near).sum(1)
        ordered = np.sort(near, 1)  # nan last
        middle = ordered[np.arange(len(near)), np.maximum(known - 1, 0) // 2]
        out[part] = np.where(np.isfinite(x[part]) & (known >= 3), middle, np.nan)
    return out
