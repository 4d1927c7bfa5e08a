# SPDX-License-Identifier: GPL-3.0-or-later
"""Named vertices: pairs on the inner lips for measuring their gap, corners of mouth and eyes, nose tip, chin."""

import numpy as np

from .corrections import LOWER_LIP
from .parts import LIPS, Part

LIP_X = {"middle": 0.0, "left": 0.12, "right": -0.12}


def find(
    template: np.ndarray, skin: Part, jaw_open: np.ndarray, labels: np.ndarray, lids: dict[str, np.ndarray]
) -> dict[str, int]:
    """Landmark name -> vertex, all on the skin. `lids`: vertices of each eye's lids; `labels`: regions of all faces."""
    p = template[: len(skin.positions)]
    opened = jaw_open[: len(p), 1]
    out: dict[str, int] = {}
    mouth = (np.abs(p[:, 1] - 6.69) < 0.12) & (p[:, 2] > 1.3)
    for name, x in LIP_X.items():
        near = np.where((np.abs(p[:, 0] - x) < 0.022) & mouth & (p[:, 2] > 1.42 - abs(x) * 0.5))[0]
        low, high = near[opened[near] < LOWER_LIP], near[opened[near] > LOWER_LIP]
        out[f"lip_upper_{name}"] = int(high[np.argmin(p[high, 1])])
        out[f"lip_lower_{name}"] = int(low[np.argmax(p[low, 1])])
    lips = np.unique(skin.faces[labels[: len(skin.faces)] == LIPS])
    out["mouth_left"], out["mouth_right"] = int(lips[p[lips, 0].argmax()]), int(lips[p[lips, 0].argmin()])
    for side, index in lids.items():
        # the margins' ends: lid vertices that lie on the ball
        sign = 1 if side == "left" else -1
        out[f"eye_{side}_inner"] = int(index[(p[index, 0] * sign).argmin()])
        out[f"eye_{side}_outer"] = int(index[(p[index, 0] * sign).argmax()])
    middle = np.where((p[:, 2] > 0.9) & (np.abs(p[:, 0]) < 0.02))[0]
    nose = middle[(p[middle, 1] > 6.8) & (p[middle, 1] < 7.2)]
    out["nose_tip"] = int(nose[np.argmax(p[nose, 2])])
    chin = middle[(p[middle, 1] > 6.2) & (p[middle, 1] < 6.5)]
    out["chin"] = int(chin[np.argmax(p[chin, 2] - 0.8 * p[chin, 1])])
    return out
