# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fit to a film begins with: the head made of its best frame as of a photo, or Gaussians in UV order on the plain head."""

from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np

from ..capture.track import Track
from ..geometry.cameras import look_at
from ..head.head import Head, Identity, identity, pose_vertices
from ..head.motion import CHANNELS, INDEX
from ..prior.visual.maps import gaussians_of, start_map
from ..splats.binding import Binding, carry
from ..splats.differentiable import rasterize_torch
from ..splats.gaussians import SH_C0
from ..splats.uv_layout import VOLUME, UvLayout, uv_layout
from .complexion import complexion
from .footage import Footage, decoded
from .gaussian_head import Bounds, bounds_by_region
from .likeness import GROUPS, Likeness
from .photo import laid_out
from .shot import shot_of

SIZE = 160
"""Of the UV map to begin with: some 37,000 slots; a fit splits those that show detail."""
REACH = {"skin": 0.0025, "hair": 0.0060, "eyes": 0.0006, "mouth": 0.0020, "lashes": 0.0020}
"""Metres that a Gaussian of a head from a photo may wander in a film: its shape is there already."""
LEAST_PIXELS = 0.04
"""Of a picture of 320 pixels of the head: a Gaussian that never covers as much shows nothing."""
NEAR, NEIGHBOURS = 0.006, 4
"""Metres within which Gaussians of one kind are neighbours, and how many of them count."""


@dataclass(frozen=True)
class Start:
    """N bound Gaussians; bounds; pairs (P, 2) of neighbours on the surface; likely: what they are where no picture shows them
    is the person's, as far as a picture and the visual prior can tell, and worth keeping."""

    binding: Binding
    opacities: np.ndarray
    harmonics: np.ndarray
    bounds: Bounds
    pairs: np.ndarray
    likely: bool = False


def start_of(head: Head, betas: np.ndarray, size: int = SIZE) -> Start:
    """The plain head of a person, in UV order: what a fit without a prior begins with."""
    layout = uv_layout(head, size)
    values = start_map(head, layout, betas)
    binding, opacities, harmonics = gaussians_of(values, layout, head, betas)
    loose = layout.layer == VOLUME
    bounds = bounds_by_region(head, layout.triangles, loose)
    return Start(binding, opacities, harmonics, bounds, neighbours(layout))


def start_of_film(head: Head, track: Track, footage: Footage, seed: int = 0) -> Start:
    """The head that a photo would give, made of the film's best frame (core/adapt/photo.py, before it is refined): hair and ears stand
    off the mesh as far as the outline does, and what the frame hides is filled in by the visual prior. About 5 s."""
    place = best_place(track, footage)
    frame, window, shown = int(footage.index[place]), footage.windows[place], footage.shown(place)
    person = identity(head, track.betas)
    values = track.motion.values[frame]
    points = window.points(track.landmarks[frame], shown.camera)
    vertices = pose_vertices(person, values)
    shot = shot_of(decoded(shown.colour), shown.matte, shown.camera, vertices, head, points)
    made, _ = laid_out(shot, complexion(shot), person, values, seed)
    made = _part(made, _showing(made, person))
    kinds_of = [GROUPS[g] for g in made.group]
    hair = made.group == GROUPS.index("hair")
    bounds = replace(
        bounds_by_region(head, made.binding.triangles, hair), reach=np.array([REACH[k] for k in kinds_of], np.float32)
    )
    harmonics = ((made.colours - 0.5) / SH_C0)[:, None].astype(np.float32)
    return Start(made.binding, made.opacities, harmonics, bounds, _near(made, person.template, head), True)


def best_place(track: Track, footage: Footage) -> int:
    """Index into footage.index of the frame that shows most of the face: it looks ahead, eyes open, mouth shut, well tracked."""
    values = track.motion.values[footage.index]
    column = lambda name: values[:, INDEX[name]]  # noqa: E731
    turned = np.abs(column("headYaw")) + np.abs(column("headPitch"))
    moved = 0.5 * (column("jawOpen") + column("eyeBlinkLeft") + column("eyeBlinkRight"))
    return int((turned + moved + 0.5 * (1 - track.confidence[footage.index])).argmin())


def _showing(made: Likeness, person: Identity) -> np.ndarray:
    """(N,) bool: Gaussians that somebody could see, whatever the face does: what lies under hair or behind the mouth costs the same
    and shows nothing. 3 s."""
    import torch

    poses = np.zeros((4, len(CHANNELS)), np.float32)
    poses[1, INDEX["jawOpen"]] = 0.8
    poses[2, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 1
    poses[3, [INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"], INDEX["eyeLookOutLeft"], INDEX["eyeLookInRight"]]] = (
        0.8
    )
    opacities = torch.from_numpy(made.opacities)
    most = np.zeros(len(made), np.float32)
    for k, vertices in enumerate(pose_vertices(person, poses)):
        means, quats, scales = map(torch.from_numpy, carry(made.binding, vertices, person.head.faces))
        turns = (0, -40, 40) if k else (0, -40, 40, -80, 80, -130, 130, 180)
        for yaw, pitch in product(np.radians(turns), np.radians((-40, 35))):
            eye = 0.85 * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
            camera = look_at(eye, (0, -0.03, 0), fov_y=np.radians(30), width=320, height=320)
            plain = torch.ones(len(made), 1, 3, requires_grad=True)
            colour, _ = rasterize_torch(
                means, quats, scales, opacities, plain, camera.world_to_camera, camera.K, 320, 320
            )
            colour[..., 0].sum().backward()
            assert plain.grad is not None
            most = np.maximum(most, plain.grad[:, 0, 0].numpy() / SH_C0)
    return most > LEAST_PIXELS


def _part(made: Likeness, which: np.ndarray) -> Likeness:
    arrays = {f.name: getattr(made, f.name)[which] for f in fields(Likeness) if f.name != "binding"}
    return Likeness(Binding(*(getattr(made.binding, f.name)[which] for f in fields(Binding))), **arrays)


def _near(made: Likeness, template: np.ndarray, head: Head) -> np.ndarray:
    """(P, 2) pairs of Gaussians of one kind that lie beside each other on the resting head."""
    from scipy.spatial import cKDTree

    means = carry(made.binding, template.astype(np.float32), head.faces)[0]
    pairs = []
    for kind in np.unique(made.group):
        own = np.flatnonzero(made.group == kind)
        far, which = cKDTree(means[own]).query(means[own], k=NEIGHBOURS + 1, distance_upper_bound=NEAR)
        a, b = np.nonzero(np.isfinite(far))
        pairs.append(np.sort(np.stack([own[a], own[which[a, b]]], 1), 1))
    pairs = np.unique(np.concatenate(pairs), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


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
