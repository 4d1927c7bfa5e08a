# SPDX-License-Identifier: GPL-3.0-or-later
"""Free Gaussians of a head become an avatar of the built-in one: bound to the triangles they lie on, so that they move along.

The Gaussians must already lie in head space on a registered identity (core/head/registration.py). Three places need more than
the nearest triangle:

* The mouth. Lips touch in a still head and one Gaussian often covers both. Those that do are cut in two along the line
  between the lips, and each side is bound to its own lip; behind them lie the teeth, tongue and mouth of a built-in head.
* The eyes. Between the lids a Gaussian belongs to the eyeball, outside to the lids, however near the other may be.
* What lids and lips show only once they move (folds of the upper lid, the lips' inner side) is missing from a still head: discs
  in the colours round about lie there, a little below the skin.

Where it is known how the Gaussians move (LAM's heads have morph targets of their own), none of this is guessed: each is bound
to the triangle that is nearest in place and in what it does when the face acts.

Nothing is changed in the neutral pose but by what is cut and added; `adopted` at rest draws what was given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry.cameras import Camera, look_at
from ..geometry.rotations import (
    matrix_to_quat_wxyz,
    quat_conjugate_wxyz,
    quat_multiply_wxyz,
    quat_wxyz_to_matrix,
)
from ..geometry.surface import Surface, nearest
from ..geometry.triangles import triangle_frames
from ..head.head import Head, Identity, identity, pose_vertices
from ..head.motion import CHANNELS, INDEX
from ..head.registration import Registration, outer_skin
from .avatar import Avatar, performer, pose
from .binding import Binding, carry
from .gaussians import SH_C0, Gaussians, join
from .moved import moved
from .rasterize import rasterize_batch
from .recolour import recoloured, seen

INTERIOR = ("teeth_upper", "teeth_lower", "gums", "tongue", "mouth_interior")
CUT = 1.2
"""Standard deviations from the line between the lips, within which a Gaussian is cut."""
MOUTH_HEIGHT = 0.012
MOUTH_DEPTH = 0.02
HIDDEN = 0.0022
"""Metres below the skin beyond which a Gaussian at the mouth is hidden, unless more than SEEN of it shows."""
SEEN = 0.1
LINING, LIPS_LINING = 0.006, 0.002
"""Metres below the skin, and the lips', of a lining that keeps what is put inside from shining through."""
INSIDE = 0.003
"""Metres below the skin from which something is put there, where it is not known what shows."""
WIDE = 0.02
"""Metres from what is put inside within which skin is lined."""
UNFOLDED = 0.5
"""Cosine between a triangle's normals in the identity's shape and on the registered skin."""
DISC = np.array([[0.45, 0.03, 0.45]])
"""Standard deviations of an added disc in sizes of its triangle, whose normal is the second axis."""
FEW = 12
"""Gaussians round about that give an added disc its colour."""
AROUND = [(0, 0), (30, 0), (-30, 0), (55, 0), (-55, 0), (0, 25), (0, -25)]
AWAY, REACH, VIEW = 0.6, 0.07, 256
"""Yaw and pitch in degrees, metres of distance and to the picture's edge, and pixels of the pictures of a mouth at rest."""
JAW = 2
"""The joint that moves the lower lip and not the upper one."""
SUNK = 4e-4
"""Metres that added discs lie below the skin."""
GROWS = 1.5
"""A triangle that grows by this on a blink shows skin that a still head hides."""
ACTS: Mapping[str, Mapping[str, float]] = {
    "jaw": {"jawOpen": 0.7}, "smile left": {"mouthSmileLeft": 1}, "smile right": {"mouthSmileRight": 1},
    "funnel": {"mouthFunnel": 1}, "upper lip": {"mouthUpperUpLeft": 1, "mouthUpperUpRight": 1},
    "lower lip": {"mouthLowerDownLeft": 1, "mouthLowerDownRight": 1}, "roll": {"mouthRollLower": 1, "mouthRollUpper": 1},
    "lids": {"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, "aside": {"gazeYaw": 0.4}, "up": {"gazePitch": -0.3},
    "brows": {"browInnerUp": 1, "browOuterUpLeft": 1, "browOuterUpRight": 1},
}  # fmt: skip
"""What is compared to find the triangle that a Gaussian moves with."""
OPEN: Sequence[Mapping[str, float]] = (
    {"jawOpen": 0.8}, {"jawOpen": 0.4, "mouthFunnel": 0.8}, ACTS["upper lip"] | ACTS["lower lip"],
    {"jawOpen": 0.3, "mouthSmileLeft": 1, "mouthSmileRight": 1},
)  # fmt: skip
"""Mouths through which the inside is seen."""
SHOWS, SHINES = 0.02, 0.05
"""Part of a Gaussian of the inside that must show in one of them, and that must not show at rest."""
ALIKE = 0.5
"""Metres of place that a metre of motion counts for; an act of another strength is scaled before, by at most STRONGER."""
STRONGER = 2.0
MAX_SPREAD = 0.06
"""Metres from the head's skin beyond which a Gaussian is background, unless it is hair: above the chin."""


@dataclass(frozen=True)
class Adopted:
    """avatar: the result. cut, added, left_out: Gaussians that were cut in two, added from elsewhere, left as background."""

    avatar: Avatar
    cut: int
    added: int
    left_out: int


def in_head_space(gaussians: Gaussians, registration: Registration) -> Gaussians:
    """Gaussians of the registered space in head space."""
    similarity = registration.similarity
    rotation = similarity.rotation.T
    scale = 1 / similarity.scale
    return moved(gaussians, scale, rotation, -scale * rotation @ similarity.shift)


def adopt(
    gaussians: Gaussians,
    registration: Registration,
    interior: Avatar | None,
    name: str,
    about: Mapping[str, Any],
    acted: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Adopted:
    """An avatar of Gaussians in the registered space.

    interior: a built-in head, for what a closed mouth hides; None where the Gaussians have a mouth's inside of their own.
    acted: gives the means (N, 3) for motion values (65,) in the registered space, where that is known.
    """
    head = registration.head
    person = identity(head, registration.betas)
    vertices = pose_vertices(person, np.zeros(len(CHANNELS), np.float32)).astype(np.float64)
    surface = registration.similarity.back(registration.vertices)  # where the skin truly is
    free = in_head_space(gaussians, registration)
    kept = _near(free, surface, head)
    left_out = len(free) - int(kept.sum())
    free = whole = _picked(free, kept)
    cameras = _before_the_mouth(surface, head)
    if interior is not None:
        hidden = _within_mouth(free, surface, head, cameras)
        left_out += int(hidden.sum())
        free = _picked(free, ~hidden)
    cut = 0
    if acted is None:
        free, cut = _cut_at_lips(free, surface, head)
        triangles = _triangles(free, surface, head)
    else:
        triangles = _acting_triangles(free, kept, acted, registration, person, surface)
    folds, fold_triangles = _folds(
        head, person, vertices, surface, free, triangles, lips=acted is None and interior is None
    )
    everything, triangles = join([free, folds]), np.concatenate([triangles, fold_triangles])
    if interior is not None:
        inside, inside_triangles = _interior(interior, vertices, surface, head, free.harmonics.shape[1])
        lining, lining_triangles = _lining(inside, free, triangles[: len(free)], vertices, surface, head)
        everything, triangles = join([everything, lining]), np.concatenate([triangles, lining_triangles])
        covered = _covered(inside, everything, cameras)
        if covered is None:
            covered = _depth(inside.means, surface, head) > INSIDE
        added = np.arange(len(everything) + int(covered.sum()))
        added = (added >= len(free)) & (added < len(everything))
        everything = join([everything, _picked(inside, covered)])
        triangles = np.concatenate([triangles, inside_triangles[covered]])
        looks = [layers.colour for layers in rasterize_batch(whole, cameras)]
        everything = recoloured(everything, cameras, looks, which=added)
    avatar = Avatar(
        name, head.head_id, registration.betas, _bound(everything, triangles, vertices, head.faces),
        everything.opacities.astype(np.float32), everything.harmonics, dict(about),
    )  # fmt: skip
    return Adopted(avatar, cut, len(avatar) - len(free), left_out)


def bound_to(gaussians: Gaussians, triangles: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Binding:
    """The binding of Gaussians (N) to triangles (N,) of a mesh: `carry` on the same mesh gives them back."""
    return _bound(gaussians, triangles, np.asarray(vertices, np.float64), faces)


def _bound(g: Gaussians, triangles: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Binding:
    origins, rotations, sizes = triangle_frames(vertices, faces)
    origins, rotations, sizes = origins[triangles], rotations[triangles], np.maximum(sizes[triangles], 1e-9)[:, None]
    offsets = np.einsum("nji,nj->ni", rotations, g.means - origins) / sizes
    quats = quat_multiply_wxyz(quat_conjugate_wxyz(matrix_to_quat_wxyz(rotations)), g.quats_wxyz)
    return Binding(
        triangles.astype(np.int32),
        offsets.astype(np.float32),
        quats.astype(np.float32),
        (g.scales / sizes).astype(np.float32),
    )


def _depth(points: np.ndarray, surface: np.ndarray, head: Head) -> np.ndarray:
    """(N,) metres by which points lie below or behind the skin that is seen from the front; negative before it.

    The lips' inner side does not count: teeth lie before it, and yet behind the lips.
    """
    faces = outer_skin(head)
    corners = head.template[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    skin = Surface(surface, faces[normals[:, 2] > 0.2 * np.linalg.norm(normals, axis=1)])
    found = skin.closest(points)
    away = points - found.points
    below = (away * found.of(skin.faces, skin.normals)).sum(1) < 0
    return np.where(below | (away[:, 2] < -0.5 * found.distances), 1, -1) * found.distances


def _before_the_mouth(surface: np.ndarray, head: Head) -> list[Camera]:
    """Cameras that show the mouth and its surroundings from the front, the sides, above and below."""
    at = head.landmarks
    mouth = (surface[at["mouth_left"]] + surface[at["mouth_right"]]) / 2
    return [
        look_at(mouth + AWAY * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]), mouth,
                fov_y=2 * float(np.arctan(REACH / AWAY)), width=VIEW, height=VIEW)
        for yaw, pitch in np.radians(AROUND)
    ]  # fmt: skip


def _within_mouth(g: Gaussians, surface: np.ndarray, head: Head, cameras: list[Camera]) -> np.ndarray:
    """(N,) Gaussians behind closed lips: bound to the skin they would hang in the open mouth.

    What lies below the registered skin and yet is seen is kept: under a beard the skin is deep.
    """
    at = head.landmarks
    right, left, chin, nose = (surface[at[n]] for n in ("mouth_right", "mouth_left", "chin", "nose_tip"))
    x, y = g.means[:, 0], g.means[:, 1]
    near = np.flatnonzero((x > right[0] - 0.01) & (x < left[0] + 0.01) & (y > chin[1] + 0.005) & (y < nose[1] - 0.005))
    near = near[g.means[near, 2] > surface[head.parts["teeth_upper"], 2].min() - 0.02]
    out = np.zeros(len(g), bool)
    if len(near):
        depth = _depth(g.means[near], surface, head)
        shown = seen(g, cameras)
        out[near] = depth > (HIDDEN if shown is None else np.where(shown[near] > SEEN, LINING, HIDDEN))
    return out


def _interior(
    interior: Avatar, vertices: np.ndarray, surface: np.ndarray, head: Head, coefficients: int
) -> tuple[Gaussians, np.ndarray]:
    """What an open mouth shows of a built-in head's teeth, gums, tongue and mouth, moved with the lips to where they truly are;
    and the triangles of that.
    """
    names = [head.region_names.index(n) for n in INTERIOR]
    which = np.flatnonzero(np.isin(head.regions[interior.binding.triangles], names) & _shown_open(interior, head))
    b = interior.binding
    part = Binding(b.triangles[which], b.offsets[which], b.quats_wxyz[which], b.scales[which])
    means, quats, scales = carry(part, vertices.astype(np.float32), head.faces)
    lips = np.unique(head.faces[head.faces_of("lips")])
    means = (means + (surface - vertices)[lips].mean(0)).astype(np.float32)
    harmonics = _degree(interior.harmonics[which], coefficients)
    return Gaussians(means, quats, scales, interior.opacities[which], harmonics), b.triangles[which]


def _covered(inside: Gaussians, before: Gaussians, cameras: list[Camera]) -> np.ndarray | None:
    """(M,) what is inside and does not show through the resting face; None without the library.

    What lay behind the left out may show then, too: asked three times.
    """
    out = np.ones(len(inside), bool)
    for _ in range(3):
        shown = seen(join([before, _picked(inside, out)]), cameras)
        if shown is None:
            return None
        out[out] = shown[len(before) :] < SHINES
    return out


def _shown_open(interior: Avatar, head: Head) -> np.ndarray:
    """(N,) Gaussians of a built-in head that an open mouth shows."""
    her = performer(interior, head)
    cameras = _before_the_mouth(her.identity.template.astype(np.float64), head)
    out = np.zeros(len(interior), bool)
    for channels in OPEN:
        shown = seen(pose(her, _values(channels)), cameras)
        out |= True if shown is None else shown > SHOWS
    return out


def _lining(
    inside: Gaussians, g: Gaussians, triangles: np.ndarray, vertices: np.ndarray, surface: np.ndarray, head: Head
) -> tuple[Gaussians, np.ndarray]:
    """Discs, and their triangles, between the skin round the mouth and what was put inside.

    Scans are seldom opaque: without it another's mouth would shine through cheeks and beards.
    """
    skin = head.faces_of("skin", "lips")
    skin = skin[(head.faces[skin] < head.parts["skin"].stop).all(1)]
    _, rotations, sizes = triangle_frames(surface, head.faces)
    centres = surface[head.faces[skin]].mean(1)
    close = np.linalg.norm(inside.means[nearest(inside.means, centres)] - centres, axis=1) < WIDE
    which = skin[close]
    on_skin = np.flatnonzero(np.isin(triangles, skin) & (g.opacities > 0.3))
    if not len(which) or len(on_skin) < FEW:
        return _picked(g, np.zeros(len(g), bool)), np.zeros(0, np.int64)
    depth = np.where(head.regions[which] == head.region_names.index("lips"), LIPS_LINING, LINING)[:, None]
    places = centres[close] - depth * rotations[which][:, :, 1]
    # registering may fold small triangles over: discs on them would lie before the face, or be flung about as it moves
    sound = (rotations[which][:, :, 1] * triangle_frames(vertices, head.faces)[1][which][:, :, 1]).sum(1) > UNFOLDED
    sound &= _depth(places, surface, head) > LIPS_LINING / 2
    which, places = which[sound], places[sound]
    if not len(which):
        return _picked(g, np.zeros(len(g), bool)), np.zeros(0, np.int64)
    colours = np.median(g.harmonics[on_skin[_nearest_few(places, g.means[on_skin])], :1], axis=1)
    size = np.maximum(sizes[which], 3e-4)[:, None]
    return Gaussians(
        places.astype(np.float32), matrix_to_quat_wxyz(rotations[which]).astype(np.float32),
        (size * DISC).astype(np.float32), np.full(len(which), 0.95, np.float32), _degree(colours, g.harmonics.shape[1]),
    ), which  # fmt: skip


def _nearest_few(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P, FEW) rows of the points nearest to each place."""
    return np.stack([np.argpartition(((points - place) ** 2).sum(1), FEW - 1)[:FEW] for place in places])


def _near(g: Gaussians, surface: np.ndarray, head: Head) -> np.ndarray:
    """(N,) bool: finite Gaussians that may belong to the head: near its skin, or hair."""
    skin = Surface(surface, outer_skin(head))
    finite = np.isfinite(g.means).all(1) & np.isfinite(g.scales).all(1) & (g.quats_wxyz != 0).any(1)
    means = np.where(finite[:, None], g.means, 0)
    distance = np.linalg.norm(means - skin.vertices[skin.used][nearest(skin.vertices[skin.used], means)], axis=1)
    hair = (means[:, 1] > surface[head.landmarks["chin"], 1] - 0.25) & (distance < 4 * MAX_SPREAD)
    return finite & ((distance < MAX_SPREAD) | hair) & (g.scales.max(1) < 2 * MAX_SPREAD)


def _lip_line(surface: np.ndarray, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """(P,) x and y of the line between the lips, from the subject's right corner to the left one."""
    at = head.landmarks
    points = [surface[at["mouth_right"]]]
    points += [(surface[at[f"lip_upper_{k}"]] + surface[at[f"lip_lower_{k}"]]) / 2 for k in ("right", "middle", "left")]
    line = np.array([*points, surface[at["mouth_left"]]])
    order = np.argsort(line[:, 0])
    return line[order, 0], line[order, 1]


def _at_mouth(points: np.ndarray, surface: np.ndarray, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether points lie at the mouth, and their height in metres above the line between the lips."""
    x, y = _lip_line(surface, head)
    height = points[:, 1] - np.interp(points[:, 0], x, y)
    front = surface[[head.landmarks["mouth_left"], head.landmarks["mouth_right"]], 2].min() - MOUTH_DEPTH
    inside = (points[:, 0] > x[0] + 5e-4) & (points[:, 0] < x[-1] - 5e-4)
    return inside & (points[:, 2] > front) & (np.abs(height) < MOUTH_HEIGHT), height


def _cut_at_lips(g: Gaussians, surface: np.ndarray, head: Head) -> tuple[Gaussians, int]:
    """Gaussians that reach over the line between the lips replaced by two, conditioned to one side each.

    A Gaussian conditioned to a height narrows to `k` of its deviation in y, and what it covers across stays.
    """
    at_mouth, height = _at_mouth(g.means, surface, head)
    half = quat_wxyz_to_matrix(_unit(g.quats_wxyz).astype(np.float64)) * g.scales[:, None]
    covariance = half @ half.transpose(0, 2, 1)
    deviation = np.sqrt(np.maximum(covariance[:, 1, 1], 1e-14))
    which = np.flatnonzero(at_mouth & (np.abs(height) < CUT * deviation) & (deviation > 2e-4))
    if not len(which):
        return g, 0
    c, sigma, h = covariance[which], deviation[which], height[which]
    column = c[:, :, 1]  # how the others go along with y
    parts = []
    for side in (1.0, -1.0):
        reach = np.maximum(side * h + 2 * sigma, 0.3 * sigma)  # from the line to where the Gaussian ends on this side
        narrow = np.minimum(reach / (4 * sigma), 1.0)
        centre = side * reach / 2
        shift = (centre - h) / sigma**2
        cov = c - ((1 - narrow**2) / sigma**2)[:, None, None] * column[:, :, None] * column[:, None, :]
        values, axes = np.linalg.eigh(cov)
        axes[:, :, 0] *= np.sign(np.linalg.det(axes))[:, None]
        parts.append(Gaussians(
            (g.means[which] + shift[:, None] * column).astype(np.float32), matrix_to_quat_wxyz(axes).astype(np.float32),
            np.sqrt(np.maximum(values, 1e-14)).astype(np.float32), g.opacities[which], g.harmonics[which],
        ))  # fmt: skip
    rest = np.ones(len(g), bool)
    rest[which] = False
    return join([_picked(g, rest), *parts]), len(which)


def _triangles(g: Gaussians, surface: np.ndarray, head: Head) -> np.ndarray:
    """(N,) triangle of each Gaussian: nearest, but on its own side of the mouth and of the lids."""
    skin = head.faces_of("skin", "lips")
    skin = skin[(head.faces[skin] < head.parts["skin"].stop).all(1)]
    out = skin[Surface(surface, head.faces[skin]).closest(g.means).triangles]
    at_mouth, height = _at_mouth(g.means, surface, head)
    near, _ = _at_mouth(surface[head.faces[skin]].mean(1), surface, head)
    lower = head.weights[head.faces[skin], JAW].mean(1) > 0.5
    for side in (1, -1):
        mine = skin[~(near & (lower == (side > 0)))]
        rows = np.flatnonzero(at_mouth & (side * height >= 0))
        if len(rows):
            out[rows] = mine[Surface(surface, head.faces[mine]).closest(g.means[rows]).triangles]
    for lid, name in zip(head.lids, ("eye_left", "eye_right"), strict=True):
        ball = head.faces_of(name)
        rows = np.flatnonzero(_between_lids(g.means, surface, lid))
        if len(rows):
            out[rows] = ball[Surface(surface, head.faces[ball]).closest(g.means[rows]).triangles]
    return out


def _acting_triangles(
    g: Gaussians,
    kept: np.ndarray,
    acted: Callable[[np.ndarray], np.ndarray],
    registration: Registration,
    person: Identity,
    surface: np.ndarray,
) -> np.ndarray:
    """(N,) triangle of each Gaussian: nearest in place and in ACTS together."""
    head = registration.head
    faces = head.faces_of("skin", "lips", "mouth_interior", "eye_left", "eye_right")
    corners = head.faces[faces]
    rest = pose_vertices(person, np.zeros(len(CHANNELS), np.float32))
    still = acted(np.zeros(len(CHANNELS), np.float32))
    there = surface[corners].mean(1)
    close = nearest(there, g.means)
    ours, theirs = [there], [g.means]
    for channels in ACTS.values():
        values = _values(channels)
        a = (pose_vertices(person, values) - rest)[corners].mean(1)
        b = ((acted(values) - still)[kept] @ registration.similarity.rotation) / registration.similarity.scale
        gain = float((a[close] * b).sum() / max((a[close] ** 2).sum(), 1e-12))
        ours.append(ALIKE * a * np.clip(gain, 1 / STRONGER, STRONGER))
        theirs.append(ALIKE * b)
    return faces[nearest(np.concatenate(ours, 1), np.concatenate(theirs, 1))]


def _between_lids(points: np.ndarray, surface: np.ndarray, lid: Any) -> np.ndarray:
    """(N,) whether points lie on the visible part of an eyeball."""
    ball = surface[lid.eye_vertices]
    centre = ball.mean(0)
    radius = np.linalg.norm(ball - centre, axis=1).max()
    corners = surface[lid.gap_index]
    weights = np.maximum(lid.gap_weights, 0), np.maximum(-lid.gap_weights, 0)
    upper, lower = (np.einsum("kj,kjd->kd", w, corners) for w in weights)
    order = np.argsort(upper[:, 0])
    upper, lower = upper[order], lower[order]
    x, y = points[:, 0], points[:, 1]
    open_ = (x > upper[0, 0]) & (x < upper[-1, 0])
    open_ &= (y < np.interp(x, upper[:, 0], upper[:, 1])) & (y > np.interp(x, lower[:, 0], lower[:, 1]))
    distance = np.linalg.norm(points - centre, axis=1)
    return open_ & (distance < 1.25 * radius) & (points[:, 2] > centre[2])


def _folds(
    head: Head,
    person: Identity,
    vertices: np.ndarray,
    surface: np.ndarray,
    g: Gaussians,
    triangles: np.ndarray,
    lips: bool,
) -> tuple[Gaussians, np.ndarray]:
    """Discs, and their triangles, where closing lids and, on request, parting lips show what a still head hides."""
    values = _values(ACTS["lids"])
    sizes = triangle_frames(vertices, head.faces)[2]
    closed = triangle_frames(pose_vertices(person, values).astype(np.float64), head.faces)[2]
    lids = head.masks["eyelids"][head.faces].mean(1) > 0.1
    skin = head.regions == head.region_names.index("skin")
    empty = np.bincount(triangles, minlength=len(head.faces)) == 0
    inner = lips & (head.regions == head.region_names.index("lips")) & empty
    which = np.flatnonzero((skin & lids & (closed > GROWS * sizes)) | inner)
    origins, rotations, sizes = triangle_frames(surface, head.faces)
    on_skin = np.flatnonzero(np.isin(triangles, head.faces_of("skin", "lips")) & (g.opacities > 0.3))
    if not len(which) or len(on_skin) < FEW:
        return _picked(g, np.zeros(len(g), bool)), np.zeros(0, np.int64)
    places = origins[which]
    close = np.linalg.norm(places[nearest(places, g.means[on_skin])] - g.means[on_skin], axis=1) < 0.015
    on_skin = on_skin[close] if close.sum() >= FEW else on_skin
    near = on_skin[_nearest_few(places, g.means[on_skin])]
    colours = np.quantile(g.harmonics[near, :1], 0.6, axis=1).astype(np.float32)  # lashes and creases are dark
    harmonics = _degree(colours, g.harmonics.shape[1])
    size = np.maximum(sizes[which], 3e-4)[:, None]
    sunk = surface[head.faces[which]].mean(1) - SUNK * rotations[which][:, :, 1]
    quats = matrix_to_quat_wxyz(rotations[which])
    return Gaussians(
        sunk.astype(np.float32), quats.astype(np.float32), (size * DISC).astype(np.float32),
        np.full(len(which), 0.95, np.float32), harmonics,
    ), which  # fmt: skip


def _values(channels: Mapping[str, float]) -> np.ndarray:
    """(65,) motion values."""
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        out[INDEX[name]] = value
    return out


def _degree(harmonics: np.ndarray, count: int) -> np.ndarray:
    """Harmonics (N, K, 3) with `count` coefficients: higher ones zero or left out."""
    out = np.zeros((len(harmonics), count, 3), np.float32)
    shared = min(count, harmonics.shape[1])
    out[:, :shared] = harmonics[:, :shared]
    return out


def _picked(g: Gaussians, which: np.ndarray) -> Gaussians:
    harmonics = g.harmonics if g.harmonics.ndim == 3 else ((g.harmonics[:, None] - 0.5) / SH_C0).astype(np.float32)
    return Gaussians(g.means[which], g.quats_wxyz[which], g.scales[which], g.opacities[which], harmonics[which])


def _unit(quats: np.ndarray) -> np.ndarray:
    return quats / np.maximum(np.linalg.norm(quats, axis=-1, keepdims=True), 1e-12)
