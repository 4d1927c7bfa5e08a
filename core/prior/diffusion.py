# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise: how much at which step, and how a raw network becomes a denoiser (Karras et al. 2022, "EDM").

Plain arithmetic over arrays of numpy or torch; nothing here knows what the network is made of. Motion is scaled so that what
is denoised (the remainder of the regression) has a standard deviation near SPREAD.
"""

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np

SPREAD = 0.5
"""Standard deviation of the data that is denoised."""
SIGMA_MIN, SIGMA_MAX, RHO = 0.02, 4.0, 5.0
TRAINED = (-0.9, 1.1)
"""Mean and standard deviation of ln sigma while training."""


def sigmas(steps: int, most: float = SIGMA_MAX, least: float = SIGMA_MIN) -> list[float]:
    """Noise levels from `most` down to `least`, then 0: steps + 1 of them (equation 5)."""
    if steps == 1:
        return [most, 0.0]
    a, b = most ** (1 / RHO), least ** (1 / RHO)
    return [(a + i / (steps - 1) * (b - a)) ** RHO for i in range(steps)] + [0.0]


def precondition(sigma: Any) -> tuple[Any, Any, Any, Any]:
    """c_skip, c_out, c_in and c_noise (table 1) for a number or an array of them."""
    total = sigma**2 + SPREAD**2
    logarithm = log(sigma) if isinstance(sigma, float) else sigma.log() if hasattr(sigma, "log") else np.log(sigma)
    return SPREAD**2 / total, sigma * SPREAD / total**0.5, 1 / total**0.5, logarithm / 4


def denoiser(network: Callable[[Any, float], Any]) -> Callable[[Any, float], Any]:
    """(x, sigma) -> clean x, from a network (scaled x, noise number) -> raw answer."""

    def denoise(x: Any, sigma: float) -> Any:
        skip, out, into, number = precondition(float(sigma))
        return skip * x + out * network(into * x, number)

    return denoise
