# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blender side: it translates and draws, `core` computes. Registered in order, undone in reverse."""

import atexit
import gc
from importlib import import_module

MODULES = (
    "preferences",
    "properties",
    "render_settings",
    "operators",
    "panels",
    "head_panels",
    "footage_panel",
    "waveform",
    "engine",
    "render_panels",
    "viewport",
    "handlers",
)
"""Submodules with a `register`/`unregister` pair, in order of registration."""

_registered: list[str] = []


def register() -> None:
    """Register everything. Where one module fails, those before it are undone and the error goes on."""
    if _registered:
        return
    collecting = gc.isenabled()
    gc.disable()  # what is made here lives on: looking it through for garbage takes longer than making it
    try:
        for name in MODULES:
            import_module(f".{name}", __package__).register()
            _registered.append(name)
    except BaseException:
        unregister()
        raise
    finally:
        if collecting:
            gc.enable()
    import bpy

    # As a Python wheel Blender hangs at exit while a RenderEngine class is registered (upstream #146640).
    if getattr(bpy.app, "module", False):
        atexit.register(unregister)


def unregister() -> None:
    """Undo `register`; harmless when nothing is registered."""
    atexit.unregister(unregister)
    while _registered:
        import_module(f".{_registered.pop()}", __package__).unregister()
