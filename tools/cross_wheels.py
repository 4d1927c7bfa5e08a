# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile the rasteriser's wheel for every platform, on this one, into dist/wheels/; standard library only.

    python tools/cross_wheels.py [--platform NAME ...]     compile what changed, check it, write wheels/native.json
    python tools/cross_wheels.py --check                   compile all again; every hash must be that of native.json
    python tools/cross_wheels.py --run                     draw with each library, here or under an emulator

The compiler is zig's from the package index (412 MB in .venv-zig; it brings the headers and C++ library of every
system). The same sources give the same bytes, whatever the folder and the state of zig's cache. --run draws with qemu-user for ARM Linux and with wine for
Windows where they are installed (Debian: qemu-user-static libc6-arm64-cross wine64 wine).
"""

import argparse
import array
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))
import build_native  # noqa: E402
from shared_library import SharedLibrary, read_shared_library  # noqa: E402

import wheels  # noqa: E402

ZIG = "0.15.2"
FOLDER = ROOT / "dist" / "wheels"
LOCK = ROOT / "wheels" / "native.json"
LARGEST = 1_000_000

# also when linking. Without -O3 zig links for debugging, and a DLL then holds the time; no debug information: it would
# name the folders of zig's own sources
COMPILE = ["-O3", "-g0", "-ffile-prefix-map=.=loquent_splat"]
GLIBC = r"lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-.*"


@dataclass(frozen=True)
class Platform:
    target: build_native.Target
    triple: str
    """As zig names it, with the oldest system that the library must load on."""
    tag: str
    """As wheels name it."""
    link: tuple[str, ...]
    needs: str
    """Pattern of the system's libraries that may be loaded with ours: there is nothing else to install."""


LINUX = ("-shared", "-pthread", build_native.EXPORTS, "-Wl,--gc-sections", "-Wl,--build-id=none", "-s")
WINDOWS = ("-shared", "-s", "-Wl,-Brepro")
MACOS = ("-dynamiclib", "-s", "-Wl,-install_name,@rpath/libloquent_splat.dylib")
PLATFORMS = {  # Blender's names
    "linux-x64": Platform(
        build_native.Target("linux", "x86_64"), "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", LINUX, GLIBC
    ),
    "linux-arm64": Platform(
        build_native.Target("linux", "aarch64"), "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", LINUX, GLIBC
    ),
    "windows-x64": Platform(
        build_native.Target("win32", "amd64"), "x86_64-windows-gnu", "win_amd64", WINDOWS,
        r"(?i)(kernel32|ntdll|api-ms-win-crt-.*)\.dll",
    ),
    "macos-arm64": Platform(
        build_native.Target("darwin", "arm64"), "aarch64-macos.11.0", "macosx_11_0_arm64", MACOS, r"/usr/lib/libSystem.*"
    ),
    "macos-x64": Platform(
        build_native.Target("darwin", "x86_64"), "x86_64-macos.11.0", "macosx_11_0_x86_64", MACOS, r"/usr/lib/libSystem.*"
    ),
}  # fmt: skip


# ---- what a wheel should be


def recipe(name: str) -> str:
    """Hash of all that decides the bytes of this platform's wheel."""
    one = PLATFORMS[name]
    flags = [one.triple, *COMPILE, *one.link, one.tag, build_native.version()]
    return build_native.recipe(f"ziglang {ZIG}", flags, one.target)


def find(name: str) -> Path | None:
    """This platform's wheel in dist/wheels, if it was made from the sources as they are now."""
    if name not in PLATFORMS:
        return None
    wheel = FOLDER / f"loquent_splat-{build_native.version()}-py3-none-{PLATFORMS[name].tag}.whl"
    if not wheel.is_file() or f'RECIPE = "{recipe(name)}"' not in _member(wheel, "__init__.py").decode():
        return None
    return wheel


def declared() -> frozenset[str]:
    """The functions of the C ABI."""
    header = (build_native.SOURCES / "splat.h").read_text()
    return frozenset(re.findall(r"^SPLAT_API\b[^;(]*?(\w+)\(", header, re.MULTILINE))


def lacks_or_adds(library: SharedLibrary) -> frozenset[str]:
    """Functions of the C ABI that a library does not export, and what it exports besides."""
    different = library.exports ^ declared()
    if library.system != "darwin":
        return different
    # zig's linker for macOS knows no list of exports; operator new and delete of the C++ library are hidden nowhere
    return frozenset(one for one in different if not re.fullmatch(r"_Z(nw|na|dl|da)\w+|__dso_handle|_mh_\w+", one))


def inspect(wheel: Path, name: str) -> SharedLibrary:
    """The library in a wheel; SystemExit where it would not work on this platform, or is too large."""
    one = PLATFORMS[name]
    data = _member(wheel, one.target.library)
    library = read_shared_library(data)
    strange = sorted(need for need in library.needs if not re.fullmatch(one.needs, need))
    newest = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", data)), default=0)
    machine = "x86_64" if one.target.x86 else "aarch64"
    problems = {
        f"is for {library.system} on {library.machine}": (library.system, library.machine)
        != (one.target.system, machine),
        f"exports {sorted(lacks_or_adds(library))} differently from splat.h": bool(lacks_or_adds(library)),
        "has no signature, which this system asks of every library": name == "macos-arm64" and not library.signed,
        f"needs {strange}": bool(strange),
        f"needs glibc 2.{newest}": newest > 17,
        f"is larger than {LARGEST:,} bytes": wheel.stat().st_size >= LARGEST,
        "names a folder of this machine": any(root in data for root in (b"/root/", b"/home/", os.fsencode(ROOT))),
    }
    if wrong := [problem for problem, found in problems.items() if found]:
        raise SystemExit(f"{wheel.name} {'; '.join(wrong)}.")
    return library


def _member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"loquent_splat/{name}")


# ---- making them


def zig() -> list[str]:
    """Command of the pinned compiler, installed on first use into an environment of its own."""
    folder = ROOT / ".venv-zig"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [str(python), "-m", "ziglang"]
    if python.exists():
        found = subprocess.run([*command, "version"], capture_output=True, text=True)
        if found.stdout.strip() == ZIG:
            return command
    print(f"Installing ziglang {ZIG} into {folder.name} …", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--only-binary=:all:", f"ziglang=={ZIG}"], check=True)
    return command


def make(name: str, folder: Path) -> Path:
    """Compile and pack one platform's wheel. The first one of a platform takes minutes: zig builds its C++ library."""
    one = PLATFORMS[name]
    with tempfile.TemporaryDirectory() as scratch:
        # a copy: sources that change during the minutes of a build must not be mixed
        sources = shutil.copytree(
            build_native.SOURCES, Path(scratch) / "native", ignore=shutil.ignore_patterns("build")
        )
        wanted = recipe(name)
        library = Path(scratch) / one.target.library
        compiler = [*zig(), "c++", "-target", one.triple]
        try:
            build_native.compile_library(compiler, library, COMPILE, one.link, one.target, sources)
        except subprocess.CalledProcessError as failure:
            raise SystemExit(f"{failure.stderr}\nzig could not compile the rasteriser for {name}.") from failure
        if recipe(name) != wanted:
            raise SystemExit("The rasteriser's sources changed while they were compiled; run this again.")
        for older in folder.glob(f"loquent_splat-*-{one.tag}.whl"):
            older.unlink()
        return build_native.write_wheel(library, folder, one.tag, wanted)


def entry(name: str, wheel: Path) -> dict[str, str]:
    """What wheels/native.json says of a wheel: the fields of wheels/lock.json, and the recipe."""
    return {
        "name": "loquent_splat",
        "version": build_native.version(),
        "file": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "platform": name,
        "python": "any",
        "recipe": recipe(name),
    }


def locked() -> dict[str, dict[str, str]]:
    """The entries of wheels/native.json by platform."""
    return {one["platform"]: one for one in json.loads(LOCK.read_text())["wheels"]} if LOCK.is_file() else {}


def _agree(found: dict[str, str], known: dict[str, str] | None) -> None:
    if known and known["recipe"] == found["recipe"] and known["sha256"] != found["sha256"]:
        raise SystemExit(
            f"{found['file']}: sha256 {found['sha256']}, wheels/native.json says {known['sha256']} for the same sources, "
            "flags and compiler. The build is not reproducible."
        )


# ---- drawing with them


def emulator(name: str) -> list[str] | None:
    """What runs programs of a platform here: nothing is needed ([]), a command, or None."""
    if name == wheels.this_platform():
        return []
    if name == "linux-arm64" and (qemu := shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")):
        return [qemu, "-L", "/usr/aarch64-linux-gnu"] if Path("/usr/aarch64-linux-gnu/lib").is_dir() else None
    if name == "windows-x64" and (wine := shutil.which("wine64") or shutil.which("wine")):
        return [wine]
    return None


def draw(library: bytes, name: str, command: Sequence[str]) -> tuple[str, list[array.array]]:
    """What the library says of its build and, for each of its kernel sets, the numbers of tests/draw_once.cpp."""
    one = PLATFORMS[name]
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / ("draw_once.exe" if one.target.system == "win32" else "draw_once")
        (Path(scratch) / one.target.library).write_bytes(library)
        source = [str(ROOT / "tests" / "draw_once.cpp"), f"-I{build_native.SOURCES}"]
        # optimised and stripped as in make(), so that zig's cache serves
        flags = ["-target", one.triple, "-O3", "-g0", "-s", "-std=c++17", "-o", str(program)]
        subprocess.run([*zig(), "c++", *flags, *source, *["-ldl"] * (one.target.system == "linux")], check=True)
        quiet = {**os.environ, "WINEDEBUG": "-all", "WINEPREFIX": str(ROOT / "build" / "wine")}
        run = [*command, str(program), f"./{one.target.library}", "numbers"]
        told = subprocess.run(
            run, cwd=scratch, env=quiet, check=True, capture_output=True, text=True, timeout=600
        ).stdout
        numbers = array.array("f", (Path(scratch) / "numbers").read_bytes())
    sets = len(told.rpartition(":")[2].split())
    size = len(numbers) // sets
    return told.strip(), [numbers[k * size : (k + 1) * size] for k in range(sets)]


def differences(found: array.array, wanted: array.array) -> tuple[float, float]:
    """Largest difference of the pictures, and of the gradients as a part of the largest gradient."""
    picture = 120 * 70 * 8  # colour, alpha, depth and three features come first
    gaps = [abs(a - b) for a, b in zip(found, wanted, strict=True)]
    return max(gaps[:picture]), max(gaps[picture:]) / max(map(abs, wanted[picture:]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--platform", action="append", choices=list(PLATFORMS), metavar="NAME", help=", ".join(PLATFORMS)
    )
    parser.add_argument("--check", action="store_true", help="compile again and compare with wheels/native.json")
    parser.add_argument("--run", action="store_true", help="draw with each library that can be run here")
    options = parser.parse_args(arguments)
    # beside the other builds, and not the user's: an interrupted or foreign cache is one `dev.py clean` away
    os.environ["ZIG_GLOBAL_CACHE_DIR"] = os.environ["ZIG_LOCAL_CACHE_DIR"] = str(ROOT / "build" / "zig-cache")
    entries, reference = locked(), None
    for name in options.platform or PLATFORMS:
        started, wheel = time.monotonic(), find(name)
        if options.check or wheel is None:
            print(f"{name}: compiling …", flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                made = make(name, Path(scratch))
                inspect(made, name)
                made_entry = entry(name, made)
                _agree(made_entry, entries.get(name))
                if options.check and entries.get(name) != made_entry:
                    raise SystemExit(
                        f"wheels/native.json is not of these sources: run this without --check for {name}."
                    )
                FOLDER.mkdir(parents=True, exist_ok=True)
                for older in FOLDER.glob(f"loquent_splat-*-{PLATFORMS[name].tag}.whl"):
                    older.unlink()
                wheel = Path(shutil.copy(made, FOLDER))
        inspect(wheel, name)
        entries[name] = entry(name, wheel)
        if not options.check:  # after each one: the others take minutes
            LOCK.write_text(json.dumps({"wheels": [entries[k] for k in PLATFORMS if k in entries]}, indent=1) + "\n")
        line = f"{wheel.name}  {wheel.stat().st_size:,} bytes  sha256 {entries[name]['sha256']}"
        print(f"{name}: {line}  {time.monotonic() - started:.0f} s", flush=True)
        if options.run:
            reference = _run(name, wheel, reference)
    return 0


def _run(name: str, wheel: Path, reference: array.array | None) -> array.array | None:
    """Draw under whatever runs this platform here, and compare with the library of this machine's own compiler."""
    command = emulator(name)
    if command is None:
        print("  not run: nothing here runs programs of this platform; its exports are those of splat.h")
        return reference
    if reference is None:
        host = wheels.this_platform()
        own = build_native.build()
        if own is None:
            raise SystemExit("Comparing needs a C++ compiler of this machine too.")
        reference = draw(own.read_bytes(), host, [])[1][-1]
    told, sets = draw(_member(wheel, PLATFORMS[name].target.library), name, command)
    gaps = [differences(found, reference) for found in sets]
    picture, gradient = (max(column) for column in zip(*gaps, strict=True))
    print(f"  run{' by ' + Path(command[0]).name if command else ''}: {told}; largest difference from this machine's "
          f"own build: picture {picture:.1e}, gradients {gradient:.1e}", flush=True)  # fmt: skip
    if not (picture < 5e-5 and gradient < 1e-3):
        raise SystemExit(f"{wheel.name} draws another picture than the library compiled here.")
    return reference


if __name__ == "__main__":
    sys.exit(main())
