# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels about a head as a person: how far one is that is being made, whom one shows, and who else it could be."""

import sys
from typing import Any

import bpy
import numpy as np

from ..core.head.sliders import SLIDERS
from .panels import OfHead, Sidebar

_pictures: Any = None
"""Blender's collection of preview pictures; made when the first one is shown."""
_shown = (0, 0.0, "")
"""Count of previews, fraction and stage that the sidebar shows."""
COLUMNS = 46
"""Characters of a statement that a button shows; the tooltip has all of it."""


class LOQUENT_PT_making(Sidebar, bpy.types.Panel):
    bl_label = "In Progress"

    @classmethod
    def poll(cls, context: Any) -> bool:
        jobs = sys.modules.get(f"{__package__}.jobs")  # nothing runs where nothing was begun
        return jobs is not None and jobs.shown() is not None

    def draw(self, context: Any) -> None:
        from . import jobs

        job = jobs.shown()
        if job is None:
            return
        column = self.layout.column()
        column.label(text=job.title, icon="USER")
        column.progress(factor=job.fraction, text=f"{job.stage or 'Starting'} {job.fraction:.0%}")
        column.operator("loquent.cancel", icon="X")  # above the picture, which may reach beyond the sidebar's edge
        if _pictures is not None and "making" in _pictures:
            unit = 20 * bpy.context.preferences.system.ui_scale  # pixels of a button's height
            region = getattr(context, "region", None)
            wide = region.width / unit - 2.5 if region else 0.0  # as wide as the sidebar was drawn
            column.template_icon(icon_value=_pictures["making"].icon_id, scale=max(wide, 9.0))


class LOQUENT_PT_person(OfHead, bpy.types.Panel):
    bl_label = "Person and Consent"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        from ..core.adapt.consent import told
        from ..core.errors import LoquentError
        from . import session

        column = self.layout.column(align=True)
        try:
            loaded = session.of(context.active_object)
        except LoquentError:
            column.label(text="The head's file cannot be read", icon="ERROR")
            return
        rows = [] if loaded.foreign else told(loaded.performer.avatar.about)
        if not any(label in ("Person", "Consent") for label, _ in rows):
            column.label(text="Nothing is stated about person and consent", icon="ERROR")
        for label, text in rows:
            row = column.split(factor=0.3, align=True)
            row.label(text=label)
            short = text if len(text) <= COLUMNS else text[: COLUMNS - 1] + "…"
            button = row.operator("loquent.statement", text=short, emboss=False)
            button.label, button.text = label, text


class LOQUENT_PT_identity(OfHead, bpy.types.Panel):
    bl_label = "Identity"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        from .panels import _problem

        head = context.active_object.loquent
        column = self.layout.column()
        column.use_property_split = True  # with dots: all of it can be keyed
        for name in SLIDERS:
            column.prop(head.identity, name, slider=True)
        column.separator()
        column.prop(head, "blend_with")
        row = column.column()
        row.active = bool(head.blend_with)
        row.prop(head, "blend", slider=True)
        row.prop(head, "blend_shape_only")
        if head.blend_with:
            _problem(self.layout, head.blend_with)


class LOQUENT_OT_statement(bpy.types.Operator):
    """Copy this statement of the head's file to the clipboard"""

    bl_idname = "loquent.statement"
    bl_label = "Copy Statement"
    bl_options = {"INTERNAL"}

    label: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    text: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        return f"{properties.label}: {properties.text}\nStated when the head was made. Click to copy"

    def execute(self, context: Any) -> set[str]:
        context.window_manager.clipboard = self.text
        return {"FINISHED"}


def show_progress(context: Any, job: Any) -> None:
    """The sidebar's picture and bar as the job has them now; draws nothing anew where nothing has changed."""
    global _shown
    now = (job.previews, round(job.fraction, 2), job.stage)
    if now == _shown:
        return
    if job.previews and job.previews != _shown[0]:
        _set_picture(job.preview)
    _shown = now
    redraw(context)


def redraw(context: Any) -> None:
    """The sidebars alone: the view beside them is not drawn again."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def _set_picture(picture: np.ndarray) -> None:
    global _pictures
    from bpy.utils import previews

    if _pictures is None:
        _pictures = previews.new()
    held = _pictures["making"] if "making" in _pictures else _pictures.new("making")
    height, width = picture.shape[:2]
    side = max(height, width)  # icons are square
    pixels = np.zeros((side, side, 4), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    pixels[top : top + height, left : left + width, :3] = picture / np.float32(255)
    pixels[top : top + height, left : left + width, 3] = 1
    held.image_size = (side, side)
    held.image_pixels_float.foreach_set(np.ascontiguousarray(pixels[::-1]).ravel())


def forget() -> None:
    """Free the picture."""
    global _pictures, _shown
    if _pictures is not None:
        from bpy.utils import previews

        previews.remove(_pictures)
    _pictures, _shown = None, (0, 0.0, "")


CLASSES = (LOQUENT_OT_statement, LOQUENT_PT_making, LOQUENT_PT_identity, LOQUENT_PT_person)


register, _unregister = bpy.utils.register_classes_factory(CLASSES)


def unregister() -> None:
    forget()
    _unregister()
