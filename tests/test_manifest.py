# SPDX-License-Identifier: GPL-3.0-or-later
import json
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = tomllib.loads((ROOT / "blender_manifest.toml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_manifest_and_project_agree_on_name_version_and_licence():
    assert MANIFEST["id"] == PROJECT["project"]["name"]
    assert MANIFEST["version"] == PROJECT["project"]["version"]
    assert MANIFEST["license"] == ["SPDX:" + PROJECT["project"]["license"]]


def test_permission_reasons_and_tagline_are_short_as_blender_demands():
    for text in (MANIFEST["tagline"], *MANIFEST["permissions"].values()):
        assert len(text) <= 64 and text[-1].isalnum(), text
    assert "network" not in MANIFEST["permissions"]


def test_the_locked_wheels_are_the_pinned_versions_and_never_numpy_or_torch():
    locked = {
        (wheel["name"], wheel["version"]) for wheel in json.loads((ROOT / "wheels/lock.json").read_text())["wheels"]
    }
    pinned = {tuple(re.split("==|;", text)[:2]) for text in PROJECT["project"]["dependencies"]}
    pinned = {(name.strip(), version.strip()) for name, version in pinned if name != "numpy"}
    assert pinned <= locked
    assert not {"numpy", "torch"} & {name for name, _ in locked}


def test_every_supported_python_of_a_locked_platform_has_each_wheel():
    wheels = json.loads((ROOT / "wheels/lock.json").read_text())["wheels"]
    for platform in {wheel["platform"] for wheel in wheels} - {"any"}:
        for name in {wheel["name"] for wheel in wheels}:
            pythons = {w["python"] for w in wheels if w["name"] == name and w["platform"] in (platform, "any")}
            assert "any" in pythons or pythons == {"3.11", "3.13"}, (platform, name, pythons)


def test_every_package_of_the_source_tree_is_installed():
    named = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        ".".join(["loquent", *path.parent.relative_to(ROOT).parts])
        for top in ("addon", "core")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert named == found | {"loquent"}


def test_the_tracked_tree_stays_small():
    if not (ROOT / ".git").exists():
        return
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    size = sum((ROOT / name).stat().st_size for name in names if name and (ROOT / name).is_file())
    assert size < 50e6, f"{size / 1e6:.1f} MB are tracked"
