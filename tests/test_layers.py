# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports run in one direction, and registering loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLENDER = {"bpy", "bmesh", "mathutils", "gpu", "gpu_extras", "blf", "aud", "bpy_extras", "addon_utils", "addon"}
# Networks being trained, and the rasteriser under autograd: never imported by what the extension runs.
TORCH_ALLOWED = {"core/splats/cuda.py", "core/splats/twin.py", "core/splats/differentiable.py", "core/prior/network.py",
                 "core/prior/denoiser.py", "core/splats/carry_torch.py", "core/adapt/gaussian_head.py",
                 "core/adapt/torch_head.py", "core/adapt/losses.py", "core/adapt/video_fit.py",
                 "core/adapt/colour_fit.py", "core/adapt/adam.py", "core/adapt/start.py"}  # fmt: skip
TORCH_ALLOWED |= {f"core/prior/visual/{n}.py" for n in ("maps_torch", "network", "generator", "losses", "train")}
TORCH_ALLOWED |= {f"core/adapt/{n}.py" for n in ("inpaint_network", "inpainter", "refine", "photometric_track")}
ORDER = ["geometry", "head", "splats", "speech", "prior", "capture", "adapt", "worker"]
LOOSE = {"errors", "assets", "checkpoint", "files", "room"}


def imports(path: Path, package: tuple[str, ...]) -> list[tuple[int, str]]:
    """(line, absolute name) of every import of a file; relative ones are resolved within `package`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            outside = node.level > len(package)
            found += [(node.lineno, "OUTSIDE" if outside else f"{stem}.{alias.name}" if stem else alias.name)
                      for alias in node.names]  # fmt: skip
    return found


def wrong_imports(path: Path, root: Path) -> list[str]:
    """What a file under core/ imports against the rules, one line each."""
    relative = path.relative_to(root)
    package = relative.with_suffix("").parts[:-1]
    wrong = []
    for line, name in imports(path, package):
        parts = name.split(".")
        bad = parts[0] in BLENDER or name == "OUTSIDE" or parts[0] == "loquent"
        bad |= parts[0] in ("torch", "scipy") and relative.as_posix() not in TORCH_ALLOWED
        if parts[0] == "core" and len(parts) > 1 and len(package) > 1 and package[1] in ORDER and parts[1] not in LOOSE:
            bad |= parts[1] not in ORDER or ORDER.index(parts[1]) > ORDER.index(package[1])
        if parts[0] == "core" and len(package) == 1:
            bad |= parts[1] in ORDER
        if bad:
            wrong.append(f"{relative}:{line} imports {name}")
    return wrong


def test_core_never_imports_blender_and_its_packages_import_downwards_only():
    files = sorted((ROOT / "core").rglob("*.py"))
    assert len(files) > 15
    assert [fault for path in files for fault in wrong_imports(path, ROOT)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import bpy", "from mathutils import Vector", "from ...addon import engine", "import torch",
        "from ..prior.generate import generate", "def f():\n    import gpu", "from loquent.core import errors",
        "from ....elsewhere import x",
    ],
)  # fmt: skip
def test_the_rule_catches_a_planted_fault(tmp_path, line):
    path = tmp_path / "core" / "splats" / "planted.py"
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert wrong_imports(path, tmp_path), line


def test_the_rule_lets_a_downward_import_pass(tmp_path):
    path = tmp_path / "core" / "splats" / "planted.py"
    path.parent.mkdir(parents=True)
    path.write_text("from ..head.motion import Motion\nfrom ..errors import RasterError\nfrom .gaussians import join\n")
    assert wrong_imports(path, tmp_path) == []


def test_what_the_extension_runs_never_loads_torch():
    names = [
        ".".join(["loquent", *path.relative_to(ROOT).with_suffix("").parts])
        for path in sorted((ROOT / "core").rglob("*.py"))
        if path.relative_to(ROOT).as_posix() not in TORCH_ALLOWED
        and path.name not in ("__init__.py", "boot.py", "child.py")
    ]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names}]; print([m for m in ('torch', 'scipy', 'onnxruntime', 'bpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_root_imports_nothing_so_that_tools_without_blender_can_load_it():
    code = "import loquent, sys; sys.exit(any(m in sys.modules for m in ('bpy', 'torch', 'onnxruntime', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
