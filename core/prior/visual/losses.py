# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a rendered head is from its picture. Pictures (H, W, 3) are scene-linear, on the same background."""

from torch import Tensor, stack
from torch.nn import functional


def encode(linear: Tensor) -> Tensor:
    """sRGB, with a straight continuation outside 0..1 so that gradients never vanish."""
    x = linear.clamp(0.0, 1.0)
    curve = (x <= 0.0031308) * 12.92 * x + (x > 0.0031308) * (1.055 * x.clamp_min(1e-5) ** (1 / 2.4) - 0.055)
    return curve + 0.42 * (linear - x)


def dissimilarity(a: Tensor, b: Tensor, shift: int = 0) -> Tensor:
    """1 - SSIM over 8 px windows every 4 px, starting at pixel `shift`: a Gaussian window at every pixel costs thirty
    times as much on a CPU and fits no better."""
    both = stack([a, b, a * a, b * b, a * b]).permute(0, 3, 1, 2)[..., shift:, shift:]
    ma, mb, aa, bb, ab = functional.avg_pool2d(both, 8, 4)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    return 1 - ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))).mean()


def gradients(a: Tensor, b: Tensor, levels: int = 3) -> Tensor:
    """Mean absolute difference of neighbouring pixels' differences, over halved pictures as well."""
    total = a.new_zeros(())
    x = (a - b).permute(2, 0, 1)[None]
    for _ in range(levels):
        total = total + (x[..., 1:, :] - x[..., :-1, :]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()
        x = functional.avg_pool2d(x, 2)
    return total / levels
