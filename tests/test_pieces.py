# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
import soundfile

from loquent.core.errors import AudioError
from loquent.core.speech.audio import RATE, read_audio
from loquent.core.speech.pieces import Piece, assembled


@pytest.fixture
def file(tmp_path):
    """A second of samples that tell where they stand: a slow ramp."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, (np.arange(RATE) / RATE).astype(np.float32) * 0.5, RATE, subtype="FLOAT")
    return str(path)


def test_a_whole_file_is_what_reading_it_gives(file):
    assert np.array_equal(assembled([Piece(file)]).samples, read_audio(file).samples)


def test_cuts_lie_where_they_were_put_with_silence_between(file):
    audio = assembled([Piece(file, at=0.5, skip=0.25, seconds=0.5), Piece(file, at=2.0, gain=2.0)])
    ramp = read_audio(file).samples
    assert audio.seconds == 3.0
    assert not audio.samples[: RATE // 2].any() and not audio.samples[RATE : 2 * RATE].any()
    assert np.array_equal(audio.samples[RATE // 2 : RATE], ramp[RATE // 4 : 3 * RATE // 4])
    assert np.allclose(audio.samples[2 * RATE :], 2 * ramp, atol=1e-6)


def test_overlapping_cuts_add_up_and_stay_within_full_scale(file):
    audio = assembled([Piece(file, gain=2.0), Piece(file, gain=2.0)])
    assert np.abs(audio.samples).max() == 1.0 and audio.samples[RATE // 2] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([], "nothing to speak"),
        ([Piece("/no/such.wav")], "no sound file"),
    ],
)
def test_what_cannot_be_spoken_is_said(pieces, says):
    with pytest.raises(AudioError, match=says):
        assembled(pieces)


def test_cuts_beyond_the_recording_and_spans_of_a_day_are_refused(file):
    with pytest.raises(AudioError, match="hold no sound"):
        assembled([Piece(file, skip=5.0, seconds=1.0)])
    with pytest.raises(AudioError, match=r"24\.0 hours"):
        assembled([Piece(file), Piece(file, at=86400.0)])
