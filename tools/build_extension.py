# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the extension zip of one platform into dist/ and let Blender's own validator check it.

    python tools/build_extension.py [--platform linux-x64]

Run with an environment that has `bpy`, whose package carries Blender's extension tool. The zip holds addon/, core/, the
bundled wheels of the platform for every supported Python, and our rasteriser's wheel: the one in dist/wheels that
`dev.py wheels` made of these very sources, or one compiled here for this machine.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))
import cross_wheels  # noqa: E402

import wheels  # noqa: E402

SHIPPED = ("__init__.py", "blender_manifest.toml", "addon", "core", "LICENSE", "README.md", "CHANGELOG.md")
EXCLUDED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "native")  # native/: C++, which travels as a wheel


def blender_tool() -> tuple[Path, Path]:
    """Blender's extension command-line tool and its list of valid tags."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("This needs an environment with bpy; run it as `python3.11 dev.py build`.")
    scripts = next(Path(spec.submodule_search_locations[0]).glob("*/scripts"))
    return (
        scripts / "addons_core/bl_pkg/cli/blender_ext.py",
        scripts / "modules/_bpy_internal/extensions/tags.py",
    )


def stage(folder: Path, name: str) -> None:
    """Lay out what goes into the zip, with the manifest's platform and wheels filled in."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wheels").mkdir(parents=True)
    for item in SHIPPED:
        source = ROOT / item
        if source.is_dir():
            shutil.copytree(source, folder / item, ignore=EXCLUDED)
        else:
            shutil.copy(source, folder / item)
    bundled = wheels.bring(name) + _native_wheel(name)
    for wheel in bundled:
        shutil.copy(wheel, folder / "wheels" / wheel.name)
    lines = "".join(f'    "./wheels/{wheel.name}",\n' for wheel in bundled)
    manifest = folder / "blender_manifest.toml"
    text = manifest.read_text()
    insert = f'platforms = ["{name}"]\nwheels = [\n{lines}]\n\n[permissions]'
    assert text.count("[permissions]") == 1
    manifest.write_text(text.replace("[permissions]", insert))


def _native_wheel(name: str) -> list[Path]:
    """Our rasteriser's wheel. Without one the extension runs the slow path, which says so."""
    if found := cross_wheels.find(name):
        return [found]
    if name != wheels.this_platform():
        print(
            f"dist/wheels has no rasteriser for {name} that was made of the sources as they are now: this zip will draw "
            "on the slow numpy path. Run `python3.11 dev.py wheels` first."
        )
        return []
    folder = ROOT / "build" / "native"
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run([sys.executable, str(ROOT / "tools/build_native.py"), "--wheel", str(folder)])
    if done.returncode:
        raise SystemExit("The rasteriser could not be compiled; a zip without it is not made by accident.")
    return sorted(folder.glob("*.whl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--platform", default=wheels.this_platform())
    name = parser.parse_args().platform
    folder, out = ROOT / "build" / "extension", ROOT / "dist"
    out.mkdir(exist_ok=True)
    stage(folder, name)
    tool, tags = blender_tool()
    version = next(line.split('"')[1] for line in (ROOT / "blender_manifest.toml").read_text().splitlines()
                   if line.startswith("version = "))  # fmt: skip
    archive = out / f"loquent-{version}-{name.replace('-', '_')}.zip"
    archive.unlink(missing_ok=True)
    python = [sys.executable, str(tool)]
    subprocess.run(
        [*python, "build", "--source-dir", str(folder), "--output-filepath", str(archive), "--valid-tags", str(tags)],
        check=True,
    )
    subprocess.run([*python, "validate", str(archive), "--valid-tags", str(tags)], check=True)
    (out / "latest.txt").write_text(archive.name)
    print(f"{archive.relative_to(ROOT)}: {archive.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
