# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as keyframes: a new Action of our own for every take; what an artist made is never altered.

What Speak does with an Action that is there already:

* A take of ours. It is kept as it is (fake user), and the new take is a copy of it with the keys of speech replaced: so
  muted, locked and coloured curves, modifiers, other properties that were keyed into it and other slots go on.
  **Edits survive.** Each take remembers the keys that were written. A key that the artist moved, added, deleted or
  reshaped since is carried into the new take, with everything between the untouched keys beside it, as long as the same
  recording is spoken; around it the new take shows. A curve that was deleted stays deleted.
* Anything else is the artist's. It is pushed down into the NLA, as Blender's Push Down does, and goes on playing below
  the take: a walk keyed on the object keeps walking. The Action itself is not altered.
"""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..core.errors import SceneError
from ..core.head.keys import Keys, edited_spans, pack, replaced, unpack, with_spans
from ..core.head.motion import CHANNELS, Motion
from ..core.head.reduction import dense_keys, sparse_keys
from . import convert
from .curves import all_curves, bag_of, curves_of, new_action, read_keys, write_keys
from .performers import Performer, performer

TAG = "loquent_take"
"""Custom property that marks an Action of ours."""
RECORD, RECORDING, START, RATE = "loquent_keys", "loquent_recording", "loquent_start", "loquent_fps"
"""Custom properties of a take: the keys as they were written, what is spoken, from which frame, at which rate."""
KEPT = "loquent_kept"
"""Custom property of a take: number of curves that hold the artist's changes."""
EASE_SECONDS = 0.08
"""How long a take spoken over a range takes to run into what stood there."""


@dataclass(frozen=True)
class Bake:
    """How motion becomes keys.

    millimetres: vertex error of sparse keys; 0 for a key a frame. recording: what is spoken; edits are carried over only
    between takes of one recording. region: frames (first, last) that are spoken anew; None for the whole take.
    """

    millimetres: float = 0.0
    recording: str = ""
    region: tuple[int, int] | None = None
    keep_edits: bool = True


def apply_motion(
    scene: Any, ob: Any, motion: Motion, frame_start: int, name: str = "Speak", bake: Bake = Bake(),
    keys: dict[str, Keys] | None = None,
) -> Any:  # fmt: skip
    """The new Action with the motion, assigned to the object; frame k of the motion lies at `frame_start + k`.

    Resampled to the scene's rate where it differs. A channel that never changes gets one key, so that no slider left
    somewhere by hand shows through. keys: the sparse keys of this motion from this frame on, where they have been made
    already. Raises SceneError for objects that cannot be animated.
    """
    actor = performer(ob)
    fps = convert.frames_per_second(scene)
    if motion.fps != fps:
        motion, keys = motion.resample(fps), None
    if keys is None or set(keys) != set(CHANNELS):
        keys = (
            sparse_keys(motion, frame_start, bake.millimetres) if bake.millimetres else dense_keys(motion, frame_start)
        )
    return lay_keys(scene, actor, keys, name, frame_start, len(motion), bake)


def lay_keys(
    scene: Any, actor: Performer, keys: dict[str, Keys], name: str, start: int | None = None, frames: int = 0, bake: Bake = Bake()
) -> Any:  # fmt: skip
    """The new Action with keys of channels. start, frames: what the motion spans; from the keys where left out."""
    if start is None:
        start = int(min(k.frames[0] for k in keys.values()))
        frames = int(max(k.frames[-1] for k in keys.values())) - start + 1
    fps = convert.frames_per_second(scene)
    data = actor.datablock.animation_data_create()
    former = data.action if data.action and is_take(data.action) else None
    take = _copy(actor, former, getattr(data, "action_slot", None)) if former else _new(actor, name)
    take.action.name = name
    take.action[TAG] = actor.ob.loquent.uuid
    take.action.use_fake_user = True  # kept when the next take replaces it
    _lay(take, actor.curves(keys), start, fps, bake)
    scene.frame_end = max(scene.frame_end, start + frames - 1)
    _make_room(data, min(scene.frame_start, start), scene.frame_end)
    data.action = take.action
    if take.slot is not None:
        data.action_slot = take.slot
    if any(is_take(strip.action) for track in data.nla_tracks for strip in track.strips if strip.action):
        data.action_extrapolation = "NOTHING"  # takes that were pushed down play on before and after this one
    return take.action


def check_target(ob: Any) -> None:
    """Raise SceneError with the reason where an object cannot take a new Action now."""
    performer(ob)


def is_take(action: Any) -> bool:
    """Whether Loquent made this Action."""
    return TAG in action


def takes_of(ob: Any) -> list[Any]:
    """Every take of a head or character that the file holds, oldest first by name."""
    return [a for a in bpy.data.actions if a.get(TAG) == ob.loquent.uuid and ob.loquent.uuid]


def use_take(ob: Any, action: Any) -> None:
    """Make another take of a performer the one that plays. Raises SceneError where an artist's Action is in its place."""
    actor = performer(ob)
    data = actor.datablock.animation_data_create()
    if data.action and not is_take(data.action):
        raise SceneError(
            f"'{data.action.name}', which is not a take of Loquent's, plays on '{ob.name}'. Push it down into the NLA first."
        )
    data.action = action
    if hasattr(action, "slots"):
        slots = [slot for slot in action.slots if slot.target_id_type in {actor.id_type, "UNSPECIFIED"}]
        data.action_slot = next((s for s in slots if s.name_display == ob.name), slots[0] if slots else None)


def curves(action: Any) -> list[Any]:
    """All F-curves of an Action, of all its slots."""
    return all_curves(action)


def edits(action: Any, slot: Any) -> dict[str, list[tuple[float, float]]]:
    """What the artist changed in a take: data path -> spans of frames; [] for a deleted curve.

    Nothing for a take whose record is lost: then there is no telling.
    """
    then = unpack(action[RECORD]) if isinstance(action.get(RECORD), bytes) else None
    if then is None:
        return {}
    now = curves_of(action, slot)
    found = {path: edited_spans(read_keys(now[path]), keys) for path, keys in then.items() if path in now}
    return {path: spans for path, spans in found.items() if spans} | {path: [] for path in then if path not in now}


@dataclass(frozen=True)
class _Take:
    """A take that is being made. former: the one that it is a copy of, with the slot that was assigned there."""

    action: Any
    slot: Any
    actor: Performer
    former: Any = None
    former_slot: Any = None


def _new(actor: Performer, name: str) -> _Take:
    return _Take(*new_action(name, actor.id_type, actor.ob.name), actor)


def _copy(actor: Performer, former: Any, former_slot: Any) -> _Take:
    former.use_fake_user = True
    action = former.copy()
    slot = None
    if hasattr(action, "slots"):
        slot = action.slots.get(former_slot.identifier) if former_slot else None
        slot = slot or action.slots.new(id_type=actor.id_type, name=actor.ob.name)
    return _Take(action, slot, actor, former, former_slot)


def _lay(take: _Take, new: dict[str, Keys], start: int, fps: float, bake: Bake) -> None:
    """Write the new keys, the artist's edits kept, and the record of what was written."""
    present = curves_of(take.action, take.slot)
    old = {path: read_keys(present[path]) for path in new if path in present} if take.former else {}
    record, changed = _former_record(take, start, fps, bake)
    bag = bag_of(take.action, take.slot)
    groups = {group.name: group for group in bag.groups}
    ease = max(1, round(EASE_SECONDS * fps))
    written = {}
    for path, keys in new.items():
        if changed.get(path) == []:
            written[path] = keys  # deleted by the artist, and remembered as such
            continue
        if bake.region and path in old:
            before = record.get(path, old[path])
            written[path] = replaced(before, keys, *bake.region, ease)
            keys = replaced(old[path], keys, *bake.region, ease)
        else:
            written[path] = keys
        if path in changed:
            moved = _moved(old[path], take, start, fps, bake)
            keys = with_spans(keys, moved, changed[path])
        curve = present.get(path)
        if curve is None:
            curve = bag.fcurves.new(path, index=0)
            group = take.actor.group(path)
            groups[group] = groups.get(group) or bag.groups.new(group)
            curve.group = groups[group]
        write_keys(curve, keys)
    if RECORD in take.action:  # bytes assigned over bytes end at the first zero
        del take.action[RECORD]
    take.action[RECORD] = pack(written)
    if not bake.region or START not in take.action:
        take.action[RECORDING] = bake.recording
        take.action[START] = float(start)
    take.action[RATE] = float(fps)
    take.action[KEPT] = len(changed)


def _former_record(
    take: _Take, start: int, fps: float, bake: Bake
) -> tuple[dict[str, Keys], dict[str, list[tuple[float, float]]]]:
    """What the former take had written and the artist changed, moved to where the new take lies."""
    former = take.former
    if former is None:
        return {}, {}
    record = (unpack(former[RECORD]) if isinstance(former.get(RECORD), bytes) else None) or {}
    same = bake.keep_edits and (former.get(RECORDING, "") == bake.recording or bool(bake.region))
    changed = edits(former, take.former_slot) if same else {}
    if bake.region:
        return record, changed
    shift, stretch = _time(former, start, fps)
    moved = {
        path: [(first * stretch + shift, last * stretch + shift) for first, last in spans]
        for path, spans in changed.items()
    }
    return record, moved


def _time(former: Any, start: int, fps: float) -> tuple[float, float]:
    """(shift, stretch) of frames from a former take to the new one: the recording may begin elsewhere or the rate differ."""
    stretch = fps / float(former.get(RATE, fps))
    return start - float(former.get(START, start)) * stretch, stretch


def _moved(keys: Keys, take: _Take, start: int, fps: float, bake: Bake) -> Keys:
    if bake.region:
        return keys
    return keys.moved(*_time(take.former, start, fps))


def _make_room(data: Any, first: int, last: int) -> None:
    """Take the present Action out of the active place without losing it or what it does between two frames."""
    action = data.action
    if action is None:
        return
    if is_take(action):
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
