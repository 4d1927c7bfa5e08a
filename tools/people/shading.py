# SPDX-License-Identifier: GPL-3.0-or-later
"""Light on the points of a person: soft shadows from depth maps, highlights, wrinkles' shade, sheen along hair.

Shadow maps are drawn by the product's own rasteriser from every direction that light comes from, once a person. A colour
for each point and view is then a sum over directions (precomputed visibility, as Sloan et al. 2002, without harmonics).
"""

from dataclasses import dataclass

import numpy as np

from loquent.core.geometry.cameras import look_at
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.holdout import mesh_depth
from loquent.core.splats.rasterize import rasterize

from .light import Light

MAP, HALF, FAR = 112, 0.27, 4.0
"""Pixels of a shadow map; metres from its middle to its edge; distance of the lamp."""
CENTRE = np.array([0.0, -0.045, 0.0])


@dataclass(frozen=True)
class Surface:
    """What does not change with the view. albedo: (n, 3); rough: (n,); gloss: (n,) factor on highlights.

    hair: (n,) bool, the others are discs. wrap: (n,) how far light creeps round, 0..1.
    """

    albedo: np.ndarray
    rough: np.ndarray
    gloss: np.ndarray
    hair: np.ndarray
    wrap: np.ndarray


def visibility(
    positions: np.ndarray, outward: np.ndarray, directions: np.ndarray, sharp: np.ndarray, mesh: tuple[np.ndarray, np.ndarray],
    hair: Gaussians | None, size: int = MAP,
) -> np.ndarray:  # fmt: skip
    """(n, D) float32 0..1: share of light from (D, 3) directions that reaches each of (n, 3) positions past mesh and hair.

    sharp: (n,) metres of depth in which a shadow sets in; as far off the surface, along (n, 3) outward, it is looked up.
    """
    out = np.empty((len(positions), len(directions)), np.float32)
    lifted = (positions + outward * sharp[:, None]).astype(np.float32)
    slope, bias = (-1 / sharp).astype(np.float32), np.float32(0.4) * sharp
    for k, d in enumerate(directions):
        up = (0.0, 1.0, 0.0) if abs(d[1]) < 0.95 else (0.0, 0.0, 1.0)
        camera = look_at(CENTRE + FAR * d, CENTRE, up=up, fov_y=2 * np.arctan(HALF / FAR), width=size, height=size)
        depth = mesh_depth((mesh,), camera, threads=1)
        if hair is not None:
            layers = rasterize(hair, camera, threads=1)
            depth = np.where(layers.alpha > 0.5, np.minimum(depth, layers.depth), depth)
        p = lifted @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        scale = camera.K[0, 0] / p[:, 2]
        column = np.clip(p[:, 0] * scale + size / 2, 0, size - 1).astype(np.int32)
        row = np.clip(p[:, 1] * scale + size / 2, 0, size - 1).astype(np.int32)
        out[:, k] = np.exp(np.maximum(p[:, 2] - depth[row, column] - bias, 0) * slope)
    return out


def shade(
    surface: Surface, positions: np.ndarray, axes: np.ndarray, outward: np.ndarray, seen: np.ndarray, key_seen: np.ndarray,
    cavity: np.ndarray, light: Light, eye: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """(n, 3) linear colours towards a camera at `eye` (3,).

    axes: (n, 3) normals of discs, tangents of hair. outward: (n, 3) normals (of the head, for hair). seen: (n, D), key_seen: (n,)
    and cavity: (n,) 0..1, shadows.
    """
    hair, disc = np.flatnonzero(surface.hair), np.flatnonzero(~surface.hair)
    wrap = surface.wrap[:, None]
    weight = outward @ light.directions.T
    along = axes[hair] @ light.directions.T
    of_hair = np.sqrt(np.maximum(1 - along * along, 0)) * (0.45 + 0.35 * weight[hair])
    weight += wrap
    np.maximum(weight, 0, out=weight)
    weight /= 1 + wrap
    weight[hair] = of_hair
    weight *= seen
    total = soft = weight @ light.radiance
    if light.key_colour.any():
        c = (outward @ light.key)[:, None]
        spread = wrap * np.array([1.5, 0.7, 0.4], np.float32)
        direct = np.maximum(c + spread, 0) / (1 + spread)
        a = axes[hair] @ light.key
        direct[hair] = np.sqrt(np.maximum(1 - a * a, 0))[:, None] * np.clip(0.45 + 0.55 * c[hair], 0, 1)
        total = soft + direct * key_seen[:, None] * light.key_colour
    shadow = 1 - (1 - cavity[:, None]) * np.array(
        [0.85, 1.04, 1.08], np.float32
    )  # light that leaves a fold of skin is red
    colour = surface.albedo * total * shadow
    view = eye.astype(np.float32) - positions
    view /= np.sqrt((view * view).sum(1, keepdims=True))
    nearest = [np.argsort(-(light.directions @ b))[:3] for b in light.boxes]
    lamps = [(b, c, seen[:, i].mean(1), 45.0) for b, c, i in zip(light.boxes, light.box_colours, nearest, strict=True)]
    if light.key_colour.any():
        lamps.append((light.key, light.key_colour, key_seen, 900.0))
    facing = np.clip((outward[disc] * view[disc]).sum(1), 0, 1)
    power = np.clip(2 / np.maximum(surface.rough[disc], 0.05) ** 4 - 2, 1, 1500)
    gloss = surface.gloss[disc]
    for towards, tint, reaches, widest in lamps:
        half = view + towards
        half /= np.sqrt((half * half).sum(1, keepdims=True)) + 1e-9
        sharpness = 1 / (1 / power + 1 / np.where(gloss > 2, 4 * widest, widest))
        fresnel = 0.03 + (gloss < 2) * 0.97 * (1 - np.clip((half[disc] * view[disc]).sum(1), 0, 1)) ** 5
        lobe = np.clip((half[disc] * outward[disc]).sum(1), 1e-6, 1) ** sharpness * (sharpness + 8) / 8
        lobe *= np.clip(outward[disc] @ towards, 0, 1) * fresnel * gloss * reaches[disc] * cavity[disc]
        colour[disc] += lobe[:, None] * tint
        if len(hair):
            across = np.sqrt(np.clip(1 - (axes[hair] * half[hair]).sum(1) ** 2, 0, 1))
            white = 0.035 * across**90 + 0.015 * across**30
            lit = surface.gloss[hair] * reaches[hair] * np.clip(0.3 + 0.7 * (outward[hair] @ towards), 0, 1)
            colour[hair] += (white[:, None] + (0.38 * across**16)[:, None] * surface.albedo[hair]) * lit[:, None] * tint
    rim = 0.22 * (1 - facing) ** 4 * np.minimum(gloss, 1) * cavity[disc]
    colour[disc] += rim[:, None] * soft[disc]
    return colour.astype(np.float32)
