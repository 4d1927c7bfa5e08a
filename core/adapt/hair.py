# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair as volume beyond the bald mesh, from one photo's outline.

Rays from the middle of the skull tell how far hair (or an ear) reaches beyond the mesh's silhouette. Every vertex is pushed
outwards by what its ray says: wholly at the silhouette, less towards the front, and at the back by what the whole outline
says, for nobody sees it. The back's colours are the ring of hair that is seen, folded over backwards.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..capture.matte import box
from ..splats.holdout import mesh_depth
from .complexion import Complexion
from .picture import sampled
from .shot import BUST, Shot

RAYS = 240
ROUNDS = 3
"""Of lifting hair until its silhouette is the photo's."""
FRONT = 0.35
"""Share of the outline's mean thickness that hair seen from the front has."""
THICKEST = 0.12
"""Metres beyond the mesh up to which hair is believed."""
LONGEST_RING = 0.25
MOST_WIDENED = 0.02
"""Metres."""
NAPE = -0.050
"""Height on the mean head down to which hair grows at the back."""
REACH = 0.022
"""Metres behind the rim up to which the ring's own picture is folded back; beyond grows hair of its kind."""


@dataclass(frozen=True)
class Outline:
    """Along RAYS from the skull's middle, clockwise from the right in the photo. middle (2,) pixels; mesh, edge (RAYS,)
    pixels to the mesh's silhouette and to the person's; hairy (RAYS,) 0..1; inner (RAYS,) pixels from which on hair goes on
    to the edge without a gap, and equal to the edge where there is no hair."""

    middle: np.ndarray
    mesh: np.ndarray
    edge: np.ndarray
    hairy: np.ndarray
    inner: np.ndarray

    def at(self, values: np.ndarray, angle: np.ndarray) -> np.ndarray:
        """Values (RAYS,) between the rays."""
        where = angle / (2 * np.pi) * RAYS
        low = np.floor(where).astype(int)
        mix = where - low
        return values[low % RAYS] * (1 - mix) + values[(low + 1) % RAYS] * mix


@dataclass(frozen=True)
class Hair:
    """hairy (V,) 0..1: how much hair grows there; lifted (V, 3): the vertices pushed out to the outline; outline."""

    hairy: np.ndarray
    lifted: np.ndarray
    outline: Outline
    thickness: float


def skull(shot: Shot) -> np.ndarray:
    """(3,) middle of the skull, in the photo's pose."""
    scalp = shot.head.masks["scalp"] > 0.5
    return 0.5 * (shot.vertices[scalp].min(0) + shot.vertices[scalp].max(0))


def outline(shot: Shot, look: Complexion) -> Outline:
    middle = shot.seen_from(skull(shot)[None])[0][0]
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    steps = np.arange(0, shot.side, 0.5)
    at = middle + steps[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], 1)[:, None]
    inside = ((at > 0.5) & (at < shot.side - 0.5)).all(-1)
    flat = at.reshape(-1, 2)
    bald_head = np.isfinite(mesh_depth([(shot.vertices, faces_above(shot.head, BUST))], shot.camera))
    mesh, person, hair = (
        (sampled(m.astype(np.float32), flat).reshape(inside.shape) > 0.5) & inside
        for m in (bald_head, shot.matte, look.hair)
    )
    first_out = lambda m: np.where(m.all(1), len(steps), (~m).argmax(1)) * 0.5  # noqa: E731
    bald, edge = first_out(mesh), first_out(person)
    index = np.arange(len(steps))[None] * 0.5
    rim = (index > edge[:, None] - 12) & (index < edge[:, None] - 1)
    share = (hair & rim).sum(1) / np.maximum(rim.sum(1), 1)
    chin = shot.seen_from(shot.vertices[[shot.head.landmarks["chin"]]])[0][0, 1]
    share = np.where(middle[1] + np.sin(angles) * edge < chin, share, 0)  # below are clothes, which may look like hair
    # long hair ends on the shoulders: where its colour does, if it hangs together with the hair above
    end = _run_end(hair | (index < bald[:, None]))
    hangs = (
        (end > bald + 2.0 / (shot.pixel * 1e3))
        & (np.sin(angles) < 0.82)
        & _joined(np.maximum(share > 0.4, end > bald + 3))
    )
    edge = np.where(hangs & (end < edge - 4), end, edge)
    share = np.where(hangs, 1.0, share)
    # from the edge inwards, hair until a gap of more than 3 pixels
    holes = ~hair
    gap = holes & np.roll(holes, 2, 1) & np.roll(holes, 4, 1) & np.roll(holes, 6, 1) & (index < edge[:, None] - 2)
    inner = np.where(gap.any(1), gap.shape[1] - 1 - gap[:, ::-1].argmax(1), 0) * 0.5
    inner = np.where(share > 0.4, np.minimum(inner, edge), edge)
    return Outline(middle, bald, edge, share, inner)


def faces_above(head, height: float) -> np.ndarray:
    """(n, 3) faces of the mesh above a height on the mean head."""
    return head.faces[(head.template[head.faces][..., 1] > height).all(1)]


def _run_end(hair: np.ndarray) -> np.ndarray:
    """(RAYS,) pixels at which the first run begins that is 3 pixels without hair."""
    bare = ~hair
    run = bare.copy()
    for k in range(1, 6):
        run &= np.concatenate([bare[:, k:], np.ones((len(bare), k), bool)], 1)
    return np.where(run.any(1), run.argmax(1), hair.shape[1]) * 0.5


def _joined(hairy: np.ndarray) -> np.ndarray:
    """(RAYS,) whether a ray is reached from the crown over hair alone, gaps of four rays forgiven."""
    out = np.zeros(RAYS, bool)
    for step in (1, -1):
        missed = 0
        for k in range(RAYS // 2):
            ray = (3 * RAYS // 4 + step * k) % RAYS
            missed = 0 if hairy[ray] else missed + 1
            if missed > 4:
                break
            out[ray] = True
    return out


def hair_of(shot: Shot, look: Complexion) -> Hair:
    """Where hair grows, and the mesh lifted to the photo's outline."""
    head = shot.head
    lines = outline(shot, look)
    to_camera = shot.camera.world_to_camera[:3, :3]
    centre = skull(shot)
    offset = shot.vertices - centre
    radius = np.linalg.norm(offset, axis=1)
    direction = offset / np.maximum(radius, 1e-6)[:, None]
    seen = direction @ to_camera.T
    angle = np.arctan2(seen[:, 1], seen[:, 0]) % (2 * np.pi)
    rim = np.hypot(seen[:, 0], seen[:, 1])
    back = seen[:, 2] > 0
    gap = np.clip((lines.edge - lines.mesh) * shot.pixel, 0, THICKEST)
    # next to an ear the outline is the ear's, not the hair's
    least = np.min([np.roll(gap, k) for k in range(-6, 7)], 0)
    ear = np.max([np.roll(lines.hairy < 0.4, k) for k in range(-6, 7)], 0)
    gap = _round_mean(np.where(ear, least, gap), 3)
    hairy_ray = _round_mean((lines.hairy > 0.4).astype(np.float64), 3)
    upper = hairy_ray > 0.5
    mean = float(gap[upper].mean()) if upper.any() else 0.0
    hairy = _hairy(shot, look, lines, hairy_ray, angle, rim, back)
    lifted = shot.vertices
    for _ in range(ROUNDS):
        own = lines.at(gap, angle)
        own = np.where(lines.at(hairy_ray, angle) > 0.5, own, np.minimum(own, mean))
        share = np.where(back, rim**2, rim**4)
        thickness = share * own + (1 - share) * mean * np.where(back, 1.0, FRONT)
        lift = _smooth(thickness * hairy, head, 6)
        lift[head.parts["skin"].stop :] = 0
        lifted = shot.vertices + lift[:, None] * direction
        # smoothing and slanting take away at the rim what the next round gives back
        short = (lines.edge - _reach_of(shot, lifted, lines)) * shot.pixel * (lines.hairy > 0.4) * ~ear
        gap = np.clip(gap + _round_mean(np.clip(short, -0.01, 0.02), 4), 0, THICKEST)
    return Hair(hairy, _without_ears(lifted, (head.masks["ears"] > 0.05) & (hairy > 0.4), head), lines, mean)


def _reach_of(shot: Shot, vertices: np.ndarray, lines: Outline) -> np.ndarray:
    """(RAYS,) pixels from the skull's middle to the silhouette of a head of these vertices (V, 3)."""
    mask = np.isfinite(mesh_depth([(vertices, faces_above(shot.head, BUST))], shot.camera)).astype(np.float32)
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    steps = np.arange(0, shot.side, 0.5)
    at = lines.middle + steps[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], 1)[:, None]
    covered = (sampled(mask, at.reshape(-1, 2)).reshape(RAYS, -1) > 0.5) & ((at > 0.5) & (at < shot.side - 0.5)).all(-1)
    return np.where(covered.all(1), len(steps), (~covered).argmax(1)) * 0.5


def widened(shot: Shot, look: Complexion) -> np.ndarray:
    """The mesh (V, 3) with ears and temples moved outwards to where the photo's outline shows skin beyond it: landmarks say
    little about the width of a skull and nothing about ears."""
    for _ in range(3):
        shot = replace(shot, vertices=_wider(shot, look))
    return shot.vertices


def _wider(shot: Shot, look: Complexion) -> np.ndarray:
    head = shot.head
    lines = outline(shot, look)
    offset = (shot.vertices - skull(shot)) @ shot.camera.world_to_camera[:3, :3].T
    angle = np.arctan2(offset[:, 1], offset[:, 0]) % (2 * np.pi)
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    chin = shot.seen_from(shot.vertices[[head.landmarks["chin"]]])[0][0, 1]
    above = lines.middle[1] + np.sin(angles) * lines.edge < lines.middle[1] + 0.75 * (chin - lines.middle[1])
    gap = np.clip((lines.edge - lines.mesh) * shot.pixel, -MOST_WIDENED / 2, MOST_WIDENED)
    gap = _round_median(np.where(above & (lines.hairy < 0.4), gap, 0))
    x, y, z = head.template.T
    ears = head.masks["ears"] > 0.5
    level = np.clip(1.5 - np.abs(y - y[ears].mean()) / (0.5 * np.ptp(y[ears])), 0, 1)
    before = np.clip((np.abs(x) - 0.055) / 0.017, 0, 1) * np.clip((z - z[ears].min()) / 0.01, 0, 1)
    place = np.maximum(np.clip(head.masks["ears"] * 1.5, 0, 1), 0.5 * before * level)
    step = _smooth(lines.at(gap, angle) * place, head, 2)
    step[head.parts["skin"].stop :] = 0
    side = np.sign(offset[:, :1]) * shot.camera.world_to_camera[:1, :3]  # towards the photo's left or right
    return (shot.vertices + step[:, None] * side).astype(np.float32)


def _hairy(shot, look, lines, hairy_ray, angle, rim, back) -> np.ndarray:
    """(V,) 0..1."""
    head = shot.head
    if look.bald:
        return np.zeros(len(head.template), np.float32)
    x, y, z = head.template.T
    pixels, depth = shot.seen_from(shot.vertices)
    column, row = np.clip(pixels.astype(int), 0, shot.side - 1).T
    front = depth < shot.depth.min(0)[row, column] + 0.006
    facing = shot.facing(shot.vertices, shot.normals)
    label = sampled(box(look.hair, max(1, round(0.003 / shot.pixel))), pixels)
    seen = np.clip((facing - 0.05) / 0.2, 0, 1) * front
    # eyes, brows, mouth and beard are dark, too, and are no hair that stands off
    place = np.clip((y - 0.066) / 0.012, 0, 1)
    place = np.maximum(place, np.clip((np.abs(x) - 0.060) / 0.008, 0, 1) * np.clip((0.075 - z) / 0.02, 0, 1))
    place = np.maximum(place, np.clip((0.02 - z) / 0.02, 0, 1)) * np.clip((y - BUST) / 0.02, 0, 1)
    # hidden: down to where the outline has hair, and on the scalp
    lowest = _lowest(shot, lines, hairy_ray)
    height = -(pixels[:, 1] - lines.middle[1]) * shot.pixel
    nape = np.clip((y - NAPE + 0.008 * np.maximum(1 - (x / 0.045) ** 2, 0) - 0.01) / 0.012 + 0.5, 0, 1) * np.clip(
        (0.01 - z) / 0.02, 0, 1
    )
    hidden = np.maximum(np.clip((height - lowest) / 0.012 + 0.5, 0, 1), np.maximum(nape, head.masks["scalp"] * (z > 0)))
    ray = lines.at(hairy_ray, angle)
    hidden = np.where(rim > 0.85, np.maximum(hidden * ray, nape), hidden)
    hairy = place * (seen * label + (1 - seen) * hidden)
    out = np.clip(1.6 * _smooth(hairy, head, 3) - 0.3, 0, 1)
    under = _ear_hidden(shot, look)
    out = np.where(head.masks["ears"] > 0.15, np.where(under > 0.5, np.maximum(out, 0.0), 0.0), out)
    out[head.parts["skin"].stop :] = 0
    return out.astype(np.float32)


def _lowest(shot: Shot, lines: Outline, hairy_ray: np.ndarray) -> float:
    """Metres above the skull's middle down to which hair is seen at the sides; its mean over both."""
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    down = np.sin(angles) * lines.edge * shot.pixel
    ends = []
    for side in (np.cos(angles) > 0.2, np.cos(angles) < -0.2):
        mine = side & (hairy_ray > 0.5)
        ends.append(-down[mine].max() if mine.any() else 0.03)
    return float(np.mean(ends))


def _ear_hidden(shot: Shot, look: Complexion) -> float:
    """0..1 how much of the ears is under hair."""
    ears = (shot.head.masks["ears"] > 0.6) & (shot.facing(shot.vertices, shot.normals) > 0.1)
    if not ears.any():
        return 0.0
    pixels = shot.seen_from(shot.vertices[ears])[0]
    share = float(sampled(look.hair, pixels).mean())
    return float(np.clip((share - 0.35) / 0.3, 0, 1))


def ring(outline: Outline, shot: Shot, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) of seen hair that stand for hidden points (N, 3): the same ray, folded to and fro over the ring; and (N,)
    0..1 how well they do, less the farther from the rim."""
    centre = skull(shot)
    offset = (points - centre) @ shot.camera.world_to_camera[:3, :3].T
    angle = np.arctan2(offset[:, 1], offset[:, 0]) % (2 * np.pi)
    radius = np.linalg.norm(offset, axis=1)
    rim = np.clip(np.hypot(offset[:, 0], offset[:, 1]) / np.maximum(radius, 1e-6), 0, 1)
    arc = np.arccos(rim) * radius / shot.pixel
    margin = max(2.0, 0.0035 / shot.pixel)  # the rim itself is half background, the inner border half skin
    width = outline.edge - outline.inner - 2 * margin
    good = np.flatnonzero(width >= min(5.0, max(width.max() * 0.6, 1.0)))
    if not len(good):
        return np.zeros((len(points), 2)), np.zeros(len(points))
    ray = np.round(angle / (2 * np.pi) * RAYS).astype(int) % RAYS
    away = np.abs(np.arange(RAYS)[:, None] - good[None])
    nearest = good[np.minimum(away, RAYS - away).argmin(1)][ray]
    length = np.minimum(width[nearest], LONGEST_RING / shot.pixel)
    fold = np.abs((arc + length) % (2 * length) - length)
    r = outline.edge[nearest] - margin - fold
    theta = 2 * np.pi * nearest / RAYS + (angle - 2 * np.pi * ray / RAYS)
    turned = np.minimum(np.abs(ray - nearest), RAYS - np.abs(ray - nearest)) / RAYS
    good = np.clip(1.3 - arc * shot.pixel / REACH, 0, 1) * np.clip(1.5 - turned / 0.04, 0, 1)
    return outline.middle + r[:, None] * np.stack([np.cos(theta), np.sin(theta)], 1), good


def _without_ears(lifted: np.ndarray, under: np.ndarray, head) -> np.ndarray:
    """The lifted mesh (V, 3) with ears that are under hair ironed flat."""
    out = lifted.copy()
    if under.any():
        for _ in range(80):
            around = np.stack([_smooth(out[:, c], head, 1) for c in range(3)], 1)
            out[under] = 2 * around[under] - out[under]
    return out


def _smooth(values: np.ndarray, head, rounds: int) -> np.ndarray:
    """(V,) averaged with neighbours along the mesh's edges."""
    faces = head.faces
    count = np.bincount(faces.ravel(), minlength=len(values)) * 2.0
    for _ in range(rounds):
        total = np.zeros(len(values))
        for a, b in ((0, 1), (1, 2), (2, 0)):
            total += np.bincount(faces[:, a], values[faces[:, b]], len(values))
            total += np.bincount(faces[:, b], values[faces[:, a]], len(values))
        values = 0.5 * values + 0.5 * total / np.maximum(count, 1)
    return values


def _round_mean(values: np.ndarray, radius: int) -> np.ndarray:
    return np.mean([np.roll(values, k) for k in range(-radius, radius + 1)], 0)


def _round_median(values: np.ndarray, radius: int = 3) -> np.ndarray:
    return _round_mean(np.median([np.roll(values, k) for k in range(-radius, radius + 1)], 0), 2)
