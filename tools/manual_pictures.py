# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the manual's page on compositing, from the sample scenes; docs/images is written to.

    .venv/bin/python tools/manual_pictures.py [passes] [over]

Pictures of Blender's interface are made by gui_session.py and gui_pictures.py.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the EXR reader of the tests

import loquent  # noqa: E402

IMAGES = ROOT / "docs" / "images"
REGIONS = {
    "skin": (0.85, 0.55, 0.42), "hair": (0.35, 0.24, 0.16), "eyes": (0.25, 0.55, 0.9), "teeth": (0.95, 0.95, 0.9),
    "mouth": (0.8, 0.25, 0.4), "lips": (0.85, 0.15, 0.25), "body": (0.2, 0.45, 0.55),
}  # fmt: skip
TILE = 400, 300
GAP = 6


def exr(scene: Any) -> dict[str, np.ndarray]:
    from blender.exr import read_exr

    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = f"{folder}/picture.exr"
        bpy.ops.render.render(write_still=True)
        return read_exr(f"{folder}/picture.exr")


def stacked(channels: dict[str, np.ndarray], name: str, letters: str) -> np.ndarray:
    return np.stack([channels[f"{name}.{letter}"] for letter in letters], -1)


def shown(linear: np.ndarray) -> np.ndarray:
    """Scene-linear colour as sRGB, 0 to 255."""
    x = np.clip(linear, 0, 1)
    return (np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    part = np.clip((values - low) / (high - low), 0, 1)
    return np.repeat((part * 255)[..., None].astype(np.uint8), 3, -1)


def over(colour: np.ndarray, alpha: np.ndarray, behind: float = 0.06) -> np.ndarray:
    return colour + (1 - alpha[..., None]) * behind


def passes() -> None:
    """One frame of the close-up while the head turns, every pass beside it."""
    from loquent.core.splats.cryptomatte import number

    bpy.ops.wm.open_mainfile(filepath=str(ROOT / "sample_scenes" / "close_up.blend"))
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = TILE
    scene.render.film_transparent = True
    scene.camera.data.dof.use_dof = False
    ob = next(ob for ob in scene.objects if ob.type == "MESH" and ob.loquent.avatar)
    for frame, turn in ((39, 0.15), (41, 0.27)):  # a turn, so that there is something for Vector to show
        ob.rotation_euler.z = turn
        ob.keyframe_insert("rotation_euler", frame=frame, index=2)
    distance = (scene.camera.matrix_world.translation - ob.matrix_world.translation).length
    mist = scene.world.mist_settings
    mist.start, mist.depth, mist.falloff = distance - 0.16, 0.3, "LINEAR"
    layer = scene.view_layers[0]
    for name in ("z", "mist", "normal", "vector", "cryptomatte_object", "cryptomatte_material"):
        setattr(layer, f"use_pass_{name}", True)
    layer.loquent.use_pass_coverage = True
    scene.frame_set(40)
    channels = exr(scene)
    name = layer.name
    combined = stacked(channels, f"{name}.Combined", "RGBA")
    alpha, depth = combined[..., 3], channels[f"{name}.Depth.Z"]
    near, far = np.quantile(depth[depth < 1e9], [0.01, 0.99])
    vector = stacked(channels, f"{name}.Vector", "XYZW")[..., 2:]
    length = np.abs(vector).max()
    motion = np.concatenate([vector / (2 * length) + 0.5, np.full((*alpha.shape, 1), 0.5)], -1)
    normal = stacked(channels, f"{name}.Normal", "XYZ")
    regions = np.zeros((*alpha.shape, 3))
    lips = np.zeros(alpha.shape)
    for k in range(3):
        crypto = stacked(channels, f"{name}.CryptoMaterial{k:02d}", "RGBA")
        for rank in (0, 2):
            for region, colour in REGIONS.items():
                share = np.where(crypto[..., rank] == number(region), crypto[..., rank + 1], 0)
                regions += share[..., None] * np.array(colour)
                if region == "lips":
                    lips += share
    tiles = {
        "Combined": shown(over(combined[..., :3], alpha)),
        "Alpha": grey(alpha, 0, 1),
        "Depth": grey(-np.minimum(depth, far), -far, -near) * (depth < 1e9)[..., None],
        "Mist": grey(channels[f"{name}.Mist.Z"], 0, 1),
        "Normal": (np.clip(normal * 0.5 + 0.5, 0, 1) * alpha[..., None] * 255).astype(np.uint8),
        "Vector": (np.clip(motion, 0, 1) * 255).astype(np.uint8),
        "Cryptomatte by region": (np.clip(regions, 0, 1) * 255).astype(np.uint8),
        "Matte by Region: Lips": grey(lips, 0, 1),
    }
    sheet(tiles, 4, "passes.png")


def head_over_plate() -> None:
    """The set, the head, the shot: what the three stages of one F12 give."""
    bpy.ops.wm.open_mainfile(filepath=str(ROOT / "sample_scenes" / "over_a_set.blend"))
    from loquent.addon import compositor

    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 533, 300
    heads = compositor.head_scene_of(scene)
    scene.frame_set(62)
    finished = exr(scene)
    end = {name[-1]: picture for name, picture in finished.items() if name.startswith("Composite")}
    plate = stacked(finished, f"{scene.view_layers[0].name}.Combined", "RGB")
    heads.render.resolution_x, heads.render.resolution_y = 533, 300
    bpy.context.window.scene = heads
    heads.frame_set(62)
    alone = stacked(exr(heads), f"{heads.view_layers[0].name}.Combined", "RGBA")
    tiles = {
        "Scene: the set, by Cycles": shown(plate),
        "Scene Heads: the head, by Loquent": shown(over(alone[..., :3], alone[..., 3], 0.2)),
        "After F12": shown(np.stack([end[c] for c in "RGB"], -1)),
    }
    sheet(tiles, 3, "head_over_plate.png")


def sheet(tiles: dict[str, np.ndarray], columns: int, name: str) -> None:
    """Labelled pictures of one size beside each other."""
    height, width = next(iter(tiles.values())).shape[:2]
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), (20, 20, 22))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for k, (label, picture) in enumerate(tiles.items()):
        at = k % columns * (width + GAP), k // columns * (height + GAP)
        page.paste(Image.fromarray(np.ascontiguousarray(picture)), at)
        pen.text((at[0] + 10, at[1] + 8), label, (255, 255, 255), font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    path = IMAGES / name
    page.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    loquent.register()
    wanted = sys.argv[1:] or ["passes", "over"]
    if "passes" in wanted:
        passes()
    if "over" in wanted:
        head_over_plate()
    loquent.unregister()
