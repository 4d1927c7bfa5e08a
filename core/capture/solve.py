# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded least squares over a chain of frames: each frame's own equations, and ties to the frame before.

The quadratic at the current point is sum_t (1/2 d_t' A_t d_t - b_t' d_t) + 1/2 sum_t |x_t + d_t - x_(t-1) - d_(t-1)|^2_W
over steps d; block Cholesky solves it exactly in one sweep each way. Bounds by the projected Newton step of Bertsekas (1982,
"Projected Newton methods for optimization problems with simple constraints"): who stands at a bound and would leave stays.
"""

import numpy as np


def step(
    normal: np.ndarray,
    gradient: np.ndarray,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    ties: np.ndarray,
    tied: np.ndarray,
    before: np.ndarray | None = None,
) -> np.ndarray:
    """(T, K) new x within the bounds.

    normal (T, K, K); gradient (T, K) of the frames' own terms at x (descent is -gradient); low, high (T, K); ties (K,)
    weights W between frames t-1 and t where tied (T,) is true; before (K,): a frame ahead of the first, known already.
    """
    frames = len(x)
    weight = tied[:, None] * ties  # (T, K) to the frame before
    previous = np.concatenate([x[:1] if before is None else before[None], x[:-1]])
    if before is None:
        weight[0] = 0
    pull = weight * (x - previous)
    total = gradient + pull
    total[:-1] -= pull[1:]
    free = ~(((x <= low) & (total > 0)) | ((x >= high) & (total < 0)))
    diagonal = np.einsum("tkk->tk", normal)
    a = normal * (free[:, :, None] & free[:, None])
    own = diagonal + weight
    own[:-1] += weight[1:]
    np.einsum("tkk->tk", a)[:] = np.where(free, own, 1)
    right = np.where(free, -total, 0)
    off = -(weight[1:] * free[1:] * free[:-1])  # coupling of t and t-1 is diagonal
    moved = np.empty_like(x)
    inverses = np.empty_like(a)
    forward = np.empty_like(x)
    for t in range(frames):
        block, y = a[t], right[t]
        if t:
            block = block - off[t - 1][:, None] * inverses[t - 1] * off[t - 1]
            y = y - off[t - 1] * (inverses[t - 1] @ forward[t - 1])
        inverses[t], forward[t] = np.linalg.inv(block), y
    for t in reversed(range(frames)):
        y = forward[t] if t == frames - 1 else forward[t] - off[t] * moved[t + 1]
        moved[t] = inverses[t] @ y
    return np.clip(x + moved, low, high)


def shared_step(
    normal: np.ndarray,
    gradient: np.ndarray,
    mixed: np.ndarray,
    shared: np.ndarray,
    shared_gradient: np.ndarray,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (T, K), (S,) of frames that share S unknowns, by the Schur complement; x + step is clipped by the caller.

    normal (T, K, K), gradient (T, K); mixed (T, K, S); shared (S, S), shared_gradient (S,).
    """
    free = ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))
    a = normal * (free[:, :, None] & free[:, None])
    np.einsum("tkk->tk", a)[:] = np.where(free, np.einsum("tkk->tk", normal), 1)
    b = mixed * free[..., None]
    right = np.where(free, -gradient, 0)
    solved = np.linalg.solve(a, np.concatenate([b, right[..., None]], -1))
    reduced = shared - np.einsum("tks,tkr->sr", b, solved[..., :-1], optimize=True)
    rest = -shared_gradient - np.einsum("tks,tk->s", b, solved[..., -1])
    moved = np.linalg.solve(reduced, rest)
    return solved[..., -1] - solved[..., :-1] @ moved, moved
