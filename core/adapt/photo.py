# SPDX-License-Identifier: GPL-3.0-or-later
"""One photo to a head: find and fit the face, cut it out, lay Gaussians over the mesh and its hair, make them render the photo."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..capture.film import Film
from ..capture.landmarker import Face, Landmarker
from ..capture.matte import HOW_MATTE, Matter, find_matte_model, foreground, plain_matte
from ..capture.people import People
from ..capture.perform import Options, seen_of, track_of
from ..capture.track import Track
from ..errors import CaptureError
from ..geometry.cameras import Camera, look_at
from ..head.head import Head, Identity, identity, load_head, pose_vertices
from ..head.motion import CHANNELS, INDEX
from ..splats.avatar import Avatar, performer, pose
from ..splats.gaussians import SH_C0
from ..splats.holdout import mesh_depth
from ..splats.rasterize import rasterize
from . import remarks
from .complexion import Complexion, complexion
from .consent import Consent
from .hair import faces_above, hair_of, widened
from .likeness import Likeness, likeness
from .picture import Picture, display_of, linear_of, read_picture, sampled, turned
from .result import HeadResult
from .shot import BUST, Shot, shot_of
from .surface import mirror
from .unseen import unseen_colours

STEPS = 120
"""Of the refinement: the loss has all but settled, on photos of 90 to 700 pixels of face."""
LEAST_FACE = 24
"""Pixels of a face's height below which there is nothing to make a head from."""
WIDE = 1.3
"""Length of a photo in its width from which on it may show people side by side."""
LYING = 0.8
"""Radians of roll beyond which a photo lies on its side."""
THUMBNAIL = 256

Progress = Callable[[str, float, "np.ndarray | None"], None]


@dataclass(frozen=True)
class PhotoOptions:
    """name: of the head. consent: who is shown and that they agreed. refine: correct the Gaussians until they render the
    photo. focal_mm: of full-frame film, None estimates it. face: which one, 1 is the largest. model: the landmark model's file.
    threads: 0 is one a CPU."""

    name: str
    consent: Consent
    refine: bool = True
    focal_mm: float | None = None
    face: int = 1
    seed: int = 0
    model: Path | None = None
    threads: int = 0


@dataclass(frozen=True)
class Fitted:
    """The photo understood: what all heads are made from."""

    picture: Picture
    track: Track
    person: Identity
    shot: Shot
    look: Complexion
    warnings: tuple[str, ...]

    @property
    def values(self) -> np.ndarray:
        """(65,) what the face does in the photo."""
        return self.track.motion.values[0]


def head_from_photo(path: Path | str, options: PhotoOptions, progress: Progress | None = None) -> HeadResult:
    """A head that looks like the person in a photo: about 16 s on two cores, most of it the refinement.

    progress is told the stage, 0..1 and now and then a picture, and may raise Cancelled. Raises CaptureError where the file is no
    photo or shows no face, FormatError where consent is missing.
    """
    about = options.consent.about(source="photo")
    report = progress or (lambda stage, fraction, preview: None)
    fitted = fit_photo(path, options, report)
    report("Hair, skin, eyes and mouth", 0.0, None)
    start, shot = start_of(fitted, options.seed)
    report("Hair, skin, eyes and mouth", 1.0, preview(start, fitted, shot))
    finished = refined(start, fitted, shot, options, report) if options.refine else start
    avatar = avatar_of(finished, fitted, options.name, about | told(fitted, options))
    report("Thumbnail", 1.0, avatar.thumbnail[..., :3] if avatar.thumbnail is not None else None)
    return HeadResult(avatar, fitted.warnings, track=fitted.track)


def fit_photo(path: Path | str, options: PhotoOptions, report: Progress) -> Fitted:
    """Read, find the face, fit the parametric head, cut out. 3-8 s."""
    report("Reading the photo", 0.0, None)
    picture = read_picture(path)
    report("Looking for the face", 0.0, None)
    with Landmarker(options.model) as landmarker:
        faces = faces_of(picture.image, landmarker.photo)
        tell = lambda stage, fraction: report(stage, fraction, None)  # noqa: E731
        track = _track(picture, faces, options, tell)
        upright = picture
        for quarters in _ways_up(picture, track, landmarker.photo):
            other = turned(picture, quarters)
            found = faces_of(other.image, landmarker.photo)
            again = _track(other, found, options, tell) if len(found) >= options.face else track
            if again.error < track.error or (_lies(track) and not _lies(again)):
                upright, faces, track = other, found, again
    stands, picture = upright is picture, upright
    head = load_head()
    person = identity(head, track.betas)
    vertices = pose_vertices(person, track.motion.values[0])
    report("Cutting out", 0.0, None)
    matte, warned = _matte(picture, track, vertices, head)
    around = max(2, round(float(np.ptp(track.landmarks[0][:, 1])) / 3))
    shot = shot_of(
        foreground(linear_of(picture.image), matte, around), matte, track.camera, vertices, head, track.landmarks[0]
    )
    look = complexion(shot)
    report("Cutting out", 1.0, display_of(shot.light * shot.matte[..., None] + 0.18 * (1 - shot.matte[..., None])))
    said = (*warned, *remarks.about(picture, faces, options.face, track, shot, look))
    if not stands:
        said = ("The photo did not stand upright, and was turned.", *said)
    return Fitted(picture, track, person, shot, look, said)


def faces_of(image: np.ndarray, look: Callable[[np.ndarray], list[Face]]) -> list[Face]:
    """The faces of a photo, largest first. look: finds those of a picture. MediaPipe sees it 192 pixels across and overlooks small faces beside large ones, so
    it is shown squares of it, too; smaller ones where none is found."""
    found = look(image)
    short, long = sorted(image.shape[:2])
    if long > WIDE * short:
        found = _joined(found, image, short, look)
    if not found and short >= 4 * LEAST_FACE:
        found = _joined(found, image, short // 2, look)
    return sorted(found, key=lambda face: -np.prod(face.box[2:] - face.box[:2]))


def _joined(found: list[Face], image: np.ndarray, side: int, look: Callable[[np.ndarray], list[Face]]) -> list[Face]:
    """Those found and those that squares of the picture show besides. A face cut by a square's edge is not believed."""
    height, width = image.shape[:2]
    steps = lambda n: np.linspace(0, n - side, 1 + int(np.ceil((n - side) / (side / 2)))).astype(int)  # noqa: E731
    found = list(found)
    for top in steps(height):
        for left in steps(width):
            for face in look(image[top : top + side, left : left + side]):
                low, high = face.box[:2], face.box[2:]
                if low.min() < 0 or high.max() > side:
                    continue
                moved = Face(face.points + np.array([left, top], np.float32), face.scores)
                middle = (moved.box[:2] + moved.box[2:]) / 2
                if not any((f.box[:2] < middle).all() and (middle < f.box[2:]).all() for f in found):
                    found.append(moved)
    return found


def _lies(track: Track) -> bool:
    return abs(float(track.motion.values[0, INDEX["headRoll"]])) > LYING


def _ways_up(picture: Picture, track: Track, look: Callable[[np.ndarray], list[Face]]) -> tuple[int, ...]:
    """Quarters of a turn that may bring the face upright. MediaPipe finds faces that lie on their side, but lays an upright one over a
    face that stands on its head: that is suspected where, turned, the person comes in from below and less from above."""
    if _lies(track):
        return (1, 3)
    other = turned(picture, 2)
    faces = look(other.image)
    if not faces or (picture.matte is None and find_matte_model() is None):
        return ()
    if picture.matte is not None:
        now, then = _from_below(picture.matte), _from_below(picture.matte[::-1])
    else:
        with Matter() as matter:
            now = _from_below(matter(picture.image, track.landmarks[0]))
            then = _from_below(matter(other.image, faces[0].points))
    return (2,) if then > now + 0.15 else ()


def _from_below(matte: np.ndarray) -> float:
    """Share of the lower edge of a matte (H, W) that the person covers, less that of the upper one."""
    edge = max(1, len(matte) // 50)
    return float(matte[-edge:].mean() - matte[:edge].mean())


def _track(picture: Picture, faces: list[Face], options: PhotoOptions, report: Callable[[str, float], None]) -> Track:
    height, width = picture.image.shape[:2]
    people = People(25.0)
    people.add(0, faces, False)
    trails = people.chosen(options.face, picture.name)
    tall = float(np.ptp(trails[0].faces[0].points[:, 1]))
    if tall < LEAST_FACE:
        raise CaptureError(
            f"The face in '{picture.name}' is {tall:.0f} pixels high; expected 60 or more for a likeness, {LEAST_FACE} at least. "
            "Use the original photo or crop from a larger one; enlarging this one adds nothing."
        )
    film = Film(Path(picture.name), (width, height), 25.0, 1, True)
    return track_of(film, seen_of(trails), 1, [], Options(options.face, options.focal_mm), report)


def _matte(picture: Picture, track: Track, vertices: np.ndarray, head: Head) -> tuple[np.ndarray, tuple[str, ...]]:
    """The person's matte, and what is to be said about it. One that misses the face is not believed."""
    points = track.landmarks[0]
    silhouette = np.isfinite(mesh_depth([(vertices, head.faces)], track.camera))
    if picture.matte is not None and picture.matte.mean() < 0.97 and _holds(picture.matte, points):
        return picture.matte, ()
    if find_matte_model() is not None:
        with Matter() as matter:
            found = matter(picture.image, points)
        if _holds(found, points):
            return found, ()
        warning = (
            "No person could be told from the background, so the head is cut out by its colours; hair may be missing."
        )
    else:
        warning = f"The person was cut out by colours alone, so hair may have lost its outline. {HOW_MATTE}"
    upper = np.isfinite(mesh_depth([(vertices, faces_above(head, BUST))], track.camera))
    found = plain_matte(picture.image, silhouette, upper)
    return (found if _holds(found, points) else silhouette.astype(np.float32)), (warning,)


def _holds(matte: np.ndarray, points: np.ndarray) -> bool:
    """Whether nearly all of the face is in it."""
    return float(np.median(sampled(matte, points))) > 0.9 and float(sampled(matte, points).mean()) > 0.8


def start_of(fitted: Fitted, seed: int = 0, prior: bool = True) -> tuple[Likeness, Shot]:
    """The head before refinement, and the shot with the mesh as wide as the photo's outline. 2-3 s."""
    return laid_out(fitted.shot, fitted.look, fitted.person, fitted.values, seed, prior)


def laid_out(
    shot: Shot, look: Complexion, person: Identity, values: np.ndarray, seed: int = 0, prior: bool = True
) -> tuple[Likeness, Shot]:
    """A head of a shot in which the face does values (65,), and the shot with the mesh as wide as its outline. 2-3 s.

    prior: skin and clothes that the photo does not show are the visual prior's, where torch is at hand.
    """
    unseen = unseen_colours(shot, person) if prior else None
    wide = replace(shot, vertices=widened(shot, look))
    return likeness(wide, look, hair_of(wide, look), person, values, mirror(person.head), seed, unseen), wide


def refined(
    start: Likeness, fitted: Fitted, shot: Shot, options: PhotoOptions, report: Progress, steps: int = STEPS
) -> Likeness:
    """The start made to render the photo. 10-15 s."""
    from .refine import Target, refine  # torch

    vertices = pose_vertices(fitted.person, fitted.values)
    target = Target(shot.light, shot.matte, shot.counted(), shot.camera, vertices, fitted.person.head.faces)
    stage = "Correcting against the photo"
    report(stage, 0.0, None)
    return refine(start, target, steps, options.seed, options.threads, lambda f, image: report(stage, f, image))


def avatar_of(made: Likeness, fitted: Fitted, name: str, about: dict) -> Avatar:
    """The product's avatar with its thumbnail, without what is transparent, sorted by triangle."""
    order = np.flatnonzero(made.opacities > 0.02)
    order = order[np.argsort(made.binding.triangles[order], kind="stable")]
    b = made.binding
    binding = replace(
        b, triangles=b.triangles[order], offsets=b.offsets[order], quats_wxyz=b.quats_wxyz[order], scales=b.scales[order]
    )  # fmt: skip
    harmonics = ((made.colours[order] - 0.5) / SH_C0)[:, None].astype(np.float32)
    head = fitted.person.head
    told_of = about | ({"gaussians": len(order)} if about else {})
    avatar = Avatar(name, head.head_id, fitted.track.betas, binding, made.opacities[order], harmonics, told_of)
    return replace(avatar, thumbnail=thumbnail(avatar))


def told(fitted: Fitted, options: PhotoOptions) -> dict:
    """For Avatar.about, besides consent: how the head came about."""
    return {
        "provenance": f"Made from the photo '{fitted.picture.name}' by fitting Loquent's parametric head; what the photo does "
        "not show was mirrored, painted or said by a network that knows made-up people.",
        "made_by": "loquent head from-photo",
        "seed": options.seed,
        "refined": options.refine,
        "landmark_error": round(fitted.track.error, 4),
        "warnings": list(fitted.warnings),
    }


def thumbnail(avatar: Avatar) -> np.ndarray:
    """(256, 256, 4) uint8 of the resting head."""
    camera = look_at((0.12, 0.02, 1.0), (0, 0.012, 0.02), fov_y=np.radians(19), width=THUMBNAIL, height=THUMBNAIL)
    posed = pose(performer(avatar), np.zeros(len(CHANNELS), np.float32))
    layers = rasterize(posed, camera)
    straight = layers.colour / np.maximum(layers.alpha, 1e-4)[..., None]
    alpha = (np.clip(layers.alpha, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.concatenate([display_of(straight), alpha[..., None]], -1)


def preview(made: Likeness, fitted: Fitted, shot: Shot, camera: Camera | None = None) -> np.ndarray:
    """(S, S, 3) uint8 of the head as the photo's camera sees it."""
    from ..splats.binding import carry
    from ..splats.gaussians import Gaussians

    means, quats, scales = carry(made.binding, pose_vertices(fitted.person, fitted.values), fitted.person.head.faces)
    harmonics = ((made.colours - 0.5) / SH_C0)[:, None].astype(np.float32)
    layers = rasterize(Gaussians(means, quats, scales, made.opacities, harmonics), camera or shot.camera)
    return display_of(layers.colour + 0.18 * (1 - layers.alpha[..., None]))
