# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line without Blender: what it writes, and what it says about bad input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loquent.addon.cli import main
from loquent.core.head.livelink import read_livelink

SAMPLE = Path(__file__).resolve().parent.parent / "sample_scenes" / "voice_ada.flac"


def test_speaking_to_a_csv_gives_one_frame_a_frame_of_sound(tmp_path, capsys):
    assert main(["speak", str(SAMPLE), "--csv", str(tmp_path / "take.csv"), "--fps", "30"]) == 0
    motion = read_livelink(tmp_path / "take.csv")
    seconds = soundfile.info(SAMPLE).duration
    assert motion.fps == 30 and abs(motion.seconds - seconds) < 2 / 30
    assert motion.column("jawOpen").max() > 0.1
    assert "take.csv" in capsys.readouterr().out


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(["speak", str(SAMPLE), "--csv", str(tmp_path / f"{name}.csv"), "--seed", seed]) == 0
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speak", "none.wav", "--csv", "take.csv"], "none.wav"),
        (["speak", str(SAMPLE)], "Nothing to write: give at least one of --out"),
        (["speak", str(SAMPLE), "--csv", "take.txt"], "should end in .csv; found '.txt'"),
        (["speak", str(SAMPLE), "--csv", "file/take.csv"], "Choose a folder you may write to"),
        (["speak", str(SAMPLE), "--csv", "take.csv", "--head", "eve"], "There is no head 'eve'"),
        (["info", "none.loq"], "There is no head 'none.loq'"),
        (["info", "none.csv"], "There is no file 'none.csv'"),
    ],
)
def test_bad_input_gives_one_message_and_writes_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("loquent: ") == 1 and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("value", ["0", "x", "nan", "1000"])
def test_an_impossible_rate_is_refused_with_the_range(value, capsys):
    with pytest.raises(SystemExit):
        main(["speak", "x.wav", "--fps", value])
    assert "expected a number from 1 to 240" in capsys.readouterr().err


def test_info_tells_of_recordings_takes_and_heads(tmp_path, capsys):
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(8000) / 9) * 0.5, 16000)
    assert main(["info", str(tmp_path / "tone.wav")]) == 0
    assert main(["speak", str(tmp_path / "tone.wav"), "--csv", str(tmp_path / "take.csv")]) == 0
    assert main(["info", str(tmp_path / "take.csv")]) == 0
    assert main(["info", "ada"]) == 0
    assert main(["heads"]) == 0
    said = capsys.readouterr().out
    for part in ("recording, 0.50 s", "Live Link Face take", "head 'ada'", "licence", "bruno"):
        assert part in said, part


def test_info_tells_of_a_splat_file_and_refuses_another(tmp_path, capsys):
    from loquent.core.splats.gaussians import Gaussians
    from loquent.core.splats.ply import write_ply

    ones = np.ones((7, 3), np.float32)
    write_ply(Gaussians(ones, np.ones((7, 4), np.float32), ones, ones[:, 0] / 2, ones[:, None]), tmp_path / "a.ply")
    assert main(["info", str(tmp_path / "a.ply")]) == 0
    assert "7 Gaussians, SH degree 0, free" in capsys.readouterr().out
    (tmp_path / "b.ply").write_text("ply\n")
    assert main(["info", str(tmp_path / "b.ply")]) == 1
    assert "b.ply" in capsys.readouterr().err


def test_the_command_line_loads_neither_blender_nor_torch_for_a_motion_file(tmp_path):
    code = (
        "import sys; from loquent.addon.cli import main; "
        f"assert main(['speak', {str(SAMPLE)!r}, '--csv', {str(tmp_path / 't.csv')!r}]) == 0; "
        "sys.exit(any(m in sys.modules for m in ('bpy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        main(["speak", "--help"])
    said = capsys.readouterr().out
    assert "examples:" in said and "--head NAME" in said and "--render FILE.mp4" in said
