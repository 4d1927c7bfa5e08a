# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's style: fitted from a take, kept in a file, spoken with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loquent.core.adapt.voice import ALIKE, DOUBTFUL, Heard, fit_voice, lag_between, mouth_curves_of, upper_face
from loquent.core.errors import Cancelled, FormatError, MotionError
from loquent.core.head.motion import INDEX, Motion
from loquent.core.prior.controls import Controls
from loquent.core.prior.generate import generate, listen
from loquent.core.prior.mouth import MOUTH, OUTPUTS, RATE, sides
from loquent.core.prior.perform import Raw
from loquent.core.prior.regression import load_regression
from loquent.core.prior.style import VECTOR, Style, read_style, styled, with_style, write_style
from loquent.core.speech.audio import read_audio

SAMPLE = Path(__file__).parent.parent / "sample_scenes" / "voice_ada.flac"
SECONDS = 40


class Parrot:
    """A network that says smooth nonsense, and under a vector the same a little louder."""

    network = "parrot"

    def __init__(self, seconds: float = SECONDS):
        frames, rng = int(seconds * RATE), np.random.default_rng(5)
        white = rng.normal(size=(frames + 40, len(MOUTH)))
        kernel = np.hanning(41) / np.hanning(41).sum()
        smooth = np.stack([np.convolve(c, kernel, "valid") for c in white.T], 1)
        self.curves = np.zeros((frames, len(OUTPUTS)), np.float32)
        self.curves[:, : len(MOUTH)] = np.clip(0.3 + 0.5 * smooth, 0, 1)

    def speak(self, vector, seed):
        curves = self.curves.copy()
        if vector is not None:
            curves[:, : len(MOUTH)] *= 1.1
        half = np.zeros(len(curves) // 2, np.float32)
        return Raw(curves, half, half, len(curves) / RATE)

    def vector(self, curves, known):
        assert curves.shape[1] == len(MOUTH) == len(known)
        return np.full(VECTOR, 0.25, np.float32)


def acted(curves: np.ndarray, fps: float = 60, late: float = 0.0, noise: float = 0.0) -> Motion:
    """A capture of somebody whose mouth did `curves` (at RATE), `late` seconds after the sound."""
    frames = int(len(curves) / RATE * fps)
    at = (np.arange(frames) / fps - late) * RATE
    values = np.zeros((frames, len(INDEX)), np.float32)
    rng = np.random.default_rng(1)
    for i, name in enumerate(MOUTH):
        column = np.interp(at, np.arange(len(curves)), curves[:, i]) + noise * rng.normal(size=frames)
        for side in sides(name):
            values[:, INDEX[side]] = np.clip(column, 0, 1)
    return Motion(fps, values)


def other_person(curves: np.ndarray) -> np.ndarray:
    """A wider jaw that spreads the corners, and a lazy pucker."""
    out = curves[:, : len(MOUTH)].copy()
    jaw, stretch, pucker = (MOUTH.index(n) for n in ("jawOpen", "mouthStretch", "mouthPucker"))
    out[:, jaw] = 1.5 * out[:, jaw] - 0.05
    out[:, stretch] += 0.4 * curves[:, jaw]
    out[:, pucker] *= 0.3
    return np.clip(out, 0, 1)


def test_a_fit_finds_how_somebody_differs_and_its_error_on_the_unseen_tail_falls():
    parrot = Parrot()
    fit = fit_voice(parrot, acted(other_person(parrot.curves), noise=0.02), name="Anna")
    assert fit.errors["after"] < 0.35 * fit.errors["before"] and fit.errors["after"] < 0.04
    told = styled(parrot.speak(fit.style.vector, 0), fit.style).curves
    truth = other_person(parrot.curves)
    for name in ("jawOpen", "mouthStretch", "mouthPucker"):
        i = MOUTH.index(name)
        assert np.corrcoef(told[:, i], truth[:, i])[0, 1] > 0.97, name
        assert told[:, i].std() == pytest.approx(truth[:, i].std(), rel=0.15), name
    assert len(fit.captured) == len(MOUTH) and fit.style.name == "Anna" and fit.style.network == "parrot"


@pytest.mark.parametrize("late", [0.24, 0.1, -0.15])
def test_motion_that_comes_late_is_noticed_and_taken_out(late):
    parrot = Parrot()
    fit = fit_voice(parrot, acted(other_person(parrot.curves), late=late))
    assert abs(fit.lag_seconds - late) <= 0.02 and fit.errors["after"] < 0.4 * fit.errors["before"]
    assert f"{abs(fit.lag_seconds) * 1e3:.0f} ms {'after' if late > 0 else 'before'} the sound" in fit.notes[0]


def test_a_fit_to_oneself_changes_nothing():
    parrot = Parrot()
    fit = fit_voice(parrot, acted(parrot.curves[:, : len(MOUTH)] * 1.1))
    assert fit.errors["after"] <= fit.errors["vector"] + 1e-6
    told = styled(parrot.speak(fit.style.vector, 0), fit.style).curves
    assert np.abs(told - parrot.speak(fit.style.vector, 0).curves).mean() < 0.01


def test_the_tail_decides_how_much_is_believed():
    """A capture that differs by chance alone in its first part must not be imitated."""
    parrot = Parrot()
    curves = parrot.curves[:, : len(MOUTH)] * 1.1
    cut = int(0.8 * len(curves))
    curves[: cut - 50] += np.random.default_rng(0).normal(0, 0.12, (cut - 50, 1)) * np.ones(len(MOUTH))
    fit = fit_voice(parrot, acted(np.clip(curves, 0, 1)))
    assert fit.errors["after"] <= fit.errors["vector"] + 1e-6


def test_without_training_the_spread_is_matched():
    parrot = Parrot()
    fit = fit_voice(parrot, acted(other_person(parrot.curves)), zero_shot=True)
    told = styled(parrot.speak(fit.style.vector, 0), fit.style).curves
    truth = other_person(parrot.curves)
    for name in ("jawOpen", "mouthPucker"):
        i = MOUTH.index(name)
        assert told[:, i].std() == pytest.approx(truth[:, i].std(), rel=0.15)
    assert fit.errors["after"] < 0.6 * fit.errors["before"] and "zero-shot" in fit.style.about["method"]
    assert not (fit.style.matrix - np.diag(np.diag(fit.style.matrix))).any()


def test_channels_that_were_not_captured_stay_the_networks():
    parrot = Parrot()
    motion = acted(other_person(parrot.curves)).with_columns({"tongueOut": 0.0, "cheekPuff": 0.0})
    fit = fit_voice(parrot, motion)
    still = [MOUTH.index(n) for n in ("tongueOut", "cheekPuff")]
    assert np.array_equal(fit.style.matrix[:, still], np.eye(len(MOUTH), dtype=np.float32)[:, still])
    assert not fit.style.offset[still].any() and "tongueOut" not in fit.captured


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: acted(c[: 5 * RATE]), "lasts 5.0 s; expected at least 8 s"),
        (lambda c: acted(c[::-1]), "does not follow the recording"),
        (lambda c: acted(c * 0), "jawOpen does not move"),
    ],
)
def test_a_take_that_cannot_be_learned_from_is_explained(make, message):
    parrot = Parrot()
    with pytest.raises(MotionError, match=message):
        fit_voice(parrot, make(parrot.curves[:, : len(MOUTH)]))


def test_another_take_with_the_same_phrases_does_not_pass_for_this_one():
    """Where somebody talks and where they pause agrees; the syllables do not."""
    parrot, jaw = Parrot(), MOUTH.index("jawOpen")
    frames = len(parrot.curves)
    talking = np.convolve(np.sin(np.arange(frames) / RATE * 2) > -0.3, np.hanning(41) / 20, "same")

    def take(seed):
        syllables = np.convolve(np.random.default_rng(seed).normal(size=frames), np.hanning(15) / 5, "same")
        return np.clip(0.3 * talking * (1 + syllables), 0, 1)

    parrot.curves[:, jaw] = take(0)
    curves = parrot.curves[:, : len(MOUTH)].copy()
    curves[:, jaw] = take(1)
    assert np.corrcoef(take(0), take(1))[0, 1] > ALIKE > lag_between(parrot.curves, curves)[1]
    with pytest.raises(MotionError, match="does not follow the recording"):
        fit_voice(parrot, acted(curves))


def test_a_loose_fit_and_other_lengths_are_told():
    parrot = Parrot()
    curves = parrot.curves[:, : len(MOUTH)].copy()
    noise = np.convolve(np.random.default_rng(1).normal(size=len(curves)), np.hanning(15), "same")
    jaw = curves[:, MOUTH.index("jawOpen")]
    for strength in np.linspace(0, 2, 41):
        moved = curves.copy()
        moved[:, MOUTH.index("jawOpen")] = np.clip(jaw + strength * jaw.std() * noise, 0, 1)
        if ALIKE + 0.03 < lag_between(parrot.curves, moved)[1] < DOUBTFUL - 0.03:
            break
    fit = fit_voice(parrot, acted(moved[: -3 * RATE]))
    assert any("only loosely" in note for note in fit.notes), fit.notes
    assert any("taken to begin together" in note for note in fit.notes)


def test_progress_ends_at_1_and_may_cancel():
    parrot, seen = Parrot(), []
    motion = acted(other_person(parrot.curves))
    fit_voice(parrot, motion, progress=seen.append)
    assert seen[0] == 0 and seen[-1] == 1 and seen == sorted(seen)

    def stop(part):
        if part > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        fit_voice(parrot, motion, progress=stop)


def test_lag_is_found_to_a_frame():
    curves = Parrot().curves
    for shift in (-20, 0, 13):
        moved = np.roll(curves, shift, 0)
        lag, alike = lag_between(curves, moved)
        assert round(lag * RATE) == shift and alike > 0.99


def test_curves_of_a_motion_are_the_means_of_its_sides():
    motion = Motion.rest(60, 30).with_columns({"mouthSmileLeft": np.linspace(0, 1, 60), "jawOpen": 0.5})
    curves, known = mouth_curves_of(motion)
    assert curves[:, MOUTH.index("mouthSmile")].max() == pytest.approx(0.5, abs=0.02)
    assert known.tolist() == [float(n == "mouthSmile") for n in MOUTH]


def test_what_the_seed_makes_by_itself_asks_for_no_change():
    """The scales of upper_face are those of Controls(): our own performance is a person like the default."""
    samples = read_audio(SAMPLE).samples
    from loquent.core.speech.audio import Audio

    motion = generate(Audio(np.tile(samples, 8)), fps=60, model=load_regression(threads=1), seed=3)
    found = upper_face(motion)
    assert found["blink_rate"] == pytest.approx(16, abs=6)
    assert 0.6 < found["head_motion"] < 1.5 and 0.5 < found["brows"] < 1.6


def test_the_upper_face_is_counted_where_it_was_captured():
    t = np.arange(0, 60, 1 / 60)
    blink = (t % 3 < 0.15).astype(np.float32)
    motion = Motion.rest(len(t), 60).with_columns({"eyeBlinkLeft": blink, "headYaw": 0.1 * np.sin(t)})
    found = upper_face(motion)
    assert found["blink_rate"] == pytest.approx(20, abs=1) and found["head_motion"] > 0.9 and "brows" not in found
    assert upper_face(Motion.rest(60, 60)) == {}


@pytest.fixture
def style() -> Style:
    rng = np.random.default_rng(0)
    size = len(MOUTH)
    return Style(
        "Änna", rng.uniform(-1, 1, VECTOR).astype(np.float32), "regression",
        (np.eye(size) + 0.1 * rng.normal(size=(size, size))).astype(np.float32),
        rng.normal(0, 0.05, size).astype(np.float32), {"blink_rate": 21.0}, {"consent": "Änna agreed on 2026-11-01"},
    )  # fmt: skip


def test_a_style_survives_its_file(style, tmp_path):
    write_style(style, tmp_path / "anna.style")
    back = read_style(tmp_path / "anna.style")
    assert all(np.array_equal(getattr(back, n), getattr(style, n)) for n in ("vector", "matrix", "offset"))
    assert (back.name, back.network, back.controls, back.about) == (
        style.name, style.network, style.controls, style.about,
    )  # fmt: skip
    assert (tmp_path / "anna.style").stat().st_size < 4000


def _hostile(path: Path, **changes) -> None:
    size = len(MOUTH)
    arrays = {"vector": np.zeros(VECTOR, np.float32), "matrix": np.eye(size, dtype=np.float32), "offset": np.zeros(size, np.float32)}  # fmt: skip
    header = {
        "format": "loquent-style",
        "version": 1,
        "name": "x",
        "channels": list(MOUTH),
        "controls": {},
        "about": {},
    }
    for name, value in changes.items():
        (arrays if name in arrays else header)[name] = value
    save_file({n: a for n, a in arrays.items() if a is not None}, path, {"loquent": json.dumps(header)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vector": None}, "vector: expected .* found nothing"),
        ({"matrix": np.zeros((3, 3), np.float32)}, r"matrix: expected \(17, 17\)"),
        ({"matrix": np.full((17, 17), np.nan, np.float32)}, "numbers out of range"),
        ({"offset": np.full(17, 1e6, np.float32)}, "numbers out of range"),
        ({"offset": np.zeros(17)}, "float64"),
        ({"channels": ["jawOpen"]}, "other mouth channels"),
        ({"controls": {"blink_rate": 1e9}}, "cannot set 'blink_rate'"),
        ({"controls": {"nose": 1}}, "cannot set 'nose'"),
        ({"controls": {"gaze": "x"}}, "cannot set 'gaze'"),
        ({"controls": [1]}, "lacks what every style has"),
        ({"format": "loquent-avatar"}, "expected a loquent-style file, found loquent-avatar"),
        ({"version": 2}, "reads up to 1"),
    ],
)
def test_a_hostile_style_file_is_refused_with_a_reason(tmp_path, changes, message):
    _hostile(tmp_path / "x.style", **changes)
    with pytest.raises(FormatError, match=message):
        read_style(tmp_path / "x.style")


def test_a_style_cut_short_is_refused(style, tmp_path):
    write_style(style, tmp_path / "a.style")
    whole = (tmp_path / "a.style").read_bytes()
    for length in (0, 7, 100, len(whole) - 10):
        (tmp_path / "b.style").write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_style(tmp_path / "b.style")


def test_a_style_sets_only_what_the_animator_left_alone(style):
    assert with_style(Controls(), style).blink_rate == 21
    assert with_style(Controls(blink_rate=5), style).blink_rate == 5


def test_speaking_in_a_style_changes_the_mouth_and_keeps_closures(style):
    model, audio = load_regression(threads=1), read_audio(SAMPLE)
    plain, other = (generate(audio, fps=50, model=model, style=s) for s in (None, style))
    assert np.abs(plain.column("jawOpen") - other.column("jawOpen")).mean() > 0.005
    a, b = (listen(audio, model=model, style=s).curves[:, len(MOUTH) :] for s in (None, style))
    assert np.array_equal(a, b)
    nothing = replace(style, matrix=np.eye(len(MOUTH), dtype=np.float32), offset=style.offset * 0, controls={})
    assert np.allclose(generate(audio, fps=50, model=model, style=nothing).values, plain.values, atol=1e-6)


def test_a_take_of_the_shipped_model_itself_is_fitted(tmp_path):
    """End to end on the sample: someone with half the jaw says the line twice; the fit halves the jaw."""
    model, audio = load_regression(threads=1), read_audio(SAMPLE)
    from loquent.core.speech.audio import Audio

    twice = Audio(np.tile(audio.samples, 2))
    half = listen(twice, model=model).curves[:, : len(MOUTH)] * 1.0
    half[:, MOUTH.index("jawOpen")] *= 0.5
    fit = fit_voice(Heard(twice, model), acted(half, fps=30))
    jaw = MOUTH.index("jawOpen")
    assert fit.errors["after"] < 0.5 * fit.errors["before"] and 0.3 < fit.style.matrix[jaw, jaw] < 0.75


def test_the_worker_speaks_in_a_style(style, tmp_path):
    from loquent.core.worker.jobs import JOBS

    wide = replace(
        style,
        matrix=np.diag(np.where(np.array(MOUTH) == "jawOpen", 1.5, 1)).astype(np.float32),
        offset=style.offset * 0,
    )
    write_style(wide, tmp_path / "wide.style")
    jaws = []
    for path in ("", str(tmp_path / "wide.style")):
        arguments = {"pieces": [{"path": str(SAMPLE)}], "fps": 25, "seed": 1, "controls": {}, "style": path}
        JOBS["speak"](arguments, tmp_path, lambda part: None)
        jaws.append(np.load(tmp_path / "values.npy")[:, INDEX["jawOpen"]])
    assert jaws[1].mean() > 1.3 * jaws[0].mean()
