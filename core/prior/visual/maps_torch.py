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


def taken(seat: Seat, frames: Frames, rows: Tensor) -> tuple[Seat, Frames]:
    """Seat and frames of some slots, as often as `rows` (M',) names them."""
    place = Seat(seat.base[rows], seat.unit[rows], seat.spins[rows], seat.angles[rows], seat.triangles[rows])
    return place, Frames(frames.origins[rows], frames.rotations[rows], frames.quats[rows], frames.sizes[rows])


def neighbours(layout: UvLayout) -> np.ndarray:
    """(M, 2, 2): slots beside a slot in its layer, along u then along v, before then after; itself where there is none."""
    table = np.full((2, layout.size + 2, layout.size + 2), -1, np.int64)
    layer, rows, cols = layout.layer.astype(int), layout.rows + 1, layout.cols + 1
    table[layer, rows, cols] = np.arange(len(layout))
    steps = [[(0, -1), (0, 1)], [(-1, 0), (1, 0)]]
    found = np.stack([np.stack([table[layer, rows + r, cols + c] for r, c in pair], 1) for pair in steps], 1)
    return np.where(found < 0, np.arange(len(layout))[:, None, None], found)


FAINT = -5.5
"""Opacity (logit) below which no rasteriser draws: 1/255 and less."""
SPLIT = 0.5
"""Where the two children of a Gaussian lie, in its standard deviations; theirs keep the variance of the whole."""


def densify(
    values: Tensor, beside: Tensor, pitch: Tensor, largest: float = 0.0035, most: int = 60_000
) -> tuple[Tensor, Tensor]:
    """Values (M', 14) and their slots (M',): Gaussians longer than `largest` metres become two along their longest axis.

    Children take on colour from the neighbouring texels on their side (beside: neighbours() as a tensor; pitch (M, 1)
    metres), so that large discs do not show as tiles. The largest come first where `most` Gaussians
    would be exceeded. What is too faint to be drawn is left out.
    """
    with torch.no_grad():
        flat = values[:, [3, 5]]
        length = torch.exp(flat.amax(1)) * pitch[:, 0]
        alive = values[:, OPACITY] > FAINT
        wanted = (length > largest) & (values[:, OPACITY] > -3)
        room = max(most - int(alive.sum()), 0)
        if int(wanted.sum()) > room:
            chosen = torch.topk(torch.where(wanted, length, 0), room).indices if room else torch.nonzero(wanted)[:0, 0]
            wanted = torch.zeros_like(wanted)
            wanted[chosen] = True
        parents = torch.nonzero(wanted)[:, 0]
        axis = flat[parents].argmax(1)  # 0: along u, 1: along v
    old = values[parents]
    each = torch.arange(len(parents), device=values.device)
    sigma = torch.exp(old[:, SCALE])[each, 2 * axis]
    w, x, y, z = functional.normalize(old[:, ROTATION], dim=1).unbind(1)
    along_u = torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], 1)
    along_v = torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], 1)
    step = torch.where(axis[:, None] == 0, along_u, along_v) * (SPLIT * sigma)[:, None]
    shrink = torch.zeros_like(old[:, SCALE])
    shrink[each, 2 * axis] = 0.5 * float(np.log(1 - SPLIT**2))
    children = []
    for side, sign in ((0, -1.0), (1, 1.0)):
        near = values[beside[parents, axis, side]][:, COLOUR]
        colour = old[:, COLOUR] + 0.3 * (near - old[:, COLOUR])
        rest = old[:, OPACITY, None]
        children.append(
            torch.cat([old[:, OFFSET] + sign * step, old[:, SCALE] + shrink, old[:, ROTATION], colour, rest], 1)
        )
    slots = torch.arange(len(values), device=values.device)
    return (
        torch.cat([values[alive & ~wanted], *children]),
        torch.cat([slots[alive & ~wanted], parents, parents]),
    )
