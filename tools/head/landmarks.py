# SPDX-License-Identifier: GPL-3.0-or-later
"""Named vertices: pairs on the inner lips for measuring their gap, corners of mouth and eyes, nose tip, chin."""

import numpy as np

from .parts import Part

LIP_X = {"middle": 0.0, "left": 0.12, "right": -0.12}


def find(
    template: np.ndarray, pieces: list[Part], starts: dict[str, int], units: np.ndarray, names: list[str],
    weights: np.ndarray,
) -> dict[str, int]:  # fmt: skip
    """Landmark name -> vertex, all on the skin."""
    n = len(pieces[0].positions)
    p, jaw = template[:n], weights[:n, 2]
    out: dict[str, int] = {}
    mouth = (np.abs(p[:, 1] - 6.69) < 0.12) & (p[:, 2] > 1.3)
    opened = units[names.index("jawOpen"), :n, 1]
    for name, x in LIP_X.items():
        near = np.where((np.abs(p[:, 0] - x) < 0.022) & mouth & (p[:, 2] > 1.42 - abs(x) * 0.5))[0]
        low, high = near[opened[near] < -0.1], near[opened[near] > -0.1]
        out[f"lip_upper_{name}"] = int(high[np.argmin(p[high, 1])])
        out[f"lip_lower_{name}"] = int(low[np.argmax(p[low, 1])])
    face = np.where((p[:, 2] > 0.9) & (np.abs(p[:, 0]) < 0.02))[0]
    nose = face[(p[face, 1] > 6.8) & (p[face, 1] < 7.2)]
    out["nose_tip"] = int(nose[np.argmax(p[nose, 2])])
    chin = face[(p[face, 1] > 6.2) & (p[face, 1] < 6.5)]
    out["chin"] = int(chin[np.argmax(p[chin, 2] - 0.8 * p[chin, 1])])
    del jaw, starts
    return out
