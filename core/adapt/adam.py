# SPDX-License-Identifier: GPL-3.0-or-later
"""Adam (Kingma and Ba 2015) for numbers whose count changes and of which a step may touch only some rows.

Gaussians are split and dropped while a fit runs, and a frame's pose is touched only when that frame is drawn; torch's optimisers
know neither, and their state is kept as pickles. Everything here can be saved as arrays.
"""

import torch
from torch import Tensor

BETAS, EPS = (0.9, 0.99), 1e-15


class Adam:
    """First and second moments of tensors by name. Rates are given with each step."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}
        self.count: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(
        self, name: str, parameter: Tensor, rate: float, row: int | None = None, gain: Tensor | None = None
    ) -> Tensor | None:
        """Move a parameter against its .grad, or only its row; no gradient, no move. The gradient is dropped. Returns the move.

        gain (N, 1): factors on the moves of the rows. Adam moves what hardly has a gradient as far as what has a large one.
        """
        if parameter.grad is None:
            return None
        if name not in self.first:
            self.first[name], self.second[name] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self.count[name] = torch.zeros(len(parameter) if row is not None else 1)
        place = slice(None) if row is None else row
        first, second, slope = self.first[name][place], self.second[name][place], parameter.grad[place]
        at = 0 if row is None else row
        self.count[name][at] += 1
        n = float(self.count[name][at])
        first.mul_(BETAS[0]).add_(slope, alpha=1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        size = (second / (1 - BETAS[1] ** n)).sqrt_().add_(EPS)
        move = first / size
        if gain is not None:
            move *= gain
        move *= -rate / (1 - BETAS[0] ** n)
        parameter[place] += move
        parameter.grad = None
        return move

    def gather(self, name: str, origin: Tensor) -> None:
        """Rows as they are after rows `origin` (n,) of a parameter were kept or doubled."""
        for moments in (self.first, self.second):
            if name in moments:
                moments[name] = moments[name][origin].clone()

    def state(self) -> dict[str, Tensor]:
        kinds = {"first": self.first, "second": self.second, "count": self.count}
        return {f"{kind}.{name}": tensor for kind, found in kinds.items() for name, tensor in found.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        for key, tensor in state.items():
            kind, name = key.split(".", 1)
            {"first": self.first, "second": self.second, "count": self.count}[kind][name] = tensor.clone()
