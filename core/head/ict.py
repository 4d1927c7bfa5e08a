# SPDX-License-Identifier: GPL-3.0-or-later
"""ICT-FaceKit (Li et al. 2020, "Learning Formation of Physically-Based Face Attributes") as a target of motion.

Its 53 expressions are ARKit's by name with `_L` and `_R`; browInnerUp and cheekPuff come in halves, and there is no tongueOut.
The eyes turn by eyeLook*, so gaze is turned into those. Head and neck it does not have: they are a similarity of the whole.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import FormatError
from ..files import check_readable, written_whole
from .motion import CHANNELS, INDEX, LOOK_RADIANS, Motion
from .names import canonical

_KNOWN = {canonical(name): name for name in CHANNELS[:52]}
MAX_BYTES = 1 << 29
NEUTRAL = "generic_neutral_mesh.obj"


def channels_of(name: str) -> tuple[tuple[str, float], ...]:
    """The channels, with factors, that an ICT expression follows; none for what ARKit does not have."""
    own = canonical(name)
    if own in _KNOWN:
        return ((_KNOWN[own], 1.0),)
    for half in ("browinnerup", "cheekpuff"):
        if own in (half + "left", half + "right"):
            return ((_KNOWN[half], 1.0),)
    return ()


@dataclass(frozen=True)
class IctFace:
    """neutral (V, 3); quads (Q, 4); names E and deltas (E, V, 3) of expressions; all in the file's own unit, centimetres."""

    neutral: np.ndarray
    quads: np.ndarray
    names: tuple[str, ...]
    deltas: np.ndarray

    def values(self, motion: Motion) -> np.ndarray:
        """(T, E) values of its expressions, 0..1, for every frame."""
        rows = with_gaze(motion.values)
        out = np.zeros((len(rows), len(self.names)), np.float32)
        for column, name in enumerate(self.names):
            for channel, factor in channels_of(name):
                out[:, column] += factor * rows[:, INDEX[channel]]
        return out

    def pose(self, values: np.ndarray) -> np.ndarray:
        """(V, 3) for the values (E,) of one frame: linear, as the kit's own scripts pose it."""
        moving = np.flatnonzero(values)
        return self.neutral + np.tensordot(np.asarray(values, np.float32)[moving], self.deltas[moving], 1)


def with_gaze(rows: np.ndarray) -> np.ndarray:
    """Channel values (T, 65) with gazePitch and gazeYaw added to the eyeLook* coefficients, which are kept at most 1."""
    out = np.array(rows, np.float32)
    pitch, yaw = rows[:, INDEX["gazePitch"]], rows[:, INDEX["gazeYaw"]]
    for side, outwards in (("Left", 1.0), ("Right", -1.0)):
        for way, angle in (("Down", pitch), ("Up", -pitch), ("Out", outwards * yaw), ("In", -outwards * yaw)):
            column = INDEX[f"eyeLook{way}{side}"]
            out[:, column] = np.where(
                angle > 0, np.minimum(1, out[:, column] + np.maximum(angle, 0) / LOOK_RADIANS[way]), out[:, column]
            )
    return out


def load_ict(path: Path | str) -> IctFace:
    """ICT-FaceKit: its folder FaceXModel of .obj files, or those repacked as .npz (neutral, faces, expr_names, expr_delta).

    Raises FormatError for anything else.
    """
    path = Path(path)
    neutral, quads, names, deltas = _folder(path) if path.is_dir() else _npz(path)
    count = len(neutral)
    if quads.ndim == 2 and quads.shape[1] == 4:
        quads = np.where(quads == -1, quads[:, 2:3], quads)  # as some repackings mark triangles
    if (
        neutral.shape != (count, 3) or quads.ndim != 2 or quads.shape[1] not in (3, 4) or deltas.shape != (len(names), count, 3)
        or quads.min(initial=0) < 0 or quads.max(initial=0) >= count
        or not (np.isfinite(neutral).all() and np.isfinite(deltas).all())
    ):  # fmt: skip
        raise FormatError(
            f"'{path}': expected neutral (V, 3), faces (Q, 4) of corners 0 to V - 1 and expr_delta (E, V, 3), all finite; found "
            f"{neutral.shape}, {quads.shape} of {quads.min(initial=0)} to {quads.max(initial=0):,}, {deltas.shape}. Get the kit again."
        )
    return IctFace(
        neutral.astype(np.float32), quads.astype(np.int32), tuple(str(n) for n in names), deltas.astype(np.float32)
    )


def _npz(path: Path) -> list[np.ndarray]:
    check_readable(path, "ICT-FaceKit, its folder FaceXModel or an .npz of it", MAX_BYTES)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return [file[n] for n in ("neutral", "faces", "expr_names", "expr_delta")]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise FormatError(
            f"'{path}' is not an ICT-FaceKit .npz with neutral, faces, expr_names and expr_delta: {error}. Name the kit's "
            "folder FaceXModel instead."
        ) from error


def _folder(path: Path) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """The kit as its authors publish it: a neutral mesh, and a mesh for each expression with the same vertices."""
    if not (path / NEUTRAL).is_file():
        raise FormatError(
            f"'{path}' holds no {NEUTRAL}; expected the folder FaceXModel of ICT-FaceKit, where it lies beside jawOpen.obj and "
            "the other expressions."
        )
    neutral, quads = _obj(path / NEUTRAL)
    names = [file.stem for file in sorted(path.glob("*.obj")) if channels_of(file.stem)]
    deltas = []
    for name in names:
        vertices, _ = _obj(path / f"{name}.obj")
        if vertices.shape != neutral.shape:
            raise FormatError(
                f"'{path / name}.obj' has {len(vertices):,} vertices; expected {len(neutral):,} as in {NEUTRAL}. Get the kit again."
            )
        deltas.append(vertices - neutral)
    return neutral, quads, names, np.array(deltas, np.float32).reshape(-1, *neutral.shape)


def _obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and quads (Q, 4) of an .obj; a triangle repeats its last corner."""
    check_readable(path, "an .obj of ICT-FaceKit", MAX_BYTES)
    vertices: list[list[float]] = []
    quads: list[list[int]] = []
    try:
        for line in path.read_text("utf-8", "replace").splitlines():
            words = line.split()
            if words[:1] == ["v"]:
                vertices.append([float(word) for word in words[1:4]])
            elif words[:1] == ["f"]:
                corners = [int(word.split("/")[0]) - 1 for word in words[1:]]
                quads.append((corners + corners[-1:])[:4])
        return np.array(vertices, np.float32).reshape(-1, 3), np.array(quads, np.int32).reshape(-1, 4)
    except (OSError, ValueError, IndexError) as error:
        raise FormatError(f"'{path}' cannot be read as .obj: {error}. Get the kit again.") from error


def write_values(face: IctFace, motion: Motion, path: Path | str) -> None:
    """Its expressions over time as .npz: `values` (T, E), `names` (E,), `fps`."""
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, values=face.values(motion), names=np.array(face.names), fps=np.array(motion.fps))


def write_obj(face: IctFace, values: np.ndarray, path: Path | str) -> None:
    """One posed face as .obj, in the kit's unit and order of vertices."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in face.pose(values).tolist()]
    lines += ["f " + " ".join(str(corner + 1) for corner in dict.fromkeys(quad)) for quad in face.quads.tolist()]
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")
