# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads from photos, films and splats in the worker: options in, a `.loq` written, its path and what to tell the user out.

The learning itself is in core/adapt and needs torch and MediaPipe; what is missing is said before anything is read. What a
cancelled film has learned lies in a folder named after the film, and the next attempt goes on from there.
"""

import hashlib
import shutil
import time
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..adapt import environment
from ..adapt.consent import Consent
from ..errors import CaptureError

STAGES = {"find the face": "Looking for the face", "register": "Laying the head under it", "bind": "Binding the splats"}
"""What core/adapt/import_head.py does, for people."""
UNSTATED = (
    "Nothing was stated about whom the head shows. It is somebody's face: make the head again with Person and Consent before you "
    "show it to others."
)
KEEP_DAYS = 30
"""Unfinished work that nobody came back to is deleted after so long."""


def from_photo(arguments: dict[str, Any], progress: Any) -> dict[str, Any]:
    """Arguments: film (the photo), out (a .loq), overwrite, subject, consent, date, synthetic, and any of PhotoOptions' fields."""
    consent, out = _begun(arguments)
    from ..adapt.photo import PhotoOptions, head_from_photo

    options = PhotoOptions(consent=consent, **_options(PhotoOptions, arguments))
    return _saved(head_from_photo(arguments["film"], options, watched(progress)), out, arguments)


def from_video(arguments: dict[str, Any], progress: Any) -> dict[str, Any]:
    """Arguments as for photos with any of VideoOptions' fields; unfinished: a folder for the work of all films, or empty."""
    consent, out = _begun(arguments)
    from ..adapt.video import VideoOptions, head_from_video

    unfinished = Path(arguments["unfinished"]) if arguments.get("unfinished") else None
    folder = None
    if unfinished:
        forget_old(unfinished)
        folder = unfinished / film_key(Path(arguments["film"]), int(arguments.get("face", 1)))
        folder.mkdir(parents=True, exist_ok=True)
    options = VideoOptions(consent=consent, checkpoint=folder, **_options(VideoOptions, arguments))
    answer = _saved(head_from_video(arguments["film"], options, watched(progress)), out, arguments)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return answer


def from_splats(arguments: dict[str, Any], progress: Any) -> dict[str, Any]:
    """Arguments: film (the splats: .ply, .spz, or a LAM head), out, overwrite, subject, consent, date, synthetic (all four may
    be empty: what others made may say nothing of it), licence, and any of ImportOptions' fields. A FLAME head is copied to its avatar."""
    from ..adapt.import_head import ImportOptions, import_head, kind_of
    from ..adapt.result import HeadResult

    path = Path(arguments["film"])
    if not path.exists():
        raise CaptureError(f"There are no splats '{path}'. Choose a .ply, .spz or .zip of a head.")
    about: dict[str, Any] = {}
    if any(arguments.get(name) for name in ("subject", "consent", "synthetic")):
        about = _consent(arguments).about("splats")
    if arguments.get("licence"):
        about["licence"] = arguments["licence"]
    if kind_of(path) == "still" and not arguments.get("landmarks"):
        environment.check()  # the face is looked for in renders
    wanted = _options(ImportOptions, arguments, "about")
    wanted |= {name: Path(wanted[name]) for name in ("head", "params", "landmarks") if name in wanted}
    tell = watched(progress)
    found = import_head(path, ImportOptions(about=about, **wanted), lambda s, f, p: tell(STAGES[s], f, p))
    warnings = () if about.get("subject") else (UNSTATED,)
    answer = _saved(HeadResult(found.avatar, warnings), Path(arguments["out"]), arguments)
    if "head" in wanted and not (beside := Path(answer["path"]).with_name(wanted["head"].name)).exists():
        shutil.copyfile(wanted["head"], beside)  # an avatar looks for its head in its own folder
    return answer | {"notes": list(found.notes)}


def film_key(film: Path, face: int) -> str:
    """A folder name for a film's unfinished work: the same for the same file, and another where it has changed."""
    info = film.stat()
    told = f"{film.resolve()} {info.st_size} {info.st_mtime_ns} {face}"
    return f"{film.stem[:24]}-{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def forget_old(folder: Path, days: float = KEEP_DAYS) -> None:
    """Delete unfinished work in which no file is younger than `days`."""
    for work in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):
            newest = max((path.stat().st_mtime for path in [work, *work.rglob("*")]), default=0.0)
            if work.is_dir() and time.time() - newest > days * 86400:
                shutil.rmtree(work, ignore_errors=True)


def free_path(path: Path) -> Path:
    """The path, or the first of `name-2`, `name-3` … that does not exist."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return candidate


def _begun(arguments: dict[str, Any]) -> tuple[Consent, Path]:
    """Everything that can be refused at once is refused before minutes of work."""
    consent = _consent(arguments)
    consent.check()
    if not Path(arguments["film"]).is_file():
        raise CaptureError(f"There is no photo or film '{arguments['film']}'. Choose one that shows a face.")
    environment.check()
    return consent, Path(arguments["out"])


def _consent(arguments: dict[str, Any]) -> Consent:
    return Consent(
        arguments["subject"], arguments["consent"], arguments.get("date", ""), bool(arguments.get("synthetic"))
    )


def _options(cls: Any, arguments: dict[str, Any], *but: str) -> dict[str, Any]:
    """What of the arguments are fields of an options class; empty texts, focal lengths and steps of zero are left to its
    defaults."""
    known = {field.name for field in fields(cls)} - {"consent", "checkpoint", *but}
    out = {name: value for name, value in arguments.items() if name in known and value not in ("", None)}
    for name in ("focal_mm", "steps"):
        if not out.get(name, 1):
            del out[name]
    if "model" in out:
        out["model"] = Path(out["model"])
    return out


def watched(progress: Any) -> Any:
    """Progress of core/capture and core/adapt, told to the worker's parent: stage, fraction of it, a picture now and then."""

    def tell(stage: str, fraction: float, preview: Any = None) -> None:
        progress.stage(stage, preview)
        progress(fraction)

    return tell


def _saved(result: Any, out: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    from ..splats.avatar import save_avatar

    out.parent.mkdir(parents=True, exist_ok=True)
    path = out if arguments.get("overwrite") else free_path(out)
    save_avatar(result.avatar, path)
    style = ""
    if result.style is not None:
        beside = path.with_suffix(".style")
        beside = beside if arguments.get("overwrite") else free_path(beside)
        if Path(result.style) != beside:
            shutil.copyfile(result.style, beside)
        style = str(beside)
    return {
        "path": str(path),
        "style": style,
        "name": result.avatar.name,
        "gaussians": len(result.avatar),
        "warnings": list(result.warnings),
    }
