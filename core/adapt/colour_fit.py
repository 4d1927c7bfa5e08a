# SPDX-License-Identifier: GPL-3.0-or-later
"""The colour network being learned: splats/colour_network.py with gradients."""

import numpy as np
import torch
from torch import Tensor, nn

from ..head.motion import CHANNELS
from ..splats.colour_network import ColourNetwork, features

HIDDEN = 24
LEAST_RANGE = 0.03
"""A channel that moves less than this (coefficient or radians) over the film says nothing."""
MUTE = ("headX", "headY", "headZ", "neckPitch", "neckYaw", "neckRoll")
"""Where the head is and how the shoulders turn are no reason for another colour."""
PULL_BASIS, PULL_WEIGHTS = 3e-3, 1e-4


class ColourModel(nn.Module):
    """Parameters basis (K, M, 3), and the layers'."""

    low: Tensor
    high: Tensor
    rows: Tensor

    def __init__(self, low: Tensor, high: Tensor, rows: Tensor, basis: int) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("rows", rows)
        self.one, self.two = nn.Linear(len(CHANNELS), HIDDEN), nn.Linear(HIDDEN, basis)
        self.basis = nn.Parameter(torch.zeros(basis, len(rows), 3))

    @classmethod
    def begun(cls, values: np.ndarray, rows: np.ndarray, basis: int, seed: int) -> "ColourModel":
        """For Gaussians `rows`, taught on frames of values (F, 65): their range is what the network will look at."""
        low, high = (np.quantile(values, q, axis=0).astype(np.float32) for q in (0.01, 0.99))
        still = (high - low < LEAST_RANGE) | np.isin(CHANNELS, MUTE)
        low[still] = high[still] = 0
        out = cls(torch.from_numpy(low), torch.from_numpy(high), torch.from_numpy(rows.astype(np.int64)), basis)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer, gain in ((out.one, 1.0), (out.two, 1.0)):
                layer.weight.normal_(0, gain / layer.in_features**0.5, generator=generator)
                layer.bias.zero_()
            out.basis.normal_(0, 0.01, generator=generator)
        return out

    @classmethod
    def restored(cls, state: dict[str, Tensor]) -> "ColourModel":
        out = cls(state["low"], state["high"], state["rows"], len(state["basis"]))
        out.load_state_dict(state)
        return out

    def weights(self, values: Tensor) -> Tensor:
        x = features(values.detach().cpu().numpy(), self.low.cpu().numpy(), self.high.cpu().numpy())
        x = torch.from_numpy(x).to(self.basis.device)
        return torch.tanh(self.two(torch.tanh(self.one(x))))

    def forward(self, dc: Tensor, values: Tensor) -> Tensor:
        """(N, 3) colours of a frame of values (65,)."""
        change = torch.einsum("k,kmc->mc", self.weights(values), self.basis)
        return dc.index_add(0, self.rows, change)

    def pull(self) -> Tensor:
        """Small where colours change little."""
        return PULL_BASIS * (self.basis**2).mean() + PULL_WEIGHTS * (
            (self.one.weight**2).mean() + (self.two.weight**2).mean()
        )

    @torch.no_grad()
    def network(self) -> ColourNetwork:
        matrices = tuple(layer.weight.cpu().numpy().T.copy() for layer in (self.one, self.two))
        biases = tuple(layer.bias.cpu().numpy().copy() for layer in (self.one, self.two))
        rows = self.rows.cpu().numpy().astype(np.int32)
        return ColourNetwork(
            self.low.cpu().numpy(), self.high.cpu().numpy(), matrices, biases, rows, self.basis.detach().cpu().numpy()
        )
