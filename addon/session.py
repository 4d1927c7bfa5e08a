# SPDX-License-Identifier: GPL-3.0-or-later
"""What is loaded now: avatars by file and time stamp. Never saved, rebuilt on demand.

Locked, because F12 renders on a thread of its own while the viewport draws on the main one.
"""

import threading
from dataclasses import dataclass
from typing import Any

import bpy

from ..core.errors import FormatError, LoquentError

_lock = threading.Lock()
_loaded: dict[str, "Loaded"] = {}
_failed: dict[str, tuple[tuple[int, int], LoquentError]] = {}
_problems: dict[str, str] = {}
KEEP = 8
"""Avatars kept in memory: some 20 MB each."""


@dataclass(frozen=True)
class Loaded:
    """An avatar ready to perform. stamp: (nanoseconds, bytes) of the file it came from."""

    path: str
    stamp: tuple[int, int]
    performer: Any


def performer(avatar: str, library: Any = None) -> Loaded:
    """The avatar of a built-in name or a path, which may be relative (`//`) to the .blend file or library.

    Read again when the file has changed. Raises FormatError or AssetError, also at once for a file that failed before
    and has not changed since: a redraw must not read a damaged file sixty times a second.
    """
    from ..core.splats.avatar import find_avatar, load_avatar
    from ..core.splats.avatar import performer as make_performer

    try:
        try:
            path = find_avatar(avatar)
        except FormatError:
            path = find_avatar(bpy.path.abspath(avatar, library=library))
        info = path.stat()
        stamp = (info.st_mtime_ns, info.st_size)
        key = str(path)
        with _lock:
            found = _loaded.get(key)
            if found is None or found.stamp != stamp:
                if (failed := _failed.get(key)) and failed[0] == stamp:
                    raise failed[1]
                try:
                    found = Loaded(key, stamp, make_performer(load_avatar(path)))
                except LoquentError as error:
                    _failed[key] = (stamp, error)
                    raise
                while len(_loaded) >= KEEP:
                    _loaded.pop(next(iter(_loaded)))
                _loaded[key] = found
    except LoquentError as error:
        _problems[avatar] = str(error)
        raise
    _problems.pop(avatar, None)
    return found


def problem(avatar: str) -> str:
    """What was wrong with an avatar when it was last needed; empty if nothing was."""
    return _problems.get(avatar, "")


def clear() -> None:
    """Forget everything: another file was opened."""
    with _lock:
        _loaded.clear()
        _failed.clear()
        _problems.clear()
