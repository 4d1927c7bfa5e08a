# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion from Video: what the worker is asked, and what becomes of its answer."""

import json
from pathlib import Path

import bpy
import pytest

from loquent.addon import jobs
from loquent.addon.sound import strips_of
from loquent.core.head.motion import INDEX

from .test_characters import character
from .test_speak import child  # noqa: F401
from .test_timeline import curves_of

VOICE = Path(__file__).resolve().parents[2] / "sample_scenes" / "voice_ada.flac"
ANSWER = """
values = numpy.zeros((24, 65), "f4")
values[:, %d] = numpy.linspace(0, 0.5, 24)
numpy.save(order["folder"] + "/values.npy", values)
say(type="result", values={"fps": arguments["fps"], "warnings": ["No face in 2 of 24 pictures."], "sound": True},
    files={"values": "values.npy"})
""".replace("%d", str(INDEX["jawOpen"]))


@pytest.fixture
def ready(scene, head):
    scene.render.fps, scene.render.fps_base = 24, 1.0
    head.loquent.start, head.loquent.sparse = 11, False
    return head


def test_a_film_becomes_a_take_with_its_sound(scene, ready, child, tmp_path):  # noqa: F811
    seen = tmp_path / "asked.json"
    line = f"open({str(seen)!r}, 'w').write(json.dumps([order['job'], arguments]))\n"
    child(line + ANSWER)
    assert bpy.ops.loquent.perform(filepath=str(VOICE), face=2, focal_mm=50) == {"FINISHED"}
    job, arguments = json.loads(seen.read_text())
    assert job == "perform"
    assert arguments == {"film": str(VOICE), "face": 2, "focal_mm": 50.0, "fps": 24.0, "head": ""}
    action = ready.animation_data.action
    assert action.name == "Capture voice_ada" and tuple(action.frame_range) == (11, 34)
    jaw = next(curve for (path, _), curve in curves_of(action).items() if path.endswith("jawOpen"))
    assert jaw.evaluate(34) == pytest.approx(0.5, abs=1e-3)
    assert len(strips_of(scene)) == 1 and not jobs.running()


def test_a_head_may_follow_the_pictures_and_what_is_no_head_may_not(scene, ready, child, tmp_path):  # noqa: F811
    seen = tmp_path / "asked.json"
    child(f"open({str(seen)!r}, 'w').write(arguments['head'])\n" + ANSWER)
    assert bpy.ops.loquent.perform(filepath=str(VOICE), sound=False, by_pictures=True) == {"FINISHED"}
    assert seen.read_text() == ready.loquent.avatar
    character(scene)
    bpy.ops.loquent.find_shapes()
    with pytest.raises(RuntimeError, match=r"'Hero' is none that Loquent has made\. Switch it off"):
        bpy.ops.loquent.perform(filepath=str(VOICE), by_pictures=True)


def test_without_sound_no_strip_is_added(scene, ready, child):  # noqa: F811
    child(ANSWER)
    assert bpy.ops.loquent.perform(filepath=str(VOICE), sound=False) == {"FINISHED"}
    assert not strips_of(scene)


def test_a_film_that_is_not_there_is_named_before_anything_starts(scene, ready):
    with pytest.raises(RuntimeError, match=r"There is no film or photo '.*none.mp4'. Choose one that shows a face"):
        bpy.ops.loquent.perform(filepath="/nowhere/none.mp4")
    assert ready.animation_data is None or ready.animation_data.action is None


def test_what_the_worker_says_reaches_the_user(scene, ready, child):  # noqa: F811
    child("say(type='error', kind='CaptureError', message='Capture needs a Python with MediaPipe: pip install')\n")
    with pytest.raises(RuntimeError, match="Capture needs a Python with MediaPipe"):
        bpy.ops.loquent.perform(filepath=str(VOICE))
    assert ready.animation_data is None or ready.animation_data.action is None
    assert not jobs.running()


def test_a_shot_of_a_capture_without_sound_has_no_strip(registered, tiny):
    from loquent.addon import shot
    from loquent.core.head.motion import Motion

    ob = shot.build(head=tiny, voice=None, motion=Motion.rest(5, 25), size=(64, 64), name="Capture clip")
    assert ob.animation_data.action.name == "Capture clip" and not strips_of(bpy.context.scene)
    assert bpy.context.scene.frame_end == 5
