# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's two ends: the real child with the real boot, and fake children that misbehave."""

import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loquent.core import errors
from loquent.core.errors import AudioError, Cancelled, WorkerError
from loquent.core.worker import client, protocol
from loquent.core.worker.client import Launch, Worker, run

GREETING = f"""
import json, sys, time, os
settings = json.loads(sys.stdin.readline())
def say(**message):
    print(json.dumps(message), flush=True)
def hello(protocol={protocol.PROTOCOL}, version={protocol.VERSION!r}):
    say(type="hello", protocol=protocol, version=version, python="3")
def order():
    return json.loads(sys.stdin.readline())
"""


@pytest.fixture
def fake(tmp_path):
    """A Launch whose child runs the given lines instead of the real boot file."""

    def make(lines: str) -> Launch:
        path = tmp_path / "fake_boot.py"
        path.write_text(GREETING + lines)
        return Launch(boot=path)

    return make


def wait(worker: Worker, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not worker.poll():
        assert time.monotonic() < end, "no answer"
        time.sleep(0.01)


def test_a_message_survives_the_trip():
    line = protocol.encode("run", job="speak", arguments={"path": "/ä/声 x.wav", "fps": 23.976}, folder="C:\\x")
    assert line.endswith(b"\n") and line.isascii() and line.count(b"\n") == 1
    assert protocol.decode(line)["arguments"] == {"path": "/ä/声 x.wav", "fps": 23.976}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"Segmentation fault\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[1, 2]\n", "unknown type"),
        (b'{"type": "poem"}\n', "unknown type"),
        (b'{"type": "progress"}\n', "lacks fraction"),
    ],
)
def test_a_bad_line_is_refused_with_what_is_wrong(line, says):
    with pytest.raises(WorkerError, match=says):
        protocol.decode(line)


def test_arrays_and_values_come_back(fake):
    launch = fake("""
hello()
import numpy
folder = order()["folder"]
say(type="progress", fraction=0.5)
numpy.save(folder + "/a.npy", numpy.arange(6.0).reshape(2, 3))
say(type="result", values={"fps": 25}, files={"a": "a.npy"})
""")
    seen = []
    result = run(launch, "speak", {}, progress=seen.append)
    assert result.values == {"fps": 25}
    assert np.array_equal(result.arrays["a"], np.arange(6.0).reshape(2, 3))
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("hello(protocol=99)\ntime.sleep(9)", "protocol 99 .* Restart Blender"),
        ("hello(version='7.7.7')\ntime.sleep(9)", r"Loquent 7\.7\.7; expected"),
        ("print('banner of some library', flush=True)\ntime.sleep(9)", "not JSON"),
        ("hello()\nsay(type='run', job='x', arguments={}, folder='')\ntime.sleep(9)", "only its parent may say"),
        ("hello()\norder()\nraise ValueError('the deeper reason')", "code 1 .*(\n.*)*the deeper reason"),
        ("hello()\norder()\nsay(type='result', values={}, files={'a': 'gone.npy'})\ntime.sleep(9)", "cannot be read"),
        ("sys.exit(3)", "ended with code 3"),
        (
            "print('W0000 00:01 x.cc:1] Feedback manager\\nthe deeper reason', file=sys.stderr); sys.exit(3)",
            r"words:\nthe deeper",
        ),
    ],
)
def test_a_child_that_misbehaves_becomes_one_clear_error(fake, lines, says):
    started = time.monotonic()
    with pytest.raises(WorkerError, match=says):
        run(fake(lines), "speak", {})
    assert time.monotonic() - started < 10


def test_a_python_that_is_none_is_named(fake, tmp_path):
    launch = replace(fake("print('usage: ls'); sys.exit(2)"), executable=sys.executable)
    with pytest.raises(
        WorkerError,
        match=rf"'{re.escape(sys.executable)}' does not work as the worker's Python: .*not JSON(.|\n)*interpreter",
    ):
        run(launch, "speak", {})
    with pytest.raises(WorkerError, match=r"is a folder\. Choose the interpreter in it"):
        run(replace(launch, executable=str(tmp_path)), "speak", {})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_child_killed_half_way_is_an_error_that_says_so(fake):
    worker = Worker(fake("hello()\nsay(type='progress', fraction=0.5)\ntime.sleep(60)"), "speak", {})
    try:
        while worker.fraction < 0.5:
            worker.poll()
            time.sleep(0.01)
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"was killed .signal 9.*nothing was changed"):
            wait(worker)
    finally:
        worker.close()


def test_a_child_that_ignores_everything_is_ended_in_bounded_time(fake):
    worker = Worker(fake("import signal\nhello()\nwhile True: time.sleep(1)"), "speak", {})
    while not worker._greeted:
        worker.poll()
    started = time.monotonic()
    worker.close()
    worker.close()
    assert time.monotonic() - started < client.QUIT_SECONDS + 3
    assert worker._process.poll() is not None
    assert not Path(worker._folder.name).exists()


def test_a_child_that_never_greets_is_given_up(fake, monkeypatch):
    monkeypatch.setattr(client, "HELLO_SECONDS", 0.3)
    with pytest.raises(WorkerError, match="did not answer"):
        run(fake("time.sleep(60)"), "speak", {})


def test_cancelling_ends_the_job_and_is_no_failure(fake):
    worker = Worker(fake("hello()\norder()\nassert order()['type'] == 'cancel'\nsay(type='cancelled')"), "speak", {})
    worker.cancel()
    with pytest.raises(Cancelled):
        wait(worker)


def test_a_progress_callback_may_cancel(fake):
    def stop(_: float) -> None:
        raise Cancelled("Esc")

    with pytest.raises(Cancelled, match="Esc"):
        run(fake("hello()\ntime.sleep(60)"), "speak", {}, progress=stop)


def test_an_interpreter_that_does_not_exist_is_named():
    with pytest.raises(WorkerError, match=r"/no/such/python.*preferences"):
        Worker(Launch(executable="/no/such/python"), "speak", {})


def test_errors_of_the_job_arrive_as_their_own_class(fake):
    with pytest.raises(AudioError, match="too quiet"):
        run(fake("hello()\norder()\nsay(type='error', kind='AudioError', message='too quiet')"), "speak", {})
    with pytest.raises(WorkerError, match="odd"):
        run(fake("hello()\norder()\nsay(type='error', kind='OddError', message='odd')"), "speak", {})
    assert issubclass(AudioError, errors.LoquentError)


def test_the_real_child_answers_a_missing_recording_with_the_readers_message(tmp_path):
    arguments = {
        "pieces": [{"path": str(tmp_path / "no such file.wav"), "at": 0.0}],
        "fps": 25.0,
        "seed": 0,
        "controls": {},
    }
    with pytest.raises(AudioError, match=r"no such file\.wav"):
        run(Launch(), "speak", arguments)


def test_the_real_child_never_imports_blender_or_torch(tmp_path):
    """Its modules are listed by a job that exists in this test only, planted beside the real ones."""
    boot = tmp_path / "boot.py"
    real = client.BOOT
    boot.write_text(
        "import sys, runpy, atexit\n"
        f"source = open({str(real)!r}).read().replace('__file__', repr({str(real)!r}))\n"
        "sys.argv[0] = 'boot'\n"
        "import os\nleave = os._exit\n"
        "def listed(code):\n"
        "    heavy = [m for m in ('bpy', 'torch', 'loquent') if m in sys.modules]\n"
        "    print('HEAVY', heavy, file=sys.stderr, flush=True)\n    leave(code)\n"
        "os._exit = listed\n"
        "exec(compile(source, 'boot.py', 'exec'), {'__name__': '__main__'})\n"
    )
    arguments = {"pieces": [{"path": str(tmp_path / "none.wav"), "at": 0.0}], "fps": 25.0, "seed": 0, "controls": {}}
    worker = Worker(Launch(boot=boot), "speak", arguments)
    with pytest.raises(AudioError):
        wait(worker)
    assert "HEAVY []" in list(worker._stderr)


def test_the_rasteriser_reaches_a_worker_of_another_python_and_other_wheels_do_not(tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "loquent_splat").mkdir(parents=True)
    (site / "loquent_splat" / "__init__.py").write_text("LIBRARY = 'here'")
    (site / "flatbuffers").mkdir()
    monkeypatch.syspath_prepend(str(site))
    boot, told = tmp_path / "boot.py", tmp_path / "told"
    ask = (
        f"import loquent_splat; Path({str(told)!r}).write_text(loquent_splat.LIBRARY + str({str(site)!r} in sys.path))"
    )
    text = client.BOOT.read_text(encoding="utf-8").replace("Path(__file__)", f"Path({str(client.BOOT)!r})")
    text = text.replace('== settings["python"]', "== [2, 7]").replace(
        "    return importlib", f"    {ask}\n    return importlib"
    )
    boot.write_text(text, encoding="utf-8")
    run(Launch(boot=boot), "about", {})
    assert told.read_text() == "hereFalse"


def test_a_cache_gives_back_what_was_kept_and_nothing_for_anything_else(tmp_path):
    from loquent.core.prior.mouth import OUTPUTS
    from loquent.core.prior.perform import Raw
    from loquent.core.worker.cache import Cache, key_of

    rng = np.random.default_rng(0)
    raw = Raw(rng.random((20, len(OUTPUTS))).astype("f"), rng.random(10).astype("f"), np.full(10, np.nan, "f"), 0.2)
    samples = rng.random(1600).astype("f")
    style = tmp_path / "a.style"
    style.write_bytes(b"a")
    keys = {key_of(samples, 0, None), key_of(samples, 1, None), key_of(samples[1:], 0, None), key_of(samples, 0, style)}
    style.write_bytes(b"b")
    keys.add(key_of(samples, 0, style))
    assert len(keys) == 5
    key = keys.pop()
    cache = Cache(tmp_path / "größe 声", 1e6)
    assert cache.find(key) is None
    cache.keep(key, raw, [(0.0, 0.1, "PP")])
    found = cache.find(key)
    assert found and np.array_equal(found[0].curves, raw.curves) and found[1] == [(0.0, 0.1, "PP")]
    assert cache.find(keys.pop()) is None and Cache(None, 1e6).find(key) is None
    (tmp_path / "größe 声" / f"{key}.speech").write_bytes(b"damaged")
    assert cache.find(key) is None
    Cache(tmp_path / "none", 0).keep(key, raw, [])
    assert not (tmp_path / "none").exists()
    blocked = tmp_path / "a file"
    blocked.write_text("")
    Cache(blocked / "cache", 1e6).keep(key, raw, [])  # cannot be made, and nobody is told


def test_a_cache_holds_no_more_than_it_may_and_loses_the_oldest(tmp_path):
    from loquent.core.worker.cache import trim

    for i in range(4):
        (tmp_path / f"{i}.bin").write_bytes(bytes(100))
        os.utime(tmp_path / f"{i}.bin", (i, i))
    assert trim(tmp_path, 250) == 200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2.bin", "3.bin"]
    assert trim(tmp_path / "none", 0) == 0


def test_cuda_asked_for_where_there_is_none_is_told(tmp_path):
    from loquent.core.worker.jobs import about

    try:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a card")
    except ImportError:
        pass
    with pytest.raises(WorkerError, match="NVIDIA CUDA is chosen"):
        about({"device": "CUDA"}, tmp_path, lambda _: None)
    assert about({"device": "CPU"}, tmp_path, lambda _: None)[0]["device"]
