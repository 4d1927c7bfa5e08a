# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a drawn picture is from a film's, cheap enough for a CPU: torch functions of linear pictures (H, W, 3)."""

import torch
from torch import Tensor
from torch.nn import functional


def encode(linear: Tensor) -> Tensor:
    """sRGB, with a straight continuation below and above so that gradients never vanish."""
    x = linear.clamp(0.0, 1.0)
    curve = torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp_min(1e-5) ** (1 / 2.4) - 0.055)
    return curve + 0.42 * (linear - x)


def decode(srgb: Tensor) -> Tensor:
    """Linear light of sRGB 0..1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def similarity(a: Tensor, b: Tensor, shift: int) -> Tensor:
    """(h, w) SSIM, mean of the channels, of two (H, W, 3) pictures over 8 px windows every 4 px, starting at pixel `shift`; a
    Gaussian window at every pixel takes thirty times longer on a CPU and fits no better."""
    stack = torch.stack([a, b, a * a, b * b, a * b]).permute(0, 3, 1, 2)[..., shift:, shift:]
    ma, mb, aa, bb, ab = functional.avg_pool2d(stack, 8, 4)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    return ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))).mean(0)


def pooled(weight: Tensor, shift: int) -> Tensor:
    """(h, w) means of weights (H, W) over the windows of `similarity`."""
    return functional.avg_pool2d(weight[None, None, shift:, shift:], 8, 4)[0, 0]


def edges(image: Tensor) -> Tensor:
    """(2, H - 1, W - 1, 3) differences of neighbouring pixels; matching them keeps hair and lashes crisp."""
    corner = image[:-1, :-1]
    return torch.stack([image[1:, :-1] - corner, image[:-1, 1:] - corner])


def photometric(picture: Tensor, truth: Tensor, weight: Tensor, shift: int) -> Tensor:
    """Weighted L1, SSIM and edges of sRGB pictures; weight (H, W) with mean about one."""
    off = (picture - truth).abs().mean(-1)
    alike = 1 - similarity(picture, truth, shift)
    rough = (edges(picture) - edges(truth)).abs().mean((0, -1))
    return (
        0.8 * (off * weight).mean()
        + 0.2 * (alike * pooled(weight, shift)).mean()
        + 0.4 * (rough * weight[:-1, :-1]).mean()
    )
