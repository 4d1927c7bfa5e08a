# SPDX-License-Identifier: GPL-3.0-or-later
"""The .blend files that ship: opened from another folder, whole, and rendered."""

import shutil
from itertools import pairwise
from pathlib import Path

import bpy
import numpy as np
import pytest

from loquent.addon import compositor, convert, sound
from loquent.core.splats.avatar import builtin_avatars

from .pictures import psnr, render_channels, render_passes

FOLDER = Path(__file__).resolve().parents[2] / "sample_scenes"
NAMES = ("close_up", "dialogue", "over_a_set")


@pytest.fixture
def opened(registered, tmp_path):
    """Opens a copy of a scene with the recordings beside it, small and quick to render."""

    def open_copy(name):
        for path in (FOLDER / f"{name}.blend", *FOLDER.glob("*.flac")):
            shutil.copy(path, tmp_path)
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / f"{name}.blend"))
        scene = bpy.context.scene
        scene.render.resolution_percentage = 15
        scene.loquent_render.lens_samples = 4
        if scene.render.engine == "CYCLES":
            scene.cycles.samples, scene.cycles.use_denoising = 2, False
        if hasattr(scene.render, "compositor_device"):
            scene.render.compositor_device = "CPU"
        return scene

    yield open_copy
    bpy.ops.wm.read_factory_settings(use_empty=True)


def heads(scene):
    return sorted((ob for ob in scene.objects if convert.is_head(ob)), key=lambda ob: ob.name)


def finished(scene, folder, frame):
    """(H, W, 3) of what F12 hands to the user."""
    scene.frame_set(frame)
    channels = render_channels(scene, folder)
    end = {name[-1]: picture for name, picture in channels.items() if name.startswith("Composite")}
    if not end:
        return render_passes(scene, folder)["Combined"][..., :3]
    return np.stack([end[c] for c in "RGB"], -1)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_scene_is_small_whole_and_can_be_moved(opened, name):
    assert (FOLDER / f"{name}.blend").stat().st_size < 5_000_000
    scene = opened(name)
    assert not bpy.data.libraries and not [image for image in bpy.data.images if image.source != "VIEWER"]
    recordings = [each.filepath for each in bpy.data.sounds if each.users]
    assert recordings and all(path.startswith("//") for path in recordings)
    assert all(Path(bpy.path.abspath(path)).is_file() for path in recordings)
    found = heads(scene)
    assert found and {ob.loquent.avatar for ob in found} <= set(builtin_avatars())
    for ob in found:
        assert ob.loquent.sound.startswith("//") and Path(bpy.path.abspath(ob.loquent.sound)).is_file()
        assert ob.animation_data.action_slot is not None
    assert scene.render.filepath.startswith("//")


@pytest.mark.parametrize("name", NAMES)
def test_mouths_move_while_their_recording_sounds(opened, name):
    """And not while another speaks: jaws against the loudness of each head's own strip."""
    scene = opened(name)
    strips = [s for s in scene.sequence_editor.strips_all if s.type == "SOUND"]
    for ob in heads(scene):
        (strip,) = [s for s in strips if Path(s.sound.filepath).name == Path(ob.loquent.sound).name]
        jaw = []
        for frame in range(scene.frame_start, scene.frame_end + 1, 2):
            scene.frame_set(frame)
            jaw.append((frame, ob.loquent.motion.jawOpen))
        begin, end = sound._begin(strip), sound._end(strip)
        speaking = [v for f, v in jaw if begin <= f < end]
        silent = [v for f, v in jaw if not begin - 5 <= f < end + 5]
        assert np.std(speaking) > 0.02 and (not silent or np.std(silent) < 0.3 * np.std(speaking))


@pytest.mark.parametrize("name", ["close_up", "dialogue"])
def test_a_sample_scene_renders(opened, tmp_path, name):
    scene = opened(name)
    cameras = [marker.frame for marker in scene.timeline_markers] or [scene.frame_start]
    pictures = [finished(scene, tmp_path, frame + 12) for frame in cameras]
    background = convert.world_colour(scene)
    for picture in pictures:
        head = np.abs(picture - background).max(-1) > 0.02
        assert 0.15 < head.mean() < 0.9 and picture[head].std() > 0.05
    for one, other in pairwise(pictures):
        assert psnr(one, other) < 30  # another camera
    assert psnr(pictures[0], finished(scene, tmp_path, cameras[0] + 30)) < 55  # it lives


def test_the_set_has_the_head_over_it_and_the_microphone_before_it(opened, tmp_path):
    scene = opened("over_a_set")
    made = compositor.head_scene_of(scene)
    assert scene.render.engine == "CYCLES" and made is not None
    shot = finished(scene, tmp_path, 40)
    (bruno,) = heads(scene)
    bruno.hide_render = True
    plate = finished(scene, tmp_path, 40)
    bruno.hide_render = False
    microphone = scene.objects["Microphone"]
    microphone.hide_render = True
    clear = finished(scene, tmp_path, 40)
    there = np.abs(shot - plate).max(-1) > 0.1
    assert 0.1 < there.mean() < 0.6
    foam = (np.abs(clear - shot).max(-1) > 0.1) & (np.abs(clear - plate).max(-1) > 0.1)  # before head and shirt
    assert foam.sum() > 40 and np.abs(shot - plate)[foam].max(-1).mean() < 0.1
