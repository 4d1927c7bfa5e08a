# SPDX-License-Identifier: GPL-3.0-or-later
"""Paints a person: base colours, roughness and cloth of every point, and masks that hair grows by."""

from dataclasses import dataclass, replace

import numpy as np

from ..avatars import paint, stage
from .hair import density
from .layout import GROUPS, Layout
from .recipe import Recipe


@dataclass(frozen=True)
class Complexion:
    """colour: (N, 3) linear. rough: (N,). cloth: (N,) bool. shell: (N,) metres that cloth stands off the skin."""

    colour: np.ndarray
    rough: np.ndarray
    cloth: np.ndarray
    shell: np.ndarray


def mouth_of(points: Layout) -> np.ndarray:
    """(3,) middle of the lips on the mean head."""
    return points.mean[(points.lips > 0.6) & (points.group == 0)].mean(0)


def beard_area(recipe: Recipe, mean: np.ndarray, lips: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    """(n,) 0..1 where this person's beard grows."""
    mask = stage.beard_mask(mean, lips, mouth)
    x, y = np.abs(mean[:, 0]), mean[:, 1]
    if recipe.beard == "moustache":
        return mask * (y > mouth[1] - 0.006) * (x < 0.040)
    if recipe.beard == "goatee":
        return mask * np.clip((0.030 - x) / 0.006 + 0.5, 0, 1)
    return mask


def paint_person(recipe: Recipe, points: Layout, rng: np.random.Generator) -> Complexion:
    """Skin, lips, mouth, teeth and cloth of a person."""
    mean, seed = points.mean, int(rng.integers(1 << 20))
    head = points.head
    mouth, eyes = mouth_of(points), head.joints[3:5]
    hairy = density(recipe, mean, points.ears) * (mean[:, 1] > -0.04)
    palette = recipe.palette
    if not recipe.woman:
        shadow = {"none": rng.uniform(0, 0.3), "stubble": rng.uniform(0.4, 0.8), "moustache": 0.2}.get(
            recipe.beard, 0.65
        )
        palette = replace(palette, stubble=float(shadow) * (0.7 if recipe.melanin > 0.6 else 1.0))
    area = (
        beard_area(recipe, mean, points.lips, mouth)
        if recipe.beard not in ("none", "moustache")
        else stage.beard_mask(mean, points.lips, mouth)
    )
    scalp = hairy * (0.75 if recipe.style == "buzz" else 1.0)
    colour, rough = paint.skin(
        palette, mean, points.lips**1.3, points.inner, area * (not recipe.woman), scalp, np.asarray(recipe.hair), eyes, mouth, seed,
    )  # fmt: skip
    _marks(recipe, colour, points, eyes, mouth, seed, rng)
    for name, tint, roughness in (
        ("teeth", _enamel(recipe, rng), 0.22),
        ("gums", (172, 84, 82), 0.28),
        ("tongue", (206, 112, 108), 0.38),
    ):
        mine = points.group == GROUPS.index(name)
        back = np.clip((mouth[2] - 0.014 - mean[mine, 2]) / 0.040, 0, 1)[:, None]
        colour[mine] = paint.linear(*tint) * (1 - 0.6 * back) * (1 + 0.06 * paint.noise(mean[mine], 0.004, 5))[:, None]
        rough[mine] = roughness
    cloth, shell, shade = _cloth(recipe, points, seed, rng)
    colour[cloth], rough[cloth] = shade[cloth], 0.85
    rough = np.where(cloth, rough, np.clip(rough * (1.25 - 0.5 * recipe.shine), 0.2, 0.9))
    return Complexion(
        np.clip(colour, 0.002, 1).astype(np.float32), rough.astype(np.float32), cloth, shell.astype(np.float32)
    )


def _enamel(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    return np.array([238, 228, 210]) * [1, 1 - 0.05 * recipe.age * rng.random(), 1 - 0.22 * recipe.age * rng.random()]


def _marks(
    recipe: Recipe, colour: np.ndarray, points: Layout, eyes, mouth, seed: int, rng: np.random.Generator
) -> None:
    """Freckles, spots, blotches, moles and make-up, in place."""
    mean = points.mean
    skin = (points.group == 0) & (points.lips < 0.3)
    ex, ey, ez = np.abs(eyes[0, 0]), eyes[0, 1], eyes[0, 2]

    def blend(amount: np.ndarray, target: np.ndarray) -> None:
        colour[skin] += np.clip(amount[skin], 0, 1)[:, None] * (
            np.broadcast_to(target, colour.shape)[skin] - colour[skin]
        )

    if recipe.freckles > 0.1:
        where = paint.both(mean, (0.028, ey - 0.02, ez + 0.02), (0.03, 0.022, 0.06)) + paint.bump(
            mean, (0, ey - 0.015, ez + 0.03), (0.02, 0.02, 0.05)
        )
        dots = np.clip((paint.noise(mean, 0.0035, seed + 61, 1) - 0.55) * 4, 0, 1)
        blend(0.75 * recipe.freckles * dots * (0.25 + where), colour * [0.62, 0.45, 0.34])
    if recipe.spots > 0.05:
        dots = np.clip((paint.noise(mean, 0.009, seed + 67, 2) - 0.75) * 4, 0, 1)
        blend(0.7 * recipe.spots * dots, colour * [0.66, 0.50, 0.42])
    blend(0.16 * recipe.blotch * np.clip(paint.noise(mean, 0.05, seed + 71), 0, 1), colour * [0.94, 0.76, 0.72])
    for _ in range(rng.integers(0, 4)):
        face = np.flatnonzero(skin & (mean[:, 2] > 0.03) & (mean[:, 1] > -0.12))
        blend(
            0.8 * paint.bump(mean, mean[face[rng.integers(len(face))]], (0.0011, 0.0011, 0.0011)),
            colour * [0.35, 0.24, 0.20],
        )
    wrinkle = np.sin(mean[:, 1] / 0.0036 + 1.6 * paint.noise(mean, 0.02, seed + 73)) * paint.bump(
        mean, (0, ey + 0.048, ez + 0.01), (0.035, 0.016, 0.04)
    )
    crow = np.sin(np.arctan2(mean[:, 1] - ey, np.abs(mean[:, 0]) - ex) * 14) * paint.both(
        mean, (ex + 0.024, ey - 0.002, ez), (0.007, 0.009, 0.02)
    )
    blend(recipe.age * (0.30 * np.clip(wrinkle, 0, 1) + 0.35 * np.clip(crow, 0, 1)), colour * [0.72, 0.62, 0.60])
    fold_x = 0.020 + 0.35 * (mouth[1] + 0.030 - mean[:, 1])
    fold = np.exp(-(((np.abs(mean[:, 0]) - fold_x) / 0.0022) ** 2)) * paint.bump(
        mean, (0, mouth[1] + 0.014, mouth[2]), (0.06, 0.012, 0.05)
    )
    blend((0.10 + 0.45 * recipe.age) * fold, colour * [0.72, 0.60, 0.58])
    if recipe.shadow:
        lid = paint.both(mean, (ex, ey + 0.010, ez + 0.013), (0.014, 0.0055, 0.012))
        blend(0.75 * recipe.shadow * lid, np.asarray(recipe.shadow_colour) * (0.35 + colour))
    if recipe.blush:
        blend(
            0.5 * recipe.blush * paint.both(mean, (0.045, mouth[1] + 0.036, mouth[2] - 0.02), (0.016, 0.010, 0.03)),
            colour * [1.0, 0.55, 0.60],
        )
    under = 0.35 * recipe.age + 0.15 * rng.random()
    blend(
        under * paint.both(mean, (ex - 0.003, ey - 0.016, ez + 0.012), (0.013, 0.004, 0.02)),
        colour * [0.62, 0.50, 0.54],
    )


def neckline(recipe: Recipe, mean: np.ndarray) -> np.ndarray:
    """Metres below this person's neckline, on the mean head; positive is under cloth."""
    x, z = np.abs(mean[:, 0]), mean[:, 2]
    below = stage.neckline(mean)
    front = np.clip((z + 0.02) / 0.05, 0, 1)
    if recipe.collar in ("vee", "shirt"):
        return below - front * 0.055 * np.clip(1 - x / 0.055, 0, 1)
    if recipe.collar == "scoop":
        return below - 0.022 * front - 0.015
    if recipe.collar == "high":
        return below + 0.040
    return below


def _cloth(
    recipe: Recipe, points: Layout, seed: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean = points.mean
    below = neckline(recipe, mean)
    cloth = (below > 0) & (points.group == 0)
    rim = np.exp(-(((below - 0.004) / 0.005) ** 2))
    thick = rng.uniform(0.0025, 0.006)
    folds = paint.noise(mean * [1, 0.5, 1], 0.045, seed + 81, 2)
    shell = (
        thick
        + (0.0045 if recipe.collar in ("high", "shirt") else 0.0022) * rim
        + 0.004 * folds * np.clip(below / 0.03, 0, 1)
    )
    base = (
        paint.linear(*recipe.palette.cloth)[None]
        * (1 + 0.14 * folds + 0.08 * paint.noise(mean, 0.003, seed + 82, 2))[:, None]
    )
    if recipe.stripes:
        period = rng.uniform(0.012, 0.035)
        band = np.sin(6.283 * mean[:, 1] / period) > rng.uniform(-0.3, 0.6)
        base = np.where(band[:, None], base, rng.uniform(0.02, 0.8, 3) * np.ones_like(base))
    return cloth, np.where(cloth, shell, 0), np.clip(base, 0.004, 0.9)
