# SPDX-License-Identifier: GPL-3.0-or-later
"""What F12 costs above the bare rasteriser at 1920 x 1080; called by bench_blender.

F12 is Blender's whole render call: depsgraph, pose, drawing, passes, result, compositing if any. The rasteriser is timed on the
same Gaussians, camera and passes. Both run in blocks of frames, as films do, and the blocks by turns, so that what else the
machine does falls on both. A block's first frame finds the memory of the frame before gone to other work; it is told apart. The
difference is also told in CPU time, which a busy machine stretches less.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import bpy
import numpy as np

SIZE = 1920, 1080
BLOCKS, FRAMES = 4, 6
EVERY = ("use_pass_mist", "use_pass_normal", "use_pass_vector", "use_pass_cryptomatte_material")


def render_figures() -> dict[str, float]:
    """f12_ms, f12_first_ms, f12_rasteriser_ms, f12_overhead_ms, f12_overhead_cpu_ms, and f12_passes_ms with the passes of EVERY."""
    from loquent.addon import convert, session
    from loquent.addon import scene as make
    from loquent.addon.stage import actors, cast
    from loquent.core.splats.rasterize import rasterize

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    make.setup_scene(scene, make.build_head_object(scene, "ada"))
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.film_transparent = True
    layer = bpy.context.view_layer
    layer.use_pass_z = True
    session.performer("ada")
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera, _ = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), *SIZE)
    seen = cast(actors(depsgraph), camera)
    assert seen is not None
    through = seen.seen_through(camera)

    def bare() -> None:
        rasterize(seen.gaussians, through, passes=("median_depth",))

    f12, raster = in_turn([bpy.ops.render.render, bare])
    wall, cpu = (np.median(f12[:, 1:], (0, 1)) - np.median(raster[:, 1:], (0, 1))).tolist()
    for flag in EVERY:
        setattr(layer, flag, True)
    (every,) = in_turn([bpy.ops.render.render])
    return {
        "f12_ms": float(np.median(f12[:, 1:, 0])),
        "f12_first_ms": float(np.median(f12[:, 0, 0])),
        "f12_rasteriser_ms": float(np.median(raster[:, 1:, 0])),
        "f12_overhead_ms": wall,
        "f12_overhead_cpu_ms": cpu,
        "f12_passes_ms": float(np.median(every[:, 1:, 0])),
    }


def in_turn(tasks: Sequence[Callable[[], Any]]) -> list[np.ndarray]:
    """(BLOCKS, FRAMES, 2) milliseconds, wall and CPU, of each task; a block of each before does not count."""
    times: list[list[list[tuple[float, float]]]] = [[] for _ in tasks]
    for block in range(-1, BLOCKS):
        for found, task in zip(times, tasks, strict=True):
            frames = []
            for _ in range(FRAMES):
                began, cpu = time.perf_counter(), time.process_time()
                task()
                frames.append(((time.perf_counter() - began) * 1e3, (time.process_time() - cpu) * 1e3))
            if block >= 0:
                found.append(frames)
    return [np.array(found) for found in times]


def told(figures: dict[str, float]) -> str:
    return (
        f"  F12 at 1080p                 {figures['f12_ms']:7.1f} ms   the rasteriser alone: {figures['f12_rasteriser_ms']:.1f} ms; "
        f"a block's first frame: {figures['f12_first_ms']:.1f} ms; above it: {figures['f12_overhead_ms']:.1f} ms, {figures['f12_overhead_cpu_ms']:.1f} ms of CPU; with mist, normal, vector and regions: {figures['f12_passes_ms']:.0f} ms"
    )


if __name__ == "__main__":  # alone, for work on the engine
    import loquent

    loquent.register()
    print(told(render_figures()))
    loquent.unregister()
