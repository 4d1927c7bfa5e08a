# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of heads: what cannot be measured is named, what can is written; regions of a picture."""

import json
import subprocess
import sys

import numpy as np

from loquent.core.errors import CaptureError
from loquent.tools import bench_heads
from loquent.tools.heads.regions import CHIN, CROWN, region_masks


def test_a_part_without_its_needs_is_named_and_the_others_are_measured(monkeypatch, tmp_path, capsys):
    def broken(given):
        """Needs a film."""
        raise CaptureError("there is no film")

    def fine(given):
        """Needs nothing."""
        return {"video_whole_psnr": 36.12345}

    monkeypatch.setattr(bench_heads, "PARTS", {"photo": broken, "inpaint": fine})
    monkeypatch.setattr(sys, "argv", ["bench_heads.py", "--json", str(tmp_path / "a.json")])
    bench_heads.main()
    said = capsys.readouterr().out
    assert "== photo: Needs a film." in said and "Left out: there is no film" in said
    assert "video_whole_psnr" in said and ">= 35" in said
    assert json.loads((tmp_path / "a.json").read_text()) == {"video_whole_psnr": 36.1234}


def test_films_that_are_not_there_leave_parts_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_heads.py", "--only", "inpaint", "video", "--films", str(tmp_path)])
    bench_heads.main()
    said = capsys.readouterr().out
    assert said.count("Left out:") == 2 and said.count("obama_weekly") == 2


def test_people_are_made_for_the_prior_where_none_are_given(monkeypatch, tmp_path, capsys):
    called = []
    monkeypatch.setattr(bench_heads, "PEOPLE", tmp_path)
    monkeypatch.setattr(
        bench_heads.subprocess, "run", lambda c: called.append(c[2:]) or subprocess.CompletedProcess(c, 0)
    )
    for more in ([], ["--people", "mine"]):
        monkeypatch.setattr(sys, "argv", ["bench_heads.py", "--only", "prior", "--count", "3", *more])
        bench_heads.main()
    judge = ["loquent.tools.heads.visual_bench", str(tmp_path / "held"), "--count", "3"]
    make = ["loquent.tools.people.make", str(tmp_path), "--split", "held", "--count", "3"]
    assert called == [make, judge, [judge[0], "mine", *judge[2:]]]
    monkeypatch.setattr(bench_heads.subprocess, "run", lambda c: subprocess.CompletedProcess(c, 1))
    bench_heads.main()
    assert "Left out: loquent.tools.heads.visual_bench failed" in capsys.readouterr().out


def test_the_head_is_the_person_above_the_chin_however_it_leans():
    matte = np.zeros((60, 60), np.float32)
    matte[10:, 20:40] = 1
    points = np.zeros((478, 2), np.float32)
    points[CHIN], points[CROWN] = (30, 40), (30, 15)
    masks = region_masks(matte, points)
    assert masks["torso"].sum() == matte.sum()
    rows = np.flatnonzero(masks["head"].any(1))
    assert rows[0] == 10 and rows[-1] == 40  # a line .06 of the face's height below the chin
    points[CROWN] = (50, 25)  # leaning: the line is no longer level
    leaning = region_masks(matte, points)["head"]
    assert leaning[45, 39] and not leaning[45, 21]
