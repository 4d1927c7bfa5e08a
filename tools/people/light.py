# SPDX-License-Identifier: GPL-3.0-or-later
"""Light round a synthetic person: sky, soft boxes and at most one hard lamp, all from one generator."""

from dataclasses import dataclass

import numpy as np

COUNT = 32
"""Directions that soft light comes from."""


@dataclass(frozen=True)
class Light:
    """directions: (D, 3) towards the light. radiance: (D, 3) times the solid angle of a direction over pi.

    key: (3,) direction and key_colour: (3,) irradiance over pi of the hard lamp, zero without one. boxes: (B, 3) and
    box_colours: (B, 3): soft boxes once more, for highlights. name: what kind.
    """

    directions: np.ndarray
    radiance: np.ndarray
    key: np.ndarray
    key_colour: np.ndarray
    boxes: np.ndarray
    box_colours: np.ndarray
    name: str


@dataclass(frozen=True)
class Box:
    """A soft box. A pair is drawn evenly between two values, a number holds; yaw, pitch and width in degrees, power irradiance
    over pi, warm the mean and deviation of its warmth. across: on the side that the first box is not on."""

    yaw: tuple[float, float] | float
    pitch: tuple[float, float]
    width: tuple[float, float] | float
    power: tuple[float, float] | float
    warm: tuple[float, float]
    across: bool = False
    chance: float = 1.0


KINDS: dict[str, tuple[float, float, tuple[Box, ...]]] = {
    "soft": (0.25, 0.55, (Box((0, 50), (10, 55), (35, 50), (0.5, 0.9), (0.1, 0.3)),)),
    "studio": (0.27, 0.28, (
        Box((20, 65), (10, 50), (22, 34), (0.7, 1.2), (0.15, 0.25)),
        Box((30, 80), (-5, 30), (28, 42), (0.2, 0.6), (-0.1, 0.3), across=True),
        Box((110, 170), (10, 40), 28, (0.3, 1.2), (0, 0.4), chance=0.6),
    )),
    "window": (0.16, 0.22, (
        Box((45, 95), (0, 30), (25, 38), (0.9, 1.5), (-0.3, 0.25)),
        Box((50, 100), (-10, 20), 45, (0.1, 0.35), (0.4, 0.25), across=True),
    )),
    "sun": (0.16, 0.40, ()),
    "top": (0.08, 0.25, (Box((0, 40), (50, 75), (25, 40), (0.8, 1.2), (0.1, 0.3)),)),
    "flat": (0.08, 0.85, (Box(0, (0, 30), 55, 0.4, (0, 0.25)),)),
}  # fmt: skip
"""How often each is met, its light from all round, and its boxes; the sun is a hard lamp besides."""


def sphere(count: int = COUNT) -> np.ndarray:
    """(D, 3) even directions (Fibonacci)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - y * y)
    return np.stack([r * np.cos(angle), y, r * np.sin(angle)], 1).astype(np.float32)


def warmth(amount: float) -> np.ndarray:
    """(3,) colour of light from cold (-1) to warm (1), of luminance about 1."""
    c = np.array([1 + 0.28 * amount, 1.0, 1 - 0.42 * amount])
    return c / (c @ [0.2126, 0.7152, 0.0722])


def direction(yaw: float, pitch: float) -> np.ndarray:
    """(3,) unit vector, degrees; yaw towards the subject's left."""
    y, p = np.radians(yaw), np.radians(pitch)
    return np.array([np.sin(y) * np.cos(p), np.sin(p), np.cos(y) * np.cos(p)])


def sample(rng: np.random.Generator) -> Light:
    """Soft and frontal light most often, side light and a hard sun less often."""
    directions = sphere()
    name = tuple(KINDS)[rng.choice(len(KINDS), p=[share for share, _, _ in KINDS.values()])]
    _, ambient, boxes = KINDS[name]
    sky, ground = warmth(rng.normal(-0.3, 0.35)), warmth(rng.normal(0.25, 0.35))
    up = directions[:, 1:2]
    ambient *= rng.uniform(0.7, 1.3)
    bounce = rng.uniform(0.15, 0.6)
    radiance = ambient * (np.clip(0.5 + 0.5 * up, 0, 1) * sky + np.clip(0.5 - 0.5 * up, 0, 1) * bounce * ground)
    towards, colours = [], []

    def drawn(value: tuple[float, float] | float) -> float:
        return rng.uniform(*value) if isinstance(value, tuple) else value

    side = rng.choice([-1, 1])
    for box in boxes:
        if box.chance < 1 and rng.random() >= box.chance:
            continue
        d = direction((-side if box.across else side) * drawn(box.yaw), drawn(box.pitch))
        lobe = np.exp((directions @ d - 1) / (1 - np.cos(np.radians(drawn(box.width)))))
        colour = drawn(box.power) * warmth(rng.normal(*box.warm))
        radiance += (lobe / lobe.sum() * COUNT / 4)[:, None] * colour
        towards.append(d)
        colours.append(colour)
    key, key_colour = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    if name == "sun":
        key = direction(side * rng.uniform(10, 75), rng.uniform(15, 60))
        key_colour = rng.uniform(0.5, 1.0) * warmth(rng.uniform(0, 0.6))
    return Light(
        directions, radiance.astype(np.float32) * 4 / COUNT, key.astype(np.float32), key_colour.astype(np.float32),
        np.array(towards, np.float32).reshape(-1, 3), np.array(colours, np.float32).reshape(-1, 3), name,
    )  # fmt: skip
