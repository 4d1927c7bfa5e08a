# SPDX-License-Identifier: GPL-3.0-or-later
"""What all benchmarks do alike: the option --json, and the figures written there as one flat object."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path


def options(what: str | None) -> argparse.ArgumentParser:
    """A parser that knows --json. what: the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    return parser


def keep(figures: Mapping[str, object], path: Path | None, digits: int | None = None) -> None:
    """Write the figures, rounded to so many digits; nothing without a path."""
    if path is None:
        return
    rounded = {k: round(v, digits) if digits and isinstance(v, float) else v for k, v in figures.items()}
    path.write_text(json.dumps(rounded, indent=1) + "\n", "utf8")
