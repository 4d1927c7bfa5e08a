# SPDX-License-Identifier: GPL-3.0-or-later
"""What buttons do."""

import bpy

from . import characters, exchange, expressions, make_head, perform, rig, splat_files, support, takes
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
    *make_head.CLASSES,
    *perform.CLASSES,
    *rig.CLASSES,
    *splat_files.CLASSES,
    *expressions.CLASSES,
    *support.CLASSES,
    *takes.CLASSES,
)


class LOQUENT_MT_add(bpy.types.Menu):
    """Heads that ship, from files, and of people"""

    bl_label = "Loquent Head"

    def draw(self, context) -> None:
        self.layout.operator_context = "INVOKE_REGION_WIN"
        self.layout.operator_enum(LOQUENT_OT_add_head.bl_idname, "avatar")
        self.layout.separator()
        self.layout.operator("loquent.head_from_photo", text="From Photo...", icon="IMAGE_DATA")
        self.layout.operator("loquent.head_from_video", text="From Video...", icon="FILE_MOVIE")
        self.layout.operator("loquent.head_from_splats", text="From Splats...", icon="OUTLINER_OB_POINTCLOUD")


def _menu(self, context) -> None:
    self.layout.menu("LOQUENT_MT_add", icon="USER")


_register, _unregister = bpy.utils.register_classes_factory((*CLASSES, LOQUENT_MT_add))


def register() -> None:
    _register()
    bpy.types.VIEW3D_MT_add.append(_menu)
    splat_files.add_menus()


def unregister() -> None:
    splat_files.remove_menus()
    bpy.types.VIEW3D_MT_add.remove(_menu)
    _unregister()
