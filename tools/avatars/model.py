# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gaussians of a person as numbers that a fit may change, each bounded round where initial.py laid it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loquent.core.geometry.cameras import Camera
from loquent.core.geometry.rotations import matrix_to_quat_wxyz
from loquent.core.geometry.triangles import triangle_frames
from loquent.core.prior.visual.maps_torch import multiply
from loquent.core.splats.differentiable import rasterize_torch
from loquent.core.splats.gaussians import SH_C0

from . import initial

# how far a Gaussian may wander (metres), and the factors its thin/long axes may grow or shrink by, per group
REACH = {"skin": 0.0010, "mouth": 0.0012, "teeth": 0.0004, "gums": 0.0004, "tongue": 0.0006, "shirt": 0.0025, "eyes": 0.00025,
         "hair": 0.0040, "brow": 0.0008, "lash": 0.0008, "beard": 0.0010}  # fmt: skip
GROW = {"skin": 2.2, "mouth": 2.2, "teeth": 1.8, "gums": 2.0, "tongue": 2.0, "shirt": 2.2, "eyes": 1.6, "hair": 2.6, "brow": 1.8,
        "lash": 1.6, "beard": 2.0}  # fmt: skip
OPACITY = {"skin": 0.97, "mouth": 0.97, "teeth": 0.96, "gums": 0.96, "tongue": 0.96, "shirt": 0.96, "eyes": 0.97, "hair": 0.80,
           "brow": 0.55, "lash": 0.60, "beard": 0.45}  # fmt: skip
SHINY = ("skin", "eyes", "hair", "beard", "shirt")
SHRINK = {"hair": 0.45, "brow": 0.5, "lash": 0.5, "beard": 0.5}
"""Least factor on a size; 0.7 for surfaces, which must stay closed when a camera comes near."""


@dataclass
class Frames:
    """Triangle frames of every Gaussian for one expression: origins (N, 3), rotations (N, 3, 3), quats (N, 4), scales (N, 1)."""

    origins: Tensor
    rotations: Tensor
    quats: Tensor
    scales: Tensor


class Model(torch.nn.Module):
    """The Gaussians' numbers, bounded round their start."""

    def __init__(self, start: initial.Start, rest_scales: np.ndarray) -> None:
        super().__init__()
        names = [initial.GROUPS[g] for g in start.group]
        n = len(names)
        tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.float32)  # noqa: E731
        self.start_offsets = tensor(start.binding.offsets)
        self.start_quats = tensor(start.binding.quats_wxyz)
        self.start_scales = tensor(np.log(start.binding.scales))
        self.reach = tensor([REACH[k] for k in names])[:, None] / tensor(rest_scales)[:, None]
        self.grow = torch.log(tensor([GROW[k] for k in names]))[:, None]
        self.shrink = torch.log(tensor([SHRINK.get(k, 0.7) for k in names]))[:, None]
        opacity = tensor([OPACITY[k] for k in names])
        self.wander = torch.nn.Parameter(torch.zeros(n, 3))
        self.turn = torch.nn.Parameter(torch.zeros(n, 4))
        self.size = torch.nn.Parameter(torch.zeros(n, 3))
        self.logit = torch.nn.Parameter(torch.logit(opacity))
        self.dc = torch.nn.Parameter((tensor(start.colour) - 0.5)[:, None] / SH_C0)
        # the mouth's lining never outshines its paint: few pictures see it, and a bright spot there looks like a fault
        inner = torch.tensor([k == "mouth" for k in names])[:, None, None]
        self.brightest = torch.where(inner, (0.5 * tensor(start.colour)[:, None] - 0.5) / SH_C0, 1e3)
        self.sheen = torch.nn.Parameter(torch.zeros(n, 3, 3))
        self.shiny = tensor([k in SHINY for k in names])[:, None, None]

    def local(self) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets, quaternions and scales in triangle frames."""
        t = torch.tanh(self.size)
        scales = torch.exp(self.start_scales + torch.where(t > 0, t * self.grow, -t * self.shrink))
        return self.start_offsets + self.reach * torch.tanh(self.wander), self.start_quats + self.turn, scales

    def world(self, f: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """Means, quaternions and scales for one expression."""
        offsets, quats, scales = self.local()
        means = f.origins + f.scales * torch.einsum("nij,nj->ni", f.rotations, offsets)
        return means, multiply(f.quats, quats), f.scales * scales

    def harmonics(self) -> Tensor:
        """(N, 4, 3); only shiny groups depend on the direction of view."""
        return torch.cat([torch.minimum(self.dc, self.brightest), self.sheen * self.shiny], 1)

    def draw(self, f: Frames, camera: Camera, threads: int) -> tuple[Tensor, Tensor]:
        means, quats, scales = self.world(f)
        harmonics = self.harmonics()
        return rasterize_torch(
            means, quats, scales, torch.sigmoid(self.logit), harmonics, camera.world_to_camera, camera.K, camera.width,
            camera.height, threads=threads,
        )  # fmt: skip


def frames_of(vertices: np.ndarray, faces: np.ndarray, triangles: np.ndarray) -> Frames:
    origins, rotations, scales = triangle_frames(vertices.astype(np.float32), faces)
    quats = matrix_to_quat_wxyz(rotations)
    t = torch.from_numpy
    return Frames(
        t(origins[triangles]),
        t(np.ascontiguousarray(rotations[triangles])),
        t(quats[triangles].astype(np.float32)),
        t(scales[triangles][:, None]),
    )
