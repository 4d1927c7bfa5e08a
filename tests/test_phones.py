# SPDX-License-Identifier: GPL-3.0-or-later
"""The viseme track: decoding laws, files, and the shipped network on the samples."""

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from loquent.core.errors import AudioError, Cancelled, FormatError
from loquent.core.speech.audio import RATE as SAMPLES
from loquent.core.speech.audio import Audio, from_samples, read_audio
from loquent.core.speech.encoder import FEATURES, frame_count
from loquent.core.speech.phones import (
    CHANGE,
    RATE,
    VISEME_OF,
    VISEMES,
    Segment,
    load_recogniser,
    posteriors,
    recognise,
    segments,
    write_track,
)
from loquent.core.speech.pitch import pitch

SCENES = Path(__file__).parent.parent / "sample_scenes"


@pytest.fixture(scope="module")
def recogniser():
    return load_recogniser(threads=1)


def said(*parts: tuple[str, int], sure: float = 0.9) -> np.ndarray:
    """Probabilities of visemes that last so many frames each."""
    rows = []
    for viseme, frames in parts:
        row = np.full(len(VISEMES), (1 - sure) / (len(VISEMES) - 1), np.float32)
        row[VISEMES.index(viseme)] = sure
        rows += [row] * frames
    return np.array(rows)


def test_segments_follow_one_another_to_the_end_of_the_recording():
    found = segments(said(("sil", 20), ("PP", 8), ("aa", 15), ("sil", 10)), 0.527)
    assert [s.viseme for s in found] == ["sil", "PP", "aa", "sil"]
    assert [s.begin for s in found] == [0.0, 0.2, 0.28, 0.43] and found[-1].end == 0.527
    assert all(a.end == b.begin for a, b in pairwise(found))
    assert all(s.confidence == pytest.approx(0.9, abs=1e-5) for s in found)


def test_a_flicker_of_one_frame_is_not_a_viseme_but_a_sure_closure_is():
    assert [s.viseme for s in segments(said(("aa", 20), ("E", 1), ("aa", 20), sure=0.6), 0.41)] == ["aa"]
    assert [s.viseme for s in segments(said(("aa", 20), ("PP", 3), ("aa", 20), sure=0.95), 0.43)] == ["aa", "PP", "aa"]
    assert CHANGE > 0


def test_the_best_path_beats_every_other_of_few_changes():
    """Against the score of any single change at any place: the decoder's is never lower."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(len(VISEMES)) * 0.5, 30).astype(np.float32)
    scores = np.log(np.maximum(p, 1e-6))

    def value(path):
        return scores[np.arange(30), path].sum() - CHANGE * (np.diff(path) != 0).sum()

    found = np.zeros(30, int)
    for s in segments(p, 0.3):
        found[round(s.begin * RATE) : round(s.end * RATE)] = VISEMES.index(s.viseme)
    best = value(found)
    for a in range(len(VISEMES)):
        for b in range(len(VISEMES)):
            for cut in range(1, 30):
                assert value(np.where(np.arange(30) < cut, a, b)) <= best + 1e-4


def test_every_symbol_has_one_viseme_and_every_viseme_a_symbol():
    assert len(VISEMES) == 15 and set(VISEME_OF.values()) == set(VISEMES)
    assert all(VISEME_OF[c] == "PP" for c in "pbm") and all(VISEME_OF[c] == "FF" for c in "fv")


TRACK = [Segment(0.0, 0.2, "sil", 0.99), Segment(0.2, 0.28, "PP", 0.8), Segment(0.28, 1.5, "aa", 0.7)]


def test_a_track_is_written_as_json_csv_and_audacity_labels(tmp_path):
    for name in ("a.json", "a.csv", "a.txt"):
        write_track(TRACK, tmp_path / name)
    rows = json.loads((tmp_path / "a.json").read_text())
    assert rows[1] == {"begin": 0.2, "end": 0.28, "viseme": "PP", "confidence": 0.8}
    assert (tmp_path / "a.csv").read_text().splitlines()[:3] == [
        "begin,end,viseme,confidence", "0.000,0.200,sil,0.990", "0.200,0.280,PP,0.800",
    ]  # fmt: skip
    assert (tmp_path / "a.txt").read_text().splitlines()[2] == "0.280000\t1.500000\taa"
    with pytest.raises(FormatError, match=r"expected .json, .csv or .txt \(Audacity labels\), found '.srt'"):
        write_track(TRACK, tmp_path / "a.srt")


@pytest.mark.parametrize(("name", "least"), [("voice_ada", 0.9), ("voice_bruno", 0.9), ("voice_ada_fr", 0.7)])
def test_closures_of_the_samples_are_found_where_they_are(recogniser, name, least):
    phones = json.loads((SCENES / f"{name}.phones.json").read_text("utf8"))["phones"]
    audio = read_audio(SCENES / f"{name}.flac")
    found = recognise(audio, recogniser)
    assert found[0].begin == 0 and found[-1].end == pytest.approx(audio.seconds)
    shut = [s for s in found if s.viseme == "PP"]
    true = [(b, e) for symbol, b, e in phones if symbol in "pbm"]
    hit = [any(s.begin < e + 0.04 and s.end > b - 0.04 for s in shut) for b, e in true]
    assert np.mean(hit) >= least, hit
    false = [s for s in shut if not any(s.begin < e + 0.04 and s.end > b - 0.04 for b, e in true)]
    assert len(false) <= 1, false


def test_silence_is_silent_and_the_answer_does_not_depend_on_where_windows_lie(recogniser):
    quiet = recognise(from_samples(np.zeros(2 * SAMPLES), SAMPLES), recogniser)
    assert [s.viseme for s in quiet] == ["sil"]
    samples = read_audio(SCENES / "voice_ada.flac").samples
    samples = samples[: len(samples) // 320 * 320]  # whole frames, so that a copy lies on the same grid
    long = np.concatenate([samples] * 5)
    a, b = posteriors(recogniser, Audio(samples)), posteriors(recogniser, Audio(long))
    assert len(b) == 2 * frame_count(len(long)) and np.allclose(b.sum(1), 1, atol=1e-3)
    start = 2 * 3 * len(samples) // 320
    inner = slice(60, len(a) - 60)
    assert (b[start:][inner].argmax(1) == a[inner].argmax(1)).mean() > 0.95


def test_listening_tells_its_progress_and_may_be_cancelled(recogniser):
    seen = []
    recognise(read_audio(SCENES / "voice_ada.flac"), recogniser, seen.append)
    assert seen[-1] == 1 and seen == sorted(seen)

    def stop(part):
        raise Cancelled

    with pytest.raises(Cancelled):
        recognise(read_audio(SCENES / "voice_ada.flac"), recogniser, stop)


def test_a_small_version_learns_end_to_end(tmp_path):
    """Seconds of training on made-up features: what can be told apart is told apart, and the export says the same."""
    torch = pytest.importorskip("torch")
    from loquent.core.speech.encoder import load_session
    from loquent.tools.speech import train_visemes as tool

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(15, FEATURES)).astype(np.float16)
    clips = []
    for _ in range(6):
        spoken = np.repeat(rng.integers(0, 15, 30), rng.integers(4, 9, 30))
        features = looks[spoken] + rng.normal(0, 0.3, (len(spoken), FEATURES)).astype(np.float16)
        clips.append(tool.Hearing(features, np.zeros((len(spoken), 160), np.float16), np.repeat(spoken, 2), "kokoro"))
    model = tool.train(clips, 60, 0, width=24)
    x = [torch.from_numpy(getattr(clips[0], n)[None].astype(np.float32)) for n in ("features", "mel")]
    with torch.no_grad():
        told = model(*x)[0].numpy()
    assert (told.argmax(1) == clips[0].visemes).mean() > 0.6
    tool.export(model, tmp_path / "x.onnx")
    again = load_session(tmp_path / "x.onnx").run(
        None, {n: v.numpy() for n, v in zip(("features", "mel"), x, strict=True)}
    )[0][0]
    assert np.abs(again - told).max() < 1e-4


def test_labels_mark_what_no_phone_covers_as_unknown():
    tool = pytest.importorskip("loquent.tools.speech.train_visemes")
    found = tool.labels([("p", 0.0, 0.1), ("a", 0.1, 0.2), ("?", 0.2, 0.3)], 40)
    assert (
        (found[:10] == 1).all() and (found[10:20] == VISEMES.index("aa")).all() and (found[20:] == tool.UNKNOWN).all()
    )


@pytest.mark.parametrize("hertz", [75, 110, 200, 330])
def test_the_melody_of_a_voice_is_found_to_a_tenth_of_a_semitone(hertz):
    t = np.arange(2 * SAMPLES) / SAMPLES
    voice = sum(0.1 / k * np.sin(2 * np.pi * hertz * k * t + k) for k in range(1, 8))
    found = pitch(voice.astype(np.float32))
    assert np.isfinite(found).mean() > 0.95
    assert np.nanmax(np.abs(found - 12 * np.log2(hertz / 100))) < 0.1


def test_noise_and_silence_have_no_melody():
    rng = np.random.default_rng(0)
    assert np.isfinite(pitch(rng.normal(0, 0.1, 2 * SAMPLES).astype(np.float32))).mean() < 0.05
    assert not np.isfinite(pitch(np.zeros(5000, np.float32))).any()
    for length in (0, 1, 2, 319, 321):
        assert len(pitch(np.zeros(length, np.float32))) == frame_count(length)


def test_the_samples_melodies_are_those_of_a_woman_and_a_man():
    ada, bruno = (np.nanmedian(pitch(read_audio(SCENES / f"voice_{n}.flac").samples)) for n in ("ada", "bruno"))
    assert 8 < ada < 14 and 0 < bruno < 5  # semitones above 100 Hz


def test_a_missing_recording_is_named():
    with pytest.raises(AudioError, match=r"none\.wav"):
        recognise(read_audio("none.wav"))


def test_the_worker_answers_with_segments(recogniser, tmp_path):
    from loquent.core.worker.jobs import JOBS

    told, arrays = JOBS["phones"]({"pieces": [{"path": str(SCENES / "voice_ada.flac")}]}, tmp_path, lambda part: None)
    assert not arrays and told["segments"] == json.loads(json.dumps(told["segments"]))
    begin, end, viseme, confidence = told["segments"][1]
    assert 0 < begin < end and viseme in VISEMES and 0 < confidence <= 1


def test_the_melody_of_a_long_recording_needs_no_copy_of_it():
    samples = np.random.default_rng(0).normal(0, 0.1, 600 * SAMPLES).astype(np.float32)
    pitch(samples[:SAMPLES])
    tracemalloc.start()
    try:
        pitch(samples)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.7 * samples.nbytes, f"{most / 1e6:.0f} MB for {samples.nbytes / 1e6:.0f} MB of sound"
