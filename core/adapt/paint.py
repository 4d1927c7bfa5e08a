# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours of a person's outside from one photo: what is seen, else its mirror image, else what grows over from around.

Mirror images are brought to the light of their own side: the ratio of left to right, known where both are seen, is spread
over the rest. Nothing stays black (MGGTalk's symmetry, Gong et al. 2025, without a network).
"""

from dataclasses import dataclass

import numpy as np

from ..capture.matte import box
from .complexion import Complexion
from .hair import Hair, ring, skull
from .picture import sampled
from .shot import MOUTH, OUTER, Shot
from .surface import Mirror, Slots, kinds
from .surface import lids as lid_mask

ROUNDS = 400
"""Of spreading over the mesh: enough to cross the back of the head."""
LIGHT_RATIO = 3.0
"""How much brighter or darker than its mirror image a side may be."""
LID = 0.7
"""Share of the cheeks' colour in that of closed lids."""


@dataclass(frozen=True)
class Painted:
    """colours (N, 3) linear. seen, mirrored (N,) 0..1: how much of the colour is the photo's there, and at the mirror
    image; the rest was spread."""

    colours: np.ndarray
    seen: np.ndarray
    mirrored: np.ndarray


LIDS, ELSEWHERE = 0.0032, 0.0018
"""Metres from eyes and teeth within which colours are not believed: on lids and open lips, and elsewhere."""


def _reach(shot: Shot, metres: float) -> int:
    return max(1, round(metres / shot.pixel))


def _seen(
    shot: Shot, slots: Slots, wide: np.ndarray, close: np.ndarray, margin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and weights of slots; on the margins (N,) 0..1 of eyes and mouth the careful map is asked."""
    colours, careful = shot.look(slots, OUTER, wide)
    return colours, (margin * careful + (1 - margin) * shot.look(slots, OUTER, close)[1]).astype(np.float32)


def paint(shot: Shot, slots: Slots, other: Mirror, skin: np.ndarray) -> Painted:
    """Colours of slots on the skin and cloth. skin: (3,) linear, of the cheeks."""
    wide, close = shot.trust(OUTER, _reach(shot, LIDS)), shot.trust(OUTER, _reach(shot, ELSEWHERE))
    head = shot.head
    lid = lid_mask(head)
    margins = np.maximum(lid, head.masks["lips"]) if (shot.first == MOUTH).any() else lid
    margin = np.clip(2 * slots.of(margins, head.faces) - 0.4, 0, 1)
    colours, seen = _seen(shot, slots, wide, close, margin)
    there, exists = other.of(slots)
    image, image_seen = _seen(shot, there, wide, close, margin)
    image_seen = image_seen * exists
    ratio = _light(shot, slots, colours, image, np.minimum(seen, image_seen))
    image = image * ratio
    lids = np.clip(1.5 * slots.of(lid, head.faces) - 0.25, 0, 1)
    # the photo's lids are creased and shaded by lashes; closed, they are plain skin
    seen, image_seen = seen * (1 - lids), image_seen * (1 - lids)
    own = seen
    second = (1 - own) * image_seen
    known = own + second
    base = (own[:, None] * colours + second[:, None] * image) / np.maximum(known, 1e-6)[:, None]
    over = grown(shot, slots, base, known)
    # what grows over a lid is shade and brow from above it
    over = over + LID * lids[:, None] * (0.85 * skin - over)
    share = np.clip((known - 0.12) / 0.45, 0, 1)[:, None]
    return Painted((share * base + (1 - share) * over).astype(np.float32), own, second)


def _light(shot: Shot, slots: Slots, colours: np.ndarray, image: np.ndarray, both: np.ndarray) -> np.ndarray:
    """(N, 3) how much brighter each place is than its mirror image, smooth over the head."""
    log = np.log((np.maximum(colours, 0) + 0.01) / (np.maximum(image, 0) + 0.01))
    sure = both > 0.3
    values = on_vertices(shot, slots, np.clip(log, -1.5, 1.5), both * sure)
    field = spread(shot, *values, rounds=150, hold=0.02)
    field = np.clip(field, -np.log(LIGHT_RATIO), np.log(LIGHT_RATIO))
    return np.exp(slots.of(field, shot.head.faces))


def grown(shot: Shot, slots: Slots, colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, 3) colours spread over the mesh from the slots that have some."""
    sums, total = on_vertices(shot, slots, np.sqrt(np.maximum(colours, 0)), weights * (weights > 0.25))
    return slots.of(spread(shot, sums, total), shot.head.faces) ** 2


def on_vertices(shot: Shot, slots: Slots, values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sums (V, C) and weights (V,) of the slots round each vertex."""
    count = len(shot.vertices)
    corners = shot.head.faces[slots.triangles]
    sums, total = np.zeros((count, values.shape[1])), np.zeros(count)
    for k in range(3):
        w = slots.bary[:, k] * weights
        total += np.bincount(corners[:, k], w, count)
        for c in range(values.shape[1]):
            sums[:, c] += np.bincount(corners[:, k], w * values[:, c], count)
    return sums, total


def spread(shot: Shot, sums: np.ndarray, total: np.ndarray, rounds: int = ROUNDS, hold: float = 1.0) -> np.ndarray:
    """(V, C): the heat equation's rest state over the mesh, vertices with weight held to their values; `hold` below 1 lets
    them give in to their neighbours, for what should be smooth."""
    faces = shot.head.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    outside = shot.head.parts["skin"].stop
    edges = edges[(edges < outside).all(1)]
    a, b = np.concatenate([edges, edges[:, ::-1]]).T
    count = len(total)
    degree = np.bincount(a, minlength=count)
    pull = hold * np.minimum(total / 0.3, 1) * np.maximum(degree, 1)
    known = sums / np.maximum(total, 1e-9)[:, None]
    mean = sums.sum(0) / max(total.sum(), 1e-9)
    field, filled = known.copy(), (total > 0) & (pull > 0)
    while True:  # first the nearest known colour, ring by ring; the rounds below only smooth that
        count_known = np.bincount(a, filled[b], count)
        fresh = ~filled & (count_known > 0)
        if not fresh.any():
            break
        sums_known = np.stack([np.bincount(a, field[b, c] * filled[b], count) for c in range(field.shape[1])], 1)
        field[fresh] = sums_known[fresh] / count_known[fresh, None]
        filled = filled | fresh
    field[~filled] = mean
    stiff = pull * 50 if hold == 1.0 else pull
    for _ in range(rounds):
        around = np.stack([np.bincount(a, field[b, c], count) for c in range(field.shape[1])], 1)
        # half steps: whole ones swing for ever between the two colours of a chess board
        field = 0.5 * field + 0.5 * (around + stiff[:, None] * known) / np.maximum(degree + stiff, 1e-9)[:, None]
    return field


def paint_hair(
    shot: Shot, look: Complexion, hair: Hair, points: np.ndarray, normals: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) and 0..1 how far they are seen, of points (N, 3) on the lifted mesh with normals (N, 3)."""
    pixels, _ = shot.seen_from(points)
    facing = shot.facing(points, normals)
    share = sampled(look.hair, pixels)
    edge = sampled(shot.matte, pixels)
    seen = (
        np.clip((facing - 0.05) / 0.3, 0, 1) * np.clip((share - 0.25) / 0.3, 0, 1) * np.clip((edge - 0.8) / 0.2, 0, 1)
    )
    front = sampled(shot.light, pixels)
    at, near = ring(hair.outline, shot, points)
    calm = 1 - box((look.hair < 0.6).astype(np.float32), max(1, round(0.0015 / shot.pixel)))
    folded, sure = sampled(shot.light, at), np.clip((sampled(calm, at) - 0.7) / 0.25, 0, 1) * near
    behind = grown_hair(shot, look, points, rng)
    behind = np.exp(np.log(behind) + sure[:, None] * (np.log(np.maximum(folded, 1e-3)) - np.log(behind)))
    return (seen[:, None] * front + (1 - seen[:, None]) * behind).astype(np.float32), seen.astype(np.float32)


def outside_slots(slots: Slots, head) -> np.ndarray:
    """(N,) whether a slot is on what the photo shows of skin and clothes."""
    return np.isin(kinds(head)[slots.triangles], ("skin", "lips"))


def grown_hair(shot: Shot, look: Complexion, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) colours of hair that nobody sees: the seen hair's colour and contrast, in strands from the crown downwards."""
    chin = shot.seen_from(shot.vertices[[shot.head.landmarks["chin"]]])[0][0, 1]
    inside = (look.hair > 0.8) & (np.arange(shot.side)[:, None] < chin)
    logs = (
        np.log(np.maximum(shot.light[inside], 1e-3))
        if inside.any()
        else np.log(np.maximum(look.hair_colour, 1e-3))[None]
    )
    middle, contrast = np.median(logs, 0), float(np.clip(logs.mean(1).std(), 0.05, 0.45))
    offset = points - skull(shot)
    up = shot.vertices[shot.head.masks["scalp"] > 0.5].mean(0) - shot.vertices[shot.head.landmarks["chin"]]
    up = up / np.linalg.norm(up)
    rise = offset @ up
    flat = offset - rise[:, None] * up
    around = np.arctan2(flat[:, 0], flat[:, 2])
    down = np.arccos(np.clip(rise / np.maximum(np.linalg.norm(offset, axis=1), 1e-6), -1, 1))
    noise = 0.6 * _noise(around * 26, down * 3.0, rng) + 0.4 * _noise(around * 60, down * 5.0, rng)
    light = np.interp(down, [0, 0.9, 2.2], [0.45, 0.2, -0.2]) * contrast
    return np.exp(middle + (0.55 * contrast * noise + light)[:, None])


def _noise(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) smooth random values of variance about 1, which change over one unit of u and of v."""
    table = rng.standard_normal((64, 512))
    a, b = np.floor(v).astype(int), np.floor(u).astype(int)
    fa, fb = v - a, u - b
    fa, fb = fa * fa * (3 - 2 * fa), fb * fb * (3 - 2 * fb)
    at = lambda i, j: table[(a + i) % 64, (b + j) % 512]  # noqa: E731
    return 1.5 * ((at(0, 0) * (1 - fb) + at(0, 1) * fb) * (1 - fa) + (at(1, 0) * (1 - fb) + at(1, 1) * fb) * fa)
