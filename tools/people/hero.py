# SPDX-License-Identifier: GPL-3.0-or-later
"""People photographed by Cycles: `python -m tools.people.hero OUT --people 8 --views 4`. Files as make.py's, 256 px.

For testing what was trained on make.py's pictures (split hero), and for the last steps of that training (split hero_train,
other people): the same shapes, poses and cameras, but a subdivided mesh with subsurface
scattering, real strands of hair and the CC0 panoramas that Blender brings (Greg Zaal, Poly Haven) as light. Needs bpy.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from math import atan
from pathlib import Path

import numpy as np

from loquent.core.geometry.cameras import Camera
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS

from ..avatars import people, scene, stage, strands
from ..avatars.sitter import Sitter
from . import acting, body, hair
from .layout import layout
from .make import encode, save
from .person import shoulder
from .recipe import Recipe, generator, sample

SAMPLES = 8
HAIRS = 5
"""Strands a wisp."""


class Studio:
    """One person's objects in an empty scene, and the light round them."""

    def __init__(self, recipe: Recipe, rng: np.random.Generator, threads: int) -> None:
        import bpy

        scene.start(SAMPLES)
        bpy.context.scene.render.threads = threads
        cycles = bpy.context.scene.cycles
        # trees made for hair take longer to build than so few samples take to trace; the pictures are the same
        cycles.debug_use_hair_bvh, cycles.debug_bvh_type = False, "DYNAMIC_BVH"
        self.light = _panorama(rng)
        points = layout()
        shape = identity(points.head, recipe.betas)
        self.shape = shape
        self.sitter = body.sitter(shape, points, pose_vertices(shape, np.zeros(len(CHANNELS), np.float32)))
        self.look = _look(recipe, self.sitter, rng)
        skin = scene.material("skin", sss=0.4, specular=0.42, grain=0.00005, grain_size=0.0011)
        wet, teeth = scene.material("wet", coat=0.6), scene.material("teeth", coat=0.6)
        cloth = scene.material("cloth", rough=0.85, sheen=0.3, specular=0.2)
        eye = scene.material("eye", rough=0.3, coat=1.0, specular=0.4)
        look = self.look
        at = stage.strike(look, self.sitter, self.sitter.rest)
        attributes = dict(colour=look.colour, rough=look.rough, mean=look.mean)
        self.skin = scene.mesh("skin", at.skin, look.faces, [skin, wet, teeth, wet, wet], look.kind, **attributes)
        self.shirt = scene.mesh("shirt", at.shirt, look.shirt, [cloth], colour=look.shirt_colour)
        self.eyes = [
            scene.mesh("eye", p, look.eye_faces, [eye], colour=c)
            for p, c in zip(at.eyes, look.eye_colours, strict=True)
        ]
        self.hair = scene.curves("hair", look.strands, scene.hair_material())

    def shoot(self, values: np.ndarray, camera: Camera, path: Path) -> np.ndarray:
        """(S, S, 4) premultiplied linear picture."""
        import bpy

        at = stage.strike(self.look, self.sitter, pose_vertices(self.shape, values))
        scene.move(self.skin, at.skin)
        scene.move(self.shirt, at.shirt)
        for item, points in zip(self.eyes, at.eyes, strict=True):
            scene.move(item, points)
        scene.move_curves(self.hair, at.hair)
        size = camera.width
        scene.aim(camera.world_to_camera, 2 * atan(size / 2 / float(camera.K[0, 0])), size)
        lens = bpy.context.scene.camera.data
        lens.shift_x = (size / 2 - float(camera.K[0, 2])) / size
        lens.shift_y = (float(camera.K[1, 2]) - size / 2) / size
        return scene.shoot(path).astype(np.float32)


def _look(recipe: Recipe, sitter: Sitter, rng: np.random.Generator) -> stage.Look:
    """Dressed as tools/avatars dresses people, with this recipe's hair."""
    beard = {"short": 0.007, "full": 0.016, "goatee": 0.010, "moustache": 0.008}.get(recipe.beard, 0.0)
    stubble = {"none": 0.1, "stubble": 0.7}.get(recipe.beard, 0.6) * (not recipe.woman)
    model = people.Person(
        name="hero", seed=int(rng.integers(1 << 20)), macro={}, race=(0, 0, 1), details={}, hair=recipe.hair,
        palette=replace(recipe.palette, stubble=stubble), brow=recipe.brow_colour, style="bob" if recipe.woman else "crop",
        grey=recipe.grey, beard=beard, spindles=1,
    )  # fmt: skip
    look = stage.dress(model, sitter)
    points = layout()
    face = _part(look.strands, look.strands.kind > 0)
    grown = hair.grow(recipe, body.scalp_of(points, sitter.rest), rng)
    if grown is None:
        return replace(look, strands=face)
    many = strands.children(grown, HAIRS, 1.0, rng)
    length = max(face.points.shape[1], many.points.shape[1])
    fine = [replace(many, radius=many.radius * 0.30), replace(face, radius=face.radius * 0.7)]
    return replace(look, strands=strands.join(fine, length))


def _part(some: strands.Strands, mask: np.ndarray) -> strands.Strands:
    return strands.Strands(*(getattr(some, f)[mask] for f in strands.Strands.__dataclass_fields__))


def _panorama(rng: np.random.Generator) -> str:
    """Lights the scene with one of Blender's panoramas, turned at random, and perhaps one lamp. Returns its name."""
    import bpy

    for item in [o for o in bpy.data.objects if o.type == "LIGHT"]:
        bpy.data.objects.remove(item)
    folder = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    files = sorted(folder.glob("*.exr"))
    chosen = files[rng.integers(len(files))]
    tree = bpy.context.scene.world.node_tree
    environment = tree.nodes.new("ShaderNodeTexEnvironment")
    environment.image = bpy.data.images.load(str(chosen))
    place, mapping = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = (np.pi / 2, 0, float(rng.uniform(0, 2 * np.pi)))  # our up is y
    mapping.vector_type = "TEXTURE"
    tree.links.new(place.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
    tree.links.new(environment.outputs["Color"], tree.nodes["Background"].inputs["Color"])
    tree.nodes["Background"].inputs["Strength"].default_value = 1.0
    if rng.random() < 0.5:
        scene.softbox((float(rng.uniform(-1, 1)), 0.5, 1.2), 0.6, 10.0, (1.0, 0.95, 0.9))
    return chosen.stem


def record(
    split: str, index: int, views: int, size: int, seed: int, threads: int, scratch: Path
) -> dict[str, np.ndarray]:
    """The arrays of one person's file."""
    recipe = sample(load_head(), split, index, seed)
    if recipe.style in ("bald", "horseshoe"):  # what tools/avatars paints on the scalp needs hair over it
        recipe = replace(recipe, style="crop")
    studio = Studio(recipe, generator(split, index, 3, seed), threads)
    shots = acting.views(generator(split, index, 2, seed), views, size)
    pictures = [studio.shoot(values, camera, scratch / f".{split}{index}") for values, camera in shots]
    inside = pictures[0][..., 3] > 0.95
    inside[: size // 3] = inside[2 * size // 3 :] = False
    gain = 0.34 * (1 - 0.65 * recipe.melanin) / max(float(np.percentile(pictures[0][inside][:, 1], 75)), 1e-3)
    colour = [shoulder(gain * p[..., :3]) for p in pictures]
    tags = recipe.tags() | {"light": studio.light, "split": split, "index": index, "maker": "cycles 1"}
    return {
        "images": np.stack([encode(c) for c in colour]),
        "matte": np.stack([(np.clip(p[..., 3], 0, 1) * 255 + 0.5).astype(np.uint8) for p in pictures]),
        "K": np.stack([c.K for _, c in shots]),
        "world_to_camera": np.stack([c.world_to_camera for _, c in shots]),
        "values": np.stack([v for v, _ in shots]),
        "betas": recipe.betas,
        "tags": np.array(json.dumps(tags, sort_keys=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.people.hero", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=("hero", "hero_train"), default="hero", help="hero: never to be trained on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for index in range(arguments.first, arguments.first + arguments.people):
        path = arguments.out / f"{index:05d}.npz"
        if path.exists():
            continue
        begin = time.perf_counter()
        arrays = record(
            arguments.split, index, arguments.views, arguments.size, arguments.seed, arguments.threads, arguments.out
        )
        save(path, arrays)
        print(f"{path} {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
