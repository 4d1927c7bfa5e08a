# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said when: kept with the take, and written where animators look for it, as markers or as strips."""

import json
from collections.abc import Iterable
from typing import Any

from . import sound

PHONES = "loquent_phones"
"""Custom property of a take: JSON of [first frame, last frame, phoneme]."""
PAUSES = ("", "sil", "sp", "pau", "_")
FEWEST_FRAMES = 1


def of(action: Any) -> list[tuple[float, float, str]]:
    """(first frame, last frame, phoneme) of a take, in order; empty where there are none."""
    text = action.get(PHONES, "") if action else ""
    try:
        return [(float(a), float(b), str(name)) for a, b, name in json.loads(text)] if text else []
    except (ValueError, TypeError):
        return []


def keep(
    action: Any,
    phones: Iterable[tuple[float, float, str]],
    frame: int,
    fps: float,
    region: tuple[int, int] | None = None,
) -> None:
    """Store phonemes, given in seconds from `frame` on, with a take; outside `region` the ones there stay."""
    new = [(frame + a * fps, frame + b * fps, name) for a, b, name in phones if name not in PAUSES]
    if region:
        first, last = region[0], region[1] + 1
        new = [p for p in new if p[1] > first and p[0] < last]
        new += [p for p in of(action) if p[1] <= first or p[0] >= last]
    _unmark(action)
    action[PHONES] = json.dumps([[round(a, 2), round(b, 2), name] for a, b, name in sorted(new)])


def show(scene: Any, ob: Any, action: Any, where: str) -> None:
    """Write the phonemes of a take down as `where` says: NONE, MARKERS or STRIPS. What was shown before goes."""
    _unmark(action)
    _remove_strips(scene, ob.loquent.uuid)
    if where == "MARKERS":
        for first, _, name in of(action):
            action.pose_markers.new(name).frame = round(first)
    elif where == "STRIPS":
        _add_strips(scene, ob.loquent.uuid, of(action))


def _unmark(action: Any) -> None:
    ours = {(round(first), name) for first, _, name in of(action)}
    for marker in [m for m in action.pose_markers if (m.frame, m.name) in ours]:
        action.pose_markers.remove(marker)


def _remove_strips(scene: Any, owner: str) -> None:
    if scene.sequence_editor is None:
        return
    strips = sound.strips_of(scene)
    for strip in [s for s in strips if s.type == "TEXT" and s.get(sound.OWNER) == owner]:
        strips.remove(strip)


def _add_strips(scene: Any, owner: str, phones: list[tuple[float, float, str]]) -> None:
    strips = sound.strips_of(scene)
    channel = max((s.channel for s in strips), default=0) + 1
    length = "length" if "length" in strips.bl_rna.functions["new_effect"].parameters else "frame_end"
    taken = -(10**9)
    for first, last, name in phones:
        begin = max(round(first), taken)
        end = max(round(last), begin + FEWEST_FRAMES)
        taken = end
        size = end - begin if length == "length" else end
        strip = strips.new_effect(
            name=name, type="TEXT", channel=min(channel, 128), frame_start=begin, **{length: size}
        )
        strip.text, strip.mute = name, True  # to be read in the editor, never in the picture
        strip[sound.OWNER] = owner
