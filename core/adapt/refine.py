# SPDX-License-Identifier: GPL-3.0-or-later
"""Small corrections of a head's Gaussians until their render is the photo, by Adam through the rasteriser.

Colours may change freely where the photo shows them; places, sizes and opacities stay close to where they began, so that
nothing tears when the head turns. What the photo does not show is held.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..geometry.cameras import Camera
from ..splats.carry_torch import carry_torch
from ..splats.differentiable import rasterize_torch
from ..splats.gaussians import SH_C0
from .likeness import GROUPS, Likeness

REACH = {"skin": 0.0007, "hair": 0.0030, "eyes": 0.0002, "mouth": 0.0003, "lashes": 0.0008}
"""Metres that a Gaussian may wander."""
GROW = {"skin": 1.35, "hair": 1.5, "eyes": 1.2, "mouth": 1.2, "lashes": 1.5}
RATES = {"colour": 0.020, "wander": 0.05, "size": 0.04, "opacity": 0.03}
FAINT = 0.3
"""Of the mean gradient: weaker ones are not blown up to whole steps."""
HELD = {"skin": 0.02, "hair": 0.02, "eyes": 0.15, "mouth": 0.3, "lashes": 0.05}
"""How strongly colours are drawn back to where they began, per group; what moves under lids and lips more."""


@dataclass(frozen=True)
class Target:
    """What the render should be: light (S, S, 3) linear of the person alone, matte (S, S), and the pixels that count (S, S)."""

    light: np.ndarray
    matte: np.ndarray
    counts: np.ndarray
    camera: Camera
    vertices: np.ndarray
    faces: np.ndarray


Report = Callable[[float, np.ndarray | None], None]


def refine(
    start: Likeness, target: Target, steps: int = 120, seed: int = 0, threads: int = 0, report: Report | None = None
) -> Likeness:
    """The likeness after `steps` of Adam; 60-90 ms a step on two cores at 384 x 384 pixels."""
    tensor = lambda x: torch.tensor(np.ascontiguousarray(x), dtype=torch.float32)  # noqa: E731
    rng = np.random.default_rng(seed)
    names = [GROUPS[g] for g in start.group]
    triangles = torch.tensor(start.binding.triangles.astype(np.int64))
    vertices, faces = tensor(target.vertices), torch.tensor(target.faces.astype(np.int64))
    offsets, quats, scales = (
        tensor(start.binding.offsets),
        tensor(start.binding.quats_wxyz),
        tensor(start.binding.scales),
    )
    with torch.no_grad():
        unit = carry_torch(triangles, offsets, quats, torch.ones_like(scales), vertices, faces)[2]  # metres of one
    reach = tensor([REACH[n] for n in names])[:, None] / unit.clamp_min(1e-6)
    grow = torch.log(tensor([GROW[n] for n in names]))[:, None]
    base_logit = torch.logit(tensor(start.opacities).clamp(1e-3, 0.985))
    base = encode(tensor(start.colours).clamp_min(0))
    held = tensor([HELD[n] for n in names])[:, None]
    loose = tensor(start.loose)[:, None]
    wander, size = torch.zeros_like(offsets, requires_grad=True), torch.zeros_like(scales, requires_grad=True)
    tone = torch.zeros_like(base, requires_grad=True)
    logit = torch.zeros_like(base_logit, requires_grad=True)
    groups = [
        {"params": [tone], "lr": RATES["colour"]}, {"params": [wander], "lr": RATES["wander"]},
        {"params": [size], "lr": RATES["size"]}, {"params": [logit], "lr": RATES["opacity"]},
    ]  # fmt: skip
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.98), eps=1e-12)
    rates = [g["lr"] for g in groups]
    light, matte, counts = tensor(target.light), tensor(target.matte), tensor(target.counts)
    total = counts.mean().clamp_min(1e-6)
    camera = target.camera

    def current() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return (
            offsets + loose * reach * torch.tanh(wander), scales * torch.exp(loose * grow * torch.tanh(size)),
            torch.sigmoid(base_logit + loose[:, 0] * torch.tanh(logit)), decode(base + loose * tone),
        )  # fmt: skip

    for step in range(steps):
        for g, rate in zip(optimiser.param_groups, rates, strict=True):
            g["lr"] = rate * 0.1 ** (step / steps)
        place, width, opacity, colours = current()
        means, turned, sizes = carry_torch(triangles, place, quats, width, vertices, faces)
        drawn, alpha = rasterize_torch(
            means, turned, sizes, opacity, (colours[:, None] - 0.5) / SH_C0, camera.world_to_camera, camera.K,
            camera.width, camera.height, threads=threads,
        )  # fmt: skip
        behind = torch.from_numpy(rng.random(3).astype(np.float32) ** 2)
        a = encode(drawn + behind * (1 - alpha[..., None]))
        b = encode(light * matte[..., None] + behind * (1 - matte[..., None]))
        off = ((a - b).abs() * counts[..., None]).mean() / total
        masked = counts[..., None]
        near = 1 - similarity(a * masked + b * (1 - masked), b, int(rng.integers(4)))
        loss = 0.8 * off + 0.2 * near + 0.2 * ((alpha - matte).abs() * counts).mean() / total
        loss = loss + 0.4 * ((edges(a) - edges(b)).abs() * counts[1:, 1:, None]).mean() / total
        loss = (
            loss
            + (held * tone**2).mean()
            + 2e-3 * (torch.tanh(wander) ** 2).mean()
            + 2e-3 * (torch.tanh(size) ** 2).mean()
        )
        loss = loss + 5e-3 * (torch.tanh(logit) ** 2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if step == 0:  # what hardly shows must hardly move: Adam alone would give it whole steps
            for g in optimiser.param_groups:
                slope = g["params"][0].grad
                g["eps"] = FAINT * float(slope.square().mean().sqrt()) + 1e-12
        optimiser.step()
        if report is not None and (step % 10 == 9 or step == steps - 1):
            report(
                (step + 1) / steps, (a.detach().clamp(0, 1) * 255).to(torch.uint8).numpy() if step % 30 == 29 else None
            )
    with torch.no_grad():
        place, width, opacity, colours = current()
    binding = replace(start.binding, offsets=place.numpy(), scales=width.numpy())
    return replace(start, binding=binding, opacities=opacity.numpy(), colours=colours.numpy())


def encode(linear: Tensor) -> Tensor:
    """sRGB, with a straight continuation below and above so that gradients never vanish."""
    x = linear.clamp(0.0, 1.0)
    curve = torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp_min(1e-5) ** (1 / 2.4) - 0.055)
    return curve + 0.42 * (linear - x)


def decode(display: Tensor) -> Tensor:
    """The inverse of encode between 0 and 1, held there."""
    x = display.clamp(0.0, 1.0)
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0.04) + 0.055) / 1.055) ** 2.4)


def similarity(a: Tensor, b: Tensor, shift: int) -> Tensor:
    """Mean SSIM of two (H, W, 3) pictures over 8 px windows every 4 px, starting at pixel `shift`."""
    stack = torch.stack([a, b, a * a, b * b, a * b]).permute(0, 3, 1, 2)[..., shift:, shift:]
    ma, mb, aa, bb, ab = torch.nn.functional.avg_pool2d(stack, 8, 4)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    return ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))).mean()


def edges(image: Tensor) -> Tensor:
    """(2, H - 1, W - 1, 3) differences of neighbouring pixels; matching them keeps features crisp."""
    corner = image[:-1, :-1]
    return torch.stack([image[1:, :-1] - corner, image[:-1, 1:] - corner])
