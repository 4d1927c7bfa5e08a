# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be spoken: files, strips as they are cut, whole tracks; ranges of them; lines one after the other."""

import json
import wave

import bpy
import numpy as np
import pytest

from loquent.addon.sound import _begin, _end, strips_of
from loquent.core.head.motion import INDEX

from .test_speak import GOOD, child  # noqa: F401
from .test_timeline import curves_of, evaluated


@pytest.fixture
def line(tmp_path):
    """Four seconds of a tone."""
    path = tmp_path / "Une ligne 声.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.sin(np.arange(64000) * 0.1) * 9000).astype("<i2").tobytes())
    return path


@pytest.fixture
def asked(child, tmp_path):  # noqa: F811
    """Makes Speak use a child that writes down what it was asked and answers with as many frames as the pieces last."""
    seen = tmp_path / "asked.json"
    child(
        f"open({str(seen)!r}, 'w').write(json.dumps(arguments))\n"
        "frames = round(max(p['at'] + (p['seconds'] or 4.0) for p in arguments['pieces']) * arguments['fps'])\n"
        + GOOD.replace("(40, 65)", "(frames, 65)")
    )
    return lambda: json.loads(seen.read_text())


@pytest.fixture
def ready(scene, head, line):
    scene.render.fps, scene.render.fps_base = 24, 1.0
    head.loquent.sound, head.loquent.start, head.loquent.sparse = str(line), 11, False
    return head


def cut_strip(scene, line, start: int, channel: int, left: int, right: int):
    """A strip of the line whose sound begins at `start`, heard from `left` to `right`."""
    strip = strips_of(scene).new_sound("cut", str(line), channel, start)
    if hasattr(strip, "left_handle"):
        strip.left_handle, strip.right_handle = left, right
    else:
        strip.frame_final_start, strip.frame_final_end = left, right
    assert (_begin(strip), _end(strip)) == (left, right)
    return strip


def test_a_strip_is_spoken_as_it_is_cut_and_no_other_is_added(scene, ready, line, asked):
    strip = cut_strip(scene, line, 50, 2, 62, 98)
    strip.volume = 0.5
    scene.sequence_editor.active_strip = strip
    ready.loquent.source = "STRIP"
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    (piece,) = asked()["pieces"]
    assert piece == {"path": str(line), "at": 0.0, "skip": 0.5, "seconds": 1.5, "gain": 0.5}
    action = ready.animation_data.action
    assert tuple(action.frame_range) == (62, 97) and action.name.startswith("Speak cut")
    assert len(strips_of(scene)) == 1


def test_a_track_is_spoken_in_its_order_with_its_gaps(scene, ready, line, asked):
    cut_strip(scene, line, 200, 3, 200, 224)
    cut_strip(scene, line, 100, 3, 100, 148)
    cut_strip(scene, line, 300, 3, 300, 324).mute = True
    cut_strip(scene, line, 100, 5, 100, 124)
    ready.loquent.source, ready.loquent.track = "TRACK", 3
    bpy.ops.loquent.speak()
    assert [(p["at"], p["seconds"]) for p in asked()["pieces"]] == [(0.0, 2.0), (pytest.approx(100 / 24), 1.0)]
    assert tuple(ready.animation_data.action.frame_range) == (100, 223)


def test_a_meta_strip_is_spoken_as_far_as_it_shows_what_is_inside(scene, ready, line, asked):
    from loquent.addon import waveform

    meta = strips_of(scene).new_meta("Scene 1", 4, 100)
    for start, channel in ((100, 1), (220, 2)):
        meta.strips.new_sound("inside", str(line), channel, start)
    meta.strips.new_sound("silent", str(line), 3, 150).mute = True
    if hasattr(meta, "left_handle"):
        meta.right_handle, meta.left_handle = 244, 112
    else:
        meta.frame_final_end, meta.frame_final_start = 244, 112
    ready.loquent.source, ready.loquent.track = "TRACK", 4
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    first, second = asked()["pieces"]
    assert (first["at"], first["skip"], first["seconds"]) == (0.0, 0.5, 3.5)
    assert (second["at"], second["skip"], second["seconds"]) == (4.5, 0.0, 1.0)
    assert tuple(ready.animation_data.action.frame_range) == (112, 243)
    assert [(v.start, v.begin, v.end) for v in waveform.spoken(ready, scene)] == [(100, 112, 196), (220, 220, 244)]
    meta.mute = True
    with pytest.raises(RuntimeError, match="holds no sound strip"):
        bpy.ops.loquent.speak()


@pytest.mark.parametrize(("source", "says"), [("STRIP", "Select a sound strip"), ("TRACK", "holds no sound strip")])
def test_speak_is_grey_with_a_reason_where_the_sequencer_holds_nothing(scene, ready, source, says):
    ready.loquent.source = source
    with pytest.raises(RuntimeError, match=says):
        bpy.ops.loquent.speak()


def test_a_packed_recording_whose_file_is_gone_is_spoken_from_the_pack(scene, ready, line, asked):
    sound = bpy.data.sounds.load(str(line))
    sound.pack()
    line.unlink()
    bpy.ops.loquent.speak()
    (piece,) = asked()["pieces"]
    assert piece["path"] != str(line)
    import soundfile

    assert soundfile.info(piece["path"]).frames == 64000


def test_a_range_is_spoken_and_the_rest_of_the_take_stays(scene, ready, asked):
    bpy.ops.loquent.speak()
    first = evaluated(scene, ready, 20), evaluated(scene, ready, 60), evaluated(scene, ready, 95)
    ready.loquent.seed, ready.loquent.use_range = 5, True
    ready.loquent.range_start, ready.loquent.range_end = 40, 80
    bpy.ops.loquent.speak()
    again = evaluated(scene, ready, 20), evaluated(scene, ready, 60), evaluated(scene, ready, 95)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[2], again[2])
    assert not np.allclose(first[1], again[1], atol=0.01)
    ready.loquent.range_start, ready.loquent.range_end = 400, 500
    with pytest.raises(RuntimeError, match="Nothing is spoken between frames 400 and 500"):
        bpy.ops.loquent.speak()
    ready.loquent.range_end = 300
    with pytest.raises(RuntimeError, match="before it begins"):
        bpy.ops.loquent.speak()


def test_lines_are_added_to_one_take_and_both_are_heard(scene, ready, line, asked):
    bpy.ops.loquent.speak()
    before = evaluated(scene, ready, 30)
    ready.loquent.mode, ready.loquent.start = "APPEND", 201
    bpy.ops.loquent.speak()
    action = ready.animation_data.action
    assert tuple(action.frame_range) == (11, 296)
    assert np.array_equal(evaluated(scene, ready, 30), before)
    assert [s.mute for s in strips_of(scene)] == [False, False]


def test_controls_that_change_over_time_reach_the_worker(scene, ready, line, asked, monkeypatch):
    seen = {}
    import loquent.addon.jobs as jobs

    written = jobs._written
    monkeypatch.setattr(jobs, "_written", lambda keyed: (seen.update(keyed), written(keyed))[1])
    controls = ready.loquent.controls
    for frame, value in ((11, 0.0), (35, 1.0)):
        controls.happy = value
        controls.keyframe_insert("happy", frame=frame)
    for curve in curves_of(ready.animation_data.action).values():
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    bpy.ops.loquent.speak()
    assert list(seen) == ["happy"] and len(seen["happy"]) == 25
    assert seen["happy"][12] == pytest.approx(0.5) and seen["happy"][-1] == 1.0
    from pathlib import Path

    assert not Path(asked()["keyed"]).exists()  # and is cleaned away


def test_a_keyed_mood_changes_the_performance_half_way(scene, ready):
    from .test_speak import VOICE

    ready.loquent.sound = str(VOICE)
    controls = ready.loquent.controls
    for frame, value in ((11, 0.0), (90, 0.0), (91, 1.0)):
        controls.happy = value
        controls.keyframe_insert("happy", frame=frame)
    bpy.ops.loquent.speak()
    smile = [evaluated(scene, ready, f)[INDEX["mouthSmileLeft"]] for f in range(12, 170)]
    assert np.mean(smile[85:]) > np.mean(smile[:75]) + 0.05


def test_a_voice_style_that_is_gone_is_named(scene, ready):
    ready.loquent.style = "//gone.style"
    with pytest.raises(RuntimeError, match=r"gone\.style"):
        bpy.ops.loquent.speak()
