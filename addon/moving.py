# SPDX-License-Identifier: GPL-3.0-or-later
"""Save As into another folder: paths of ours that begin with `//` go on meaning the same files.

Blender rewrites its own relative paths then, and none that extensions keep. A saved copy gets paths that are right where
it lies; the file that stays open keeps its own.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .paths import home
from .timeline import RECORDING, is_take

SETTINGS = ("avatar", "blend_with", "sound", "style")
_before: list[tuple[Any, str, str]] = []
"""What was rewritten by the save that is under way: holder, name, former path."""


def rewrite(target: str) -> None:
    """Before saving to `target`: every relative path of this file counts from there."""
    _before.clear()
    if not bpy.data.filepath or not target:  # a first save, or Blender's own start-up file
        return
    there = str(Path(target).parent)
    if os.path.normpath(Path(bpy.data.filepath).parent) == os.path.normpath(there):
        return
    for holder, name, path in _relative():
        try:
            moved = bpy.path.relpath(bpy.path.abspath(path), start=there)
        except ValueError:  # another drive on Windows
            moved = bpy.path.abspath(path)
        _before.append((holder, name, path))
        _set(holder, name, moved)


def settle(target: str) -> None:
    """After saving: where only a copy was written, the open file gets its paths back."""
    if _before and os.path.normpath(bpy.data.filepath) != os.path.normpath(target):
        for holder, name, path in _before:
            _set(holder, name, path)
    _before.clear()


def _relative() -> Iterator[tuple[Any, str, str]]:
    """(holder, name, path) of every relative path that is this file's own."""
    for ob in bpy.data.objects:
        if ob.library or ob.type != "MESH":
            continue
        for name in SETTINGS:
            path = getattr(ob.loquent, name)
            if path.startswith("//") and home(ob, name) is None:
                yield ob.loquent, name, path
    for action in bpy.data.actions:
        if not action.library and is_take(action) and str(action.get(RECORDING, "")).startswith("//"):
            yield action, RECORDING, action[RECORDING]


def _set(holder: Any, name: str, path: str) -> None:
    if isinstance(holder, bpy.types.Action):
        holder[name] = path
    else:
        setattr(holder, name, path)
