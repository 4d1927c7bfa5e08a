# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages tell to type is understood, what they link to and show is there. tests/test_manual.py looks at the names of buttons."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from loquent.addon import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "tools").rglob("*.md"))]
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`((?:loquent|head (?:import|export|convert-flame|ict|mix)) [^`]+)`")


def commands(page: Path) -> list[str]:
    """Lines of `loquent …` in blocks of code and whole ones within sentences, without what explains them."""
    text = page.read_text("utf-8")
    blocks = "\n".join(FENCE.findall(text)) + "\n" + "\n".join(re.findall(r"^ {4,}(loquent .+)$", text, re.M))
    lines = [line.strip() for line in blocks.splitlines() if line.strip().startswith("loquent ")]
    inline = [" ".join(found.translate(str.maketrans("", "", "[]")).split()) for found in INLINE.findall(text)]
    inline = [f"loquent {line}" if line.startswith("head ") else line for line in inline]
    lines = [re.split(r"\s{3,}|\s+#\s", line)[0] for line in lines]
    return [line for line in lines + inline if "-" in line.replace("from-", "") or line in lines]


ALL = [(page, line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(("page", "line"), ALL, ids=[f"{page.stem}-{k}" for k, (page, _) in enumerate(ALL)])
def test_what_is_told_to_type_is_understood(page, line, capsys):
    words = [word for word in shlex.split(line)[1:] if word != "…"]
    if words[-1] in ("--help", "-h") or len(words) < 2:
        return
    try:
        cli.parser().parse_args(words)
    except SystemExit:
        said = capsys.readouterr().err
        wrong = "unrecognized" in said or "invalid choice" in said or "…" not in line
        assert not wrong, f"{page.name}: {line}: {said.splitlines()[-1]}"


def test_there_is_something_to_type():
    assert len(ALL) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_modules_and_files_that_are_named_are_there(page):
    text = page.read_text("utf-8")
    for module in set(re.findall(r"python\S* -m ((?:loquent|tools)\.[\w.]*\w)", text)):
        name = module if module.startswith("loquent.") else f"loquent.{module}"
        assert find_spec(name) is not None, module
    for path in set(re.findall(r"`((?:core|tools|tests|addon|docs)/[\w/]+\.(?:py|md|npz|onnx|safetensors))`", text)):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        there = (page.parent / file) if file else page
        assert there.is_file(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.M)
            known = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
            assert heading in known, target
