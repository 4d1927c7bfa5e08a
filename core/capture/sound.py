# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound of a film, as the voice's networks hear it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import CaptureError
from ..speech.audio import RATE, Audio
from .film import _container


def film_sound(path: Path | str, seconds: float | None = None) -> Audio | None:
    """The first sound track, mono at RATE, from the film's beginning, at most `seconds` of it; None where a film is silent.

    Sound that begins after the pictures is preceded by silence. Raises CaptureError for what is no film.
    """
    with _container(Path(path)) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        begin = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
        late = max(0.0, begin - float(container.start_time or 0) / 1e6)
        pieces = [np.zeros(round(late * RATE), np.float32)]
        length = len(pieces[0])
        wanted = None if seconds is None else int(seconds * RATE)
        try:
            for piece in _mono(container, stream):
                pieces.append(piece)
                length += len(piece)
                if wanted is not None and length >= wanted:
                    break
        except Exception as error:
            import av

            if not isinstance(error, av.error.FFmpegError):
                raise
            if len(pieces) < 2:
                raise CaptureError(
                    f"The sound of '{Path(path).name}' cannot be decoded ({error}). Convert it."
                ) from error
        samples = np.concatenate(pieces)[:wanted]
        return Audio(np.clip(samples, -1, 1)) if len(samples) else None


def _mono(container: object, stream: object) -> Iterator[np.ndarray]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    for frame in container.decode(stream):  # type: ignore[attr-defined]
        for out in resampler.resample(frame):
            yield out.to_ndarray().reshape(-1).astype(np.float32)
    for out in resampler.resample(None):
        yield out.to_ndarray().reshape(-1).astype(np.float32)
