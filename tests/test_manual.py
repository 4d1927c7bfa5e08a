# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual calls buttons and settings by the names that they have, and its links and pictures are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "manual").glob("*.md"))
OURS = {"editing", "characters", "exporting", "own-heads", "trouble"}
"""Pages in which bold stands for Loquent's own buttons and settings only."""


def words() -> set[str]:
    """Every text in the source of the Blender side, and the names of the sliders, which are core's."""
    found: set[str] = set()
    for path in [*(ROOT / "addon").rglob("*.py"), ROOT / "core" / "head" / "sliders.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem in OURS], ids=lambda p: p.stem)
def test_what_stands_in_bold_is_a_name_in_the_interface(page):
    text = page.read_text(encoding="utf-8")
    bold = {" ".join(found.split()) for found in re.findall(r"\*\*([^*]+)\*\*", text)}
    names = {name for name in bold if not name.endswith((".", ":"))}  # whole sentences are emphasis
    assert names <= words(), names - words()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_and_pictures_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    for target in targets:
        if "://" not in target:
            assert (page.parent / target).is_file(), target
            assert Path(target).suffix != ".png" or (page.parent / target).stat().st_size <= 400_000, target
