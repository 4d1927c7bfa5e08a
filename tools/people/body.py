# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic person without light: what they are made of and where it all is in a pose."""

from dataclasses import dataclass

import numpy as np

from loquent.core.geometry.rotations import quat_wxyz_to_matrix
from loquent.core.geometry.triangles import triangle_frames
from loquent.core.head.head import Identity, identity, pose_vertices
from loquent.core.head.motion import CHANNELS
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.gaussians import Gaussians

from ..avatars.groom import Scalp
from ..avatars.sitter import Sitter
from . import complexion, eyes, glasses, laid, wisps
from .layout import Layout, areas, disc_quats, layout, normals
from .recipe import Recipe
from .shading import Surface


@dataclass(frozen=True)
class Body:
    """points: N of the layout on skin, cloth and mouth, with the coat of paint; carried: the rest, on triangles.

    outward: normals of what is carried, in triangle frames. area: (F,) of the mean head's triangles. lid_shade: of the eyes,
    the first that are carried.
    """

    recipe: Recipe
    shape: Identity
    points: Layout
    coat: complexion.Complexion
    area: np.ndarray
    carried: Binding
    opacities: np.ndarray
    outward: np.ndarray
    surface: Surface
    lid_shade: np.ndarray


@dataclass(frozen=True)
class Placed:
    """Gaussians without colour; axes (n, 3) and outward (n, 3) for shading; cavity (n,) 0..1, the shade of folds."""

    gaussians: Gaussians
    axes: np.ndarray
    outward: np.ndarray
    cavity: np.ndarray


def build(recipe: Recipe, rng: np.random.Generator) -> Body:
    """Shapes, paints and grooms a person."""
    points = layout()
    shape = identity(points.head, recipe.betas)
    rest = pose_vertices(shape, np.zeros(len(CHANNELS), np.float32))
    coat = complexion.paint_person(recipe, points, rng)
    balls = eyes.eyeballs(recipe, shape, points, rest, rng)
    scalp = scalp_of(points, rest)
    parts = [balls] + [
        wisps.spindles(s, scalp) for s in wisps.grown(recipe, sitter(shape, points, rest), scalp, points, rng)
    ]
    if recipe.glasses:
        parts.append(glasses.spectacles(shape, points, rest, rng))
    all_of_it = laid.join(parts)
    carried, outward = laid.bind(all_of_it, rest, points.head.faces)
    wet = points.group > 0
    gloss = np.where(coat.cloth, 0.25, np.where(wet, 0.9, 0.55 + 0.8 * recipe.shine))
    surface = Surface(
        albedo=np.concatenate([coat.colour, all_of_it.colour]).astype(np.float32),
        rough=np.concatenate([coat.rough, all_of_it.rough]).astype(np.float32),
        gloss=np.concatenate([gloss, all_of_it.gloss]).astype(np.float32),
        hair=np.concatenate([np.zeros(len(points), bool), all_of_it.hair]),
        wrap=np.concatenate([np.where(wet | coat.cloth, 0.05, 0.16), np.where(all_of_it.hair, 0.3, 0.05)]).astype(
            np.float32
        ),
    )
    area = areas(points.head.template, points.head.faces)
    opacities = np.concatenate([np.full(len(points), 0.995), all_of_it.opacities]).astype(np.float32)
    return Body(recipe, shape, points, coat, area, carried, opacities, outward, surface, eyes.lid_shade(balls, shape))


def place(body: Body, vertices: np.ndarray) -> Placed:
    """The person with the head's posed (V, 3) vertices."""
    points, faces = body.points, body.points.head.faces
    vertices = vertices.astype(np.float32)
    vertex_normals = normals(vertices, faces).astype(np.float32)
    normal = points.linear @ vertex_normals
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    stretch = np.clip(np.sqrt(areas(vertices, faces) / np.maximum(body.area, 1e-12)), 0.7, 2.0)[points.triangle]
    room = (points.room * stretch).astype(np.float32)
    means = points.smooth @ vertices + normal * (body.coat.shell - 0.15 * room)[:, None]
    wide = np.where(points.room > 0.0013, 0.78, 0.66) * room  # few points: nothing may shine through between them
    scales = np.stack([wide, wide, 0.12 * room], 1)
    more, quats, sizes = carry(body.carried, vertices, faces, threads=1)
    _, frames, _ = triangle_frames(vertices, faces)
    outward = np.einsum("nij,nj->ni", frames[body.carried.triangles], body.outward).astype(np.float32)
    hair = body.surface.hair[len(points) :, None]
    axes = np.where(hair, quat_wxyz_to_matrix(quats)[:, :, 0], outward).astype(np.float32)
    gaussians = Gaussians(
        np.concatenate([means, more]).astype(np.float32),
        np.concatenate([disc_quats(normal), quats]),
        np.concatenate([scales, sizes]).astype(np.float32),
        body.opacities,
        np.zeros((len(body.opacities), 3), np.float32),
    )
    cavity = np.ones(len(gaussians), np.float32)
    cavity[: len(points)] = points.linear @ _cavity(vertices, vertex_normals, points)
    cavity[len(points) : len(points) + len(body.lid_shade)] = body.lid_shade
    return Placed(gaussians, np.concatenate([normal, axes]), np.concatenate([normal, outward]), cavity)


def _cavity(vertices: np.ndarray, vertex_normals: np.ndarray, points: Layout) -> np.ndarray:
    """(V,) 0..1, dark where the surface is hollow: nostrils, folds, lips' line, eyes' corners, ears."""
    near = points.average @ (points.average @ vertices)
    wide = near
    for _ in range(5):
        wide = points.average @ wide
    face = np.clip((points.head.template[:, 1] + 0.10) / 0.03, 0.15, 1)  # below, triangles are large
    hollow = np.maximum(((near - vertices) * vertex_normals).sum(1) - 0.0002, 0) * face
    deep = np.maximum(((wide - vertices) * vertex_normals).sum(1) - 0.0010, 0) * face
    return np.exp(-330 * hollow - 50 * deep).clip(0.3, 1).astype(np.float32)


def sitter(shape: Identity, points: Layout, rest: np.ndarray) -> Sitter:
    """As tools/avatars wants a person."""
    head = points.head
    masks = head.masks
    return Sitter(
        shape, head.faces, points.kind, rest, head.template, masks["lips"], points.inner_vertices, masks["ears"]
    )


def scalp_of(points: Layout, rest: np.ndarray) -> Scalp:
    """What hair grows on, for a resting head."""
    fine = points.scalp_weights @ rest
    ears = np.clip(points.scalp_linear @ points.head.masks["ears"], 0, 1)
    mean = points.scalp_weights @ points.head.template
    return Scalp(fine, mean, normals(fine, points.scalp_faces), ears, points.scalp_faces, points.scalp_owner)
