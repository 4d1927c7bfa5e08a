# SPDX-License-Identifier: GPL-3.0-or-later
"""One film to a head: follow the face, cut the person out, fit Gaussians, tracks and colours to the pictures, learn the voice's
style from the same take, and close the gap between head and body.

Everything that takes minutes is kept in the folder `checkpoint` as it is made, and taken from there when the same film is given
again: an interrupted making goes on where it was, and ends as if it had not been interrupted.
"""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..capture.film import Film, open_film
from ..capture.perform import Options, look, seen_of, track_of
from ..capture.problem import Seen, resting
from ..capture.sound import film_sound
from ..capture.track import Track, load_track, save_track
from ..errors import AudioError, CaptureError, FormatError, MotionError
from ..files import written_whole
from ..head.head import load_head
from ..head.motion import Motion
from ..splats.avatar import Avatar
from ..splats.cuda import gsplat_module
from ..splats.plate import Plate
from .consent import Consent
from .follow import follow, habits
from .footage import Footage, cut_footage
from .photo import Progress, thumbnail
from .result import HeadResult

if TYPE_CHECKING:
    from .video_fit import Fit, Recipe

LEAST_FRAMES = 12
"""Frames in which the face is seen, below which a film is no more than a photo."""
TAKE, TRACK, FOLDER, STYLE = "take.json", "take.track", "pictures", "voice.style"


@dataclass(frozen=True)
class VideoOptions:
    """name: of the head. consent: who is shown and that they agreed. checkpoint: a folder for unfinished work, None keeps none.
    steps: of the fit, None takes the usual number. inpainter, style: whether these are learned as well. size: longer side of
    the pictures fitted to, never more than the film has. focal_mm: of full-frame film, None estimates it. face: which one, 1 is
    the largest. model: the landmark model's file. threads: 0 is one a CPU. held_out: share of the film, at its end, that nothing
    is learned from, for measuring. device: "cpu", or "cuda" for a card that torch can use."""

    name: str
    consent: Consent
    checkpoint: Path | None = None
    steps: int | None = None
    inpainter: bool = True
    style: bool = True
    size: int = 450
    focal_mm: float | None = None
    face: int = 1
    seed: int = 0
    model: Path | None = None
    threads: int = 0
    held_out: float = 0.0
    device: str = "cpu"


@dataclass(frozen=True)
class Take:
    """What was followed in a film: the track of the frames that are learned from, what was seen in them and after them."""

    track: Track
    seen: Seen
    later: Seen
    count: int


def head_from_video(path: Path | str, options: VideoOptions, progress: Progress | None = None) -> HeadResult:
    """A head that looks and moves like the person in a film.

    progress is told the stage, 0..1 and now and then a picture, and may raise Cancelled. Raises CaptureError where the file is no
    film or shows no face, FormatError where consent is missing, RasterError where a card is asked for and cannot be used.
    """
    about = options.consent.about(source="video")
    if options.device == "cuda":
        gsplat_module()  # says what is missing before anything begins
    report = progress or (lambda stage, fraction, preview: None)
    with ExitStack() as stack:
        folder = options.checkpoint or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loquent-")))
        folder.mkdir(parents=True, exist_ok=True)
        film = open_film(path)
        if film.photo:
            raise CaptureError(f"'{film.path.name}' is a photo; expected a film. Make a head from a photo instead.")
        _claim(folder, film, options)
        take = followed(film, options, folder, report)
        footage = cut_footage(
            path,
            take.track,
            folder / FOLDER,
            options.size,
            progress=lambda f, p: report("Cutting out the person", f, p),
        )
        fit = fitted(take.track, footage, options, folder, report)
        avatar, track = finished(fit, take.track, options, about | _told(film, options, fit))
        warnings = list(take.track.warnings)
        style = None
        if options.style:
            style = _style(path, track.motion, options, report, warnings)
        if options.inpainter:
            avatar = _inpainted(path, avatar, track, options, folder, report, warnings)
        avatar = replace(avatar, plate=Plate(track.camera, whole_motion(take, track)[0], track.source))
        return HeadResult(avatar, tuple(warnings), style, track)


def followed(film: Film, options: VideoOptions, folder: Path | None, report: Progress) -> Take:
    """Track the face through a film, and only as far as is learned from."""
    kept = None if folder is None else folder / "seen.npz"
    if folder is not None and kept is not None and kept.is_file() and (folder / TRACK).is_file():
        with np.load(kept) as data:
            seen = Seen(data["points"], data["scores"], data["index"])
            later = Seen(data["later_points"], data["later_scores"], data["later_index"])
            return Take(load_track(folder / TRACK), seen, later, int(data["count"]))
    wanted = Options(options.face, options.focal_mm, None, options.model)
    people, count, cuts = look(film, wanted, lambda f, p: report("Looking for faces", f, p))
    everything = seen_of(people.chosen(options.face, film.path.name))
    end = count - round(options.held_out * count)
    seen, later = _part(everything, 0, end), _part(everything, end, count)
    del people  # a copy of all landmarks, large in a long film
    if len(seen.index) < LEAST_FRAMES:
        raise CaptureError(
            f"The face is seen in {len(seen.index)} frames of '{film.path.name}'; expected at least {LEAST_FRAMES}, better some "
            "seconds. Use a longer film, or make a head from one photo."
        )
    track = track_of(film, seen, end, [c for c in cuts if c < end], wanted, lambda s, f: report(s, f, None))
    if folder is not None and kept is not None:
        save_track(track, folder / TRACK)
        with written_whole(kept) as temporary:
            np.savez(temporary, points=seen.points, scores=seen.scores, index=seen.index, later_points=later.points,
                     later_scores=later.scores, later_index=later.index, count=count)  # fmt: skip
    return Take(track, seen, later, count)


def _part(seen: Seen, start: int, end: int) -> Seen:
    inside = slice(*np.searchsorted(seen.index, (start, end)))
    return Seen(seen.points[inside], seen.scores[inside], seen.index[inside] - start)


def fitted(
    track: Track,
    footage: Footage,
    options: VideoOptions,
    folder: Path | None,
    report: Progress,
    plan: "Recipe | None" = None,
    prior: bool = True,
) -> "Fit":
    """Gaussians, identity, tracks and colours, fitted. plan: None is the usual one. prior: begin with the head that a photo of the best
    frame would give; else with a plain one, for comparisons."""
    from .start import start_of, start_of_film
    from .video_fit import Fit, recipe

    head = load_head()
    report("Laying out the head", 0.0, None)
    plan = plan or recipe(footage.size, options.steps, options.seed)
    start = start_of_film(head, track, footage, options.seed) if prior else start_of(head, track.betas)
    fit = Fit(head, start, footage, track, plan, options.threads, options.device)
    fit.run(folder, lambda fraction, picture: report("Learning the head", fraction, picture))
    return fit


def finished(fit: "Fit", track: Track, options: VideoOptions, about: dict) -> tuple[Avatar, Track]:
    """The avatar and the corrected track of a fit that is done."""
    betas = fit.betas()
    fit.module.betas = betas
    motion = Motion(track.fps, fit.values())
    avatar = fit.module.avatar(options.name, about, colour=fit.colours())
    return replace(avatar, thumbnail=thumbnail(avatar)), replace(track, betas=betas, motion=motion)


def whole_motion(take: Take, track: Track) -> tuple[Motion, Motion]:
    """Learned frames and, after them, those held out, tracked with the identity of `track`, which the fit corrected: with what the
    tracker always does wrong taken out, and plain throughout."""
    if not len(take.later.index):
        return track.motion, take.track.motion
    rest = resting(take.seen.scores)
    learned = follow(take.seen, track, len(track), rest, track.cuts)
    later = follow(take.later, track, take.count - len(track), rest)
    better = habits(learned, track.motion.values).corrected(later)
    both = np.concatenate([track.motion.values, better]), np.concatenate([learned, later])
    return Motion(track.fps, both[0]), Motion(track.fps, both[1])


def _claim(folder: Path, film: Film, options: VideoOptions) -> None:
    """Make the folder this film's: what another film or other options left there is not taken for its own."""
    size = film.path.stat().st_size
    told = {
        "film": film.path.name, "bytes": size, "face": options.face, "focal": options.focal_mm, "size": options.size,
        "held_out": options.held_out,
    }  # fmt: skip
    mark = folder / TAKE
    try:
        same = json.loads(mark.read_text("utf-8")) == told
    except (OSError, ValueError):
        same = False
    if same:
        return
    others = [p for p in folder.iterdir() if p.name not in (TAKE, TRACK, FOLDER, STYLE, "seen.npz", "fit.safetensors", "inpainter.safetensors")]  # fmt: skip
    if others:
        raise FormatError(
            f"'{folder}' is to hold unfinished work, but holds other files ('{others[0].name}'). Choose an empty or a new folder."
        )
    for file in [*folder.glob("*.*"), *(folder / FOLDER).glob("*.png")]:
        file.unlink()
    mark.write_text(json.dumps(told), "utf-8")


def _told(film: Film, options: VideoOptions, fit: "Fit") -> dict:
    return {
        "provenance": f"Made from the film '{film.path.name}' by fitting Loquent's parametric head and its Gaussians; what the "
        "film does not show was filled in.",
        "made_by": "loquent head from-video", "seed": options.seed, "steps": fit.done, "frames": len(fit.frames),
        "gaussians": len(fit.module), "recipe": [asdict(stage) for stage in fit.plan.stages],
    }  # fmt: skip


def _style(
    path: Path | str, motion: Motion, options: VideoOptions, report: Progress, warnings: list[str]
) -> Path | None:
    """The file of the voice's style; where the film has no sound, or it does not fit, a warning instead."""
    from ..prior.generate import default_model
    from ..prior.style import write_style
    from .voice import SHORTEST, Heard, fit_voice

    stage = "Learning how the person speaks"
    report(stage, 0.0, None)
    if motion.seconds < SHORTEST:
        warnings.append(f"No voice style was learned: that needs {SHORTEST:g} s of film, found {motion.seconds:.1f} s.")
        return None
    target = options.checkpoint / STYLE if options.checkpoint else _loose_file()
    try:
        audio = film_sound(path, motion.seconds)
        if audio is None or float(np.abs(audio.samples).max(initial=0)) < 1e-3:
            warnings.append("No voice style was learned: the film has no sound.")
            return None
        about = {"voice": Path(path).name, "consent": options.consent.statement or "not stated"}
        fit = fit_voice(Heard(audio, default_model()), motion, name=options.name, about=about,
                        progress=lambda f: report(stage, f, None))  # fmt: skip
    except (MotionError, AudioError, CaptureError) as error:
        warnings.append(f"No voice style was learned. {error}")
        return None
    warnings.extend(fit.notes)
    write_style(fit.style, target)
    return target


def _loose_file() -> Path:
    """A place that outlives the temporary folder of the pictures: whoever asked for the head copies it to where it belongs."""
    return Path(tempfile.mkdtemp(prefix="loquent-style-")) / STYLE


def _inpainted(
    path: Path | str,
    avatar: Avatar,
    track: Track,
    options: VideoOptions,
    folder: Path,
    report: Progress,
    warnings: list[str],
) -> Avatar:
    from .inpainter import InpainterOptions, inpainter_from_film

    wanted = InpainterOptions(
        size=options.size, frames=(0, len(track)), checkpoint=folder / "inpainter.safetensors", seed=options.seed,
        threads=options.threads,
    )  # fmt: skip
    try:
        return replace(avatar, inpainter=inpainter_from_film(path, avatar, track, wanted, report))
    except CaptureError as error:
        warnings.append(f"No inpainter was learned. {error}")
        return avatar
