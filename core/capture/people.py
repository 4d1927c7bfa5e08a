# SPDX-License-Identifier: GPL-3.0-or-later
"""Which face of a picture is whom: faces are followed from picture to picture, and one is chosen.

Within a shot a face is the one whose box overlaps most with where it was last; after a cut everybody is new. Faces are
numbered by size: 1 is the one that takes most of the picture over the whole shot. A chosen number is taken to be the same
person in every shot.
"""

from dataclasses import dataclass, field

import numpy as np

from ..errors import CaptureError
from .landmarker import Face

OVERLAP = 0.15
"""Least intersection over union with where a face was last."""
PATIENCE_SECONDS = 1.0
"""A face may be lost for so long and still be the same."""


@dataclass
class Trail:
    """One person in one shot: indices of pictures and the face in each."""

    shot: int
    indices: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Area times time."""
        return float(sum(np.prod(face.box[2:] - face.box[:2]) for face in self.faces))


class People:
    """Trails of all faces of a film, grown picture by picture."""

    def __init__(self, fps: float) -> None:
        self.trails: list[Trail] = []
        self.shot = 0
        self._patience = max(1, round(PATIENCE_SECONDS * fps))

    def add(self, index: int, faces: list[Face], cut: bool) -> None:
        """The faces of the next picture; best overlaps are served first."""
        self.shot += cut
        live = [t for t in self.trails if t.shot == self.shot and index - t.indices[-1] <= self._patience]
        ranked = sorted(
            ((overlap(t.faces[-1].box, f.box), i, j) for i, t in enumerate(live) for j, f in enumerate(faces)),
            reverse=True,
        )
        taken_trails: set[int] = set()
        taken_faces: set[int] = set()
        for score, i, j in ranked:
            if score >= OVERLAP and i not in taken_trails and j not in taken_faces:
                taken_trails.add(i)
                taken_faces.add(j)
                live[i].indices.append(index)
                live[i].faces.append(faces[j])
        for j, face in enumerate(faces):
            if j not in taken_faces:
                self.trails.append(Trail(self.shot, [index], [face]))

    def chosen(self, number: int, source: object = "the film") -> list[Trail]:
        """The trails of face `number` (1 is the largest), one or more a shot. Raises CaptureError where nobody is."""
        if not self.trails:
            raise CaptureError(
                f"No face was found in '{source}'. Expected a face of at least a tenth of the picture's height, lit and turned "
                "less than 70 degrees from the camera; crop the picture closer, or choose another."
            )
        found = []
        most = 0
        for shot in range(self.shot + 1):
            trails = sorted((t for t in self.trails if t.shot == shot), key=lambda t: -t.weight)
            people = _grouped(trails)
            most = max(most, len(people))
            if len(people) >= number:
                found += people[number - 1]
        if not found:
            raise CaptureError(f"Face {number} was asked for; '{source}' shows {most} at most. Ask for 1 to {most}.")
        return sorted(found, key=lambda t: t.indices[0])


def _grouped(trails: list[Trail]) -> list[list[Trail]]:
    """Trails of one shot by person, largest first: one that begins where another was lost, and not at its time, is its
    continuation."""
    people: list[list[Trail]] = []
    for trail in trails:
        for person in people:
            if all(not set(trail.indices) & set(t.indices) for t in person) and _near(trail, person):
                person.append(trail)
                break
        else:
            people.append([trail])
    return people


def _near(trail: Trail, person: list[Trail]) -> bool:
    box = np.mean([f.box for f in trail.faces], 0)
    return any(overlap(np.mean([f.box for f in t.faces], 0), box) > 0.05 for t in person)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of boxes (4,)."""
    inside = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inside / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inside, 1e-9))
