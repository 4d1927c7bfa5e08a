# SPDX-License-Identifier: GPL-3.0-or-later
"""The native library: found, built, wheeled, and safe to call from several threads."""

import ctypes
import hashlib
import importlib.util
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from loquent.core.errors import Cancelled, RasterError
from loquent.core.geometry.cameras import look_at
from loquent.core.splats import native
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

ROOT = Path(__file__).resolve().parent.parent
needs_library = pytest.mark.skipif(native.library() is None, reason="no native library was built here")


def build_native():
    spec = importlib.util.spec_from_file_location("build_native", ROOT / "tools" / "build_native.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cloud(count, seed=0, size=0.02):
    rng = np.random.default_rng(seed)
    return Gaussians(
        rng.normal(0, 0.08, (count, 3)).astype(np.float32),
        rng.normal(size=(count, 4)).astype(np.float32),
        rng.uniform(0.1 * size, size, (count, 3)).astype(np.float32),
        rng.uniform(0.01, 1, count).astype(np.float32),
        rng.normal(0, 0.4, (count, 4, 3)).astype(np.float32),
    )


def test_the_build_and_the_loader_agree_on_where_the_library_lies():
    build = build_native()
    assert build.build_folder() / build.LIBRARY == native.BUILT.resolve()


@needs_library
def test_a_second_build_finds_nothing_to_do():
    build = build_native()
    if not build.compilers():
        pytest.skip("no compiler")
    first = build.build(quiet=True)
    before = first.stat().st_mtime_ns
    assert build.build(quiet=True).stat().st_mtime_ns == before


@needs_library
def test_the_wheel_is_reproducible_small_and_keeps_a_true_record(tmp_path):
    build = build_native()
    wheels = [build.write_wheel(native.BUILT, tmp_path / name) for name in "ab"]
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    assert wheels[0].stat().st_size < 1_000_000
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
        record = next(name for name in names if name.endswith("RECORD"))
        rows = [line.split(",") for line in archive.read(record).decode().splitlines()]
        assert [row[0] for row in rows] == names
        for name, digest, size in rows[:-1]:
            data = archive.read(name)
            assert int(size) == len(data)
            assert digest == f"sha256={build._urlsafe(data)}"
            assert hashlib.sha256(data).digest_size == 32


@needs_library
def test_an_installed_wheel_is_found_where_there_is_no_checkout_build(tmp_path, monkeypatch):
    wheel = build_native().write_wheel(native.BUILT, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(native, "BUILT", tmp_path / "absent.so")
    try:
        assert [path.parent.name for path in native._candidates()] == ["loquent_splat"]
    finally:
        sys.modules.pop("loquent_splat", None)


@needs_library
def test_a_library_of_another_version_is_not_used_and_the_log_says_what_to_do(monkeypatch, caplog):
    monkeypatch.setattr(native, "ABI", native.ABI + 1)
    assert native.library.__wrapped__() is None
    assert f"expected interface {native.ABI}; found {native.ABI - 1}" in caplog.text
    assert "build_native.py" in caplog.text


@needs_library
def test_the_structures_have_the_sizes_that_the_header_gives_them():
    # a 64-bit C compiler lays them out so; a field added on one side only shows here
    assert ctypes.sizeof(native.Scene) == 64
    assert ctypes.sizeof(native.View) == 152
    assert ctypes.sizeof(native.Image) == 48
    assert ctypes.sizeof(native.Gradients) == 64


@needs_library
def test_many_threads_calling_at_once_get_the_pictures_they_would_get_alone():
    clouds = [cloud(400 + 37 * k, seed=k) for k in range(6)]
    cameras = [look_at((0.1 * k, 0.05, 0.6), (0, 0, 0), width=90 + 13 * k, height=70) for k in range(6)]
    alone = [rasterize(g, c) for g, c in zip(clouds, cameras, strict=True)]
    wrong = []

    def work(k):
        for _ in range(15):
            layers = rasterize(clouds[k], cameras[k])
            if not np.array_equal(layers.colour, alone[k].colour) or not np.array_equal(layers.depth, alone[k].depth):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_library
def test_a_set_flag_stops_the_frame():
    g, camera = cloud(200), look_at((0, 0, 0.6), (0, 0, 0), width=64, height=64)
    colour, alpha = np.empty((64, 64, 3), np.float32), np.empty((64, 64), np.float32)
    scene = native.scene_of(g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)
    flag = ctypes.c_int32(1)
    image = native.Image(native.pointer(colour), native.pointer(alpha), None)
    with native.borrowed_context() as context, pytest.raises(Cancelled):
        context.forward(native.pool(2), scene, native.view_of(camera, cancel=ctypes.addressof(flag)), image)


@needs_library
def test_another_thread_stops_a_frame_and_the_next_frame_is_whole():
    g, camera = cloud(20_000, size=0.3), look_at((0, 0, 0.6), (0, 0, 0), width=2000, height=2000)
    want = rasterize(cloud(50), look_at((0, 0, 0.6), (0, 0, 0), width=64, height=64)).colour
    flag = native.CancelFlag()
    timer = threading.Timer(0.05, flag.set)
    timer.start()
    with pytest.raises(Cancelled):
        for _ in range(1000):  # minutes of work
            rasterize(g, camera, cancel=flag)
    timer.join()
    flag.clear()
    assert np.array_equal(
        rasterize(cloud(50), look_at((0, 0, 0.6), (0, 0, 0), width=64, height=64), cancel=flag).colour, want
    )


def test_the_slow_path_is_stopped_by_the_same_flag(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    flag = native.CancelFlag()
    flag.set()
    with pytest.raises(Cancelled):
        rasterize(cloud(50), look_at((0, 0, 0.6), (0, 0, 0), width=64, height=64), cancel=flag)


@needs_library
def test_a_backward_pass_without_its_forward_pass_is_refused():
    g, camera = cloud(20), look_at((0, 0, 0.6), (0, 0, 0), width=32, height=32)
    scene = native.scene_of(g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)
    picture, flat = np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.float32)
    image = native.Image(native.pointer(picture), native.pointer(flat), None)
    outs = [np.zeros_like(a) for a in (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)]
    out = native.Gradients(*map(native.pointer, outs), None)
    with pytest.raises(RasterError, match="forward pass"):
        native.Context().backward(native.pool(1), scene, native.view_of(camera), image, image, out)


@needs_library
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_process_draws_the_same_picture():
    script = (
        "import os, sys, numpy as np\n"
        "from loquent.tests.test_native import cloud, look_at, rasterize\n"
        "g, c = cloud(300), look_at((0, 0, .6), (0, 0, 0), width=80, height=60)\n"
        "want = rasterize(g, c).colour\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(0 if np.array_equal(rasterize(g, c).colour, want) else 3)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    path = ":".join(p for p in sys.path if p)
    code = script.replace("loquent.tests.test_native", "test_native")
    env = {"PYTHONPATH": f"{Path(__file__).parent}:{path}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, timeout=60, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-500:]
