# SPDX-License-Identifier: GPL-3.0-or-later
"""The jaw of the head: a hinge, skinning weights and pose correctives that reproduce the ARKit jawOpen unit.

The lower teeth turn rigidly in jawOpen, which gives hinge and angle. MakeHuman's own mouth joint lies 20 mm away and
would miss the skin by up to 9 mm. Weights are the best share of that rotation for each vertex; what is left becomes
FLAME's pose correctives (Li et al. 2017, eq. 4), linear in the entries of R - I.
"""

from dataclasses import dataclass

import numpy as np

from .mpfb import TEETH_LOWER

FIT_SHARES = (0.15, 0.3, 0.5, 0.75, 1.0)
FIT_WEIGHTS = (1.0, 1.5, 1.0, 1.0, 12.0)


def rotation_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


@dataclass(frozen=True)
class Hinge:
    position: np.ndarray  # (3,)
    angle: float  # radians at jawOpen = 1
    residual: float  # mean distance of the lower teeth from the rigid motion


def fit_hinge(mean: np.ndarray, jaw_open: np.ndarray, angle: float) -> Hinge:
    """The turn by `angle` about an axis along x that explains what jawOpen does to the lower teeth.

    The angle is given: it is what fits MakeHuman's base head (24.4 degrees, residual 0.09 mm).
    """
    index = np.array(TEETH_LOWER)
    a = mean[index]
    b = a + jaw_open[index]
    ca, cb = a.mean(0), b.mean(0)
    r = rotation_x(angle)
    position = np.zeros(3)
    position[1:] = np.linalg.solve((np.eye(3) - r)[1:, 1:], (cb - r @ ca)[1:])
    residual = np.linalg.norm((a - position) @ r.T + position - b, axis=1).mean()
    return Hinge(position, angle, float(residual))


def jaw_weights(points: np.ndarray, unit: np.ndarray, hinge: Hinge) -> np.ndarray:
    """(n,) share 0..1 of the jaw's rotation that best explains the unit at each vertex."""
    turn = (points - hinge.position) @ (rotation_x(hinge.angle) - np.eye(3)).T
    share = (unit * turn).sum(1) / np.maximum((turn * turn).sum(1), 1e-9)
    return np.where(np.linalg.norm(unit, axis=1) > 1e-6, np.clip(share, 0, 1), 0)


def jaw_correctives(points: np.ndarray, unit: np.ndarray, weights: np.ndarray, hinge: Hinge) -> np.ndarray:
    """(n, 3, 9) correctives, added before skinning, for the features (R - I).ravel() of the jaw.

    Only sin and cos of the opening angle vary in those features, so two fields are fitted: to the unit itself at the
    full angle and, as well as two fields can, to shares of it at smaller ones.
    """
    rows, wanted = [], []
    for share, importance in zip(FIT_SHARES, FIT_WEIGHTS, strict=True):
        d = rotation_x(hinge.angle * share) - np.eye(3)
        left = share * unit - weights[:, None] * ((points - hinge.position) @ d.T)
        system = np.eye(3) + weights[:, None, None] * d
        correction = np.linalg.solve(system, left[..., None])[..., 0]
        rows.append(np.sqrt(importance) * np.array([d[2, 1], d[1, 1]]))
        wanted.append(np.sqrt(importance) * correction.ravel())
    sine, cosine = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0].reshape(2, -1, 3)
    out = np.zeros((len(points), 3, 9))
    out[:, :, 7], out[:, :, 5], out[:, :, 4] = sine / 2, -sine / 2, cosine
    return out


def opened(points: np.ndarray, weights: np.ndarray, correctives: np.ndarray, hinge: Hinge, share: float) -> np.ndarray:
    """Vertices with the jaw open by a share of the full angle."""
    d = rotation_x(hinge.angle * share) - np.eye(3)
    x = points + correctives @ d.ravel()
    return x + weights[:, None] * ((x - hinge.position) @ d.T)
