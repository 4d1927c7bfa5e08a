# SPDX-License-Identifier: GPL-3.0-or-later
"""Grows a person's hair as wisps: one way of growing with a table of styles. Fewer and thicker wisps than tools/avatars."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..avatars import groom
from ..avatars.groom import Scalp, unit
from ..avatars.strands import Strands
from .recipe import Recipe


@dataclass(frozen=True)
class Style:
    """How hair grows. Lengths in metres: top and sides of short hair; end: height where long hair is cut (0: by length).

    way: fall from the parting, forward, back, radial, or tied to a knot. lift: metres off the head. waves: amplitude of
    waves in metres. count: wisps. thick: radius of a wisp.
    """

    way: str
    top: float
    side: float
    end: float = 0.0
    lift: float = 0.006
    waves: float = 0.0
    count: int = 3000
    steps: int = 10
    thick: float = 0.00075
    clump: float = 0.4
    long_line: bool = False


STYLES = {
    "buzz": Style("radial", 0.005, 0.004, lift=0.004, count=3800, steps=3, thick=0.00055, clump=0.0),
    "horseshoe": Style("down", 0.014, 0.016, lift=0.005, count=1600, steps=5),
    "crop": Style("forward", 0.034, 0.010, lift=0.011, count=3200, steps=7, clump=0.55),
    "side": Style("part", 0.060, 0.014, lift=0.013, count=3200, steps=9, clump=0.5),
    "swept": Style("back", 0.075, 0.014, lift=0.016, count=3200, steps=9, clump=0.5),
    "afro": Style("radial", 0.055, 0.050, lift=0.060, waves=0.006, count=3800, steps=9, thick=0.0014, clump=0.15, long_line=True),
    "curly": Style("fall", 0.10, 0.10, end=-0.04, lift=0.026, waves=0.011, count=3000, steps=14, thick=0.0011, clump=0.6, long_line=True),
    "bob": Style("fall", 0.3, 0.3, end=-0.062, lift=0.012, waves=0.002, count=3400, steps=17, thick=0.0009, long_line=True),
    "long": Style("fall", 0.5, 0.5, end=-0.19, lift=0.011, waves=0.002, count=3400, steps=22, thick=0.0010, long_line=True),
    "wavy": Style("fall", 0.5, 0.5, end=-0.17, lift=0.017, waves=0.009, count=3200, steps=26, thick=0.0010, clump=0.55, long_line=True),
    "fringe": Style("fall", 0.5, 0.5, end=-0.13, lift=0.012, waves=0.002, count=3600, steps=20, thick=0.0010, long_line=True),
    "bun": Style("tied", 0.25, 0.25, lift=0.004, count=3000, steps=14, thick=0.0009, clump=0.3, long_line=True),
    "ponytail": Style("tied", 0.25, 0.25, lift=0.004, count=3000, steps=14, thick=0.0009, clump=0.3, long_line=True),
}  # fmt: skip


def line_of(recipe: Recipe) -> dict[float, float]:
    """Lowest height with hair by azimuth, on the mean head."""
    table = groom.BOB_LINE if recipe.woman else groom.CROP_LINE
    return {a: h + recipe.line * (a < 60) for a, h in table.items()}


def density(recipe: Recipe, mean: np.ndarray, ears: np.ndarray, soft: float = 0.008) -> np.ndarray:
    """(n,) 0..1: where points of the mean head carry hair."""
    if recipe.style == "bald":
        return np.zeros(len(mean))
    inside = groom.hairline(mean, line_of(recipe), soft) * groom.not_ear(mean, ears)
    if recipe.style == "horseshoe":
        ring = np.clip((0.088 - mean[:, 1] - 0.25 * np.clip(mean[:, 2] + 0.02, 0, 1)) / 0.025, 0, 1)
        inside = inside * ring * np.clip((groom.azimuth(mean) - 55) / 20, 0, 1)
    return inside


def grow(recipe: Recipe, scalp: Scalp, rng: np.random.Generator) -> Strands | None:
    """The hair of the head on a resting person; None for a bald one."""
    if recipe.style == "bald":
        return None
    style = STYLES[recipe.style]
    inside = density(recipe, scalp.mean, scalp.ears)
    front = np.clip(1 - groom.hairline(scalp.mean - [0, 0.012, 0], line_of(recipe), 0.02), 0, 1) * (
        scalp.mean[:, 2] > 0.02
    )
    root, mean, normal, owner = groom.roots(scalp, inside * (1 + 1.2 * front), style.count, rng)
    n = len(root)
    seed = int(rng.integers(1 << 30))
    top = np.clip((mean[:, 1] - 0.070) / 0.05, 0, 1)
    length = (style.side + (style.top - style.side) * top) * recipe.hair_length ** (1 if style.top < 0.2 else 0)
    length = length * (0.8 + 0.35 * rng.random(n))
    end = style.end + 0.05 * (recipe.hair_length - 1) * -1 if style.end else -1.0
    ends = end + 0.010 * rng.normal(size=n)
    part = recipe.part * np.clip((mean[:, 2] + 0.06) / 0.05, 0, 1) + 0.003 * rng.normal(size=n)
    side = np.where(mean[:, 0] > part, 1.0, -1.0)
    lift = style.lift * recipe.volume
    clearance = _clearance(style, lift, mean, recipe, rng)
    swirl = groom.drift(root, 0.03, seed % 9973)
    comb, fall, fringe = _comb(style, recipe, mean, normal, side, top, swirl, rng)
    knot = np.array([0.0, rng.uniform(0.02, 0.10), -0.125]) if style.way == "tied" else None
    if style.way == "fall":  # as long as it takes to the cut
        length = np.clip(0.10 + mean[:, 1] - end, 0.06, 0.42)
        length = np.where(fringe, 0.056 * recipe.hair_length**0.4 * (0.9 + 0.2 * rng.random(n)), length)
    if knot is not None:
        length = 1.25 * np.linalg.norm(knot * [1, scale_of(scalp), scale_of(scalp)] - root, axis=1)
        knot = knot * scale_of(scalp)
    tree = scalp.tree()
    points = np.zeros((n, style.steps, 3))
    points[:, 0] = root - 0.0004 * normal
    rise = {"radial": 3.0, "forward": 0.5, "back": 0.8, "part": 0.6, "down": 0.3, "fall": 0.45, "tied": 0.25}[style.way]
    direction = unit(comb + (rise * (0.6 + 0.4 * top))[:, None] * normal + 0.12 * rng.normal(size=(n, 3)))
    step = length / (style.steps - 1)
    travelled = np.zeros(n)
    alive = np.ones(n, bool)
    for j in range(1, style.steps):
        here = points[:, j - 1]
        pull = _pull(style, here, comb, travelled, side, fringe, fall, knot)
        direction = unit(0.55 * direction + 0.45 * pull)
        new = here + direction * (step * np.where(alive, 1.0, 0.03))[:, None]
        new = _outside(tree, scalp, new, clearance, travelled + step, style.way, fringe)
        if style.way == "fall":
            _curtain(new, travelled, fringe)
        points[:, j] = np.where(alive[:, None], new, here + direction * 0.0003)
        direction = unit(new - here)
        travelled = travelled + step * alive
        alive &= (new[:, 1] > ends) | fringe
    points = _waved(points, style, recipe, swirl, rng)
    if style.clump:
        points = groom.clump(points, 0.011, style.clump, rng)
    if style.way == "fall":
        _clear_face(points, side, fringe, scale_of(scalp))
    if knot is not None:
        points, normal, owner, root, mean = _tail(points, owner, root, mean, normal, recipe, knot, rng)
    return Strands(
        points, _radius(style, points), owner, _shade(recipe, mean, root, seed, rng), np.zeros(len(points), int)
    )


def scale_of(scalp: Scalp) -> float:
    """Size of this head against the mean one."""
    high = scalp.mean[:, 1] > 0.05
    return float(np.linalg.norm(scalp.rest[high], axis=1).mean() / np.linalg.norm(scalp.mean[high], axis=1).mean())


def _clearance(style: Style, lift: float, mean: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    high = np.clip((mean[:, 1] - 0.02) / 0.12, 0, 1)
    deep = groom.hairline(mean - [0, 0.028, 0], line_of(recipe), 0.05)
    if style.way in ("fall", "part", "back", "forward"):
        return 0.0022 + (lift * high**1.3 + 0.4 * lift * rng.random(len(mean))) * (0.35 + 0.65 * deep)
    return 0.0015 + 0.6 * lift * rng.random(len(mean))


def _comb(style: Style, recipe: Recipe, mean, normal, side, top, swirl, rng):
    """(n, 3) tangent direction at each root, whether it falls, and which wisps are a fringe."""
    n = len(mean)
    one, zero = np.ones(n), np.zeros(n)
    crown = np.clip((0.025 - mean[:, 2]) / 0.045, 0, 1)
    fringe = np.zeros(n, bool)
    if style.way in ("fall", "part"):
        comb = np.stack([side * (1 - 0.7 * crown), -0.15 * one, np.where(crown > 0, -1.1 * crown, -0.42)], 1)
        whorl = unit(mean - np.array([recipe.part * 0.6, 0.160, -0.005])) * [1.25, 1, 1]
        comb = comb * (1 - crown[:, None]) + 1.1 * whorl * crown[:, None]
        if style.way == "part":
            forward = np.stack([0.8 * side, 0.1 * one, 0.35 * one], 1)
            down = np.stack([zero, -one, -0.35 * one], 1)
            comb = top[:, None] * forward + (1 - top[:, None]) * down
        if recipe.style == "fringe":
            fringe = (groom.azimuth(mean) < 38) & (mean[:, 2] > 0.052) & (mean[:, 1] > 0.09)
            comb = np.where(fringe[:, None], np.stack([0.5 * mean[:, 0] / 0.05, -0.3 * one, one], 1), comb)
    elif style.way == "forward":
        forward = np.stack([0.35 + 0.5 * swirl[:, 0], 0.35 + 0.3 * swirl[:, 1], 0.95 + 0.3 * swirl[:, 2]], 1)
        comb = top[:, None] * forward + (1 - top[:, None]) * np.stack([zero, -one, -0.35 + 0.2 * swirl[:, 2]], 1)
    elif style.way == "back":
        back = np.stack([0.2 * side + 0.2 * swirl[:, 0], 0.25 * one, -one], 1)
        comb = top[:, None] * back + (1 - top[:, None]) * np.stack([zero, -0.7 * one, -0.8 * one], 1)
    elif style.way == "down":
        comb = np.stack([zero, -one, -0.5 * one], 1)
    elif style.way == "tied":
        comb = np.stack([zero, 0.15 * one, -one], 1)
    else:
        comb = 0.6 * swirl + 0.2 * rng.normal(size=(n, 3))
    comb = comb + 0.14 * swirl
    return unit(comb - (comb * normal).sum(1, keepdims=True) * normal), style.way == "fall", fringe


def _pull(style: Style, here, comb, travelled, side, fringe, fall, knot):
    """(n, 3) where a wisp wants to go next."""
    if knot is not None:
        return unit(unit(knot - here) + 0.25 * comb)
    if not fall:
        weight = np.clip(travelled / 0.06, 0, 1)[:, None] * (style.way != "radial")
        return unit(comb + weight * [0, -0.7, 0] + (0.35 * unit(here) if style.way == "radial" else 0))
    down = np.clip(travelled / 0.075, 0, 1)[:, None]
    pull = (1 - down) * comb + down * np.array([0, -1.3, 0])
    tail = np.clip((0.005 - here[:, 1]) / 0.06, 0, 1)[:, None] * (style.end > -0.1)
    pull = pull + 0.42 * tail**2 * unit(np.array([0, 0, -0.012]) - here) * [1, 0, 0.7]
    front = (
        np.clip((here[:, 2] - 0.040) / 0.03, 0, 1)
        * np.clip((0.095 - here[:, 1]) / 0.03, 0, 1)
        * (here[:, 1] > -0.09)
        * ~fringe
    )
    return unit(pull + front[:, None] * (np.array([0, 0, -1.0]) + np.stack([side, 0 * side, 0 * side], 1) * 0.5))


def _outside(tree: cKDTree, scalp: Scalp, new, clearance, travelled, way, fringe):
    """Pushes points out of the person, and back down on the head."""
    distance, index = tree.query(new)
    normal = scalp.normals[index]
    gap = ((new - scalp.rest[index]) * normal).sum(1)
    want = clearance * (1 - np.exp(-travelled / 0.022))
    push = np.where(distance < 0.05, np.maximum(want - gap, 0), 0)
    lie = way in ("fall", "tied", "part", "back", "down")
    press = np.where((distance < 0.03) & (travelled < 0.17) & lie, np.minimum(want - gap, 0) * 0.5, 0)
    return new + normal * (push + press)[:, None]


def _curtain(new: np.ndarray, travelled: np.ndarray, fringe: np.ndarray) -> None:
    """One smooth curtain over the ears."""
    cheek = 0.0935 * np.exp(-0.5 * ((new[:, 1] - 0.03) / 0.075) ** 2 - 0.5 * ((new[:, 2] + 0.012) / 0.055) ** 2)
    short = cheek * np.clip(travelled / 0.05, 0, 1) - np.abs(new[:, 0])
    new[:, 0] += np.sign(new[:, 0]) * np.where((np.abs(new[:, 0]) > 0.055) & ~fringe, np.clip(short, 0, 0.004), 0)


def _clear_face(points: np.ndarray, side: np.ndarray, fringe: np.ndarray, size: float) -> None:
    """Hair that waves across the face is put back beside it."""
    y, z = points[..., 1] / size, points[..., 2] / size
    inside = np.clip((z - 0.030) / 0.02, 0, 1) * np.clip((0.088 - y) / 0.02, 0, 1) * ~fringe[:, None]
    width = size * np.interp(y, [-0.09, -0.03, 0.03, 0.09], [0.050, 0.060, 0.066, 0.052])
    across = side[:, None] * np.maximum(side[:, None] * points[..., 0], width)
    points[..., 0] += inside * (across - points[..., 0])
    points[..., 2] -= inside * 0.6 * (points[..., 2] - 0.035 * size)


def _waved(points: np.ndarray, style: Style, recipe: Recipe, swirl: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Waves or curls, in step with the neighbours'."""
    for _ in range(2 if style.way == "fall" else 0):
        points[:, 2:-1] += 0.5 * (0.5 * (points[:, 1:-2] + points[:, 3:]) - points[:, 2:-1])
    amplitude = style.waves * (0.3 + 1.2 * recipe.curl)
    if not amplitude:
        return points
    n = len(points)
    along = np.concatenate([np.zeros((n, 1)), np.linalg.norm(np.diff(points, axis=1), axis=2).cumsum(1)], 1)
    tangent = unit(np.gradient(points, axis=1))
    a = unit(np.cross(tangent, [0.3, 0.2, 1.0]))
    b = np.cross(tangent, a)
    wavelength = (
        (0.095 if recipe.style == "wavy" else 0.055) * (1.1 - 0.6 * recipe.curl) * (0.8 + 0.4 * rng.random((n, 1)))
    )
    phase = 6.28 * along / wavelength + 5 * swirl[:, :1] + 1.0 * rng.normal(size=(n, 1))
    swell = amplitude * np.clip(along / 0.06, 0, 1)
    return points + (swell * np.sin(phase))[..., None] * a + (swell * 0.8 * np.cos(phase))[..., None] * b


def _tail(points, owner, root, mean, normal, recipe: Recipe, knot, rng):
    """A bun or a ponytail where the hair is tied: more wisps, riding on the back of the head."""
    k = points.shape[1]
    extra = 900
    pick = rng.integers(0, len(points), extra)
    behind = np.argmin(np.linalg.norm(root - knot, axis=1))
    t = np.linspace(0, 1, k)[None]
    if recipe.style == "bun":
        axis = unit(rng.normal(size=(extra, 3)) + [0, 0, -0.4])
        other = unit(np.cross(axis, rng.normal(size=(extra, 3))))
        size = 0.020 + 0.012 * recipe.hair_length * rng.random((extra, 1, 1)) ** 0.4
        angle = (6.28 * (t + rng.random((extra, 1))))[..., None]
        curve = knot + [0, 0, -0.012] + size * (np.cos(angle) * axis[:, None] + np.sin(angle) * other[:, None])
    else:
        reach = 0.16 + 0.08 * recipe.hair_length
        drop = np.stack([0 * t, -reach * t**1.3, -0.035 * np.sin(np.pi * np.minimum(t * 1.1, 1)) - 0.012], 2)
        spread = rng.normal(size=(extra, 1, 3)) * 0.011 * (0.35 + np.sin(np.pi * t)[..., None] * 0.9) * [1, 0.3, 1]
        curve = knot + drop + spread
    points = np.concatenate([points, curve])
    return (
        points, np.concatenate([normal, normal[pick]]), np.concatenate([owner, np.full(extra, owner[behind])]),
        np.concatenate([root, root[pick]]), np.concatenate([mean, mean[pick]]),
    )  # fmt: skip


def _radius(style: Style, points: np.ndarray) -> np.ndarray:
    return np.linspace(1.0, 0.6, points.shape[1])[None] * style.thick * np.ones((len(points), 1))


def _shade(recipe: Recipe, mean, root, seed: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) linear colours of wisps."""
    n = len(mean)
    shade = np.asarray(recipe.hair) * np.exp(
        0.22 * rng.normal(size=(n, 1)) + 0.22 * groom.drift(root, 0.02, seed % 7919)[:, :1]
    )
    salt = recipe.grey * np.clip((0.10 - mean[:, 1]) / 0.06, 0.2, 1) > rng.random(n)
    return np.where(salt[:, None], np.array([0.33, 0.32, 0.31]) * np.exp(0.15 * rng.normal(size=(n, 1))), shade)
