# SPDX-License-Identifier: GPL-3.0-or-later
"""The first components of identity under an animator's names.

The components are statistics of MakeHuman's sliders (head.md), so each changes several things at once. The names say what
was most visible at -3 and +3 standard deviations from the front and the side; the sign makes the name the positive end.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Slider(NamedTuple):
    """component: index into betas; sign: +1 or -1; told: what the ends look like."""

    component: int
    sign: float
    label: str
    told: str


SLIDERS: Mapping[str, Slider] = {
    "size": Slider(0, 1, "Size", "The whole head larger, neck and shoulders with it, or smaller"),
    "compact": Slider(1, 1, "Compact", "Short and broad, or tall and slender"),
    "long_face": Slider(2, 1, "Long Face", "A long, upright face, or a short one whose lower half juts out"),
    "width": Slider(3, -1, "Width", "Wide at cheeks, jaw and skull, or narrow"),
    "tall_skull": Slider(4, 1, "Tall Skull", "A tall, upright skull, or a low one"),
    "deep_skull": Slider(5, -1, "Deep Skull", "Deep from brow to back, or short from brow to back"),
    "long_neck": Slider(6, 1, "Long Neck", "A long neck under a smaller head, or a short one"),
    "thick_neck": Slider(7, 1, "Thick Neck", "A thick, short neck, or a thin, long one"),
}
LARGEST = 5.0
"""Standard deviations that a slider may add; beyond 3 nobody looks like that."""


def moved(betas: np.ndarray, amounts: Mapping[str, float], count: int) -> np.ndarray:
    """(count,) betas with standard deviations by slider name added; a new array. Unknown names are KeyErrors."""
    out = np.zeros(count, np.float32)
    out[: len(betas)] = betas
    for name, amount in amounts.items():
        slider = SLIDERS[name]
        out[slider.component] += slider.sign * amount
    return out
