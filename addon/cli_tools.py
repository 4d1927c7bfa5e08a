# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands share: a progress bar, checks of targets before anything is computed, kinds of arguments."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import FormatError


class Bar:
    """A progress bar on a terminal; elsewhere one line a stage. Remembers how long each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._live = sys.stderr.isatty()

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        started = time.perf_counter()
        self._draw(name, 0.0)
        try:
            yield lambda fraction: self._draw(name, fraction)
        except BaseException:
            self._end(name, "stopped", time.perf_counter() - started)
            raise
        self.seconds[name] = time.perf_counter() - started
        self._end(name, "done", self.seconds[name])

    def _draw(self, name: str, fraction: float) -> None:
        if self._live:
            filled = round(30 * min(max(fraction, 0.0), 1.0))
            print(
                f"\r{name:24} [{'█' * filled}{'·' * (30 - filled)}] {fraction:4.0%}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def _end(self, name: str, word: str, seconds: float) -> None:
        start = "\r\033[K" if self._live else ""
        print(f"{start}{name:24} {word}, {seconds:.1f} s", file=sys.stderr, flush=True)


def check_target(path: Path | None, *suffixes: str) -> None:
    """Refuse a target that cannot be written before anything is computed."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise FormatError(
            f"'{path}' should end in {' or '.join(suffixes)}; found '{path.suffix or 'no suffix'}'. Rename it."
        )
    if path.is_dir():
        raise FormatError(f"'{path}' is a folder; expected the name of a file to write.")
    from ..core.files import written_whole

    if not path.exists():  # a probe beside it: the folder may be read-only, and permission bits do not tell everywhere
        try:
            with written_whole(path):
                raise _Probed
        except _Probed:
            pass


class _Probed(Exception):
    pass


def size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; write width x height, such as 1920x1080") from None
    if not (16 <= width <= 16384 and 16 <= height <= 16384):
        raise argparse.ArgumentTypeError(f"{text}: each side must be 16 to 16384 pixels")
    return width, height


def fps(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= 240:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a frame rate; expected a number from 1 to 240, such as 23.976"
        )
    return rate


def number(low: float, high: float, scale: float = 1.0) -> Callable[[str], float]:
    """Kind of argument: a number from low to high; what the command gets is it times `scale`."""

    def kind(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {low:g} to {high:g}")
        return value * scale

    return kind
