# SPDX-License-Identifier: GPL-3.0-or-later
"""Several cuts of recordings on one timeline, heard as one: what strips in an editor are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import AudioError
from .audio import RATE, Audio, read_audio

LONGEST_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Piece:
    """A cut: `seconds` (None: to the end) of the file from `skip` seconds on, heard from `at` seconds on, times `gain`."""

    path: str
    at: float = 0.0
    skip: float = 0.0
    seconds: float | None = None
    gain: float = 1.0


def assembled(pieces: Sequence[Piece]) -> Audio:
    """One Audio from time 0 to the end of the last piece; silence between them, overlaps added. Raises AudioError."""
    if not pieces:
        raise AudioError("There is nothing to speak: expected at least one recording.")
    cuts, warnings = [], []
    files: dict[str, Audio] = {}
    for piece in pieces:
        audio = files.get(piece.path) or files.setdefault(piece.path, read_audio(piece.path))
        warnings += [warning for warning in audio.warnings if warning not in warnings]
        first = round(max(piece.skip, 0.0) * RATE)
        last = len(audio.samples) if piece.seconds is None else first + round(piece.seconds * RATE)
        cuts.append((round(max(piece.at, 0.0) * RATE), audio.samples[first:last], piece.gain))
    if cuts[0][0] == 0 and len(cuts) == 1 and cuts[0][2] == 1.0 and len(cuts[0][1]):
        return Audio(cuts[0][1], tuple(warnings))
    length = max(at + len(samples) for at, samples, _ in cuts)
    if length > LONGEST_SECONDS * RATE:
        raise AudioError(
            f"The strips span {length / RATE / 3600:.1f} hours; expected at most {LONGEST_SECONDS / 3600:.0f}. "
            "Speak fewer at a time."
        )
    if not any(len(samples) for _, samples, _ in cuts):
        raise AudioError("The strips hold no sound where they are cut; move their ends over the recording.")
    whole = np.zeros(length, np.float32)
    for at, samples, gain in cuts:
        whole[at : at + len(samples)] += np.float32(gain) * samples
    peak = float(np.abs(whole).max())
    return Audio(whole / np.float32(peak) if peak > 1 else whole, tuple(warnings))
