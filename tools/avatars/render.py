# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes all pictures of one person with Cycles: `python -m tools.avatars.render ada --cache FOLDER`. Resumes where it was.

Each picture is a .npy file (S, S, 4) float16, scene-linear and premultiplied, row 0 on top; shots.py says which camera.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import scene, shots, sitter, stage
from .people import PEOPLE, Person
from .strands import KINDS, Strands, children, join

SAMPLES = 8
HAIRS = 4


class Set:
    """The person's objects in Blender."""

    def __init__(self, person: Person, cache: Path) -> None:
        self.sitter = sitter.invite(person, cache)
        self.look = look = stage.dress(person, self.sitter)
        skin = scene.material("skin", sss=0.5, specular=0.42, grain=0.00005, grain_size=0.0011)
        wet, teeth = scene.material("wet", coat=0.6), scene.material("teeth", coat=0.6)
        cloth = scene.material("cloth", rough=0.85, sheen=0.3, specular=0.2)
        eye = scene.material("eye", rough=0.3, coat=1.0, specular=0.4)
        posed = stage.strike(look, self.sitter, self.sitter.rest)
        which = look.kind
        self.skin = scene.mesh(
            "skin",
            posed.skin,
            look.faces,
            [skin, wet, teeth, wet, wet],
            which,
            colour=look.colour,
            rough=look.rough,
            mean=look.mean,
        )
        self.shirt = scene.mesh("shirt", posed.shirt, look.shirt, [cloth], colour=look.shirt_colour)
        self.eyes = [
            scene.mesh("eye", p, look.eye_faces, [eye], colour=c)
            for p, c in zip(posed.eyes, look.eye_colours, strict=True)
        ]
        self.strands = hairs(look.strands)
        self.hair = scene.curves("hair", self.strands, scene.hair_material())

    def pose(self, expression: str) -> None:
        vertices = self.sitter.pose(shots.EXPRESSIONS[expression])
        posed = stage.strike(self.look, self.sitter, vertices)
        scene.move(self.skin, posed.skin)
        scene.move(self.shirt, posed.shirt)
        for item, points in zip(self.eyes, posed.eyes, strict=True):
            scene.move(item, points)
        scene.move_curves(
            self.hair, stage.carry_points(self.strands.points, self.strands.triangles, self.sitter, vertices)
        )


def hairs(wisps: Strands) -> Strands:
    """Head hair as several thin hairs a wisp, the rest as single hairs."""
    long = wisps.kind == KINDS.index("hair")

    def part(mask: np.ndarray) -> Strands:
        return Strands(*(getattr(wisps, f)[mask] for f in Strands.__dataclass_fields__))

    many = children(part(long), HAIRS, 1.0, np.random.default_rng(0))
    fine = part(~long)
    return join(
        [replace(many, radius=many.radius * 0.32), replace(fine, radius=fine.radius * 0.7)], wisps.points.shape[1]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(PEOPLE))
    parser.add_argument("--cache", type=Path, default=Path("out/avatars"))
    parser.add_argument("--only", help="picture names that contain this")
    arguments = parser.parse_args()
    folder = arguments.cache / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in shots.shots() if not (folder / f"{s.name}.npy").exists()]
    if arguments.only:
        missing = [s for s in missing if arguments.only in s.name]
    if not missing:
        return
    scene.start(SAMPLES)
    stage_set = Set(PEOPLE[arguments.name], arguments.cache)
    for number, shot in enumerate(missing):
        begin = time.perf_counter()
        stage_set.pose(shot.expression)
        scene.aim(shot.camera(1).world_to_camera, shots.fov(shot.framing), shots.SIZES[shot.framing])
        picture = scene.shoot(folder / shot.name)
        np.save(folder / f"{shot.name}.part.npy", picture)
        (folder / f"{shot.name}.part.npy").rename(folder / f"{shot.name}.npy")
        print(f"{number + 1}/{len(missing)} {shot.name} {time.perf_counter() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
