# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Blender side costs: registering, and baking a minute at 60 frames a second.

    python3.11 dev.py bench blender [--json FILE]

Beside the bake stands `keyframe_insert`, Blender's way of setting keys one by one, on a tenth of the keys and scaled.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import bpy
import numpy as np

import loquent
from loquent.core.head.motion import CHANNELS, Motion

FRAMES, FPS = 3600, 60


def register_ms() -> float:
    """Median CPU milliseconds of `register` in a process that has only imported bpy."""
    code = (
        "import bpy, time, loquent; t = time.process_time(); loquent.register(); "
        "print((time.process_time() - t) * 1e3); loquent.unregister()"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return statistics.median(float(run.stdout.split()[0]) for run in runs)


def bake_s() -> tuple[float, float]:
    """Seconds of apply_motion, median of five, and of keyframe_insert for as many keys."""
    from loquent.addon import scene as make

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    make.set_rate(scene, FPS)
    head = make.build_head_object(scene, "ada")
    motion = Motion(FPS, np.random.default_rng(0).random((FRAMES, len(CHANNELS))).astype(np.float32))
    times = []
    for _ in range(5):
        started = time.perf_counter()
        make.apply_motion(scene, head, motion, 1)
        times.append(time.perf_counter() - started)
    head.animation_data_clear()
    started = time.perf_counter()
    for frame in range(0, FRAMES, 10):
        for name in CHANNELS:
            head.keyframe_insert(f"loquent.motion.{name}", frame=frame)
    return statistics.median(times), (time.perf_counter() - started) * 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    target = parser.parse_args().json
    figures = {"register_ms": register_ms()}
    loquent.register()
    figures["bake_s"], one_by_one = bake_s()
    loquent.unregister()
    print(f"Blender {bpy.app.version_string}")
    print(f"  registering                        {figures['register_ms']:7.1f} ms of CPU")
    print(
        f"  baking {len(CHANNELS)} channels x {FRAMES} keys     {figures['bake_s']:7.2f} s   one by one: {one_by_one:.1f} s"
    )
    if target:
        target.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
