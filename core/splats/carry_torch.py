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
    size = sizes[triangles, None]
    turned = (rotations[triangles] @ offsets[..., None])[..., 0]
    means = origins[triangles] + size * turned
    return means, quat_multiply_wxyz_torch(turns[triangles], quats_wxyz), size * scales


def triangle_frames_torch(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Origins (F, 3), rotations (F, 3, 3) and scales (F,), as geometry/triangles.triangle_frames.

    A triangle without area gets a true frame, but no gradient through its direction.
    """
    a, b, c = vertices[faces].unbind(1)
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
    forms = torch.stack([
        torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
        torch.stack([m21 - m12, 1 + m00 - m11 - m22, m01 + m10, m02 + m20], -1),
        torch.stack([m02 - m20, m01 + m10, 1 - m00 + m11 - m22, m12 + m21], -1),
        torch.stack([m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22], -1),
    ], -2)  # fmt: skip
    pivot = forms.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = forms[torch.arange(len(m), device=m.device), pivot]
    q = q / q.norm(dim=-1, keepdim=True)
    return torch.where(q[:, :1] < 0, -q, q)


def quat_multiply_wxyz_torch(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4) products: first b, then a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack([
        aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw,
    ], -1)  # fmt: skip
