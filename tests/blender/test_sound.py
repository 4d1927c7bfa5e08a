# SPDX-License-Identifier: GPL-3.0-or-later
import shutil
import wave

import bpy
import numpy as np
import pytest

from loquent.addon.sound import _begin, _end
from loquent.core.errors import AudioError


@pytest.fixture
def tone(tmp_path):
    """Two seconds of a tone as WAV, in a folder with spaces and letters beyond Latin."""
    folder = tmp_path / "Мои звуки 声"
    folder.mkdir()
    path = folder / "a line.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.sin(np.arange(32000) * 0.1) * 9000).astype("<i2").tobytes())
    return path


def length(strip) -> int:
    return _end(strip) - _begin(strip)


@pytest.mark.parametrize(("fps", "base", "frames"), [(24, 1.001, 48), (25, 1, 50), (60, 1, 120)])
def test_the_strip_begins_at_the_frame_and_lasts_as_long_as_the_sound(scene, tone, fps, base, frames):
    from loquent.addon.scene import add_sound_strip

    scene.render.fps, scene.render.fps_base, scene.frame_end = fps, base, 10
    strip = add_sound_strip(scene, str(tone), 11)
    assert _begin(strip) == 11 and length(strip) == pytest.approx(frames, abs=1)
    assert scene.frame_end == pytest.approx(10 + frames, abs=1)
    assert scene.sync_mode == "AUDIO_SYNC" and scene.use_audio_scrub


def test_speaking_again_uses_the_strip_that_is_there(scene, tone):
    from loquent.addon.scene import add_sound_strip
    from loquent.addon.sound import strips_of

    first = add_sound_strip(scene, str(tone), 1, "a")
    assert add_sound_strip(scene, str(tone), 1, "a").name == first.name
    assert len(strips_of(scene)) == 1


def test_a_heads_older_strip_falls_silent_and_another_heads_does_not(scene, tone, tmp_path):
    from loquent.addon.scene import add_sound_strip

    second = tmp_path / "second.wav"
    shutil.copy(tone, second)
    mine = add_sound_strip(scene, str(tone), 1, "a")
    theirs = add_sound_strip(scene, str(tone), 5, "b")
    new = add_sound_strip(scene, str(second), 1, "a")
    assert (mine.mute, theirs.mute, new.mute) == (True, False, False)
    assert len({mine.channel, theirs.channel, new.channel}) == 3
    later = add_sound_strip(scene, str(tone), 500, "a")
    assert not new.mute and not later.mute


def test_a_relative_path_stays_relative(scene, tone):
    from loquent.addon.scene import add_sound_strip
    from loquent.addon.sound import absolute

    bpy.ops.wm.save_as_mainfile(filepath=str(tone.parent / "shot.blend"))
    strip = add_sound_strip(scene, "//a line.wav", 1)
    assert strip.sound.filepath == "//a line.wav" and absolute(strip.sound.filepath) == tone


def test_a_picture_named_wav_is_refused_and_leaves_no_strip(scene, tmp_path):
    from loquent.addon.scene import add_sound_strip
    from loquent.addon.sound import strips_of

    path = tmp_path / "picture.wav"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(AudioError, match=r"picture\.wav"):
        add_sound_strip(scene, str(path), 1)
    assert len(strips_of(scene)) == 0


def test_choose_sound_stores_the_path_on_the_head(head, tone):
    assert bpy.ops.loquent.choose_sound(filepath=str(tone)) == {"FINISHED"}
    assert head.loquent.sound == str(tone)
    with pytest.raises(RuntimeError, match="There is no file"):
        bpy.ops.loquent.choose_sound(filepath=str(tone) + "x")
    assert head.loquent.sound == str(tone)


def test_choose_sound_is_relative_in_a_saved_file(head, tone):
    bpy.ops.wm.save_as_mainfile(filepath=str(tone.parent / "shot.blend"))
    bpy.ops.loquent.choose_sound(filepath=str(tone))
    assert head.loquent.sound == "//a line.wav"
