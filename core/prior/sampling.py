# SPDX-License-Identifier: GPL-3.0-or-later
"""Samplers, one plain function each, over arrays of numpy or torch: (denoise, x, sigmas) -> clean x.

`denoise(x, sigma)` answers with the clean motion. All are deterministic; chance is in the x that the caller draws.
Laid out like k-diffusion's (Crowson), which follows Karras et al. 2022 and Lu et al. 2022.
"""

from collections.abc import Callable
from itertools import pairwise
from math import log
from typing import Any

Denoise = Callable[[Any, float], Any]


def euler(denoise: Denoise, x: Any, sigmas: list[float]) -> Any:
    """Karras algorithm 1 without the correction (DDIM): one evaluation a step."""
    for sigma, to in pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        x = x + (to - sigma) * slope
    return x


def heun(denoise: Denoise, x: Any, sigmas: list[float]) -> Any:
    """Karras algorithm 1: two evaluations a step but the last."""
    for sigma, to in pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        guess = x + (to - sigma) * slope
        if to > 0:
            slope = (slope + (guess - denoise(guess, to)) / to) / 2
            guess = x + (to - sigma) * slope
        x = guess
    return x


def multistep(denoise: Denoise, x: Any, sigmas: list[float]) -> Any:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2: second order at one evaluation a step."""
    old, before = None, 0.0
    for sigma, to in pairwise(sigmas):
        clean = denoise(x, sigma)
        if to == 0:
            return clean
        step = log(sigma / to)
        mixed = clean
        if old is not None:
            ratio = before / step
            mixed = (1 + 1 / (2 * ratio)) * clean - 1 / (2 * ratio) * old
        x = to / sigma * x + (1 - to / sigma) * mixed
        old, before = clean, step
    return x


SAMPLERS: dict[str, Callable[[Denoise, Any, list[float]], Any]] = {"euler": euler, "heun": heun, "multistep": multistep}


def guided(heard: Denoise, unheard: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance (Ho & Salimans 2021): away from what would be done without hearing; 1 is no guidance."""
    if scale == 1:
        return heard

    def denoise(x: Any, sigma: float) -> Any:
        without = unheard(x, sigma)
        return without + scale * (heard(x, sigma) - without)

    return denoise
