# SPDX-License-Identifier: GPL-3.0-or-later
"""The control rig's buttons."""

from typing import Any

import bpy

from .base import CoreOperator, active_head


class LOQUENT_OT_add_rig(CoreOperator, bpy.types.Operator):
    """Add bones in front of the face that move jaw, mouth, brows, lids, eyes and head on top of the speech"""

    bl_idname = "loquent.add_rig"
    bl_label = "Add Control Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        ob = active_head(cls, context)
        if ob is None:
            return False
        if not ob.is_editable:
            cls.poll_message_set("This head is linked: make a library override of it first")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave edit or pose mode first")
            return False
        return True

    def run(self, context: Any) -> None:
        from .. import heads, rig

        heads.own_uuid(context.active_object)
        made = rig.build_rig(context, context.active_object)
        self.report(
            {"INFO"}, f"'{made.name}' moves '{context.active_object.name}'. Pose its bones; key them as you like."
        )


class LOQUENT_OT_remove_rig(CoreOperator, bpy.types.Operator):
    """Remove the control rig of this head and what it added; the speech stays"""

    bl_idname = "loquent.remove_rig"
    bl_label = "Remove Control Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _has_rig(cls, context, own=False)

    def run(self, context: Any) -> None:
        from .. import rig

        rig.remove_rig(context.active_object)


class LOQUENT_OT_reset_rig(CoreOperator, bpy.types.Operator):
    """Put every bone of the control rig back to rest; keyframes are not changed"""

    bl_idname = "loquent.reset_rig"
    bl_label = "Reset Control Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _has_rig(cls, context)

    def run(self, context: Any) -> None:
        from .. import rig

        rig.reset_rig(rig.find_rig(context.active_object))


def _has_rig(cls: Any, context: Any, *, own: bool = True) -> bool:
    from .. import rig

    ob = active_head(cls, context)
    if ob is None:
        return False
    if (rig.find_rig if own else rig.moved_by)(ob) is None:
        cls.poll_message_set("This head has no control rig")
        return False
    return True


CLASSES = (LOQUENT_OT_add_rig, LOQUENT_OT_remove_rig, LOQUENT_OT_reset_rig)
