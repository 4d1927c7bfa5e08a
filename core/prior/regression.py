# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain regression: sound -> curves of the mouth by the encoder and one small network; the baseline beside the prior.

The network (network.py, core/data/regression.md) was taught by phone-derived curves and by a captured actor, and keeps both manners apart as styles; both are
asked at once and mixed here, channel by channel. Windows overlap and are cross-faded, so length has no limit and no seam;
memory beyond the result does not grow with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..assets import data_file
from ..speech.audio import Audio
from ..speech.encoder import (
    HOP,
    Encoder,
    encode,
    frame_count,
    load_encoder,
    load_session,
    speech_gain,
    window_mel,
    windows,
)
from .mouth import OUTPUTS, eased, finer

CAPTURED_SHARE = {
    "jawOpen": 0.65,
    "mouthFrown": 1.0,
    "mouthShrugLower": 1.0,
    "mouthShrugUpper": 1.0,
    "jawForward": 1.0,
    "noseSneer": 1.0,
}
"""How much of a channel follows the captured actor; the rest, and what is not named, the phone-derived articulation."""
SURE = {"seal": (0.4, 0.75), "bite": (0.3, 0.7), "rest": (0.3, 0.8)}
"""From where to where a state's answer passes from not at all to wholly."""
FADE = 15
"""Frames to each side of a window's border over which it hands over to the next."""
QUIET = -55.0
"""dB of full scale at speech level: nothing said is that quiet for long."""


@dataclass(frozen=True)
class Regression:
    encoder: Encoder
    session: Any  # onnxruntime.InferenceSession of regression.onnx


def load_regression(weights: Path | None = None, encoder: Path | None = None, threads: int = 0) -> Regression:
    return Regression(load_encoder(encoder, threads), load_session(weights or data_file("regression.onnx"), threads))


SpeechModel, load_speech_model = Regression, load_regression  # names of the first version


def mouth_curves(
    model: Regression,
    audio: Audio,
    share: dict[str, float] | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """(2 * frame_count, 20) float32 curves of OUTPUTS at mouth.RATE, states decided. `share` replaces CAPTURED_SHARE."""
    frames, gain = frame_count(len(audio.samples)), speech_gain(audio.samples)
    captured = np.array([(CAPTURED_SHARE if share is None else share).get(name, 0.0) for name in OUTPUTS], np.float32)
    curves = np.zeros((frames, len(OUTPUTS)), np.float32)
    for window in windows(frames):
        mel = window_mel(audio, window, gain)
        inputs = {
            "features": np.repeat(encode(model.encoder, mel)[None], 2, 0),
            "mel": np.repeat(mel.T.reshape(1, -1, 2 * mel.shape[0]), 2, 0),
            "style": np.eye(2, dtype=np.float32),
        }
        synthetic, actor = model.session.run(None, inputs)[0]
        found = synthetic + captured * (actor - synthetic)
        at = np.arange(window.begin, window.end)
        weight = np.ones(len(at), np.float32)
        if window.keep_begin > 0:
            weight *= np.clip((at - window.keep_begin + FADE) / (2 * FADE), 0, 1).astype(np.float32)
        if window.keep_end < frames:
            weight *= np.clip((window.keep_end + FADE - at) / (2 * FADE), 0, 1).astype(np.float32)
        curves[window.begin : window.end] += weight[:, None] * found
        if progress:
            progress(window.keep_end / frames)
    rest = curves[:, OUTPUTS.index("rest")]
    np.maximum(rest, silence(loudness(audio.samples, gain)), out=rest)
    curves = finer(curves)
    for name, (low, high) in SURE.items():  # what this network calls a state includes its flanks
        column = OUTPUTS.index(name)
        curves[:, column] = eased(curves[:, column], low, high)
    return curves


def loudness(samples: np.ndarray, gain: float) -> np.ndarray:
    """(frame_count,) level in dB of full scale at speech level, around each feature frame; -100 for nothing at all."""
    power = np.zeros(frame_count(len(samples)), np.float32)
    power[0] = np.square(samples[: HOP // 2]).sum()
    body = samples[HOP // 2 :]
    whole = len(body) // HOP
    pieces = body[: whole * HOP].reshape(whole, HOP)
    power[1 : whole + 1] = np.einsum("th,th->t", pieces, pieces)[: len(power) - 1]
    if whole + 1 < len(power):
        power[whole + 1] = np.square(body[whole * HOP :]).sum()
    power *= gain**2 / HOP
    return (10 * np.log10(power + 1e-10)).astype(np.float32)


def silence(levels: np.ndarray) -> np.ndarray:
    """(T,) 1 where the sound has been below QUIET for 0.14 s to both sides, with flanks of 0.08 s; for the rest state."""
    reach, flank = 7, 4
    padded = np.pad(levels, reach, constant_values=-100)
    loudest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(1)
    hard = np.pad((loudest < QUIET).astype(np.float32), flank, "edge")
    return np.convolve(hard, np.full(2 * flank + 1, 1 / (2 * flank + 1), np.float32), "valid").astype(np.float32)
