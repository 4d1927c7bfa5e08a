# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's FLAME 2020 or 2023 model (Li et al. 2017) as a head file of ours: load_head, identity, pose_vertices work on it.

Taken from FLAME: mesh, identity directions, joints, skinning weights, and the jaw's pose correctives. Carried over from the
built-in head, which is registered to FLAME's template once: the 52 ARKit units, lids, masks, regions, landmarks. FLAME's own
expression directions are kept as the basis in which the carried units are written (`expression_basis`), so that tracked
FLAME expressions can be read as ARKit coefficients (core/head/flame_npz.py).

Left out: the neck's and eyes' pose correctives (our formula has the jaw's), and FLAME has neither teeth nor tongue. The head
is moved so that its neck joint is the origin, as ours is.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import FormatError
from ..files import check_readable, written_whole
from ..geometry.surface import components
from . import flame_pickle
from .head import Head
from .motion import ARKIT, JAW_OPEN_RADIANS, LOOK_RADIANS
from .registration import Landmarks, Progress, Registration, register

NEEDED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
SHAPES = 300
EXPRESSIONS = 100
"""FLAME's shapedirs hold 300 directions of identity, then 100 of expression."""
CLEARANCE = 8e-4
"""Metres that lids stay above the eyeball, or at rest if that is less."""
MAX_VERTICES = 60_000
NOTE = "Made from a FLAME model: FLAME's own licence goes on to hold for this file. Do not pass it on where that forbids it."


def read_flame_model(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of a FLAME .pkl or .npz, checked. Raises FormatError with what is missing or of another shape."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        found = flame_pickle.read_arrays(path)
    elif suffix == ".npz":
        found = _npz(path)
    else:
        raise FormatError(f"'{path}': expected a FLAME model, .pkl or .npz; found '{suffix or 'no suffix'}'.")
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise FormatError(
            f"'{path}' is no FLAME model: expected {', '.join(NEEDED)}; {', '.join(missing)} missing, found "
            f"{', '.join(sorted(found)[:8]) or 'no arrays'}. Get FLAME 2020 or 2023 from flame.is.tue.mpg.de."
        )
    return _checked(path, {name: found[name] for name in NEEDED})


def _checked(path: Path, model: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    v = len(model["v_template"])
    columns = model["shapedirs"].shape[-1] if model["shapedirs"].ndim == 3 else 0
    posedirs = model["posedirs"]
    if posedirs.ndim == 2:  # as some repackings store it: (36, 3 V)
        model["posedirs"] = posedirs = posedirs.T.reshape(-1, 3, posedirs.shape[0])
    shapes = {
        "v_template": (v, 3), "shapedirs": (v, 3, columns), "posedirs": (v, 3, 36), "J_regressor": (5, v), "weights": (v, 5),
        "f": (len(model["f"]), 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        if model[name].shape != shape or model[name].dtype.kind not in "fiu" or not model[name].size:
            raise FormatError(
                f"'{path}': {name} is {model[name].shape}; expected {shape}, as FLAME 2020 and 2023 have it (5 joints)."
            )
        if not np.isfinite(model[name]).all():
            raise FormatError(f"'{path}': {name} holds numbers that are not finite. Download the model again.")
    if columns <= EXPRESSIONS:
        raise FormatError(
            f"'{path}': shapedirs has {columns} directions; expected 400, of which the last {EXPRESSIONS} are expressions. "
            "Parts of FLAME without expressions cannot be converted."
        )
    faces = model["f"].astype(np.int64)
    if v > MAX_VERTICES or faces.min() < 0 or faces.max() >= v:
        raise FormatError(f"'{path}': triangles reach vertex {faces.max():,} of {v:,}. The file is damaged.")
    if np.abs(model["weights"].sum(1) - 1).max() > 0.02 or np.abs(model["J_regressor"].sum(1) - 1).max() > 0.02:
        raise FormatError(f"'{path}': rows of weights or J_regressor do not sum to 1. The file is damaged.")
    if not 0.1 < np.ptp(model["v_template"][:, 1]) < 1:
        raise FormatError(
            f"'{path}': the head is {np.ptp(model['v_template'][:, 1]):.3g} high; expected metres with y up, as FLAME has it."
        )
    return model


def convert_flame(
    model: Mapping[str, np.ndarray], head: Head, landmarks: Landmarks | None = None, progress: Progress | None = None
) -> tuple[dict[str, np.ndarray], Registration]:
    """The arrays of a head file (core/data/head.md) and the registration they rest on. About 10 s.

    landmarks: points of the built-in head on FLAME's template, in its own coordinates, such as those of
    `mediapipe_landmarks`; without them registration starts from the shape alone and is some 20 % less exact.
    """
    template = np.asarray(model["v_template"], np.float64)
    faces = np.asarray(model["f"]).astype(np.int32)
    count = min(SHAPES, model["shapedirs"].shape[2] - EXPRESSIONS)
    shapedirs = np.asarray(model["shapedirs"][:, :, :count], np.float64).transpose(2, 0, 1)
    regressor = np.asarray(model["J_regressor"], np.float64)
    origin = (regressor @ template)[1]
    found = register(head, template, faces, landmarks, progress=progress)

    weights = np.asarray(model["weights"], np.float32)
    skin = np.zeros(len(template), bool)
    skin[found.target.used] = True
    eyes = _eyes(weights, faces)
    balls = [_ball(template, eye) for eye in eyes]
    socket = np.zeros(len(template), bool)
    for centre, radius in balls:  # behind the lids: would poke through the eyeball if it moved along
        socket |= (np.linalg.norm(template - centre, axis=1) < 1.25 * radius) & ~found.sure
    units = np.where(skin[None, :, None], found.carry_displacements(head.units, socket), 0).astype(np.float32)
    expressions = np.asarray(model["shapedirs"][:, :, count : count + EXPRESSIONS], np.float64)
    regions = _regions(head, found, faces, eyes, len(template))
    arrays: dict[str, np.ndarray] = {
        "template": (template - origin).astype(np.float32), "faces": faces, "shapedirs": shapedirs.astype(np.float16),
        "units": units, "unit_names": np.array(ARKIT),
        "posedirs": np.asarray(model["posedirs"][:, :, 9:18], np.float32).transpose(2, 0, 1),  # neck, jaw, eyes: nine each
        "weights": weights, "joints": (regressor @ template - origin).astype(np.float32),
        "joint_dirs": np.einsum("jv,svd->sjd", regressor, shapedirs).astype(np.float32),
        "joint_names": np.array(["root", "neck", "jaw", "leye", "reye"]), "parents": np.array([-1, 0, 1, 1, 1]),
        "jaw_open_radians": np.array(JAW_OPEN_RADIANS),
        "look_degrees": np.degrees([LOOK_RADIANS[way] for way in ("Down", "In", "Out", "Up")]),
        "uv": _cylinder(template), "faces_uv": faces, "regions": regions, "region_names": np.array(head.region_names),
        "source_index": np.full(len(template), -1, np.int32),
        "mask_names": np.array(list(head.masks)),
        **{f"mask_{name}": np.where(skin, found.carry(mask), 0).astype(np.float16) for name, mask in head.masks.items()},
        "landmark_names": np.array(list(head.landmarks)),
        "landmarks": _nearest(found, np.array(list(head.landmarks.values()))),
        "preset_names": np.array([], "<U1"), "preset_betas": np.zeros((0, count), np.float32),
        "part_names": np.array(["before", "eye_left", "between", "eye_right", "after"]),
        "part_starts": np.array([0, eyes[0].start, eyes[0].stop, eyes[1].start, eyes[1].stop, len(template)]),
        "cornea": np.array([0.0, 1.0]),  # FLAME's eyeballs are spheres
        "expression_basis": _in_directions(units[:, skin], expressions[skin]),
        "note": np.array(NOTE), "registration_error": np.array(found.error),
    }  # fmt: skip
    return arrays | _lids(head, found, units, template, balls), found


def write_head(arrays: Mapping[str, np.ndarray], path: Path | str) -> None:
    """Write a head file."""
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def read_basis(path: Path | str) -> np.ndarray:
    """(52, E): the ARKit units of a converted FLAME head in its own expression directions, for read_flame and write_flame."""
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            basis = np.asarray(file["expression_basis"], np.float64)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise FormatError(
            f"'{path}' holds no basis of expressions ({error}); expected a head made by `loquent head convert-flame`."
        ) from error
    if basis.ndim != 2 or len(basis) != len(ARKIT) or not np.isfinite(basis).all():
        raise FormatError(f"'{path}': its basis of expressions is {basis.shape}; expected (52, E) finite numbers.")
    return basis


def mediapipe_landmarks(
    path: Path | str, corners: np.ndarray, weights: np.ndarray, model: Mapping[str, np.ndarray]
) -> Landmarks:
    """Landmarks from FLAME's `mediapipe_landmark_embedding.npz`; corners and weights (478, 3): MediaPipe's on our head."""
    path = Path(path)
    check_readable(path, "FLAME's mediapipe_landmark_embedding.npz", 1 << 24)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            triangles, bary, which = (file[n] for n in ("lmk_face_idx", "lmk_b_coords", "landmark_indices"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise FormatError(
            f"'{path}' holds no landmarks ({error}); expected FLAME's mediapipe_landmark_embedding.npz."
        ) from error
    triangles, which = np.ravel(triangles).astype(np.int64), np.ravel(which).astype(np.int64)
    n = len(which)
    if (
        len(triangles) != n or bary.shape != (n, 3) or not n or which.min() < 0 or which.max() >= len(corners)
        or triangles.min() < 0 or triangles.max() >= len(model["f"])
    ):  # fmt: skip
        raise FormatError(f"'{path}': its landmarks do not fit this model. Take the file that belongs to it.")
    places = np.asarray(model["v_template"], np.float64)[np.asarray(model["f"]).astype(np.int64)[triangles]]
    return Landmarks(corners[which], weights[which], np.einsum("lk,lkd->ld", np.asarray(bary, np.float64), places))


def _npz(path: Path) -> dict[str, np.ndarray]:
    check_readable(path, "a FLAME .npz", flame_pickle.MAX_BYTES)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in file.zip.infolist()}
            if sum(sizes.get(name, 0) for name in NEEDED) > flame_pickle.MAX_MADE:
                raise FormatError(f"'{path}' unpacks to {sum(sizes.values()):,} bytes; refused.")
            return {name: file[name] for name in NEEDED if name in file.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, BadZipFile, zlib.error) as error:
        raise FormatError(
            f"'{path}' cannot be read as a FLAME .npz: {error}. If it holds pickled objects, give the .pkl itself."
        ) from error


def _eyes(weights: np.ndarray, faces: np.ndarray) -> tuple[slice, slice]:
    """Runs of vertices that are the left and the right eyeball: loose pieces which an eye's joint carries wholly."""
    piece = components(faces, len(weights))
    out = []
    for joint, name in ((3, "left"), (4, "right")):
        on = np.flatnonzero(weights[:, joint] > 0.99)
        on = on[np.isin(piece[on], piece[on[:1]])] if len(on) else on
        if len(on) < 8 or on[-1] - on[0] + 1 != len(on):
            raise FormatError(
                f"The model's {name} eyeball was not found: expected a run of vertices on joint {joint} alone, found {len(on)}."
            )
        out.append(slice(int(on[0]), int(on[-1]) + 1))
    return out[0], out[1]


def _regions(head: Head, found: Registration, faces: np.ndarray, eyes: tuple[slice, slice], count: int) -> np.ndarray:
    """(F',) region of each triangle: that of the triangle of ours its first corner lies on; eyeballs by their vertices."""
    source = head.faces_of("skin", "lips")
    source = source[(head.faces[source] < head.parts["skin"].stop).all(1)]
    of_vertex = head.regions[source][found.carrier.triangles]
    out = np.sort(of_vertex[faces], 1)[:, 1].astype(np.uint8)
    for eye, name in zip(eyes, ("eye_left", "eye_right"), strict=True):
        out[(faces >= eye.start).all(1) & (faces < eye.stop).all(1)] = head.region_names.index(name)
    return out


def _nearest(found: Registration, vertices: np.ndarray) -> np.ndarray:
    """Vertices of the other head that lie nearest to some of ours."""
    closest = found.places(found.vertices[vertices], found.ours.normals[vertices])
    corners = found.target.faces[closest.triangles]
    return corners[np.arange(len(corners)), closest.bary.argmax(1)].astype(np.int32)


def _ball(template: np.ndarray, eye: slice) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of an eyeball: the sphere through its vertices, by least squares."""
    points = template[eye]
    a = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    x = np.linalg.lstsq(a, (points * points).sum(1), rcond=None)[0]
    return x[:3], float(np.sqrt(max(x[3] + x[:3] @ x[:3], 0)))


def _lids(
    head: Head, found: Registration, units: np.ndarray, template: np.ndarray, balls: list[tuple[np.ndarray, float]]
) -> dict[str, np.ndarray]:
    """Which vertices stay outside the eyeballs, as `Lids` has it; FLAME has no lashes."""
    out: dict[str, np.ndarray] = {}
    near = found.carry(head.masks["eyelids"]) > 0.02
    for lid, side, (centre, radius) in zip(head.lids, ("left", "right"), balls, strict=True):
        distance = np.linalg.norm(template - centre, axis=1)
        front = template[:, 2] > centre[2]
        index = np.flatnonzero(near & found.sure & front & (distance > radius) & (distance < 1.6 * radius))
        gaps, weights = _nearest(found, lid.gap_index.ravel()).reshape(lid.gap_index.shape), lid.gap_weights
        blink = units[ARKIT.index("eyeBlink" + side.title())]
        rates = (blink[gaps, 1] * weights).sum(1)
        good = rates < 0.8 * np.median(rates)  # towards the corners both margins may have found the same vertices
        out |= {
            f"lid_index_{side}": index.astype(np.int32),
            f"lid_clearance_{side}": np.full(len(index), CLEARANCE, np.float32),
            f"lash_index_{side}": np.zeros(0, np.int32), f"lash_roots_{side}": np.zeros(0, np.int32),
            f"lid_gap_index_{side}": gaps[good], f"lid_gap_weights_{side}": weights[good].astype(np.float32),
        }  # fmt: skip
    return out


def _in_directions(units: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(52, E): units (52, V, 3) as combinations of expression directions (V, 3, E), by least squares with a little damping."""
    basis = directions.reshape(-1, directions.shape[2])
    gram = basis.T @ basis
    damping = 1e-6 * max(np.trace(gram) / len(gram), 1e-30)
    right = basis.T @ units.reshape(len(units), -1).T.astype(np.float64)
    return np.linalg.solve(gram + damping * np.eye(len(gram)), right).T.astype(np.float32)


def _cylinder(template: np.ndarray) -> np.ndarray:
    """(V, 2) texture coordinates round the head: FLAME's own are in another file."""
    low, high = template[:, 1].min(), template[:, 1].max()
    middle = (template[:, 2].min() + template[:, 2].max()) / 2
    angle = np.arctan2(template[:, 0], template[:, 2] - middle)
    return np.stack([0.5 + angle / (2 * np.pi), (template[:, 1] - low) / (high - low)], 1).astype(np.float32)
