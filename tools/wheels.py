# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the third-party wheels that the extension bundles, exactly as wheels/lock.json names them.

    python tools/wheels.py [--platform linux-x64] [--relock]

`--relock` looks the versions of VERSIONS up for every platform and Python and rewrites the lock. Standard library only.
"""

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "wheels"
LOCK = FOLDER / "lock.json"

# As in pyproject.toml, plus what those need. numpy is Blender's own: a second one in the shared site-packages breaks
# other extensions.
VERSIONS = {
    "cffi": "2.1.1",  # soundfile
    "flatbuffers": "25.12.19",  # onnxruntime
    "onnxruntime": "1.31.1",
    "packaging": "26.3",  # onnxruntime
    "protobuf": "7.36.2",  # onnxruntime
    "pycparser": "3.12",  # cffi
    "safetensors": "0.8.0",
    "soundfile": "0.14.0",
    "typing_extensions": "4.16.0",  # soundfile
}
PYTHONS = ("3.11", "3.13")
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": tuple(f"macosx_{v}_0_{a}" for v in (14, 13, 12, 11) for a in ("arm64", "universal2"))
    + ("macosx_10_9_universal2",),
}


def this_platform() -> str:
    """Blender's name of the platform this runs on."""
    system = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}.get(platform.system(), platform.system())
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x64"
    return f"{system}-{machine}"


def locked(name: str) -> list[dict[str, str]]:
    """The lock's entries for a platform, those for any platform included."""
    entries = json.loads(LOCK.read_text())["wheels"]
    found = [entry for entry in entries if entry["platform"] in (name, "any")]
    if not any(entry["platform"] == name for entry in found):
        known = sorted({entry["platform"] for entry in entries} - {"any"})
        raise SystemExit(f"wheels/lock.json has nothing for {name}; it has {', '.join(known)}.")
    return found


def bring(name: str) -> list[Path]:
    """The wheels of a platform in wheels/, downloaded where missing, each with the hash that the lock states."""
    paths = []
    for entry in locked(name):
        path = FOLDER / entry["file"]
        if not path.exists():
            print(f"  {entry['file']}", flush=True)
            tags = entry["file"].removesuffix(".whl").split("-")[-1].split(".")
            version = entry["python"] if entry["python"] != "any" else PYTHONS[0]
            _download(f"{entry['name']}=={entry['version']}", version, tags, FOLDER)
        if not path.exists():
            raise SystemExit(f"The package index did not give {entry['file']}, which wheels/lock.json names.")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != entry["sha256"]:
            path.unlink()
            raise SystemExit(f"{entry['file']}: sha256 {digest}, the lock says {entry['sha256']}. It was removed.")
        paths.append(path)
    _check_closed(paths)
    return paths


def _check_closed(paths: list[Path]) -> None:
    """Whatever a bundled wheel requires must be bundled too, but for numpy, which Blender brings."""
    names = {_normal(path.name.split("-")[0]) for path in paths} | {"numpy"}
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            lines = archive.read(name).decode("utf-8").splitlines()
        needs = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
        needs = [re.split(r"[ <>=!~;(\[]", need)[0] for need in needs if "extra ==" not in need]
        missing = [need for need in needs if _normal(need) not in names]
        if missing:
            raise SystemExit(f"{path.name} requires {', '.join(missing)}; add it to VERSIONS and relock.")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def relock() -> None:
    """Ask the package index for every wheel of VERSIONS and write its name and hash to the lock."""
    entries = {entry["file"]: entry for entry in _look_up()}
    wheels = sorted(entries.values(), key=lambda entry: (entry["name"], entry["platform"], entry["python"]))
    LOCK.write_text(json.dumps({"wheels": wheels}, indent=1) + "\n")


def _look_up() -> Iterator[dict[str, str]]:
    for name, version in VERSIONS.items():
        for system, tags in PLATFORMS.items():
            for python in PYTHONS:
                with tempfile.TemporaryDirectory() as folder:
                    _download(f"{name}=={version}", python, tags, Path(folder))
                    (path,) = Path(folder).glob("*.whl")
                    python_tag, abi, where = path.stem.split("-")[-3:]
                    one_python = abi not in ("none", "abi3") and python_tag.startswith("cp")
                    yield {
                        "name": name,
                        "version": version,
                        "file": path.name,
                        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                        "platform": "any" if where == "any" else system,
                        "python": python if one_python else "any",
                    }


def _download(requirement: str, python: str, tags: tuple[str, ...] | list[str], folder: Path) -> None:
    platforms = [] if "any" in tags else [part for tag in tags for part in ("--platform", tag)]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--python-version", python, *platforms, "--dest", str(folder), requirement,
    ]  # fmt: skip
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        raise SystemExit(f"The package index has no wheel of {requirement} for Python {python} on {', '.join(tags)}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--platform", default=this_platform())
    parser.add_argument("--relock", action="store_true")
    arguments = parser.parse_args()
    if arguments.relock:
        relock()
    for wheel in bring(arguments.platform):
        print(wheel.name)
