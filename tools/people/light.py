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
    name = ("soft", "studio", "window", "sun", "top", "flat")[rng.choice(6, p=[0.25, 0.27, 0.16, 0.16, 0.08, 0.08])]
    sky, ground = warmth(rng.normal(-0.3, 0.35)), warmth(rng.normal(0.25, 0.35))
    up = directions[:, 1:2]
    ambient = {"soft": 0.55, "studio": 0.28, "window": 0.22, "sun": 0.40, "top": 0.25, "flat": 0.85}[
        name
    ] * rng.uniform(0.7, 1.3)
    bounce = rng.uniform(0.15, 0.6)
    radiance = ambient * (np.clip(0.5 + 0.5 * up, 0, 1) * sky + np.clip(0.5 - 0.5 * up, 0, 1) * bounce * ground)
    boxes, colours = [], []

    def box(yaw: float, pitch: float, width: float, power: float, warm: float) -> None:
        d = direction(yaw, pitch)
        lobe = np.exp((directions @ d - 1) / (1 - np.cos(np.radians(width))))
        radiance[:] += (power * lobe / lobe.sum() * COUNT / 4)[:, None] * warmth(warm)
        boxes.append(d)
        colours.append(power * warmth(warm))

    side = rng.choice([-1, 1])
    if name == "soft":
        box(
            side * rng.uniform(0, 50),
            rng.uniform(10, 55),
            rng.uniform(35, 50),
            rng.uniform(0.5, 0.9),
            rng.normal(0.1, 0.3),
        )
    elif name == "studio":
        box(
            side * rng.uniform(20, 65),
            rng.uniform(10, 50),
            rng.uniform(22, 34),
            rng.uniform(0.7, 1.2),
            rng.normal(0.15, 0.25),
        )
        box(
            -side * rng.uniform(30, 80),
            rng.uniform(-5, 30),
            rng.uniform(28, 42),
            rng.uniform(0.2, 0.6),
            rng.normal(-0.1, 0.3),
        )
        if rng.random() < 0.6:
            box(side * rng.uniform(110, 170), rng.uniform(10, 40), 28, rng.uniform(0.3, 1.2), rng.normal(0, 0.4))
    elif name == "window":
        box(
            side * rng.uniform(45, 95),
            rng.uniform(0, 30),
            rng.uniform(25, 38),
            rng.uniform(0.9, 1.5),
            rng.normal(-0.3, 0.25),
        )
        box(-side * rng.uniform(50, 100), rng.uniform(-10, 20), 45, rng.uniform(0.1, 0.35), rng.normal(0.4, 0.25))
    elif name == "top":
        box(
            side * rng.uniform(0, 40),
            rng.uniform(50, 75),
            rng.uniform(25, 40),
            rng.uniform(0.8, 1.2),
            rng.normal(0.1, 0.3),
        )
    elif name == "flat":
        box(0, rng.uniform(0, 30), 55, 0.4, rng.normal(0, 0.25))
    key, key_colour = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    if name == "sun":
        key = direction(side * rng.uniform(10, 75), rng.uniform(15, 60))
        key_colour = rng.uniform(0.5, 1.0) * warmth(rng.uniform(0, 0.6))
    return Light(
        directions, radiance.astype(np.float32) * 4 / COUNT, key.astype(np.float32), key_colour.astype(np.float32),
        np.array(boxes, np.float32).reshape(-1, 3), np.array(colours, np.float32).reshape(-1, 3), name,
    )  # fmt: skip
