# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens by itself: appended together, removed together."""

import bpy

from . import pixels, session, viewport


@bpy.app.handlers.persistent
def _forget(*_: object) -> None:
    session.clear()
    viewport.forget()
    pixels.forget()


def register() -> None:
    bpy.app.handlers.load_pre.append(_forget)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_forget)
    session.clear()
    pixels.forget()
