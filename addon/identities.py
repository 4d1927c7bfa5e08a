# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads of another shape: sliders along the basis of identity, and one head that turns into another.

Settings are read off the (evaluated) object at every frame, so all of them can be keyed. A head whose settings are neutral
is the file's own and costs nothing. Shapes under the same looks share what is uploaded once; a mixture whose factor is keyed
is a new set of Gaussians at every frame.
"""

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.head.sliders import SLIDERS
from .paths import home

if TYPE_CHECKING:
    from .session import Loaded

KEEP = 8
_lock = threading.Lock()
_mixed: dict[tuple[Any, ...], "Loaded"] = {}
_shaped: dict[tuple[Any, ...], tuple["Loaded", "Loaded"]] = {}
"""(what was reshaped, the result) by identity and amounts."""


class Wanted(NamedTuple):
    """What an object asks of its head. amounts: by slider, without zeros; other, factor, shape_only: of blending."""

    amounts: tuple[tuple[str, float], ...]
    other: str
    factor: float
    shape_only: bool


def wanted(ob: Any) -> Wanted | None:
    """None where the head is as its file has it. Microseconds: it is asked for at every redraw."""
    head = ob.loquent
    sliders = head.identity
    amounts = tuple((name, value) for name in SLIDERS if (value := getattr(sliders, name)))
    other = head.blend_with
    factor = head.blend if other else 0.0
    if not amounts and not factor:
        return None
    return Wanted(amounts, other if factor else "", factor, bool(factor) and head.blend_shape_only)


def shaped(loaded: "Loaded", asked: Wanted, ob: Any) -> "Loaded":
    """The head as asked for; the same object again while nothing changes. Raises FormatError or AssetError for the other."""
    with _lock:
        looks = loaded if not asked.factor else _mixture(loaded, asked, ob)
        if not asked.amounts:
            return looks
        key = id(looks), asked.amounts
        found = _shaped.get(key)
        if found is None or found[0] is not looks:
            found = _shaped[_room(_shaped, key)] = looks, _moved(looks, asked)
        return found[1]


def _mixture(loaded: "Loaded", asked: Wanted, ob: Any) -> "Loaded":
    from ..core.errors import FormatError
    from ..core.splats.avatar import performer
    from ..core.splats.mixing import mixed
    from . import session

    other = session.performer(asked.other, home(ob, "blend_with"))
    if other.foreign:
        raise FormatError(
            f"'{asked.other}' holds splats without a face that Loquent knows; heads blend with .loq files and built-in heads."
        )
    key = loaded.path, loaded.stamp, other.path, other.stamp, asked.factor, asked.shape_only
    found = _mixed.get(key)
    if found is None or found.base is not loaded:
        both = loaded.performer.avatar, other.performer.avatar
        avatar = mixed(*both, asked.factor, looks=not asked.shape_only)
        same = loaded.looks if asked.shape_only else other if avatar is both[1] else None
        found = session.Loaded(loaded.path, loaded.stamp, performer(avatar), loaded, same)
        _mixed[_room(_mixed, key)] = found
    return found


def _moved(looks: "Loaded", asked: Wanted) -> "Loaded":
    from ..core.splats.avatar import performer
    from ..core.splats.mixing import reshaped
    from . import session

    avatar = reshaped(looks.performer.avatar, dict(asked.amounts))
    return session.Loaded(looks.path, looks.stamp, performer(avatar), looks.base or looks, looks.looks)


def _room(held: dict[tuple[Any, ...], Any], key: tuple[Any, ...]) -> tuple[Any, ...]:
    while len(held) >= KEEP:
        held.pop(next(iter(held)))
    return key


def forget() -> None:
    with _lock:
        _mixed.clear()
        _shaped.clear()
