# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech -> Motion of any length at any frame rate, decided by the recording, the seed and the controls alone."""

from collections.abc import Callable

import numpy as np

from ..head.motion import Motion
from ..speech.audio import Audio
from ..speech.encoder import speech_gain
from ..speech.pitch import pitch
from .controls import DEFAULTS, RANGES, Controls
from .model import DEFAULT, Prior, Sampling, prior_curves
from .perform import Raw, check_fps, perform
from .regression import Regression, load_regression, loudness, mouth_curves
from .style import Style, styled, with_style

__all__ = ["RANGES", "Controls", "Raw", "Sampling", "Style", "generate", "listen", "perform"]

NATURAL = 0.5
"""Between the phone-derived articulation (0) and the captured actor (1); chosen on validation clips (core/data/speech.md)."""


def listen(
    audio: Audio, *, seed: int = 0, style: Style | np.ndarray | None = None, sampling: Sampling = DEFAULT,
    model: Prior | Regression | None = None, progress: Callable[[float], None] | None = None,
) -> Raw:  # fmt: skip
    """What the network makes of a recording, before any control; the costly part. progress is told 0..1 and may raise.

    seed decides the mouth's variation; style is somebody's (style.py), or a vector of (64,) from Prior.style_of or
    mixed_style. model may be the plain regression, which knows neither seed nor vector.
    """
    model = model or load_regression()
    if isinstance(model, Regression):
        curves = mouth_curves(model, audio, progress=progress)
        levels = loudness(audio.samples, speech_gain(audio.samples))
    else:
        vector = style.vector if isinstance(style, Style) else model.mixed_style(NATURAL) if style is None else style
        curves, levels = prior_curves(model, audio, seed=seed, style=vector, sampling=sampling, progress=progress)
    raw = Raw(curves, levels, pitch(audio.samples), audio.seconds)
    return styled(raw, style) if isinstance(style, Style) else raw


def generate(
    audio: Audio,
    *,
    fps: float,
    seed: int = 0,
    controls: Controls = DEFAULTS,
    style: Style | np.ndarray | None = None,
    sampling: Sampling = DEFAULT,
    progress: Callable[[float], None] | None = None,
    model: Prior | Regression | None = None,
) -> Motion:
    """A Motion as long as the recording: ceil(seconds * fps) frames.

    seed decides everything that the sound leaves open: how the mouth does it, blinks, head, gaze and brows. progress is told
    0..1 and may raise Cancelled. model saves loading the weights again (0.3 s). A Style also sets the controls that it
    knows of this person and that are at their defaults.
    """
    check_fps(fps)
    report = progress or (lambda _: None)
    report(0.0)
    raw = listen(
        audio, seed=seed, style=style, sampling=sampling, model=model, progress=lambda part: report(0.95 * part)
    )
    if isinstance(style, Style):
        controls = with_style(controls, style)
    motion = perform(raw, controls, fps=fps, seed=seed)
    report(1.0)
    return motion
