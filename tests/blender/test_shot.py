# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's shot: film and sound in step, and a file that opens elsewhere."""

import shutil
from pathlib import Path

import bpy
import numpy as np
import pytest
import soundfile

from loquent.core.head.motion import CHANNELS, Motion

FPS, FRAMES = 25, 30


@pytest.fixture
def clicks(tmp_path) -> Path:
    """Noise bursts at .2 s and .8 s in silence, 44.1 kHz."""
    rng = np.random.default_rng(2)
    sound = np.zeros(int(44100 * FRAMES / FPS))
    for second in (0.2, 0.8):
        sound[int(second * 44100) :][:2205] = rng.normal(0, 0.3, 2205)
    path = tmp_path / "clicks ünï.wav"
    soundfile.write(path, sound, 44100)
    return path


@pytest.fixture
def shot(registered, tiny, clicks):
    from loquent.addon import shot

    swing = np.zeros((FRAMES, len(CHANNELS)), np.float32)
    motion = Motion(FPS, swing).with_columns({"headYaw": np.linspace(-0.7, 0.7, FRAMES)})
    shot.build(head=tiny, voice=clicks, motion=motion, size=(64, 64))
    return shot


def decoded(path: Path):
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        facts = (video.codec_context.name, audio.codec_context.name, float(video.average_rate), audio.rate)
        pictures = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video)]
        container.seek(0)
        sound, first = [], None
        for frame in container.decode(audio):
            first = frame.time if first is None else first
            sound.append(frame.to_ndarray().mean(0))
    return facts, pictures, np.concatenate(sound), first


def test_the_film_is_h264_with_aac_in_step_with_picture_and_sound(shot, clicks, tmp_path):
    film = tmp_path / "film.mp4"
    steps = []
    shot.render(film, steps.append)
    (video, audio, rate, sound_rate), pictures, sound, first = decoded(film)
    assert (video, audio, rate) == ("h264", "aac", FPS)
    assert len(pictures) == FRAMES and pictures[0].shape == (64, 64, 3)
    assert steps == sorted(steps) and steps[-1] == pytest.approx(1)
    # Picture: each film frame is nearest to the still of its own frame, not to those beside it.
    stills = {frame: still(frame, tmp_path) for frame in (10, 15, 20)}
    for frame, picture in stills.items():
        errors = {k: np.abs(pictures[k - 1] - picture).mean() for k in range(frame - 2, frame + 3)}
        assert min(errors, key=errors.__getitem__) == frame, errors
    # Sound: the onsets lie where the recording has them, within half a frame.
    loud = np.abs(sound) > 0.05
    onset = first + int(np.argmax(loud)) / sound_rate
    late = first + (int(0.5 * sound_rate) + int(np.argmax(loud[int(0.5 * sound_rate) :]))) / sound_rate
    assert abs(onset - 0.2) < 0.5 / FPS and abs(late - 0.8) < 0.5 / FPS


def still(frame: int, folder: Path) -> np.ndarray:
    """A still of the open file, as 8-bit RGB, through the same compositor and view transform."""
    from PIL import Image

    scene = bpy.context.scene
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "PNG"
    scene.frame_set(frame)
    scene.render.filepath = str(folder / f"still{frame}.png")
    bpy.ops.render.render(write_still=True)
    return np.asarray(Image.open(folder / f"still{frame}.png").convert("RGB"), float)


def test_the_saved_file_holds_head_action_sound_camera_and_compositor_and_can_be_moved(shot, clicks, tmp_path):
    shot.save(tmp_path / "here" / "shot.blend")
    clicks.unlink()
    moved = tmp_path / "there"
    shutil.copytree(tmp_path / "here", moved)
    assert [p.name for p in moved.iterdir()] == ["shot.blend"]
    bpy.ops.wm.open_mainfile(filepath=str(moved / "shot.blend"))
    scene = bpy.context.scene
    head = next(ob for ob in bpy.data.objects if ob.loquent.avatar)
    assert head.animation_data.action and head.animation_data.action.name == "Speak clicks ünï"
    assert scene.camera and scene.render.engine == "LOQUENT"
    assert (scene.frame_start, scene.frame_end, scene.render.fps) == (1, FRAMES, FPS)
    (sound,) = [s for s in bpy.data.sounds if s.users]
    assert sound.packed_file is not None
    tree = getattr(scene, "compositing_node_group", None) or scene.node_tree
    assert {"R_LAYERS", "ALPHAOVER"} <= {node.type for node in tree.nodes}


def test_a_head_named_by_a_relative_path_is_found_again_from_anywhere(registered, tiny, clicks, tmp_path, monkeypatch):
    from loquent.addon.cli import main

    shutil.copy(tiny, tmp_path / "köpf.loq")
    monkeypatch.chdir(tmp_path)
    assert main(["speak", str(clicks), "--head", "köpf.loq", "--out", "shot.blend", "--size", "64x64"]) == 0
    monkeypatch.chdir(tmp_path.parent)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    head = next(ob for ob in bpy.data.objects if ob.loquent.avatar)
    assert Path(head.loquent.avatar) == tmp_path / "köpf.loq"


def test_a_film_that_cannot_be_written_leaves_what_was_there(shot, tmp_path):
    from loquent.core.errors import FormatError

    (tmp_path / "file").write_text("kept")
    with pytest.raises(FormatError, match="Choose a folder you may write to"):
        shot.render(tmp_path / "file" / "film.mp4", lambda _: None)
    assert (tmp_path / "file").read_text() == "kept"


def test_cancelling_a_film_leaves_no_half_film(shot, tmp_path):
    from loquent.core.errors import Cancelled

    def stop(fraction: float) -> None:
        if fraction > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        shot.render(tmp_path / "film.mp4", stop)
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))
