# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile core/splats/native into the rasteriser's shared library, with the compiler at hand; standard library only.

    python tools/build_native.py                 into core/splats/native/build/<platform>/, only when sources changed
    python tools/build_native.py --wheel DIR     and pack it as loquent_splat-<version>-py3-none-<platform>.whl

Compilers tried in this order: $CXX, g++, clang++, zig, `python -m ziglang c++`. MSVC has no vector extensions: on
Windows take clang++ or zig (`pip install ziglang`). Without any of them Loquent draws on its slow path, and says so.

One C ABI through ctypes serves every Python, so a wheel is tagged py3-none. Each instruction set is one compilation of
kernels.cpp; which one runs is decided by cpuid at run time, so nothing here depends on the machine that compiles.
tools/cross_wheels.py compiles the same for other platforms.
"""

import argparse
import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "core" / "splats" / "native"
EXPORTS = "-Wl,--version-script=exports.map"


@dataclass(frozen=True)
class Target:
    """What the library is compiled for."""

    system: str
    """As sys.platform says it: linux, win32, darwin."""
    machine: str
    """As platform.machine() says it, in lower case."""

    @property
    def x86(self) -> bool:
        return self.machine in ("x86_64", "amd64")

    @property
    def library(self) -> str:
        """Name of the file, as core/splats/native.py expects it."""
        names = {"win32": "loquent_splat.dll", "darwin": "libloquent_splat.dylib"}
        return names.get(self.system, "libloquent_splat.so")

    @property
    def compile(self) -> list[str]:
        # not -ffast-math: GCC before 13 then sets flush-to-zero for the whole process, and NaN must stay detectable
        flags = (
            "-O3 -std=c++17 -fvisibility=hidden -ffunction-sections -fno-math-errno -fno-trapping-math"
            " -ffp-contract=fast -Wall -Wextra"
        ).split()
        return flags + ([] if self.system == "win32" else ["-fPIC", "-pthread"]) + ["-DSPLAT_X86"] * self.x86

    @property
    def units(self) -> list[tuple[str, list[str]]]:
        """Sources and the flags that only this compilation of them has."""
        sets = {"generic": []} | ({"sse42": ["-msse4.2"], "avx2": ["-mavx2", "-mfma"]} if self.x86 else {})
        shown = {"generic": "neon"} if self.machine in ("aarch64", "arm64") else {}  # every such processor has it
        return [("splat.cpp", []), ("mesh.cpp", [])] + [
            (
                "kernels.cpp",
                [*flags, f"-DSPLAT_KERNELS={name}_kernels", f'-DSPLAT_KERNELS_NAME="{shown.get(name, name)}"'],
            )
            for name, flags in sets.items()
        ]

    @property
    def link(self) -> list[str]:
        if self.system == "win32":
            return ["-shared", "-static"]
        if self.system == "darwin":
            return ["-dynamiclib", "-Wl,-install_name,@rpath/" + self.library]
        return ["-shared", "-pthread", "-static-libstdc++", EXPORTS, "-Wl,--gc-sections,-s"]


HERE = Target(sys.platform, platform.machine().lower())
LIBRARY = HERE.library
THREAD_SANITIZE = ["-g", "-O1", "-fsanitize=thread", "-fno-omit-frame-pointer"]
SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


def compilers() -> list[list[str]]:
    """Commands that may compile C++ here, best first."""
    found = [[os.environ["CXX"]]] if os.environ.get("CXX") else []
    found += [[path] for name in ("g++", "clang++") if (path := shutil.which(name))]
    if path := shutil.which("zig"):
        found.append([path, "c++"])
    python = [sys.executable, "-m", "ziglang"]
    if not found and not subprocess.run([*python, "version"], capture_output=True).returncode:
        found.append([*python, "c++"])
    return found


def build_folder() -> Path:
    """Where core/splats/native.py looks for the library of this machine."""
    return SOURCES / "build" / f"{sys.platform}-{platform.machine().lower()}"


def compile_library(
    compiler: Sequence[str],
    file: Path,
    extra: Sequence[str] = (),
    link: Sequence[str] = HERE.link,
    target: Target = HERE,
    sources: Path = SOURCES,
) -> None:
    """Write the library to `file` in one step; leaves an older one untouched where compilation fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        objects = []
        for k, (source, flags) in enumerate(target.units):
            objects.append(str(Path(scratch) / f"{k}.o"))
            # relative names and a fixed folder: no path of this machine gets into the library
            _run([*compiler, *target.compile, *extra, *flags, "-c", source, "-o", objects[-1]], cwd=sources)
        made = Path(scratch) / file.name
        _run([*compiler, *objects, *extra, *link, "-o", str(made)], cwd=sources)
        made.replace(file)


def compile_sanitized(compiler: Sequence[str], file: Path, flags: Sequence[str] = SANITIZE) -> None:
    """A test build that stops at the first wrong memory access or undefined operation (tools/fuzz_raster.py)."""
    compile_library(compiler, file, flags, [flag for flag in HERE.link if not flag.startswith(("-static", "-Wl,"))])


def build(quiet: bool = False) -> Path | None:
    """The library of this machine, compiled where its sources, flags or compiler changed; None without a compiler."""
    library = build_folder() / LIBRARY
    stamp = library.with_suffix(".sha256")
    for compiler in compilers():
        wanted = _fingerprint(compiler)
        if library.is_file() and stamp.is_file() and stamp.read_text() == wanted:
            return library
        if not quiet:
            print(f"Compiling the rasteriser with {' '.join(compiler)} ...", flush=True)
        try:
            compile_library(compiler, library)
        except subprocess.CalledProcessError as failure:
            print(f"{failure.stderr or ''}\n{' '.join(compiler)} could not compile the rasteriser.", file=sys.stderr)
            continue
        stamp.write_text(wanted)
        return library
    return None


def version() -> str:
    """Of the wheel and of Loquent: they are made together."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def write_wheel(library: Path, folder: Path, tag: str | None = None, recipe: str = "") -> Path:
    """A wheel of package `loquent_splat`: the library and its path. The same library gives the same bytes.

    tag: the platform as wheels name it, this machine's where it is not given. recipe: what the library was made from,
    told by `loquent_splat.RECIPE` (tools/cross_wheels.py).
    """
    tag = f"py3-none-{tag or _platform_tag(library)}"
    name = f"loquent_splat-{version()}"
    info = f"{name}.dist-info"
    files = {
        "loquent_splat/__init__.py": (
            '"""Loquent\'s native Gaussian rasteriser: a C library for ctypes (core/splats/native.py)."""\n\n'
            "from pathlib import Path\n\n"
            f'LIBRARY = Path(__file__).with_name("{library.name}")\nRECIPE = "{recipe}"\n'
        ).encode(),
        f"loquent_splat/{library.name}": library.read_bytes(),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: loquent-splat\nVersion: {version()}\n"
            "Summary: Native Gaussian rasteriser of Loquent\nLicense: GPL-3.0-or-later\nRequires-Python: >=3.11\n"
        ).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: loquent\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    record = f"{info}/RECORD"
    lines = [f"{path},sha256={_urlsafe(data)},{len(data)}" for path, data in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o755 if path.endswith(library.name) else 0o644) << 16
            archive.writestr(entry, data)
    return wheel


def _platform_tag(library: Path) -> str:
    machine = platform.machine().lower()
    if sys.platform == "win32":
        return "win_amd64" if HERE.x86 else "win_arm64"
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}"
    # the newest C library version that a symbol asks for says on which systems the library loads
    versions = re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())
    return f"manylinux_2_{max([17, *map(int, versions)])}_{machine}"


def recipe(compiler: str, flags: Sequence[str], target: Target, sources: Path = SOURCES) -> str:
    """A hash of everything that the library is made from; `compiler` and `flags` are those the target does not say."""
    digest = hashlib.sha256(repr((compiler, list(flags), target.compile, target.units)).encode())
    for source in sorted(path for path in sources.iterdir() if path.suffix in (".cpp", ".h", ".map")):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


def _fingerprint(compiler: Sequence[str]) -> str:
    told = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    return recipe(told, HERE.link, HERE)


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, metavar="DIR", help="also pack the library as a wheel")
    options = parser.parse_args(arguments)
    library = build()
    if library is None:
        print(
            "No C++ compiler was found (looked for $CXX, g++, clang++, ziglang): heads will be drawn on the slow path. "
            "Install one (Debian: apt install g++; any system: pip install ziglang) and run this again.",
            file=sys.stderr,
        )
        return 1 if options.wheel else 0
    print(write_wheel(library, options.wheel.resolve()) if options.wheel else library)
    return 0


if __name__ == "__main__":
    sys.exit(main())
