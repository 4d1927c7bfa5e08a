# SPDX-License-Identifier: GPL-3.0-or-later
"""What buttons do."""

import bpy

from . import characters, exchange, expressions, perform, rig, support, takes
from .add_head import LOQUENT_OT_add_head
from .choose_sound import LOQUENT_OT_choose_sound
from .reset_channels import LOQUENT_OT_reset_channels
from .speak import LOQUENT_OT_speak

CLASSES = (
    LOQUENT_OT_add_head,
    LOQUENT_OT_choose_sound,
    LOQUENT_OT_speak,
    LOQUENT_OT_reset_channels,
    *characters.CLASSES,
    *exchange.CLASSES,
    *perform.CLASSES,
    *rig.CLASSES,
    *expressions.CLASSES,
    *support.CLASSES,
    *takes.CLASSES,
)


def _menu(self, context) -> None:
    self.layout.operator(LOQUENT_OT_add_head.bl_idname, text="Loquent Head", icon="USER")


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.VIEW3D_MT_add.append(_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_add.remove(_menu)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
