# SPDX-License-Identifier: GPL-3.0-or-later
"""maps.gaussians_of with gradients, and the Gaussians of a map carried by a posed mesh."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...geometry.rotations import matrix_to_quat_wxyz
from ...geometry.triangles import triangle_frames
from ...head.head import Head
from ...splats.gaussians import SH_C0
from ...splats.uv_layout import UvLayout
from .maps import COLOUR, OFFSET, OPACITY, ROTATION, SCALE, places


@dataclass(frozen=True)
class Seat:
    """maps.Places as tensors: base (M, 3), unit (M, 1), spins (M, 4) and the slots' triangles (M,)."""

    base: Tensor
    unit: Tensor
    spins: Tensor
    angles: Tensor
    triangles: Tensor


def seat(layout: UvLayout, head: Head, betas: np.ndarray | None = None) -> Seat:
    p = places(layout, head, betas)
    angles, triangles = torch.from_numpy(layout.spins), torch.from_numpy(layout.triangles).long()
    return Seat(
        torch.from_numpy(p.base), torch.from_numpy(p.unit)[:, None], torch.from_numpy(p.spins), angles, triangles
    )


def local_torch(values: Tensor, seat: Seat) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """offsets, quats_wxyz and scales in triangle frames, opacities (M,) and harmonics (M, 1, 3) of values (M, 14)."""
    cosine, sine = torch.cos(seat.angles), torch.sin(seat.angles)
    x, y, z = (values[:, OFFSET] * seat.unit).unbind(1)
    turned = torch.stack([cosine * x + sine * z, y, cosine * z - sine * x], 1)
    quats = multiply(seat.spins, functional.normalize(values[:, ROTATION], dim=1))
    scales = torch.exp(values[:, SCALE]) * seat.unit
    harmonics = ((values[:, COLOUR] - 0.5) / SH_C0)[:, None]
    return seat.base + turned, quats, scales, torch.sigmoid(values[:, OPACITY]), harmonics


@dataclass(frozen=True)
class Frames:
    """Triangle frames of every slot of a posed mesh: origins (M, 3), rotations (M, 3, 3), quats (M, 4), sizes (M, 1)."""

    origins: Tensor
    rotations: Tensor
    quats: Tensor
    sizes: Tensor


def frames_of(vertices: np.ndarray, head: Head, layout: UvLayout) -> Frames:
    """Frames without gradients, about 10 ms; carry_torch of core/splats has those with respect to the vertices."""
    origins, rotations, sizes = triangle_frames(np.asarray(vertices, np.float32), head.faces)
    quats = matrix_to_quat_wxyz(rotations).astype(np.float32)
    take = [torch.from_numpy(np.ascontiguousarray(x[layout.triangles])) for x in (origins, rotations, quats, sizes)]
    return Frames(take[0], take[1], take[2], take[3][:, None])


def carried(local: tuple[Tensor, ...], frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
    """World means, quats_wxyz and scales of what local_torch gave."""
    means = frames.origins + frames.sizes * torch.einsum("nij,nj->ni", frames.rotations, local[0])
    return means, multiply(frames.quats, local[1]), frames.sizes * local[2]


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of wxyz quaternions (M, 4)."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw,
        ], -1,
    )  # fmt: skip
