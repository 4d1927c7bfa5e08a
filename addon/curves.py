# SPDX-License-Identifier: GPL-3.0-or-later
"""F-curves <-> core's Keys, all keys at once; the slot and the bag of curves of an Action, in every version."""

from typing import Any

import numpy as np

from ..core.head.keys import BEZIER, KINDS, NUMBERS, WIDTHS, Keys


def all_curves(action: Any) -> list[Any]:
    """All F-curves of an Action, of all its slots."""
    if hasattr(action, "layers"):
        return [
            curve
            for layer in action.layers
            for strip in layer.strips
            for bag in strip.channelbags
            for curve in bag.fcurves
        ]
    return list(action.fcurves)


def new_action(name: str, id_type: str, slot_name: str) -> tuple[Any, Any]:
    """An empty Action with a layer and a slot; (action, slot). The slot is None before 4.4."""
    import bpy

    action = bpy.data.actions.new(name)
    if not hasattr(action, "slots"):
        action.id_root = id_type
        return action, None
    slot = action.slots.new(id_type=id_type, name=slot_name)
    bag_of(action, slot)
    return action, slot


def bag_of(action: Any, slot: Any) -> Any:
    """What holds the curves of a slot: its channelbag, made where there is none; the Action itself before 4.4."""
    if slot is None:
        return action
    layer = action.layers[0] if action.layers else action.layers.new("Speech")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True)


def curves_of(action: Any, slot: Any) -> dict[str, Any]:
    """Curves of one slot by data path; of arrays the first element's."""
    if action is None:
        return {}
    bags = [action]
    if hasattr(action, "layers"):
        bags = [
            bag
            for layer in action.layers
            for strip in layer.strips
            for bag in strip.channelbags
            if slot is not None and bag.slot_handle == slot.handle
        ]
    return {curve.data_path: curve for bag in bags for curve in bag.fcurves if curve.array_index == 0}


def read_keys(curve: Any) -> Keys:
    """All keys of a curve."""
    points = curve.keyframe_points
    count = len(points)
    columns = []
    for name, width in zip(NUMBERS, WIDTHS, strict=True):
        column = np.empty(count * width, np.float32)
        points.foreach_get(name, column)
        columns.append(column.reshape(count, width))
    kinds = np.empty((len(KINDS), count), np.int32)
    for name, row in zip(KINDS, kinds, strict=True):
        points.foreach_get(name, row)
    return Keys(np.concatenate(columns, 1), np.ascontiguousarray(kinds.T))


def write_keys(curve: Any, keys: Keys) -> None:
    """Replace the keys of a curve. Straight dense keys need no handles and are written three times as fast."""
    points = curve.keyframe_points
    points.clear()
    points.add(len(keys))
    points.foreach_set("co", np.ascontiguousarray(keys.numbers[:, :2]).ravel())
    if (keys.kinds[:, 0] == BEZIER).any() or (keys.kinds[:, 0] != keys.kinds[0, 0]).any():
        at = 2
        for name, width in zip(NUMBERS[1:], WIDTHS[1:], strict=True):
            points.foreach_set(name, np.ascontiguousarray(keys.numbers[:, at : at + width]).ravel())
            at += width
        for i, name in enumerate(KINDS):
            points.foreach_set(name, np.ascontiguousarray(keys.kinds[:, i]))
    else:
        points.foreach_set("interpolation", np.ascontiguousarray(keys.kinds[:, 0]))
    curve.update()
