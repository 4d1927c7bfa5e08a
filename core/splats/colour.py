# SPDX-License-Identifier: GPL-3.0-or-later
"""Display (sRGB) colours to scene-linear ones and back, for splats that others trained.

Other programs train splats on sRGB pictures and blend them as such, while all of core is scene-linear. Two ways lead over:

* `linear_harmonics` before drawing: the Gaussians become ordinary ones and mix with Loquent's own. No harmonics follow the
  transfer curve exactly, so the mean colour (degree 0) is converted exactly and higher degrees by the curve's slope there.
  Where Gaussians overlap half-transparently, light sums otherwise than the display values they were trained with:
  fitted compensations such as bright specks under dark hair show. On two LAM heads pixels differ by .03 on average.
* `linear_layers` after drawing: what covers a pixel looks exactly as its trainer saw it; only the mix with what lies
  behind differs. Prefer it where the splats stand alone.
"""

from dataclasses import replace

import numpy as np

from .gaussians import SH_C0
from .rasterize import Layers

FLOAT32_RANGE = np.finfo(np.float32).min, np.finfo(np.float32).max


def linear_layers(layers: Layers) -> Layers:
    """Scene-linear layers of display ones, drawn without a background: curve on the colour behind the alpha."""
    alpha = layers.alpha[..., None]
    straight = layers.colour / np.maximum(alpha, 1e-6)
    return replace(layers, colour=(_linear(straight)[0] * alpha).astype(np.float32))


def linear_harmonics(harmonics: np.ndarray) -> np.ndarray:
    """Scene-linear harmonics (N, K, 3) of display ones: degree 0 exactly, higher degrees to first order.

    Plain colours (N, 3) become plain ones, exactly.
    """
    if harmonics.ndim == 2:
        return np.clip(_linear(harmonics.astype(np.float64))[0], *FLOAT32_RANGE).astype(np.float32)
    return _recoloured(harmonics, *_linear(harmonics[:, :1].astype(np.float64) * SH_C0 + 0.5))


def display_harmonics(harmonics: np.ndarray) -> np.ndarray:
    """Display (sRGB) harmonics (N, K, 3) of scene-linear ones: the inverse of `linear_harmonics`."""
    plain = harmonics.ndim == 2
    colour = harmonics.astype(np.float64) if plain else harmonics[:, :1].astype(np.float64) * SH_C0 + 0.5
    threshold = 0.04045 / 12.92
    high = np.maximum(colour, threshold)
    curved = colour > threshold
    value = np.where(curved, 1.055 * high ** (1 / 2.4) - 0.055, colour * 12.92)
    slope = np.where(curved, 1.055 / 2.4 * high ** (1 / 2.4 - 1), 12.92)
    return value.astype(np.float32) if plain else _recoloured(harmonics, value, slope)


def _linear(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light of display colours (IEC 61966-2-1) and the curve's slope there; the straight part goes on below zero."""
    high = np.maximum(colour, 0.04045)
    power = ((high + 0.055) / 1.055) ** 1.4
    curved = colour > 0.04045
    value = np.where(curved, power * (high + 0.055) / 1.055, colour / 12.92)
    return value, np.where(curved, power * (2.4 / 1.055), 1 / 12.92)


def _recoloured(harmonics: np.ndarray, value: np.ndarray, slope: np.ndarray) -> np.ndarray:
    out = np.concatenate([(value - 0.5) / SH_C0, harmonics[:, 1:] * slope], 1)
    return np.clip(out, *FLOAT32_RANGE).astype(np.float32)
