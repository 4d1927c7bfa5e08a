# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser in plain torch, small and differentiable by autograd: what the native library is tested against.

Works in the dtype of its input (float64 for gradients) and on any device. Every Gaussian is evaluated at every pixel:
memory grows with N H W, so keep to a few hundred Gaussians and pictures of some 64 px. Semantics: see rasterize.py.
"""

import torch
from torch import Tensor

BLUR, ALPHA_MAX, ALPHA_MIN, T_STOP = 0.3, 0.999, 1 / 255, 1e-4


def rasterize_twin(
    means: Tensor,  # (N, 3)
    quats_wxyz: Tensor,  # (N, 4)
    scales: Tensor,  # (N, 3)
    opacities: Tensor,  # (N,)
    harmonics: Tensor,  # (N, K, 3), or (N, 3) plain colours
    world_to_camera: Tensor,  # (4, 4)
    K: Tensor,  # (3, 3)
    width: int,
    height: int,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    near: float = 0.01,
    far: float = 1e10,
    antialiased: bool = False,
    features: Tensor | None = None,  # (N, M)
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Colour (H, W, 3) over the background, alpha, depth, median depth (H, W), features (H, W, M)."""
    centres, conics, z, opacities, kept = _project(
        means, quats_wxyz, scales, opacities, world_to_camera, K, width, height, near, far, antialiased
    )
    channels = means[:, :0] if features is None else features
    colours = harmonics if harmonics.ndim == 2 else _colours(means, harmonics, world_to_camera)
    order = torch.argsort(torch.where(kept, z, torch.inf), stable=True)[: int(kept.sum())]
    pixels = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).to(means) + 0.5
    dx, dy = (pixels[None] - centres[order, None, None]).unbind(-1)  # (M, H, W)
    a, b, c = (x[:, None, None] for x in conics[order].unbind(-1))
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacities[order, None, None] * torch.exp(-sigma)).clamp_max(ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, 0)
    after = torch.cumprod(1 - alpha, 0)
    alpha = torch.where(after > T_STOP, alpha, 0)  # after never grows again: every later Gaussian is cut, too
    before = torch.cumprod(torch.cat([means.new_ones(1, height, width), 1 - alpha]), 0)
    weights = alpha * before[:-1]
    total = 1 - before[-1]
    colour = torch.einsum("nhw,nc->hwc", weights, colours[order]) + before[-1][..., None] * means.new_tensor(background)
    depth = torch.einsum("nhw,n->hw", weights, z[order])
    # the last that meets a transmittance above one half, counted from 1; 0 for none
    place = torch.arange(1, len(order) + 1)[:, None, None] * ((weights > 0) & (before[:-1] > 0.5))
    last = torch.cat([place.new_zeros(1, height, width), place]).amax(0)
    return (
        colour,
        total,
        torch.where(total > 0, depth / torch.where(total > 0, total, 1), 0),
        torch.cat([z.new_zeros(1), z[order]])[last],
        torch.einsum("nhw,nc->hwc", weights, channels[order]),
    )


def _project(means, quats, scales, opacities, world_to_camera, K, width, height, near, far, antialiased):
    rotation, translation = world_to_camera[:3, :3], world_to_camera[:3, 3]
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    x, y, z = (means @ rotation.T + translation).unbind(-1)
    opacities = opacities.clamp_max(1)
    kept = (z >= near) & (z <= far) & (opacities >= ALPHA_MIN)
    z = torch.where(kept, z, 1)  # keeps the gradient of what is not drawn finite
    over_x, over_y = 0.15 * width / fx, 0.15 * height / fy
    tx = z * torch.minimum(torch.maximum(x / z, -cx / fx - over_x), (width - cx) / fx + over_x)
    ty = z * torch.minimum(torch.maximum(y / z, -cy / fy - over_y), (height - cy) / fy + over_y)
    zero = torch.zeros_like(z)
    rows = [fx / z, zero, -fx * tx / z**2, zero, fy / z, -fy * ty / z**2]
    half = torch.stack(rows, -1).reshape(-1, 2, 3) @ rotation @ _matrices(quats) * scales[:, None]
    sharp = half @ half.transpose(1, 2)
    cov = sharp + BLUR * torch.eye(2).to(means)
    if antialiased:
        strength = (_determinant(sharp) / _determinant(cov)).clamp_min(0)
        opacities = opacities * torch.where(strength > 0, strength, 1).sqrt() * (strength > 0)
        kept = kept & (opacities >= ALPHA_MIN)
    conics = torch.stack([cov[:, 1, 1], -cov[:, 0, 1], cov[:, 0, 0]], -1)
    conics = conics / _determinant(cov)[:, None]
    return torch.stack([fx * x / z + cx, fy * y / z + cy], -1), conics, z, opacities, kept


def _determinant(cov: Tensor) -> Tensor:
    return cov[:, 0, 0] * cov[:, 1, 1] - cov[:, 0, 1] ** 2


def _matrices(quats: Tensor) -> Tensor:
    w, x, y, z = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def _colours(means: Tensor, harmonics: Tensor, world_to_camera: Tensor) -> Tensor:
    position = -world_to_camera[:3, :3].T @ world_to_camera[:3, 3]
    d = means - position
    x, y, z = (d / d.norm(dim=-1, keepdim=True)).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        torch.full_like(x, 0.2820947917738781),
        -0.48860251190292 * y, 0.48860251190292 * z, -0.48860251190292 * x,
        1.092548430592079 * x * y, -1.092548430592079 * y * z, 0.3153915652525201 * (3 * zz - 1),
        -1.092548430592079 * x * z, 0.5462742152960395 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z,
        0.4570457994644658 * y * (1 - 5 * zz), 0.3731763325901154 * z * (5 * zz - 3),
        0.4570457994644658 * x * (1 - 5 * zz), 1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]  # fmt: skip
    weights = torch.stack(basis[: harmonics.shape[1]], -1)
    return (torch.einsum("nk,nkc->nc", weights, harmonics) + 0.5).clamp_min(0)
