# SPDX-License-Identifier: GPL-3.0-or-later
"""One place where errors of core become messages of Blender."""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import Cancelled, CaptureError, LoquentError
from ..convert import is_head
from ..properties import BLEND_RELATIVE

TICK = 0.1
"""Seconds between looks at a worker."""
COLUMNS = 120
"""Characters of a line in Blender's box of an error."""
FILE = bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"} | BLEND_RELATIVE)
"""A file that is read: chosen anew each time."""


class CoreOperator:
    """Mix-in: `run` does the work; its LoquentErrors become one report and {'CANCELLED'}."""

    def execute(self, context: Any) -> set[str]:
        return self.guarded(self.run, context)

    def guarded(self, step: Any, *args: Any) -> set[str]:
        try:
            return step(*args) or {"FINISHED"}
        except Cancelled as stop:
            self.report({"WARNING"}, str(stop))
        except LoquentError as error:
            self.report({"ERROR"}, str(error) if bpy.app.background else in_lines(str(error)))
        return {"CANCELLED"}


class JobOperator(CoreOperator):
    """Mix-in: `job` begins work in a worker process; progress in the status bar, Esc cancels it, `apply` brings it back."""

    what = ""
    """Of what the percentage is, such as "of the speech"."""
    _job: Any = None
    _timer: Any = None

    def job(self, context: Any) -> Any:
        """Begin it. What comes back has poll, wait, cancel, close, apply, fraction and warnings, as jobs.WorkerJob."""
        raise NotImplementedError

    def run(self, context: Any) -> None:
        """To the end, with Blender waiting: scripts and background mode."""
        job = self.job(context)
        try:
            while not job.poll():
                job.wait()
            self._finish(job)
        finally:
            job.close()

    def invoke(self, context: Any, event: Any) -> set[str]:
        if bpy.app.background:
            return self.execute(context)
        return self.guarded(self._start, context)

    def _start(self, context: Any) -> set[str]:
        self._job = self.job(context)
        window = context.window_manager
        self._timer = window.event_timer_add(TICK, window=context.window)
        window.progress_begin(0, 100)
        window.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        if event.type == "ESC" and event.value == "PRESS":
            self._job.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        answer = self.guarded(self._tick, context)
        if answer & {"FINISHED", "CANCELLED"}:
            self._stop(context)
        return answer

    def _tick(self, context: Any) -> set[str]:
        if not self._job.poll():
            context.window_manager.progress_update(self._job.fraction * 100)
            stage = getattr(self._job, "stage", "")
            done = f"{stage}, {self._job.fraction:.0%}" if stage else f"{self._job.fraction:.0%} {self.what}"
            context.workspace.status_text_set(f"Loquent: {done} (Esc cancels)")
            if getattr(self._job, "title", ""):
                from .. import head_panels

                head_panels.show_progress(context, self._job)
            return {"PASS_THROUGH"}
        self._finish(self._job)
        return {"FINISHED"}

    def _finish(self, job: Any) -> None:
        self.report({"INFO"}, job.apply())
        for warning in reversed(job.warnings):  # the status bar shows what is said last
            self.report({"WARNING"}, warning)

    def cancel(self, context: Any) -> None:
        """Blender is closing or opens another file."""
        self._stop(context)

    def _stop(self, context: Any) -> None:
        self._job.close()
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
        if getattr(self._job, "title", ""):
            from .. import head_panels

            head_panels.forget()
            head_panels.redraw(context)


class Dialog:
    """Mix-in: a file or folder is chosen in Blender's dialog first."""

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class FileOperator(Dialog, CoreOperator):
    """Mix-in: `run` reads the file `filepath`."""

    filepath: FILE


class FileJobOperator(Dialog, JobOperator):
    """Mix-in: a job about a file or folder."""

    def execute(self, context: Any) -> set[str]:
        return self.guarded(self.run if bpy.app.background else self._start, context)


class OfFace:
    """Mix-in: fields of what looks at a face in a photo or film."""

    face: bpy.props.IntProperty(name="Face", description="Which face; 1 is the largest", default=1, min=1, max=4)
    focal_mm: bpy.props.FloatProperty(
        name="Focal Length",
        description="Of the camera, in millimetres of full-frame film; 0 estimates it",
        default=0.0, min=0.0, max=2000.0,
    )  # fmt: skip


class ExportOperator(Dialog, CoreOperator):
    """Mix-in: writes the active object to the file `filepath`, whose suffix is the property `format`."""

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = bpy.path.ensure_ext(bpy.path.clean_name(context.active_object.name), self.format)
        return super().invoke(context, event)

    def check(self, context: Any) -> bool:
        wanted = str(Path(self.filepath).with_suffix(self.format)) if self.filepath else ""
        changed = wanted != self.filepath
        self.filepath = wanted
        return changed


def in_lines(text: str) -> str:
    """The same in lines that fit into a window: Blender's box of an error cuts off what is longer."""
    wrapped = (
        textwrap.wrap(line, COLUMNS, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
    )
    return "\n".join(part for line in wrapped for part in line)


def chosen(filepath: str, absent: str) -> Path:
    """The file of a dialog. Raises CaptureError with `absent`, where {} becomes its name, if there is none."""
    from .. import sound

    path = sound.absolute(filepath)
    if not path.is_file():  # a dialog left without a choice names its folder
        named = " in '{}'" if path.is_dir() else " '{}'"
        raise CaptureError(absent.format(named.format(path) if filepath else " chosen"))
    return path


def format_choice(names: dict[str, str]) -> Any:
    """The property `format` of an export, of the names of formats by their suffix."""
    return bpy.props.EnumProperty(
        name="Format", items=[(suffix, name, f"Write {name}") for suffix, name in names.items()]
    )


def shown_files(suffixes: Iterable[str]) -> Any:
    """The property `filter_glob`: a dialog shows files that end so."""
    return bpy.props.StringProperty(default=";".join(f"*{suffix}" for suffix in suffixes), options={"HIDDEN"})


def idle(cls: Any) -> bool:
    """Whether no job is on its way; if one is, the greyed button says so."""
    from ..jobs import running

    if running():
        cls.poll_message_set("A head is busy already: wait, or press Esc over the viewport")
    return not running()


def active_head(cls: Any, context: Any) -> Any:
    """The active object if it is a head, else None with the reason on the greyed button."""
    ob = context.active_object
    if is_head(ob):
        return ob
    cls.poll_message_set("Select a Loquent head first, or add one")
    return None


def active_performer(cls: Any, context: Any) -> Any:
    """The active object if it is a head or a character that can speak, else None with the reason."""
    from ..performers import is_performer

    ob = context.active_object
    if is_performer(ob):
        return ob
    if ob is not None and ob.type == "MESH" and ob.data.shape_keys:
        cls.poll_message_set("Press Find Shape Keys first: it maps this character's shape keys to speech")
    else:
        cls.poll_message_set("Select a Loquent head first, or add one")
    return None
