# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is measured: a row turns every clip into channel values (T, 65) at 50 fps, ours and others' alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...core.prior.controls import Controls
from ...core.prior.generate import default_model, generate
from ...core.prior.model import DEFAULT, Prior, Sampling, load_prior
from ...core.prior.regression import Regression, load_regression
from ...core.prior.style import Style
from . import baselines, captures, peers, visemes
from .sets import FPS, Clip

STILL = Controls(blink_rate=0, head_motion=0, gaze=0, brows=0)
"""What does not belong to the mouth is switched off: the other rows have none of it, and blinks do not move lips."""


@dataclass
class Row:
    """name in the JSON, title in the table, what it is in a sentence.

    free_lag: whether its best constant delay is searched for it, on the clips it is scored on; ours gets none.
    speak: clips -> motions by clip name; None where the row has nothing to say of a clip (openfacefx without phones).
    compute: seconds of processor time (of the engine's own clock where it runs in node) and of sound that speak took, filled by it.
    at_rate: a clip at another frame rate, for rows that can; set by speak.
    """

    name: str
    title: str
    about: str
    free_lag: bool
    speak: Callable[["Row", list[Clip]], dict[str, np.ndarray | None]]
    compute: list[float] = field(default_factory=lambda: [0.0, 0.0])
    at_rate: Callable[[Clip, float], np.ndarray] | None = None

    def motions(self, clips: list[Clip]) -> dict[str, np.ndarray | None]:
        return self.speak(self, clips)


def _timed(row: Row, clips: list[Clip], function: Callable[[Clip], np.ndarray]) -> dict[str, np.ndarray | None]:
    out: dict[str, np.ndarray | None] = {}
    for clip in clips:
        started = time.process_time()
        out[clip.name] = fitted(function(clip), clip.frames)
        row.compute[0] += time.process_time() - started
        row.compute[1] += clip.audio.seconds
    return out


def fitted(values: np.ndarray, frames: int) -> np.ndarray:
    """Cut, or held at the end, to this many frames."""
    return values[np.minimum(np.arange(frames), len(values) - 1)]


def _ours(weights: Path | None, sampling: Sampling) -> Callable[[Row, list[Clip]], dict[str, np.ndarray | None]]:
    def speak(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
        model = load_prior(weights) if weights else default_model()
        row.at_rate = lambda clip, fps: _spoken(clip, model, sampling, fps)
        return _timed(row, clips, lambda clip: _spoken(clip, model, sampling, FPS))

    return speak


def _regression(weights: Path | None) -> Callable[[Row, list[Clip]], dict[str, np.ndarray | None]]:
    """The prior without its diffusion: the same encoder, network and data; the older regression where no prior ships."""

    def speak(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
        model = load_prior(weights) if weights else default_model()
        model = model if isinstance(model, Prior) else load_regression()
        row.at_rate = lambda clip, fps: _spoken(clip, model, Sampling(steps=0), fps)
        return _timed(row, clips, lambda clip: _spoken(clip, model, Sampling(steps=0), FPS))

    return speak


def _fitted(weights: Path | None, sampling: Sampling) -> Callable[[Row, list[Clip]], dict[str, np.ndarray | None]]:
    """Ours after `loquent fit-voice` on this actor's other takes; it has nothing to say of other voices."""

    def speak(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
        of = [clip for clip in clips if clip.set == "captured"]
        out: dict[str, np.ndarray | None] = {clip.name: None for clip in clips}
        if of:
            model = load_prior(weights) if weights else default_model()
            style = captures.fitted_style(model)
            row.at_rate = lambda clip, fps: _spoken(clip, model, sampling, fps, style)
            out |= _timed(row, of, lambda clip: _spoken(clip, model, sampling, FPS, style))
        return out

    return speak


def _spoken(
    clip: Clip, model: Prior | Regression, sampling: Sampling, fps: float, style: Style | None = None
) -> np.ndarray:
    return generate(clip.audio, fps=fps, seed=0, controls=STILL, sampling=sampling, model=model, style=style).values


def _envelope(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
    return _timed(row, clips, lambda clip: baselines.envelope_motion(clip.audio))


def _ridge(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
    return _timed(row, clips, lambda clip: baselines.ridge_motion(clip.audio, SEAL_GAIN))


SEAL_GAIN = 3.0
"""Of 1, 1.5, 2, 2.5, 3, 4 and 5 the one with the most recall less false closure on the unseen voices: in the ridge's favour."""


def _node(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
    out: dict[str, np.ndarray | None] = {}
    for clip in clips:
        out[clip.name] = None
    for name, (shapes, seconds) in peers.node_shapes(row.name, clips).items():
        clip = next(c for c in clips if c.name == name)
        if row.name == "rhubarb":
            shapes = visemes.from_rhubarb(shapes)
        out[name] = visemes.channels(visemes.weights_of(shapes, clip.frames, FPS))
        row.compute[0] += seconds
        row.compute[1] += clip.audio.seconds
    return out


def _openfacefx(row: Row, clips: list[Clip]) -> dict[str, np.ndarray | None]:
    out: dict[str, np.ndarray | None] = {}
    for clip in clips:
        if not clip.phones:
            out[clip.name] = None
            continue
        started = time.process_time()
        out[clip.name] = visemes.channels(peers.openfacefx_weights(clip.phones, clip.frames, FPS))
        row.compute[0] += time.process_time() - started
        row.compute[1] += clip.audio.seconds
    return out


def rows(weights: Path | None = None, sampling: Sampling = DEFAULT) -> list[Row]:
    """All rows. weights: a folder with another training of ours; sampling: another way to draw it."""
    return [
        Row("ours", "Loquent", "what the extension ships, as it ships", False, _ours(weights, sampling)),
        Row("regression", "our regression", "plain regression on the same features and data", False, _regression(weights)),
        Row("fitted", "fitted to the actor", "ours after fit-voice on three minutes of this actor's other takes", False,
            _fitted(weights, sampling)),
        Row("envelope", "loudness envelope", "the sound's level as the jaw, fitted to captured jaws", True, _envelope),
        Row("ridge", "log-mel ridge", "linear regression on 260 ms of log-mel, same data and closures' enforcement", True, _ridge),
        Row("rhubarb", "Rhubarb", "rhubarb-lip-sync-wasm 0.1.8, no transcript", True, _node),
        Row("headaudio", "HeadAudio", "@met4citizen/headaudio 0.1.0", True, _node),
        Row("wawa", "wawa-lipsync", "wawa-lipsync 0.0.2", True, _node),
        Row("openfacefx", "openfacefx + true phones", "rule engine 0.24.0, told the phones: a reference, not a rival", True, _openfacefx),
    ]  # fmt: skip
