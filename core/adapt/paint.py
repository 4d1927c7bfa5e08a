# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours of a person's outside from one photo: what is seen, else its mirror image, else what grows over from around.

Mirror images are brought to the light of their own side: the ratio of left to right, known where both are seen, is spread
over the rest. Nothing stays black (MGGTalk's symmetry, Gong et al. 2025, without a network).
"""

from dataclasses import dataclass

import numpy as np

from ..capture.matte import box
from ..geometry.triangles import vertex_normals
from ..head.head import Head
from .complexion import Complexion
from .hair import Hair, ring, skull
from .picture import sampled
from .shot import BUST, MOUTH, OUTER, Shot
from .surface import Mirror, Slots, kinds
from .surface import lids as lid_mask

ROUNDS = 400
"""Of spreading over the mesh: enough to cross the back of the head."""
LIGHT_RATIO = 3.0
"""How much brighter or darker than its mirror image a side may be."""
LID = 0.92
"""Share of the cheeks' colour in that of closed lids; the rest comes from around them, where brows are."""
MIDDLE = 0.6
"""Share of the hair's middle colour right behind the head."""


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
    behind = behind_neck(slots, head)[:, None]
    over = over + behind * (around_neck(slots, head, colours, own, over) - over)
    over = _downwards(slots, head, colours, own, over, skin)
    # what grows over a lid is shade and brow from above it
    over = over + LID * lids[:, None] * (0.82 * skin - over)
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


NECK = (-0.062, -0.050)
"""Heights on the mean head below which the neck's and the bust's back take their colours from their sides."""
BAND = 0.004
"""Metres of height that share one colour."""
COLUMN, LAST_SEEN = 0.006, 0.015
"""Metres of width that share one colour below the photo's edge, and of height that it is taken from."""
THROAT, BARE, SHOULDERS = 0.012, 0.4, 0.05
"""Metres that a bare throat goes on below the photo's edge; how far the tints of skin lie apart, in logarithms; metres from the
middle, from which on clothes are looked for."""
OUTERMOST = 0.35
"""Radians round the neck, counted from the farthest seen place, whose colours go on behind it."""


def _round_neck(slots: Slots, head: Head) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) metres to the left and up on the mean head, and radians round the neck's axis, 0 in front."""
    x, y, z = slots.of(head.template, head.faces).T
    skin = head.template[head.parts["skin"]]
    neck = skin[np.abs(skin[:, 1] - BUST) < 0.01]
    return x, y, np.arctan2(x, z - 0.5 * (neck[:, 2].min() + neck[:, 2].max()))


def behind_neck(slots: Slots, head: Head) -> np.ndarray:
    """(N,) 0..1: on the back of the neck and the bust."""
    _, y, angle = _round_neck(slots, head)
    low = np.clip((NECK[1] - y) / (NECK[1] - NECK[0]), 0, 1)
    return low * np.clip((np.abs(angle) - 0.5) / 0.4, 0, 1)


def around_neck(slots: Slots, head: Head, colours: np.ndarray, seen: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """(N, 3) colours that go on round the neck at their own height, as collars do. What spreads evenly in all directions mixes
    collar, skin and coat to grey; the middle of each height's outermost seen colours does not."""
    x, y, angle = _round_neck(slots, head)
    bands = np.round((y - y.min()) / BAND).astype(int)
    sides = []
    for side in (1, -1):
        mine = np.flatnonzero((seen > 0.35) & (side * angle > 0.6) & (y < NECK[1] + 0.02))
        profile, rows = np.zeros((bands.max() + 1, 3)), []
        for band in np.unique(bands[mine]):
            here = mine[np.abs(bands[mine] - band) <= 1]
            here = here[side * angle[here] > (side * angle[here]).max() - OUTERMOST]
            profile[band] = np.median(colours[here], 0)
            rows.append(band)
        if rows:
            known = np.array(rows)
            nearest = known[np.abs(np.arange(len(profile))[:, None] - known[None]).argmin(1)]
            sides.append(profile[nearest])
        else:
            sides.append(None)
    left, right = (a if a is not None else b for a, b in (sides, sides[::-1]))
    if left is None or right is None:
        return otherwise
    mix = np.clip(0.5 + x / 0.06, 0, 1)[:, None]
    at = (y - y.min()) / BAND
    low = np.minimum(at.astype(int), len(left) - 2)
    part = (at - low)[:, None]
    between = lambda table: table[low] * (1 - part) + table[low + 1] * part  # noqa: E731
    return mix * between(left) + (1 - mix) * between(right)


def _downwards(
    slots: Slots, head: Head, colours: np.ndarray, seen: np.ndarray, otherwise: np.ndarray, skin: np.ndarray
) -> np.ndarray:
    """(N, 3) colours in front that go on straight down from the lowest that are seen, for photos end above the bust; under a
    bare throat the clothes beside it close."""
    x, y, angle = _round_neck(slots, head)
    columns = np.round((x - x.min()) / COLUMN).astype(int)
    mine = np.flatnonzero((seen > 0.35) & (np.abs(angle) < 1.5) & (y < BUST))
    table, lowest, known = np.zeros((columns.max() + 1, 3)), np.zeros(columns.max() + 1), []
    for column in np.unique(columns[mine]):
        here = mine[np.abs(columns[mine] - column) <= 1]
        here = here[y[here] < y[here].min() + LAST_SEEN]
        table[column], lowest[column] = np.median(colours[here], 0), y[here].min()
        known.append(column)
    if not known:
        return otherwise
    everywhere = np.arange(len(table))
    to_nearest = lambda some: np.array(some)[np.abs(everywhere[:, None] - np.array(some)[None]).argmin(1)]  # noqa: E731
    logs = np.log(np.maximum(table, 0) + 0.02) - np.log(skin + 0.02)
    bare = (np.abs(np.diff(logs, axis=1)).max(1) < BARE) & (np.abs(logs).max(1) < 1.5)
    off_middle = np.abs(x.min() + COLUMN * everywhere) > SHOULDERS  # skin in shade may look like cloth, not so far out
    clothed = [column for column in known if off_middle[column] and not bare[column]]
    nearest = to_nearest(known)
    closed = table[to_nearest(clothed)] if clothed else table[nearest]
    below = lowest[nearest][columns] - y
    share = np.clip(below / (0.3 * LAST_SEEN) + 1, 0, 1) * (y < BUST) * np.clip((1.3 - np.abs(angle)) / 0.3, 0, 1)
    goes_on = np.where(bare[nearest][columns] & (below > THROAT), 1.0, 0.0)[:, None]
    wanted = table[nearest][columns]
    wanted = wanted + goes_on * (closed[columns] - wanted)
    return otherwise + share[:, None] * (wanted - otherwise)


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
    shot: Shot, look: Complexion, hair: Hair, places: Slots, tone: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) of places on the lifted mesh, and 0..1 how far they are seen. tone (V, 3): what hair_tone gives."""
    points = places.of(hair.lifted, shot.head.faces)
    pixels = shot.seen_from(points)[0]
    seen = _hair_seen(shot, look, points, places.of(vertex_normals(hair.lifted, shot.head.faces), shot.head.faces))
    front = sampled(shot.light, pixels)
    at, near = ring(hair.outline, shot, points)
    calm = 1 - box((look.hair < 0.6).astype(np.float32), max(1, round(0.0015 / shot.pixel)))
    folded, sure = sampled(shot.light, at), np.clip((sampled(calm, at) - 0.7) / 0.25, 0, 1) * near
    behind = grown_hair(shot, look, points, places.of(tone, shot.head.faces), rng)
    behind = np.exp(np.log(behind) + sure[:, None] * (np.log(np.maximum(folded, 1e-3)) - np.log(behind)))
    return (seen[:, None] * front + (1 - seen[:, None]) * behind).astype(np.float32), seen.astype(np.float32)


def _hair_seen(shot: Shot, look: Complexion, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N,) 0..1: whether points (N, 3) of the hair's surface are what the photo shows there."""
    pixels = shot.seen_from(points)[0]
    share, edge = sampled(look.hair, pixels), sampled(shot.matte, pixels)
    facing = np.clip((shot.facing(points, normals) - 0.05) / 0.3, 0, 1)
    return facing * np.clip((share - 0.25) / 0.3, 0, 1) * np.clip((edge - 0.8) / 0.2, 0, 1)


def _hair_logs(shot: Shot, look: Complexion) -> np.ndarray:
    """(n, 3) logarithms of the light of what is hair above the chin."""
    chin = shot.seen_from(shot.vertices[[shot.head.landmarks["chin"]]])[0][0, 1]
    inside = (look.hair > 0.8) & (np.arange(shot.side)[:, None] < chin)
    found = shot.light[inside] if inside.any() else look.hair_colour[None]
    return np.log(np.maximum(found, 1e-3))


def hair_tone(shot: Shot, look: Complexion, hair: Hair) -> np.ndarray:
    """(V, 3) logarithms of the hair's colour without its strands: the seen hair's, and where none is seen the nearest's, which
    gives way to the middle of all of it towards the back."""
    pixels = shot.seen_from(hair.lifted)[0]
    seen = _hair_seen(shot, look, hair.lifted, vertex_normals(hair.lifted, shot.head.faces)) * (hair.hairy > 0.5)
    radius = max(1, round(0.006 / shot.pixel))
    weight = (look.hair > 0.6).astype(np.float32)
    total = np.maximum(box(weight, radius), 1e-3)
    logs = np.log(np.maximum(shot.light, 1e-3))
    smooth = np.stack([box(logs[..., c] * weight, radius) / total for c in range(3)], -1)
    seen = np.where(seen > 0.4, seen, 0)
    middle = np.median(_hair_logs(shot, look), 0)
    if not seen.any():
        return np.tile(middle, (len(seen), 1))
    near = spread(shot, sampled(smooth, pixels) * seen[:, None], seen, rounds=60)
    away = hair.lifted - skull(shot)
    behind = away @ shot.camera.world_to_camera[2, :3] / np.maximum(np.linalg.norm(away, axis=1), 1e-6)
    far = MIDDLE * np.clip(behind, 0, 1)[:, None]
    return near + far * (middle - near)


def outside_slots(slots: Slots, head) -> np.ndarray:
    """(N,) whether a slot is on what the photo shows of skin and clothes."""
    return np.isin(kinds(head)[slots.triangles], ("skin", "lips"))


def grown_hair(
    shot: Shot, look: Complexion, points: np.ndarray, tone: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N, 3) colours of hair that nobody sees: its tone (N, 3) in strands from the crown downwards, as uneven as the seen hair."""
    contrast = float(np.clip(_hair_logs(shot, look).mean(1).std(), 0.05, 0.45))
    offset = points - skull(shot)
    up = shot.vertices[shot.head.masks["scalp"] > 0.5].mean(0) - shot.vertices[shot.head.landmarks["chin"]]
    up = up / np.linalg.norm(up)
    rise = offset @ up
    flat = offset - rise[:, None] * up
    around = np.arctan2(flat[:, 0], flat[:, 2])
    down = np.arccos(np.clip(rise / np.maximum(np.linalg.norm(offset, axis=1), 1e-6), -1, 1))
    noise = 0.6 * _noise(around * 26, down * 3.0, rng) + 0.4 * _noise(around * 60, down * 5.0, rng)
    light = np.interp(down, [0, 0.9, 2.2], [0.2, 0.1, -0.2]) * contrast
    return np.exp(tone + (0.55 * contrast * noise + light)[:, None])


def _noise(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) smooth random values of variance about 1, which change over one unit of u and of v."""
    table = rng.standard_normal((64, 512))
    a, b = np.floor(v).astype(int), np.floor(u).astype(int)
    fa, fb = v - a, u - b
    fa, fb = fa * fa * (3 - 2 * fa), fb * fb * (3 - 2 * fb)
    at = lambda i, j: table[(a + i) % 64, (b + j) % 512]  # noqa: E731
    return 1.5 * ((at(0, 0) * (1 - fb) + at(0, 1) * fb) * (1 - fa) + (at(1, 0) * (1 - fb) + at(1, 1) * fb) * fa)
