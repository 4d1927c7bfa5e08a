# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from loquent.core.prior.liveliness import RATE, Speech, blink_times, blinks, brows, gaze, head, hear

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
        columns = head(times, chatter(), stream(seed), 1.0)
        for name in ("headPitch", "headYaw", "headRoll"):
            degrees = np.degrees(columns[name])
            assert 0.3 < degrees.std() < 4 and np.abs(degrees).max() < 12
            assert np.abs(np.diff(degrees, 1)).max() * 50 < 45  # degrees a second


def test_the_head_is_livelier_while_talking():
    silent = Speech(np.zeros(MINUTE, np.float32), np.zeros(MINUTE, np.float32))
    talk = Speech(np.ones(MINUTE, np.float32), np.zeros(MINUTE, np.float32))
    times = np.arange(0, 60, 0.02)
    assert head(times, silent, stream(), 1.0)["headYaw"].std() < 0.7 * head(times, talk, stream(), 1.0)["headYaw"].std()


def test_eyes_turn_against_the_head_and_jump_between_fixations():
    times = np.arange(0, 60, 0.01)
    turned = head(times, chatter(60), stream(5), 1.0)
    columns = gaze(times, chatter(60), stream(6), 1.0, turned)
    held = columns["gazeYaw"] + 0.85 * (turned["headYaw"] + turned["neckYaw"])
    speed = np.abs(np.diff(np.degrees(held))) / 0.01
    assert (speed < 1).mean() > 0.9 and speed.max() > 50  # still most of the time, fast in between
    assert np.degrees(np.abs(columns["gazeYaw"])).max() < 30


def test_brows_rise_with_accents_only_and_never_far():
    times = np.arange(0, 120, 1 / 25)
    raised = brows(times, chatter(), stream(), 1.0)["browInnerUp"]
    assert 0.1 < raised.max() < 0.4
    silent = Speech(np.zeros(120 * RATE, np.float32), np.zeros(120 * RATE, np.float32))
    assert not brows(times, silent, stream(), 1.0)["browInnerUp"].any()


def test_a_longer_recording_begins_like_a_shorter_one():
    times = np.arange(0, 50, 0.04)
    for make in (
        lambda s: blinks(times, s, stream(1), 16)["eyeBlinkLeft"],
        lambda s: head(times, s, stream(1), 1)["headYaw"],
    ):
        assert np.allclose(make(chatter(60)), make(chatter(120)), atol=1e-6)


def test_amount_zero_switches_a_group_off():
    times = np.arange(0, 20, 0.04)
    assert not any(c.any() for c in head(times, chatter(20), stream(), 0.0).values())
    assert not any(
        c.any() for c in gaze(times, chatter(20), stream(), 0.0, head(times, chatter(20), stream(), 1.0)).values()
    )
    assert not any(c.any() for c in brows(times, chatter(20), stream(), 0.0).values())


def test_accents_are_heard_where_speech_gets_louder():
    levels = np.full(500, -30, np.float32)
    levels[200:210] += 14
    speech = hear(np.zeros(500, np.float32), levels)
    assert abs(int(speech.accent.argmax()) - 204) < 6 and speech.accent[:150].max() == 0
