# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads for other programs: posed splat files, one or a sequence; the head as GaussianAvatars stores it, and back.

Positions are metres in head space (x to the subject's left, y up, z forward), colours display ones, as all splat programs
expect them. SuperSplat and most viewers have y down: turn the head over there by 180 degrees about x, or give `y_down`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np

from ..errors import FormatError
from ..files import check_readable, written_whole
from ..head.head import Head, identity, load_head, pose_vertices
from ..head.motion import CHANNELS, Motion
from .adopt import bound_to
from .avatar import Avatar, Performer, pose
from .binding import carry
from .formats import SUFFIXES, write_splats
from .gaussians import Gaussians
from .lam import LamHead
from .moved import moved
from .ply import BoundSplats, read_bound_ply, write_bound_ply

MAX_FRAMES = 100_000
Y_DOWN = np.diag([1.0, -1.0, -1.0])


def write_posed(
    performer: Performer | LamHead, values: np.ndarray, path: Path | str, *, linear: bool = True, y_down: bool = False
) -> int:
    """One frame of motion values (65,) as .ply or .spz; the number of Gaussians. linear: the performer's colours are."""
    gaussians = _posed(performer, values)
    if y_down:
        gaussians = moved(gaussians, 1.0, Y_DOWN, np.zeros(3))
    write_splats(gaussians, path, linear=linear)
    return len(gaussians)


def write_sequence(
    performer: Performer | LamHead,
    motion: Motion,
    pattern: Path | str,
    *,
    linear: bool = True,
    y_down: bool = False,
    progress: Callable[[float], None] | None = None,
) -> list[Path]:
    """Every frame of a motion as a file: `#` in the name stand for the frame's digits. The paths, in order.

    Raises FormatError before anything is written where the name has no `#` or not enough of them.
    """
    paths = sequence_paths(pattern, len(motion))
    for k, (path, values) in enumerate(zip(paths, motion.values, strict=True)):
        write_posed(performer, values, path, linear=linear, y_down=y_down)
        if progress:
            progress((k + 1) / len(paths))
    return paths


def sequence_paths(pattern: Path | str, count: int) -> list[Path]:
    """`shot_####.ply` -> shot_0000.ply, …"""
    pattern = Path(pattern)
    digits = pattern.name.count("#")
    if pattern.suffix.lower() not in SUFFIXES or "#" * max(digits, 1) not in pattern.name:
        raise FormatError(
            f"'{pattern}' names no sequence: expected one run of # for the frame's number and {' or '.join(SUFFIXES)}, such as "
            "shot_####.ply."
        )
    if count > MAX_FRAMES or len(str(count - 1)) > digits:
        raise FormatError(
            f"'{pattern}' has room for {10**digits:,} frames; the motion has {count:,}. Put more # into the name."
        )
    return [pattern.with_name(pattern.name.replace("#" * digits, f"{k:0{digits}d}")) for k in range(count)]


def write_bound(avatar: Avatar, head: Head, path: Path | str) -> Path:
    """The head as .ply with binding_0, as GaussianAvatars has it, and beside it a .npz with what the .ply cannot hold.

    That .npz: the mesh the triangles belong to (`vertices`, `faces`, at rest), `betas`, `head_id`, `name`. Its path.
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise FormatError(f"'{path}': a bound head is written as .ply; found '{path.suffix or 'no suffix'}'.")
    side = path.with_suffix(".npz")
    still = pose_vertices(identity(head, avatar.betas), np.zeros(len(CHANNELS), np.float32))
    write_bound_ply(BoundSplats(avatar.binding, avatar.opacities, avatar.harmonics), path)
    with written_whole(side) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, vertices=still, faces=head.faces, betas=avatar.betas, shape=avatar.betas,
            head_id=np.array(avatar.head_id), name=np.array(avatar.name),
        )  # fmt: skip
    return side


def read_bound(
    path: Path | str, head: Head, params: Path | str | None = None, *, name: str = ""
) -> tuple[Avatar, tuple[str, ...]]:
    """An avatar on `head` from a .ply of GaussianAvatars (or of `write_bound`), exactly as bound there; and warnings.

    params: its flame_param.npz, for `shape`; a .npz beside the .ply is taken where none is named. Gaussians on triangles
    that the head does not have (GaussianAvatars adds 168 for teeth) are left out.
    """
    path = Path(path)
    splats = read_bound_ply(path)
    warnings: list[str] = []
    given = Path(params) if params is not None else path.with_suffix(".npz")
    betas = np.zeros(len(head.shapedirs), np.float32)
    own = None
    if params is not None or given.is_file():
        arrays = _parameters(given)
        made_for = str(arrays["head_id"]) if "head_id" in arrays else head.head_id
        if made_for != head.head_id:
            raise FormatError(
                f"'{path}' was made for head '{made_for}', and '{head.head_id}' was given. Give the head it was made for."
            )
        shape = np.ravel(arrays["shape"]).astype(np.float32)
        betas[: len(shape)] = shape[: len(betas)]
        if np.abs(shape[len(betas) :]).max(initial=0) > 0:
            warnings.append(
                f"The last {len(shape) - len(betas)} of {len(shape)} shape numbers are unknown to this head."
            )
        own = _static_offset(arrays, given, len(head.template))
    else:
        warnings.append(
            "No parameters were given: the head has its mean shape. Give flame_param.npz for the person's own."
        )
    kept = splats.binding.triangles < len(head.faces)
    if not kept.any():
        raise FormatError(f"'{path}': none of its Gaussians lies on a triangle of head '{head.head_id}'.")
    if not kept.all():
        warnings.append(
            f"{int((~kept).sum()):,} Gaussians on triangles that this head does not have (GaussianAvatars' teeth) are left out."
        )
    b = splats.binding
    binding = replace(
        b, triangles=b.triangles[kept], offsets=b.offsets[kept], quats_wxyz=b.quats_wxyz[kept], scales=b.scales[kept]
    )
    if own is not None:  # an avatar has no offsets of its own: its Gaussians take them over
        vertices = pose_vertices(identity(head, betas), np.zeros(len(CHANNELS), np.float32))
        placed = carry(binding, (vertices + own).astype(np.float32), head.faces)
        free = Gaussians(*placed, splats.opacities[kept], splats.harmonics[kept])
        binding = bound_to(free, binding.triangles, vertices, head.faces)
        warnings.append(
            f"The mesh's own offsets (static_offset, up to {1e3 * float(np.linalg.norm(own, axis=1).max()):.1f} mm) became part "
            "of where its Gaussians sit: exact at rest, and nearly so in motion."
        )
    avatar = Avatar(name or path.stem, head.head_id, betas, binding, splats.opacities[kept], splats.harmonics[kept])
    return avatar, tuple(warnings)


def _static_offset(arrays: dict[str, np.ndarray], path: Path, count: int) -> np.ndarray | None:
    """(V, 3) by which each vertex of the person's mesh differs from the shape's; None where it does not."""
    if "static_offset" not in arrays or not arrays["static_offset"].any():
        return None
    found = arrays["static_offset"]
    if (
        found.ndim not in (2, 3)
        or found.shape[-1] != 3
        or found.size < 3 * count
        or found[..., 0].size != found.shape[-2]
    ):
        raise FormatError(
            f"'{path}': static_offset is {found.shape}; expected (1, {count:,} or more, 3), an offset for each vertex of the "
            "head. Give the flame_param.npz and the head that belong together."
        )
    if found.dtype.kind != "f" or not np.isfinite(found).all():
        raise FormatError(f"'{path}': static_offset holds numbers that are not finite. Export the parameters again.")
    return found.reshape(-1, 3)[:count].astype(np.float64)  # what follows are the teeth that GaussianAvatars adds


def _parameters(path: Path) -> dict[str, np.ndarray]:
    check_readable(path, "FLAME parameters (.npz)", 1 << 28)
    if not is_zipfile(path):
        raise FormatError(f"'{path}' is no .npz; expected the flame_param.npz that lies beside a GaussianAvatars .ply.")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {n: file[n] for n in ("shape", "static_offset", "head_id") if n in file.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise FormatError(f"'{path}' cannot be read as FLAME parameters: {error}. Export them again.") from error
    shape = found.get("shape")
    if shape is None or shape.dtype.kind not in "fiu" or not np.isfinite(shape).all() or shape.size > 1000:
        raise FormatError(f"'{path}': expected FLAME parameters with 'shape', some hundred finite numbers.")
    return found


def _posed(performer: Performer | LamHead, values: np.ndarray) -> Gaussians:
    if isinstance(performer, LamHead):
        return performer.pose(values)
    return pose(performer, values)


def is_built_in(head: Head) -> bool:
    """Whether a head is the one that ships with Loquent."""
    return head.head_id == load_head().head_id
