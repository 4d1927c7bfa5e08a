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
    logarithms. opacities: (N,) in 0..1, not logits. harmonics: (N, K, 3) spherical harmonics of colour, K = 1, 4, 9, 16,
    or (N, 3) plain colours, the same from everywhere; files of splats hold harmonics only.
    """

    means: np.ndarray
    quats_wxyz: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    harmonics: np.ndarray

    def __len__(self) -> int:
        return len(self.means)


def join(parts: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of several sets as one; lower SH degrees are padded with zeros.

    Plain colours stay so where all sets have them, and else become harmonics of degree 0, where negative colour is black.
    """
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = [np.zeros(shape, np.float32) for shape in ((0, 3), (0, 4), (0, 3), (0,), (0, 1, 3))]
        return Gaussians(empty[0], empty[1], empty[2], empty[3], empty[4])
    tables = [part.harmonics for part in parts]
    if any(table.ndim == 3 for table in tables):
        tables = [t if t.ndim == 3 else ((t[:, None] - 0.5) / SH_C0).astype(np.float32) for t in tables]
        most = max(table.shape[1] for table in tables)
        tables = [np.pad(table, ((0, 0), (0, most - table.shape[1]), (0, 0))) for table in tables]
    return Gaussians(
        means=np.concatenate([part.means for part in parts]),
        quats_wxyz=np.concatenate([part.quats_wxyz for part in parts]),
        scales=np.concatenate([part.scales for part in parts]),
        opacities=np.concatenate([part.opacities for part in parts]),
        harmonics=np.concatenate(tables),
    )
