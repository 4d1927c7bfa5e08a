# SPDX-License-Identifier: GPL-3.0-or-later
"""Reset: a group of sliders back to the neutral face."""

from typing import Any

import bpy

from ...core.head.motion import CHANNELS, GROUPS
from .base import CoreOperator, active_head


class LOQUENT_OT_reset_channels(CoreOperator, bpy.types.Operator):
    """Set these sliders to zero; keyframes are not changed"""

    bl_idname = "loquent.reset_channels"
    bl_label = "Reset"
    bl_options = {"REGISTER", "UNDO"}

    group: bpy.props.StringProperty(name="Group", description="Group of channels; empty for all")

    layer: bpy.props.StringProperty(
        name="Layer", description="motion, adjust; empty for the one that the sliders show", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def run(self, context: Any) -> None:
        head = context.active_object.loquent
        layer = getattr(head, self.layer or head.layer)
        for name in GROUPS.get(self.group, CHANNELS):
            setattr(layer, name, 0.0)
