# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads made by LAM (He et al. 2025, "LAM: Large Avatar Model for One-shot Animatable Gaussian Head").

A head is a folder or a zip with `skin.glb`, a mesh of some 20,000 vertices with morph targets named as ARKit's
coefficients, and `offset.ply`, one Gaussian for each vertex in the same order: its x, y, z are an offset from that vertex,
f_dc plain display RGB in 0..1 (not harmonics), opacity a logit, scales logarithms in metres, rotation wxyz. Whatever else
lies there (animation.glb, vertex_order.json, which is an order for sorting) is not needed.

The mesh is metric with x to the subject's left, y up and z forward; it is moved so that the joint `head` is the origin,
which puts it into Loquent's head space. A zip is read in memory: nothing is unpacked to disk.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import FormatError, MotionError
from ..geometry.rotations import (
    axis_angle_to_quat_wxyz,
    matrix_to_quat_wxyz,
    quat_multiply_wxyz,
    quat_wxyz_to_axis_angle,
    quat_wxyz_to_matrix,
    yaw_pitch_roll,
)
from ..head.motion import ARKIT, CHANNELS, INDEX, LOOK_RADIANS, TRANSLATIONS
from .colour import linear_harmonics
from .gaussians import SH_C0, Gaussians
from .glb import MorphMesh, read_glb
from .ply_table import read_columns, read_header

MAX_BYTES = 1 << 28
"""Of a zip, and of each member unpacked; a LAM head has 4 MB."""
MAX_MEMBERS = 10_000
MEMBERS = ("skin.glb", "offset.ply")
COLUMNS = (
    "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


@dataclass(frozen=True)
class LamHead:
    """N Gaussians on the vertices of a mesh with M morph targets, in head space.

    name: of the folder or zip. vertices: (N, 3) at rest. faces: (F, 3). channels: M columns of motion values, one for
    each target. targets: (M, N, 3) displacements in metres. turning: (N,) 0..1, how far a vertex follows the skull when
    the head turns on its neck. neck: (3,) pivot of the whole. rest: Gaussians of the unmoved face.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    channels: tuple[int, ...]
    targets: np.ndarray
    turning: np.ndarray
    neck: np.ndarray
    rest: Gaussians

    def __len__(self) -> int:
        return len(self.rest)

    def pose(self, values: np.ndarray) -> Gaussians:
        """Gaussians in head space for one frame of motion values (65,).

        gazePitch and gazeYaw are added to the eyeLook coefficients, since the eyes are morph targets here; tongueOut, jawYaw
        and jawRoll have none and do nothing. Rotations turn the Gaussians, morph targets only move them.
        """
        if np.shape(values) != (len(CHANNELS),) or not np.isfinite(values).all():
            raise MotionError(f"A LAM head: expected {len(CHANNELS)} finite motion values, found {np.shape(values)}.")
        amounts = _with_gaze(np.asarray(values, np.float32))[list(self.channels)]
        moving = np.flatnonzero(amounts)
        shift = np.tensordot(amounts[moving], self.targets[moving], 1)
        means, quats = self.rest.means + shift, self.rest.quats_wxyz
        turn = _turn(values, "head")
        if turn is not None:
            whole = quat_wxyz_to_axis_angle(matrix_to_quat_wxyz(turn))
            turns = axis_angle_to_quat_wxyz(self.turning[:, None] * whole)
            means = np.einsum("nij,nj->ni", quat_wxyz_to_matrix(turns), means)
            quats = quat_multiply_wxyz(turns, quats)
        turn = _turn(values, "neck")
        if turn is not None:
            means = (means - self.neck) @ turn.T + self.neck
            quats = quat_multiply_wxyz(matrix_to_quat_wxyz(turn), quats)
        means = (means + [values[INDEX[name]] for name in TRANSLATIONS]).astype(np.float32)
        return Gaussians(means, quats.astype(np.float32), self.rest.scales, self.rest.opacities, self.rest.harmonics)


def load_lam(path: Path | str, *, linear: bool = True) -> LamHead:
    """A LAM head from its folder or zip.

    linear: True converts its display colours to scene-linear Gaussians; False keeps them, for drawing as LAM does and
    then colour.linear_layers: closer to the person, since LAM's splats overlap a good deal (see core/splats/colour.py).
    Raises FormatError for anything that is not one whole head.
    """
    path = Path(path)
    with _system_errors(path):
        data = _folder(path) if path.is_dir() else _zip(path)
    mesh = read_glb(data["skin.glb"], f"{path}: skin.glb")
    known = {target: delta for target, delta in mesh.targets.items() if target in ARKIT}
    if not known:
        raise FormatError(
            f"'{path}': expected morph targets with ARKit names such as jawOpen in skin.glb, found "
            f"{', '.join(list(mesh.targets)[:5])}. It cannot be driven by motion."
        )
    origin, neck, turning = _pivots(mesh)
    rest = _gaussians(data["offset.ply"], f"{path}: offset.ply", mesh.vertices - origin, linear)
    return LamHead(
        name=path.stem,
        vertices=mesh.vertices - origin,
        faces=mesh.faces,
        channels=tuple(INDEX[target] for target in known),
        targets=np.stack(list(known.values())),
        turning=turning,
        neck=neck - origin,
        rest=rest,
    )


def _gaussians(data: bytes, name: str, vertices: np.ndarray, linear: bool) -> Gaussians:
    stream = io.BytesIO(data)
    header = read_header(stream, name)
    missing = [column for column in COLUMNS if column not in header.columns]
    if missing or header.rows != len(vertices):
        found = f"no {', '.join(missing)}" if missing else f"{header.rows:,} Gaussians"
        raise FormatError(
            f"'{name}': expected the splat properties of {len(vertices):,} Gaussians, one for each vertex of skin.glb; "
            f"found {found}. The two files belong to different heads or are damaged."
        )
    values = read_columns(stream, header, len(data), COLUMNS)
    if values[:, 7:10].max() > 10 or np.abs(values).max() > 1e6:
        raise FormatError(
            f"'{name}': expected metres, colours and logarithms of a head, found a scale of "
            f"{values[:, 7:10].max():g} and numbers up to {np.abs(values).max():g}. The file is damaged or something else."
        )
    harmonics = ((values[:, None, 3:6] - 0.5) / SH_C0).astype(np.float32)
    with np.errstate(over="ignore"):
        opacities = 1 / (1 + np.exp(-values[:, 6]))
    return Gaussians(
        means=vertices + values[:, :3],
        quats_wxyz=values[:, 10:14].copy(),
        scales=np.exp(values[:, 7:10]),
        opacities=opacities,
        harmonics=linear_harmonics(harmonics) if linear else harmonics,
    )


def _pivots(mesh: MorphMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The joint on which the skull turns, the one on which the neck does, and each vertex's share (V,) in the skull."""
    places = dict(zip(mesh.joint_names, mesh.joints, strict=True))
    head = places.get("head")
    if head is None:
        middle = mesh.vertices.mean(0)
        return middle, middle, np.ones(len(mesh.vertices), np.float32)
    on_head = mesh.skin_joints == mesh.joint_names.index("head")
    return head, places.get("neckLower", head), (mesh.skin_weights * on_head).sum(1).astype(np.float32)


def _turn(values: np.ndarray, part: str) -> np.ndarray | None:
    """(3, 3) rotation of `part` (head or neck), or None where it does not turn."""
    yaw, pitch, roll = (np.float32(values[INDEX[part + axis]]) for axis in ("Yaw", "Pitch", "Roll"))
    if not (yaw or pitch or roll):
        return None
    return yaw_pitch_roll(np.asarray(yaw), np.asarray(pitch), np.asarray(roll))


def _with_gaze(values: np.ndarray) -> np.ndarray:
    """Motion values with gazePitch and gazeYaw turned into eyeLook coefficients, which are kept at most 1."""
    pitch, yaw = values[INDEX["gazePitch"]], values[INDEX["gazeYaw"]]
    out = values.copy()
    vertical = ("Down", pitch) if pitch > 0 else ("Up", -pitch)
    left = ("Out", yaw) if yaw > 0 else ("In", -yaw)
    right = ("In", yaw) if yaw > 0 else ("Out", -yaw)
    for side, turns in (("Left", (vertical, left)), ("Right", (vertical, right))):
        for direction, angle in turns:
            if angle:
                column = INDEX[f"eyeLook{direction}{side}"]
                out[column] = min(1.0, out[column] + angle / LOOK_RADIANS[direction])
    return out


def _folder(path: Path) -> dict[str, bytes]:
    """Bytes of MEMBERS in a folder, or in the only folder within it."""
    inner = [path, *sorted(p for p in path.iterdir() if p.is_dir())]
    where = next((folder for folder in inner if all((folder / member).is_file() for member in MEMBERS)), None)
    if where is None:
        raise _missing(path, "a folder", [p.name for p in path.iterdir()])
    out = {}
    for member in MEMBERS:
        with (where / member).open("rb") as file:
            out[member] = file.read(MAX_BYTES + 1)
        _check_size(path, member, len(out[member]))
    return out


def _zip(path: Path) -> dict[str, bytes]:
    """Bytes of MEMBERS in a zip, wherever in it they lie."""
    if not path.is_file():
        raise FormatError(
            f"'{path}': expected a LAM head, a folder or .zip with skin.glb and offset.ply, found nothing."
        )
    _check_size(path, "the zip", path.stat().st_size)
    data = path.read_bytes()
    # Each entry of the directory carries this mark: counted before zipfile makes an object of every one.
    if data.count(b"PK\x01\x02") > MAX_MEMBERS:
        raise FormatError(f"'{path}': expected a zip of a few files, found over {MAX_MEMBERS:,}. It is not a LAM head.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [info for info in archive.infolist() if not info.filename.endswith("/")]
        for info in entries:
            parts = PurePosixPath(info.filename.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in info.filename:
                raise FormatError(
                    f"'{path}' names a file outside of itself, '{info.filename[:80]}'. Do not trust this zip; "
                    "get the head from where it was made."
                )
        out = {}
        for member in MEMBERS:
            found = [info for info in entries if PurePosixPath(info.filename.replace("\\", "/")).name == member]
            if not found:
                raise _missing(path, "a zip", [info.filename for info in entries])
            if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or found[0].flag_bits & 1:
                raise FormatError(f"'{path}': {member} is locked or packed unusually. Unpack it and open the folder.")
            if len(found) > 1:
                raise FormatError(f"'{path}': expected one head, found {len(found)} files '{member}'. Take them apart.")
            _check_size(path, member, found[0].file_size)
            with archive.open(found[0]) as file:
                out[member] = file.read(MAX_BYTES + 1)
            _check_size(path, member, len(out[member]))
    return out


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise FormatError(
            f"'{path}' cannot be read as a LAM head, a folder or .zip: {error}. It is damaged, locked or something "
            "else; get it again."
        ) from error


def _missing(path: Path, kind: str, names: list[str]) -> FormatError:
    found = ", ".join(sorted(names)[:6])[:200] or "nothing"
    return FormatError(f"'{path}': expected {kind} with {' and '.join(MEMBERS)} (a LAM head), found {found}.")


def _check_size(path: Path, member: str, size: int) -> None:
    if size > MAX_BYTES:
        raise FormatError(
            f"'{path}': {member} has more than {MAX_BYTES:,} bytes; a LAM head has some 4,000,000. It is something else."
        )
