# SPDX-License-Identifier: GPL-3.0-or-later
"""A film or a photo to a Track: look at every picture once, choose a face, fit, fill in where it was hidden."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import CaptureError
from ..geometry.cameras import Camera
from ..head.head import Head, load_head
from ..head.motion import ARKIT, INDEX, Motion
from .embedding import OUTER_CORNERS, load_embedding
from .film import Film, open_film, pictures
from .fit import Fit, fit_motion, fit_person
from .hidden import hidden
from .landmarker import Face, Landmarker
from .overlay import marked
from .people import People, Trail
from .problem import AT_ONCE, Problem, Seen, Weights
from .track import Track

Progress = Callable[[str, float, np.ndarray | None], None]
"""Told the stage, 0..1 of it and now and then a picture (H, W, 3) uint8; may raise Cancelled."""
SHOWN_EVERY = 25
"""Pictures of a film from one that is shown to the next."""
MAX_FRAMES = 200_000
SENSOR_MM = 36.0
"""Focal lengths are told in millimetres of full-frame film, whose width this is."""
GUESSED_MM = 45.0
"""Between a phone held at arm's length and a portrait lens."""
GOOD, BAD = 0.02, 0.08
"""Median landmark errors, in eye distances, at which a frame is trusted wholly and not at all."""
LONGEST_GAP_SECONDS = 0.5
"""Gaps up to this long are bridged; in longer ones the face also goes back to rest half way."""

JUMP, CALM = 0.1, 6
"""How far a face has to move from one picture to the next for a jump, in eye distances, and in how many pictures to either side
it must have moved little; speaking heads reach .098 in a nod that others follow."""


@dataclass(frozen=True)
class Options:
    """face: which one, 1 is the largest. focal_mm: of full-frame film, None estimates it. fps: None is the film's own.
    model: the landmark model's file, None looks for it."""

    face: int = 1
    focal_mm: float | None = None
    fps: float | None = None
    model: Path | None = None


def capture(path: Path | str, options: Options | None = None, progress: Progress | None = None) -> Track:
    """The performance of one person in a film, or the face in a photo (one frame).

    Raises CaptureError where there is nothing to capture.
    """
    options = options or Options()
    _check(options)
    report = progress or (lambda stage, fraction, picture: None)
    film = open_film(path, options.fps)
    people, count, cuts = look(film, options, lambda f, p: report("Looking for faces", f, p))
    trails = people.chosen(options.face, film.path.name)
    return track_of(film, seen_of(trails), count, cuts, options, lambda stage, f: report(stage, f, None))


def _check(options: Options) -> None:
    if options.face < 1:
        raise CaptureError(f"Face {options.face} was asked for; faces are numbered from 1, the largest.")
    if options.focal_mm is not None and not 5 <= options.focal_mm <= 2000:
        raise CaptureError(
            f"A focal length of {options.focal_mm:g} mm was given; expected 5 to 2000 mm of full-frame film."
        )


def look(
    film: Film, options: Options, progress: Callable[[float, np.ndarray | None], None]
) -> tuple[People, int, list[int]]:
    """Everybody in the film, how many pictures it has, and where its cuts are. About 12 ms of one core a picture.

    progress is told 0..1 and now and then a small picture with the landmarks drawn on it, and may raise Cancelled.
    """
    people, cuts, count = People(film.fps), [], 0
    with Landmarker(options.model) as landmarker:
        faces = []
        for index, picture in enumerate(pictures(film)):
            if index >= MAX_FRAMES:
                raise CaptureError(f"'{film.path.name}' is longer than {MAX_FRAMES:,} pictures. Cut it into takes.")
            if film.photo:
                faces = landmarker.photo(picture.image)
            elif not picture.same:
                faces = landmarker.next(picture.image, picture.cut)
            shown = None if picture.same or index % SHOWN_EVERY else marked(picture.image, faces)
            if picture.scale != 1 and not picture.same:
                for face in faces:
                    face.points[:] *= picture.scale
            people.add(index, faces, picture.cut)
            cuts += [index] if picture.cut else []
            count = index + 1
            progress(min(count / film.frames, 1.0), shown)
    if not count:
        raise CaptureError(f"'{film.path.name}': none of its pictures can be decoded. Copy the file again.")
    return people, count, cuts


def seen_of(trails: Iterable[Trail]) -> Seen:
    """One person's landmarks, in the order of the pictures, less those in which something is before the face."""
    shots: dict[int, list[tuple[int, Face]]] = {}
    for trail in trails:
        shots.setdefault(trail.shot, []).extend(zip(trail.indices, trail.faces, strict=True))
    found: list[tuple[int, Face]] = []
    for _, pairs in sorted(shots.items()):
        pairs.sort(key=lambda pair: pair[0])
        away = hidden([face for _, face in pairs], [i for i, _ in pairs])
        found += [pair for pair, gone in zip(pairs, away, strict=True) if not gone]
    return Seen(
        np.array([face.points for _, face in found], np.float32), np.array([face.scores for _, face in found], np.float32),
        np.array([i for i, _ in found]),
    )  # fmt: skip


def track_of(
    film: Film, seen: Seen, count: int, cuts: list[int], options: Options | None = None,
    report: Callable[[str, float], None] | None = None,
) -> Track:  # fmt: skip
    """Fit what was seen. `count`: pictures of the film; those in which nothing was seen are filled in."""
    options = options or Options()
    report = report or (lambda stage, fraction: None)
    head = load_head()
    cuts = sorted({*cuts, *jumps(seen, film.fps)})
    problem = Problem(head, load_embedding(head), seen, film.size, Weights(), film.fps)
    known = options.focal_mm is not None
    focal = (options.focal_mm or GUESSED_MM) / SENSOR_MM * max(film.size)
    report("Who it is", 0.0)
    betas, focal, frames, values = fit_person(problem, focal, known, progress=lambda f: report("Who it is", f))
    tied = chained(seen.index, cuts, film.fps)
    report("What the face does", 0.0)
    fit = fit_motion(problem, betas, focal, tied, (frames, values), progress=lambda f: report("What the face does", f))
    return _track(film, head, fit, seen, count, cuts)


def jumps(seen: Seen, fps: float) -> list[int]:
    """Pictures at which the whole face is suddenly elsewhere, and calm before and after: a cut within one framing, which the
    picture as a whole hardly shows. Smoothed over, it would pull the frames around it out of place."""
    if len(seen.index) < 2 * CALM:
        return []
    pairs = [seen.points[i : i + AT_ONCE + 1] for i in range(0, len(seen.index) - 1, AT_ONCE)]
    moved = np.concatenate([np.median(np.linalg.norm(np.diff(p, axis=0), axis=2), 1) for p in pairs])
    a, b = OUTER_CORNERS
    step = moved / np.maximum(np.linalg.norm(seen.points[:-1, a] - seen.points[:-1, b], axis=1), 1.0)
    found, next_to_each_other = [], np.diff(seen.index) == 1
    for k in np.flatnonzero((step > JUMP * max(1.0, 25 / fps)) & next_to_each_other):
        around = np.r_[step[max(0, k - CALM) : k], step[k + 1 : k + 1 + CALM]]
        beside = np.r_[step[max(0, k - 2) : k], step[k + 1 : k + 3]]
        if len(around) > CALM and step[k] > 6 * np.median(around) and step[k] > 3 * beside.max():
            found.append(int(seen.index[k + 1]))
    return found


def chained(index: np.ndarray, cuts: list[int], fps: float) -> np.ndarray:
    """(F,) whether a seen frame follows on the one before: no cut between, and not long ago."""
    shots = np.searchsorted(cuts, index, side="right")
    gap = np.diff(index) <= max(1, LONGEST_GAP_SECONDS * fps)
    return np.r_[False, gap & (np.diff(shots) == 0)]


def _track(film: Film, head: Head, fit: Fit, seen: Seen, count: int, cuts: list[int]) -> Track:
    columns = [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]
    middle = np.median(fit.values[:, columns], 0).astype(np.float64)
    values = fit.values.copy()
    values[:, columns] -= middle
    to_camera = np.diag([1.0, -1.0, -1.0, 1.0])
    to_camera[:3, 3] = to_camera[:3, :3] @ middle
    width, height = film.size
    k = np.array([[fit.focal, 0, width / 2], [0, fit.focal, height / 2], [0, 0, 1]])
    confidence = np.zeros(count, np.float32)
    confidence[seen.index] = np.maximum(1 - np.clip((fit.errors - GOOD) / (BAD - GOOD), 0, 1), 0.05)
    filled = fill_in(values, seen.index, count, cuts, film.fps)
    landmarks = fill_in(seen.points.reshape(len(seen.index), -1), seen.index, count, cuts, film.fps, rests=False)
    return Track(
        fit.betas, Camera(to_camera, k, width, height), Motion(film.fps, filled), confidence,
        landmarks.reshape(count, -1, 2), head.head_id, film.path.name, tuple(cuts), float(np.median(fit.errors)),
        _warnings(seen, fit, count, film.fps),
    )  # fmt: skip


def fill_in(
    values: np.ndarray, index: np.ndarray, count: int, cuts: list[int], fps: float, rests: bool = True
) -> np.ndarray:
    """(count, K) from rows at `index`: linear across gaps, held at the ends and at cuts. Where `rests`, coefficients of a
    face long hidden fade to zero, for a mouth held open is worse than one at rest."""
    frames = np.arange(count)
    out = np.empty((count, values.shape[1]), np.float32)
    borders = [0, *cuts, count]
    for start, end in pairwise(borders):
        inside = (index >= start) & (index < end)
        if not inside.any():  # nobody in this shot: as in the nearest frame that shows somebody
            out[start:end] = values[np.abs(index - (start + end) / 2).argmin()]
            continue
        at = np.flatnonzero(inside)
        for first in range(start, end, AT_ONCE):
            own = frames[first : min(first + AT_ONCE, end)]
            after = at[np.clip(np.searchsorted(index[at], own), 0, len(at) - 1)]
            before = np.maximum(after - 1, at[0])
            mix = np.clip((own - index[before]) / np.maximum(index[after] - index[before], 1), 0, 1)[:, None]
            out[own] = values[before] * (1 - mix) + values[after] * mix
    if rests:
        away = _distance(frames, index)
        fade = np.clip(2 - away / max(LONGEST_GAP_SECONDS * fps, 1), 0, 1)[:, None]
        out[:, : len(ARKIT)] *= fade
    return out


def _distance(frames: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Frames to the nearest of a sorted index."""
    after = np.clip(np.searchsorted(index, frames), 0, len(index) - 1)
    before = np.clip(after - 1, 0, None)
    return np.minimum(np.abs(index[after] - frames), np.abs(frames - index[before]))


def _warnings(seen: Seen, fit: Fit, count: int, fps: float) -> tuple[str, ...]:
    found = []
    missed = count - len(seen.index)
    if missed:
        found.append(
            f"No face, or something before it, in {missed} of {count} pictures ({missed / fps:.1f} s); these frames are filled in."
        )
    height = float(np.median(np.ptp(seen.points[..., 1], axis=1)))
    if height < 60:
        found.append(f"The face is {height:.0f} pixels high; below 60 lips cannot be told well. Film it closer.")
    turned = np.abs(fit.values[:, INDEX["headYaw"]]) > 1.05
    if turned.mean() > 0.2:
        found.append(
            f"The head is turned more than 60 degrees in {turned.mean():.0%} of the frames; its far side is guessed."
        )
    if np.median(fit.errors) > 0.04:
        found.append(
            f"Landmarks lie {np.median(fit.errors):.1%} of the eye distance off the fitted head; expected 2 %. A mask, a "
            "drawing or a hand over the face may be why."
        )
    return tuple(found)
