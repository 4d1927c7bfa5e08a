# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads over a set that another engine renders, in the compositing tree that the user has."""

from typing import Any

import bpy

from ...core.errors import SceneError
from .. import convert
from ..node_groups import GRAIN, MATTE, OVER
from .base import CoreOperator

GROUPS = (
    (OVER, "Head over Plate", "Heads over the picture, behind what is nearer"),
    (MATTE, "Matte by Region", "Mattes of skin, hair, eyes, teeth and lips, to grade them one by one"),
    (GRAIN, "Grain Match", "Gives the head the grain of the plate"),
)


def _holds_heads(scene: Any) -> bool:
    return any(convert.is_head(ob) for ob in scene.objects)


class LOQUENT_OT_head_over_plate(CoreOperator, bpy.types.Operator):
    """Draw this scene's heads in a linked scene and put them over its render: one F12 gives the finished picture.
    Your compositing nodes stay as they are"""

    bl_idname = "loquent.head_over_plate"
    bl_label = "Head over This Scene"
    bl_options = {"REGISTER", "UNDO"}

    insert: bpy.props.BoolProperty(
        name="Connect to Output",
        description="Lead the finished picture to the output of your tree. Off: the nodes are added and you connect them",
        default=True,
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        from .. import compositor

        scene = context.scene
        if scene.render.engine == compositor.ENGINE:
            cls.poll_message_set("This scene is drawn by Loquent; choose Cycles or EEVEE for the set first")
            return False
        if not _holds_heads(scene):
            cls.poll_message_set("There is no Loquent head in this scene; add one first")
            return False
        return True

    def run(self, context: Any) -> None:
        from .. import compositor, credits

        scene = context.scene
        if scene.camera is None:
            raise SceneError(f"Scene '{scene.name}' has no camera. Add one first.")
        heads = compositor.make_head_scene(scene)
        compositor.add_over(scene, heads, insert=self.insert)
        scene.render.use_compositing = True
        credits.note(scene)
        self.report({"INFO"}, f"Heads are drawn in scene '{heads.name}'; press F12 here")


class LOQUENT_OT_add_to_compositor(CoreOperator, bpy.types.Operator):
    """Add nodes for the heads to the compositing tree. Your nodes stay as they are"""

    bl_idname = "loquent.add_to_compositor"
    bl_label = "Add Head Nodes"
    bl_options = {"REGISTER", "UNDO"}

    group: bpy.props.EnumProperty(name="Nodes", items=GROUPS)
    insert: bpy.props.BoolProperty(
        name="Connect",
        description="Lead the picture through the new nodes. Off: the nodes are added and you connect them",
        default=True,
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        if _head_scene(context.scene) is None:
            cls.poll_message_set("Choose the Loquent engine, or press Head over This Scene first")
            return False
        return True

    def run(self, context: Any) -> None:
        from .. import compositor

        scene, heads = context.scene, _head_scene(context.scene)
        if self.group == OVER:
            compositor.add_over(scene, heads, insert=self.insert)
        elif self.group == MATTE:
            compositor.add_matte(scene, heads)
        else:
            compositor.add_grain(scene, heads, insert=self.insert)
        scene.render.use_compositing = True


def _head_scene(scene: Any) -> Any:
    from .. import compositor

    return scene if scene.render.engine == compositor.ENGINE else compositor.head_scene_of(scene)


CLASSES = (LOQUENT_OT_head_over_plate, LOQUENT_OT_add_to_compositor)
