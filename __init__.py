# SPDX-License-Identifier: GPL-3.0-or-later
"""Loquent: speech-driven Gaussian heads for Blender.

Nothing is imported at module level, so that the same folder serves as a Blender extension (which calls `register`)
and as the Python package `loquent` (whose `core` runs without Blender).
"""


def register() -> None:
    from . import addon

    addon.register()


def unregister() -> None:
    from . import addon

    addon.unregister()
