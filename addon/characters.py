# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters of any make: the table that says which shape key follows which channel, and performances passed on."""

from typing import Any

import numpy as np

from ..core.errors import MotionError, SceneError
from ..core.head.keys import Keys, linear
from ..core.head.motion import CHANNELS, Motion
from ..core.head.names import recipes
from . import convert, heads, timeline
from .curves import curves_of, read_keys
from .performers import Performer, is_performer, performer
from .properties import settle

LONGEST_FRAMES = 1_000_000


def find_shapes(ob: Any) -> int:
    """Fill an object's table from the names of its shape keys; the number of shape keys found.

    Raises SceneError for a mesh without any that could speak.
    """
    key = ob.data.shape_keys
    found = recipes([block.name for block in key.key_blocks[1:]]) if key else {}
    if not found:
        raise SceneError(
            f"No shape key of '{ob.name}' has a name that Loquent knows (ARKit, VRM, MetaHuman, Ready Player Me, MPFB2, "
            "Character Creator, visemes). Add rows to its table by hand, or rename the shape keys."
        )
    rows = ob.loquent.shapes
    rows.clear()
    for name, recipe in found.items():
        for channel, factor in recipe:
            row = rows.add()
            row.name, row.channel, row.factor = name, channel, factor
    heads.own_uuid(ob)
    settle(ob)
    return len(found)


def pass_on(scene: Any, source: Any, target: Any, name: str = "") -> Any:
    """The take of one performer on another, key for key; the new Action. Raises SceneError without a take.

    Only channels that a source's curve follows alone can be passed on; a character's mixtures (vowels) cannot be undone.
    """
    giver, taker = performer(source), performer(target)
    keys = channel_keys(giver)
    missing = {
        channel: linear(np.array([float(scene.frame_start)]), np.zeros(1))
        for channel in CHANNELS
        if channel not in keys
    }
    heads.own_uuid(target)
    return timeline.lay_keys(scene, taker, keys | missing, name or giver.datablock.animation_data.action.name)


def channel_keys(actor: Performer) -> dict[str, Keys]:
    """Keys of the channels that a performer's active Action holds. Raises SceneError where it holds none."""
    data = actor.datablock.animation_data
    curves = curves_of(data.action, getattr(data, "action_slot", None)) if data else {}
    keys = {}
    for path, curve in curves.items():
        followed = actor.channel_of(path)
        if followed and len(curve.keyframe_points):
            channel, factor = followed
            table = read_keys(curve)
            numbers = table.numbers.copy()
            numbers[:, 1:6:2] /= np.float32(factor)
            keys[channel] = Keys(numbers, table.kinds)
    if not keys:
        raise SceneError(f"'{actor.ob.name}' has no speech in its active Action to pass on. Press Speak first.")
    return keys


def shown_motion(scene: Any, ob: Any, first: int, last: int) -> Motion:
    """What a performer shows between two frames, everything that moves it included: NLA, drivers, control rig.

    A character's channels are read back from the shape keys that follow one channel each. Raises SceneError, MotionError.
    """
    import bpy

    if not is_performer(ob):
        raise SceneError(f"'{ob.name}' is neither a Loquent head nor a character with mapped shape keys.")
    if not 0 <= last - first < LONGEST_FRAMES:
        raise MotionError(f"The range is frame {first} to {last}; expected 1 to {LONGEST_FRAMES:,} frames.")
    actor = performer(ob) if not convert.is_head(ob) else None
    rows = np.zeros((last - first + 1, len(CHANNELS)), np.float32)
    current, sub = scene.frame_current, scene.frame_subframe
    try:
        for k in range(len(rows)):
            scene.frame_set(first + k)
            evaluated = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
            rows[k] = convert.channel_values(evaluated) if actor is None else _character_values(actor, evaluated)
    finally:
        scene.frame_set(current, subframe=sub)
    return Motion(convert.frames_per_second(scene), rows)


def _character_values(actor: Performer, evaluated: Any) -> np.ndarray:
    values = np.zeros(len(CHANNELS), np.float32)
    blocks = evaluated.data.shape_keys or actor.datablock
    for path in actor.recipes:
        followed = actor.channel_of(path)
        if followed:
            values[CHANNELS.index(followed[0])] = blocks.path_resolve(path) / followed[1]
    return values
