# SPDX-License-Identifier: GPL-3.0-or-later
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from loquent.core.errors import Cancelled, MotionError
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, GROUPS, INDEX
from loquent.core.prior.generate import RANGES, Controls, generate
from loquent.core.prior.model import load_prior
from loquent.core.prior.mouth import OUTPUTS, REACH, at_times, decided, smoothed, to_channels
from loquent.core.prior.regression import load_regression, mouth_curves
from loquent.core.speech.audio import RATE, Audio, from_samples, read_audio

SCENES = Path(__file__).parent.parent / "sample_scenes"
STILL = Controls(blink_rate=0, head_motion=0, gaze=0, brows=0)
PAIRS = [(f"lip_upper_{side}", f"lip_lower_{side}") for side in ("middle", "left", "right")]


@pytest.fixture(scope="module")
def model():
    return load_prior(threads=1)


@pytest.fixture(scope="module")
def regression():
    return load_regression(threads=1)


@pytest.fixture(scope="module")
def person():
    return identity(load_head())


def voice(name: str) -> Audio:
    return read_audio(SCENES / f"{name}.flac")


def phones(name: str) -> list[tuple[str, float, float]]:
    return [tuple(p) for p in json.loads((SCENES / f"{name}.phones.json").read_text("utf8"))["phones"]]


def lip_gaps(person, motion) -> np.ndarray:
    """Millimetres between the inner lips, the widest of three places; below 0 they touch."""
    vertices, marks = pose_vertices(person, motion.values), person.head.landmarks
    return 1e3 * np.max([vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in PAIRS], axis=0)


@pytest.mark.parametrize("fps", [23.976, 25, 50, 60])
@pytest.mark.parametrize("name", ["voice_ada", "voice_bruno", "voice_ada_fr"])
def test_lips_touch_in_every_p_b_m_of_the_samples(model, person, name, fps):
    gaps = lip_gaps(person, generate(voice(name), fps=fps, model=model))
    limit = 0.1 * np.percentile(gaps, 95)
    for symbol, begin, end in phones(name):
        if symbol in "pbm":
            near = gaps[max(0, int(np.ceil((begin - 0.04) * fps))) : int((end + 0.04) * fps) + 1]
            assert near.min() < limit, f"{symbol} at {begin:.2f} s stays {near.min():.1f} mm open"


def test_the_mouth_opens_for_ah_and_rounds_for_oo(model):
    """'my father's boat', 'blue moon': the jaw of ah is over that of oo, the pucker the other way round."""
    motion = generate(voice("voice_ada"), fps=50, model=model)

    def over(symbol, name):
        spans = [(b, e) for s, b, e in phones("voice_ada") if s == symbol]
        return np.mean([motion.column(name)[round((b + e) * 25)] for b, e in spans])

    assert over("ɑ", "jawOpen") > over("u", "jawOpen") + 0.06
    assert over("u", "mouthPucker") > 0.45 > 0.35 > over("ɑ", "mouthPucker")


def test_the_lower_lip_goes_under_the_teeth_for_f_and_v(model):
    motion = generate(voice("voice_ada"), fps=50, model=model)
    bites = [
        motion.column("mouthRollLower")[int(b * 50) : int(e * 50) + 1].max()
        for s, b, e in phones("voice_ada")
        if s in "fv"
    ]
    assert np.mean(np.array(bites) > 0.3) >= 0.85, bites


def test_lips_are_shut_and_still_in_the_pause(model, person):
    for name in ("voice_ada", "voice_bruno"):
        timed = phones(name)
        begin, end = max(((a[2], b[1]) for a, b in pairwise(timed)), key=lambda p: p[1] - p[0])
        motion = generate(voice(name), fps=50, model=model, controls=STILL)
        inside = slice(int((begin + 0.25) * 50), int((end - 0.2) * 50))
        assert lip_gaps(person, motion)[inside].max() < 0
        assert np.abs(np.diff(motion.values[inside], axis=0)).max() < 1e-3


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_gives_a_still_face_with_closed_lips(model, level):
    samples = np.random.default_rng(0).normal(0, 1, 3 * RATE) * level
    motion = generate(from_samples(samples, RATE), fps=25, model=model, controls=STILL)
    assert len(motion) == 75 and not motion.values.any()


def test_nobody_speaks_in_noise_and_hum(model):
    t = np.arange(6 * RATE) / RATE
    rng = np.random.default_rng(1)
    for sound in (rng.normal(0, 0.02, len(t)), 0.05 * np.sin(2 * np.pi * 50 * t) + rng.normal(0, 0.003, len(t))):
        motion = generate(from_samples(sound, RATE), fps=25, model=model, controls=STILL)
        jaw = motion.column("jawOpen")
        assert jaw.max() < 0.15 and np.mean(jaw > 0.03) < 0.06, (jaw.max(), np.mean(jaw > 0.03))


@pytest.mark.parametrize("samples", [1, 200, 8000])
def test_the_shortest_recordings_work(model, samples):
    motion = generate(Audio(np.full(samples, 0.1, np.float32)), fps=25, model=model)
    assert len(motion) == max(1, int(np.ceil(samples / RATE * 25))) and np.isfinite(motion.values).all()


def test_the_seed_decides_everything_that_the_sound_leaves_open(model):
    a, b, c = (generate(voice("voice_ada"), fps=25, seed=s, model=model) for s in (1, 1, 2))
    assert np.array_equal(a.values, b.values) and not np.array_equal(a.values, c.values)
    assert np.corrcoef(a.column("jawOpen"), c.column("jawOpen"))[0, 1] > 0.8


@pytest.mark.parametrize("fps", [23.976, 25, 29.97, 60, 120])
def test_a_motion_lasts_as_long_as_its_sound_at_any_rate(model, fps):
    audio = voice("voice_ada")
    motion = generate(audio, fps=fps, model=model)
    assert motion.fps == fps and 0 <= len(motion) / fps - audio.seconds < 1 / fps + 1e-6


def test_the_same_performance_is_seen_at_any_frame_rate(model):
    fine, coarse = (generate(voice("voice_bruno"), fps=f, seed=4, model=model) for f in (100, 25))
    lively = [INDEX[n] for n in GROUPS["Head"] + ("browInnerUp",)]
    assert np.allclose(fine.values[::4][: len(coarse), lively], coarse.values[:, lively], atol=1e-5)
    apart = np.abs(fine.values[::4][: len(coarse), INDEX["jawOpen"]] - coarse.column("jawOpen"))
    assert np.percentile(apart, 80) < 0.02 and apart.max() < 0.25  # a coarse frame holds the closures that fall into it


def test_coefficients_stay_within_their_ranges_for_any_controls(model):
    for controls in (
        Controls(**{k: v[1] for k, v in RANGES.items()}),
        Controls(**{k: v[0] for k, v in RANGES.items()}),
    ):
        arkit = generate(voice("voice_ada"), fps=30, controls=controls, model=model).values[:, : len(ARKIT)]
        assert arkit.min() >= 0 and arkit.max() <= 1


def test_windows_of_the_regression_leave_no_seam(regression):
    """A minute of speech is one curve: what a window border changes is below what anyone sees."""
    parts = [voice("voice_ada").samples, voice("voice_bruno").samples] * 4
    long = Audio(np.concatenate(parts))
    curves = mouth_curves(regression, long)[::2]
    starts = np.cumsum([0] + [len(p) for p in parts[:-1]])
    alone = mouth_curves(regression, Audio(parts[0]))[::2]
    for start in starts[2::2]:
        frame = round(start / 320)
        again = curves[frame + 10 : frame + len(alone) - 10]
        assert np.abs(again - alone[10:-10])[:, 0].mean() < 0.02
    change = np.abs(np.diff(curves[:, OUTPUTS.index("jawOpen")]))
    for border in range(1000, len(curves), 1000):
        assert change[border - 20 : border + 20].max() <= change.max() * 0.9


def test_delay_moves_the_mouth_later_and_nothing_else(model):
    now, later = (
        generate(voice("voice_ada"), fps=50, model=model, controls=Controls(delay_seconds=d)) for d in (0.0, 0.1)
    )
    assert np.allclose(now.column("jawOpen")[:-5], later.column("jawOpen")[5:], atol=1e-6)
    assert np.array_equal(now.column("headYaw"), later.column("headYaw"))


def test_scaling_the_jaw_leaves_lips_alone_and_closures_closed(model, person):
    wide = generate(voice("voice_ada"), fps=50, model=model, controls=Controls(jaw=1.8))
    plain = generate(voice("voice_ada"), fps=50, model=model)
    assert wide.column("jawOpen").max() > 1.5 * plain.column("jawOpen").max()
    assert np.array_equal(wide.column("mouthPucker"), plain.column("mouthPucker"))
    gaps = lip_gaps(person, wide)
    for symbol, begin, end in phones("voice_ada"):
        if symbol in "pbm":
            assert gaps[int((begin - 0.04) * 50) : int((end + 0.04) * 50) + 1].min() < 0.5


def test_every_group_of_life_can_be_switched_off(model):
    motion = generate(voice("voice_ada"), fps=25, model=model, controls=STILL)
    for group in ("Eyes", "Head", "Brows"):
        assert not motion.values[:, [INDEX[n] for n in GROUPS[group]]].any(), group


@pytest.mark.parametrize("bad", [{"articulation": -0.1}, {"blink_rate": float("nan")}, {"delay_seconds": 3}])
def test_a_control_out_of_range_is_named(bad):
    with pytest.raises(MotionError, match=f"control '{next(iter(bad))}' is .*; expected a number from"):
        Controls(**bad)


def test_a_frame_rate_of_nothing_is_refused(model):
    with pytest.raises(MotionError, match="frame rate is 0; expected 1 to 1000"):
        generate(voice("voice_ada"), fps=0, model=model)


def test_progress_runs_from_0_to_1_and_may_cancel(model):
    seen = []
    generate(voice("voice_ada"), fps=25, model=model, progress=seen.append)
    assert seen[0] == 0 and seen[-1] == 1 and seen == sorted(seen)

    def stop(part):
        raise Cancelled

    with pytest.raises(Cancelled):
        generate(voice("voice_ada"), fps=25, model=model, progress=stop)


def test_no_frame_rate_steps_over_a_short_closure():
    curves = np.zeros((100, len(OUTPUTS)), np.float32)
    curves[:, OUTPUTS.index("jawOpen")] = 0.3
    curves[51, OUTPUTS.index("seal")] = 1  # 20 ms
    for fps in (12, 23.976, 25, 60):
        values = to_channels(at_times(curves, np.arange(int(2 * fps)) / fps, 1 / fps), articulation=1, jaw=1, lips=1)
        assert values[:, INDEX["mouthClose"]].max() > 0.05, fps


def test_a_vowel_of_50_ms_between_two_closures_opens_and_long_flanks_do_not_touch():
    states = np.zeros((100, 3), np.float32)
    states[30:40, 0] = states[45:55, 0] = 0.97
    seal = decided(states)[:, 0]
    assert (seal[30:40] == 1).all() and (seal[45:55] == 1).all() and seal[42] < 0.6
    # lips are on their way before they touch, by no more than REACH frames
    assert 0 < seal[25] < 0.35 and seal[20] == 0
    assert 0 < seal[58] < 0.4 and seal[65] == 0


@pytest.mark.parametrize("height", [0.06, 0.5, 1.0])
def test_a_closure_is_found_by_its_peak_however_unsure_the_network_is(height):
    states = np.zeros((200, 3), np.float32)
    states[:, 0] = height * np.exp(-0.5 * ((np.arange(200) - 100) / 4.0) ** 2)
    seal = decided(states)[:, 0]
    assert seal[100] == 1 and 3 <= (seal > 0.99).sum() <= 9
    states[:, 0] *= 0.04 / height
    assert not decided(states)[:, 0].any()


def test_what_a_frame_becomes_depends_on_its_neighbourhood_alone():
    rng = np.random.default_rng(0)
    states = rng.random((300, 3)).astype(np.float32)
    other = states.copy()
    other[:100], other[200:] = rng.random((100, 3)), rng.random((100, 3))
    assert np.array_equal(decided(states)[100 + REACH : 200 - REACH], decided(other)[100 + REACH : 200 - REACH])


def test_sealed_lips_touch_at_any_jaw_pucker_and_smile(person):
    rng = np.random.default_rng(0)
    outputs = rng.random((200, len(OUTPUTS))).astype(np.float32) * 0.6
    outputs[:, OUTPUTS.index("seal")], outputs[:, OUTPUTS.index("rest")], outputs[:, OUTPUTS.index("bite")] = 1, 0, 0
    values = to_channels(outputs, articulation=1, jaw=1, lips=1)
    vertices, marks = pose_vertices(person, values), person.head.landmarks
    gaps = [vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in PAIRS]
    assert np.max(gaps) < 1e-3  # metres


def test_smoothing_keeps_the_mean_and_does_not_delay():
    x = np.zeros((101, 1), np.float32)
    x[50] = 1
    y = smoothed(x, 0.04)
    assert abs(y.sum() - 1) < 1e-5 and int(y.argmax()) == 50 and np.allclose(y, y[::-1], atol=1e-7)
    assert smoothed(x, 0) is x


def test_a_small_version_learns_end_to_end_on_synthetic_seconds(model, tmp_path):
    """Half a minute of training on made-up sounds and phones: the loss falls and the export equals the torch network."""
    torch = pytest.importorskip("torch")
    from loquent.core.prior.network import Mouth, Shape
    from loquent.core.speech.encoder import frame_count
    from loquent.tools.speech import articulation
    from loquent.tools.speech.hear import hear
    from loquent.tools.speech.train_regression import SYNTHETIC, Clip, export, loss, train

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(4):
        spoken, sound, at = [], [], 0.0
        for symbol, hertz in (("_", 0), ("m", 120), ("ɑ", 700), ("p", 0), ("i", 2500), ("u", 300), ("_", 0)):
            seconds = rng.uniform(0.12, 0.3)
            t = np.arange(int(seconds * RATE)) / RATE
            sound.append(0.2 * np.sin(2 * np.pi * hertz * t) * (hertz > 0) + rng.normal(0, 0.001, len(t)))
            spoken.append((symbol, at, at + seconds))
            at += seconds
        samples = np.concatenate(sound).astype(np.float32)
        curves = articulation.curves(spoken, samples, frame_count(len(samples)))
        clips.append(Clip(*hear(model.encoder, samples), curves, 0))
    lines: list[str] = []
    shape = Shape(width=32, dilations=(1, 2))
    trained = train(clips, 200, 1, shape=shape, size=4, frames=80, report=lines.append)
    first, last = (float(line.split()[-1]) for line in (lines[0], lines[-1]))
    assert last < 0.8 * first
    torch.manual_seed(1)
    fresh = Mouth(shape).eval()
    x = (
        torch.from_numpy(clips[0].features[None].astype(np.float32)),
        torch.from_numpy(clips[0].mel[None].astype(np.float32)),
        torch.eye(2)[:1],
    )
    truth = torch.from_numpy(clips[0].curves[None].astype(np.float32))
    taught = torch.from_numpy(SYNTHETIC).expand(truth.shape)
    with torch.no_grad():
        assert loss(trained(*x), truth, taught) < 0.5 * loss(fresh(*x), truth, taught)
        expected = trained(*x).numpy()
    export(trained, tmp_path / "tiny.onnx")
    from loquent.core.speech.encoder import load_session

    names = ("features", "mel", "style")
    found = load_session(tmp_path / "tiny.onnx").run(None, {n: v.numpy() for n, v in zip(names, x, strict=True)})[0]
    assert np.abs(found - expected).max() < 1e-4
