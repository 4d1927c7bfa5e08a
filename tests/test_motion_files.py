# SPDX-License-Identifier: GPL-3.0-or-later
"""ARKit JSON and FLAME npz: round trips, spellings met in the wild, hostile files."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from loquent.core.errors import FormatError
from loquent.core.head.arkit_json import SPELLINGS, read_arkit_json, write_arkit_json
from loquent.core.head.flame_npz import read_flame, write_flame
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.livelink import read_livelink
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion
from loquent.core.head.motion_files import read_motion, write_motion

JAMES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "lam_heads" / "openavatarchat_james.zip"


def acted(frames: int = 50, fps: float = 30.0) -> Motion:
    rng = np.random.default_rng(2)
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    values[:, : len(ARKIT)] = rng.random((frames, len(ARKIT)))
    values[:, len(ARKIT) : -3] = rng.normal(0, 0.2, (frames, len(CHANNELS) - len(ARKIT) - 3))
    values[:, -3:] = rng.normal(0, 0.02, (frames, 3))
    return Motion(fps, values)


@pytest.mark.parametrize("fps", [23.976, 25.0, 30.0, 60.0])
@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_every_channel_survives_the_way_through_a_file(tmp_path, suffix, fps):
    motion = acted(fps=fps)
    write_motion(motion, tmp_path / f"take.{suffix}")
    back = read_motion(tmp_path / f"take.{suffix}")
    assert back.fps == fps and np.abs(back.values - motion.values).max() < 2e-6


def test_all_formats_carry_the_same_face(tmp_path):
    """Whatever way a motion goes, the head it is put on looks the same. Live Link has no neck, translation and jaw roll."""
    lost = [n for n in CHANNELS if n.startswith(("neck", "jawYaw", "jawRoll", "headX", "headY", "headZ", "eyeLook"))]
    motion = Motion(30, acted().values * 0.4).with_columns(dict.fromkeys(lost, 0.0))
    motion = motion.with_columns({n: np.clip(motion.column(n), -0.15, 0.15) for n in ("gazeYaw", "gazePitch")})
    person = identity(load_head())
    truth = pose_vertices(person, motion.values)
    for name in ("a.csv", "a.json", "a.npz"):
        write_motion(motion, tmp_path / name)
        moved = 1e3 * np.abs(pose_vertices(person, read_motion(tmp_path / name).values) - truth).max()
        assert moved < 0.02, (name, moved)  # millimetres


def test_json_is_written_in_the_layout_that_others_read(tmp_path):
    write_arkit_json(acted(3), tmp_path / "take.json")
    data = json.loads((tmp_path / "take.json").read_text())
    assert data["names"] == list(ARKIT) == data["metadata"]["blendshape_names"]
    assert data["metadata"]["fps"] == 30 and data["metadata"]["frame_count"] == 3
    assert len(data["frames"]) == 3 and len(data["frames"][0]["weights"]) == 52
    assert data["frames"][1]["time"] == pytest.approx(1 / 30, abs=1e-5) and data["frames"][0]["rotation"] == []


def test_a_performance_of_openavatarchat_is_read(tmp_path):
    if not JAMES.is_file():
        pytest.skip(f"{JAMES} is absent: a real file is measured against, never shipped")
    with zipfile.ZipFile(JAMES) as archive:
        raw = archive.read("arkitWithBSData/bsData.json")
    (tmp_path / "bsData.json").write_bytes(raw)
    motion = read_arkit_json(tmp_path / "bsData.json")
    data = json.loads(raw)
    assert motion.fps == 30 and len(motion) == 240
    jaw = data["names"].index("jawOpen")
    assert np.allclose(motion.column("jawOpen"), [f["weights"][jaw] for f in data["frames"]], atol=1e-6)
    assert motion.column("jawOpen").max() > 0.1


def _wild(motion: Motion) -> dict[str, object]:
    """One performance as other programs write it."""
    rows = motion.values[:, : len(ARKIT)].astype(float).round(5).tolist()
    dictionaries = [dict(zip(ARKIT, row, strict=True)) for row in rows]
    short = [n.replace("Left", "_L").replace("Right", "_R") if n not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight") else n for n in ARKIT]  # fmt: skip
    return {
        "audio2face": {
            "exportFps": 30.0,
            "trackPath": "x",
            "numPoses": 52,
            "numFrames": len(rows),
            "facsNames": short,
            "weightMat": rows,
        },
        "list of dictionaries": dictionaries,
        "frames with blendShapes": {
            "fps": 30,
            "frames": [{"time": k / 30, "blendShapes": d} for k, d in enumerate(dictionaries)],
        },
        "pascal case": [{n[0].upper() + n[1:]: v for n, v in d.items()} for d in dictionaries],
        "snake case": [
            {"".join("_" + c.lower() if c.isupper() else c for c in n): v for n, v in d.items()} for d in dictionaries
        ],
        "mediapipe": [
            {"timestamp": k / 30, "blendshapes": [{"categoryName": n, "score": v} for n, v in d.items()]}
            for k, d in enumerate(dictionaries)
        ],
        "columns": {"fps": 30, **{n: [row[i] for row in rows] for i, n in enumerate(ARKIT)}},
        "columns within": {"frameRate": 30, "BlendShapes": {n: [row[i] for row in rows] for i, n in enumerate(ARKIT)}},
        "names and weights": {"blendshape_names": list(ARKIT), "weights": rows, "fps": 30},
        "other order, more names": {
            "names": ["headTurn", *reversed(ARKIT)],
            "frames": [[0.5, *reversed(row)] for row in rows],
        },
    }


@pytest.mark.parametrize("layout", _wild(acted(2)))
def test_other_programs_spellings_are_read(tmp_path, layout):
    motion = acted(20)
    (tmp_path / "x.json").write_text(json.dumps(_wild(motion)[layout]))
    back = read_arkit_json(tmp_path / "x.json")
    assert back.fps == 30 and np.allclose(back.values[:, : len(ARKIT)], motion.values[:, : len(ARKIT)], atol=1e-5)


def test_the_rate_comes_from_the_times_where_nobody_says_it(tmp_path):
    for step, expected in ((1 / 60, 60), (40, 25), (1 / 33, 33)):
        frames = [{"time": k * step, "weights": dict.fromkeys(ARKIT, 0.1)} for k in range(9)]
        (tmp_path / "x.json").write_text(json.dumps(frames))
        assert read_arkit_json(tmp_path / "x.json").fps == pytest.approx(expected)
    assert read_arkit_json(tmp_path / "x.json", fps=50).fps == 50


def test_no_two_channels_share_a_spelling():
    assert len(set(SPELLINGS.values())) == len(CHANNELS)
    assert SPELLINGS["mouthleft"] == "mouthLeft" and SPELLINGS["mouthsmilel"] == "mouthSmileLeft"
    assert "jawl" in SPELLINGS and SPELLINGS["jawl"] == "jawLeft"


NAMES = list(ARKIT)
HOSTILE_JSON = [
    ("", r"is empty \(0 bytes\)"),
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("\x00\x01\x02", "not JSON"),
    ("{}", "neither frames nor columns"),
    ("[]", "holds no frames"),
    ("7", "holds no frames"),
    ('"jawOpen"', "holds no frames"),
    ('{"names": ["a", "b"], "frames": [[1, 2]]}', "names 0 of the 52"),
    ('{"frames": [[1, 2, 3]]}', "does not say which coefficients"),
    (json.dumps({"names": NAMES, "frames": [[0.0] * 52, [0.0] * 51]}), "frame 1: 51 values; expected 52"),
    (json.dumps({"names": NAMES, "frames": [[0.0] * 51 + ["x"]]}), "frame 0, tongueOut: expected a number, found 'x'"),
    (json.dumps({"names": NAMES, "frames": [[0.0] * 51 + [None]]}), "expected a number, found 'None'"),
    (json.dumps({"names": NAMES, "frames": [[float("nan")] * 52]}), "expected a number, found 'nan'"),
    (json.dumps({"names": NAMES, "frames": [[1e30] * 52]}), "expected a number"),
    (json.dumps({"names": NAMES, "frames": [[10**400] * 52]}), "expected a number"),
    (json.dumps({"names": NAMES, "frames": ["jaw"]}), "frame 0: expected numbers or a dictionary of names, found text"),
    (json.dumps({"names": NAMES, "frames": [None]}), "found nothing"),
    (json.dumps({"names": NAMES, "frames": [[0.0] * 52], "fps": 1e9}), "says 1000000000.0 frames per second"),
    (json.dumps({"jawOpen": [1, 2], "mouthClose": [1]}), "columns of different lengths"),
    (json.dumps({"names": NAMES, "pose_names": ["headYaw"], "frames": [{"weights": [0.0] * 52, "pose": []}]}), "1 numbers in 'pose'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), HOSTILE_JSON, ids=range(len(HOSTILE_JSON)))
def test_a_json_that_is_no_performance_says_why(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_arkit_json(tmp_path / "x.json")


def test_flame_is_written_with_the_keys_and_axes_of_vhap(tmp_path):
    motion = Motion.rest(4, 25).with_columns(
        {"jawOpen": 0.5, "headPitch": 0.1, "neckYaw": 0.2, "gazeYaw": 0.15, "headY": 0.01}
    )
    write_flame(motion, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        assert file["jaw_pose"].shape == (4, 3) and np.allclose(file["jaw_pose"], [np.radians(12.2), 0, 0], atol=1e-6)
        assert np.allclose(file["neck_pose"], [0.1, 0, 0], atol=1e-6)
        assert np.allclose(file["rotation"], [0, 0.2, 0], atol=1e-6)
        assert np.allclose(file["eyes_pose"], [0, 0.15, 0] * 2, atol=1e-6)
        assert np.allclose(file["translation"], [0, 0.01, 0]) and float(file["fps"]) == 25


def test_with_a_flame_heads_own_directions_expressions_come_back(tmp_path):
    """52 units in 100 directions: of full rank, so the fit within 0..1 finds the coefficients again."""
    basis = np.random.default_rng(0).normal(size=(52, 100))
    motion = acted(30)
    write_flame(motion, tmp_path / "x.npz", basis)
    back = read_flame(tmp_path / "x.npz", basis=basis)
    unlike = [INDEX[n] for n in ARKIT if not n.startswith("eyeLook")]
    assert np.abs(back.values[:, unlike] - motion.values[:, unlike]).max() < 1e-4
    again = tmp_path / "y.npz"
    write_flame(back, again, basis)
    with np.load(tmp_path / "x.npz") as a, np.load(again) as b:
        for key in ("expr", "jaw_pose", "eyes_pose", "neck_pose", "rotation", "translation"):
            assert np.abs(a[key] - b[key]).max() < 1e-3, key


def test_a_trackers_file_gives_pose_and_eyes_without_a_basis(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "expr": rng.normal(size=(9, 100)), "jaw_pose": rng.normal(0, 0.1, (9, 3)), "shape": rng.normal(size=300),
        "eyes_pose": rng.normal(0, 0.1, (9, 6)), "neck_pose": rng.normal(0, 0.1, (9, 3)), "static_offset": np.zeros((1, 5143, 3)),
        "rotation": rng.normal(0, 0.1, (9, 3)), "translation": rng.normal(0, 0.1, (9, 3)),
    }  # fmt: skip
    np.savez(tmp_path / "flame_param.npz", **arrays)
    motion = read_flame(tmp_path / "flame_param.npz", fps=25)
    assert motion.fps == 25 and not motion.column("mouthSmileLeft").any()
    write_flame(motion, tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as again:
        for key in ("jaw_pose", "neck_pose", "rotation", "translation"):
            assert np.abs(again[key] - arrays[key]).max() < 1e-5, key
        turned = [again["eyes_pose"][:, i] - arrays["eyes_pose"][:, i] for i in (0, 1, 3, 4)]
        assert np.abs(turned).max() < 0.02  # all but an eyeball's roll, which nobody sees


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, "neither 'jaw_pose' nor 'expr'"),
        ({"jaw_pose": np.zeros((3, 4))}, r"jaw_pose: expected \(frames, 3\)"),
        ({"jaw_pose": np.zeros((3, 3)), "expr": np.zeros((4, 50))}, "same number of frames"),
        ({"jaw_pose": np.zeros((0, 3))}, "same number of frames"),
        ({"jaw_pose": np.full((3, 3), np.nan)}, "not finite"),
        ({"jaw_pose": np.array([["x"] * 3])}, "numbers, found"),
        ({"jaw_pose": np.zeros((3, 3)), "fps": np.array("x")}, "fps is not a number"),
        ({"jaw_pose": np.zeros((3, 3)), "fps": np.float64(0)}, "fps is not a number"),
        ({"expr": np.zeros((3, 9)), "expr_names": np.array(ARKIT)}, "52 expr_names for 9 columns"),
        ({"template": np.zeros(3), "shapedirs": np.zeros(3), "unit_names": np.array(["a"])}, "is a head file, which holds no motion"),
        ({"jaw_pose": np.array([{}], dtype=object)}, "cannot be read as FLAME parameters"),
    ],
)  # fmt: skip
def test_an_npz_that_holds_no_tracking_says_why(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(FormatError, match=message):
        read_flame(tmp_path / "x.npz")


def test_files_that_are_no_archives_are_refused(tmp_path):
    write_flame(acted(), tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    for content in (b"", b"PK\x03\x04", whole[: len(whole) // 2], whole[:-1], b"\x93NUMPY\x01\x00", b"\x80\x04\x95."):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(FormatError):
            read_flame(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npy").read_bytes())
    with pytest.raises(FormatError, match="single array"):
        read_flame(tmp_path / "x.npz")


@pytest.mark.parametrize("reader", [read_livelink, read_arkit_json, read_flame])
def test_a_missing_file_is_named(tmp_path, reader):
    with pytest.raises(FormatError, match=r"no file '.*none\.x'"):
        reader(tmp_path / "none.x")


@pytest.mark.parametrize("reader", [read_livelink, read_arkit_json, read_flame])
def test_a_folder_and_an_empty_file_are_called_what_they_are(tmp_path, reader):
    with pytest.raises(FormatError, match=r"is a folder; expected .*Choose a file inside it"):
        reader(tmp_path)
    (tmp_path / "empty.x").touch()
    with pytest.raises(FormatError, match=r"empty\.x' is empty \(0 bytes\); expected .*again"):
        reader(tmp_path / "empty.x")


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(FormatError, match=r"\.csv \(Live Link Face take\), \.json .*; found '.bvh'"):
        read_motion(tmp_path / "x.bvh")
