# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours that follow the performance: a small network says how much of each of a few learned changes this frame shows.

    dc(frame) = dc + sum_k w_k(values) basis_k,    w = tanh(MLP(values held to the range it was taught))

(GGTalker's colour MLP, Hu et al. 2025, as a linear basis: one product a frame instead of a network a Gaussian.) Blushing folds,
shade inside an open mouth and light on a turned cheek are changes that a mesh does not make. Values beyond what the film showed
count as its extremes and every weight stays within -1 and 1, so no pose can push colours further than some frame did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import FormatError
from ..head.motion import CHANNELS

MAX_BASIS = 12
PREFIX = "colour_"


@dataclass(frozen=True, eq=False)
class ColourNetwork:
    """low, high (65,): the range of each channel that was seen; equal where a channel says nothing. matrices and biases of the
    layers, (65, H), (H, K) and (H,), (K,), tanh after each. rows (M,) int32: Gaussians whose colour changes at all, ascending.
    basis (K, M, 3) float32 in units of the harmonics' degree 0, K at most 12."""

    low: np.ndarray
    high: np.ndarray
    matrices: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    rows: np.ndarray
    basis: np.ndarray

    def weights(self, values: np.ndarray) -> np.ndarray:
        """(..., K) in -1..1 of motion values (..., 65). Microseconds."""
        x = features(np.asarray(values, np.float32), self.low, self.high)
        for matrix, bias in zip(self.matrices, self.biases, strict=True):
            x = np.tanh(x @ matrix + bias)
        return x

    def changes(self, values: np.ndarray) -> np.ndarray:
        """(M, 3) that one frame of values (65,) adds to degree 0 of the Gaussians `rows`."""
        return np.einsum("k,kn->n", self.weights(values), self.basis.reshape(len(self.basis), -1)).reshape(-1, 3)

    def harmonics(self, base: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Harmonics (N, K', 3) of one frame of values (65,): a copy of `base` with degree 0 changed. About 1 ms for 60,000."""
        change = self.changes(values)
        out = base.copy()
        where = slice(None) if len(self.rows) == len(out) else self.rows  # a gather costs more than the product
        out[where, 0] += change
        return out

    def of(self, which: np.ndarray) -> "ColourNetwork":
        """For the Gaussians `which` (n,) int, in that order."""
        place = np.full(max(int(np.max(which, initial=0)), int(self.rows.max(initial=0))) + 1, -1)
        place[self.rows] = np.arange(len(self.rows))
        at = place[which]
        kept = np.flatnonzero(at >= 0)
        basis = np.ascontiguousarray(self.basis[:, at[kept]])
        return ColourNetwork(self.low, self.high, self.matrices, self.biases, kept.astype(np.int32), basis)

    def arrays(self) -> dict[str, np.ndarray]:
        """For a `.loq` file: the basis, which is nearly all of it, in half precision."""
        found = {"low": self.low, "high": self.high, "rows": self.rows, "basis": self.basis.astype(np.float16)}
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            found |= {f"matrix{k}": matrix, f"bias{k}": bias}
        return {PREFIX + name: array for name, array in found.items()}


def features(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(..., 65) in -1..1 within the range that was seen, zero where it is none."""
    middle, half = (low + high) / 2, (high - low) / 2
    return ((np.clip(values, low, high) - middle) / np.where(half > 0, half, 1)).astype(np.float32)


def colour_network_of(arrays: Mapping[str, np.ndarray], count: int, path: object) -> ColourNetwork | None:
    """What `arrays()` stored, for an avatar of `count` Gaussians; None where nothing is. Raises FormatError where it is damaged."""
    own = {name[len(PREFIX) :]: array for name, array in arrays.items() if name.startswith(PREFIX)}
    if not own:
        return None
    layers = sum(name.startswith("matrix") for name in own)
    try:
        low, high, rows = own["low"].astype(np.float32), own["high"].astype(np.float32), own["rows"].astype(np.int32)
        basis = np.ascontiguousarray(own["basis"], np.float32)
        matrices = tuple(own[f"matrix{k}"].astype(np.float32) for k in range(layers))
        biases = tuple(own[f"bias{k}"].astype(np.float32) for k in range(layers))
    except KeyError as error:
        raise FormatError(f"'{path}': its colour network lacks {error}. The file is damaged.") from error
    widths = [len(CHANNELS), *(len(b) for b in biases)]
    fits = layers > 0 and low.shape == high.shape == (len(CHANNELS),) and rows.ndim == 1
    fits = fits and [m.shape for m in matrices] == list(pairwise(widths))
    fits = fits and widths[-1] <= MAX_BASIS and basis.shape == (widths[-1], len(rows), 3)
    fits = fits and (not len(rows) or (rows[0] >= 0 and rows[-1] < count and bool((np.diff(rows) > 0).all())))
    if not fits or not all(np.isfinite(a).all() for a in (low, high, basis, *matrices, *biases)):
        raise FormatError(f"'{path}': the arrays of its colour network do not fit together. The file is damaged.")
    return ColourNetwork(low, high, matrices, biases, rows, basis)
