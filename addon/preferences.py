# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every file of this user."""

from pathlib import Path
from typing import Any

import bpy

ROOT = __name__.rsplit(".", 2)[0]
"""Name under which Blender knows the extension, for example `bl_ext.user_default.loquent`."""


class LoquentPreferences(bpy.types.AddonPreferences):
    bl_idname = ROOT

    worker_python: bpy.props.StringProperty(
        name="Worker Python",
        description="Interpreter that speech and learning of heads run in. Empty: the one that Blender brings",
        subtype="FILE_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="What the fitting of a head to a film computes on; speech and rendering need no graphics card",
        items=[
            ("AUTO", "Automatic", "What has been tried most: the processor"),
            ("CPU", "Processor", "Never the graphics card"),
            ("CUDA", "NVIDIA CUDA", "The graphics card, or an error that says why not"),
        ],
    )
    threads: bpy.props.IntProperty(
        name="Threads",
        description="Threads for rendering and speech. 0: as many as the machine has",
        min=0, soft_max=64,
    )  # fmt: skip
    cache_folder: bpy.props.StringProperty(
        name="Cache Folder",
        description="Where heard speech is kept, so that speaking it again with other moods is quick. Empty: Blender's folder for this extension",
        subtype="DIR_PATH",
    )
    cache_gigabytes: bpy.props.FloatProperty(
        name="Cache Size",
        description="In gigabytes; what was not used for longest goes first. 0: nothing is kept",
        default=2.0,
        min=0.0,
        soft_max=50.0,
    )

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        row = column.row(align=True)
        row.prop(self, "worker_python")
        row.operator("loquent.test_worker", text="", icon="PLAY")
        column.prop(self, "device")
        column.prop(self, "threads")
        column.separator()
        column.prop(self, "cache_folder")
        row = column.row(align=True)
        row.prop(self, "cache_gigabytes")
        row.operator("loquent.clear_cache", text="", icon="TRASH")
        column.separator()
        column.operator("loquent.system_report", icon="COPYDOWN")


def preference(name: str, default: Any) -> Any:
    """A setting of this user; the default where the extension runs without being installed, as in tests."""
    addon = bpy.context.preferences.addons.get(ROOT)
    return getattr(addon.preferences, name, default) if addon and addon.preferences else default


def user_folder(name: str = "", *, create: bool = False) -> Path:
    """A folder of this user's for the extension. It survives updates; the extension's own folder may be read-only."""
    try:
        return Path(bpy.utils.extension_path_user(ROOT, path=name, create=create))
    except ValueError:  # not installed as an extension: run from its sources
        path = Path(bpy.utils.user_resource("DATAFILES", path="loquent")) / name
        if create:
            path.mkdir(parents=True, exist_ok=True)
        return path


def cache_folder(*, create: bool = False) -> Path:
    """Where computed things are kept."""
    chosen = preference("cache_folder", "")
    if not chosen:
        return user_folder("cache", create=create)
    path = Path(bpy.path.abspath(chosen)) / "loquent-cache"  # a folder of our own in the user's: it may be emptied
    if create:
        path.mkdir(parents=True, exist_ok=True)
    return path


register, unregister = bpy.utils.register_classes_factory((LoquentPreferences,))
