# SPDX-License-Identifier: GPL-3.0-or-later
"""A control rig: bones in front of the face whose movement is added to what is spoken.

The bones drive `loquent.rig.*`, a layer of channels of its own that the head adds to the spoken ones (convert.py). So
speech stays keyed and editable, the rig stays posable and keyable, and a rig at rest changes nothing. Drivers are simple
expressions of bones alone: Blender evaluates them without running Python, so files need no trust, and no object depends
on itself. Eyes that hold a target (`loquent.hold`) have to know what head and speech do; so that is done where the layers
are added up.

Every bone stands upright with the axes of head space (x to the subject's left, y up, z out of the face), so local
movement reads the same everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from ..core.errors import SceneError
from ..core.head.motion import CHANNELS
from . import convert, session

RIG_PATH = "loquent.rig."
LOOK_METRES = 0.5
SHAPES = "Loquent Controls"


@dataclass(frozen=True)
class Control:
    """A bone. at: landmarks whose middle it stands at, or a joint; offset in head space, metres; shape: of what it shows;
    moves: which of its transforms are free."""

    name: str
    at: tuple[str, ...] | int
    offset: tuple[float, float, float]
    shape: str
    size: float
    moves: str
    parent: str = "Head Control"


CONTROLS = (
    Control("Head Control", 1, (0, 0, 0), "circle", 0.16, "turn slide", ""),
    Control("Jaw Control", ("chin",), (0, -0.012, 0.02), "box", 0.012, "slide"),
    Control("Mouth Control", ("lip_upper_middle", "lip_lower_middle"), (0, 0, 0.03), "circle", 0.01, "slide"),
    Control("Corner Control.L", ("mouth_left",), (0.006, 0, 0.02), "circle", 0.005, "slide"),
    Control("Corner Control.R", ("mouth_right",), (-0.006, 0, 0.02), "circle", 0.005, "slide"),
    Control("Brow Control.L", ("eye_left_inner", "eye_left_outer"), (0.006, 0.03, 0.02), "bar", 0.014, "slide"),
    Control("Brow Control.R", ("eye_right_inner", "eye_right_outer"), (-0.006, 0.03, 0.02), "bar", 0.014, "slide"),
    Control("Brow Control", ("eye_left_inner", "eye_right_inner"), (0, 0.028, 0.02), "bar", 0.006, "slide"),
    Control("Lid Control.L", ("eye_left_inner", "eye_left_outer"), (0, 0.008, 0.02), "bar", 0.008, "slide"),
    Control("Lid Control.R", ("eye_right_inner", "eye_right_outer"), (0, 0.008, 0.02), "bar", 0.008, "slide"),
    Control("Look Control", ("eye_left_inner", "eye_right_inner"), (0, 0, LOOK_METRES), "eyes", 0.03, "slide", ""),
)
VARIABLES = {
    "jx": ("Jaw Control", "LOC_X"), "jy": ("Jaw Control", "LOC_Y"), "jz": ("Jaw Control", "LOC_Z"),
    "mx": ("Mouth Control", "LOC_X"), "my": ("Mouth Control", "LOC_Y"), "mz": ("Mouth Control", "LOC_Z"),
    "lx": ("Corner Control.L", "LOC_X"), "ly": ("Corner Control.L", "LOC_Y"),
    "rx": ("Corner Control.R", "LOC_X"), "ry": ("Corner Control.R", "LOC_Y"),
    "bl": ("Brow Control.L", "LOC_Y"), "br": ("Brow Control.R", "LOC_Y"), "bm": ("Brow Control", "LOC_Y"),
    "el": ("Lid Control.L", "LOC_Y"), "er": ("Lid Control.R", "LOC_Y"),
    "tx": ("Look Control", "LOC_X"), "ty": ("Look Control", "LOC_Y"), "tz": ("Look Control", "LOC_Z"),
    "hx": ("Head Control", "LOC_X"), "hy": ("Head Control", "LOC_Y"), "hz": ("Head Control", "LOC_Z"),
    "pitch": ("Head Control", "ROT_X"), "yaw": ("Head Control", "ROT_Y"), "roll": ("Head Control", "ROT_Z"),
}  # fmt: skip
"""Names in expressions -> bone and transform, in metres and radians."""

EXPRESSIONS = {
    "jawOpen": "max(-jy, 0) / 0.03",
    "jawLeft": "max(jx, 0) / 0.012", "jawRight": "max(-jx, 0) / 0.012", "jawForward": "max(jz, 0) / 0.012",
    "mouthLeft": "max(mx, 0) / 0.015", "mouthRight": "max(-mx, 0) / 0.015",
    "mouthPucker": "max(mz, 0) / 0.015", "mouthFunnel": "max(-mz, 0) / 0.015",
    "mouthUpperUpLeft": "max(my, 0) / 0.015", "mouthUpperUpRight": "max(my, 0) / 0.015",
    "mouthLowerDownLeft": "max(-my, 0) / 0.015", "mouthLowerDownRight": "max(-my, 0) / 0.015",
    "mouthSmileLeft": "max(ly, 0) / 0.012", "mouthFrownLeft": "max(-ly, 0) / 0.012",
    "mouthStretchLeft": "max(lx, 0) / 0.012", "mouthPressLeft": "max(-lx, 0) / 0.012",
    "mouthSmileRight": "max(ry, 0) / 0.012", "mouthFrownRight": "max(-ry, 0) / 0.012",
    "mouthStretchRight": "max(-rx, 0) / 0.012", "mouthPressRight": "max(rx, 0) / 0.012",
    "browOuterUpLeft": "max(bl, 0) / 0.01", "browDownLeft": "max(-bl, 0) / 0.01",
    "browOuterUpRight": "max(br, 0) / 0.01", "browDownRight": "max(-br, 0) / 0.01",
    "browInnerUp": "max(bm, 0) / 0.01",
    "eyeBlinkLeft": "max(-el, 0) / 0.01", "eyeWideLeft": "max(el, 0) / 0.01",
    "eyeBlinkRight": "max(-er, 0) / 0.01", "eyeWideRight": "max(er, 0) / 0.01",
    "headPitch": "pitch", "headYaw": "yaw", "headRoll": "roll", "headX": "hx", "headY": "hy", "headZ": "hz",
    "gazeYaw": f"atan2(tx, {LOOK_METRES} + tz)",
    "gazePitch": f"-atan2(ty, {LOOK_METRES} + tz)",
}  # fmt: skip
FIRST = next(iter(EXPRESSIONS))
"""A channel that every rig drives."""


def build_rig(context: Any, ob: Any) -> Any:
    """A new armature in front of a head, parented to it, driving its rig channels. Raises SceneError, FormatError.

    Leaves the selection and mode as they were.
    """
    if find_rig(ob) is not None:
        raise SceneError(f"'{ob.name}' has a control rig already: '{find_rig(ob).name}'.")
    places = _places(ob)
    armature = bpy.data.armatures.new(f"{ob.name} Rig")
    rig = bpy.data.objects.new(f"{ob.name} Rig", armature)
    rig.show_in_front = False  # splats are drawn over what stands in front of everything; these stand before the skin
    for collection in ob.users_collection or (context.scene.collection,):
        collection.objects.link(rig)
    rig.parent = ob
    _bones(context, rig, places)
    _dress(rig)
    _drive(ob, rig)
    return rig


def moved_by(ob: Any) -> Any:
    """The control rig whose bones drive a head, be it its own or, for a copied head, that of the one it was copied from."""
    data = ob.animation_data
    found = data.drivers.find(RIG_PATH + FIRST) if data else None
    return found.driver.variables[0].targets[0].id if found and found.driver.variables else None


def find_rig(ob: Any) -> Any:
    """The control rig of a head; None without one of its own."""
    rig = moved_by(ob)
    return None if rig is None or (rig.parent != ob and convert.is_head(rig.parent)) else rig


def remove_rig(ob: Any) -> None:
    """Take drivers and, where it is the head's own, the rig away; what the rig added is gone, what was spoken stays."""
    rig = find_rig(ob)
    for head in [o for o in bpy.data.objects if o == ob or (rig and convert.is_head(o) and moved_by(o) == rig)]:
        for channel in CHANNELS:
            head.driver_remove(RIG_PATH + channel)
            setattr(head.loquent.rig, channel, 0.0)
    if rig is not None:
        armature = rig.data
        bpy.data.objects.remove(rig)
        if not armature.users:
            bpy.data.armatures.remove(armature)


def reset_rig(rig: Any) -> None:
    """Every bone back to rest; keys are not changed."""
    for bone in rig.pose.bones:
        bone.location = (0, 0, 0)
        bone.rotation_euler = (0, 0, 0)
        bone.rotation_quaternion = (1, 0, 0, 0)
        bone.scale = (1, 1, 1)


def _places(ob: Any) -> dict[str, np.ndarray]:
    loaded = session.of(ob)
    identity = getattr(loaded.performer, "identity", None)
    if identity is None:
        raise SceneError(
            f"'{ob.name}' has no face that Loquent knows the landmarks of; a control rig needs a .loq head."
        )
    places = {}
    for control in CONTROLS:
        if isinstance(control.at, int):
            middle = identity.joints[control.at]
        else:
            middle = np.mean([identity.template[identity.head.landmarks[name]] for name in control.at], 0)
        if control.name == "Look Control":  # at the height of the eyeballs: straight ahead is then no turn
            middle = identity.joints[3:5].mean(0)
        places[control.name] = convert.object_points(np.array([middle + np.array(control.offset)], np.float32))[0]
    return places


def _bones(context: Any, rig: Any, places: dict[str, np.ndarray]) -> None:
    layer = context.view_layer
    active, selected = layer.objects.active, list(context.selected_objects)
    if active is not None and active.mode != "OBJECT":
        raise SceneError("Leave edit or pose mode first.")
    layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        for control in CONTROLS:
            bone = rig.data.edit_bones.new(control.name)
            bone.head = places[control.name]
            bone.tail = bone.head + Vector((0, 0, max(control.size, 0.004)))
            bone.align_roll((0, -1, 0))
            bone.use_deform = False
        for control in CONTROLS:
            if control.parent:
                rig.data.edit_bones[control.name].parent = rig.data.edit_bones[control.parent]
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
        layer.objects.active = active
        for other in selected:
            other.select_set(True)


def _dress(rig: Any) -> None:
    """Shapes, locks and colours of the bones."""
    colours = {".L": "THEME01", ".R": "THEME04"}
    for control in CONTROLS:
        bone = rig.pose.bones[control.name]
        bone.rotation_mode = "ZXY"  # yaw about the axis that pitch has turned about, as the head does
        bone.custom_shape = _shape(control.shape)
        bone.use_custom_shape_bone_size = False
        bone.custom_shape_scale_xyz = (control.size,) * 3
        bone.lock_location = ("slide" not in control.moves,) * 3
        bone.lock_rotation = ("turn" not in control.moves,) * 3
        bone.lock_scale = (True, True, True)
        bone.color.palette = colours.get(control.name[-2:], "THEME09")


def _drive(ob: Any, rig: Any) -> None:
    for channel, expression in EXPRESSIONS.items():
        ob.driver_remove(RIG_PATH + channel)  # a copied head comes with those of the head it was copied from
        driver = ob.driver_add(RIG_PATH + channel).driver
        driver.type = "SCRIPTED"
        names = _names(expression)
        for name in names & set(VARIABLES):
            bone, transform = VARIABLES[name]
            variable = driver.variables.new()
            variable.name, variable.type = name, "TRANSFORMS"
            target = variable.targets[0]
            target.id, target.bone_target, target.transform_type = rig, bone, transform
            target.transform_space, target.rotation_mode = "LOCAL_SPACE", "ZXY"
        driver.expression = expression


def _names(expression: str) -> set[str]:
    import ast

    return {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}


def _shape(kind: str) -> Any:
    """A wire object of unit size that stands in no scene; one a kind and file."""
    name = f"{SHAPES} {kind}"
    found = bpy.data.objects.get(name)
    if found is not None and found.library is None:
        return found
    mesh = bpy.data.meshes.new(name)
    points, edges = _outline(kind)
    mesh.from_pydata(points, edges, [])
    return bpy.data.objects.new(name, mesh)


def _outline(kind: str) -> tuple[list[tuple[float, float, float]], list[tuple[int, int]]]:
    """Points in a bone's axes (x left, y up, z out) and edges."""

    def ring(x: float, radius: float, count: int = 24) -> list[tuple[float, float, float]]:
        turns = np.arange(count) * (2 * np.pi / count)
        return [(x + radius * float(np.cos(a)), radius * float(np.sin(a)), 0.0) for a in turns]

    def closed(first: int, count: int) -> Iterable[tuple[int, int]]:
        return ((first + i, first + (i + 1) % count) for i in range(count))

    if kind == "box":
        return [(-1, -0.5, 0), (1, -0.5, 0), (1, 0.5, 0), (-1, 0.5, 0)], list(closed(0, 4))
    if kind == "bar":
        return [(-1, -0.12, 0), (1, -0.12, 0), (1, 0.12, 0), (-1, 0.12, 0)], list(closed(0, 4))
    if kind == "eyes":
        return [*ring(-1, 0.6), *ring(1, 0.6), (-0.4, 0, 0), (0.4, 0, 0)], [*closed(0, 24), *closed(24, 24), (48, 49)]
    return ring(0, 1), list(closed(0, 24))
