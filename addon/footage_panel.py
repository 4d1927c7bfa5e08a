# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of a head's film, and the operators that it shows."""

from typing import Any

import bpy

from .operators import footage
from .panels import OfHead


class LOQUENT_PT_footage(OfHead, bpy.types.Panel):
    bl_label = "Footage"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        head = context.active_object.loquent
        self.layout.operator_context = "INVOKE_DEFAULT"
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(head, "footage")
        column.prop(head, "footage_start")
        column = self.layout.column(align=True)
        column.operator("loquent.head_over_footage", icon="FILE_MOVIE")
        column.operator("loquent.inpaint_footage", icon="RENDER_ANIMATION")


CLASSES = (*footage.CLASSES, LOQUENT_PT_footage)


register, unregister = bpy.utils.register_classes_factory(CLASSES)
