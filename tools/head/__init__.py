# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of `build_head.py`: MakeHuman's data in, the arrays of `core/data/head.npz` out.

Everything is in MakeHuman's own frame and decimetres until `build_head.py` writes the file. Needs numpy, scipy, pillow.
"""

import importlib.util
import sys
from pathlib import Path

try:
    from loquent.core.head.motion import ARKIT, JAW_OPEN_RADIANS
except ImportError:  # not installed: take the checkout that this file lies in
    _root = Path(__file__).resolve().parent.parent.parent
    _spec = importlib.util.spec_from_file_location(
        "loquent", _root / "__init__.py", submodule_search_locations=[str(_root)]
    )
    sys.modules["loquent"] = importlib.util.module_from_spec(_spec)
    from loquent.core.head.motion import ARKIT, JAW_OPEN_RADIANS

__all__ = ["ARKIT", "JAW_OPEN_RADIANS"]
