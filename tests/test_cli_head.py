# SPDX-License-Identifier: GPL-3.0-or-later
"""`loquent head …`: what it says about wrong input, and that nothing is written then; imports and exports that need no Blender."""

import json
from pathlib import Path

import numpy as np
import pytest

from loquent.addon.cli import main
from loquent.core.adapt import environment, import_head
from loquent.core.adapt.import_head import kind_of, read_landmarks
from loquent.core.adapt.result import HeadResult
from loquent.core.capture.embedding import load_embedding
from loquent.core.errors import FormatError
from loquent.core.head.head import load_head
from loquent.core.head.motion import Motion
from loquent.core.head.motion_files import write_motion
from loquent.core.splats.avatar import builtin_avatars, load_avatar
from loquent.core.splats.binding import Binding
from loquent.core.splats.formats import about_splats
from loquent.core.splats.ply import BoundSplats, write_bound_ply

WHO = ["--name", "Anna", "--subject", "Anna Ek", "--consent", "agreed by mail on 3 May"]
HEAD = load_head()
HEAD_FILES = builtin_avatars()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("portrait.jpg").write_bytes(b"no picture")
    Path("notes.txt").write_text("no head")
    Path("model.pkl").write_bytes(b"cposix\nsystem\n(S'touch was-here'\ntR.")
    Path("empty.ply").write_bytes(b"")
    Path("points.json").write_text('{"nose_tip": [0, 0, 0]}')
    write_motion(Motion.rest(3, 25), "take.csv")
    one = Binding(np.zeros(1, np.int32), *(np.ones((1, k), np.float32) for k in (3, 4, 3)))
    write_bound_ply(BoundSplats(one, np.ones(1, np.float32), np.zeros((1, 1, 3), np.float32)), "bound.ply")


BAD = [
    (["from-photo", "none.jpg", "-o", "a.loq", *WHO], "There is no file 'none.jpg'"),
    (["from-photo", "portrait.jpg", "-o", "a.ply", *WHO], "should end in .loq"),
    (["from-photo", "portrait.jpg", "-o", "a.loq"], 'Say it with --subject "Anna Ek"'),
    (["from-photo", "portrait.jpg", "-o", "a.loq", "--name", "Anna"], 'Say it with --subject "Anna Ek"'),
    (
        ["from-photo", "portrait.jpg", "-o", "a.loq", "--name", "Anna", "--subject", "Anna Ek"],
        "statement of their consent",
    ),
    (
        ["from-video", "portrait.jpg", "-o", "a.loq", "--name", "Anna", "--consent", "yes, she did"],
        "name of the person",
    ),
    (["from-photo", "portrait.jpg", "-o", "a.loq", *WHO, "--face", "0"], "expected 1 for the largest face"),
    (
        ["from-video", "portrait.jpg", "-o", "a.loq", *WHO, "--work", "notes.txt"],
        "'notes.txt' is a file; expected a folder",
    ),
    (["from-video", "portrait.jpg", "-o", "a.loq", *WHO, "--steps", "0"], "expected 1 or more"),
    (["import", "none.zip", "-o", "a.loq"], "none.zip"),
    (["import", "notes.txt", "-o", "a.loq"], "cannot be imported: expected a LAM head"),
    (["import", "empty.ply", "-o", "a.loq"], "empty.ply"),
    (["import", "empty.ply", "-o", "a.zip"], "should end in .loq"),
    (["export", "eve", "-o", "a.ply"], "There is no head 'eve'"),
    (["export", "ada", "-o", "a.obj"], "should end in .ply or .spz"),
    (["export", "ada", "-o", "a.ply", "--frame", "3"], "--frame needs --motion"),
    (["export", "ada", "-o", "a_##.ply"], "which needs --motion"),
    (["import", "bound.ply", "-o", "a.loq", "--head", "none.head.npz"], "There is no file 'none.head.npz'"),
    (["import", "bound.ply", "-o", "a.loq", "--head", "points.json"], "'points.json' is no head file"),
    (["export", "ada", "-o", "a.ply", "--motion", "take.csv", "--frame", "3"], "frames 0 to 2"),
    (["export", "ada", "-o", "a.ply", "--motion", "take.csv"], "names no sequence"),
    (["export", "ada", "-o", "a.ply", "--motion", "none.csv"], "none.csv"),
    (["export", "ada", "-o", "a.spz", "--bound"], "should end in .ply"),
    (["convert-flame", "model.pkl", "-o", "flame.head.npz"], "wants to run 'posix.system'"),
    (["convert-flame", "model.pkl", "-o", "flame.npz"], "should end in .head.npz"),
    (["convert-flame", "none.pkl", "-o", "flame.head.npz"], "There is no file 'none.pkl'"),
    (["convert-flame", "notes.txt", "-o", "flame.head.npz"], "expected a FLAME model"),
    (["ict", "none.npz", "take.csv", "-o", "a.npz"], "There is no file 'none.npz'"),
    (["ict", "none.npz", "take.csv", "-o", "a.fbx"], "should end in .npz or .obj"),
    (["mix", "ada", "eve", "-o", "a.loq"], "There is no head 'eve'"),
    (["mix", "ada", "bruno", "-o", "a.ply"], "should end in .loq"),
    (["info", "none.loq"], "There is no head"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_gives_one_message_and_writes_nothing(capsys, arguments, message):
    before = sorted(Path().iterdir())
    assert main(["head", *arguments]) == 1
    told = capsys.readouterr().err
    assert message in told and told.startswith("loquent: ") and "Traceback" not in told
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("command", ["from-photo", "from-video"])
def test_without_the_compute_environment_one_message_says_how_to_get_it(monkeypatch, capsys, command):
    monkeypatch.setattr(environment, "missing", lambda: ["torch==2.13.0", "mediapipe==1.2.2"])
    assert main(["head", command, "portrait.jpg", "-o", "a.loq", *WHO]) == 1
    told = capsys.readouterr().err
    assert "pip install '.[adapt]'" in told and "torch==2.13.0" in told and not Path("a.loq").exists()


@pytest.mark.parametrize(
    ("given", "name"), [([], "anna"), (["--name", " "], "anna"), (["--name", "Anna Ek"], "Anna Ek")]
)
def test_a_head_without_a_name_is_called_as_its_file(monkeypatch, given, name):
    monkeypatch.setattr(environment, "missing", list)
    asked = []

    def made(path, options, progress):
        asked.append(options.name)
        raise FormatError("enough")

    photo = pytest.importorskip("loquent.core.adapt.photo", reason="needs torch")
    monkeypatch.setattr(photo, "head_from_photo", made)
    main(["head", "from-photo", "portrait.jpg", "-o", "anna.loq", *WHO[2:], *given])
    assert asked == [name]


def test_a_films_style_lies_beside_the_head_and_replaces_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(environment, "missing", list)
    video = pytest.importorskip("loquent.core.adapt.video", reason="needs torch")
    loose = tmp_path / "loose" / "voice.style"
    loose.parent.mkdir()
    loose.write_text("a style")
    Path("anna.style").write_text("another's")
    made = HeadResult(load_avatar(HEAD_FILES["ada"]), (), loose)
    monkeypatch.setattr(video, "head_from_video", lambda path, options, progress: made)
    assert main(["head", "from-video", "portrait.jpg", "-o", "anna.loq", *WHO]) == 0
    assert Path("anna.style").read_text() == "another's" and Path("anna-2.style").read_text() == "a style"
    assert not loose.parent.exists() and "anna-2.style: how this person speaks" in capsys.readouterr().out


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["head", "-h"])
    told = capsys.readouterr().out
    assert all(
        name in told for name in ("from-photo", "from-video", "import", "export", "convert-flame", "mix", "info")
    )


def test_a_posed_frame_and_a_mixture_are_written(capsys):
    assert main(["head", "export", "ada", "--motion", "take.csv", "--frame", "1", "-o", "frame.spz"]) == 0
    assert about_splats("frame.spz").count == len(load_avatar(HEAD_FILES["ada"]))
    assert main(["head", "export", "ada", "--motion", "take.csv", "--frame", "1", "-o", "frame_##.spz"]) == 0
    assert Path("frame_01.spz").read_bytes() == Path("frame.spz").read_bytes()
    assert main(["head", "mix", "ada", "bruno", "--shape-only", "--factor", "0.3", "-o", "mixed.loq"]) == 0
    assert len(load_avatar("mixed.loq")) == len(load_avatar(HEAD_FILES["ada"]))
    assert main(["head", "info", "mixed.loq"]) == 0
    assert "mixed.loq" in capsys.readouterr().out


def test_kinds_are_told_by_contents():
    main(["head", "export", "ada", "--bound", "-o", "bound.ply"])
    main(["head", "export", "ada", "-o", "free.ply"])
    assert (kind_of("bound.ply"), kind_of("free.ply"), kind_of("x.zip")) == ("GaussianAvatars", "still", "LAM")
    Path("bound.npz").unlink()
    with pytest.raises(FormatError, match="triangles of a FLAME head"):
        import_head.import_head(Path("bound.ply"), import_head.ImportOptions())


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read as landmarks"), ("[1]", "cannot be read as landmarks"), ('{"nose": [0, 0, 0]}', "no landmark 'nose'"),
     ('{"9999": [0, 0, 0]}', "no landmark '9999'"), ('{"chin": [0, 0]}', "not a point"), ('{"chin": [0, 0, NaN]}', "not a point"),
     ('{"chin": [0, 0, 0], "nose_tip": [0, 1, 0]}', "expected 4 or more")],
)  # fmt: skip
def test_landmarks_that_are_none_are_refused(text, message):
    Path("bad.json").write_text(text)
    with pytest.raises(FormatError, match=message.replace("[", r"\[")):
        read_landmarks(Path("bad.json"), HEAD, load_embedding(HEAD))


def test_landmarks_by_name_and_number_are_read():
    names = ["nose_tip", "chin", "mouth_left", "eye_right_outer"]
    given = {name: HEAD.template[HEAD.landmarks[name]].tolist() for name in names} | {"1": [0, 0, 0.1]}
    Path("good.json").write_text(json.dumps(given))
    marks = read_landmarks(Path("good.json"), HEAD, load_embedding(HEAD))
    assert np.allclose(marks.ours(HEAD.template.astype(np.float64))[:4], marks.points[:4])


def test_a_motion_goes_to_ict_as_values_and_as_a_mesh():
    deltas = np.zeros((1, 4, 3))
    deltas[0, 2, 1] = -1
    np.savez("kit.npz", neutral=np.eye(4, 3), faces=[[0, 1, 2, 3]], expr_names=["jawOpen"], expr_delta=deltas)
    with np.load("kit.npz") as file:
        np.savez("triangles.npz", **{**file, "faces": [[0, 1, 2, -1]]})
    write_motion(Motion.rest(2, 25).with_columns({"jawOpen": np.array([0, 0.5])}), "open.json")
    assert main(["head", "ict", "kit.npz", "open.json", "-o", "values.npz"]) == 0
    with np.load("values.npz") as file:
        assert np.allclose(file["values"], [[0], [0.5]]) and file["names"].tolist() == ["jawOpen"] and file["fps"] == 25
    assert main(["head", "ict", "kit.npz", "open.json", "--frame", "1", "-o", "face.obj"]) == 0
    lines = Path("face.obj").read_text().splitlines()
    assert [float(x) for x in lines[2].split()[1:]] == [0, -0.5, 1] and lines[4] == "f 1 2 3 4"
    assert main(["head", "ict", "triangles.npz", "open.json", "-o", "face.obj"]) == 0
    assert Path("face.obj").read_text().splitlines()[4] == "f 1 2 3"
    assert main(["head", "ict", "kit.npz", "open.json", "--frame", "2", "-o", "face.obj"]) == 1
