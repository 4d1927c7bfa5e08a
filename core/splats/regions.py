# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a person each Gaussian belongs to: what mattes are made of.

A Gaussian takes the region of the triangle that carries it. Three things no triangle knows. Hair is what the scalp carries,
what hangs further than HANGING from its skin (long hair is bound to the scalp or to the nearest neck), and the spindles of
brows and beard. Skin that follows the shoulders is body: clothes are painted and fitted there.
"""

from typing import TYPE_CHECKING

import numpy as np

from ..geometry.triangles import triangle_frames

if TYPE_CHECKING:  # names of regions are wanted where no head is
    from ..head.head import Identity
    from .binding import Binding

REGIONS = ("skin", "hair", "eyes", "teeth", "lips", "mouth", "body")
"""Names of mattes, in the order of region indices."""
SHOULDERS = 0.84
"""Weight of the root joint, which no turn of the head moves, from which skin is body: the collar of both built-in heads."""
OF_TRIANGLE = {
    "skin": "skin", "lips": "lips", "eye_left": "eyes", "eye_right": "eyes", "teeth_upper": "teeth",
    "teeth_lower": "teeth", "gums": "mouth", "tongue": "mouth", "mouth_interior": "mouth", "lashes": "hair",
}  # fmt: skip
HANGING = 0.02
"""Metres from the middle of its triangle."""
SPINDLE = 4.0
"""Length over width from which a Gaussian on brows or beard is a hair rather than skin."""


def gaussian_regions(person: "Identity", binding: "Binding") -> np.ndarray:
    """(N,) uint8 indices into REGIONS. About 5 ms for 60,000 Gaussians: once a head, not once a frame."""
    head, triangles = person.head, binding.triangles
    names = [REGIONS.index(OF_TRIANGLE.get(name, "skin")) for name in head.region_names]
    out = np.array(names, np.uint8)[head.regions[triangles]]
    skin = out == REGIONS.index("skin")
    masks = {name: mask[head.faces].mean(1)[triangles] for name, mask in head.masks.items()}
    none = np.zeros(len(triangles), np.float32)
    sizes = triangle_frames(person.template, head.faces)[2][triangles]
    hanging = np.linalg.norm(binding.offsets, axis=1) * sizes > HANGING
    widths = np.sort(binding.scales, axis=1)
    grown = sum((masks.get(name, none) for name in ("brow_left", "brow_right", "beard")), none) > 0.3
    spindles = widths[:, 2] > SPINDLE * widths[:, 1]
    body = head.weights[head.faces, 0].mean(1)[triangles] > SHOULDERS
    out[skin & body] = REGIONS.index("body")
    out[skin & ~body & ((masks.get("scalp", none) > 0.5) | hanging | (grown & spindles))] = REGIONS.index("hair")
    return out


def surface_normals(person: "Identity", binding: "Binding", vertices: np.ndarray) -> np.ndarray:
    """(N, 3) float32 of length 1: how the skin of a posed head (V, 3) is turned where each Gaussian sits.

    Smooth over the triangles' corners. Hair hangs elsewhere: see what its own shape says instead.
    """
    faces = person.head.faces
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)  # weighted by area
    corners = np.stack(
        [sum(np.bincount(faces[:, k], flat[:, axis], len(vertices)) for k in range(3)) for axis in range(3)], -1
    )
    smooth = corners[faces].mean(1)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-12)
    return smooth[binding.triangles].astype(np.float32)
