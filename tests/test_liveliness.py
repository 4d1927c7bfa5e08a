# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from loquent.core.prior.liveliness import (
    RATE,
    Speech,
    at_times,
    blink_times,
    blinks,
    breathing,
    breaths,
    brows,
    ease,
    fixations,
    gaze,
    hear,
    nods,
    sway,
)  # fmt: skip

MINUTE = 60 * RATE


def chatter(seconds: int = 120) -> Speech:
    """Two seconds of talk, one of pause, with an accent each half second of talk."""
    t = np.arange(seconds * RATE) / RATE
    talking = np.clip(2.5 - np.abs(t % 3 - 1) * 2.5, 0, 1).astype(np.float32)
    return Speech(talking, (np.exp(-0.5 * (((t % 0.5) - 0.25) / 0.05) ** 2) * talking).astype(np.float32))


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_blinks_come_as_often_as_asked():
    for rate in (10, 16, 25):
        counts = [len(blink_times(chatter(300), stream(seed), rate)) / 5 for seed in range(8)]
        assert abs(np.mean(counts) - rate) < 0.15 * rate, (rate, counts)


def test_no_blinks_are_made_at_rate_zero():
    times = np.arange(100) / 25
    assert not any(column.any() for column in blinks(times, chatter(4), stream(), 0).values())


def test_a_blink_shuts_both_eyes_quickly_and_opens_slower():
    times = np.arange(0, 60, 0.002)
    columns = blinks(times, chatter(60), stream(3), 15)
    start, closing, closed, opening = blink_times(chatter(60), stream(3), 15)[0, :4]
    left, right = columns["eyeBlinkLeft"], columns["eyeBlinkRight"]
    near = (times > start - 0.05) & (times < start + closing + closed + opening + 0.05)
    assert 0.07 <= closing <= 0.1 and 0.15 <= opening <= 0.21
    for eye in (left, right):
        assert 0.85 < eye[near].max() <= 1
        assert 0.1 < (eye[near] > 0.5).sum() * 0.002 < 0.25
    assert 0 < np.abs(left - right)[near].max() < 0.2  # alike, not the same


@pytest.mark.parametrize("fps", [23.976, 25, 60])
def test_every_blink_shuts_the_eyes_on_some_frame_at_film_rates(fps):
    times = np.arange(int(120 * fps)) / fps
    eye = blinks(times, chatter(), stream(1), 16)["eyeBlinkLeft"]
    for start, closing, closed, opening in blink_times(chatter(), stream(1), 16)[:, :4]:
        during = (times >= start) & (times <= start + closing + closed + opening)
        if during.sum() > 3 and start + 0.4 < 120:
            assert eye[during].max() > 0.7


def test_blinks_do_not_overlap():
    times = blink_times(chatter(300), stream(2), 25)
    assert (times[1:, 0] - times[:-1, :4].sum(1) > 0).all()


def test_the_head_moves_a_few_degrees_without_a_jerk():
    times = np.arange(0, 120, 1 / 50)
    for seed in range(4):
        columns = sway(times, chatter(), stream(seed))
        nodded = nods(times, chatter(), stream(seed))
        for name in ("headPitch", "headYaw", "headRoll"):
            degrees = np.degrees(columns[name] + nodded.get(name, 0))
            assert 0.5 < degrees.std() < 5 and np.abs(degrees).max() < 14
            assert np.abs(np.diff(degrees, 1)).max() * 50 < 60  # degrees a second


def test_the_head_is_livelier_while_talking():
    silent = Speech(np.zeros(MINUTE, np.float32), np.zeros(MINUTE, np.float32))
    talk = Speech(np.ones(MINUTE, np.float32), np.zeros(MINUTE, np.float32))
    times = np.arange(0, 60, 0.02)
    assert sway(times, silent, stream())["headYaw"].std() < 0.7 * sway(times, talk, stream())["headYaw"].std()


def test_nods_reach_their_depth_on_the_stressed_syllable():
    speech = chatter()
    times = np.arange(0, 120, 0.005)
    pitch = np.degrees(nods(times, speech, stream())["headPitch"])
    near = [np.abs(times - when) < 0.1 for when, _ in speech.accents()]
    reached = np.array([pitch[n].max() for n in near])
    assert (reached > 0.5).mean() > 0.3 and (reached < 0.5).mean() > 0.1  # many, never all
    assert 0.4 < pitch.max() < 8 and pitch.min() == 0


def test_breath_is_drawn_in_pauses_and_let_go_while_talking():
    speech = chatter(300)
    knots = breaths(speech, stream())
    assert (np.diff(knots[:, 0]) > 0).all() and (knots[:, 1] >= 0.1).all() and (knots[:, 1] <= 1).all()
    rising = np.flatnonzero(np.diff(knots[:, 1]) > 0.05)
    middle = (knots[rising, 0] + knots[rising + 1, 0]) / 2
    assert np.interp(middle, np.arange(len(speech.talking)) / RATE, speech.talking).mean() < 0.3
    assert 8 < len(rising) / 5 < 25  # a minute
    lifted = breathing(np.arange(0, 300, 0.04), speech, stream())["neckPitch"]
    assert 0.2 < np.degrees(np.ptp(lifted)) < 1.2


def test_somebody_silent_breathes_12_to_20_times_a_minute():
    silent = Speech(np.zeros(5 * MINUTE, np.float32), np.zeros(5 * MINUTE, np.float32))
    knots = breaths(silent, stream())
    inside = knots[knots[:, 0] < 300]
    assert 12 <= (np.diff(inside[:, 1]) > 0).sum() / 5 <= 20


def test_eyes_rest_on_fixations_and_jump_as_fast_as_peoples_do():
    """Bahill, Clark and Stark 1975: a saccade of A degrees takes 21 ms + 2.2 ms A."""
    times = np.arange(0, 120, 0.001)
    columns = gaze(times, chatter(120), stream(6))
    yaw, pitch = np.degrees(columns["gazeYaw"]), np.degrees(columns["gazePitch"])
    speed = np.hypot(np.diff(yaw), np.diff(pitch)) / 0.001
    assert (speed < 0.5).mean() > 0.9 and 200 < speed.max() < 700
    edges = np.flatnonzero(np.diff((speed > 0.5).astype(int)))
    for begin, end in zip(edges[::2], edges[1::2], strict=False):
        size = np.hypot(yaw[end + 1] - yaw[begin], pitch[end + 1] - pitch[begin])
        assert (end - begin) * 0.001 <= 0.021 + 0.0022 * size + 0.002
    assert np.abs(yaw).max() < 16 and np.abs(pitch).max() < 11


def test_the_gaze_returns_and_wanders_more_while_talking():
    talk, silent = (Speech(np.full(5 * MINUTE, v, np.float32), np.zeros(5 * MINUTE, np.float32)) for v in (1, 0))
    times = np.arange(0, 300, 0.02)
    away = []
    for speech in (talk, silent):
        columns = gaze(times, speech, stream(2))
        away.append((np.degrees(np.hypot(columns["gazeYaw"], columns["gazePitch"])) > 2.5).mean())
    assert 0.5 > away[0] > 1.5 * away[1] > 0.01
    longest = np.diff(fixations(talk, stream(2))[:, 0]).max()
    assert longest < 6  # nobody stares


def test_brows_rise_with_accents_only_and_never_far():
    times = np.arange(0, 120, 1 / 25)
    raised = brows(times, chatter(), stream())["browInnerUp"]
    assert 0.1 < raised.max() < 0.45
    silent = Speech(np.zeros(120 * RATE, np.float32), np.zeros(120 * RATE, np.float32))
    assert not any(column.any() for column in brows(times, silent, stream()).values())


MAKERS = {
    "blinks": lambda t, s: blinks(t, s, stream(1), 16), "sway": lambda t, s: sway(t, s, stream(1)),
    "nods": lambda t, s: nods(t, s, stream(1)), "breathing": lambda t, s: breathing(t, s, stream(1)),
    "gaze": lambda t, s: gaze(t, s, stream(1)), "brows": lambda t, s: brows(t, s, stream(1)),
}  # fmt: skip


@pytest.mark.parametrize("group", MAKERS)
def test_a_longer_recording_begins_like_a_shorter_one(group):
    times = np.arange(0, 50, 0.04)
    short, long = (MAKERS[group](times, chatter(seconds)) for seconds in (60, 120))
    for name in short:
        assert np.allclose(short[name], long[name], atol=1e-6), name


@pytest.mark.parametrize("group", MAKERS)
def test_no_velocity_jumps_at_any_instant(group):
    """Looked at twice as closely, the change of velocity from step to step halves: the derivative is continuous."""
    speech, worst = chatter(40), []
    for step in (5e-4, 2.5e-4):
        times = np.arange(0, 40, step)
        columns = {n: c.astype(np.float64) for n, c in MAKERS[group](times, speech).items()}
        worst.append(max(np.abs(np.diff(c, 2)).max() / step for c in columns.values()))
    assert worst[1] < 0.75 * worst[0], worst


@pytest.mark.parametrize("group", MAKERS)
def test_another_seed_gives_another_performance(group):
    times = np.arange(0, 60, 0.04)
    first = MAKERS[group](times, chatter(60))
    make = {"blinks": lambda t, s, r: blinks(t, s, r, 16), "sway": sway, "nods": nods, "breathing": breathing,
            "gaze": gaze, "brows": brows}[group]  # fmt: skip
    again, other = make(times, chatter(60), stream(1)), make(times, chatter(60), stream(2))
    assert all(np.array_equal(first[n], again[n]) for n in first)
    assert any(not np.allclose(first[n], other[n], atol=1e-3) for n in first)


def test_a_rate_of_blinks_may_change_over_time():
    rate = np.where(np.arange(300 * RATE) < 150 * RATE, 0.0, 24.0)
    starts = blink_times(chatter(300), stream(), rate)[:, 0]
    assert starts.min() > 149 and 45 < len(starts) < 75


def test_minimum_jerk_begins_and_ends_at_rest():
    x = np.linspace(0, 1, 1001)
    assert ease(x)[0] == 0 and ease(x)[-1] == 1 and abs(ease(np.array([0.5]))[0] - 0.5) < 1e-12
    assert np.abs(np.diff(ease(x))[[0, -1]]).max() < 2e-8


def test_curves_are_met_at_their_samples_and_held_beyond_them():
    curve = np.random.default_rng(0).random(50).astype(np.float32)
    assert np.allclose(at_times(np.arange(50) / RATE, curve), curve, atol=1e-6)
    assert np.allclose(at_times(np.array([-1.0, 9.0]), curve), curve[[0, -1]], atol=1e-6)
    assert at_times(np.array([0.0, 1.0]), np.ones(1, np.float32)).tolist() == [1, 1]


def test_accents_are_also_heard_in_the_melody():
    levels, pitch = np.full(500, -30, np.float32), np.full(500, 5.0, np.float32)
    pitch[300:315] += 6
    pitch[100:120] = np.nan
    speech = hear(np.zeros(500, np.float32), levels, pitch)
    assert abs(int(speech.accent.argmax()) - 307) < 6 and speech.accents()[0, 1] > 0.3
    assert speech.accent[:200].max() < 0.05


def test_accents_are_heard_where_speech_gets_louder():
    levels = np.full(500, -30, np.float32)
    levels[200:210] += 14
    speech = hear(np.zeros(500, np.float32), levels)
    assert abs(int(speech.accent.argmax()) - 204) < 6 and speech.accent[:150].max() == 0
