# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fit to a film begins with: Gaussians in UV order on the parametric head, and which of them are neighbours."""

from dataclasses import dataclass

import numpy as np

from ..head.head import Head
from ..prior.visual.maps import gaussians_of, start_map
from ..splats.binding import Binding
from ..splats.gaussians import SH_C0
from ..splats.uv_layout import VOLUME, UvLayout, uv_layout
from .gaussian_head import Bounds, bounds_by_region

SIZE = 160
"""Of the UV map to begin with: some 37,000 slots; a fit splits those that show detail."""


@dataclass(frozen=True)
class Start:
    """N bound Gaussians; bounds; pairs (P, 2) of neighbours on the surface; layout: whose slots they are, or None."""

    binding: Binding
    opacities: np.ndarray
    harmonics: np.ndarray
    bounds: Bounds
    pairs: np.ndarray
    layout: UvLayout


def start_of(head: Head, betas: np.ndarray, size: int = SIZE, values: np.ndarray | None = None) -> Start:
    """Of a person: of a plain head, or of the prior's map `values` (M, 14) on the layout of that size."""
    layout = uv_layout(head, size)
    values = start_map(head, layout, betas) if values is None else values
    binding, opacities, harmonics = gaussians_of(values, layout, head, betas)
    loose = layout.layer == VOLUME
    bounds = bounds_by_region(head, layout.triangles, loose)
    return Start(binding, opacities, harmonics, bounds, neighbours(layout), layout)


def neighbours(layout: UvLayout) -> np.ndarray:
    """(P, 2) slots beside each other on the map, in one layer and region."""
    table = np.full((2, layout.size + 1, layout.size + 1), -1)
    table[layout.layer, layout.rows, layout.cols] = np.arange(len(layout))
    pairs = []
    for down, right in ((0, 1), (1, 0)):
        other = table[layout.layer, layout.rows + down, layout.cols + right]
        own = np.flatnonzero(other >= 0)
        own = own[layout.regions[own] == layout.regions[other[own]]]
        pairs.append(np.stack([own, other[own]], 1))
    return np.concatenate(pairs)


def filled_colours(start: Start, colours: np.ndarray, seen: np.ndarray, head: Head) -> np.ndarray:
    """(N, 3) linear colours where pictures show them (seen (N,) 0..1 says how well), elsewhere what is likely.

    Skin, hair and cloth that no picture shows take the colour of the nearest that one shows, or of the other side of the head;
    what is inside the mouth keeps its plain colour, in this film's light.
    """
    layout = start.layout
    plain = start.harmonics[:, 0] * SH_C0 + 0.5
    skin = np.isin(layout.regions, [head.region_names.index(n) for n in ("skin", "lips")])
    shown = (seen > 0.5) & skin
    light = (colours[shown].mean() / max(plain[shown].mean(), 1e-3)).clip(0.05, 3) if shown.any() else 1.0
    likely = plain * np.where(skin, light, min(light, 1.0))[:, None]
    mirror = layout.mirror
    own = colours * seen[:, None] + (1 - seen[:, None]) * (colours[mirror] * seen[mirror][:, None])
    share = seen + (1 - seen) * seen[mirror]
    for mine in kinds(layout, head):
        for layer in (0, 1):
            slots = mine[layout.layer[mine] == layer]
            if len(slots) and share[slots].max(initial=0) > 0.3:
                likely[slots] = _pushed(layout, slots, own[slots], share[slots])
    known = np.clip(share, 0, 1)[:, None]
    return (own + (1 - known) * likely).astype(np.float32)


def kinds(layout: UvLayout, head: Head) -> list[np.ndarray]:
    """Slots of hair, of cloth and of bare skin, as far as the mesh tells: what is hidden is taken for what is shown of its kind."""
    skin = np.isin(layout.regions, [head.region_names.index(n) for n in ("skin", "lips")])
    faces = head.faces[layout.triangles]
    scalp = head.masks["scalp"][faces].mean(1) > 0.5
    y = head.template[faces, 1].mean(1)
    cloth = y < -0.125
    return [np.flatnonzero(skin & which) for which in (scalp, cloth, ~scalp & ~cloth)]


def below(layout: UvLayout) -> np.ndarray:
    """(M,) the slot of the surface that each slot lies above, or is."""
    table = np.zeros((layout.size, layout.size), np.int64)
    first = np.flatnonzero(layout.layer != VOLUME)
    table[layout.rows[first], layout.cols[first]] = first
    return table[layout.rows, layout.cols]


def _pushed(layout: UvLayout, slots: np.ndarray, weighted: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(n, 3) colours for `slots` of one layer: `weighted` (n, 3) = colour times `share` (n,), spread over the map coarser and
    coarser until every slot has one (push and pull, Gortler et al. 1996, "The Lumigraph")."""
    side = 1 << int(np.ceil(np.log2(layout.size)))
    grid = np.zeros((side, side, 4))
    grid[layout.rows[slots], layout.cols[slots]] = np.concatenate([weighted, share[:, None]], 1)
    levels = [grid]
    while len(levels[-1]) > 1:
        g = levels[-1]
        half = g.reshape(len(g) // 2, 2, len(g) // 2, 2, 4).sum((1, 3))
        levels.append(half / np.maximum(half[..., 3:], 1))
    colour = levels[-1][..., :3] / np.maximum(levels[-1][..., 3:], 1e-9)
    for g in reversed(levels[:-1]):
        up = colour.repeat(2, 0).repeat(2, 1)
        known = np.clip(g[..., 3:], 0, 1)
        colour = g[..., :3] / np.maximum(g[..., 3:], 1e-9) * known + up * (1 - known)
    return colour[layout.rows[slots], layout.cols[slots]]
