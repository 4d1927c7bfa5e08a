# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquent.core.errors import FormatError, MotionError
from loquent.core.head.livelink import COUNT, HEADER, read_livelink, write_livelink
from loquent.core.head.motion import ARKIT, CHANNELS, GROUPS, Motion


def spoken(frames: int = 40, fps: float = 25.0) -> Motion:
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    values[:, : len(ARKIT)] = np.random.default_rng(1).random((frames, len(ARKIT)))
    return Motion(fps, values).with_columns({"headYaw": 0.1, "headPitch": -0.05})


def test_every_channel_stands_in_exactly_one_group():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(CHANNELS)
    assert len(ARKIT) == 52 and len(set(CHANNELS)) == 65


@given(st.sampled_from([23.976, 24.0, 25.0, 30.0, 50.0, 60.0, 120.0]))
def test_resampling_keeps_time_and_the_values_at_common_instants(fps):
    ramp = Motion(25, np.repeat(np.arange(50, dtype=np.float32)[:, None], len(CHANNELS), 1) / 25)
    other = ramp.resample(fps)
    seconds = np.arange(len(other)) / fps
    assert np.allclose(other.column("jawOpen"), seconds, atol=1e-5)
    assert abs(seconds[-1] - 49 / 25) <= 1 / fps


def test_a_motion_names_the_frame_and_channel_of_a_value_that_is_not_finite():
    values = np.zeros((3, len(CHANNELS)))
    values[2, CHANNELS.index("jawOpen")] = np.nan
    with pytest.raises(MotionError, match="'jawOpen' is nan at frame 2"):
        Motion(25, values)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_motion_refuses_a_rate_that_is_not_positive(fps):
    with pytest.raises(MotionError, match="positive number of frames per second"):
        Motion(fps, np.zeros((1, len(CHANNELS))))


def test_an_unknown_channel_is_named():
    with pytest.raises(MotionError, match="no motion channel 'smile'"):
        Motion.rest(1, 25).column("smile")


@pytest.mark.parametrize("fps", [24.0, 25.0, 30.0, 60.0])
def test_a_take_survives_the_way_through_a_live_link_file(tmp_path, fps):
    motion = spoken(130, fps)
    write_livelink(motion, tmp_path / "take.csv")
    back = read_livelink(tmp_path / "take.csv")
    assert back.fps == fps
    assert np.allclose(back.values, motion.values, atol=1e-6)


def test_a_live_link_file_has_the_apps_61_columns(tmp_path):
    write_livelink(spoken(2), tmp_path / "take.csv")
    first, second, *_ = (tmp_path / "take.csv").read_text().splitlines()
    assert tuple(first.split(",")) == HEADER and COUNT == 61
    assert first.startswith("Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft")
    assert ",JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft," in first
    assert second.startswith("00:00:00:00.000,61,")


def test_gaze_reaches_both_the_eye_rotations_and_the_coefficients(tmp_path):
    write_livelink(Motion.rest(1, 25).with_columns({"gazeYaw": 0.1, "gazePitch": -0.05}), tmp_path / "take.csv")
    header, row = ((tmp_path / "take.csv").read_text().splitlines())[:2]
    take = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(take["LeftEyeYaw"]) == pytest.approx(0.1, abs=1e-5) == float(take["RightEyeYaw"])
    assert float(take["LeftEyePitch"]) == pytest.approx(-0.05, abs=1e-5)
    assert float(take["EyeLookOutLeft"]) > 0.3 < float(take["EyeLookInRight"]) and float(take["EyeLookInLeft"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a Live Link Face CSV"),
        ("a,b\n1,2\n", "expected a Live Link Face CSV"),
        ("Timecode,JawOpen\n", "no frames"),
        ("Timecode,JawOpen\n0:0:0:0,1\n", "no column 'eyeBlinkLeft'"),
        (",".join(HEADER) + "\n00:00:00:00.0,61,0.1\n", "line 2: 3 values; expected 63"),
        (",".join(HEADER) + "\n" + ",".join(["00:00:00:00.0"] + ["x"] * 62) + "\n", "expected numbers"),
        (",".join(HEADER) + "\n" + ",".join(["00:00:00:00.0"] + ["nan"] * 62) + "\n", "not finite"),
    ],
)
def test_a_file_that_is_no_take_says_what_was_expected(tmp_path, text, message):
    (tmp_path / "take.csv").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_livelink(tmp_path / "take.csv")


def test_a_picture_named_csv_is_no_take(tmp_path):
    (tmp_path / "take.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(FormatError, match="not a text table"):
        read_livelink(tmp_path / "take.csv")
