# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic person, ready to be drawn: Gaussians on the head's surface and along hair, lit for each view."""

from dataclasses import dataclass, replace

import numpy as np

from loquent.core.geometry.cameras import Camera
from loquent.core.geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz, quat_wxyz_to_matrix
from loquent.core.geometry.triangles import triangle_frames
from loquent.core.head.head import Identity, identity, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

from ..avatars import facehair, groom, paint
from ..avatars.groom import Scalp
from ..avatars.sitter import Sitter
from ..avatars.stage import eye_shape
from ..avatars.strands import KINDS, Strands
from . import acting, complexion, glasses, hair, light, shading
from .layout import GROUPS, Layout, areas, disc_quats, layout, normals
from .recipe import Recipe, generator, sample

OPACITY = {"hair": 0.92, "brow": 0.62, "lash": 0.6, "beard": 0.6}
THICKER = {"hair": 1.0, "brow": 1.15, "lash": 1.2, "beard": 1.6}
SHARP = {"surface": 0.0045, "hair": 0.012}
"""Metres in which shadows set in."""


@dataclass(frozen=True)
class Person:
    """recipe, shape and light of one person; carried: Gaussians of eyes, hair and glasses on triangles; the rest are the layout's.

    seen: (n, D) and key_seen: (n,) shadows with the mouth shut; seen_open: (N, D) and key_seen_open: (N,), without hair, open.
    lid_shade: (2 E,) how much of the light the lids leave to the eyes.
    """

    recipe: Recipe
    shape: Identity
    points: Layout
    paint: complexion.Complexion
    area: np.ndarray
    carried: Binding
    opacities: np.ndarray
    outward: np.ndarray
    surface: shading.Surface
    light: light.Light
    seen: np.ndarray
    seen_open: np.ndarray
    key_seen: np.ndarray
    key_seen_open: np.ndarray
    eyes: int
    lid_shade: np.ndarray
    exposure: float


def build(split: str, index: int, seed: int = 0) -> Person:
    """Person number `index` of a split. About two seconds."""
    points = layout()
    recipe = sample(points.head, split, index, seed)
    rng = generator(split, index, 1, seed)
    shape = identity(points.head, recipe.betas)
    rest = pose_vertices(shape, np.zeros(len(CHANNELS), np.float32))
    painted = complexion.paint_person(recipe, points, rng)
    parts = [_eyes(recipe, shape, points, rest, rng)]
    eyes = len(parts[0][0])
    sitter = _sitter(shape, points, rest)
    scalp = _scalp(points, rest)
    strands = _strands(recipe, sitter, scalp, rng)
    parts += [_spindles(s, scalp, points.head.faces) for s in strands]
    if recipe.glasses:
        parts.append(glasses.spectacles(shape, points, rest, rng))
    means, quats, scales, triangles, colour, opacities, outward, rough, gloss, is_hair = (
        np.concatenate(x) for x in zip(*parts, strict=True)
    )
    carried, local_outward = _bind(means, quats, scales, triangles, outward, rest, points.head.faces)
    wet = np.isin(points.group, [GROUPS.index(n) for n in ("mouth", "teeth", "gums", "tongue")])
    skin = ~wet & ~painted.cloth
    surface = shading.Surface(
        np.concatenate([painted.colour, colour]).astype(np.float32), np.concatenate([painted.rough, rough]).astype(np.float32),
        np.concatenate([np.where(painted.cloth, 0.25, np.where(wet, 0.9, 0.55 + 0.8 * recipe.shine)), gloss]).astype(np.float32),
        np.concatenate([np.zeros(len(points), bool), is_hair]),
        np.concatenate([np.where(skin, 0.16, 0.05), np.where(is_hair, 0.3, 0.05)]).astype(np.float32),
    )  # fmt: skip
    lamp = light.sample(generator(split, index, 3, seed))
    person = Person(
        recipe, shape, points, painted, areas(points.head.template, points.head.faces), carried, opacities.astype(np.float32),
        local_outward, surface, lamp, *(np.zeros(0),) * 4, eyes, _lid_shade(parts[0][0], shape), 1.0,
    )  # fmt: skip
    sharp = np.where(surface.hair, SHARP["hair"], SHARP["surface"]).astype(np.float32)
    open_values = np.zeros(len(CHANNELS), np.float32)
    for name, value in {"jawOpen": 0.7, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5, "mouthLowerDownLeft": 0.4, "mouthLowerDownRight": 0.4}.items():
        open_values[INDEX[name]] = value
    found = []
    solid = points.head.faces[points.kind != "lashes"]
    for values, count in ((np.zeros(len(CHANNELS), np.float32), len(sharp)), (open_values, len(points))):
        vertices = pose_vertices(shape, values)
        flat, _, normal, _ = person.place(vertices)
        wisps = None
        if count > len(points) and (long := surface.hair & (surface.gloss == 1)).any():  # the hair of the head
            wisps = Gaussians(*(getattr(flat, f)[long] for f in Gaussians.__dataclass_fields__))
        about = flat.means[:count], normal[:count], sharp[:count], (vertices, solid), wisps
        soft = person.smoothed(shading.visibility(*about[:2], lamp.directions, *about[2:]))
        key = np.ones(count, np.float32)
        if lamp.key_colour.any():
            key = person.smoothed(shading.visibility(*about[:2], lamp.key[None], 0.6 * about[2], *about[3:], 256))[:, 0]
        found += [soft, key]
    inside = np.where(points.group > 0, 0.3, 0.0).astype(np.float32)  # light that wanders about in an open mouth
    found[2] = inside[:, None] + (1 - inside[:, None]) * found[2]
    person = replace(person, seen=found[0], key_seen=found[1], seen_open=found[2], key_seen_open=found[3])
    return replace(person, exposure=_exposure(person, rest, generator(split, index, 3, seed)))


def draw(person: Person, values: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Linear colour (H, W, 3), premultiplied, and matte (H, W) of one view."""
    gaussians = lit(person, values, camera)
    layers = rasterize(gaussians, camera, threads=1, antialiased=True)
    return shoulder(layers.colour), layers.alpha


def shoulder(linear: np.ndarray, knee: float = 0.75) -> np.ndarray:
    """Colours above the knee bent towards 1, as cameras do."""
    room = 1 - knee
    over = np.maximum(linear - knee, 0)
    return np.minimum(linear, knee) + room * (1 - np.exp(-over / room))


def lit(person: Person, values: np.ndarray, camera: Camera) -> Gaussians:
    """The person's Gaussians with the colours that this camera sees."""
    vertices = pose_vertices(person.shape, values)
    flat, axes, outward, cavity = person.place(vertices)
    seen, key_seen = _shadows(person, values)
    colours = shading.shade(
        person.surface, flat.means, axes, outward, seen, key_seen, cavity, person.light, camera.position.astype(np.float32), person.exposure,
    )  # fmt: skip
    return replace(flat, harmonics=np.ascontiguousarray(colours))


def _shadows(person: Person, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shadows of the mouth between shut and open."""
    gap = sum(values[INDEX[n]] * w for n, w in (("jawOpen", 1.2), ("mouthUpperUpLeft", 0.4), ("mouthLowerDownLeft", 0.4), ("mouthSmileLeft", 0.15)))
    share = float(np.clip(gap, 0, 1))
    mouth = np.flatnonzero((person.points.group > 0) | (person.points.lips > 0.05) | (person.points.inner > 0.05))
    seen, key_seen = person.seen.copy(), person.key_seen.copy()
    seen[mouth] += share * (person.seen_open[mouth] - seen[mouth])
    key_seen[mouth] += share * (person.key_seen_open[mouth] - key_seen[mouth])
    return seen, key_seen


def _place(self: Person, vertices: np.ndarray) -> tuple[Gaussians, np.ndarray, np.ndarray, np.ndarray]:
    """Gaussians without colour for posed vertices, axes for shading, outward normals, and shade of folds (n,)."""
    points, faces = self.points, self.points.head.faces
    vertex_normals = normals(vertices, faces)
    normal = points.linear @ vertex_normals.astype(np.float32)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    stretch = np.clip(np.sqrt(areas(vertices, faces) / np.maximum(self.area, 1e-12)), 0.7, 2.0)[points.triangle]
    room = (points.room * stretch).astype(np.float32)
    means = points.smooth @ vertices.astype(np.float32) + normal * (self.paint.shell - 0.15 * room)[:, None]
    scales = np.stack([0.68 * room, 0.68 * room, 0.12 * room], 1)
    more, quats, sizes = carry(self.carried, vertices, faces, threads=1)
    _, frames, _ = triangle_frames(vertices.astype(np.float32), faces)
    outward = np.einsum("nij,nj->ni", frames[self.carried.triangles], self.outward).astype(np.float32)
    turned = quat_wxyz_to_matrix(quats)
    axes = np.where(self.surface.hair[len(points) :, None], turned[:, :, 0], outward)
    flat = Gaussians(
        np.concatenate([means, more]).astype(np.float32), np.concatenate([disc_quats(normal), quats]).astype(np.float32),
        np.concatenate([scales, sizes]).astype(np.float32),
        np.concatenate([np.full(len(points), 0.985, np.float32), self.opacities]), np.zeros((len(means) + len(more), 3), np.float32),
    )  # fmt: skip
    cavity = np.ones(len(flat), np.float32)
    cavity[: len(points)] = points.linear @ _cavity(vertices, vertex_normals, points)
    cavity[len(points) : len(points) + self.eyes] = self.lid_shade
    return flat, np.concatenate([normal, axes]).astype(np.float32), np.concatenate([normal, outward]).astype(np.float32), cavity


def _smoothed(self: Person, seen: np.ndarray) -> np.ndarray:
    """Shadows (n, D), those on surfaces averaged over neighbouring points."""
    n = len(self.points)
    seen[:n] = self.points.blur @ seen[:n]
    return seen


Person.place = _place
Person.smoothed = _smoothed


def _cavity(vertices: np.ndarray, vertex_normals: np.ndarray, points: Layout) -> np.ndarray:
    """(V,) 0..1, dark where the surface is hollow: nostrils, folds, lips' line, eyes' corners, ears."""
    near = points.average @ (points.average @ vertices.astype(np.float32))
    wide = near
    for _ in range(5):
        wide = points.average @ wide
    face = np.clip((points.head.template[:, 1] + 0.10) / 0.03, 0.15, 1)  # below, triangles are large
    hollow = np.maximum(((near - vertices) * vertex_normals).sum(1) - 0.0002, 0) * face
    deep = np.maximum(((wide - vertices) * vertex_normals).sum(1) - 0.0010, 0) * face
    return np.exp(-330 * hollow - 50 * deep).clip(0.3, 1).astype(np.float32)


def _eyes(recipe: Recipe, shape: Identity, points: Layout, rest: np.ndarray, rng: np.random.Generator) -> tuple:
    theta, phi = points.eye_theta, points.eye_phi
    seed = int(rng.integers(1 << 20))
    out = []
    for number, name in enumerate(("eye_left", "eye_right")):
        place = eye_shape(shape.eye_radii[number], shape.head.cornea, theta, phi)
        normal = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
        bulge = np.where(theta < 0.43, 0.55, 1.0)[:, None]  # the cornea's own curvature, for highlights
        shine = normal * [1, 1, 1] / np.concatenate([bulge, bulge, np.ones_like(bulge)], 1)
        shine /= np.linalg.norm(shine, axis=1, keepdims=True)
        colour = paint.eyeball(recipe.palette.iris, theta, phi, seed + number) * [1, 0.985, 0.96]
        room = points.eye_room * shape.eye_radii[number]
        scales = np.stack([0.52 * room, 0.52 * room, 0.12 * room], 1)
        triangle = np.flatnonzero(points.kind == name)
        triangle = triangle[np.argmax(areas(rest, shape.head.faces[triangle]))]
        n = len(theta)
        means = place + shape.joints[3 + number]
        out.append((means, disc_quats(normal), scales, np.full(n, triangle), colour, np.full(n, 0.985), shine,
                    np.full(n, 0.12), np.full(n, 3.0), np.zeros(n, bool)))  # fmt: skip
    return tuple(np.concatenate(x) for x in zip(*out, strict=True))


def _lid_shade(means: np.ndarray, shape: Identity) -> np.ndarray:
    half = len(means) // 2
    out = []
    for number in range(2):
        p = (means[number * half : (number + 1) * half] - shape.joints[3 + number]) / shape.eye_radii[number]
        top = np.clip((p[:, 1] - 0.02) / 0.36, 0, 1)
        side = np.clip((np.abs(p[:, 0]) - 0.45) / 0.4, 0, 1)
        out.append((1 - 0.5 * top) * (1 - 0.4 * side))
    return np.concatenate(out).astype(np.float32)


def _sitter(shape: Identity, points: Layout, rest: np.ndarray) -> Sitter:
    head = points.head
    return Sitter(shape, head.faces, points.kind, rest, head.template, head.masks["lips"], points.inner_vertices, head.masks["ears"])


def _scalp(points: Layout, rest: np.ndarray) -> Scalp:
    fine = points.scalp_weights @ rest
    return Scalp(
        fine, points.scalp_weights @ points.head.template, normals(fine, points.scalp_faces),
        np.clip(points.scalp_linear @ points.head.masks["ears"], 0, 1), points.scalp_faces, points.scalp_owner,
    )  # fmt: skip


def _strands(recipe: Recipe, sitter: Sitter, scalp: Scalp, rng: np.random.Generator) -> list[Strands]:
    eyes = np.stack(sitter.eyes)
    grown = []
    head_hair = hair.grow(recipe, scalp, rng)
    if head_hair is not None:
        grown.append(head_hair)
    thick, arch, drop, dense = recipe.brow
    count = int(700 * dense)
    grown.append(facehair.brows(scalp, eyes, recipe.brow_colour, count, int(rng.integers(1 << 30)), thick=thick, arch=arch, drop=drop))
    grown.append(facehair.lashes(sitter, eyes, 210, int(rng.integers(1 << 30)), long=recipe.woman))
    if recipe.beard not in ("none", "stubble"):
        lips = np.clip(scalp_lips(sitter, scalp), 0, 1)
        area = complexion.beard_area(recipe, scalp.mean, lips, complexion.mouth_of(layout()))
        length = {"moustache": 0.009, "goatee": 0.012, "short": 0.007, "full": 0.020}[recipe.beard] * recipe.beard_length
        tint = tuple(np.asarray(recipe.hair) * 0.85)
        count = {"moustache": 500, "goatee": 900, "short": 2200, "full": 2600}[recipe.beard]
        grown.append(facehair.beard(scalp, area, tint, count, int(rng.integers(1 << 30)), recipe.grey, length))
    return grown


def scalp_lips(sitter: Sitter, scalp: Scalp) -> np.ndarray:
    """(V_scalp,) mask of the lips on the mesh that hair grows on."""
    return layout().scalp_linear @ sitter.lips


def _spindles(strands: Strands, scalp: Scalp, faces: np.ndarray) -> tuple:
    """One Gaussian for each step of each wisp."""
    kind = KINDS[int(strands.kind[0])]
    points, radius = strands.points, strands.radius
    if kind in ("brow", "beard"):
        points, radius = points[:, ::3] if points.shape[1] == 4 else points, radius[:, ::3] if points.shape[1] == 4 else radius
    a, b = points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3)
    each = points.shape[1] - 1
    thick = (0.5 * (radius[:, :-1] + radius[:, 1:])).ravel() * THICKER[kind]
    along = b - a
    length = np.linalg.norm(along, axis=1)
    keep = length > 0.8 * thick
    owner = np.repeat(strands.triangles, each)
    colour = np.repeat(strands.colour, each, 0)
    tip = np.tile(np.linspace(0, 1, each), len(points))[:, None]
    if kind == "hair" and each > 3:
        colour = colour * (0.8 + 0.35 * tip)
    rotation = _along(along / (length[:, None] + 1e-12))
    scales = np.stack([0.40 * length, thick, thick], 1)
    middle = (a + b) / 2
    outward = groom.unit(middle - [0, 0.02, -0.01]) if kind == "hair" else _nearest_normal(scalp, strands, each)
    n = int(keep.sum())
    glossy = np.full(n, {"hair": 1.0, "beard": 0.4}.get(kind, 0.1))
    return (
        middle[keep], matrix_to_quat_wxyz(rotation[keep]), scales[keep], owner[keep], colour[keep], np.full(n, OPACITY[kind]),
        outward[keep], np.full(n, 0.4), glossy, np.ones(n, bool),
    )  # fmt: skip


def _nearest_normal(scalp: Scalp, strands: Strands, each: int) -> np.ndarray:
    """Normals of the triangles that wisps ride on."""
    first = np.zeros(scalp.owner.max() + 1, int)
    first[scalp.owner] = scalp.faces[:, 0]
    index = np.where(strands.triangles < len(first), first[np.minimum(strands.triangles, len(first) - 1)], 0)
    return np.repeat(scalp.normals[index], each, 0)


def _along(axis: np.ndarray) -> np.ndarray:
    """(n, 3, 3) rotations whose first column is the axis."""
    helper = np.where(np.abs(axis[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    side = groom.unit(np.cross(axis, helper))
    return np.stack([axis, side, np.cross(axis, side)], 2)


def _bind(means, quats, scales, triangles, outward, rest, faces) -> tuple[Binding, np.ndarray]:
    triangles = triangles.astype(np.int32)
    origins, frames, sizes = (x[triangles] for x in triangle_frames(rest.astype(np.float32), faces))
    inverse = matrix_to_quat_wxyz(frames) * np.array([1, -1, -1, -1])
    binding = Binding(
        triangles, (np.einsum("nji,nj->ni", frames, means - origins) / sizes[:, None]).astype(np.float32),
        quat_multiply_wxyz(inverse, quats).astype(np.float32), (scales / sizes[:, None]).astype(np.float32),
    )  # fmt: skip
    return binding, np.einsum("nji,nj->ni", frames, outward).astype(np.float32)


def _exposure(person: Person, rest: np.ndarray, rng: np.random.Generator) -> float:
    """Brings the light on the face's front to a middle value, as a camera does."""
    values = np.zeros(len(CHANNELS), np.float32)
    camera = acting.camera(np.random.default_rng(0), 0, 0, 64)
    flat, axes, outward, cavity = person.place(rest)
    seen, key_seen = _shadows(person, values)
    plain = replace(person.surface, albedo=np.ones_like(person.surface.albedo), gloss=np.zeros_like(person.surface.gloss))
    light_on = shading.shade(plain, flat.means, axes, outward, seen, key_seen, cavity, person.light, camera.position.astype(np.float32), 1.0)
    p = person.points
    face = np.flatnonzero((p.group == 0) & (p.mean[:, 2] > 0.04) & (p.mean[:, 1] > -0.07) & (p.mean[:, 1] < 0.10))
    bright = light_on[face] @ [0.2126, 0.7152, 0.0722]
    level = float(0.4 * bright.mean() + 0.6 * np.percentile(bright, 85))
    return float(rng.uniform(0.65, 1.05) * (1 + 0.5 * person.recipe.melanin) / max(level, 0.05))
