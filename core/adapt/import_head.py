# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads that others made, as avatars: LAM's, GaussianAvatars', and still Gaussians of a head in any frame.

LAM and GaussianAvatars say where their Gaussians sit on a mesh; nothing has to be seen. A still head is registered through
renders: MediaPipe finds the face in them (the compute environment), or the user names a few points of it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from ..assets import AVATARS
from ..capture.embedding import Embedding, load_embedding
from ..errors import AssetError, CaptureError, FormatError
from ..files import check_readable
from ..geometry.cameras import look_at
from ..head.head import Head, load_head
from ..head.registration import Landmarks, Registration, procrustes, register
from ..splats.adopt import Adopted, adopt
from ..splats.avatar import Avatar, builtin_avatars, load_avatar
from ..splats.export import read_bound
from ..splats.formats import SUFFIXES, about_splats, read_splats
from ..splats.gaussians import Gaussians

Progress = Callable[[str, float, "np.ndarray | None"], None]
"""Told the stage, 0..1 of it and once the face that was found, (H, W, 3) uint8; may raise Cancelled."""
FEWEST = 4
WORTH = 60.0
"""What few named points count together: else the shape slides away between them."""
INSIDE_FROM = AVATARS[0]
"""Built-in head whose teeth, tongue and mouth stand behind the lips of still heads."""

ROUND = [
    (0, 0),
    (30, 5),
    (-30, 5),
    (60, 0),
    (-60, 0),
    (100, 5),
    (-100, 5),
    (145, 5),
    (-145, 5),
    (180, 0),
    (0, 35),
    (0, -25),
]
ROUND_METRES, VIEW = 0.8, 384
"""Yaw and pitch in degrees, and pixels, of the pictures in which the colours of LAM's heads are compared."""


@dataclass(frozen=True)
class ImportOptions:
    """name: of the avatar, the file's where empty. about: who is shown, licence, provenance: kept in the file.

    head: file of a FLAME head (`loquent head convert-flame`) for GaussianAvatars. params: its flame_param.npz. landmarks:
    .json of named points of a still head; without it they are looked for in renders. model: MediaPipe's face model.
    """

    name: str = ""
    about: dict[str, Any] | None = None
    head: Path | None = None
    params: Path | None = None
    landmarks: Path | None = None
    model: Path | None = None


@dataclass(frozen=True)
class Imported:
    """avatar; kind: "LAM", "GaussianAvatars" or "still"; notes: what was done or left out, in sentences; head: what it is on."""

    avatar: Avatar
    kind: str
    notes: tuple[str, ...]
    head: Head


def kind_of(path: Path | str) -> str:
    """What a file is, by its contents. Raises FormatError for what cannot be imported."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".zip":
        return "LAM"
    if path.suffix.lower() in SUFFIXES:
        return "GaussianAvatars" if about_splats(path).bound else "still"
    raise FormatError(
        f"'{path}' cannot be imported: expected a LAM head (folder or .zip), a .ply of GaussianAvatars, or a still head as "
        f".ply or .spz; found '{path.suffix or 'no suffix'}'."
    )


def import_head(path: Path | str, options: ImportOptions, progress: Progress | None = None) -> Imported:
    """An avatar of any of these. Raises FormatError, CaptureError with what was expected."""
    path = Path(path)
    tell = progress or (lambda stage, fraction, picture: None)
    kind = kind_of(path)
    name = options.name or path.stem
    about = dict(options.about or {}) | {"imported_from": f"{kind}: {path.name}"}
    if kind == "GaussianAvatars":
        head = _flame_head(options.head) if options.head else load_head()
        if options.head is None and not _ours(path, head):
            raise FormatError(
                f"'{path}' is bound to the triangles of a FLAME head, which it does not hold. Convert your FLAME model once "
                "(loquent head convert-flame model.pkl -o flame.head.npz) and give it with --head flame.head.npz."
            )
        avatar, notes = read_bound(path, head, options.params, name=name)
        return Imported(_with(avatar, about), kind, notes, head)
    head = load_head()
    if kind == "LAM":
        adopted, registration = _lam(path, head, name, about, tell)
        notes = _notes(adopted, registration)
    else:
        gaussians, registration = _still(path, head, options, tell)
        tell("bind", 0.0, None)
        adopted = adopt(gaussians, registration, load_avatar(builtin_avatars()[INSIDE_FROM]), name, about)
        notes = (*_notes(adopted, registration), f"Teeth and tongue are those of the built-in head {INSIDE_FROM}.")
    tell("bind", 1.0, None)
    return Imported(adopted.avatar, kind, notes, head)


def read_landmarks(path: Path, head: Head, embedding: Embedding) -> Landmarks:
    """Points named by the user: {"nose_tip": [x, y, z], …}, names of head.npz's landmarks or MediaPipe's numbers."""
    check_readable(path, "landmarks (.json)", 1 << 20)
    try:
        found = json.loads(path.read_text("utf-8"))
        pairs = {str(name): np.asarray(point, np.float64) for name, point in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"'{path}' cannot be read as landmarks: {error}. Expected {{\"nose_tip\": [x, y, z], …}}."
        ) from error
    corners, weights, points = [], [], []
    for name, point in pairs.items():
        if point.shape != (3,) or not np.isfinite(point).all():
            raise FormatError(f"'{path}': {name[:40]} is not a point [x, y, z] of finite numbers.")
        if name in head.landmarks:
            corners.append([head.landmarks[name]] * 3)
            weights.append([1.0, 0.0, 0.0])
        elif name.isdecimal() and int(name) < len(embedding.corners):
            corners.append(embedding.corners[int(name)].tolist())
            weights.append(embedding.weights[int(name)].tolist())
        else:
            raise FormatError(
                f"'{path}': there is no landmark '{name[:40]}'. Known are {', '.join(head.landmarks)} and MediaPipe's numbers "
                f"0 to {len(embedding.corners) - 1}."
            )
        points.append(point)
    trust = max(1.0, WORTH / max(len(points), 1))
    marks = Landmarks(np.array(corners), np.array(weights), np.array(points), trust)
    spread = np.linalg.svd(marks.points - marks.points.mean(0), compute_uv=False) if len(points) > 2 else np.zeros(3)
    if len(points) < FEWEST or spread[1] < 0.1 * spread[0]:
        raise FormatError(
            f"'{path}' holds {len(points)} points{' in one line' if len(points) >= FEWEST else ''}; expected {FEWEST} or more "
            "over the face, such as nose_tip, chin, eye_left_outer, eye_right_outer, mouth_left and mouth_right."
        )
    return marks


def _lam(path: Path, head: Head, name: str, about: dict[str, Any], tell: Progress) -> tuple[Adopted, Registration]:
    """Bound as its own morph targets say that it moves, in colours that look as its trainer saw them."""
    from ..splats.colour import linear_layers
    from ..splats.lam import load_lam
    from ..splats.rasterize import rasterize
    from ..splats.recolour import recoloured

    lam, displayed = load_lam(path), load_lam(path, linear=False).rest
    registration = register(head, lam.vertices, lam.faces, progress=lambda fraction: tell("register", fraction, None))
    tell("bind", 0.0, None)
    cameras = [look_at(ROUND_METRES * _towards(*at), (0, 0.03, 0), width=VIEW, height=VIEW) for at in ROUND]
    looks = [linear_layers(rasterize(displayed, camera)).colour for camera in cameras]
    tell("bind", 0.2, None)
    gaussians = recoloured(lam.rest, cameras, looks)
    tell("bind", 0.8, None)
    return adopt(gaussians, registration, None, name, about, lambda values: lam.pose(values).means), registration


def _towards(yaw: float, pitch: float) -> np.ndarray:
    yaw, pitch = np.radians([yaw, pitch])
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def _still(path: Path, head: Head, options: ImportOptions, tell: Progress) -> tuple[Gaussians, Registration]:
    from ..capture.splat_face import find_face, seen_surface

    gaussians = read_splats(path)
    embedding = load_embedding(head)
    if options.landmarks:
        marks = read_landmarks(options.landmarks, head, embedding)
        similarity = procrustes(marks.ours(head.template.astype(np.float64)), marks.points)
        vertices, faces = seen_surface(gaussians, similarity, head)
    else:
        from ..capture.landmarker import Landmarker

        try:
            opened = Landmarker(options.model)
        except CaptureError as error:
            raise CaptureError(
                f"{error} Or name {FEWEST} or more points of the face yourself (landmarks, a .json), which needs nothing else."
            ) from error
        with opened as landmarker:
            face = find_face(
                gaussians, head, embedding, landmarker, lambda fraction: tell("find the face", fraction, None)
            )
        tell("register", 0.0, face.picture)
        marks, vertices, faces = face.landmarks, face.vertices, face.faces
    registration = register(
        head, vertices, faces, marks, seen_only=True, progress=lambda fraction: tell("register", fraction, None)
    )
    return gaussians, registration


def _flame_head(path: Path) -> Head:
    check_readable(path, "a head file (.head.npz)", 1 << 29)
    expected = (
        "expected what `loquent head convert-flame model.pkl -o flame.head.npz` writes; a FLAME model itself has to be converted "
        "first."
    )
    if not is_zipfile(path):
        raise FormatError(f"'{path}' is no head file, nor any .npz: {expected}")
    try:
        return load_head(path)
    except AssetError as error:
        raise FormatError(f"'{path}' is no head file: {expected} ({error})") from error


def _ours(path: Path, head: Head) -> bool:
    """Whether a bound .ply was written by Loquent for the built-in head: the .npz beside it says so."""
    side = path.with_suffix(".npz")
    if not side.is_file():
        return False
    try:
        with side.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return "head_id" in file.files and str(file["head_id"]) == head.head_id
    except (OSError, ValueError, EOFError, KeyError):
        return False


def _notes(adopted: Adopted, registration: Registration) -> tuple[str, ...]:
    notes = [f"Registered to {1e3 * registration.error:.2f} mm in the mean."]
    if adopted.cut or adopted.added:
        notes.append(
            f"{adopted.cut:,} Gaussians over the lips cut in two, {adopted.added:,} added for what lids, lips and a closed mouth "
            "hide."
        )
    if adopted.left_out:
        notes.append(f"{adopted.left_out:,} Gaussians far from the head or behind its closed lips were left out.")
    return tuple(notes)


def _with(avatar: Avatar, about: dict[str, Any]) -> Avatar:
    from dataclasses import replace

    return replace(avatar, about=about)
