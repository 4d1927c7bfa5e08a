# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as numbers on the slots of its UV layout, 14 a slot, and the bound Gaussians that they mean.

Columns: offset 3, log scale 3, rotation 4 (wxyz), colour 3 (scene-linear), opacity 1 (logit). Offsets and scales are in the
slot's frame (u, normal, their cross product; see UvLayout) and in its pitch, which grows with the person's triangles, so
that one map fits every identity; an offset of zero lies on the skin. The torch twin is maps_torch.py.
"""

from dataclasses import dataclass

import numpy as np

from ...geometry.rotations import quat_multiply_wxyz
from ...geometry.triangles import barycentric_points, triangle_frames
from ...head.head import Head, identity
from ...splats.binding import Binding
from ...splats.gaussians import SH_C0
from ...splats.uv_layout import VOLUME, VOLUME_RISE, UvLayout

OFFSET, SCALE, ROTATION, COLOUR, OPACITY = slice(0, 3), slice(3, 6), slice(6, 10), slice(10, 13), 13
CHANNELS = 14

PITCHES, ALONG, ACROSS = (0.002, 0.005), (0.60, 0.80), 0.10
"""Standard deviations of a start disc along the skin in texel spacings, at two pitches in metres, and across in pitches."""
SKIN, LIP, HAIR, CLOTH = (0.46, 0.28, 0.21), (0.36, 0.13, 0.12), (0.030, 0.021, 0.015), (0.05, 0.06, 0.09)
PLAIN = {
    "skin": SKIN, "lips": LIP, "teeth_upper": (0.60, 0.55, 0.46), "teeth_lower": (0.55, 0.50, 0.42),
    "gums": (0.30, 0.10, 0.09), "tongue": (0.26, 0.09, 0.09), "mouth_interior": (0.05, 0.012, 0.010),
    "lashes": (0.012, 0.009, 0.008),
}  # fmt: skip
"""Colours of a person of whom nothing is known."""


@dataclass(frozen=True)
class Places:
    """What ties slots to one person's triangles: base (M, 3) and unit (M,) in triangle frames, spins (M, 4) wxyz."""

    base: np.ndarray
    unit: np.ndarray
    spins: np.ndarray


def places(layout: UvLayout, head: Head, betas: np.ndarray | None = None) -> Places:
    """Where the slots of a person lie in the frames of their triangles."""
    rest = identity(head, betas).template
    faces = head.faces[layout.triangles]
    origins, rotations, sizes = triangle_frames(rest.astype(np.float32), head.faces)
    origins, rotations, sizes = (x[layout.triangles] for x in (origins, rotations, sizes))
    points = np.einsum("nk,nkd->nd", layout.bary, rest[faces])
    base = np.einsum("nji,nj->ni", rotations, points - origins) / sizes[:, None]
    mean = triangle_frames(head.template, head.faces)[2][layout.triangles]
    half = layout.spins / 2
    zero = np.zeros_like(half)
    return Places(
        base.astype(np.float32),
        (layout.pitch / mean).astype(np.float32),
        np.stack([np.cos(half), zero, np.sin(half), zero], 1).astype(np.float32),
    )


def gaussians_of(
    values: np.ndarray, layout: UvLayout, head: Head, betas: np.ndarray | None = None
) -> tuple[Binding, np.ndarray, np.ndarray]:
    """Bound Gaussians of values (M, 14): the Binding, opacities (M,) and harmonics (M, 1, 3)."""
    values = np.asarray(values, np.float32)
    p = places(layout, head, betas)
    cosine, sine = np.cos(layout.spins), np.sin(layout.spins)
    x, y, z = (values[:, OFFSET] * p.unit[:, None]).T
    turned = np.stack([cosine * x + sine * z, y, cosine * z - sine * x], 1)
    quats = values[:, ROTATION] / np.maximum(np.linalg.norm(values[:, ROTATION], axis=1, keepdims=True), 1e-8)
    binding = Binding(
        layout.triangles,
        p.base + turned,
        quat_multiply_wxyz(p.spins, quats).astype(np.float32),
        np.exp(values[:, SCALE]) * p.unit[:, None],
    )
    harmonics = ((values[:, COLOUR] - 0.5) / SH_C0)[:, None]
    return binding, 1 / (1 + np.exp(-values[:, OPACITY])), harmonics.astype(np.float32)


def start_map(head: Head, layout: UvLayout, betas: np.ndarray | None = None) -> np.ndarray:
    """(M, 14) of a plain closed head: opaque discs on the surface, and a faint layer above hair, beard and cloth.

    betas change nothing here: the map is in units that grow with the person.
    """
    del betas
    out = np.zeros((len(layout), CHANNELS), np.float32)
    out[:, 6] = 1
    along = np.interp(layout.pitch, PITCHES, ALONG)
    ratio = layout.spacing / layout.pitch[:, None]
    out[:, 3], out[:, 5] = np.log(along * ratio[:, 0]), np.log(along * ratio[:, 1])
    out[:, 4] = np.log(ACROSS)
    out[:, OPACITY] = 4.5
    out[:, COLOUR] = plain_colours(head, layout)
    out[_rim(layout), 3:6:2] += np.log(1.45)  # seams of the map are closed from both sides
    lashes = layout.regions == head.region_names.index("lashes")
    out[lashes, OPACITY] = -1.0
    out[lashes, 3:6] += np.log(0.55)
    volume = layout.layer == VOLUME
    out[volume, 1] = VOLUME_RISE / layout.pitch[volume]
    out[volume, 4] = np.log(0.35)
    out[volume, OPACITY] = -4.0
    return out


def plain_colours(head: Head, layout: UvLayout) -> np.ndarray:
    """(M, 3) linear colours of a head of whom nothing is known but where its parts are."""
    out = np.zeros((len(layout), 3), np.float32)
    for name, colour in PLAIN.items():
        out[layout.regions == head.region_names.index(name)] = colour
    points = barycentric_points(head.template, head.faces, layout.triangles, layout.bary)
    for joint, name in ((3, "eye_left"), (4, "eye_right")):
        mine = layout.regions == head.region_names.index(name)
        d = points[mine] - head.joints[joint]
        angle = np.arccos(np.clip(d[:, 2] / np.linalg.norm(d, axis=1), -1, 1))[:, None]
        white, iris, pupil = (np.array(c) for c in ((0.50, 0.46, 0.44), (0.07, 0.045, 0.03), (0.004, 0.004, 0.004)))
        eye = np.where(angle < 0.385, iris * np.where(angle > 0.33, 0.4, 1.0), white)
        out[mine] = np.where(angle < 0.14, pupil, eye)
    inside = layout.regions == head.region_names.index("mouth_interior")
    out[inside] *= np.interp(points[inside, 2], [0.05, 0.085], [0.15, 1.6])[:, None].astype(np.float32)
    skin = layout.regions == head.region_names.index("skin")
    scalp = _soft(head.masks["scalp"], head, layout)
    below = np.clip((-0.125 - points[:, 1]) / 0.01, 0, 1) * skin
    for weight, colour in ((scalp, HAIR), (below, CLOTH)):
        out += weight[:, None].astype(np.float32) * (np.array(colour, np.float32) - out)
    volume = layout.layer == VOLUME
    above = np.where(points[:, 1:2] > -0.125, np.where(scalp[:, None] > 0.3, HAIR, SKIN), CLOTH)
    out[volume] = above[volume]
    return out


def _rim(layout: UvLayout) -> np.ndarray:
    """(M,) slots of layer 0 beside which the map is empty."""
    used = np.zeros((layout.size + 2, layout.size + 2), bool)
    used[layout.rows + 1, layout.cols + 1] = True
    full = used[2:, 1:-1] & used[:-2, 1:-1] & used[1:-1, 2:] & used[1:-1, :-2]
    return ~full[layout.rows, layout.cols] & (layout.layer != VOLUME)


def _soft(mask: np.ndarray, head: Head, layout: UvLayout) -> np.ndarray:
    return np.einsum("nk,nk->n", layout.bary, mask[head.faces[layout.triangles]])
