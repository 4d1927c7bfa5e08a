# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians in world space: what a rasteriser draws and what a frame hands to any other renderer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SH_C0 = 0.28209479177387814
"""Degree-0 real spherical harmonic; colour = max(SH_C0 * harmonics[:, 0] + higher degrees + 0.5, 0)."""


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians (Kerbl et al. 2023), float32.

    means: (N, 3) metres. quats_wxyz: (N, 4), normalised when drawn. scales: (N, 3) standard deviations in metres, not
    logarithms. opacities: (N,) in 0..1, not logits. harmonics: (N, K, 3) spherical harmonics of colour, K = 1, 4, 9, 16.
    """

    means: np.ndarray
    quats_wxyz: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    harmonics: np.ndarray

    def __len__(self) -> int:
        return len(self.means)


def join(parts: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of several sets as one; lower SH degrees are padded with zeros."""
    if len(parts) == 1:
        return parts[0]
    degree = max((p.harmonics.shape[1] for p in parts), default=1)
    padded = [np.pad(p.harmonics, ((0, 0), (0, degree - p.harmonics.shape[1]), (0, 0))) for p in parts]
    return Gaussians(
        *(
            np.concatenate([getattr(p, name) for p in parts]) if parts else np.zeros(shape, np.float32)
            for name, shape in (("means", (0, 3)), ("quats_wxyz", (0, 4)), ("scales", (0, 3)), ("opacities", (0,)))
        ),
        np.concatenate(padded) if parts else np.zeros((0, 1, 3), np.float32),
    )
