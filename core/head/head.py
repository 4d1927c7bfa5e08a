# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in head: identity and a frame of motion channels in, vertices out.

A head is FLAME's formula (Li et al. 2017) with the 52 ARKit units as expression space:

    V(beta, psi, theta) = LBS(template + shapedirs beta + units psi + posedirs (R_jaw(theta) - I), joints(beta), theta)

with joints root, neck (carries the head), jaw and two eyes. Three things differ from FLAME. jawOpen and eyeLook* turn
joints (motion.py). mouthClose, which ARKit defines on top of an open jaw, is added after the joints, so that equal
coefficients of jawOpen and mouthClose keep the lips together at any opening. After the linear part eyelids are held
outside the eyeball, because a lid that moves straight from open to closed would cut through it half way.

core/data/head.md describes the data.
"""

import zlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..assets import data_file
from ..errors import AssetError, MotionError
from ..geometry.rotations import yaw_pitch_roll
from . import skinning
from .motion import ARKIT, CHANNELS, INDEX

CHUNK = 16
"""Frames posed at once: few enough for the intermediate arrays to stay in cache."""

LID_OVERLAP = 2e-4
"""Metres the upper lid goes past the lower one at eyeBlink = 1."""

BLINKS = [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]
LOOKS = ("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp")


@dataclass(frozen=True)
class Lids:
    """What keeps one eye's lids outside its eyeball.

    index (L,) vertices of the lids' outer skin; clearance (L,) metres they stay above the sphere at least, or at rest
    if that is less; lashes (n,) vertices that move along with lid vertex index[roots] (n,); gap_weights (K, 4) times
    vertices gap_index (K, 4): from the lower to the upper margin at K places across the eye.
    """

    eye_joint: int
    eye_vertices: slice
    index: np.ndarray
    clearance: np.ndarray
    lashes: np.ndarray
    roots: np.ndarray
    gap_index: np.ndarray
    gap_weights: np.ndarray

    def gaps(self, field: np.ndarray) -> np.ndarray:
        """(K,) height in metres of the opening in positions, or of its change in displacements, (V, 3)."""
        return (field[self.gap_index, 1] * self.gap_weights).sum(1)


@dataclass(frozen=True, eq=False)
class Head:
    """The arrays of head.npz. V vertices, F triangles, S identity components, 5 joints; metres, head space.

    template (V, 3); faces (F, 3); shapedirs (S, V, 3) per standard deviation; units (52, V, 3) in the order of ARKIT;
    posedirs (9, V, 3) for the entries of R_jaw - I; weights (V, 5); joints (5, 3); joint_dirs (S, 5, 3);
    parents (5,); look_radians (4,) eye rotation at eyeLookDown, In, Out, Up = 1; uv (U, 2), faces_uv (F, 3);
    regions (F,) indices into region_names; source_index (V,) MakeHuman's vertex or -1; masks name -> (V,) 0..1;
    landmarks name -> vertex; presets name -> betas (S,); parts name -> slice of vertices.
    """

    template: np.ndarray
    faces: np.ndarray
    shapedirs: np.ndarray
    units: np.ndarray
    posedirs: np.ndarray
    weights: np.ndarray
    joints: np.ndarray
    joint_dirs: np.ndarray
    parents: np.ndarray
    look_radians: np.ndarray
    jaw_open_radians: float
    uv: np.ndarray
    faces_uv: np.ndarray
    regions: np.ndarray
    region_names: tuple[str, ...]
    source_index: np.ndarray
    masks: dict[str, np.ndarray]
    landmarks: dict[str, int]
    presets: dict[str, np.ndarray]
    parts: dict[str, slice]
    lids: tuple[Lids, ...] = field(default=())
    cornea: tuple[float, float] = (0.0, 1.0)

    @cached_property
    def head_id(self) -> str:
        """What an avatar must have been bound to: changes with the triangles and the number of identity components."""
        topology = np.ascontiguousarray(self.faces, "<i4").tobytes() + len(self.shapedirs).to_bytes(4, "little")
        return "loquent-" + sha256(topology).hexdigest()[:12]

    @cached_property
    def moving(self) -> list[slice]:
        """Runs of vertices, M in all, outside which no unit and no pose corrective does anything."""
        still = np.abs(self.units).max((0, 2)) + np.abs(self.posedirs).max((0, 2)) == 0
        return skinning.cover(np.flatnonzero(~still))

    @cached_property
    def deltas(self) -> np.ndarray:
        """(61, 3 M) contiguous planes: the 52 units and 9 pose correctives at the moving vertices.

        The rows of jawOpen and mouthClose are zero: one turns the jaw, the other is added after the joints.
        """
        units = self.units.copy()
        units[[ARKIT.index("jawOpen"), ARKIT.index("mouthClose")]] = 0
        both = np.concatenate([units, self.posedirs]).transpose(0, 2, 1)
        return np.ascontiguousarray(np.concatenate([both[..., r] for r in self.moving], -1).reshape(len(both), -1))

    @cached_property
    def closing(self) -> tuple[slice, np.ndarray]:
        """The run of vertices that mouthClose moves and its displacement there, (3, n)."""
        unit = self.units[ARKIT.index("mouthClose")]
        index = np.flatnonzero(np.abs(unit).max(1) > 0)
        run = slice(int(index[0]), int(index[-1]) + 1)
        return run, np.ascontiguousarray(unit[run].T)

    @cached_property
    def binding(self) -> skinning.Binding:
        return skinning.bind(self.weights)

    def faces_of(self, *regions: str) -> np.ndarray:
        """(n,) indices of the triangles in the named regions."""
        return np.flatnonzero(np.isin(self.regions, [self.region_names.index(r) for r in regions]))


@dataclass(frozen=True, eq=False)
class Identity:
    """One person's head at rest: what does not change from frame to frame.

    betas (S,); template (V, 3), which is the transpose of planes (3, V); joints (5, 3); per eye lid_floors (L,), the
    least distance in metres of lid vertices from its centre, eye_radii in metres, and blink_gains, by which eyeBlink is
    multiplied so that 1 just closes this person's lids.
    """

    head: Head
    betas: np.ndarray
    template: np.ndarray
    planes: np.ndarray
    joints: np.ndarray
    lid_floors: tuple[np.ndarray, ...]
    eye_radii: tuple[float, ...]
    blink_gains: tuple[float, ...]


def load_head(path: Path | str | None = None) -> Head:
    """The built-in head, one for all who ask, or another .npz of the same layout. About 0.2 s the first time."""
    return _built_in() if path is None else _read_head(Path(path))


@lru_cache(maxsize=1)
def _built_in() -> Head:
    return _read_head(data_file("head.npz"))


def _read_head(path: Path) -> Head:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise AssetError(
            f"Head file '{path}' cannot be read ({error}); copy it again, or reinstall the extension that brought it."
        ) from error
    missing = [n for n in ("template", "faces", "shapedirs", "units", "unit_names", "weights") if n not in data]
    if missing or tuple(data["unit_names"].tolist()) != ARKIT:
        raise AssetError(
            f"'{path}' is not a head file: expected the arrays of head.md, missing {missing or 'the 52 ARKit units'}."
        )
    try:
        return _head_from(data)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise AssetError(
            f"Head file '{path}' is damaged ({type(error).__name__}: {error}); make or copy it again."
        ) from error


def _head_from(data: dict[str, np.ndarray]) -> Head:
    starts = data["part_starts"].tolist()
    parts = {n: slice(starts[i], starts[i + 1]) for i, n in enumerate(data["part_names"].tolist())}
    lids = tuple(
        Lids(
            joint, parts[f"eye_{side}"], data[f"lid_index_{side}"], data[f"lid_clearance_{side}"].astype(np.float32),
            data[f"lash_index_{side}"], data[f"lash_roots_{side}"], data[f"lid_gap_index_{side}"],
            data[f"lid_gap_weights_{side}"],
        )
        for side, joint in (("left", 3), ("right", 4))
    )  # fmt: skip
    wide = {
        n: data[n].astype(np.float32) for n in ("shapedirs", "units", "posedirs", "joints", "joint_dirs", "weights")
    }
    return Head(
        template=data["template"], faces=data["faces"], **wide,
        parents=data["parents"], look_radians=np.radians(data["look_degrees"]),
        jaw_open_radians=float(data["jaw_open_radians"]), uv=data["uv"], faces_uv=data["faces_uv"],
        regions=data["regions"], region_names=tuple(data["region_names"].tolist()), source_index=data["source_index"],
        masks={n: data["mask_" + n].astype(np.float32) for n in data["mask_names"].tolist()},
        landmarks=dict(zip(data["landmark_names"].tolist(), data["landmarks"].tolist(), strict=True)),
        presets=dict(zip(data["preset_names"].tolist(), data["preset_betas"], strict=True)),
        parts=parts, lids=lids, cornea=tuple(data["cornea"].tolist()),
    )  # fmt: skip


def identity(head: Head, betas: np.ndarray | None = None) -> Identity:
    """A person: betas (up to S,) in standard deviations, the rest zero. About 2 ms."""
    given = np.zeros(0, np.float32) if betas is None else np.asarray(betas, np.float32).ravel()
    count = len(head.shapedirs)
    if len(given) > count or not np.isfinite(given).all():
        raise AssetError(f"A head of this kind has {count} finite identity numbers; got {len(given)}.")
    full = np.zeros(count, np.float32)
    full[: len(given)] = given
    template = head.template + np.tensordot(full, head.shapedirs, 1)
    joints = head.joints + np.tensordot(full, head.joint_dirs, 1)
    radii, floors, gains = [], [], []
    for lid in head.lids:
        centre = joints[lid.eye_joint]
        # the back of the eyeball is a true sphere
        ball = np.linalg.norm(template[lid.eye_vertices] - centre, axis=1)
        radius = float(np.median(ball[len(ball) // 2 :]))
        lid_distance = np.linalg.norm(template[lid.index] - centre, axis=1)
        radii.append(radius)
        rate = lid.gaps(head.units[ARKIT.index("eyeBlink" + ("Left" if lid.eye_joint == 3 else "Right"))])
        gains.append(float(np.clip(np.max((lid.gaps(template) + LID_OVERLAP) / -rate), 0.6, 1.6)))
        floors.append(np.minimum(lid_distance, radius + lid.clearance))
    planes = np.ascontiguousarray(template.T, np.float32)
    person = Identity(head, full, planes.T, planes, joints, tuple(floors), tuple(radii), tuple(gains))
    _clear_eyes(person, planes[None], np.broadcast_to(np.array([0, 0, 1], np.float32), (1, len(head.lids), 3)))
    return person


def pose_vertices(person: Identity, values: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) for channel values (C,), or (T, V, 3) for (T, C); float32, C = the 65 CHANNELS.

    About 0.6 ms a frame on one core (tools/bench_head.py). Coefficients outside 0..1 extrapolate.
    """
    rows = np.atleast_2d(np.asarray(values, np.float32))
    if rows.ndim != 2 or rows.shape[1] != len(CHANNELS):
        raise MotionError(
            f"Posing needs {len(CHANNELS)} channel values a frame; got an array of shape {np.shape(values)}."
        )
    out = np.empty((len(rows), len(person.template), 3), np.float32)
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        out[chunk] = _pose_planes(person, rows[chunk]).transpose(0, 2, 1)
    return out[0] if np.ndim(values) == 1 else out


def _pose_planes(person: Identity, rows: np.ndarray) -> np.ndarray:
    """(T, 3, V) posed vertices."""
    head = person.head
    coefficients, rotations = controls(head, rows)
    coefficients[:, BLINKS] *= np.array(person.blink_gains, np.float32)
    features = (rotations[:, 2] - np.eye(3, dtype=np.float32)).reshape(len(rows), 9)
    weights = np.concatenate([coefficients, features], 1)
    # One frame is too little for BLAS: its threads wait for each other, for milliseconds where cores are busy.
    moved = weights @ head.deltas if len(rows) > 1 else np.einsum("tk,kn->tn", weights, head.deltas)
    moved = moved.reshape(len(rows), 3, -1)
    planes = np.repeat(person.planes[None], len(rows), 0)
    at = 0
    for run in head.moving:
        planes[..., run] += moved[..., at : at + run.stop - run.start]
        at += run.stop - run.start
    _clear_eyes(person, planes, rotations[:, [lid.eye_joint for lid in head.lids]][..., 2])
    world_r, world_t = skinning.joint_transforms(person.joints, head.parents, rotations)
    world_t += rows[:, None, [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]]
    out = skinning.skin(planes, head.binding, world_r, world_t)
    close = coefficients[:, ARKIT.index("mouthClose")]
    if close.any():
        run, unit = head.closing
        out[..., run] += (close[:, None, None] * world_r[:, head.binding.main]) @ unit
    return out


def controls(head: Head, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit coefficients (T, 52) and joint rotations (T, 5, 3, 3) that channel values (T, 65) ask for.

    The lids follow gazePitch and gazeYaw as they follow eyeLook*. jawOpen only turns the jaw. mouthClose counts no
    further than jawOpen: closed lips are not pushed through each other.
    """

    def column(name: str) -> np.ndarray:
        return rows[:, INDEX[name]]

    coefficients = rows[:, : len(ARKIT)].copy()
    coefficients[:, INDEX["mouthClose"]] = np.minimum(column("mouthClose"), np.maximum(column("jawOpen"), 0))
    down_angle, in_angle, out_angle, up_angle = head.look_radians
    angles = np.zeros((len(rows), 5, 3), np.float32)  # yaw, pitch, roll of each joint
    angles[:, 0] = rows[:, [INDEX["neckYaw"], INDEX["neckPitch"], INDEX["neckRoll"]]]
    angles[:, 1] = rows[:, [INDEX["headYaw"], INDEX["headPitch"], INDEX["headRoll"]]]
    angles[:, 2] = rows[:, [INDEX["jawYaw"], INDEX["jawOpen"], INDEX["jawRoll"]]]
    angles[:, 2, 1] *= head.jaw_open_radians
    for joint, side, outwards in ((3, "Left", 1), (4, "Right", -1)):
        down, inner, outer, up = (column(name + side) for name in LOOKS)
        pitch = column("gazePitch") + down * down_angle - up * up_angle
        yaw = column("gazeYaw") + outwards * (outer * out_angle - inner * in_angle)
        angles[:, joint, 0], angles[:, joint, 1] = yaw, pitch
        shares = (pitch / down_angle, -outwards * yaw / in_angle, outwards * yaw / out_angle, -pitch / up_angle)
        for name, share in zip(LOOKS, shares, strict=True):
            coefficients[:, INDEX[name + side]] = np.minimum(np.maximum(share, 0), 1.5)
    return coefficients, yaw_pitch_roll(angles[..., 0], angles[..., 1], angles[..., 2])


def _clear_eyes(person: Identity, planes: np.ndarray, axes: np.ndarray) -> None:
    """Push lid vertices of (T, 3, V), in place, out of the eyeballs and over the corneas; lashes go with their lids.

    axes (T, eyes, 3): where the eyes look. Everything is still in the rest pose of the joints.
    """
    height, width = person.head.cornea
    for k, lid in enumerate(person.head.lids):
        offset = planes[..., lid.index] - person.joints[lid.eye_joint][:, None]
        distance = np.sqrt((offset * offset).sum(1))
        cosine = (axes[:, k, None] @ offset)[:, 0] / distance
        # 1 - (angle / width)^2 for small angles, without an arccos
        bulge = np.maximum(1 - 2 * (1 - cosine) / width**2, 0)
        bulge = height * bulge * np.sqrt(bulge)
        floor = np.maximum(person.lid_floors[k], person.eye_radii[k] + bulge + 1e-4)
        push = np.maximum(floor / distance - 1, 0)[:, None] * offset
        planes[..., lid.index] += push
        planes[..., lid.lashes] += push[..., lid.roots]
