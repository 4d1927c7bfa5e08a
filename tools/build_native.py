# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile core/splats/native into the rasteriser's shared library, with the compiler at hand; standard library only.

    python tools/build_native.py                 into core/splats/native/build/<platform>/, only when sources changed
    python tools/build_native.py --wheel DIR     and pack it as loquent_splat-<version>-py3-none-<platform>.whl

Compilers tried in this order: $CXX, g++, clang++, zig, `python -m ziglang c++`. MSVC has no vector extensions: on
Windows take clang++ or zig (`pip install ziglang`). Without any of them Loquent draws on its slow path, and says so.

One C ABI through ctypes serves every Python, so a wheel is tagged py3-none. Each instruction set is one compilation of
kernels.cpp; which one runs is decided by cpuid at run time, so nothing here depends on the machine that compiles.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "core" / "splats" / "native"
X86 = platform.machine().lower() in ("x86_64", "amd64")
LIBRARY = {"win32": "loquent_splat.dll", "darwin": "libloquent_splat.dylib"}.get(sys.platform, "libloquent_splat.so")

# not -ffast-math: GCC before 13 then sets flush-to-zero for the whole process, and NaN must stay detectable
COMPILE = (
    "-O3 -std=c++17 -fvisibility=hidden -ffunction-sections -fno-math-errno -fno-trapping-math -ffp-contract=fast"
    " -Wall -Wextra" + ("" if sys.platform == "win32" else " -fPIC -pthread")
).split()
UNITS = [("splat.cpp", []), ("kernels.cpp", ["-DSPLAT_KERNELS=generic_kernels", '-DSPLAT_KERNELS_NAME="generic"'])]
if X86:
    COMPILE.append("-DSPLAT_AVX2")
    UNITS.append(("kernels.cpp", ["-mavx2", "-mfma", "-DSPLAT_KERNELS=avx2_kernels", '-DSPLAT_KERNELS_NAME="avx2"']))
LINK = {
    "win32": ["-shared", "-static"],
    "darwin": ["-dynamiclib", "-Wl,-install_name,@rpath/" + LIBRARY],
}.get(
    sys.platform,
    ["-shared", "-pthread", "-static-libstdc++", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections,-s"],
)
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
    compiler: Sequence[str], target: Path, extra: Sequence[str] = (), link: Sequence[str] = LINK
) -> None:
    """Write the library to `target` in one step; leaves an older one untouched where compilation fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        objects = []
        for k, (source, flags) in enumerate(UNITS):
            objects.append(str(Path(scratch) / f"{k}.o"))
            # relative names and a fixed folder: no path of this machine gets into the library
            _run([*compiler, *COMPILE, *extra, *flags, "-c", source, "-o", objects[-1]], cwd=SOURCES)
        made = Path(scratch) / LIBRARY
        _run([*compiler, *objects, *extra, *link, "-o", str(made)])
        made.replace(target)


def compile_sanitized(compiler: Sequence[str], target: Path) -> None:
    """A test build that stops at the first wrong memory access or undefined operation (tools/fuzz_raster.py)."""
    compile_library(compiler, target, SANITIZE, [flag for flag in LINK if not flag.startswith(("-static", "-Wl,"))])


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


def write_wheel(library: Path, folder: Path) -> Path:
    """A wheel of package `loquent_splat`: the library and its path. The same library gives the same bytes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tag = f"py3-none-{_platform_tag(library)}"
    info = f"loquent_splat-{version}.dist-info"
    files = {
        "loquent_splat/__init__.py": (
            '"""Loquent\'s native Gaussian rasteriser: a C library for ctypes (core/splats/native.py)."""\n\n'
            "from pathlib import Path\n\n"
            f'LIBRARY = Path(__file__).with_name("{LIBRARY}")\n'
        ).encode(),
        f"loquent_splat/{LIBRARY}": library.read_bytes(),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: loquent-splat\nVersion: {version}\n"
            "Summary: Native Gaussian rasteriser of Loquent\nLicense: GPL-3.0-or-later\nRequires-Python: >=3.11\n"
        ).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: loquent\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for older in folder.glob("loquent_splat-*.whl"):
        older.unlink()
    wheel = folder / f"loquent_splat-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o755 if name.endswith(LIBRARY) else 0o644) << 16
            archive.writestr(entry, data)
    return wheel


def _platform_tag(library: Path) -> str:
    machine = platform.machine().lower()
    if sys.platform == "win32":
        return "win_amd64" if X86 else "win_arm64"
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}"
    # the newest C library version that a symbol asks for says on which systems the library loads
    versions = re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())
    return f"manylinux_2_{max([17, *map(int, versions)])}_{machine}"


def _fingerprint(compiler: Sequence[str]) -> str:
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    digest = hashlib.sha256(repr((version, COMPILE, UNITS, LINK)).encode())
    for source in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


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
