# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose Sound: the recording that the active head will speak."""

from typing import Any

import bpy

from ...core.errors import AudioError
from .base import FileOperator, active_head, shown_files

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class LOQUENT_OT_choose_sound(FileOperator, bpy.types.Operator):
    """Choose the recording that this head speaks"""

    bl_idname = "loquent.choose_sound"
    bl_label = "Choose Sound"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: shown_files(SUFFIXES)
    relative_path: bpy.props.BoolProperty(name="Relative Path", default=True)

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_head(cls, context) is not None

    def run(self, context: Any) -> None:
        from ..sound import absolute, spelt

        path = absolute(self.filepath)
        if not path.is_file():
            raise AudioError(f"There is no file '{path}'. Choose a WAV, FLAC, OGG or MP3 recording.")
        if self.relative_path:
            self.filepath = spelt(path)
        context.active_object.loquent.sound = self.filepath
