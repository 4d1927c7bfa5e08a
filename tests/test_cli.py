# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line without Blender: what it writes, and what it says about bad input."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loquent.addon.cli import main
from loquent.core.assets import DATA
from loquent.core.head.arkit_json import read_arkit_json
from loquent.core.head.livelink import read_livelink

SAMPLE = Path(__file__).resolve().parent.parent / "sample_scenes" / "voice_ada.flac"
JAMES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "lam_heads" / "openavatarchat_james.zip"


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
        (["speak", str(SAMPLE), "--json", "take.csv"], "should end in .json; found '.csv'"),
        (
            ["speak", str(SAMPLE), "--csv", "take.csv", "--style", "none.style"],
            "expected a loquent-style file, found nothing",
        ),
        (["phones", str(SAMPLE), "-o", "take.doc"], "should end in .json or .csv or .txt; found '.doc'"),
        (["phones", "none.wav"], "none.wav"),
        (["convert", "none.csv", "take.json"], "There is no file 'none.csv'"),
        (["convert", "take.bvh", "take.json"], "motion files are .csv (Live Link Face take)"),
        (["convert", "none.csv", "take.bvh"], "should end in .csv or .json or .npz; found '.bvh'"),
        (["fit-voice", str(SAMPLE), "none.csv", "-o", "a.style"], "There is no file 'none.csv'"),
        (["fit-voice", str(SAMPLE), "none.csv", "-o", "a.txt"], "should end in .style"),
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


def test_info_tells_of_heads_of_other_kinds(tmp_path, capsys):
    shutil.copyfile(DATA / "head.npz", tmp_path / "own.head.npz")
    assert main(["info", str(tmp_path / "own.head.npz")]) == 0
    assert "parametric head" in capsys.readouterr().out
    (tmp_path / "a.zip").write_bytes(b"none")
    assert main(["info", str(tmp_path / "a.zip")]) == 1
    assert "a.zip" in capsys.readouterr().err
    if JAMES.is_file():
        assert main(["info", str(JAMES)]) == 0
        assert "LAM head, " in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--mood", "bored=1"], "'bored=1' is not a mood; expected one of neutral, happy"),
        (["--mood", "happy=2"], "'2' is not a number from 0 to 1"),
        (["--jaw", "9"], "'9' is not a number from 0 to 2"),
        (["--blink-rate", "x"], "'x' is not a number from 0 to 60"),
        (["--delay", "5000"], "'5000' is not a number from -1000 to 1000"),
        (["--smoothing", "nan"], "is not a number from 0 to 200"),
    ],
)
def test_an_option_out_of_range_is_refused_with_the_range(option, message, capsys):
    with pytest.raises(SystemExit):
        main(["speak", "x.wav", "--csv", "x.csv", *option])
    assert message in capsys.readouterr().err


def test_every_control_is_an_option_and_arrives(monkeypatch):
    from loquent.addon import cli, cli_voice
    from loquent.core.prior.controls import MOODS, RANGES, Controls

    given = cli.parser().parse_args(
        "speak x.wav --articulation 0.5 --jaw 0.6 --lips 0.7 --mouth-only --blink-rate 9 --gaze 0.8 --brows 0.9 --head-motion 1.1 "
        "--nods 1.2 --breathing 1.3 --mood happy=0.6,sad=0.1 --mood angry --delay -40 --smoothing 30".split()
    )
    found = cli_voice.controls(given)
    wanted = Controls(
        articulation=0.5, jaw=0.6, lips=0.7, mouth_only=True, blink_rate=9, gaze=0.8, brows=0.9, head_motion=1.1, nods=1.2,
        breathing=1.3, happy=0.6, sad=0.1, angry=1.0, delay_seconds=-0.04, smoothing=0.03,
    )  # fmt: skip
    assert all(getattr(found, n) == pytest.approx(getattr(wanted, n)) for n in RANGES)
    plain = cli_voice.controls(cli.parser().parse_args(["speak", "x.wav"]))
    assert plain == Controls() and set(MOODS) < set(RANGES)


def test_controls_change_the_file_that_is_written(tmp_path):
    base = ["speak", str(SAMPLE), "--fps", "30", "--json"]
    assert main([*base, str(tmp_path / "plain.json")]) == 0
    assert main([*base, str(tmp_path / "happy.json"), "--mood", "happy=1", "--blink-rate", "0", "--jaw", "0.5"]) == 0
    plain, happy = (read_arkit_json(tmp_path / f"{n}.json") for n in ("plain", "happy"))
    assert happy.column("mouthSmileLeft").mean() > plain.column("mouthSmileLeft").mean() + 0.2
    assert happy.column("jawOpen").max() < 0.7 * plain.column("jawOpen").max()
    assert not happy.column("eyeBlinkLeft").any() and plain.column("eyeBlinkLeft").max() > 0.8


def test_a_motion_goes_through_all_formats_and_back(tmp_path, capsys):
    take = tmp_path / "take.csv"
    assert main(["speak", str(SAMPLE), "--csv", str(take), "--npz", str(tmp_path / "take.npz"), "--fps", "30"]) == 0
    for source, target in (("take.csv", "a.json"), ("a.json", "b.npz"), ("b.npz", "c.csv")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
    assert "Live Link Face take" in capsys.readouterr().out
    assert np.abs(read_livelink(tmp_path / "c.csv").values - read_livelink(take).values).max() < 1e-5
    assert main(["convert", str(take), str(tmp_path / "sixty.csv"), "--fps", "60"]) == 0
    assert read_livelink(tmp_path / "sixty.csv").fps == 60
    assert main(["info", str(tmp_path / "b.npz")]) == 0
    assert "FLAME parameters" in capsys.readouterr().out


def test_a_voice_is_fitted_and_spoken_with(tmp_path, capsys):
    """The sample's own motion with a wider jaw: the style that is learned from it widens the jaw of the next line."""
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 2), rate)
    voice, take, style = (str(tmp_path / n) for n in ("long.wav", "take.csv", "anna.style"))
    assert main(["speak", voice, "--csv", take, "--jaw", "1.6", "--fps", "60"]) == 0
    assert main(["fit-voice", voice, take, "-o", style, "--consent", "Anna agreed"]) == 0
    said = capsys.readouterr().out
    assert "in the default style" in said and "fitted" in said
    assert main(["info", style]) == 0
    assert "consent: Anna agreed" in capsys.readouterr().out
    assert main(["speak", str(SAMPLE), "--csv", str(tmp_path / "a.csv")]) == 0
    assert main(["speak", str(SAMPLE), "--csv", str(tmp_path / "b.csv"), "--style", style]) == 0
    assert "another speech model" not in capsys.readouterr().err
    plain, anna = (read_livelink(tmp_path / n).column("jawOpen") for n in ("a.csv", "b.csv"))
    assert anna.mean() > 1.2 * plain.mean()


def test_motion_of_another_recording_is_not_fitted(tmp_path, capsys):
    take = str(tmp_path / "take.csv")
    assert main(["speak", str(SAMPLE.with_name("voice_bruno.flac")), "--csv", take, "--fps", "60"]) == 0
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 2), rate)
    capsys.readouterr()
    assert main(["fit-voice", str(tmp_path / "long.wav"), take, "-o", str(tmp_path / "x.style")]) == 1
    said = capsys.readouterr().err
    assert "does not follow the recording" in said or "expected at least 8 s" in said
    assert not (tmp_path / "x.style").exists()


def test_output_that_nobody_reads_on_is_no_error():
    """`loquent phones line.wav | head -1`: the pipe is closed before the last line."""
    code = "import sys; from loquent.addon.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, "phones", str(SAMPLE)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout and child.stderr
        child.stdout.close()
        said = child.stderr.read().decode()
    assert child.returncode == 0 and "Traceback" not in said and "BrokenPipe" not in said
