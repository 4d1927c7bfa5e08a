# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic person in their light, ready to be drawn from any side."""

from dataclasses import dataclass, replace

import numpy as np

from loquent.core.geometry.cameras import Camera
from loquent.core.head.head import pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

from . import body as bodies
from . import light, shading
from .body import Body, Placed
from .recipe import Recipe, generator, sample

SHARP = {"surface": 0.0045, "hair": 0.012}
"""Metres in which shadows set in."""
OPEN = {
    "jawOpen": 0.7,
    "mouthUpperUpLeft": 0.5,
    "mouthUpperUpRight": 0.5,
    "mouthLowerDownLeft": 0.4,
    "mouthLowerDownRight": 0.4,
}
"""The mouth in which light falls on teeth and tongue."""
GAP = {"jawOpen": 1.2, "mouthUpperUpLeft": 0.4, "mouthLowerDownLeft": 0.4, "mouthSmileLeft": 0.15}
"""How far channels open the lips."""


@dataclass(frozen=True)
class Shadows:
    """seen: (n, D) share of light from each direction. key: (n,) of the hard lamp."""

    seen: np.ndarray
    key: np.ndarray


@dataclass(frozen=True)
class Person:
    """body in its light. shut: shadows at rest; open: those of the layout's N points with an open mouth, without hair.

    mouth: (m,) points whose shadows go from one to the other. exposure: factor on all light.
    """

    body: Body
    light: light.Light
    shut: Shadows
    open: Shadows
    mouth: np.ndarray
    exposure: float

    @property
    def recipe(self) -> Recipe:
        return self.body.recipe


def build(split: str, index: int, seed: int = 0) -> Person:
    """Person number `index` of a split. About a second."""
    recipe = sample(bodies.layout().head, split, index, seed)
    body = bodies.build(recipe, generator(split, index, 1, seed))
    rng = generator(split, index, 3, seed)
    lamp = light.sample(rng)
    points = body.points
    rest = np.zeros(len(CHANNELS), np.float32)
    wide = rest.copy()
    for name, value in OPEN.items():
        wide[INDEX[name]] = value
    opened = _shadows(body, lamp, wide, len(points))
    inside = np.where(points.group > 0, 0.3, 0.0).astype(np.float32)[:, None]  # light that wanders about in the mouth
    opened = replace(opened, seen=inside + (1 - inside) * opened.seen)
    mouth = np.flatnonzero((points.group > 0) | (points.lips > 0.05) | (points.inner > 0.05))
    person = Person(body, lamp, _shadows(body, lamp, rest, len(body.opacities)), opened, mouth, 1.0)
    return replace(person, exposure=_exposure(person, rest) * float(rng.uniform(0.65, 1.05)))


def draw(person: Person, values: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Linear colour (H, W, 3), premultiplied, and matte (H, W) of one view."""
    layers = rasterize(lit(person, values, camera), camera, threads=1, antialiased=True)
    return shoulder(layers.colour), layers.alpha


def shoulder(linear: np.ndarray, knee: float = 0.75) -> np.ndarray:
    """Colours above the knee bent towards 1, as cameras do."""
    room = 1 - knee
    over = np.maximum(linear - knee, 0)
    return np.minimum(linear, knee) + room * (1 - np.exp(-over / room))


def lit(person: Person, values: np.ndarray, camera: Camera) -> Gaussians:
    """The person's Gaussians with the colours that this camera sees."""
    placed = bodies.place(person.body, pose_vertices(person.body.shape, values))
    colours = _colours(person, person.body.surface, placed, values, camera.position)
    return replace(placed.gaussians, harmonics=np.ascontiguousarray(person.exposure * colours, np.float32))


def _colours(
    person: Person, surface: shading.Surface, placed: Placed, values: np.ndarray, eye: np.ndarray
) -> np.ndarray:
    share = np.float32(np.clip(sum(values[INDEX[n]] * w for n, w in GAP.items()), 0, 1))
    seen, key, mouth = person.shut.seen.copy(), person.shut.key.copy(), person.mouth
    seen[mouth] += share * (person.open.seen[mouth] - seen[mouth])
    key[mouth] += share * (person.open.key[mouth] - key[mouth])
    shadows = seen, key, placed.cavity
    return shading.shade(surface, placed.gaussians.means, placed.axes, placed.outward, *shadows, person.light, eye)


def _shadows(body: Body, lamp: light.Light, values: np.ndarray, count: int) -> Shadows:
    """Shadows of the first `count` Gaussians; hair throws none where it is not among them."""
    points, surface = body.points, body.surface
    vertices = pose_vertices(body.shape, values)
    placed = bodies.place(body, vertices)
    flat = placed.gaussians
    sharp = np.where(surface.hair, SHARP["hair"], SHARP["surface"]).astype(np.float32)[:count]
    long = surface.hair & (surface.gloss == 1)  # the hair of the head
    wisps = None
    if count > len(points) and long.any():
        wisps = Gaussians(*(getattr(flat, f)[long] for f in Gaussians.__dataclass_fields__))
    mesh = vertices, points.head.faces[points.kind != "lashes"]
    at, outward = flat.means[:count], placed.outward[:count]

    def smooth(seen: np.ndarray) -> np.ndarray:
        seen[: len(points)] = points.blur @ seen[: len(points)]
        return seen

    soft = smooth(shading.visibility(at, outward, lamp.directions, sharp, mesh, wisps))
    if not lamp.key_colour.any():
        return Shadows(soft, np.ones(count, np.float32))
    hard = smooth(shading.visibility(at, outward, lamp.key[None], 0.6 * sharp, mesh, wisps, 256))
    return Shadows(soft, hard[:, 0])


def _exposure(person: Person, rest: np.ndarray) -> float:
    """Factor that brings the light on the face's front to a middle value, as a camera does."""
    surface, p = person.body.surface, person.body.points
    white = replace(surface, albedo=np.ones_like(surface.albedo), gloss=np.zeros_like(surface.gloss))
    placed = bodies.place(person.body, pose_vertices(person.body.shape, rest))
    on = _colours(person, white, placed, rest, np.array([0, 0, 1.0])) @ np.array([0.2126, 0.7152, 0.0722])
    face = (p.group == 0) & (p.mean[:, 2] > 0.04) & (p.mean[:, 1] > -0.07) & (p.mean[:, 1] < 0.10)
    on = on[: len(p)][face]
    level = 0.4 * on.mean() + 0.6 * np.percentile(on, 85)
    return float((1 + 0.5 * person.recipe.melanin) / max(level, 0.05))
