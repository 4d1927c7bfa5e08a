# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians carried by triangles as a torch operation: binding.carry with gradients to the local values and the vertices."""

import torch
from torch import Tensor

TINY = 1e-12


def carry_torch(
    triangles: Tensor,  # (N,) long
    offsets: Tensor,  # (N, 3)
    quats_wxyz: Tensor,  # (N, 4), any length but zero
    scales: Tensor,  # (N, 3)
    vertices: Tensor,  # (V, 3)
    faces: Tensor,  # (F, 3) long
) -> tuple[Tensor, Tensor, Tensor]:
    """World means (N, 3), quats_wxyz (N, 4) and scales (N, 3), differentiable in offsets, quats, scales and vertices.

    Frames are made for the triangles, not for the Gaussians, and without a graph where the vertices need none.
    """
    origins, rotations, sizes = triangle_frames_torch(vertices, faces)
    turns = matrix_to_quat_wxyz_torch(rotations)
    # one table, one gather: its way back adds rows up, which plain indexing does three times slower
    table = torch.cat([origins, rotations.flatten(1), turns, sizes[:, None]], 1).index_select(0, triangles)
    origin, rotation, turn, size = table.split([3, 9, 4, 1], 1)
    turned = (rotation.view(-1, 3, 3) * offsets[:, None]).sum(2)
    return origin + size * turned, quat_multiply_wxyz_torch(turn, quats_wxyz), size * scales


def triangle_frames_torch(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Origins (F, 3), rotations (F, 3, 3) and scales (F,), as geometry/triangles.triangle_frames.

    A triangle without area gets a true frame, but no gradient through its direction.
    """
    a, b, c = vertices.index_select(0, faces.flatten()).view(-1, 3, 3).unbind(1)
    edge = b - a
    length = _length(edge)
    thin = length <= TINY
    x_axis = vertices.new_tensor([1.0, 0.0, 0.0]).expand_as(edge)
    first = torch.where(thin, x_axis, edge / length)
    normal = torch.linalg.cross(first, c - a)
    height = _length(normal)
    flat = height <= TINY * length.clamp_min(1)
    normal = torch.where(flat, _any_normal(first.detach()), normal / height)
    rotations = torch.stack([first, normal, torch.linalg.cross(first, normal)], -1)
    return (a + b + c) / 3, rotations, ((length + height) / 2)[:, 0]


def _length(vectors: Tensor) -> Tensor:
    """(F, 1), never below TINY: a root at zero has no slope."""
    return (vectors * vectors).sum(-1, keepdim=True).clamp_min(TINY * TINY).sqrt()


def _any_normal(direction: Tensor) -> Tensor:
    x, y, z = direction.unbind(-1)
    zero = torch.zeros_like(x)
    steep = (x.abs() > 0.7)[:, None]
    out = torch.where(steep, torch.stack([-y, x, zero], -1), torch.stack([zero, -z, y], -1))
    return out / out.norm(dim=-1, keepdim=True)


def matrix_to_quat_wxyz_torch(m: Tensor) -> Tensor:
    """(F, 4) unit quaternions with w >= 0 of rotations (F, 3, 3), by the form with the largest pivot."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.flatten(-2).unbind(-1)
    w, x, y, z = 1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    x_like, y_like, z_like = (m21 - m12, m01 + m10, m02 + m20), (m02 - m20, m12 + m21), m10 - m01
    by_w = torch.stack([w, x_like[0], y_like[0], z_like], -1)
    by_x = torch.stack([x_like[0], x, x_like[1], x_like[2]], -1)
    by_y = torch.stack([y_like[0], x_like[1], y, y_like[1]], -1)
    by_z = torch.stack([z_like, x_like[2], y_like[1], z], -1)
    first, second = torch.maximum(w, x), torch.maximum(y, z)
    low = torch.where((w >= x)[:, None], by_w, by_x)
    q = torch.where((first >= second)[:, None], low, torch.where((y >= z)[:, None], by_y, by_z))
    q = q / (q * q).sum(-1, keepdim=True).sqrt()
    return torch.where(q[:, :1] < 0, -q, q)


def quat_multiply_wxyz_torch(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4) products: first b, then a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack([
        aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw,
    ], -1)  # fmt: skip
