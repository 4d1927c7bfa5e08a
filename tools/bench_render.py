# SPDX-License-Identifier: GPL-3.0-or-later
"""What F12 costs above the bare rasteriser at 1920 x 1080; called by bench_blender.

F12 is Blender's whole render call: depsgraph, pose, drawing, passes, result, compositing if any. The rasteriser is timed on the
same Gaussians, camera and passes, by turns with F12, so that what else the machine does falls on both.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import bpy

SIZE = 1920, 1080
RUNS = 15
EVERY = ("use_pass_mist", "use_pass_normal", "use_pass_vector", "use_pass_cryptomatte_material")


def render_figures() -> dict[str, float]:
    """f12_ms, f12_rasteriser_ms, f12_overhead_ms, and f12_passes_ms with the passes of EVERY besides."""
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
    differences = sorted(a - b for a, b in zip(f12, raster, strict=True))
    for flag in EVERY:
        setattr(layer, flag, True)
    (every,) = in_turn([bpy.ops.render.render])
    return {
        "f12_ms": statistics.median(f12),
        "f12_rasteriser_ms": statistics.median(raster),
        "f12_overhead_ms": statistics.median(differences),
        "f12_passes_ms": statistics.median(every),
    }


def in_turn(tasks: Sequence[Callable[[], Any]]) -> list[list[float]]:
    """Milliseconds of each task RUNS times, the tasks one after the other; the first two rounds do not count."""
    times: list[list[float]] = [[] for _ in tasks]
    for run in range(-2, RUNS):
        for found, task in zip(times, tasks, strict=True):
            began = time.perf_counter()
            task()
            if run >= 0:
                found.append((time.perf_counter() - began) * 1e3)
    return times


def told(figures: dict[str, float]) -> str:
    return (
        f"  F12 at 1080p                 {figures['f12_ms']:7.1f} ms   the rasteriser alone: {figures['f12_rasteriser_ms']:.1f} ms; "
        f"above it: {figures['f12_overhead_ms']:.1f} ms; with mist, normal, vector and regions: {figures['f12_passes_ms']:.0f} ms"
    )


if __name__ == "__main__":  # alone, for work on the engine
    import loquent

    loquent.register()
    print(told(render_figures()))
    loquent.unregister()
