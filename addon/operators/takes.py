# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes: choose which one plays, and see their phonemes."""

from typing import Any

import bpy

from ...core.errors import SceneError
from .base import CoreOperator, active_performer

_items: list[tuple[str, str, str]] = []


def _enum(self: Any, context: Any) -> list[tuple[str, str, str]]:
    from .. import timeline

    ob = context.active_object
    found = timeline.takes_of(ob) if ob is not None else []
    _items[:] = [(a.name, a.name, f"{a.frame_range[0]:g} to {a.frame_range[1]:g}") for a in found]
    return _items


class LOQUENT_OT_show_take(CoreOperator, bpy.types.Operator):
    """Play another take of this head or character; the present one is kept"""

    bl_idname = "loquent.show_take"
    bl_label = "Choose Take"
    bl_options = {"REGISTER", "UNDO"}
    bl_property = "take"

    take: bpy.props.EnumProperty(name="Take", items=_enum)

    @classmethod
    def poll(cls, context: Any) -> bool:
        from .. import timeline

        ob = active_performer(cls, context)
        if ob is None:
            return False
        if not timeline.takes_of(ob):
            cls.poll_message_set("There is no take yet: press Speak")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.invoke_search_popup(self)
        return {"FINISHED"}

    def run(self, context: Any) -> None:
        from .. import phonemes, timeline

        ob = context.active_object
        action = bpy.data.actions.get(self.take)
        if action is None or action not in timeline.takes_of(ob):
            raise SceneError(f"'{self.take}' is no take of '{ob.name}'.")
        timeline.use_take(ob, action)
        phonemes.show(context.scene, ob, action, ob.loquent.phones)


CLASSES = (LOQUENT_OT_show_take,)
