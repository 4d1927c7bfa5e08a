# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the .blend files of sample_scenes/ from what ships: heads, voices and the speech model.

    .venv/bin/python tools/sample_scenes.py [--out FOLDER] [SCENE ...]

Run it in Blender 4.5's Python, so that 4.5 and later open the files. Heads stand in them by name and sounds by paths
relative to the file, so the folder can be moved. `tests/blender/test_sample_scenes.py` opens and renders each.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from math import radians
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

import loquent
from loquent.core.prior.generate import generate
from loquent.core.speech.audio import RATE, Audio, read_audio

ROOT = Path(__file__).resolve().parents[1]
VOICES = ROOT / "sample_scenes"
FPS = 24
PAUSE = 0.35
"""Seconds between one speaker and the next."""


def new_scene(width: int, height: int) -> Any:
    from loquent.addon import scene as make

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    make.set_rate(scene, FPS)
    scene.render.engine = "LOQUENT"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.filepath = "//render/"
    scene.view_settings.view_transform = "Standard"  # the heads carry their own studio light, made for an sRGB display
    scene.sync_mode = "AUDIO_SYNC"
    return scene


def head(scene: Any, avatar: str, *, x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> Any:
    """A head of the extension's own, by name. turn: degrees to its left."""
    from loquent.addon import scene as make

    ob = make.build_head_object(scene, avatar, location=(x, y, 0))
    ob.rotation_euler.z = radians(turn)
    return ob


def speak(scene: Any, lines: list[tuple[Any, str]], seed: int = 0) -> list[tuple[Any, int, int]]:
    """Let heads say recordings one after the other: (head, first, last frame) of each line.

    A head hears silence while others speak, so it goes on breathing and blinking.
    """
    from loquent.addon import scene as make
    from loquent.addon.timeline import Bake

    spoken, at = [], 0.2
    for ob, voice in lines:
        audio = read_audio(VOICES / voice)
        spoken.append((ob, voice, audio, at))
        at += audio.seconds + PAUSE
    total = at + 0.3
    said = []
    for number, ob in enumerate(dict.fromkeys(ob for ob, _ in lines)):
        heard = np.zeros(round(total * RATE), np.float32)
        for other, voice, audio, begin in spoken:
            if other == ob:
                place = round(begin * RATE)
                heard[place : place + len(audio.samples)] = audio.samples
                first = scene.frame_start + round(begin * FPS)
                strip = make.add_sound_strip(scene, str(VOICES / voice), first, ob.loquent.uuid, mute_others=False)
                strip.sound.filepath = f"//{voice}"
                ob.loquent.sound = f"//{voice}"
                said.append((ob, first, first + round(audio.seconds * FPS)))
        motion = generate(Audio(heard), fps=FPS, seed=seed + number)
        make.apply_motion(scene, ob, motion, scene.frame_start, name=f"Speak {ob.name}", bake=Bake(0.3))
    scene.frame_end = scene.frame_start + round(total * FPS) - 1
    scene.frame_set(scene.frame_start)
    return sorted(said, key=lambda line: line[1])


def camera(scene: Any, name: str, eye: tuple, target: tuple, lens: float) -> Any:
    data = bpy.data.cameras.new(name)
    data.lens, data.clip_start = lens, 0.01
    ob = bpy.data.objects.new(name, data)
    scene.collection.objects.link(ob)
    away = Vector(eye) - Vector(target)
    ob.matrix_world = Matrix.Translation(eye) @ away.to_track_quat("Z", "Y").to_matrix().to_4x4()
    scene.camera = scene.camera or ob
    return ob


def world(scene: Any, colour: tuple[float, float, float]) -> Any:
    made = bpy.data.worlds.new("World")
    made.use_nodes = True
    made.node_tree.nodes["Background"].inputs["Color"].default_value = (*colour, 1)
    made.color = colour
    scene.world = made
    return made


def close_up() -> Any:
    """Ada says her line before a plain wall, with a portrait lens wide open."""
    from loquent.addon import scene as make

    scene = new_scene(1280, 720)
    ob = head(scene, "ada", turn=12)
    view = make.place_camera(scene, ob, fill=0.9)
    view.data.dof.use_dof, view.data.dof.aperture_fstop = True, 2.8
    eyes = bpy.data.objects.new("Focus", None)  # between the eyes; it goes along with the head object
    eyes.empty_display_size, eyes.parent, eyes.location = 0.02, ob, (0, -0.085, 0.045)
    scene.collection.objects.link(eyes)
    view.data.dof.focus_object = eyes
    scene.loquent_render.lens_samples = 24
    world(scene, (0.055, 0.06, 0.07))
    speak(scene, [(ob, "voice_ada.flac")])
    return scene


def dialogue() -> Any:
    """Ada and Bruno talk; three cameras, cut by markers."""
    scene = new_scene(1280, 720)
    ada, bruno = head(scene, "ada", x=-0.2, turn=48), head(scene, "bruno", x=0.2, turn=-48)
    both = camera(scene, "Both", (0, -1.5, 0.06), (0, 0, 0.0), 70)
    on_ada = camera(scene, "On Ada", (0.34, -0.76, 0.05), (-0.2, 0, 0.025), 72)
    on_bruno = camera(scene, "On Bruno", (-0.34, -0.76, 0.05), (0.2, 0, 0.025), 72)
    world(scene, (0.07, 0.055, 0.05))
    lines = speak(scene, [(ada, "voice_ada.flac"), (bruno, "voice_bruno.flac")])
    (_, ada_begins, ada_ends), (_, bruno_begins, bruno_ends) = lines
    cuts = (
        (scene.frame_start, both), (ada_begins + 2 * FPS, on_ada), ((ada_ends + bruno_begins) // 2, both),
        (bruno_begins + 2 * FPS, on_bruno), (bruno_ends - FPS // 2, both),
    )  # fmt: skip
    for frame, view in cuts:
        scene.timeline_markers.new(view.name, frame=frame).camera = view
    return scene


def over_a_set() -> Any:
    """Bruno on the radio: a room drawn by Cycles, the head over it, a microphone before it."""
    scene = new_scene(1280, 720)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = 48, True, "CPU"
    ob = head(scene, "bruno", turn=-14)
    camera(scene, "Camera", (0.08, -1.3, 0.12), (0.08, 0, -0.02), 62)
    world(scene, (0.03, 0.035, 0.05))
    build_room(scene)
    speak(scene, [(ob, "voice_bruno.flac")])
    assert bpy.ops.loquent.head_over_plate() == {"FINISHED"}
    return scene


def build_room(scene: Any) -> None:
    wood = material("Wood", (0.22, 0.1, 0.045), 0.45)
    paint = material("Paint", (0.16, 0.24, 0.27), 0.8)
    metal = material("Metal", (0.55, 0.55, 0.58), 0.25, metallic=1.0)
    foam = material("Foam", (0.02, 0.02, 0.022), 0.95)
    box(scene, "Wall", (0, 0.9, 0.2), (4, 0.05, 3), paint)
    box(scene, "Table", (0, -0.4, -0.16), (2.4, 0.42, 0.03), wood)
    for k, (x, z, width) in enumerate(((-0.55, 0.0, 0.5), (0.66, 0.06, 0.62))):
        box(scene, f"Shelf {k + 1}", (x, 0.8, z), (width, 0.16, 0.02), wood)
    colours = ((0.5, 0.1, 0.06), (0.1, 0.25, 0.35), (0.55, 0.4, 0.1), (0.12, 0.3, 0.14))
    for k in range(7):
        tall = 0.15 + 0.03 * (k * 5 % 3)
        book = material(f"Book {k % 4 + 1}", colours[k % 4], 0.7)
        box(scene, f"Book {k + 1}", (0.48 + 0.045 * k, 0.79, 0.07 + tall / 2), (0.035, 0.12, tall), book)
    lamp = box(
        scene, "Lamp", (-0.42, 0.78, 0.09), (0.13, 0.1, 0.16), material("Shade", (1.0, 0.72, 0.42), 0.6, light=1.6)
    )
    lamp.visible_shadow = False
    microphone(scene, metal, foam)
    for name, at, size, power, colour in (
        ("Key", (-1.2, -1.2, 1.4), 0.8, 28, (1, 0.93, 0.85)),
        ("Rim", (1.1, 0.5, 0.9), 0.5, 12, (0.65, 0.8, 1)),
    ):
        light = bpy.data.lights.new(name, "AREA")
        light.energy, light.size, light.color = power, size, colour
        made = bpy.data.objects.new(name, light)
        made.matrix_world = Matrix.Translation(at) @ Vector(at).to_track_quat("Z", "Y").to_matrix().to_4x4()
        scene.collection.objects.link(made)


def microphone(scene: Any, metal: Any, foam: Any) -> None:
    """On an arm from the right; its head hides a part of the chin from the camera."""
    import bmesh

    for name, at, radius, depth, tilt, finish in (
        ("Microphone", (0.075, -0.21, -0.075), 0.026, 0.07, -0.9, foam),
        ("Microphone Body", (0.125, -0.21, -0.115), 0.017, 0.09, -0.9, metal),
        ("Microphone Arm", (0.33, -0.21, -0.26), 0.006, 0.42, -0.96, metal),
    ):
        mesh = bpy.data.meshes.new(name)
        shape = bmesh.new()
        if finish == foam:
            bmesh.ops.create_uvsphere(shape, u_segments=32, v_segments=20, radius=1)
            bmesh.ops.scale(shape, vec=(radius, radius, depth / 2), verts=shape.verts)
        else:
            bmesh.ops.create_cone(shape, cap_ends=True, segments=32, radius1=radius, radius2=radius * 0.8, depth=depth)
        for face in shape.faces:
            face.smooth = True
        shape.to_mesh(mesh)
        shape.free()
        mesh.materials.append(finish)
        ob = bpy.data.objects.new(name, mesh)
        ob.location, ob.rotation_euler.y = at, tilt
        scene.collection.objects.link(ob)


def box(scene: Any, name: str, at: tuple, size: tuple, finish: Any) -> Any:
    x, y, z = (side / 2 for side in size)
    corners = [(a, b, c) for a in (-x, x) for b in (-y, y) for c in (-z, z)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners, [], faces)
    mesh.materials.append(finish)
    ob = bpy.data.objects.new(name, mesh)
    ob.location = at
    scene.collection.objects.link(ob)
    return ob


def material(name: str, colour: tuple, roughness: float, *, metallic: float = 0.0, light: float = 0.0) -> Any:
    found = bpy.data.materials.get(name)
    if found is not None:
        return found
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"].inputs
    shader["Base Color"].default_value = (*colour, 1)
    shader["Roughness"].default_value, shader["Metallic"].default_value = roughness, metallic
    if light:
        shader["Emission Color"].default_value, shader["Emission Strength"].default_value = (*colour, 1), light
    made.diffuse_color = (*colour, 1)
    return made


SCENES: dict[str, Callable[[], Any]] = {"close_up": close_up, "dialogue": dialogue, "over_a_set": over_a_set}


def save(scene: Any, path: Path) -> None:
    """Save the open file with that scene in its window, seen through its camera."""
    bpy.context.window.scene = scene
    for screen in bpy.data.screens:
        for area in screen.areas:
            for space in (space for space in area.spaces if space.type == "VIEW_3D"):
                space.region_3d.view_perspective = "CAMERA"
    bpy.context.preferences.filepaths.save_version = 0
    with tempfile.TemporaryDirectory() as folder:  # the path is kept in the file: let it be nobody's
        made = Path(folder) / path.name
        bpy.ops.wm.save_as_mainfile(filepath=str(made), compress=True, relative_remap=False)
        shutil.copyfile(made, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=VOICES)
    parser.add_argument("scenes", nargs="*", help=", ".join(SCENES))
    arguments = parser.parse_args()
    loquent.register()
    for name in arguments.scenes or SCENES:
        target = arguments.out / f"{name}.blend"
        save(SCENES[name](), target)
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
    loquent.unregister()


if __name__ == "__main__":
    main()
