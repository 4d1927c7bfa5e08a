# SPDX-License-Identifier: GPL-3.0-or-later
"""Make-up artist: base colours and roughness of every fine vertex. Linear Rec.709."""

from dataclasses import dataclass

import numpy as np


def linear(*srgb255: float) -> np.ndarray:
    """Linear colour of an 8-bit sRGB triple."""
    c = np.asarray(srgb255, float) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


@dataclass(frozen=True)
class Palette:
    """Colours of one person, 8-bit sRGB. redness, stubble, liner (a darkened lash line): 0..1."""

    skin: tuple[int, int, int]
    lips: tuple[int, int, int]
    iris: tuple[int, int, int]
    redness: float
    stubble: float
    liner: float
    cloth: tuple[int, int, int]


def noise(p: np.ndarray, size: float, seed: int, octaves: int = 3) -> np.ndarray:
    """(n,) value noise in about -1..1 with features of `size` metres, lattice based and seamless in space."""
    out = np.zeros(len(p))
    weight, total = 1.0, 0.0
    for octave in range(octaves):
        q = p / size * 2**octave + 17.3 * octave
        cell = np.floor(q).astype(np.int64)
        f = q - cell
        f = f * f * (3 - 2 * f)
        value = np.zeros(len(p))
        for corner in range(8):
            d = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
            c = cell + d
            h = (c[:, 0] * 73856093 ^ c[:, 1] * 19349663 ^ c[:, 2] * 83492791 ^ (seed + octave) * 2654435761) & 0xFFFFFF
            h = ((h ^ h >> 11) * 2246822519 & 0xFFFFFFFF) >> 8 & 0xFFFF
            part = np.where(d, f, 1 - f)
            value += part[:, 0] * part[:, 1] * part[:, 2] * (h / 32767.5 - 1)
        out += weight * value
        total += weight
        weight *= 0.5
    return out / total * 1.6


def bump(
    p: np.ndarray, centre: tuple[float, float, float] | np.ndarray, size: tuple[float, float, float]
) -> np.ndarray:
    """A Gaussian blob, 1 at its centre."""
    return np.exp(-0.5 * (((p - np.asarray(centre)) / np.asarray(size)) ** 2).sum(1))


def both(p: np.ndarray, centre: tuple[float, float, float], size: tuple[float, float, float]) -> np.ndarray:
    """The blob and its mirror image."""
    x, y, z = centre
    return bump(p, (x, y, z), size) + bump(p, (-x, y, z), size)


def skin(
    palette: Palette,
    mean: np.ndarray,
    lips: np.ndarray,
    inner: np.ndarray,
    beard: np.ndarray,
    scalp: np.ndarray,
    hair: np.ndarray,
    eyes: np.ndarray,
    mouth: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (V, 3) and roughness (V,) of skin, lips and the inside of the mouth.

    mean: (V, 3) on the mean head. lips, inner, beard, scalp: (V,) masks 0..1. hair: linear colour of what grows.
    eyes: (2, 3), mouth: (3,) landmarks on the mean head.
    """
    base = linear(*palette.skin)
    my, mz = mouth[1:]
    ex, ey, ez = np.abs(eyes[0, 0]), eyes[0, 1], eyes[0, 2]
    colour = np.repeat(base[None], len(mean), 0)

    def blend(amount: np.ndarray, target: np.ndarray) -> None:
        colour[:] += np.clip(amount, 0, 1)[:, None] * (target - colour)

    blend(0.22 * np.clip(noise(mean, 0.035, seed) + 0.2, 0, 1), base * [0.96, 0.80, 0.76])
    blend(0.25 * np.clip(noise(mean, 0.008, seed + 7), 0, 1), base * [0.84, 0.74, 0.70])
    blend(0.20 * np.clip(-noise(mean, 0.006, seed + 9), 0, 1), np.minimum(base * [1.12, 1.12, 1.1], 1))
    forehead = bump(mean, (0, ey + 0.045, ez + 0.01), (0.05, 0.025, 0.05))
    blend(0.25 * forehead, base * [1.03, 1.0, 0.9])
    red = (
        0.85 * both(mean, (0.040, my + 0.030, mz - 0.015), (0.017, 0.015, 0.03))
        + 0.9 * bump(mean, (0, my + 0.033, mz + 0.02), (0.013, 0.011, 0.018))
        + 0.35 * bump(mean, (0, my - 0.035, mz), (0.016, 0.010, 0.03))
        + 0.8 * both(mean, (0.082, ey - 0.01, -0.012), (0.009, 0.03, 0.03))
        + 0.3 * both(mean, (ex, ey + 0.008, ez + 0.015), (0.016, 0.006, 0.02))
    )
    blend(palette.redness * red * (0.85 + 0.3 * noise(mean, 0.01, seed + 3)), base * [0.98, 0.55, 0.50])
    tired = both(mean, (ex - 0.004, ey - 0.0135, ez + 0.012), (0.013, 0.005, 0.02)) + 0.5 * both(
        mean, (ex - 0.014, ey + 0.002, ez + 0.012), (0.006, 0.008, 0.02)
    )
    blend(0.34 * tired, base * [0.66, 0.47, 0.46])
    if palette.liner:
        lash_line = both(mean, (ex, ey + 0.0045, ez + 0.014), (0.014, 0.0028, 0.01))
        blend(palette.liner * lash_line, base * [0.35, 0.24, 0.22])
    shadow = 0.62 + 0.25 * noise(mean, 0.004, seed + 31, 2)
    blend(palette.stubble * beard * shadow, hair * 0.55 + base * [0.22, 0.24, 0.26])
    blend(0.88 * scalp, hair * 0.55 + base * 0.05)
    lip = linear(*palette.lips)
    fold = 0.5 + 0.5 * noise(mean * [1, 0.15, 0.3], 0.0025, seed + 40, 2)
    blend(0.92 * lips, lip)
    blend(0.22 * lips * np.clip(fold, 0, 1), lip * 0.6)
    depth = np.clip((mz - 0.004 - mean[:, 2]) / 0.045, 0, 1)
    wet = linear(150, 62, 60)[None] * (1 - depth[:, None]) ** 1.5 + linear(84, 30, 28)[None] * (
        1 - (1 - depth[:, None]) ** 1.5
    )
    colour += np.clip(inner, 0, 1)[:, None] * (wet - colour)
    rough = 0.50 + 0.07 * noise(mean, 0.006, seed + 50)
    rough -= 0.10 * bump(mean, (0, ey + 0.03, ez + 0.02), (0.03, 0.02, 0.04)) + 0.09 * bump(
        mean, (0, my + 0.04, mz + 0.02), (0.012, 0.02, 0.02)
    )
    rough = rough * (1 - lips) + 0.36 * lips
    rough = rough * (1 - inner) + 0.25 * inner
    return np.clip(colour, 0.001, 1), np.clip(rough, 0.15, 0.9)


def eyeball(iris: tuple[int, int, int], theta: np.ndarray, phi: np.ndarray, seed: int) -> np.ndarray:
    """(n, 3) colour at angles from the optical axis (radians) and round it. Iris edge at 0.385, pupil at 0.13."""
    base = linear(*iris)
    p = np.stack([np.cos(phi), np.sin(phi), theta * 0], 1)
    fibre = (
        noise(np.c_[p[:, :2] * 0.9, theta * 0.6], 0.05, seed) * 0.6
        + noise(np.c_[p[:, :2], theta], 0.16, seed + 1) * 0.5
    )
    ring = np.exp(-0.5 * ((theta - 0.19 - 0.02 * fibre) / 0.045) ** 2)
    inside = base * (0.85 + 0.55 * fibre[:, None]) + ring[:, None] * linear(150, 105, 60) * 0.35
    limbus = 1 / (1 + np.exp(-(theta - 0.342) / 0.014))
    inside = np.clip(inside, 0.004, 1) * (1 - 0.86 * limbus[:, None])
    vein = np.clip(noise(np.c_[p[:, :2] * theta[:, None], theta], 0.07, seed + 5, 3) - 0.45, 0, 1)
    corner = np.clip((theta - 0.62) / 0.6, 0, 1)
    white = np.array([0.56, 0.53, 0.51]) * (1 - corner[:, None] * np.array([0.15, 0.42, 0.42]))
    white = white * (1 - vein[:, None] * np.array([0.1, 0.5, 0.5]) * (0.4 + corner[:, None]))
    edge = (1 / (1 + np.exp(-(theta - 0.387) / 0.010)))[:, None]
    colour = inside * (1 - edge) + white * edge
    pupil = (1 / (1 + np.exp((theta - 0.135) / 0.006)))[:, None]
    return np.clip(colour * (1 - pupil) + 0.003 * pupil, 0.002, 1)
