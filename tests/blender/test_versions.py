# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of older and of newer Blenders: made by make_versions.py in 4.5 and 5.2, opened here by whichever runs."""

import shutil
from pathlib import Path

import bpy
import numpy as np
import pytest

from loquent.addon import rig
from loquent.addon.scene import apply_motion
from loquent.addon.timeline import Bake, edits, takes_of
from loquent.core.head.motion import INDEX

from .test_takes import set_key, spoken
from .test_timeline import evaluated

FILES = sorted((Path(__file__).resolve().parents[1] / "data").glob("take-*.blend"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def opened(registered, request, tmp_path):
    path = tmp_path / "take.blend"
    shutil.copy(request.param, path)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.context.scene, bpy.data.objects["Head"]


def test_there_is_a_file_of_each_version():
    assert [path.stem for path in FILES] == ["take-4.5", "take-5.2"]


def test_a_file_of_another_version_shows_what_was_saved(opened):
    scene, head = opened
    values = evaluated(scene, head, 12)
    expected = spoken(3, 24).values[11].copy()
    expected[INDEX["browInnerUp"]] += 0.25
    assert np.abs(values - expected).max() < 0.12
    assert head.loquent.sound == "//line.wav" and takes_of(head) == [head.animation_data.action]
    rig.find_rig(head).pose.bones["Jaw Control"].location.y = -0.015
    assert evaluated(scene, head, 12)[INDEX["jawOpen"]] == pytest.approx(values[INDEX["jawOpen"]] + 0.5, abs=1e-4)


def test_a_take_of_another_version_keeps_its_edits_when_spoken_again_and_is_saved(opened):
    scene, head = opened
    data = head.animation_data
    assert edits(data.action, data.action_slot) == {}
    frame = set_key(head, 12, -0.7)
    apply_motion(scene, head, spoken(4, 24), 1, bake=Bake(0.3, "//line.wav"))
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-4)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    scene, head = bpy.context.scene, bpy.data.objects["Head"]
    assert evaluated(scene, head, frame)[INDEX["jawOpen"]] == pytest.approx(-0.7, abs=1e-4)
    assert len(takes_of(head)) == 2
