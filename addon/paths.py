# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file a path setting of an object is relative to."""

from typing import Any


def home(ob: Any, name: str) -> Any:
    """The library that `ob.loquent.<name>` is relative to; None for the open file.

    Blender rewrites no path of ours when it links. So a setting that a library override has not changed still counts from
    the file that it was made in, and one that was changed from the file where the override lives.
    """
    ob = ob.original
    while (override := ob.override_library) and (linked := override.reference) is not None:
        if getattr(linked.loquent, name) != getattr(ob.loquent, name):
            break
        ob = linked
    return ob.library
