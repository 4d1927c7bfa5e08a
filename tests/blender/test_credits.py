# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written of a head says whom it shows: pictures and films read back."""

from dataclasses import replace

import bpy
import pytest

from loquent.addon.scene import build_head_object, setup_scene
from loquent.core.adapt.consent import Consent
from loquent.core.adapt.film_note import add_note
from loquent.core.errors import FormatError
from loquent.core.splats.avatar import save_avatar

SAID = "Anna (Person: Anna Ek; Consent: agreed <by> mail & phone; Date: 2026-11-01)"


@pytest.fixture
def anna(scene, tiny_avatar, tmp_path):
    about = Consent("Anna Ek", "agreed <by> mail & phone", "2026-11-01").about("photo")
    save_avatar(replace(tiny_avatar, name="Anna", about=about), tmp_path / "anna.loq")
    ob = build_head_object(scene, str(tmp_path / "anna.loq"))
    setup_scene(scene, ob)
    scene.render.resolution_x = scene.render.resolution_y = 32
    return ob


def rendered(scene, path, kind, media="IMAGE", **options):
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = media
    settings.file_format = kind
    if kind == "FFMPEG":
        scene.render.ffmpeg.format = "MPEG4"
    scene.render.filepath = str(path)
    bpy.ops.render.render(**options)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "suffix", "media"),
    [
        ("PNG", ".png", "IMAGE"), ("JPEG", ".jpg", "IMAGE"), ("OPEN_EXR", ".exr", "IMAGE"),
        ("OPEN_EXR_MULTILAYER", ".exr", "MULTI_LAYER_IMAGE"),
    ],
)  # fmt: skip
def test_a_picture_names_the_person_and_their_consent(scene, anna, tmp_path, kind, suffix, media):
    data = rendered(scene, tmp_path / f"shot{suffix}", kind, media, write_still=True)
    assert b"Loquent Heads" in data and SAID.encode() in data


def test_every_head_of_a_picture_is_named_once(scene, anna, tmp_path):
    build_head_object(scene, "ada", location=(0.3, 0, 0))
    build_head_object(scene, "ada", location=(-0.3, 0, 0))
    data = rendered(scene, tmp_path / "shot.png", "PNG", write_still=True)
    assert SAID.encode() in data and data.count(b"ada (") == 1 and b" | " in data


def test_a_film_names_them_too_and_still_plays(scene, anna, tmp_path):
    av = pytest.importorskip("av")
    scene.frame_end = 3
    path = tmp_path / "shot.mp4"
    for _ in range(2):  # over the film of before
        rendered(scene, path, "FFMPEG", "VIDEO", animation=True)
    with av.open(str(path), options={"export_xmp": "1"}) as film:
        assert sum(1 for _ in film.decode(video=0)) == 3
        told = film.metadata["xmp"]
    assert "Anna (Person: Anna Ek; Consent: agreed &lt;by&gt; mail &amp; phone" in told
    assert path.read_bytes().count(b"adobe:ns:meta") == 1


def test_a_picture_composed_over_another_engines_names_them_in_the_note(scene, anna, tmp_path):
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = 1, "CPU"
    scene.render.stamp_note_text = "shot 7"
    for _ in range(2):
        assert bpy.ops.loquent.head_over_plate() == {"FINISHED"}
    assert scene.render.stamp_note_text == f"shot 7 | Loquent Heads: {SAID}"
    assert SAID.encode() in rendered(scene, tmp_path / "shot.png", "PNG", write_still=True)


def test_a_picture_without_heads_says_nothing(scene, anna, tmp_path):
    anna.hide_render = True
    assert b"Loquent Heads" not in rendered(scene, tmp_path / "shot.png", "PNG", write_still=True)


def test_a_note_takes_the_place_of_the_one_before_and_spares_what_is_no_film(tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x0cmdat1234")
    plain = film.read_bytes()
    add_note(film, "long " * 100)
    add_note(film, "Änna")
    data = film.read_bytes()
    assert data.startswith(plain) and data.count(b"uuid") == 1 and "Änna".encode() in data and b"long" not in data
    for broken in (b"", b"RIFF1234AVI ", plain[:-2], b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\0mdat1234"):
        film.write_bytes(broken)
        with pytest.raises(FormatError, match="no finished MP4"):
            add_note(film, "text")
        assert film.read_bytes() == broken
