# SPDX-License-Identifier: GPL-3.0-or-later
"""A small U-Net over UV maps: most of its work at half the map's resolution, the last word of every texel its own."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional


def folded(x: Tensor) -> Tensor:
    """(B, C, H, W) with a border of one texel, as the head goes on there: the map is cut along the middle of the back, so
    beyond its left edge lies its right one, and its upper edge is folded onto itself about the middle column."""
    x = torch.cat([x[..., -1:], x, x[..., :1]], -1)
    return torch.cat([x[..., :1, :].flip(-1), x, torch.zeros_like(x[..., :1, :])], -2)


class Conv(nn.Conv2d):
    """3x3 over a map that is cut at the back of the head."""

    def __init__(self, given: int, made: int, stride: int = 1) -> None:
        super().__init__(given, made, 3, stride=stride)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(folded(input))


class Block(nn.Module):
    """Residual, two 3x3 convolutions, GroupNorm and SiLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_a, self.norm_b = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.a, self.b = Conv(width, width), Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(functional.silu(self.norm_a(x)))
        return x + self.b(functional.silu(self.norm_b(y)))


class UNet(nn.Module):
    """(B, given, S, S) -> (B, made, S, S), S a multiple of 2 ** len(widths); made of zeros before training."""

    def __init__(self, given: int, made: int, widths: tuple[int, ...] = (32, 48, 72, 96), detail: int = 40) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * given, widths[0], 1)
        self.down_blocks = nn.ModuleList(Block(w) for w in widths)
        pairs = list(itertools.pairwise(widths))
        self.downs = nn.ModuleList(Conv(a, b, 2) for a, b in pairs)
        self.joins = nn.ModuleList(nn.Conv2d(a + b, a, 1) for a, b in pairs)
        self.up_blocks = nn.ModuleList(Block(a) for a, _ in pairs)
        self.out = nn.Conv2d(widths[0], 4 * 16, 1)
        self.mix = nn.Conv2d(given + 16, detail, 1)
        self.head = nn.Conv2d(detail, made, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(functional.pixel_unshuffle(x, 2))
        kept = []
        for k, block in enumerate(self.down_blocks):
            y = block(y)
            if k < len(self.downs):
                kept.append(y)
                y = self.downs[k](y)
        for k in reversed(range(len(kept))):
            y = functional.interpolate(y, scale_factor=2.0, mode="nearest")
            y = self.up_blocks[k](self.joins[k](torch.cat([kept[k], y], 1)))
        fine = functional.pixel_shuffle(self.out(y), 2)
        return self.head(functional.silu(self.mix(torch.cat([x, fine], 1))))
