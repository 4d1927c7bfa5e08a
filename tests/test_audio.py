# SPDX-License-Identifier: GPL-3.0-or-later
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core import room
from loquent.core.errors import AudioError
from loquent.core.speech.audio import RATE, from_samples, read_audio, resample, resample_blocks


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])
def test_a_tone_stays_that_tone_in_phase_at_any_rate(rate):
    found = resample(tone(rate), rate)
    assert len(found) == RATE
    assert np.abs(found - tone(RATE))[400:-400].max() < 1e-4


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
def test_what_lies_above_the_new_band_does_not_come_back_as_an_alias(rate):
    assert np.abs(resample(tone(rate, hertz=9000), rate))[400:-400].max() < 1e-4  # -80 dB


def test_speech_band_passes_unchanged():
    for hertz in (100, 1000, 3000, 6500):
        found = resample(tone(44100, hertz=hertz), 44100)[400:-400]
        assert abs(np.sqrt(np.mean(found**2)) * np.sqrt(2) - 1) < 0.01, hertz


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.sampled_from([8000, 22050, 44100, 48000]))
def test_resampling_in_blocks_equals_resampling_at_once(sizes, rate):
    samples = np.random.default_rng(0).normal(size=sum(sizes)).astype(np.float32)
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    assert np.allclose(np.concatenate(list(resample_blocks(blocks, rate))), resample(samples, rate), atol=1e-5)


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), [
    (".wav", "PCM_16", 1e-3), (".wav", "PCM_24", 2e-4), (".wav", "FLOAT", 2e-4), (".wav", "PCM_U8", 1e-2),
    (".flac", "PCM_24", 2e-4), (".ogg", "VORBIS", 0.1), (".mp3", "MPEG_LAYER_III", 0.1),
])  # fmt: skip
def test_every_container_and_depth_reads_as_the_same_sound(tmp_path, suffix, subtype, tolerance):
    soundfile.write(tmp_path / f"voice{suffix}", 0.5 * tone(44100), 44100, subtype=subtype)
    audio = read_audio(tmp_path / f"voice{suffix}")
    assert audio.samples.dtype == np.float32 and abs(audio.seconds - 1) < 0.1
    assert np.abs(audio.samples[400:15000] - 0.5 * tone(RATE)[400:15000]).max() < tolerance


def test_channels_are_mixed_down_with_equal_weight(tmp_path):
    stereo = np.stack([tone(96000), np.zeros(96000, np.float32)], 1)
    soundfile.write(tmp_path / "a.wav", stereo, 96000, subtype="PCM_24")
    assert np.allclose(read_audio(tmp_path / "a.wav").samples[400:-400], 0.5 * tone(RATE)[400:-400], atol=1e-3)


def test_telephone_speech_at_8_khz_reads(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(8000, 0.5), 8000)
    assert read_audio(tmp_path / "a.wav").seconds == 0.5


def test_a_missing_file_is_named():
    with pytest.raises(AudioError, match=r"no sound file at '/nowhere/a\.wav'.*Check the name"):
        read_audio("/nowhere/a.wav")


def test_a_folder_is_called_a_folder(tmp_path):
    with pytest.raises(AudioError, match="is a folder; expected a sound file"):
        read_audio(tmp_path)


def test_a_recording_that_was_cut_short_is_called_that(tmp_path):
    name = "voice_ada.flac"
    whole = (Path(__file__).parent.parent / "sample_scenes" / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:20_000])
    with pytest.raises(
        AudioError, match=r"is a flac file that cannot be read to its end .* cut short, damaged.*Copy it again"
    ):
        read_audio(tmp_path / name)


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioError, match=r"is empty \(0 bytes\).*again"):
        read_audio(tmp_path / "a.wav")


def test_a_file_without_samples_says_so(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(AudioError, match="holds no sound"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(("head", "kind"), [
    (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture"), (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG picture"),
    (b"\x00\x00\x00\x20ftypM4A " + bytes(99), "an MPEG-4 file"), (b"%PDF-1.7" + bytes(99), "a PDF document"),
])  # fmt: skip
def test_another_kind_of_file_named_wav_is_recognised_by_its_bytes(tmp_path, head, kind):
    (tmp_path / "a.wav").write_bytes(head)
    with pytest.raises(AudioError, match=f"expected wav, flac, ogg or mp3, found {kind}.*Convert it"):
        read_audio(tmp_path / "a.wav")


def test_samples_that_are_not_numbers_become_silence_with_a_warning(tmp_path):
    samples = 0.5 * tone(16000)
    samples[100:200], samples[300] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav")
    assert np.isfinite(audio.samples).all() and (audio.samples[100:200] == 0).all()
    assert "101 of the recording's samples" in audio.warnings[0]


def test_a_float_recording_beyond_full_scale_is_turned_down_with_a_warning():
    audio = from_samples(4 * tone(16000), 16000)
    assert abs(np.abs(audio.samples).max() - 1) < 1e-6 and "turned down" in audio.warnings[0]


def test_a_clean_recording_warns_of_nothing():
    assert from_samples(0.99 * tone(44100), 44100).warnings == ()


def test_reading_keeps_no_more_than_the_result_and_a_few_blocks(tmp_path):
    minute = np.zeros((48000 * 60, 2), np.float32)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 48000, 2) as file:
        for _ in range(10):
            file.write(minute)
    del minute
    tracemalloc.start()
    audio = read_audio(tmp_path / "long.flac")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert audio.seconds == 600
    assert peak < 3 * audio.samples.nbytes + 60e6  # the file holds 230 MB as floats


def test_long_recordings_lie_in_a_file_and_hold_the_same(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 90 * 22050), 22050)
    files, made = [], room.tempfile.TemporaryFile
    monkeypatch.setattr(room.tempfile, "TemporaryFile", lambda: files.append(made()) or files[-1])
    short = read_audio(path).samples
    assert not files
    monkeypatch.setattr(room, "LARGE", 4 * RATE)
    assert np.array_equal(read_audio(path).samples, short) and len(files) == 1

    def full():
        raise OSError("No space left on device")

    monkeypatch.setattr(room.tempfile, "TemporaryFile", full)
    assert np.array_equal(read_audio(path).samples, short)
