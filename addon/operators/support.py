# SPDX-License-Identifier: GPL-3.0-or-later
"""What helps when something does not work: the worker tested, the cache emptied, a report to paste, a head found again."""

from pathlib import Path
from typing import Any

import bpy

from ...core.errors import FormatError
from ..paths import home
from ..preferences import cache_folder
from .base import CoreOperator, FileOperator, active_head, shown_files


class LOQUENT_OT_test_worker(CoreOperator, bpy.types.Operator):
    """Start the worker's Python and say what it can do"""

    bl_idname = "loquent.test_worker"
    bl_label = "Test Worker"
    bl_options = {"REGISTER"}

    def run(self, context: Any) -> None:
        from .. import diagnosis

        told = diagnosis.worker()
        self.report({"INFO"}, told)


class LOQUENT_OT_clear_cache(CoreOperator, bpy.types.Operator):
    """Delete what Loquent has cached; everything in it can be computed again"""

    bl_idname = "loquent.clear_cache"
    bl_label = "Empty Cache"
    bl_options = {"REGISTER"}

    def run(self, context: Any) -> None:
        from ...core.worker.cache import trim

        freed = trim(cache_folder(), 0)
        self.report({"INFO"}, f"{freed / 1e6:.1f} MB deleted.")


class LOQUENT_OT_system_report(CoreOperator, bpy.types.Operator):
    """Copy what a developer needs to know about this computer and file to the clipboard; nothing is sent anywhere"""

    bl_idname = "loquent.system_report"
    bl_label = "Copy System Report"
    bl_options = {"REGISTER"}

    def run(self, context: Any) -> None:
        from .. import diagnosis

        context.window_manager.clipboard = diagnosis.report(context)
        self.report({"INFO"}, "The report is in the clipboard: paste it where you ask for help.")


class LOQUENT_OT_relink(FileOperator, bpy.types.Operator):
    """Choose the file of this head anew; other heads whose file went missing from the same folder are found with it"""

    bl_idname = "loquent.relink"
    bl_label = "Find Head File"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: shown_files([".loq"])

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def run(self, context: Any) -> None:
        from .. import session, sound

        chosen = sound.absolute(self.filepath)
        session.performer(str(chosen))  # refuses what is no head before anything is changed
        head = context.active_object.loquent
        missing = sound.absolute(head.avatar, home(context.active_object, "avatar")).parent
        head.avatar = _spelt(chosen, self.filepath)
        found = 0
        for ob in bpy.data.objects:
            avatar = ob.loquent.avatar
            if not avatar or not ob.is_editable or not avatar.lower().endswith(".loq"):
                continue
            path = sound.absolute(avatar, home(ob, "avatar"))
            beside = chosen.parent / path.name
            if not path.is_file() and path.parent == missing and beside.is_file():
                ob.loquent.avatar = _spelt(beside, self.filepath)
                found += 1
        self.report({"INFO"}, f"'{chosen.name}' found" + (f", and {found} more beside it." if found else "."))


def _spelt(path: Path, like: str) -> str:
    """A path relative to the .blend file where the user's choice was; absolute otherwise."""
    if like.startswith("//") or bpy.context.preferences.filepaths.use_relative_paths:
        try:
            return bpy.path.relpath(str(path)) if bpy.data.is_saved else str(path)
        except ValueError:  # another drive on Windows
            pass
    if not path.is_file():
        raise FormatError(f"There is no file '{path}'. Choose another.")
    return str(path)


CLASSES = (LOQUENT_OT_test_worker, LOQUENT_OT_clear_cache, LOQUENT_OT_system_report, LOQUENT_OT_relink)
