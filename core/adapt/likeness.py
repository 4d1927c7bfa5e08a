# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole head of Gaussians from one photo: surface, hair, eyes and mouth, each coloured its own way."""

from dataclasses import dataclass

import numpy as np

from ..capture.matte import box
from ..geometry.rotations import matrix_to_quat_wxyz, quat_conjugate_wxyz, quat_multiply_wxyz
from ..geometry.triangles import triangle_frames, vertex_normals
from ..head.head import Head, Identity, controls, pose_vertices
from ..splats.binding import Binding, carry
from .complexion import Complexion
from .hair import Hair
from .paint import Painted, behind_neck, hair_tone, outside_slots, paint, paint_hair
from .palette import light_of, paint_eyes, paint_mouth
from .picture import sampled
from .shot import OUTER, Shot
from .surface import Mirror, Slots, discs, kinds, lids, slots, slots_of

GROUPS = ("skin", "hair", "eyes", "mouth", "lashes")
HEM = (-0.236, -0.190)
"""Heights on the mean head between which the bust fades in, so that it ends softly and not in a cut."""
HAIR_EDGE = 0.0042
SHELLS = ((1.0, 0.78, 1.0), (0.65, 0.95, 1.25))
"""Hair's layers from outside inwards: share of the thickness, opacity, width."""
LEAST_LIFT = 0.0015
"""Metres below which hair needs no layers of its own: the skin carries its colour."""
JITTER = 0.10
SUNK = 0.0005
"""Metres."""


@dataclass(frozen=True)
class Likeness:
    """N Gaussians in triangle frames. colours (N, 3) linear; group (N,) indices of GROUPS; seen (N,) 0..1: how much of its
    colour is the photo's own. loose (N,) 0..1: how far the photo may correct it; 0 for what it shows edge-on or not at all."""

    binding: Binding
    opacities: np.ndarray
    colours: np.ndarray
    group: np.ndarray
    seen: np.ndarray
    loose: np.ndarray

    def __len__(self) -> int:
        return len(self.opacities)


def likeness(
    shot: Shot,
    look: Complexion,
    hair: Hair,
    person: Identity,
    values: np.ndarray,
    other: Mirror,
    seed: int,
    unseen: np.ndarray | None = None,
) -> Likeness:
    """Everything a head needs, about 70,000 Gaussians. values (65,): what the face does in the photo. unseen (V, 3): colours
    of skin and clothes where the photo shows none, instead of mirrored and spread ones. 2 s."""
    fitted = pose_vertices(person, values)
    hairy = hair.hairy.max() > 0.3
    tone = hair_tone(shot, look, hair) if hairy else np.zeros_like(hair.lifted)
    parts = [
        _outside(shot, look, hair, tone, person, other, seed, fitted, unseen),
        _inside(shot, look, person, values, fitted),
    ]
    if hairy:
        parts += _hair(shot, look, hair, tone, person.head, seed, fitted)
    arrays = [
        np.concatenate([getattr(p, n) for p in parts]) for n in ("opacities", "colours", "group", "seen", "loose")
    ]
    bindings = [
        np.concatenate([getattr(p.binding, n) for p in parts]) for n in ("triangles", "offsets", "quats_wxyz", "scales")
    ]
    return Likeness(Binding(*bindings), *arrays)


def chosen(slots: Slots, mask: np.ndarray) -> Slots:
    return Slots(slots.triangles[mask], slots.bary[mask], slots.parts[mask])


def hem(head: Head, places: Slots) -> np.ndarray:
    """(N,) 0..1 opacity of the bust's lower edge."""
    height = places.of(head.template, head.faces)[:, 1]
    return np.clip((height - HEM[0]) / (HEM[1] - HEM[0]), 0, 1)


def _outside(
    shot: Shot,
    look: Complexion,
    hair: Hair,
    tone: np.ndarray,
    person: Identity,
    other: Mirror,
    seed: int,
    fitted: np.ndarray,
    unseen: np.ndarray | None,
) -> Likeness:
    head = person.head
    everything = slots(head)
    mine = chosen(everything, outside_slots(everything, head))
    fade = hem(head, mine)
    mine, fade = chosen(mine, fade > 0.03), fade[fade > 0.03]
    hairy = np.clip(mine.of(hair.hairy, head.faces), 0, 1)
    covered = (mine.of(head.masks["ears"], head.faces) > 0.2) & (hairy > 0.4)  # ears under hair would stick out of it
    mine, fade, hairy = chosen(mine, ~covered), fade[~covered], hairy[~covered]
    painted: Painted = paint(shot, mine, other, look.skin_colour)
    on_skull = hairy > 0.3
    colours = painted.colours.copy()
    if unseen is not None:  # closed lids are nobody's to see in the photo: they stay plain skin
        share = (1 - painted.seen) * (1 - np.clip(1.5 * mine.of(lids(head), head.faces) - 0.25, 0, 1))
        share *= 1 - behind_neck(mine, head)  # a collar goes on round the neck
        share *= _turned(shot, mine.of(shot.vertices, head.faces), mine.of(shot.normals, head.faces))
        colours += share[:, None] * (mine.of(unseen, head.faces) - colours)
    if on_skull.any():
        under = chosen(mine, on_skull)
        hair_colours, _ = paint_hair(
            shot,
            look,
            hair,
            under,
            tone,
            np.random.default_rng(seed),
        )
        share = np.clip((hairy[on_skull] - 0.3) / 0.3, 0, 1) * (1 - painted.seen[on_skull])
        colours[on_skull] += share[:, None] * (hair_colours - colours[on_skull])
    binding = discs(mine, person.template, head.faces)
    # ears and temples stand off as far as the outline says
    binding = _pushed(binding, mine.of(shot.vertices - fitted, head.faces), fitted, head.faces)
    return Likeness(
        binding,
        (0.97 * fade).astype(np.float32),
        colours,
        np.full(len(mine), GROUPS.index("skin")),
        painted.seen,
        _loose(shot, mine.of(shot.vertices, head.faces), mine.of(shot.normals, head.faces)) * _calm(shot, mine),
    )


def _inside(shot: Shot, look: Complexion, person: Identity, values: np.ndarray, fitted: np.ndarray) -> Likeness:
    head = person.head
    everything = slots(head)
    kind = kinds(head)[everything.triangles]
    light = light_of(look, shot)
    axes = controls(head, values[None])[1][0]
    turned = _head_turn(head, values)
    gaze = {joint: turned @ axes[joint][:, 2] for joint in (3, 4)}
    parts = []
    for group, wanted in (
        ("eyes", ("eyes",)),
        ("mouth", ("teeth", "gums", "tongue", "mouth")),
        ("lashes", ("lashes",)),
    ):
        mine = chosen(everything, np.isin(kind, wanted))
        if group == "eyes":
            colours, opacity = paint_eyes(shot, mine, head, gaze, light), 0.97
        elif group == "mouth":
            colours, opacity = paint_mouth(shot, mine, head, light), 0.97
        else:
            colours, opacity = np.tile(0.35 * look.hair_colour * 0.5, (len(mine), 1)), 0.30
        flat = discs(mine, person.template, head.faces)
        if group == "eyes":  # flat Gaussians cut the ball's curve: sunk a little, none comes through a closed lid
            flat = _pushed(flat, -SUNK * mine.of(shot.normals, head.faces), fitted, head.faces)
        parts.append(
            Likeness(
                flat, np.full(len(mine), opacity, np.float32),
                colours.astype(np.float32), np.full(len(mine), GROUPS.index(group)), np.zeros(len(mine), np.float32),
                _loose(shot, mine.of(shot.vertices, head.faces), mine.of(shot.normals, head.faces)),
            )
        )  # fmt: skip
    arrays = [
        np.concatenate([getattr(p, n) for p in parts]) for n in ("opacities", "colours", "group", "seen", "loose")
    ]
    bindings = [
        np.concatenate([getattr(p.binding, n) for p in parts]) for n in ("triangles", "offsets", "quats_wxyz", "scales")
    ]
    return Likeness(Binding(*bindings), *arrays)


def _calm(shot: Shot, mine: Slots) -> np.ndarray:
    """(N,) 0..1: lips beside teeth would take on their colour, lids the crease's, into which open eyes fold them; ears are seen
    edge-on."""
    head = shot.head
    lid, lip, ear = (
        np.clip(mine.of(m, head.faces), 0, 1) for m in (lids(head), head.masks["lips"], head.masks["ears"])
    )
    sure = sampled(
        shot.trust(OUTER, max(1, round(0.0022 / shot.pixel))), shot.seen_from(mine.of(shot.vertices, head.faces))[0]
    )
    lip = np.clip(2 * lip - 0.4, 0, 1)
    # at the outline half of what is seen is background
    inner = box(shot.matte, max(1, round(0.003 / shot.pixel)))
    inner = np.clip((sampled(inner, shot.seen_from(mine.of(shot.vertices, head.faces))[0]) - 0.88) / 0.1, 0, 1)
    return (inner * (1 - lip + lip * sure) * (1 - 0.88 * lid) * (1 - 0.75 * ear)).astype(np.float32)


def _loose(shot: Shot, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N,) 0..1: less where the surface is seen edge-on, because what is wrong there may be the outline's fault."""
    sure = sampled(shot.steady, shot.seen_from(points)[0])
    return (np.clip((shot.facing(points, normals) - 0.22) / 0.35, 0, 1) * sure).astype(np.float32)


def _turned(shot: Shot, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N,) 0..1: whether the surface looks away, so that its colours are nobody's to see in the photo."""
    return 1 - np.clip((shot.facing(points, normals) - 0.25) / 0.3, 0, 1)


def _head_turn(head: Head, values: np.ndarray) -> np.ndarray:
    """(3, 3) of the head joint in the world."""
    turns = controls(head, values[None])[1][0]
    return turns[0] @ turns[1]


def _hair(
    shot: Shot, look: Complexion, hair: Hair, tone: np.ndarray, head: Head, seed: int, fitted: np.ndarray
) -> list[Likeness]:
    rng = np.random.default_rng(seed)
    lift = np.linalg.norm(hair.lifted - shot.vertices, axis=1)
    faces = head.faces
    chosen_faces = np.flatnonzero((hair.hairy[faces].max(1) > 0.25) & (lift[faces].max(1) > LEAST_LIFT))
    places = slots_of(head, np.full(len(faces), HAIR_EDGE), chosen_faces)
    grows = np.clip((places.of(hair.hairy, faces) - 0.2) / 0.4, 0, 1)
    places, grows = chosen(places, grows > 0.05), grows[grows > 0.05]
    parts = []
    for depth, opacity, width in SHELLS:
        shell = shot.vertices + depth * (hair.lifted - shot.vertices)
        flat = discs(places, shell, faces)
        means, quats, scales = carry(flat, shell, faces)
        normals = places.of(vertex_normals(shell, faces), faces)
        colours, seen = paint_hair(
            shot,
            look,
            hair,
            places,
            tone,
            np.random.default_rng(seed),
        )
        thick = places.of(lift[:, None], faces)
        means = means - normals * (thick * JITTER * rng.random((len(places), 1)))
        colours = colours * np.exp(0.06 * rng.standard_normal((len(places), 1))) * (0.6 + 0.4 * depth)
        fade = grows * np.clip(thick[:, 0] / 0.003, 0, 1)
        parts.append(
            Likeness(
                bound(means, quats, scales * width, places.triangles, fitted, faces),
                (opacity * fade).astype(np.float32), colours.astype(np.float32),
                np.full(len(places), GROUPS.index("hair")), seen * depth,
                _loose(shot, means, normals),
            )
        )  # fmt: skip
    return parts


def bound(
    means: np.ndarray,
    quats: np.ndarray,
    scales: np.ndarray,
    triangles: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
) -> Binding:
    """World Gaussians on triangles: the inverse of carry."""
    origins, rotations, sizes = triangle_frames(vertices.astype(np.float32), faces)
    size = np.maximum(sizes[triangles], 1e-6)[:, None]
    offsets = np.einsum("nji,nj->ni", rotations[triangles], means - origins[triangles]) / size
    turned = quat_multiply_wxyz(quat_conjugate_wxyz(matrix_to_quat_wxyz(rotations)[triangles]), quats)
    return Binding(
        triangles.astype(np.int32),
        offsets.astype(np.float32),
        turned.astype(np.float32),
        (scales / size).astype(np.float32),
    )


def _pushed(binding: Binding, off: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Binding:
    """The same Gaussians, moved by `off` (N, 3) metres in the pose of `vertices`."""
    _, rotations, sizes = triangle_frames(vertices.astype(np.float32), faces)
    which = binding.triangles
    local = np.einsum("nji,nj->ni", rotations[which], off) / np.maximum(sizes[which], 1e-6)[:, None]
    return Binding(which, (binding.offsets + local).astype(np.float32), binding.quats_wxyz, binding.scales)
