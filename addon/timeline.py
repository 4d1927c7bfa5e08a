# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as keyframes: one new Action of our own for every take; what an artist made is never touched.

What Speak does with an Action that the head already has:

* a former take of ours that nobody extended is unassigned and kept (fake user), with every edit in it;
* anything else is the artist's. It is pushed down into the NLA, as Blender's Push Down does, and goes on playing below
  the take: a walk keyed on the object keeps walking. The Action itself is not altered.
"""

from typing import Any

import bpy
import numpy as np

from ..core.errors import SceneError
from ..core.head.motion import CHANNELS, GROUPS, Motion
from . import convert
from .properties import MOTION_PATH

TAG = "loquent_take"
"""Custom property that marks an Action of ours."""
LINEAR = 1
"""Index in Keyframe's enumeration of interpolations: dense keys need no handles, and sub-frames stay between them."""


def apply_motion(scene: Any, ob: Any, motion: Motion, frame_start: int, name: str = "Speak") -> Any:
    """The new Action with the motion, assigned to the object; frame k of the motion lies at `frame_start + k`.

    Resampled to the scene's rate where it differs. A channel that never changes gets one key, so that no slider left
    somewhere by hand shows through. Raises SceneError for objects that cannot be animated.
    """
    check_target(ob)
    motion = motion.resample(convert.frames_per_second(scene))
    action, slot = _filled_action(ob, motion, frame_start, name)
    scene.frame_end = max(scene.frame_end, frame_start + len(motion) - 1)
    data = ob.animation_data_create()
    _make_room(data, min(scene.frame_start, frame_start), scene.frame_end)
    data.action = action
    if slot is not None:
        data.action_slot = slot
    return action


def check_target(ob: Any) -> None:
    """Raise SceneError with the reason where an object cannot take a new Action now."""
    if not ob.is_editable:
        raise SceneError(
            f"'{ob.name}' is linked from another file and cannot take keys. Make a library override of it first."
        )
    data = ob.animation_data
    if data and data.use_tweak_mode:
        raise SceneError(
            f"An NLA strip of '{ob.name}' is being edited (tweak mode). Leave it with Tab in the NLA editor, then speak."
        )


def is_own(action: Any) -> bool:
    """Whether Loquent made this Action and it holds nothing but motion channels."""
    return TAG in action and all(c.data_path.startswith(MOTION_PATH) for c in curves(action))


def curves(action: Any) -> list[Any]:
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


def _filled_action(ob: Any, motion: Motion, frame_start: int, name: str) -> tuple[Any, Any]:
    action = bpy.data.actions.new(name)
    action[TAG] = ob.loquent.uuid
    action.use_fake_user = True  # kept when the next take replaces it
    slot, bag = None, action
    if hasattr(action, "slots"):  # 4.4 and later
        slot = action.slots.new(id_type="OBJECT", name=ob.name)
        bag = action.layers.new("Speech").strips.new(type="KEYFRAME").channelbag(slot, ensure=True)
    group_of = {channel: group for group, channels in GROUPS.items() for channel in channels}
    groups = {group: bag.groups.new(group) for group in GROUPS}
    frames = np.arange(len(motion), dtype=np.float32) + np.float32(frame_start)
    for channel, values in zip(CHANNELS, motion.values.T, strict=True):
        curve = bag.fcurves.new(MOTION_PATH + channel, index=0)
        curve.group = groups[group_of[channel]]
        constant = bool((values == values[0]).all())
        _fill(curve, frames[:1] if constant else frames, values[:1] if constant else values)
    return action, slot


def _fill(curve: Any, frames: np.ndarray, values: np.ndarray) -> None:
    points = curve.keyframe_points
    points.add(len(frames))
    points.foreach_set("co", np.stack([frames, values], axis=1).ravel())
    points.foreach_set("interpolation", np.full(len(frames), LINEAR, np.int32))
    curve.update()


def _make_room(data: Any, first: int, last: int) -> None:
    """Take the present Action out of the active place without losing it or what it does between two frames."""
    action = data.action
    if action is None:
        return
    if is_own(action):
        action.use_fake_user = True
        return
    track = data.nla_tracks.new()
    track.name = action.name
    begin, end = (int(v) for v in (np.floor(action.frame_range[0]), np.ceil(action.frame_range[1])))
    strip = track.strips.new(action.name, begin, action)
    # Beyond its last key a curve may go on or repeat; a strip would hold still there, so it takes in the whole scene.
    strip.action_frame_end = strip.frame_end = max(end, last)
    strip.action_frame_start = strip.frame_start = min(begin, first)
    if hasattr(strip, "action_slot") and data.action_slot is not None:
        strip.action_slot = data.action_slot
    strip.blend_type = data.action_blend_type
    strip.extrapolation = data.action_extrapolation
    if data.action_influence < 1:
        strip.use_animated_influence = True
        strip.influence = data.action_influence
    data.use_nla = True
