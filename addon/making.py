# SPDX-License-Identifier: GPL-3.0-or-later
"""A head from a photo, a film or splats: the worker learns it, Blender shows how far it is and puts the head into the scene."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ..core.adapt.consent import Consent
from ..core.errors import Cancelled, FormatError, WorkerError
from . import heads, jobs, sound
from .preferences import cache_folder, preference, user_folder

if TYPE_CHECKING:
    from ..core.worker.client import Result


@dataclass(frozen=True)
class Request:
    """Plain values of one head to make. job: of the worker. film: or photo, or splats. folder: where its file goes, empty for
    the usual place. consent: None where nothing is stated, which only heads that others made may do.

    more: options of the job by the names that core/adapt gives them. location: metres, where the head will stand.
    """

    job: str
    film: Path
    name: str
    consent: Consent | None
    scene: int
    folder: str = ""
    overwrite: bool = False
    location: tuple[float, float, float] = (0.0, 0.0, 0.0)
    more: dict[str, Any] = field(default_factory=dict)


class HeadJob(jobs.WorkerJob):
    """A head on its way."""

    def __init__(self, request: Request) -> None:
        consent = request.consent or Consent("", "")
        if request.consent:
            consent.check()
        self.request, self.title = request, request.name
        self.out = target(request)
        self.values: dict[str, Any] = {}
        kept = unfinished()
        self.arguments = {
            **request.more,
            "film": str(request.film),
            "out": str(self.out),
            "overwrite": request.overwrite,
            "name": request.name,
            "subject": consent.subject,
            "consent": consent.statement,
            "date": consent.date,
            "synthetic": consent.synthetic,
            "threads": preference("threads", 0),
            "device": "cuda" if preference("device", "AUTO") == "CUDA" else "cpu",
            "unfinished": kept,
        }
        super().__init__(request.job, self.arguments)

    def poll(self) -> bool:
        try:
            return super().poll()
        except (Cancelled, WorkerError) as stop:
            if not self._kept():
                raise
            kept = "What was learned is kept: choose the same film again and it goes on."
            if isinstance(stop, Cancelled):
                raise Cancelled(f"Cancelled. {kept}") from stop
            raise WorkerError(f"{stop}\n{kept}") from stop

    def _kept(self) -> bool:
        """Whether there is something that the next attempt can go on from."""
        from ..core.worker.making import film_key

        if self.request.job != "head_from_video" or not (folder := self.arguments["unfinished"]):
            return False
        film, face = self.request.film, int(self.request.more.get("face", 1))
        work = Path(folder, film_key(film, face)) if film.is_file() else Path()
        return any(path.name != "take.json" for path in work.glob("*"))  # that one only says whose the folder is

    def _take(self, result: "Result") -> None:
        self.values = result.values
        self.warnings = list(self.values.get("warnings", ()))

    def apply(self) -> str:
        """The head in the scene, selected. Its file is there even where the scene has gone."""
        path = Path(self.values["path"])
        try:
            scene = jobs.found(bpy.data.scenes, self.request.scene, "scene")
        except Exception as error:
            raise FormatError(
                f"The scene was deleted meanwhile. The head is in '{path}': add it from there."
            ) from error
        ob = heads.build_head_object(scene, sound.spelt(path), name=self.request.name, location=self.request.location)
        if self.values.get("style"):
            ob.loquent.style = sound.spelt(Path(self.values["style"]))
        if bpy.context.scene == scene:
            layer = bpy.context.view_layer
            layer.update()  # it does not know the new object before
            if ob.name in layer.objects:
                for other in layer.objects:
                    other.select_set(other == ob)
                layer.objects.active = ob
        style = ", with the voice style of the film" if self.values.get("style") else ""
        told = f"'{ob.name}' is in the scene: {self.values['gaussians']:,} Gaussians in '{path}'{style}."
        return " ".join([told, *self.values.get("notes", ()), "Choose a sound and press Speak."])


def target(request: Request) -> Path:
    """The file that a head will be written to; the worker appends a number where there is one and it may not be replaced.

    Beside the .blend file, or in the folder of this user's heads as long as nothing is saved.
    """
    if request.folder:
        folder = sound.absolute(request.folder)
    elif bpy.data.is_saved:
        folder = Path(bpy.data.filepath).parent
    else:
        folder = user_folder("heads", create=True)
    return folder / f"{bpy.path.clean_name(request.name).strip('_').lower() or 'head'}.loq"


def unfinished() -> str:
    """Folder for what cancelled films have learned; empty where nothing is to be kept."""
    if preference("cache_gigabytes", 0.0) <= 0:  # also where the extension runs without being installed
        return ""
    from ..core.worker.cache import UNFINISHED

    try:
        return str(cache_folder(create=True) / UNFINISHED)
    except OSError:
        return ""
