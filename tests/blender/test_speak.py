# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak, through the operator: with a child that answers at once, and with the real one on a real recording."""

from dataclasses import fields
from pathlib import Path

import bpy
import numpy as np
import pytest

from loquent.addon import jobs
from loquent.addon.sound import Cut, _begin, strips_of
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.worker import protocol
from loquent.core.worker.client import Launch

from . import waiting

SAMPLES = Path(__file__).resolve().parents[2] / "sample_scenes"
VOICE = SAMPLES / "voice_ada.flac"

CHILD = f"""
import json, sys, time, os, signal
import numpy
sys.stdin.readline()
def say(**message):
    print(json.dumps(message), flush=True)
say(type="hello", protocol={protocol.PROTOCOL}, version={protocol.VERSION!r}, python="3")
order = json.loads(sys.stdin.readline())
arguments = order["arguments"]
"""
GOOD = """
values = numpy.random.default_rng(arguments["seed"]).random((40, 65)).astype("float32")
values[:, 0] = arguments["fps"] / 100
numpy.save(order["folder"] + "/values.npy", values)
say(type="progress", fraction=0.5)
say(type="result", values={"fps": arguments["fps"], "warnings": ["The recording is clipped."]}, files={"values": "values.npy"})
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Makes Speak use a child of the given lines."""

    def use(lines: str) -> None:
        path = tmp_path / "child.py"
        path.write_text(CHILD + lines)
        monkeypatch.setattr(jobs, "launch", lambda: Launch(boot=path))

    return use


@pytest.fixture
def ready(scene, head):
    """The head with a recording, at frame 11 of a scene of 24 / 1.001 frames a second."""
    scene.render.fps, scene.render.fps_base = 24, 1.001
    scene.frame_end = 20
    head.loquent.sound, head.loquent.start, head.loquent.seed = str(VOICE), 11, 4
    return head


def asked(scene, ob) -> jobs.Request:
    return jobs.Request(ob.session_uid, scene.session_uid, (Cut(str(VOICE), 1),), 1, strip=str(VOICE))


def state(scene, ob):
    """Everything that Speak may change."""
    data = ob.animation_data
    return (
        data and data.action and data.action.name,
        data and [t.name for t in data.nla_tracks],
        sorted(a.name for a in bpy.data.actions),
        sorted(s.name for s in bpy.data.sounds),
        len(strips_of(scene)),
        (scene.frame_start, scene.frame_end, scene.frame_current, scene.sync_mode),
        [getattr(ob.loquent.motion, name) for name in CHANNELS],
    )


def test_speak_gives_one_action_and_one_strip_at_the_same_frame(scene, ready, child):
    child(GOOD)
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    action = ready.animation_data.action
    assert action.name == "Speak voice_ada" and list(bpy.data.actions) == [action]
    assert tuple(action.frame_range) == (11, 50)
    (strip,) = strips_of(scene)
    assert _begin(strip) == 11 and scene.sync_mode == "AUDIO_SYNC"
    scene.frame_set(11)
    fps = bpy.context.evaluated_depsgraph_get().id_eval_get(ready).loquent.motion.eyeBlinkLeft * 100
    assert fps == pytest.approx(24 / 1.001, abs=1e-3)  # the worker was asked for the scene's true rate
    assert scene.frame_end >= 50
    assert not jobs.running()


def test_the_seed_and_the_controls_reach_the_worker(scene, ready, child, tmp_path):
    seen = tmp_path / "seen.json"
    child(f"open({str(seen)!r}, 'w').write(json.dumps(arguments))\n" + GOOD)
    ready.loquent.controls.jaw = 0.5
    bpy.ops.loquent.speak()
    import json

    arguments = json.loads(seen.read_text())
    assert arguments["seed"] == 4 and arguments["pieces"] == [
        {"path": str(VOICE), "at": 0, "skip": 0, "seconds": None, "gain": 1}
    ]
    assert arguments["controls"]["jaw"] == 0.5 and arguments["controls"]["blink_rate"] == 16


def test_controls_are_those_of_core_with_its_ranges_and_defaults(head):
    from loquent.addon.properties import CONTROLS
    from loquent.core.prior.controls import RANGES, Controls

    properties = head.loquent.controls.bl_rna.properties
    assert tuple(f.name for f in fields(Controls)) == CONTROLS
    for field in fields(Controls):
        found = properties[field.name]
        assert found.default == pytest.approx(field.default) and found.is_overridable
        if found.type != "BOOLEAN":
            assert (found.hard_min, found.hard_max) == pytest.approx(RANGES[field.name])


def test_the_same_seed_gives_the_same_take_and_a_second_take_keeps_the_first(scene, ready, child):
    from .test_timeline import curves_of, fingerprint

    child(GOOD)
    bpy.ops.loquent.speak()
    first = ready.animation_data.action
    before = fingerprint(first)
    bpy.ops.loquent.speak()
    second = ready.animation_data.action
    assert second != first and fingerprint(first) == before
    values = [[k.co.y for k in curves_of(a)["loquent.motion.jawOpen", 0].keyframe_points] for a in (first, second)]
    assert values[0] == values[1]
    assert len(strips_of(scene)) == 1


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed"),
        ("say(type='progress', fraction=0.4)\nos.kill(os.getpid(), signal.SIGSEGV)", "was killed"),
        ("raise RuntimeError('the reason')", "the reason"),
        ("say(type='error', kind='AudioError', message='The recording is a picture.')", "is a picture"),
        ("say(type='cancelled')", None),
        (GOOD.replace("(40, 65)", "(40, 9)"), "expected .frames >= 1, 65."),
        (GOOD.replace("numpy.save", "values[3, 5] = float('nan'); numpy.save"), "nan at frame 3"),
        (GOOD.replace('files={"values": "values.npy"}', "files={}"), "holds no motion"),
    ],
)
def test_a_speak_that_fails_is_one_message_and_leaves_everything_as_it_was(scene, ready, child, lines, says):
    from .test_timeline import fingerprint, walk

    theirs = walk(ready)
    before, keys = state(scene, ready), fingerprint(theirs)
    child(lines)
    if says is None:
        assert bpy.ops.loquent.speak() == {"CANCELLED"}
    else:
        with pytest.raises(RuntimeError, match=says) as told:
            bpy.ops.loquent.speak()
        assert str(told.value).count("Error: ") == 1 + str(told.value).count("RuntimeError: the reason")
    assert state(scene, ready) == before and fingerprint(theirs) == keys
    assert not jobs.running()


def test_a_sound_that_blender_cannot_open_leaves_everything_as_it_was(scene, ready, child, tmp_path):
    path = tmp_path / "picture.wav"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    ready.loquent.sound = str(path)
    before = state(scene, ready)
    child(GOOD)
    with pytest.raises(RuntimeError, match="no sound in"):
        bpy.ops.loquent.speak()
    assert state(scene, ready) == before


def test_a_recording_that_is_gone_is_named(scene, ready):
    ready.loquent.sound = "//not here.wav"
    before = state(scene, ready)
    with pytest.raises(RuntimeError, match=r"not here\.wav"):
        bpy.ops.loquent.speak()
    assert state(scene, ready) == before


def test_speak_is_grey_with_a_reason_until_there_is_a_head_and_a_sound(scene, head):
    assert not bpy.ops.loquent.speak.poll()  # no sound yet
    with pytest.raises(RuntimeError, match="Choose a sound"):
        bpy.ops.loquent.speak()
    bpy.context.view_layer.objects.active = None
    with pytest.raises(RuntimeError, match="Select a Loquent head"):
        bpy.ops.loquent.speak()


def test_a_head_deleted_meanwhile_is_one_message(scene, ready, child):
    from loquent.core.errors import SceneError

    child(GOOD)
    with waiting.ready(jobs.SpeakJob(asked(scene, ready))) as job:
        bpy.data.objects.remove(ready)
        with pytest.raises(SceneError, match="was deleted"):
            job.apply()
    assert not bpy.data.actions


def test_cancel_half_way_ends_the_worker_and_changes_nothing(scene, ready, child):
    from loquent.core.errors import Cancelled

    child("say(type='progress', fraction=0.3)\nsys.stdin.readline()\nsay(type='cancelled')")
    before = state(scene, ready)
    job = jobs.SpeakJob(asked(scene, ready))
    while job.fraction < 0.3:
        job.poll()
        job.wait()
    job.cancel()
    with pytest.raises(Cancelled):
        waiting.wait_for(job)
    job.close()
    assert state(scene, ready) == before and not jobs.running()


@pytest.mark.parametrize(("fps", "base"), [(24, 1.001), (60, 1.0)])
def test_a_real_recording_moves_the_mouth_and_ends_with_the_sound(scene, ready, fps, base):
    import soundfile

    scene.render.fps, scene.render.fps_base = fps, base
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    action = ready.animation_data.action
    info = soundfile.info(str(VOICE))
    seconds = info.frames / info.samplerate
    frames = action.frame_range[1] - action.frame_range[0] + 1
    assert frames == pytest.approx(seconds * fps / base, abs=1.5)
    opening = []
    for frame in range(11, 11 + int(frames), max(1, fps // 12)):
        scene.frame_set(frame)
        opening.append(ready.evaluated_get(bpy.context.evaluated_depsgraph_get()).loquent.motion.jawOpen)
    assert np.ptp(opening) > 0.1
    assert INDEX["jawOpen"] < len(CHANNELS)


def test_keys_reduced_by_the_worker_are_those_that_would_be_made_here(scene, ready):
    from loquent.addon.curves import read_keys
    from loquent.addon.timeline import Bake, apply_motion

    from .test_timeline import curves_of

    ready.loquent.use_range, ready.loquent.range_start, ready.loquent.range_end = True, 40, 120
    with waiting.ready(jobs.SpeakJob(jobs_request())) as job:
        assert job.keys and sum(map(len, job.keys.values())) < 65 * 40
        job.apply()
    there = ready.animation_data.action
    ready.animation_data.action = None
    motion = job.motion
    part = type(motion)(motion.fps, motion.values[40 - 11 : 121 - 11])
    here = apply_motion(scene, ready, part, 40, bake=Bake(0.3))
    made, expected = ({path: read_keys(c) for path, c in curves_of(a).items()} for a in (there, here))
    assert made.keys() == expected.keys()
    for path, keys in expected.items():
        assert np.allclose(made[path].numbers, keys.numbers, atol=2e-5), path
        assert np.array_equal(made[path].kinds, keys.kinds), path


def jobs_request():
    from loquent.addon.operators.speak import request

    return request(bpy.context)
