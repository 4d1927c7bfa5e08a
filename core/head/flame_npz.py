# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as FLAME parameters in an .npz, with the keys of VHAP and GaussianAvatars.

`rotation` (T, 3), `neck_pose` (T, 3), `jaw_pose` (T, 3), `eyes_pose` (T, 6: left, right), `translation` (T, 3), `expr` (T, E);
rotations as axis-angle about x (right of the picture, the subject's left), y (up), z (to the viewer), metres; and `fps`.
FLAME's root is our `neck*`, its neck joint our `head*` (motion.py).

What is exact: jaw, neck, head, eyes and translation always, to a millionth. Expression: FLAME's directions are statistics of
scans and ours are the 52 ARKit units, so `expr` is written in the basis that `expr_names` tells (ours) and comes back exactly;
with `basis` (52, E), the units of a registered FLAME head in its own directions, it is written in FLAME's and read back by a
least-squares fit within 0..1, exact where the basis is of full rank. Without a basis a foreign file's `expr` is not read.
"""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import FormatError
from ..files import check_readable, written_whole
from ..geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_quat_wxyz,
    quat_wxyz_to_axis_angle,
    yaw_pitch_roll,
)
from .motion import ARKIT, CHANNELS, INDEX, JAW_OPEN_RADIANS, LOOK_RADIANS, Motion

MAX_BYTES = 1 << 30
MAX_FRAMES = 1 << 22
DEFAULT_FPS = 30.0
KEYS = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
_ALSO = {
    "rotation": ("global_pose", "global_orient", "head_pose"), "neck_pose": ("neck",), "jaw_pose": ("jaw",),
    "eyes_pose": ("eye_pose", "eyes"), "translation": ("transl", "trans"), "expr": ("expression", "exp", "expr_params"),
}  # fmt: skip
FITS = 200


def write_flame(motion: Motion, path: Path | str, basis: np.ndarray | None = None) -> None:
    """Write the parameters; `basis` (52, E) puts `expr` in a FLAME head's own directions (see above)."""
    c = motion.column
    jaw = _axis_angle(c("jawYaw"), c("jawOpen") * JAW_OPEN_RADIANS, c("jawRoll"))
    eyes = [_axis_angle(*turn, np.zeros(len(motion), np.float32)) for turn in _eye_turns(motion)]
    coefficients = motion.values[:, : len(ARKIT)].copy()
    arrays = {
        "rotation": _axis_angle(c("neckYaw"), c("neckPitch"), c("neckRoll")),
        "neck_pose": _axis_angle(c("headYaw"), c("headPitch"), c("headRoll")),
        "jaw_pose": jaw, "eyes_pose": np.concatenate(eyes, 1),
        "translation": np.stack([c("headX"), c("headY"), c("headZ")], 1), "fps": np.float64(motion.fps),
    }  # fmt: skip
    if basis is None:
        arrays |= {"expr": coefficients, "expr_names": np.array(ARKIT)}
    else:
        arrays["expr"] = _without_joints(coefficients) @ _checked(basis)
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def read_flame(path: Path | str, fps: float | None = None, basis: np.ndarray | None = None) -> Motion:
    """The motion in a file. The rate is `fps`, or the file's own, or 30. Raises FormatError for anything else.

    Of a file that is not ours, expressions are read where `basis` is given, and the jaw, eyes and head always.
    """
    path = Path(path)
    arrays = _arrays(path)
    frames = {len(array) for name, array in arrays.items() if name in KEYS or name == "expr"}
    if len(frames) != 1 or not 0 < (count := frames.pop()) <= MAX_FRAMES:
        raise FormatError(f"'{path}': its arrays do not have the same number of frames. Export the tracking again.")
    values = np.zeros((count, len(CHANNELS)), np.float32)
    names = arrays.get("expr_names")
    ours = names is not None and tuple(np.ravel(names).tolist()) == ARKIT
    expression = arrays.get("expr")
    if expression is not None and ours:
        values[:, : len(ARKIT)] = expression
    elif expression is not None and basis is not None:
        values[:, : len(ARKIT)] = _fitted(expression, _checked(basis, expression.shape[1]))
    for key, prefix in (("rotation", "neck"), ("neck_pose", "head"), ("jaw_pose", "jaw")):
        if key not in arrays:
            continue
        for axis, angle in zip(("Yaw", "Pitch", "Roll"), _angles(arrays[key]), strict=True):
            if prefix + axis == "jawPitch":
                values[:, INDEX["jawOpen"]] = angle / JAW_OPEN_RADIANS
            else:
                values[:, INDEX[prefix + axis]] = angle
    if "translation" in arrays:
        values[:, [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]] = arrays["translation"]
    if "eyes_pose" in arrays:
        _read_eyes(values, arrays["eyes_pose"], keep_looks=ours)
    if not np.isfinite(values).all():
        raise FormatError(f"'{path}' holds numbers that are not finite. Export the tracking again.")
    return Motion(fps or _rate(path, arrays), values)


def _eye_turns(motion: Motion) -> list[tuple[np.ndarray, np.ndarray]]:
    """yaw and pitch of the left and the right eyeball: gaze and eyeLook together, as head.py turns them."""
    turns = []
    for side, outward in (("Left", 1), ("Right", -1)):
        look = {d: motion.column(f"eyeLook{d}{side}") * LOOK_RADIANS[d] for d in LOOK_RADIANS}
        yaw = motion.column("gazeYaw") + outward * (look["Out"] - look["In"])
        turns.append((yaw, motion.column("gazePitch") + look["Down"] - look["Up"]))
    return turns


def _read_eyes(values: np.ndarray, poses: np.ndarray, keep_looks: bool) -> None:
    """Gaze is what both eyes share. What is left becomes eyeLook*, unless the file told those itself."""
    turns = [_angles(poses[:, part])[:2] for part in (slice(0, 3), slice(3, 6))]
    looks = Motion(1.0, values)
    told = _eye_turns(looks.with_columns({"gazeYaw": 0.0, "gazePitch": 0.0}))
    if not keep_looks:
        told = [(np.zeros(len(values)), np.zeros(len(values)))] * 2
    left, right = ([turn[i] - part[i] for i in (0, 1)] for turn, part in zip(turns, told, strict=True))
    values[:, INDEX["gazeYaw"]], values[:, INDEX["gazePitch"]] = ((a + b) / 2 for a, b in zip(left, right, strict=True))
    if keep_looks:
        return
    for (yaw, pitch), side, outward in ((left, "Left", 1), (right, "Right", -1)):
        aside, down = outward * (yaw - values[:, INDEX["gazeYaw"]]), pitch - values[:, INDEX["gazePitch"]]
        for direction, angle in (("Out", aside), ("In", -aside), ("Down", down), ("Up", -down)):
            values[:, INDEX[f"eyeLook{direction}{side}"]] = np.maximum(angle, 0) / LOOK_RADIANS[direction]


def _axis_angle(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    turns = yaw_pitch_roll(yaw.astype(float), pitch.astype(float), roll.astype(float))
    return quat_wxyz_to_axis_angle(matrix_to_quat_wxyz(turns)).astype(np.float32)


def _angles(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """yaw, pitch and roll of axis-angle vectors (T, 3): the inverse of rotations.yaw_pitch_roll for pitch within 90 degrees."""
    m = axis_angle_to_matrix(vectors.astype(float))
    pitch = np.arcsin(np.clip(-m[:, 1, 2], -1, 1))
    return np.arctan2(m[:, 0, 2], m[:, 2, 2]), pitch, np.arctan2(m[:, 1, 0], m[:, 1, 1])


def _without_joints(coefficients: np.ndarray) -> np.ndarray:
    """Coefficients without those that joints carry in FLAME: the jaw's opening and the turn of the eyes."""
    joints = [i for i, name in enumerate(ARKIT) if name == "jawOpen" or name.startswith("eyeLook")]
    out = coefficients.copy()
    out[:, joints] = 0
    return out


def _checked(basis: np.ndarray, directions: int | None = None) -> np.ndarray:
    basis = np.asarray(basis, np.float64)
    if basis.ndim != 2 or len(basis) != len(ARKIT) or (directions is not None and basis.shape[1] != directions):
        wanted = f"(52, {directions})" if directions is not None else "(52, E)"
        raise FormatError(f"The FLAME basis is {basis.shape}; expected {wanted}, one row for each ARKit coefficient.")
    return basis


def _fitted(expression: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(T, 52) coefficients within 0..1 whose combination of basis rows comes nearest (accelerated projected gradient)."""
    usable = np.flatnonzero(np.abs(_without_joints(np.ones((1, len(ARKIT))))[0] * np.abs(basis).max(1)) > 1e-9)
    rows = basis[usable]
    gram, right = rows @ rows.T, expression.astype(float) @ rows.T
    gram = gram + 1e-9 * np.trace(gram) * np.eye(len(gram))
    x = np.clip(np.linalg.solve(gram, right.T).T, 0, 1)
    step, moving, before = 1 / np.linalg.eigvalsh(gram)[-1], x, 1.0
    for _ in range(FITS):
        new = np.clip(moving - step * (moving @ gram - right), 0, 1)
        after = (1 + np.sqrt(1 + 4 * before * before)) / 2
        moving, x, before = new + (before - 1) / after * (new - x), new, after
    out = np.zeros((len(expression), len(ARKIT)), np.float32)
    out[:, usable] = x
    return out


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Known arrays by our names, each checked; unknown ones are not even unpacked."""
    check_readable(path, "a file of FLAME parameters", MAX_BYTES)
    found: dict[str, np.ndarray] = {}
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not hasattr(file, "files"):
                raise FormatError(f"'{path}' is a single array; expected an .npz of FLAME parameters.")
            if {"template", "shapedirs", "unit_names"} <= set(file.files):
                raise FormatError(
                    f"'{path}' is a head file, which holds no motion; expected FLAME parameters over time, as VHAP writes them."
                )
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in file.zip.infolist()}
            for name in (*KEYS, "expr", "expr_names", "fps"):
                source = next((n for n in (name, *_ALSO.get(name, ())) if n in file.files), None)
                if source is None:
                    continue
                if sizes.get(source, 0) > MAX_BYTES:
                    raise FormatError(f"'{path}', {source}: unpacks to {sizes[source]:,} bytes; refused.")
                found[name] = file[source]
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise FormatError(
            f"'{path}' cannot be read as FLAME parameters: {error}. Export the tracking again."
        ) from error
    if "jaw_pose" not in found and "expr" not in found:
        raise FormatError(f"'{path}' has neither 'jaw_pose' nor 'expr'; expected FLAME parameters as VHAP writes them.")
    for name, array in found.items():
        if name in ("expr_names", "fps"):
            continue
        if array.ndim == 3 and array.shape[1] == 1:
            array = found[name] = array[:, 0]
        width = KEYS.get(name)
        if array.ndim != 2 or array.dtype.kind not in "fiu" or (width and array.shape[1] != width):
            raise FormatError(
                f"'{path}', {name}: expected (frames, {width or 'E'}) numbers, found {array.shape} {array.dtype}."
            )
    names = found.get("expr_names")
    if names is not None and "expr" in found and np.size(names) != found["expr"].shape[1]:
        raise FormatError(f"'{path}': {np.size(names)} expr_names for {found['expr'].shape[1]} columns of expr.")
    return found


def _rate(path: Path, arrays: dict[str, np.ndarray]) -> float:
    if "fps" not in arrays:
        return DEFAULT_FPS
    rate = arrays["fps"]
    if rate.size != 1 or rate.dtype.kind not in "fiu" or not 1 <= float(rate.ravel()[0]) <= 1000:
        raise FormatError(f"'{path}': its fps is not a number from 1 to 1000.")
    return float(rate.ravel()[0])
