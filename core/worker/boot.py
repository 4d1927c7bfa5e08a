# SPDX-License-Identifier: GPL-3.0-or-later
"""First file of the child process: `python -I boot.py`, with its settings as one JSON line on standard input.

It runs before the package can be imported, so it uses the standard library only. It loads the package root under a
neutral name, because installed code is `bl_ext.<repository>.loquent` in Blender and has no such parents here.
"""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

PACKAGE = "loquent_worker"


def main() -> int:
    settings = json.loads(sys.stdin.buffer.readline())
    # Wheels of an installed extension lie outside every default path; they fit only the Python they were made for.
    if list(sys.version_info[:2]) == settings["python"]:
        sys.path.extend(p for p in settings["paths"] if p not in sys.path)
    if settings.get("rasteriser"):
        load_rasteriser(settings["rasteriser"])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if settings["threads"]:
            os.environ.setdefault(name, str(settings["threads"]))
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec and spec.loader, root
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.core.worker.child").main()


def load_rasteriser(init: str) -> None:
    """Import the package loquent_splat from its `__init__.py`: a library without any Python in it, so it fits every version,
    unlike what lies beside it. Nothing where this Python has one of its own."""
    if importlib.util.find_spec("loquent_splat"):
        return
    spec = importlib.util.spec_from_file_location("loquent_splat", init)
    assert spec and spec.loader, init
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["loquent_splat"] = module


if __name__ == "__main__":
    sys.exit(main())
