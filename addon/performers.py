# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can be made to speak: Loquent heads, and any mesh whose shape keys a table maps to channels.

Both are curves of one datablock: a head's channels are properties of the object, a character's shape keys belong to the
mesh's Key. Everything that writes or reads keys goes through a Performer and need not know which.
"""

from dataclasses import dataclass, field
from typing import Any

from ..core.errors import SceneError
from ..core.head.keys import Keys, summed
from ..core.head.motion import CHANNELS, GROUPS
from .convert import is_head
from .properties import MOTION_PATH

GROUP_OF = {channel: group for group, channels in GROUPS.items() for channel in channels}


@dataclass(frozen=True)
class Performer:
    """ob: the object; datablock: what carries the Action; recipes: data path -> channels and factors that sum to it."""

    ob: Any
    datablock: Any
    id_type: str
    recipes: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)

    def curves(self, keys: dict[str, Keys]) -> dict[str, Keys]:
        """Keys of channels -> keys of data paths."""
        return {
            path: summed([(keys[channel], factor) for channel, factor in recipe])
            for path, recipe in self.recipes.items()
        }

    def group(self, path: str) -> str:
        return GROUP_OF[self.recipes[path][0][0]]

    def driven(self) -> list[str]:
        """Names of what drivers move: Blender shows those, whatever keys say."""
        data = self.datablock.animation_data
        paths = {curve.data_path for curve in data.drivers} if data else set()
        return [path.split('"')[1] if '"' in path else path.rsplit(".", 1)[1] for path in self.recipes if path in paths]

    def channel_of(self, path: str) -> tuple[str, float] | None:
        """The one channel that a path follows and its factor; None for mixtures."""
        recipe = self.recipes.get(path, ())
        return recipe[0] if len(recipe) == 1 and recipe[0][1] else None


def is_character(ob: Any) -> bool:
    """Whether an object is a mesh, not a head of ours, whose shape keys have been mapped."""
    return ob is not None and ob.type == "MESH" and not is_head(ob) and len(ob.loquent.shapes) > 0


def is_performer(ob: Any) -> bool:
    return is_head(ob) or is_character(ob)


def performer(ob: Any) -> Performer:
    """The performer that an object is. Raises SceneError with the reason where it cannot take keys now."""
    if is_head(ob):
        found = Performer(ob, ob, "OBJECT", {MOTION_PATH + name: ((name, 1.0),) for name in CHANNELS})
    elif is_character(ob):
        found = _character(ob)
    else:
        raise SceneError(f"'{ob.name}' is neither a Loquent head nor a character with mapped shape keys.")
    if not found.datablock.is_editable:
        raise SceneError(
            f"'{ob.name}' is linked from another file and cannot take keys. Make a library override of it first "
            "(Object > Library Override > Make)."
        )
    data = found.datablock.animation_data
    if data and data.use_tweak_mode:
        raise SceneError(
            f"An NLA strip of '{ob.name}' is being edited (tweak mode). Leave it with Tab in the NLA editor, then speak."
        )
    return found


def _character(ob: Any) -> Performer:
    if ob.override_library and ob.data.library:
        # Making an override of a character leaves its meshes linked, and with them the shape keys.
        ob.data.override_create(remap_local_usages=True)
    key = ob.data.shape_keys
    if key is None:
        raise SceneError(f"'{ob.name}' has no shape keys any more; clear its table of shape keys, or add them again.")
    recipes: dict[str, list[tuple[str, float]]] = {}
    for row in ob.loquent.shapes:
        if row.channel in CHANNELS and row.factor and row.name in key.key_blocks:
            recipes.setdefault(f'key_blocks["{_escaped(row.name)}"].value', []).append((row.channel, row.factor))
    if not recipes:
        raise SceneError(
            f"None of the mapped shape keys is on '{ob.name}'. Press Find Shape Keys in its Loquent panel."
        )
    return Performer(ob, key, "KEY", {path: tuple(recipe) for path, recipe in recipes.items()})


def _escaped(name: str) -> str:
    import bpy

    return bpy.utils.escape_identifier(name)
