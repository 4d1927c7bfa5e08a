# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech -> Motion of any length at any frame rate, decided by the recording, the seed and the controls alone."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..head.motion import Motion
from ..speech.audio import Audio
from ..speech.encoder import speech_gain
from ..speech.pitch import pitch
from .controls import DEFAULTS, RANGES, Controls
from .model import DEFAULT, Piece, Prior, Sampling, joined, load_prior, prior_curves, stream
from .mouth import CLEAR_REACH, NETWORK_RATE, RATE, REACH, at_times, smoothed, to_channels
from .perform import Raw, check_fps, perform
from .regression import Regression, loudness, mouth_curves
from .style import Style, styled, with_style

__all__ = ["RANGES", "Controls", "Raw", "Sampling", "Style", "generate", "generate_live", "listen", "perform"]

NATURAL = 0.25
"""Between the phone-derived articulation (0) and the captured actor (1); chosen on validation clips (core/data/speech.md)."""


def default_model() -> Prior | Regression:
    """The model that speaks where none is given; loads its weights."""
    return load_prior()


def listen(
    audio: Audio, *, seed: int = 0, style: Style | np.ndarray | None = None, sampling: Sampling = DEFAULT,
    model: Prior | Regression | None = None, progress: Callable[[float], None] | None = None,
) -> Raw:  # fmt: skip
    """What the network makes of a recording, before any control; the costly part. progress is told 0..1 and may raise.

    seed decides the mouth's variation; style is somebody's (style.py), or a vector of (64,) from Prior.style_of or
    mixed_style. model may be the plain regression, which knows neither seed nor vector.
    """
    model = model or default_model()
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


def generate_live(
    chunks: Iterable[np.ndarray],
    *,
    fps: float,
    gain: float,
    seed: int = 0,
    controls: Controls = DEFAULTS,
    style: Style | np.ndarray | None = None,
    sampling: Sampling = DEFAULT,
    model: Prior,
    keep: int = 50,
) -> Iterator[Motion]:
    """The mouth of `generate` while the sound is still coming: the same frames, in Motions of about `keep` / 50 s each.

    chunks of samples at 16 kHz, of any size; gain as in model.stream. What `generate` does with the same gain and windows equals it.
    A piece comes about 2 s after it was spoken, and memory does not grow. The upper face is not here: it plans over
    phrases, so perform() makes it from the whole recording; moods neither.
    """
    check_fps(fps)
    vector = style.vector if isinstance(style, Style) else model.mixed_style(NATURAL) if style is None else style
    # what a frame depends on to both sides: flanks of states, the smoothing's Gaussian, the frame's own span, the delay
    reach = max(REACH / RATE + CLEAR_REACH / NETWORK_RATE, 3 * controls.smoothing) + 1 / fps + 2 / NETWORK_RATE
    reach += abs(controls.delay_seconds)
    held: list[Piece] = []
    first, done, seconds = 0, 0, 0.0  # `first` counts network frames, `done` frames of the motion

    def ready(until: float) -> Motion | None:
        """The frames before `until` seconds that were not given yet."""
        nonlocal done
        count = int(np.ceil(until * fps - 1e-6)) - done
        if count <= 0:
            return None
        raw = Raw(*joined(held), np.zeros(0, np.float32), 0.0)
        curves = (styled(raw, style) if isinstance(style, Style) else raw).curves
        calm = np.concatenate((smoothed(curves[:, :-3], controls.smoothing), curves[:, -3:]), 1)
        times = np.arange(done, done + count) / fps - first / NETWORK_RATE
        outputs = at_times(calm, times - controls.delay_seconds, 1 / fps)
        done += count
        settings = {name: getattr(controls, name) for name in ("articulation", "jaw", "lips")}
        return Motion(fps, to_channels(outputs, **settings))

    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for chunk in chunks:
            samples += len(chunk)
            yield chunk

    for piece in stream(model, counted(), gain=gain, seed=seed, style=vector, sampling=sampling, keep=keep):
        held.append(piece)
        seconds += len(piece.channels) / NETWORK_RATE
        motion = ready(seconds - reach)
        if motion:
            yield motion
        while len(held) > 1 and first + len(held[0].channels) < (done / fps - reach) * NETWORK_RATE:
            first += len(held.pop(0).channels)
    motion = ready(samples / 16000) if held else None
    if motion:
        yield motion
