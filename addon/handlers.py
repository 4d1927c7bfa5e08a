# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens by itself: appended together, removed together."""

from typing import Any

import bpy

from . import session, viewport

# What pictures and proxies need is loaded when the first of them is made: registering stays quick.


@bpy.app.handlers.persistent
def _forget(*_: object) -> None:
    from . import pixels, proxy

    session.clear()
    viewport.forget()
    pixels.forget()
    proxy.forget()


@bpy.app.handlers.persistent
def _follow(scene: Any, depsgraph: Any = None) -> None:
    """Proxies after channels have changed, by time or by hand."""
    from . import proxy

    if depsgraph is not None and not _drawing_heads(scene, depsgraph):
        proxy.follow_all(scene, depsgraph)


@bpy.app.handlers.persistent
def _again(*_: object) -> None:
    from . import proxy

    proxy.forget()


def _drawing_heads(scene: Any, depsgraph: Any) -> bool:
    """A render of ours: it needs no proxy, and nobody shall write to meshes meanwhile.

    Where it is no job (in background) the write would also make Blender copy heads anew between their animation and their
    drawing: all frames of a film would show the pose of the file.
    """
    return scene.render.engine == "LOQUENT" and (depsgraph.mode == "RENDER" or bpy.app.is_job_running("RENDER"))


@bpy.app.handlers.persistent
def _moving(target: str = "", *_: object) -> None:
    from . import moving

    moving.rewrite(target)


@bpy.app.handlers.persistent
def _moved(target: str = "", *_: object) -> None:
    from . import moving

    moving.settle(target)


@bpy.app.handlers.persistent
def _rendering(*given: Any) -> None:
    from . import credits

    credits.begin(*given)


@bpy.app.handlers.persistent
def _rendered(*given: Any) -> None:
    from . import credits

    credits.end(*given)


HANDLERS = {
    "load_pre": _forget,
    "frame_change_post": _follow,
    "depsgraph_update_post": _follow,
    "render_init": _rendering,
    "render_complete": _rendered,
    "undo_post": _again,
    "redo_post": _again,
    "save_pre": _moving,
    "save_post": _moved,
    "save_post_fail": _moved,
}


def register() -> None:
    for name, function in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(function)


def unregister() -> None:
    for name, function in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(function)
    from . import pixels, proxy

    session.clear()
    pixels.forget()
    proxy.forget()
