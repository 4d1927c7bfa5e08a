# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the network said to a Motion: controls over time, moods, and what must hold for any of them."""

from pathlib import Path

import numpy as np
import pytest

from loquent.core.errors import FormatError, MotionError
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, GROUPS, INDEX, Motion
from loquent.core.prior import mood
from loquent.core.prior.controls import ANIMATABLE, MOODS, RANGES, Controls
from loquent.core.prior.mouth import OUTPUTS, RATE
from loquent.core.prior.perform import Raw, driven, load_raw, perform, save_raw

PAIRS = [(f"lip_upper_{side}", f"lip_lower_{side}") for side in ("middle", "left", "right")]
SECONDS = 12.0
STILL = {"blink_rate": 0, "head_motion": 0, "gaze": 0, "brows": 0}


def column(raw: Raw, name: str) -> np.ndarray:
    return raw.curves[:, OUTPUTS.index(name)]


@pytest.fixture(scope="module")
def raw() -> Raw:
    """Syllables of 0.24 s that begin with shut lips, four seconds of them, then two of silence; and again."""
    t = np.arange(int(SECONDS * RATE)) / RATE
    rng = np.random.default_rng(0)
    talk, phase = (t % 6 < 4).astype(np.float32), t % 0.24
    curves = np.zeros((len(t), len(OUTPUTS)), np.float32)
    made = Raw(curves, np.zeros(int(SECONDS * 50), np.float32), np.zeros(int(SECONDS * 50), np.float32), SECONDS)
    column(made, "jawOpen")[:] = 0.35 * np.sin(np.pi * phase / 0.24) * talk
    column(made, "mouthPucker")[:] = 0.5 * (np.floor(t / 0.24) % 3 == 0) * talk
    column(made, "mouthLowerDown")[:] = 0.2 * talk
    column(made, "seal")[:] = ((phase < 0.06) & (talk > 0)).astype(np.float32)
    column(made, "rest")[:] = 1 - talk
    u = np.arange(len(made.levels)) / 50
    made.levels[:] = np.where(u % 6 < 4, -25 + 6 * np.sin(u * 7) + rng.normal(0, 1, len(u)), -70)
    made.pitch[:] = np.where(u % 6 < 4, 5 + 2 * np.sin(u * 3), np.nan)
    return made


@pytest.fixture(scope="module")
def person():
    return identity(load_head())


def gaps(person, values: np.ndarray) -> np.ndarray:
    """Millimetres between the inner lips, the widest of three places; below 0 they touch."""
    vertices, marks = pose_vertices(person, values), person.head.landmarks
    return 1e3 * np.max([vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in PAIRS], axis=0)


MIXES = [{mood: 1.0} for mood in MOODS] + [
    {"happy": 1.0, "surprised": 1.0}, {"sad": 0.7, "angry": 0.9}, {"happy": 0.5, "sad": 0.5, "angry": 0.5, "surprised": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("mix", MIXES, ids=lambda m: "+".join(m))
def test_no_mood_opens_lips_that_are_shut_by_speech_or_silence(raw, person, mix):
    motion = perform(raw, Controls(**mix, articulation=1.5), fps=50, seed=3)
    gap = gaps(person, motion.values)
    t = np.arange(len(motion)) / 50
    sealed = (t % 0.24 > 0.015) & (t % 0.24 < 0.045) & (t % 6 < 3.9)
    silent = (t % 6 > 4.3) & (t % 6 < 5.8)
    assert sealed.sum() > 20 and gap[sealed].max() < 0.05 * np.percentile(gap, 95)
    assert gap[silent].max() <= 0
    assert np.percentile(gap, 95) > 3  # and it still speaks


@pytest.mark.parametrize(
    ("mix", "raised", "lowered"),
    [
        ("happy", "mouthSmileLeft", None), ("sad", "mouthFrownLeft", None), ("angry", "browDownLeft", None),
        ("surprised", "browOuterUpLeft", None),
    ],
)  # fmt: skip
def test_a_mood_is_seen_and_grows_with_its_number(raw, mix, raised, lowered):
    means = [perform(raw, Controls(**{mix: s}), fps=25, seed=1).column(raised).mean() for s in (0, 0.5, 1)]
    assert means[2] > means[1] + 0.1 > means[0] + 0.2


def test_neutral_waters_the_other_moods_down(raw):
    alone, watered = (perform(raw, Controls(happy=1, neutral=n), fps=25) for n in (0, 1))
    smiles = [m.column("mouthSmileLeft").mean() for m in (alone, watered)]
    assert 0.4 < smiles[1] / smiles[0] < 0.6
    assert np.array_equal(perform(raw, Controls(neutral=1), fps=25).values, perform(raw, fps=25).values)


def test_smiles_give_way_to_rounded_lips(raw):
    motion = perform(raw, Controls(happy=1), fps=50)
    rounded = motion.column("mouthPucker") > 0.4
    smile = motion.column("mouthSmileLeft")
    assert smile[rounded].mean() < 0.62 * smile[~rounded].mean()


def test_a_face_in_a_mood_is_alive_and_not_a_mirror_image(raw):
    silent = Raw(raw.curves * 0, raw.levels * 0 - 100, raw.pitch * np.nan, raw.seconds)
    column(silent, "rest")[:] = 1
    motion = perform(silent, Controls(happy=1, **STILL), fps=25)
    left, right = motion.column("mouthSmileLeft"), motion.column("mouthSmileRight")
    assert left.std() > 0.01 and 0.002 < np.abs(left - right).mean() < 0.2


def test_mouth_only_leaves_everything_else_at_rest(raw):
    controls = Controls(mouth_only=True, happy=1)
    motion = perform(raw, controls, fps=25)
    moved = {name for name, c in zip(INDEX, motion.values.T, strict=True) if c.any()}
    assert moved <= set(driven(controls)) and "mouthSmileLeft" in moved
    assert set(driven(Controls())) == set(INDEX)
    plain = perform(raw, Controls(mouth_only=True), fps=25)
    whole = perform(raw, fps=25)
    mouth = [INDEX[n] for n in GROUPS["Jaw"] + GROUPS["Lips"]]
    assert np.array_equal(plain.values[:, mouth], whole.values[:, mouth])


@pytest.mark.parametrize(
    ("control", "channels"),
    [
        ("jaw", ("jawOpen",)), ("lips", ("mouthPucker",)), ("gaze", ("gazeYaw",)), ("brows", ("browInnerUp",)),
        ("head_motion", ("headYaw",)), ("nods", ("headPitch",)), ("breathing", ("neckPitch",)),
        ("blink_rate", ("eyeBlinkLeft",)), ("happy", ("mouthSmileLeft",)), ("mouth_only", ("headYaw",)),
    ],
)  # fmt: skip
def test_a_keyed_control_acts_from_its_key_on_and_not_before(raw, control, channels):
    frames = len(perform(raw, fps=25))
    low, high = (0.0, 1.0) if control == "mouth_only" else RANGES[control]
    base = getattr(Controls(), control)
    value = low if control != "happy" and control != "mouth_only" else high
    keyed = np.full(frames, base, np.float32)
    keyed[frames // 2 :] = value
    plain, changed = perform(raw, fps=25, seed=2), perform(raw, fps=25, seed=2, keyed={control: keyed})
    before = slice(0, frames // 2 - 12)
    for name in channels:
        assert np.allclose(plain.column(name)[before], changed.column(name)[before], atol=1e-5)
        assert not np.allclose(plain.column(name)[frames // 2 :], changed.column(name)[frames // 2 :], atol=1e-3)


@pytest.mark.parametrize("name", ANIMATABLE)
def test_a_control_held_over_time_is_that_control(raw, name):
    low, high = RANGES[name]
    value = low + 0.75 * (high - low) if name != "mouth_only" else 1.0
    frames = len(perform(raw, fps=25))
    keyed = perform(raw, fps=25, seed=5, keyed={name: np.full(frames, value)})
    assert np.allclose(keyed.values, perform(raw, Controls(**{name: value}), fps=25, seed=5).values, atol=1e-5)


@pytest.mark.parametrize("group", ["gaze", "brows", "nods", "breathing", "blink_rate", "head_motion", "happy"])
def test_groups_draw_from_their_own_streams(raw, group):
    """Switching one group leaves what the seed made of the others as it was."""
    plain = perform(raw, seed=7, fps=25)
    other = perform(raw, Controls(**{group: 0 if group != "happy" else 1}), seed=7, fps=25)
    touched = {
        "gaze": "Eyes", "brows": "Brows Eyes", "nods": "Head Eyes", "breathing": "Head Eyes", "blink_rate": "Eyes",
        "head_motion": "Head Eyes", "happy": "Lips Jaw Brows Eyes Head Cheeks",
    }[group]  # fmt: skip
    for name, channels in GROUPS.items():
        columns = [INDEX[n] for n in channels]
        if name.split()[0] not in touched:
            assert np.array_equal(plain.values[:, columns], other.values[:, columns]), name
    blink = INDEX["eyeBlinkRight"]
    if group not in ("blink_rate", "happy"):
        assert np.array_equal(plain.values[:, blink], other.values[:, blink])


def test_the_eyes_hold_what_they_look_at_while_the_head_turns(raw):
    motion = perform(raw, Controls(gaze=1, blink_rate=0), fps=100, seed=4)
    head = motion.column("headYaw") + motion.column("neckYaw")
    aim = motion.column("gazeYaw") + 0.85 * head
    still = np.abs(np.diff(aim)) * 100 < np.radians(1)
    assert still.mean() > 0.8 and np.abs(head).max() > np.radians(1.5)


def test_blinks_come_10_to_25_times_a_minute_as_they_are_set(raw):
    minutes = 5
    long = Raw(np.tile(raw.curves, (25, 1)), np.tile(raw.levels, 25), np.tile(raw.pitch, 25), SECONDS * 25)
    rates = []
    for seed in range(4):
        shut = perform(long, fps=50, seed=seed).column("eyeBlinkLeft") > 0.5
        rates.append((np.diff(shut.astype(int)) > 0).sum() / minutes)
    assert min(rates) >= 10 and max(rates) <= 25 and 13 < np.mean(rates) < 19, rates


def test_any_mix_of_extremes_stays_finite_and_within_range(raw):
    rng = np.random.default_rng(0)
    for _ in range(20):
        asked = {n: float(rng.choice([low, high, rng.uniform(low, high)])) for n, (low, high) in RANGES.items()}
        motion = perform(raw, Controls(**asked), fps=24, seed=int(rng.integers(99)))
        arkit = motion.values[:, : len(ARKIT)]
        assert np.isfinite(motion.values).all() and arkit.min() >= 0 and arkit.max() <= 1
        assert np.abs(motion.values[:, len(ARKIT) :]).max() < 1.2


def test_what_a_network_says_of_other_channels_is_added_and_scaled(raw):
    extra = {"browInnerUp": np.full(len(raw.levels), 0.3, np.float32)}
    told = Raw(raw.curves, raw.levels, raw.pitch, raw.seconds, extra)
    with_brows, without = (perform(told, Controls(brows=b), fps=25) for b in (1, 0))
    assert with_brows.column("browInnerUp").min() >= 0.3 - 1e-6 and not without.column("browInnerUp").any()


def test_a_raw_performance_survives_its_file(raw, tmp_path):
    told = Raw(raw.curves, raw.levels, raw.pitch, raw.seconds, {"browInnerUp": raw.levels * 0})
    save_raw(told, tmp_path / "take.raw")
    back = load_raw(tmp_path / "take.raw")
    assert np.array_equal(perform(back, fps=25).values, perform(told, fps=25).values)
    with pytest.raises(FormatError, match="loquent-raw-performance file"):
        load_raw(Path(__file__))


def test_a_raw_file_whose_arrays_do_not_belong_together_is_refused(raw, tmp_path):
    save_raw(Raw(raw.curves[:-7], raw.levels, raw.pitch, raw.seconds), tmp_path / "take.raw")
    with pytest.raises(MotionError, match="not a whole performance: curves"):
        load_raw(tmp_path / "take.raw")


@pytest.mark.parametrize(
    ("keyed", "message"),
    [
        ({"smoothing": np.zeros(300)}, "'smoothing' cannot change over time"),
        ({"jaw": np.zeros(3)}, r"'jaw' over time has shape \(3,\); expected \(300,\)"),
        ({"jaw": np.full(300, np.nan)}, "finite"),
    ],
)
def test_wrong_keys_are_named(raw, keyed, message):
    with pytest.raises(MotionError, match=message):
        perform(raw, fps=25, keyed=keyed)


def test_mixed_moods_share_one_face():
    ones = {m: np.ones(3) for m in MOODS}
    assert sum(mood.shares(ones).values()) == pytest.approx(np.full(3, 0.8))
    half = {m: np.full(3, 0.1) for m in MOODS}
    assert mood.shares(half)["happy"] == pytest.approx(np.full(3, 0.1))


def test_the_shortest_motion_can_be_performed():
    tiny = Raw(np.zeros((1, len(OUTPUTS)), np.float32), np.zeros(1, np.float32), np.zeros(1, np.float32), 1e-4)
    assert isinstance(perform(tiny, Controls(happy=1), fps=25), Motion)


def test_the_ends_of_every_range_may_come_from_sliders_of_single_precision():
    for name, ends in RANGES.items():
        for end in ends:
            assert getattr(Controls(**{name: float(np.float32(end))}), name) == end
