# SPDX-License-Identifier: GPL-3.0-or-later
"""Phonemes on the timeline, and the voice drawn under the keys."""

import shutil
import threading
import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from loquent.addon import phonemes, waveform
from loquent.addon.scene import apply_motion
from loquent.addon.sound import OWNER, _begin, strips_of
from loquent.addon.timeline import Bake

from .test_speak import GOOD, VOICE, child, ready  # noqa: F401
from .test_takes import spoken

SAID = [(0.0, 0.25, "sil"), (0.25, 0.5, "PP"), (0.5, 1.0, "aa"), (1.0, 1.01, "PP")]


@pytest.fixture
def take(scene, head):
    scene.render.fps = 24
    head.loquent.uuid = "me"
    action = apply_motion(scene, head, spoken(), 11)
    phonemes.keep(action, SAID, 11, 24.0)
    return action


def marks(action):
    return [(m.frame, m.name) for m in action.pose_markers]


def texts(scene):
    return sorted((_begin(s), s.name.split(".")[0]) for s in strips_of(scene) if s.type == "TEXT")


def test_phonemes_are_kept_with_the_take_in_frames_without_the_pauses(take):
    assert phonemes.of(take) == [(17.0, 23.0, "PP"), (23.0, 35.0, "aa"), (35.0, 35.24, "PP")]
    take[phonemes.PHONES] = "{damaged"
    assert phonemes.of(take) == []


def test_markers_are_the_actions_and_the_artists_stay(scene, head, take):
    take.pose_markers.new("mine").frame = 30
    phonemes.show(scene, head, take, "MARKERS")
    assert marks(take) == [(30, "mine"), (17, "PP"), (23, "aa"), (35, "PP")]
    phonemes.show(scene, head, take, "MARKERS")
    assert len(marks(take)) == 4
    phonemes.keep(take, [(0.0, 0.5, "ou")], 11, 24.0)
    phonemes.show(scene, head, take, "MARKERS")
    assert marks(take) == [(30, "mine"), (11, "ou")]
    phonemes.show(scene, head, take, "NONE")
    assert marks(take) == [(30, "mine")] and phonemes.of(take)


def test_strips_are_muted_one_after_the_other_and_replaced(scene, head, take):
    strips_of(scene)
    for _ in range(2):
        phonemes.show(scene, head, take, "STRIPS")
        assert texts(scene) == [(17, "PP"), (23, "aa"), (35, "PP")]
    assert all(s.mute and s[OWNER] == "me" for s in strips_of(scene) if s.type == "TEXT")
    assert len({s.channel for s in strips_of(scene)}) == 1
    phonemes.show(scene, head, take, "NONE")
    assert texts(scene) == []


def test_a_line_that_is_added_adds_its_phonemes(scene, head, take):
    action = apply_motion(scene, head, spoken(4, 20), 101, bake=Bake(region=(101, 120)))
    phonemes.keep(action, [(0.0, 0.5, "ou")], 101, 24.0, (101, 120))
    assert [p[2] for p in phonemes.of(action)] == ["PP", "aa", "PP", "ou"]
    phonemes.keep(action, [(0.0, 0.5, "FF")], 17, 24.0, (17, 22))
    assert [p[2] for p in phonemes.of(action)] == ["FF", "aa", "PP", "ou"]


def test_speak_brings_what_the_worker_heard(scene, ready, child):  # noqa: F811
    child(
        GOOD.replace('files={"values": "values.npy"}', 'files={"values": "values.npy", "phones": "phones.npy"}')
        .replace('"warnings": [', '"phones": "sil PP aa", "warnings": [')
        .replace(
            "numpy.save(", 'numpy.save(order["folder"] + "/phones.npy", [[0, 0.5], [0.5, 1], [1, 1.5]])\nnumpy.save(', 1
        )
    )
    ready.loquent.phones = "MARKERS"
    bpy.ops.loquent.speak()
    action = ready.animation_data.action
    assert [name for _, _, name in phonemes.of(action)] == ["PP", "aa"]
    assert marks(action) == [(23, "PP"), (35, "aa")]


def test_the_waveform_lies_where_the_sound_is_heard():
    loud = np.zeros(16000 * 2, np.float32)
    loud[16000:24000] = 0.5
    import soundfile

    path = Path(bpy.app.tempdir) / "loud.wav"
    soundfile.write(path, loud, 16000)
    heights = waveform.columns(waveform.peaks(str(path)), 10.0, 24.0, lambda x: x / 4, 400)  # four pixels a frame
    inside = np.flatnonzero(heights > 0.4)
    assert inside[0] == pytest.approx((10 + 24) * 4, abs=1) and inside[-1] == pytest.approx((10 + 36) * 4, abs=2)
    assert not heights[: 33 * 4].any() and not heights[60 * 4 :].any()
    corners = waveform.triangles(heights, 20.0, 40.0)
    assert len(corners) == 6 * len(inside) and corners[:, 1].min() >= 20 and corners[:, 1].max() <= 60
    assert not waveform.columns(waveform.peaks("/no/such.wav"), 0.0, 24.0, lambda x: x, 50).any()


def test_peaks_are_read_beside_the_drawing_and_once(scene, monkeypatch):
    read, may = [], threading.Event()
    monkeypatch.setattr(waveform, "peaks", lambda path: (read.append(path), may.wait(60), np.ones(3, np.float32))[2])
    assert waveform.table("a.wav", 1) is None and waveform._when_read() > 0
    may.set()
    deadline = time.monotonic() + 60
    while waveform.table("a.wav", 1) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(waveform.table("a.wav", 1)) == [1, 1, 1] and read == ["a.wav"]
    assert waveform._when_read() is None
    waveform.table("a.wav", 2)  # the file has changed
    assert len(waveform._read) == 2
    for i in range(20):
        waveform.table(f"{i}.wav", 1)
    assert len(waveform._read) == waveform.KEEP


def test_what_is_drawn_follows_the_source(scene, head, tmp_path):
    path = tmp_path / "line.flac"
    shutil.copy(VOICE, path)
    assert waveform.spoken(head, scene) == []
    head.loquent.sound, head.loquent.start = str(path), 7
    (heard,) = waveform.spoken(head, scene)
    assert (heard.path, heard.start) == (str(path), 7) and heard.begin < -1e9 and heard.end > 1e9
    strips = strips_of(scene)
    cut = strips.new_sound("a", str(path), 3, 20)
    if hasattr(cut, "left_handle"):
        cut.left_handle = 30
    else:
        cut.frame_final_start = 30
    strips.new_sound("b", str(path), 3, 400)
    head.loquent.source, head.loquent.track = "TRACK", 3
    assert [(h.start, h.begin) for h in waveform.spoken(head, scene)] == [(20, 30), (400, 400)]


def test_nothing_is_drawn_or_registered_to_be_drawn_in_background(scene, head):
    assert bpy.app.background and waveform._handles == []
    waveform.draw(bpy.context)
