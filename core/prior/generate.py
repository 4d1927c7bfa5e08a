# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech -> Motion of any length at any frame rate, decided by the recording, the seed and the controls alone."""

from collections.abc import Callable

from ..head.motion import Motion
from ..speech.audio import Audio
from ..speech.encoder import speech_gain
from ..speech.pitch import pitch
from .controls import DEFAULTS, RANGES, Controls
from .perform import Raw, check_fps, perform
from .regression import SpeechModel, load_speech_model, loudness, mouth_curves

__all__ = ["RANGES", "Controls", "Raw", "generate", "listen", "perform"]


def listen(
    audio: Audio, *, model: SpeechModel | None = None, progress: Callable[[float], None] | None = None
) -> Raw:  # fmt: skip
    """What the network makes of a recording, before any control; the costly part. progress is told 0..1."""
    gain = speech_gain(audio.samples)
    curves = mouth_curves(model or load_speech_model(), audio, progress=progress)
    return Raw(curves, loudness(audio.samples, gain), pitch(audio.samples), audio.seconds)


def generate(
    audio: Audio,
    *,
    fps: float,
    seed: int = 0,
    controls: Controls = DEFAULTS,
    progress: Callable[[float], None] | None = None,
    model: SpeechModel | None = None,
) -> Motion:
    """A Motion as long as the recording: ceil(seconds * fps) frames.

    seed decides blinks, head, gaze and brows; the mouth follows the sound alone. progress is told 0..1 and may raise
    Cancelled. model saves loading the weights again (0.3 s).
    """
    check_fps(fps)
    report = progress or (lambda _: None)
    report(0.0)
    motion = perform(
        listen(audio, model=model, progress=lambda part: report(0.95 * part)), controls, fps=fps, seed=seed
    )
    report(1.0)
    return motion
