# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own wheels: what the lock says, what the libraries in dist/wheels are. Nothing here needs zig or an emulator."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from loquent.core.geometry.cameras import look_at
from loquent.core.splats import native
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

ROOT = Path(__file__).resolve().parent.parent
LOCK = json.loads((ROOT / "wheels" / "native.json").read_text())["wheels"]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared_library, build_native, cross = tool("shared_library"), tool("build_native"), tool("cross_wheels")
MADE = {name: wheel for name in cross.PLATFORMS if (wheel := cross.find(name))}
here = cross.wheels.this_platform()


def each_made():
    missing = [pytest.param(None, marks=pytest.mark.skip(reason="dist/wheels has none: dev.py wheels makes them"))]
    return pytest.mark.parametrize("name", sorted(MADE) or missing)


def cloud():
    rng = np.random.default_rng(3)
    return Gaussians(
        rng.normal(0, 0.08, (500, 3)).astype(np.float32),
        rng.normal(size=(500, 4)).astype(np.float32),
        rng.uniform(0.002, 0.02, (500, 3)).astype(np.float32),
        rng.uniform(0.01, 1, 500).astype(np.float32),
        rng.normal(0, 0.4, (500, 4, 3)).astype(np.float32),
    )


CAMERA = look_at((0.1, 0.05, 0.6), (0, 0, 0), width=97, height=70)


def test_the_lock_names_one_wheel_of_this_version_for_each_platform():
    assert [one["platform"] for one in LOCK] == list(cross.PLATFORMS)
    for one in LOCK:
        assert (one["name"], one["version"]) == ("loquent_splat", build_native.version())
        assert one["file"].endswith(f"-py3-none-{cross.PLATFORMS[one['platform']].tag}.whl")
        assert len(bytes.fromhex(one["sha256"])) == 32


def test_every_platform_that_the_extension_is_built_for_has_a_wheel():
    third_party = json.loads((ROOT / "wheels" / "lock.json").read_text())["wheels"]
    assert {one["platform"] for one in third_party} - {"any"} <= set(cross.PLATFORMS)


def test_the_header_declares_what_python_calls():
    assert {"splat_abi", "splat_forward", "splat_backward", "splat_carry"} <= cross.declared()
    source = (ROOT / "core" / "splats" / "native.py").read_text()
    called = {name for name in cross.declared() if f'"{name}"' in source or f".{name}(" in source}
    assert len(called) >= len(cross.declared()) - 1  # splat_pool_threads is for reports


def test_a_change_of_source_flags_or_compiler_changes_the_recipe(tmp_path):
    target = build_native.HERE
    (tmp_path / "a.cpp").write_text("int a;")
    first = build_native.recipe("zig 1", ["-s"], target, tmp_path)
    assert build_native.recipe("zig 1", ["-s"], target, tmp_path) == first
    assert build_native.recipe("zig 2", ["-s"], target, tmp_path) != first
    assert build_native.recipe("zig 1", ["-g"], target, tmp_path) != first
    (tmp_path / "a.cpp").write_text("int b;")
    assert build_native.recipe("zig 1", ["-s"], target, tmp_path) != first


def test_a_wheel_of_older_sources_is_not_taken(tmp_path, monkeypatch):
    library = tmp_path / cross.PLATFORMS["linux-x64"].target.library
    library.write_bytes(b"\x7fELF")
    monkeypatch.setattr(cross, "FOLDER", tmp_path)
    tag = cross.PLATFORMS["linux-x64"].tag
    wheel = build_native.write_wheel(library, tmp_path, tag, cross.recipe("linux-x64"))
    assert cross.find("linux-x64") == wheel
    build_native.write_wheel(library, tmp_path, tag, "of yesterday")
    assert cross.find("linux-x64") is None


def test_a_wheel_that_lacks_the_functions_is_refused(tmp_path):
    wheel = build_native.write_wheel(an_elf_without_functions(tmp_path), tmp_path, cross.PLATFORMS["linux-x64"].tag)
    with pytest.raises(SystemExit, match=r"exports .*splat_forward.* differently from splat\.h"):
        cross.inspect(wheel, "linux-x64")
    with pytest.raises(SystemExit, match="is for linux on x86_64"):
        cross.inspect(wheel, "linux-arm64")


def an_elf_without_functions(folder):
    header = bytearray(64)
    header[:4], header[18], header[58] = b"\x7fELF", 0x3E, 64
    path = folder / "libloquent_splat.so"
    path.write_bytes(header)
    return path


def test_another_kind_of_file_is_no_library():
    with pytest.raises(ValueError, match="expected ELF, PE or 64-bit Mach-O"):
        shared_library.read_shared_library(b"#!/bin/sh\n")


@pytest.mark.skipif(sys.platform != "linux", reason="the list of exports is for Linux")
def test_the_library_that_was_compiled_here_exports_the_header_and_nothing_else():
    stamp = native.BUILT.with_suffix(".sha256")
    if not stamp.is_file() or stamp.read_text() not in map(build_native._fingerprint, build_native.compilers()):
        pytest.skip("the library was not compiled from the sources as they are now")
    assert shared_library.read_shared_library(native.BUILT.read_bytes()).exports == cross.declared()


@each_made()
def test_each_wheel_exports_the_header_needs_only_the_system_and_is_small(name):
    library = cross.inspect(MADE[name], name)
    assert library.exports >= cross.declared() and not cross.lacks_or_adds(library)
    assert MADE[name].stat().st_size < 1_000_000


@each_made()
def test_each_wheel_has_the_hash_that_the_lock_says_for_its_sources(name):
    (entry,) = [one for one in LOCK if one["platform"] == name]
    if entry["recipe"] != cross.recipe(name):
        pytest.skip("wheels/native.json is of other sources: dev.py wheels brings it up to date")
    assert hashlib.sha256(MADE[name].read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.skipif(here not in MADE or native.library() is None, reason="no wheel of this platform in dist/wheels")
def test_the_wheel_of_this_platform_draws_the_picture_of_the_library_compiled_here(tmp_path):
    with zipfile.ZipFile(MADE[here]) as archive:
        archive.extractall(tmp_path)
    script = (
        "import sys, numpy as np, test_wheels as t\n"
        "t.native.BUILT = t.native.BUILT.with_name('absent')\n"
        "t.native.library.cache_clear()\n"
        "layers = t.rasterize(t.cloud(), t.CAMERA)\n"
        "assert t.native.library()._name.startswith(sys.argv[1]), t.native.library()\n"
        "np.savez(sys.argv[1] + '/picture.npz', colour=layers.colour, alpha=layers.alpha, depth=layers.depth)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-800:]
    picture, own = np.load(tmp_path / "picture.npz"), rasterize(cloud(), CAMERA)
    for field in ("colour", "alpha", "depth"):
        assert np.abs(picture[field] - getattr(own, field)).max() < 5e-6, field
