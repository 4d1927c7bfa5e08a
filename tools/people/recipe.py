# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a synthetic person is: shape, skin, hair, beard, clothes, all drawn from one generator."""

from dataclasses import asdict, dataclass

import numpy as np

from loquent.core.head.head import Head

from ..avatars.paint import Palette

SPLITS = {"train": 0, "held": 1, "hero": 2, "hero_train": 3}
STYLES = (
    "bald",
    "horseshoe",
    "buzz",
    "crop",
    "side",
    "swept",
    "afro",
    "curly",
    "bob",
    "long",
    "wavy",
    "fringe",
    "bun",
    "ponytail",
)
BEARDS = ("none", "stubble", "moustache", "goatee", "short", "full")
TONES = np.array(  # 8-bit sRGB of skins from pale to dark
    [[244, 212, 196], [236, 196, 172], [226, 178, 150], [208, 156, 124], [184, 130, 98], [152, 102, 74], [118, 76, 54], [88, 56, 42], [66, 42, 34]],
    float,
)  # fmt: skip
RACES = ("european", "asian", "african")
HAIRS = {  # linear colours of the natural palette
    "black": (0.010, 0.008, 0.007), "dark": (0.024, 0.013, 0.008), "brown": (0.060, 0.028, 0.013), "chestnut": (0.095, 0.038, 0.016),
    "auburn": (0.140, 0.035, 0.012), "ginger": (0.270, 0.085, 0.020), "blond": (0.250, 0.155, 0.070), "fair": (0.380, 0.270, 0.150),
    "grey": (0.300, 0.290, 0.280), "white": (0.450, 0.440, 0.420), "dyed": (0.2, 0.03, 0.12),
}  # fmt: skip
IRISES = ((70, 42, 22), (96, 62, 34), (120, 86, 46), (92, 100, 62), (74, 104, 118), (98, 128, 150), (120, 130, 134))
COLLARS = ("crew", "vee", "scoop", "high", "shirt")


@dataclass(frozen=True)
class Recipe:
    """One person. betas: (S,). melanin: 0 pale .. 1 dark. age: 0 young adult .. 1 old. Strengths are 0..1, colours linear.

    brow: (thick, arch, drop) metres and density. hair_length, volume: factors on the style's own. curl: 0..1. part: metres the
    parting lies to the subject's left, or 0. collar: of COLLARS.
    """

    seed: tuple[int, int, int]
    betas: np.ndarray
    woman: bool
    race: str
    age: float
    melanin: float
    palette: Palette
    freckles: float
    spots: float
    blotch: float
    shine: float
    lipstick: float
    shadow: float
    shadow_colour: tuple[float, float, float]
    blush: float
    hair_name: str
    hair: tuple[float, float, float]
    grey: float
    style: str
    hair_length: float
    volume: float
    curl: float
    part: float
    line: float
    brow: tuple[float, float, float, float]
    brow_colour: tuple[float, float, float]
    beard: str
    beard_length: float
    collar: str
    stripes: float
    glasses: bool

    def tags(self) -> dict:
        """What the json of a person's file says."""
        skip = ("betas", "palette")
        out = {k: v for k, v in asdict(self).items() if k not in skip}
        return out | {
            "skin": list(self.palette.skin),
            "iris": list(self.palette.iris),
            "cloth": list(self.palette.cloth),
        }


def generator(split: str, index: int, purpose: int = 0, seed: int = 0) -> np.random.Generator:
    """The random numbers of one person; purposes: 0 recipe, 1 looks, 2 acting and cameras, 3 light."""
    return np.random.default_rng([seed, SPLITS[split], index, purpose])


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names, p = list(weights), np.array(list(weights.values()), float)
    return names[int(np.searchsorted(np.cumsum(p / p.sum()), rng.random()).clip(0, len(names) - 1))]


def sample(head: Head, split: str, index: int, seed: int = 0) -> Recipe:
    """Person number `index` of a split; the splits share nobody."""
    rng = generator(split, index, 0, seed)
    woman = bool(rng.random() < 0.5)
    race = _pick(rng, {"european": 0.45, "asian": 0.25, "african": 0.3})
    age = float(rng.beta(1.1, 1.9))
    betas = _betas(head, rng, woman, race, age)
    middle = {"european": 0.17, "asian": 0.30, "african": 0.70}[race]
    melanin = float(np.clip(middle + rng.normal(0, {"european": 0.11, "asian": 0.12, "african": 0.17}[race]), 0, 1))
    palette = _palette(rng, woman, melanin, age)
    makeup = woman and rng.random() < 0.6
    hair_name = _hair_name(rng, race, age, woman)
    hair = np.array(HAIRS[hair_name]) * np.exp(rng.normal(0, 0.18)) * np.exp(rng.normal(0, 0.06, 3))
    if hair_name == "dyed":
        hair = rng.uniform(0.01, 0.35, 3) * [1, 0.7, 1]
    style = _style(rng, woman, race, age)
    beard = "none" if woman else _pick(rng, dict(zip(BEARDS, (0.40, 0.18, 0.07, 0.09, 0.14, 0.12), strict=True)))
    brow_hair = np.minimum(hair, 0.09) * 0.8 + np.array([0.012, 0.008, 0.006])
    thick = rng.uniform(0.0024, 0.0040) if woman else rng.uniform(0.0034, 0.0058)
    return Recipe(
        seed=(seed, SPLITS[split], index), betas=betas, woman=woman, race=race, age=age, melanin=melanin, palette=palette,
        freckles=float(rng.beta(0.5, 2.5) * (melanin < 0.35)), spots=float(np.clip(age - 0.35, 0, 1) * rng.random()),
        blotch=float(rng.random()), shine=float(rng.beta(2, 3)),
        lipstick=float(rng.random() * makeup), shadow=float(rng.beta(1, 1.5) * makeup),
        shadow_colour=tuple(rng.uniform([0.02, 0.01, 0.02], [0.30, 0.12, 0.22]).tolist()), blush=float(rng.random() * 0.8 * makeup),
        hair_name=hair_name, hair=tuple(np.clip(hair, 0.004, 0.75).tolist()),
        grey=float(np.clip((age - 0.3) * 1.2, 0, 0.8) * rng.random()), style=style,
        hair_length=float(rng.uniform(0.65, 1.4)), volume=float(rng.uniform(0.6, 1.5)), curl=float(rng.beta(0.8, 1.6)),
        part=float(rng.choice([-1, 1]) * rng.uniform(0.012, 0.04) * (rng.random() < 0.7)), line=float(rng.normal(0, 0.005) + 0.006 * age * (not woman)),
        brow=(float(thick), float(rng.uniform(0.002, 0.006)), float(rng.uniform(-0.001, 0.0022)), float(rng.uniform(0.5, 1.3))),
        brow_colour=tuple(brow_hair.tolist()), beard=beard, beard_length=float(rng.uniform(0.6, 1.6)),
        collar=COLLARS[rng.integers(len(COLLARS))], stripes=float(rng.random() < 0.18), glasses=bool(rng.random() < 0.10),
    )  # fmt: skip


def _betas(head: Head, rng: np.random.Generator, woman: bool, race: str, age: float) -> np.ndarray:
    """Between presets of sex, race and age, and away from them in all directions of the shape basis."""
    sex = "woman" if woman else "man"
    share = rng.uniform(0.2, 0.8)
    base = 0.9 * (share * head.presets[sex] + (1 - share) * head.presets[f"{sex}_{race}"])
    base = base + 0.6 * age * (head.presets[f"{sex}_old"] - head.presets[sex])
    wide = np.mean([[lid.gaps(s)[3:8].mean() for s in head.shapedirs] for lid in head.lids], 0)
    opened = rng.normal(1.3, 0.7) * wide / np.linalg.norm(wide)  # MakeHuman's adults hardly open their eyes
    return np.clip(base + opened + rng.normal(0, 0.62, len(base)), -2.6, 2.6).astype(np.float32)


def _palette(rng: np.random.Generator, woman: bool, melanin: float, age: float) -> Palette:
    at = melanin * (len(TONES) - 1)
    skin = np.array([np.interp(at, np.arange(len(TONES)), TONES[:, k]) for k in range(3)])
    skin = skin * np.exp(rng.normal(0, 0.03)) * [1, np.exp(rng.normal(0, 0.025)), np.exp(rng.normal(0, 0.045))]
    lips = skin * [0.86, 0.60 + 0.10 * melanin, 0.62 + 0.08 * melanin] * np.exp(rng.normal(0, 0.06, 3))
    if woman and rng.random() < 0.35:  # a lipstick
        lips = rng.uniform([90, 18, 24], [205, 80, 100])
    iris = IRISES[int(min(rng.integers(len(IRISES)), 1 if melanin > 0.42 else 9))]
    hue = rng.random(3) ** (0.6 if rng.random() < 0.4 else 1.6)
    grey = rng.uniform(0.3, 0.95)
    cloth = (grey * hue.mean() + (1 - grey) * hue) * rng.uniform(0.35, 0.95) * 240 + 8

    def triple(colour: np.ndarray, low: int, high: int) -> tuple[int, int, int]:
        r, g, b = np.clip(colour, low, high)
        return int(r), int(g), int(b)

    return Palette(
        skin=triple(skin, 20, 250),
        lips=triple(lips, 15, 240),
        iris=triple(np.array(iris) * np.exp(rng.normal(0, 0.1, 3)), 8, 200),
        redness=float(rng.uniform(0.1, 0.6) * (1 - 0.45 * melanin) + 0.1 * age),
        stubble=0.0,
        liner=float(rng.random() * 0.8 if woman else rng.random() * 0.15),
        cloth=triple(cloth, 3, 250),
    )


def _hair_name(rng: np.random.Generator, race: str, age: float, woman: bool) -> str:
    if rng.random() < np.clip((age - 0.45) * 1.5, 0, 0.8) * (0.6 if woman else 1):
        return "white" if rng.random() < age - 0.2 else "grey"
    if race == "european":
        return _pick(
            rng,
            dict(
                black=0.08,
                dark=0.2,
                brown=0.24,
                chestnut=0.14,
                auburn=0.06,
                ginger=0.07,
                blond=0.12,
                fair=0.07,
                dyed=0.02,
            ),
        )
    return _pick(rng, dict(black=0.6, dark=0.27, brown=0.07, chestnut=0.02, blond=0.015, dyed=0.025))


def _style(rng: np.random.Generator, woman: bool, race: str, age: float) -> str:
    tight = 3.0 if race == "african" else 0.35
    if woman:
        weights = dict(
            bob=2,
            long=2.4,
            wavy=2.2,
            fringe=1.6,
            bun=1.5,
            ponytail=1.4,
            afro=0.6 * tight,
            curly=0.8 * tight,
            side=0.5,
            crop=0.4,
            buzz=0.25 * tight,
            bald=0.12,
        )
    else:
        weights = dict(crop=2.4, side=2.2, swept=1.8, buzz=1.2 * max(tight, 0.8), bald=0.8, horseshoe=1.6 * age, afro=0.4 * tight, curly=0.5 * tight, long=0.3, wavy=0.3, bun=0.2)  # fmt: skip
    return _pick(rng, weights)
