# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every file of this user."""

from typing import Any

import bpy

ROOT = __name__.rsplit(".", 2)[0]
"""Name under which Blender knows the extension, for example `bl_ext.user_default.loquent`."""


class LoquentPreferences(bpy.types.AddonPreferences):
    bl_idname = ROOT

    worker_python: bpy.props.StringProperty(
        name="Worker Python",
        description="Interpreter that speech runs in. Empty: the one that Blender brings",
        subtype="FILE_PATH",
    )
    threads: bpy.props.IntProperty(
        name="Threads",
        description="Threads for rendering and speech. 0: as many as the machine has",
        min=0, soft_max=64,
    )  # fmt: skip

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "worker_python")
        column.prop(self, "threads")


def preference(name: str, default: Any) -> Any:
    """A setting of this user; the default where the extension runs without being installed, as in tests."""
    addon = bpy.context.preferences.addons.get(ROOT)
    return getattr(addon.preferences, name, default) if addon and addon.preferences else default


def register() -> None:
    bpy.utils.register_class(LoquentPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(LoquentPreferences)
