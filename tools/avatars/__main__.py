# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a built-in avatar from nothing: `python -m tools.avatars ada` (pictures, fit, contact sheet). About 40 minutes on 2 cores."""

import argparse
import subprocess
import sys
from pathlib import Path

from .people import PEOPLE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.avatars", description=__doc__)
    parser.add_argument("names", nargs="+", choices=tuple(PEOPLE))
    parser.add_argument("--cache", type=Path, default=Path("out/avatars"), help="keeps the pictures (150 MB a person)")
    parser.add_argument("--steps", type=int, default=6000, help="steps of the fit")
    arguments = parser.parse_args()
    cache = ["--cache", str(arguments.cache)]
    for name in arguments.names:
        for step in (["render", name, *cache], ["fit", name, *cache, "--steps", str(arguments.steps)], ["sheet", name]):
            subprocess.check_call([sys.executable, "-m", f"tools.avatars.{step[0]}", *step[1:]])


if __name__ == "__main__":
    main()
