# SPDX-License-Identifier: GPL-3.0-or-later
"""The two built-in people: who they are in MakeHuman's sliders, and how they look."""

from collections.abc import Mapping
from dataclasses import dataclass

from .paint import Palette


@dataclass(frozen=True)
class Person:
    """One character.

    macro: gender, age, muscle, weight 0..1. race: shares (african, asian, caucasian). details: MakeHuman sliders -1..1; a slider of
    the left side is applied to both. hair, brow: linear colours. style: bob or crop.
    grey: share of grey hairs. beard: length in metres, 0 for none. spindles: Gaussians along each wisp of hair.
    """

    name: str
    seed: int
    macro: Mapping[str, float]
    race: tuple[float, float, float]
    details: Mapping[str, float]
    palette: Palette
    hair: tuple[float, float, float]
    brow: tuple[float, float, float]
    style: str
    grey: float
    beard: float
    spindles: int


ADA = Person(
    name="ada",
    seed=11,
    macro=dict(gender=0.04, age=0.56, muscle=0.45, weight=0.42),
    race=(0.12, 0.18, 0.70),
    details={
        "eyes/l-eye-scale": 0.55,
        "eyes/l-eye-height2": 0.25,
        "eyes/l-eye-corner2": 0.3,
        "eyes/l-eye-eyefold": 0.2,
        "mouth/mouth-upperlip-volume": 0.4,
        "mouth/mouth-lowerlip-volume": 0.45,
        "mouth/mouth-cupidsbow": 0.4,
        "mouth/mouth-scale-horiz": 0.1,
        "mouth/mouth-angles": 0.25,
        "nose/nose-scale-horiz": -0.2,
        "nose/nose-hump": -0.2,
        "nose/nose-point-width": -0.2,
        "nose/nose-point": 0.2,
        "nose/nose-scale-depth": -0.15,
        "cheek/l-cheek-bones": 0.4,
        "cheek/l-cheek-volume": 0.0,
        "chin/chin-width": -0.25,
        "chin/chin-prominent": 0.15,
        "head/head-oval": 0.55,
        "head/head-fat": -0.2,
        "neck/neck-scale-horiz": -0.2,
        "eyebrows/eyebrows-trans": 0.1,
        "forehead/forehead-scale-vert": -0.15,
        "asym/asym-mouth-1": 0.15,
        "asym/asym-brown-1": 0.2,
        "asym/asym-nose-1": 0.12,
        "asym/asym-eye-3": 0.1,
    },
    palette=Palette(
        skin=(214, 164, 138),
        lips=(176, 92, 90),
        iris=(96, 66, 38),
        redness=0.42,
        stubble=0.0,
        liner=0.55,
        cloth=(38, 62, 74),
    ),
    hair=(0.060, 0.025, 0.011),
    brow=(0.045, 0.024, 0.014),
    style="bob",
    grey=0.0,
    beard=0.0,
    spindles=5,
)

BRUNO = Person(
    name="bruno",
    seed=23,
    macro=dict(gender=1.0, age=0.70, muscle=0.6, weight=0.55),
    race=(0.35, 0.2, 0.45),
    details={
        "head/head-square": 0.3,
        "head/head-age": 0.1,
        "chin/chin-width": 0.25,
        "chin/chin-prominent": 0.3,
        "chin/chin-bones": 0.2,
        "nose/nose-scale-horiz": 0.25,
        "nose/nose-hump": 0.25,
        "nose/nose-width2": 0.2,
        "eyes/l-eye-scale": 0.4,
        "eyes/l-eye-height2": 0.25,
        "eyes/l-eye-bag": 0.2,
        "eyes/l-eye-eyefold": -0.1,
        "eyebrows/eyebrows-trans": -0.1,
        "cheek/l-cheek-bones": 0.25,
        "cheek/l-cheek-volume": -0.1,
        "mouth/mouth-laugh-lines": 0.2,
        "mouth/mouth-upperlip-volume": 0.15,
        "mouth/mouth-lowerlip-volume": 0.3,
        "mouth/mouth-scale-horiz": 0.25,
        "mouth/mouth-angles": 0.3,
        "forehead/forehead-temple": 0.2,
        "neck/neck-scale-horiz": 0.2,
        "ears/l-ear-scale": 0.1,
        "asym/asym-mouth-1": -0.2,
        "asym/asym-nose-1": -0.2,
        "asym/asym-brown-1": -0.3,
        "asym/asym-jaw-1": 0.2,
    },
    palette=Palette(
        skin=(160, 110, 82),
        lips=(140, 84, 74),
        iris=(64, 38, 20),
        redness=0.35,
        stubble=0.68,
        liner=0.0,
        cloth=(134, 138, 142),
    ),
    hair=(0.016, 0.011, 0.009),
    brow=(0.012, 0.009, 0.008),
    style="crop",
    grey=0.22,
    beard=0.0065,
    spindles=2,
)

PEOPLE: Mapping[str, Person] = {p.name: p for p in (ADA, BRUNO)}
