# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians carried by triangles (Qian et al. 2024, "GaussianAvatars", section 3.1): local to world, once a frame."""

from dataclasses import dataclass

import numpy as np

from ..errors import RasterError
from ..geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz
from ..geometry.triangles import triangle_frames
from . import native


@dataclass(frozen=True)
class Binding:
    """N Gaussians in the frames of triangles of one mesh (see triangle_frames: origin, rotation R, scale k).

    triangles: (N,) int32. offsets: (N, 3), mean = origin + k R offset. quats_wxyz: (N, 4), world = quat(R) * local.
    scales: (N, 3), world = k * local.
    """

    triangles: np.ndarray
    offsets: np.ndarray
    quats_wxyz: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.triangles)


def carry(
    binding: Binding, vertices: np.ndarray, faces: np.ndarray, *, threads: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World means (N, 3), quats_wxyz (N, 4) and scales (N, 3), float32, for vertices (V, 3) and faces (F, 3).

    About a millisecond for 60,000 Gaussians with the native library, some twenty in numpy. threads: 0 is one per CPU.
    """
    _check(binding, vertices, faces)
    if native.library() is None:
        return carry_plain(binding, vertices, faces)
    n = len(binding)
    out = np.empty((n, 3), np.float32), np.empty((n, 4), np.float32), np.empty((n, 3), np.float32)
    vertices, offsets, quats, scales = (
        np.ascontiguousarray(a, np.float32) for a in (vertices, binding.offsets, binding.quats_wxyz, binding.scales)
    )
    faces, triangles = (np.ascontiguousarray(a, np.int32) for a in (faces, binding.triangles))
    pool = native.pool(threads)
    status = pool.library.splat_carry(
        pool.handle, len(vertices), native.pointer(vertices), len(faces), native.pointer(faces),
        n, *map(native.pointer, (triangles, offsets, quats, scales, *out)),
    )  # fmt: skip
    if status == 4:
        raise _outside(triangles, vertices, faces)
    native.check(status)
    return out


def carry_plain(binding: Binding, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same in numpy: what the native path is tested against, and its stand-in."""
    if len(binding) and not (
        0 <= binding.triangles.min() <= binding.triangles.max() < len(faces)
        and 0 <= faces.min() <= faces.max() < len(vertices)
    ):
        raise _outside(binding.triangles, vertices, faces)
    origins, rotations, sizes = triangle_frames(np.asarray(vertices, np.float32), faces)
    which = binding.triangles
    size = sizes[which, None]
    means = origins[which] + size * np.einsum("nij,nj->ni", rotations[which], binding.offsets)
    quats = quat_multiply_wxyz(matrix_to_quat_wxyz(rotations)[which], binding.quats_wxyz)
    return means.astype(np.float32), quats.astype(np.float32), (size * binding.scales).astype(np.float32)


def _check(binding: Binding, vertices: np.ndarray, faces: np.ndarray) -> None:
    n = np.shape(binding.triangles)[0] if np.ndim(binding.triangles) == 1 else "N"
    found = [np.shape(a) for a in (binding.triangles, binding.offsets, binding.quats_wxyz, binding.scales)]
    if found != [(n,), (n, 3), (n, 4), (n, 3)]:
        raise RasterError(
            f"Binding: expected triangles (N,), offsets (N, 3), quats_wxyz (N, 4), scales (N, 3); found {found}."
        )
    if np.ndim(vertices) != 2 or np.shape(vertices)[1] != 3 or np.ndim(faces) != 2 or np.shape(faces)[1] != 3:
        raise RasterError(
            f"Mesh: expected vertices (V, 3) and faces (F, 3); found {np.shape(vertices)} and {np.shape(faces)}."
        )


def _outside(triangles: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> RasterError:
    return RasterError(
        f"A binding points outside its mesh: expected triangles 0 to {len(faces) - 1} and corners 0 to "
        f"{len(vertices) - 1}; found {_span(triangles)} and {_span(faces)}. Use the mesh that the head was bound to."
    )


def _span(indices: np.ndarray) -> str:
    return f"{indices.min()} to {indices.max()}" if len(indices) else "none"
