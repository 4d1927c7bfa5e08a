# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in head's lips as arithmetic a loss can use: channels of the mouth -> millimetres, differentiable.

Lip vertices are linear in the mouth's channels but for the jaw, which is a rotation: products of the jaw with the other
channels mend that to 0.03 mm (largest error of the gap over random mouths; held by a test). Fitted once in half a second.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...core.head.head import identity, load_head, pose_vertices
from ...core.head.motion import CHANNELS, INDEX
from ...core.prior.mouth import MOUTH, sides

PAIRS = tuple((f"lip_upper_{side}", f"lip_lower_{side}") for side in ("middle", "left", "right"))
SAMPLES, VERTICES = 160, 36
JAW = MOUTH.index("jawOpen")


@dataclass(frozen=True)
class Lips:
    """vertices (35, 3 V) and gaps (35, 3): rows for each channel, jaw times each channel, and 1."""

    vertices: torch.Tensor
    gaps: torch.Tensor

    def positions(self, channels: torch.Tensor) -> torch.Tensor:
        """(..., 17) -> (..., 3 V) millimetres."""
        return _terms(channels) @ self.vertices

    def gap(self, channels: torch.Tensor) -> torch.Tensor:
        """(..., 17) -> (...,) millimetres between the inner lips, the widest of three places, were no state enforced."""
        return (_terms(channels) @ self.gaps).amax(-1)


def _terms(channels: torch.Tensor) -> torch.Tensor:
    jaw = channels[..., JAW : JAW + 1]
    return torch.cat((channels, channels * jaw, torch.ones_like(jaw)), -1)


def random_mouths(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(count, 17) mouth channels and the (count, 65) channels they drive."""
    mouth = rng.random((count, len(MOUTH))) * rng.choice((0.0, 0.3, 0.7), (count, len(MOUTH)))
    mouth[:, JAW] = 0.7 * rng.random(count)
    values = np.zeros((count, len(CHANNELS)), np.float32)
    for i, name in enumerate(MOUTH):
        for side in sides(name):
            values[:, INDEX[side]] = mouth[:, i]
    return mouth.astype(np.float32), values


def fitted() -> Lips:
    person = identity(load_head())
    marks = person.head.landmarks
    mouth, values = random_mouths(SAMPLES, np.random.default_rng(0))
    vertices = 1e3 * pose_vertices(person, values)
    lips = np.flatnonzero(person.head.masks["lips"] > 0.5)
    chosen = vertices[:, lips[:: max(1, len(lips) // VERTICES)]].reshape(SAMPLES, -1)
    gaps = np.stack([vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in PAIRS], 1)
    terms = _terms(torch.from_numpy(mouth)).numpy().astype(np.float64)
    found = np.linalg.lstsq(terms, np.concatenate((chosen, gaps), 1), rcond=None)[0].astype(np.float32)
    return Lips(torch.from_numpy(found[:, :-3]), torch.from_numpy(found[:, -3:]))
