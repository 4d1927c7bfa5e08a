# SPDX-License-Identifier: GPL-3.0-or-later
"""Small repairs of the rest head and of its units against this topology."""

import numpy as np

from .eyes import CORNEA_HEIGHT, LIMBUS
from .lids import LidData, cleared

CORNEA_WIDTH = LIMBUS * 1.12


def clear_lids(template: np.ndarray, lids: dict[str, LidData], spheres: dict[str, tuple[np.ndarray, float]]) -> np.ndarray:
    """The rest head with its lids lying on the new eyeballs and corneas instead of in them."""
    for side, data in lids.items():
        centre, radius = spheres[side]
        offset = template[data.index] - centre
        cosine = offset[:, 2] / np.linalg.norm(offset, axis=1)
        bulge = CORNEA_HEIGHT * np.maximum(1 - 2 * (1 - cosine) / CORNEA_WIDTH**2, 0) ** 1.5
        floor = radius + np.maximum(data.clearance, bulge + 1e-3)
        template = cleared(template, data, centre, np.where(data.clearance > 0, floor, 0))
    return template
