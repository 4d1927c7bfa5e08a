# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gaussians of one head as numbers that a fit may change, each bounded round a start.

A film shows a person from few sides. What no picture shows must stay where the start laid it, so offsets, sizes and rotations
live in small boxes (tanh), opaque surfaces stay opaque, and neighbours on the surface go together. Colours are scene-linear and
the same from all sides: sheen that a camera in front saw would be learned as light that turns with the camera.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..geometry.cameras import Camera
from ..geometry.triangles import triangle_frames
from ..head.head import Head, identity
from ..splats.avatar import Avatar
from ..splats.binding import Binding
from ..splats.carry_torch import carry_torch
from ..splats.colour_network import ColourNetwork
from ..splats.differentiable import rasterize_torch
from ..splats.gaussians import SH_C0

REACH = {"skin": 0.0040, "lips": 0.0025, "eye_left": 0.0006, "eye_right": 0.0006, "teeth_upper": 0.0012, "teeth_lower": 0.0012,
         "gums": 0.0012, "tongue": 0.0012, "mouth_interior": 0.0025, "lashes": 0.0020}  # fmt: skip
"""Metres that a Gaussian may wander from its start, by region."""
LOOSE_REACH = 0.012
"""The same for hair and cloth, whose surface the parametric head does not have."""
GROW, SHRINK = 2.0, 0.6
"""Factors on a size, at most and at least: surfaces must stay closed when a camera comes near."""
LEAST_OPACITY = 0.02
"""Fainter Gaussians are not kept in an avatar."""


@dataclass(frozen=True)
class Bounds:
    """reach (N,) metres; grow (N,) and shrink (N,) factors on the sizes, above and below 1; closed (N,) bool: part of a
    surface, which stays opaque."""

    reach: np.ndarray
    grow: np.ndarray
    shrink: np.ndarray
    closed: np.ndarray

    def of(self, which: np.ndarray) -> "Bounds":
        return Bounds(self.reach[which], self.grow[which], self.shrink[which], self.closed[which])


def bounds_by_region(head: Head, triangles: np.ndarray, loose: np.ndarray | None = None) -> Bounds:
    """Bounds for Gaussians on `triangles` (N,); `loose` (N,) bool marks hair and cloth."""
    reach = np.array([REACH[name] for name in head.region_names], np.float32)[head.regions[triangles]]
    loose = np.zeros(len(triangles), bool) if loose is None else np.asarray(loose, bool)
    reach = np.where(loose, LOOSE_REACH, reach).astype(np.float32)
    grow, shrink = np.full(len(reach), GROW, np.float32), np.full(len(reach), SHRINK, np.float32)
    return Bounds(reach, grow, shrink, ~loose)


class GaussianHead(torch.nn.Module):
    """N Gaussians bound to a head. Parameters: wander, turn, size (N, 3|4|3), logit (N,), dc (N, 3), all at their start."""

    faces: Tensor
    start_triangles: Tensor
    start_sizes: Tensor
    start_offsets: Tensor
    start_quats: Tensor
    start_log_scales: Tensor
    start_dc0: Tensor
    start_reach: Tensor
    start_grow: Tensor
    start_shrink: Tensor
    start_closed: Tensor

    def __init__(
        self, head: Head, betas: np.ndarray, binding: Binding, opacities: np.ndarray, harmonics: np.ndarray,
        bounds: Bounds | None = None,
    ) -> None:  # fmt: skip
        """harmonics (N, K, 3), of which degree 0 is taken. bounds: by region where None."""
        super().__init__()
        self.head, self.betas = head, np.asarray(betas, np.float32)
        rest = identity(head, betas).template
        sizes = triangle_frames(rest.astype(np.float32), head.faces)[2][binding.triangles]
        bounds = bounds or bounds_by_region(head, binding.triangles)
        names = ("triangles", "sizes", "offsets", "quats", "log_scales", "dc0", "reach", "grow", "shrink", "closed")
        arrays = (
            binding.triangles.astype(np.int64), sizes, binding.offsets, binding.quats_wxyz, np.log(np.maximum(binding.scales, 1e-7)),
            harmonics[:, 0], bounds.reach, np.log(bounds.grow), np.log(bounds.shrink), bounds.closed,
        )  # fmt: skip
        for name, array in zip(names, arrays, strict=True):
            kept = np.array(array, array.dtype if array.dtype.kind in "ib" else np.float32)
            self.register_buffer("start_" + name, torch.from_numpy(kept))
        self.register_buffer("faces", torch.from_numpy(head.faces.astype(np.int64)))
        n = len(binding)
        zeros = lambda k: torch.nn.Parameter(torch.zeros(n, k))  # noqa: E731
        self.wander, self.turn, self.size = zeros(3), zeros(4), zeros(3)
        opacity = torch.from_numpy(np.clip(opacities, 0.004, 0.996).astype(np.float32))
        self.logit = torch.nn.Parameter(torch.logit(opacity))
        self.dc = torch.nn.Parameter(self.start_dc0.clone())

    def __len__(self) -> int:
        return len(self.logit)

    def local(self) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets (N, 3), quats_wxyz (N, 4), scales (N, 3) in triangle frames."""
        reach = (self.start_reach / self.start_sizes.clamp_min(1e-6))[:, None]
        t = torch.tanh(self.size)
        grown = torch.where(t > 0, t * self.start_grow[:, None], -t * self.start_shrink[:, None])
        offsets = self.start_offsets + reach * torch.tanh(self.wander)
        return offsets, self.start_quats + 0.5 * torch.tanh(self.turn), torch.exp(self.start_log_scales + grown)

    def world(self, vertices: Tensor | np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Means, quats_wxyz and scales on the posed vertices (V, 3)."""
        vertices = torch.as_tensor(vertices, dtype=torch.float32, device=self.logit.device)
        return carry_torch(self.start_triangles, *self.local(), vertices, self.faces)

    def draw(
        self, vertices: Tensor | np.ndarray, camera: Camera, threads: int = 0, *, dc: Tensor | None = None,
        means2d: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Colour (H, W, 3), linear and premultiplied, and alpha (H, W). dc (N, 3): this frame's colours, in place of the base."""
        means, quats, scales = self.world(vertices)
        colours = self.dc if dc is None else dc
        return rasterize_torch(
            means, quats, scales, torch.sigmoid(self.logit), colours[:, None], camera.world_to_camera, camera.K,
            camera.width, camera.height, threads=threads, means2d=means2d,
        )  # fmt: skip

    @torch.no_grad()
    def split(self, keep: np.ndarray, twice: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Keep the Gaussians `keep` (k,) and add a sibling to each of `twice` (t,), both half as wide as it was along its longest
        axis, and apart along it. Returns the origin (k + t,) of every Gaussian that is there now."""
        twice = np.intersect1d(twice, keep)
        device = self.logit.device
        origin = torch.from_numpy(np.concatenate([keep, twice]).astype(np.int64)).to(device)
        offsets, quats, scales = self.local()
        chosen = torch.from_numpy(twice.astype(np.int64)).to(device)
        axis = scales[chosen].argmax(1)
        along = _axes(quats[chosen])[torch.arange(len(chosen), device=device), :, axis]
        step = 0.45 * scales[chosen, axis, None] * along
        side = torch.from_numpy(np.where(rng.random(len(twice)) < 0.5, -1.0, 1.0).astype(np.float32))[:, None].to(
            device
        )
        shifts = torch.zeros_like(offsets)
        shifts[chosen] = side * step
        narrower = torch.zeros_like(scales)
        narrower[chosen, axis] = -float(np.log(1.6))
        first = len(keep)
        self._gather(origin)
        self.start_offsets += shifts[origin]
        self.start_offsets[first:] -= 2 * shifts[origin[first:]]
        self.start_log_scales += narrower[origin]
        return origin

    def _gather(self, origin: Tensor) -> None:
        for name, buffer in list(self.named_buffers()):
            if name != "faces":
                self.register_buffer(name, buffer[origin].clone())
        for name, parameter in list(self.named_parameters()):
            setattr(self, name, torch.nn.Parameter(parameter.detach()[origin].clone()))

    @torch.no_grad()
    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Become what state_dict() of another one was, with its number of Gaussians."""
        for name, tensor in state.items():
            if name in dict(self.named_buffers()):
                self.register_buffer(name, tensor.clone())
            else:
                setattr(self, name, torch.nn.Parameter(tensor.clone()))

    def pull(self) -> Tensor:
        """A mean over Gaussians that is small at the start: how far they went, and how far surfaces opened."""
        opened = torch.relu(0.9 - torch.sigmoid(self.logit)) * self.start_closed
        return (torch.tanh(self.wander) ** 2).mean() + 0.3 * (torch.tanh(self.size) ** 2).mean() + opened.mean()

    def rates(self, rate: float = 1.0) -> list[dict[str, Any]]:
        """Parameter groups with learning rates that suit Adam."""
        rates = {"wander": 0.020, "turn": 0.010, "size": 0.020, "logit": 0.030, "dc": 0.015}
        return [{"params": [getattr(self, name)], "lr": lr * rate, "name": name} for name, lr in rates.items()]

    @torch.no_grad()
    def binding(self) -> Binding:
        """As it stands now, all N."""
        offsets, quats, scales = (x.cpu().numpy() for x in self.local())
        quats = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
        return Binding(self.start_triangles.cpu().numpy().astype(np.int32), offsets, quats, scales)

    @torch.no_grad()
    def avatar(
        self, name: str, about: Mapping[str, Any] | None = None, thumbnail: np.ndarray | None = None,
        colour: ColourNetwork | None = None,
    ) -> Avatar:  # fmt: skip
        """The product's avatar, sorted by triangle, without what became transparent."""
        binding, opacity = self.binding(), torch.sigmoid(self.logit).cpu().numpy()
        order = np.flatnonzero(opacity > LEAST_OPACITY)
        order = order[np.argsort(binding.triangles[order], kind="stable")]
        kept = Binding(*(a[order] for a in (binding.triangles, binding.offsets, binding.quats_wxyz, binding.scales)))
        harmonics = self.dc.cpu().numpy()[order, None]
        colour = None if colour is None else colour.of(order)
        return Avatar(
            name, self.head.head_id, self.betas, kept, opacity[order], harmonics, about or {}, thumbnail, colour=colour
        )


def _axes(quats_wxyz: Tensor) -> Tensor:
    """(n, 3, 3) rotation matrices: their columns are the Gaussians' axes."""
    w, x, y, z = torch.nn.functional.normalize(quats_wxyz, dim=1).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).view(-1, 3, 3)


def dc_of(colours: np.ndarray) -> np.ndarray:
    """(N, 1, 3) harmonics of linear colours (N, 3)."""
    return ((np.asarray(colours, np.float32) - 0.5) / SH_C0)[:, None]
