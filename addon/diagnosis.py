# SPDX-License-Identifier: GPL-3.0-or-later
"""What a developer asks first: versions, wheels, graphics, worker, heads. Nothing leaves the computer."""

import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import bpy

from ..core.errors import LoquentError, WorkerError
from .performers import is_performer
from .preferences import ROOT, cache_folder, preference
from .timeline import takes_of

WHEELS = ("numpy", "onnxruntime", "soundfile", "safetensors", "trimesh")
PATIENCE = 60.0


def report(context: Any) -> str:
    """The whole report as text; a part that fails says so and does not hide the others."""
    parts = [
        ("Loquent", _extension), ("Blender", _blender), ("Machine", _machine), ("Packages", _packages),
        ("Rasteriser", _rasteriser), ("Graphics", _graphics), ("Worker", worker), ("Settings", _settings),
        ("Heads", _heads),
    ]  # fmt: skip
    lines = []
    for name, part in parts:
        try:
            text = part()
        except Exception as error:  # a report is wanted most where something is broken
            text = f"{type(error).__name__}: {error}"
        lines += [f"{name}: {text}"]
    return "\n".join(lines) + "\n"


def worker() -> str:
    """What the worker's Python answers. Raises WorkerError where it does not work."""
    from ..core.worker.client import Worker
    from .jobs import launch

    started = time.monotonic()
    job = Worker(launch(), "about", {"device": preference("device", "AUTO")})
    try:
        while not job.poll():
            if time.monotonic() - started > PATIENCE:
                raise WorkerError(f"The worker gave no answer within {PATIENCE:.0f} seconds.")
            time.sleep(0.02)
    finally:
        job.close(patience=0.5)
    assert job.result
    found = job.result.values
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in found["packages"].items())
    lacking = ", ".join(found.get("lacking", ()))
    making = f"heads cannot be made here without {lacking}" if lacking else "heads can be made here"
    return f"Python {found['python']}, {packages}; {found['device']}; {making}; answered in {time.monotonic() - started:.1f} s"


def _extension() -> str:
    from ..core.worker.protocol import VERSION

    root = Path(__file__).resolve().parents[1]
    return f"{VERSION} as '{ROOT}' in '{root}', {'writable' if _writable(root) else 'read-only'}"


def _writable(folder: Path) -> bool:
    import os

    return os.access(folder, os.W_OK)


def _blender() -> str:
    app = bpy.app
    return f"{app.version_string}, {'background' if app.background else 'windows'}, online access {app.online_access}"


def _machine() -> str:
    import os

    return f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} threads, Python {platform.python_version()}, {sys.getfilesystemencoding()}"


def _packages() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in WHEELS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    return ", ".join(found)


def _rasteriser() -> str:
    from ..core.splats.rasterize import backend_name

    return backend_name()


def _graphics() -> str:
    if bpy.app.background:
        return "not asked in background mode"
    import gpu

    return f"{gpu.platform.vendor_get()}, {gpu.platform.renderer_get()}, {gpu.platform.version_get()}, {gpu.platform.backend_type_get()}"


def _settings() -> str:
    names = {"worker_python": "", "device": "AUTO", "threads": 0, "cache_folder": "", "cache_gigabytes": 2.0}
    folder = cache_folder()
    used = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
    free = shutil.disk_usage(folder if folder.is_dir() else Path.home()).free
    text = ", ".join(f"{name} {preference(name, default)!r}" for name, default in names.items())
    return f"{text}; cache '{folder}' holds {used / 1e6:.1f} MB, {free / 1e9:.1f} GB free"


def _heads() -> str:
    from . import session

    lines = []
    for ob in bpy.data.objects:
        if is_performer(ob):
            head = ob.loquent
            kind = head.avatar or f"character, {len(head.shapes)} rows"
            try:
                trouble = session.problem(head.avatar) if head.avatar else ""
            except LoquentError as error:
                trouble = str(error)
            linked = ", linked" if ob.library else ", override" if ob.override_library else ""
            lines.append(f"'{ob.name}' ({kind}{linked}, {len(takes_of(ob))} takes){': ' + trouble if trouble else ''}")
    return "; ".join(lines) or "none"
