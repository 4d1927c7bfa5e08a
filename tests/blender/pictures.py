# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering in tests: a frame through F12 into a multilayer EXR, read back as arrays."""

from pathlib import Path

import bpy
import numpy as np

from .exr import read_exr


def render_passes(scene, folder: Path, frame: int | None = None) -> dict[str, np.ndarray]:
    """Every pass that F12 handed to Blender: `Combined` (H, W, 4), `Depth` (H, W) and so on; row 0 on top."""
    channels = render_channels(scene, folder, frame)
    found = {}
    for name in sorted({n.rsplit(".", 1)[0] for n in channels if not n.startswith("Composite")}):
        of = {n.rsplit(".", 1)[1]: picture for n, picture in channels.items() if n.rsplit(".", 1)[0] == name}
        planes = [of[c] for c in ("RGBA" if "R" in of else "XYZW") if c in of] or list(of.values())
        found[name.split(".")[-1]] = np.stack(planes, -1) if len(planes) > 1 else planes[0]
    return found


def render_channels(scene, folder: Path, frame: int | None = None) -> dict[str, np.ndarray]:
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    settings.color_depth = "32"
    settings.exr_codec = "NONE"
    if frame is not None:
        scene.frame_set(frame)
    path = folder / "render.exr"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return read_exr(path)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels for a peak of one."""
    error = float(np.mean((np.asarray(a, np.float64) - b) ** 2))
    return float("inf") if error == 0 else -10 * np.log10(error)
