# SPDX-License-Identifier: GPL-3.0-or-later
"""Head from Photo and Head from Video: the real worker and protocol, with a fake learner in place of torch."""

import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from loquent.addon import head_panels, jobs, making
from loquent.addon.operators.make_head import LOQUENT_OT_head_from_video
from loquent.core.errors import Cancelled, FormatError, WorkerError
from loquent.core.head.motion import CHANNELS
from loquent.core.splats.avatar import load_avatar
from loquent.core.worker.client import BOOT, Launch

from .fake_learner import write_boot
from .test_panels import MIXINS, draw_all
from .waiting import finished, ready, wait_for

AGREED = {"subject": "Anna Ek", "consent": "Anna agreed by mail."}


@pytest.fixture
def photo(scene, tmp_path, monkeypatch):
    """A photo beside a saved .blend file, and a worker that learns from it at once."""
    monkeypatch.setattr(jobs, "launch", lambda: Launch(boot=write_boot(tmp_path)))
    place = tmp_path / "project"
    place.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(place / "shot.blend"))
    path = place / "anna.jpg"
    path.write_bytes(b"a photo")
    return path


def test_a_photo_becomes_a_head_at_the_cursor_beside_the_file(scene, photo):
    bpy.context.scene.cursor.location = (1, 2, 3)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.loquent.head_from_photo("EXEC_DEFAULT", True, filepath=str(photo), **AGREED, face=2) == {"FINISHED"}
    ob = bpy.context.view_layer.objects.active
    assert ob.loquent.avatar == "//anna_ek.loq" and tuple(ob.location) == (1, 2, 3) and ob.name == "Anna Ek"
    assert ob.select_get() and not jobs.running()
    avatar = load_avatar(photo.parent / "anna_ek.loq")
    assert avatar.about["subject"] == "Anna Ek" and avatar.about["source"] == "photo"
    assert avatar.about["asked"] == "refine=True focal_mm=None face=2"
    drawn = draw_all()["LOQUENT_PT_person"]
    assert {"Person", "Consent", "Licence", "Made from", "Made with"} <= set(drawn)
    bpy.ops.ed.undo()
    assert "Anna Ek" not in bpy.data.objects
    bpy.ops.ed.redo()
    assert bpy.data.objects["Anna Ek"].loquent.avatar == "//anna_ek.loq"


def test_a_head_that_is_there_is_not_written_over_unless_asked(scene, photo):
    for options in ({}, {}, {"overwrite": True}):
        bpy.ops.loquent.head_from_photo(filepath=str(photo), **AGREED, **options)
    assert sorted(p.name for p in photo.parent.glob("*.loq")) == ["anna_ek-2.loq", "anna_ek.loq"]


def test_a_folder_and_a_name_may_be_chosen(scene, photo):
    bpy.ops.loquent.head_from_photo(filepath=str(photo), **AGREED, folder="//heads/", head_name="Äänna 2")
    assert [p.suffix for p in (photo.parent / "heads").iterdir()] == [".loq"]
    assert bpy.context.view_layer.objects.active.name == "Äänna 2"


def test_a_film_brings_its_voice_style_along(scene, photo):
    bpy.ops.loquent.head_from_video(filepath=str(photo), **AGREED)
    ob = bpy.context.view_layer.objects.active
    assert ob.loquent.style == "//anna_ek.style" and (photo.parent / "anna_ek.style").is_file()


@pytest.mark.parametrize("missing", ["subject", "consent"])
def test_without_consent_nothing_begins(scene, photo, missing):
    said = {**AGREED, missing: "  "}
    with pytest.raises(RuntimeError, match="A head made from footage shows a real person"):
        bpy.ops.loquent.head_from_photo(filepath=str(photo), **said)
    assert not list(photo.parent.glob("*.loq")) and not jobs.running()


def test_an_invented_person_needs_a_name_alone(scene, photo):
    bpy.ops.loquent.head_from_photo(filepath=str(photo), subject="Robot 7", synthetic=True)
    assert load_avatar(photo.parent / "robot_7.loq").about["consent"] == "Not a real person."


def test_a_photo_that_is_not_there_is_named(scene, photo):
    with pytest.raises(RuntimeError, match=r"There is no photo '.*none.jpg'"):
        bpy.ops.loquent.head_from_photo(filepath="//none.jpg", **AGREED)
    with pytest.raises(RuntimeError, match=r"There is no photo in '.*project'. Choose one"):
        bpy.ops.loquent.head_from_photo(filepath="//", **AGREED)
    with pytest.raises(RuntimeError, match=r"There is no photo chosen\. Choose one that shows a face"):
        bpy.ops.loquent.head_from_photo(**AGREED)


def test_splats_become_a_head_that_speaks(scene, photo):
    scan = photo.with_name("scan.ply")
    scan.write_bytes(b"splats")
    assert bpy.ops.loquent.head_from_splats(filepath=str(scan), **AGREED, licence="CC0-1.0") == {"FINISHED"}
    ob = bpy.context.view_layer.objects.active
    assert ob.loquent.avatar == "//anna_ek.loq" and ob.name == "Anna Ek"
    about = load_avatar(photo.parent / "anna_ek.loq").about
    assert about["subject"] == "Anna Ek" and about["licence"] == "CC0-1.0" and about["source"] == "splats"
    assert about["asked"] == ""
    bpy.ops.ed.undo_push(message="after")


def test_splats_of_which_nothing_is_stated_are_named_after_their_file_and_told_so(scene, photo):
    scan = photo.with_name("scan.ply")
    scan.write_bytes(b"splats")
    flame = photo.with_name("me") / "flame.head.npz"
    flame.parent.mkdir()
    flame.write_bytes(b"a head")
    job = making.HeadJob(
        making.Request("head_from_splats", scan, "scan", None, scene.session_uid, more={"head": str(flame)})
    )
    told = finished(job)
    assert "Nothing was stated about whom the head shows" in job.warnings[0] and "Registered to 1.00 mm" in told
    assert (photo.parent / "flame.head.npz").read_bytes() == b"a head", "an avatar looks for its head in its own folder"
    with pytest.raises(RuntimeError, match="A head made from footage shows a real person"):
        bpy.ops.loquent.head_from_splats(filepath=str(scan), subject="Anna Ek")
    with pytest.raises(RuntimeError, match=r"There are no splats '.*none.ply'"):
        bpy.ops.loquent.head_from_splats(filepath="//none.ply")


def test_without_the_compute_environment_splats_get_the_one_message(scene, photo, monkeypatch):
    from loquent.core.splats.avatar import find_avatar, load_avatar, performer
    from loquent.core.splats.export import write_posed

    scan = photo.with_name("scan.ply")
    write_posed(performer(load_avatar(find_avatar("ada"))), np.zeros(len(CHANNELS), np.float32), scan)
    lacking = "import loquent_worker.core.adapt.environment as e\ne.missing = lambda: ['mediapipe==1.2.2']\n"
    boot = photo.with_name("boot.py")
    text = BOOT.read_text(encoding="utf-8").replace("Path(__file__)", f"Path({str(BOOT)!r})")
    lines = lacking.replace("\n", "\n    ")
    boot.write_text(text.replace("    return importlib", f"    {lines}return importlib"), encoding="utf-8")
    monkeypatch.setattr(jobs, "launch", lambda: Launch(boot=boot))
    with pytest.raises(RuntimeError, match=r"(?s)Making heads needs a Python with mediapipe.*Worker Python"):
        bpy.ops.loquent.head_from_splats(filepath=str(scan), **AGREED)
    assert not list(photo.parent.glob("*.loq"))


def test_a_head_of_plain_splats_offers_to_be_made_one_that_speaks(scene, photo):
    from loquent.core.splats.avatar import find_avatar, load_avatar, performer
    from loquent.core.splats.export import write_posed

    scan = photo.with_name("scan.ply")
    write_posed(performer(load_avatar(find_avatar("ada"))), np.zeros(len(CHANNELS), np.float32), scan)
    bpy.ops.loquent.add_head(avatar="FILE", filepath=str(scan))
    assert "loquent.head_from_splats" in draw_all()["LOQUENT_PT_speak"]
    assert bpy.context.active_object.display_type == "WIRE", "a filled box would hide what is in it"
    bpy.ops.loquent.add_head(avatar="ada")
    assert bpy.context.active_object.display_type == "TEXTURED"
    assert "loquent.head_from_splats" not in draw_all()["LOQUENT_PT_speak"]


def test_dialogs_ask_anew_who_it_is_each_time(registered):
    for name in ("subject", "consent", "synthetic"):
        for operator in (
            bpy.ops.loquent.head_from_photo, bpy.ops.loquent.head_from_video, bpy.ops.loquent.head_from_splats
        ):  # fmt: skip
            prop = operator.get_rna_type().properties[name]
            assert prop.description and prop.is_skip_save


def request(scene, photo, **more):
    from loquent.core.adapt.consent import Consent

    consent = Consent(AGREED["subject"], AGREED["consent"])
    return making.Request("head_from_video", photo, "Anna", consent, scene.session_uid, more=more)


def test_progress_shows_stage_bar_and_picture_in_the_sidebar(scene, photo):
    job = making.HeadJob(request(bpy.context.scene, photo, steps=60))
    try:
        while not job.previews:
            assert not job.poll()
            job.wait()
        assert not bpy.ops.loquent.head_from_photo.poll(), "one at a time"
        head_panels.show_progress(bpy.context, job)
        held = head_panels._pictures["making"]
        assert tuple(held.image_size) == (90, 90)
        drawn = draw_all()["LOQUENT_PT_making"]
        assert drawn[0] == "Anna" and drawn[1].startswith("Learning ") and "loquent.cancel" in drawn
        bpy.ops.loquent.cancel()
        with pytest.raises(Cancelled):
            wait_for(job)
    finally:
        job.close()
        head_panels.forget()
    assert "LOQUENT_PT_making" not in draw_all() and not jobs.running()


def test_a_cancelled_film_goes_on(scene, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "unfinished", lambda: str(tmp_path / "cache" / "unfinished"))
    job = making.HeadJob(request(bpy.context.scene, photo, steps=40))
    try:
        with pytest.raises(Cancelled, match="What was learned is kept"):
            while not job.poll():
                if job.fraction > 0.3:
                    job.cancel()
                time.sleep(0.005)
    finally:
        job.close()
    job = making.HeadJob(request(bpy.context.scene, photo, steps=40))
    told = finished(job)
    assert "'Anna' is in the scene" in told and "voice style" in told
    assert not load_avatar(photo.parent / "anna.loq").about["asked"].endswith(" 0")


def test_a_worker_that_dies_says_that_what_was_learned_is_kept(scene, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "unfinished", lambda: str(tmp_path / "cache" / "unfinished"))
    job = making.HeadJob(request(bpy.context.scene, photo, steps=400))
    try:
        while not job.previews:
            job.poll()
            job.wait()
        job._worker._process.kill()
        with pytest.raises(
            WorkerError, match=r"(?s)nothing was changed.*What was learned is kept: choose the same film"
        ):
            wait_for(job)
    finally:
        job.close()
    assert not jobs.running() and not list(photo.parent.glob("*.loq"))


@pytest.mark.parametrize(("chosen", "device"), [("AUTO", "cpu"), ("CPU", "cpu"), ("CUDA", "cuda")])
def test_only_who_chooses_the_card_gets_it(scene, photo, monkeypatch, chosen, device):
    said = {"device": chosen}
    monkeypatch.setattr(making, "preference", lambda name, default: said.get(name, default))
    job = making.HeadJob(request(bpy.context.scene, photo, steps=1))
    job.close()
    assert job.arguments["device"] == device


def test_a_scene_that_went_away_does_not_cost_the_head(scene, photo):
    other = bpy.data.scenes.new("other")
    job = making.HeadJob(request(other, photo))
    bpy.data.scenes.remove(other)
    with ready(job), pytest.raises(FormatError, match=r"The head is in '.*anna.loq'"):
        job.apply()
    assert (photo.parent / "anna.loq").is_file()


def test_the_sidebar_hears_of_progress_and_of_the_end(scene, photo, monkeypatch):
    own = {n: v for n, v in vars(LOQUENT_OT_head_from_video).items() if not n.startswith(("__", "bl_")) and n != "poll"}
    seen = []
    monkeypatch.setattr(head_panels, "show_progress", lambda context, job: seen.append(job.stage))
    monkeypatch.setattr(head_panels, "redraw", lambda context: seen.append("end"))
    from types import SimpleNamespace

    from loquent.addon.operators.make_head import MakeHead

    kind = type("Plain", (MakeHead, *MIXINS), own)
    operator = kind()
    operator.report = lambda kinds, text: None
    operator._job = making.HeadJob(request(bpy.context.scene, photo, steps=5))
    operator._timer = None
    nothing = SimpleNamespace(
        progress_update=lambda v: None, progress_end=lambda: None, event_timer_remove=lambda t: None
    )
    status = []
    context = SimpleNamespace(window_manager=nothing, workspace=SimpleNamespace(status_text_set=status.append))
    answer = {"PASS_THROUGH"}
    while answer == {"PASS_THROUGH"}:
        time.sleep(0.01)
        answer = operator.modal(context, SimpleNamespace(type="TIMER", value="NOTHING"))
    assert answer == {"FINISHED"} and seen[-1] == "end" and "Learning" in seen
    assert any(text and text.startswith("Loquent: Learning, ") for text in status) and status[-1] is None


def test_the_speech_of_a_made_head(scene, photo):
    """What was made is a head like any other: it has channels, a proxy and a place in the picture."""
    bpy.ops.loquent.head_from_photo(filepath=str(photo), **AGREED)
    ob = bpy.context.view_layer.objects.active
    from loquent.addon.scene import apply_motion

    from .test_takes import spoken

    assert apply_motion(bpy.context.scene, ob, spoken(), 1).name.startswith("Speak") or ob.animation_data.action
    assert len(ob.data.vertices) > 1000 and Path(photo.parent / "anna_ek.loq").is_file()
