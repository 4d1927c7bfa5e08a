# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Blender side costs: registering, and baking a minute at 60 frames a second.

    python3.11 dev.py bench blender [--json FILE]

Beside the bake stands `keyframe_insert`, Blender's way of setting keys one by one, on a tenth of the keys and scaled.
Sparse keys are measured on speech: the sample recordings, spoken by the model that ships, one after the other for a minute;
beside them the dense keys, and how far any vertex of the posed head then is from the dense motion.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np
from bench_render import render_figures
from bench_render import told as told_of_render
from bench_viewport import told, viewport_figures
from figures import keep, options

import loquent
from loquent.core.head.motion import CHANNELS, Motion

ROOT = Path(__file__).resolve().parents[1]
FRAMES, FPS = 3600, 60


def register_ms() -> float:
    """Median CPU milliseconds of `register` in a process that has only imported bpy."""
    code = (
        "import bpy, time, loquent; t = time.process_time(); loquent.register(); "
        "print('TOOK', (time.process_time() - t) * 1e3); loquent.unregister()"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(6)][
        1:
    ]
    return statistics.median(float(run.stdout.split("TOOK")[1].split()[0]) for run in runs)


def bake_s(scene: object, head: object, motion: Motion, millimetres: float) -> float:
    """Seconds of apply_motion, median of five, the first (which measures the head) left out."""
    from loquent.addon import scene as make
    from loquent.addon.timeline import Bake

    times = []
    for _ in range(6):
        head.animation_data_clear()
        started = time.perf_counter()
        make.apply_motion(scene, head, motion, 1, bake=Bake(millimetres))
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def one_by_one_s(head: object) -> float:
    """Seconds of keyframe_insert for a minute's keys: a tenth of them, times ten."""
    head.animation_data_clear()
    started = time.perf_counter()
    for frame in range(0, FRAMES, 10):
        for name in CHANNELS:
            head.keyframe_insert(f"loquent.motion.{name}", frame=frame)
    return (time.perf_counter() - started) * 10


def empty_scene(fps: int) -> tuple[object, object]:
    from loquent.addon import scene as make

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    make.set_rate(scene, fps)
    return scene, make.build_head_object(scene, "ada")


def speech(fps: int) -> Motion:
    """A minute of speech: the sample recordings in turn."""
    from loquent.core.prior.generate import generate
    from loquent.core.speech.audio import read_audio

    voices = sorted((ROOT / "sample_scenes").glob("voice_*.flac"))
    parts = [generate(read_audio(voice), fps=fps, seed=seed).values for seed in range(4) for voice in voices]
    return Motion(fps, np.concatenate(parts)[: 60 * fps])


def keys_of(head: object) -> int:
    from loquent.addon.timeline import curves

    return sum(len(curve.keyframe_points) for curve in curves(head.animation_data.action))


def furthest_mm(scene: object, head: object, motion: Motion, step: int) -> float:
    """Millimetres between Blender's own evaluation of the keys and the dense motion, worst vertex of every step-th frame."""
    from loquent.addon.timeline import curves
    from loquent.core.head.head import identity, load_head, pose_vertices

    by_name = {curve.data_path.rsplit(".", 1)[1]: curve for curve in curves(head.animation_data.action)}
    frames = np.arange(0, len(motion), step)
    shown = np.array([[by_name[name].evaluate(1 + k) for name in CHANNELS] for k in frames.tolist()], np.float32)
    person = identity(load_head())
    off = pose_vertices(person, shown) - pose_vertices(person, motion.values[frames])
    return float(np.linalg.norm(off, axis=2).max()) * 1e3


def saved_mb(folder: str) -> float:
    path = Path(folder) / "take.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True)
    return path.stat().st_size / 1e6


def timeline_figures() -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        scene, head = empty_scene(FPS)
        empty = saved_mb(folder)
        noise = Motion(FPS, np.random.default_rng(0).random((FRAMES, len(CHANNELS))).astype(np.float32))
        figures["bake_dense_noise_s"] = bake_s(scene, head, noise, 0.0)
        figures["bake_one_by_one_s"] = one_by_one_s(head)
        for fps in (FPS, 24):
            motion = speech(fps)
            scene, head = empty_scene(fps)
            dense_s = bake_s(scene, head, motion, 0.0)
            dense_keys, dense_mb = keys_of(head), saved_mb(folder) - empty
            scene, head = empty_scene(fps)
            sparse_s = bake_s(scene, head, motion, 0.3)
            suffix = "" if fps == FPS else f"_{fps}fps"
            figures[f"bake_s{suffix}"] = sparse_s
            figures[f"bake_dense_s{suffix}"] = dense_s
            figures[f"key_reduction{suffix}"] = dense_keys / keys_of(head)
            figures[f"key_error_mm{suffix}"] = furthest_mm(scene, head, motion, 3)
            figures[f"take_mb{suffix}"] = saved_mb(folder) - empty
            figures[f"take_dense_mb{suffix}"] = dense_mb
    return figures


def main() -> None:
    target = options(__doc__).parse_args().json
    figures = {"register_ms": register_ms()}
    loquent.register()
    figures |= timeline_figures()
    viewport = viewport_figures()
    figures |= viewport
    rendering = render_figures()
    figures |= rendering
    loquent.unregister()
    f = figures
    print(f"Blender {bpy.app.version_string}, a minute of {len(CHANNELS)} channels")
    print(f"  registering                  {f['register_ms']:7.1f} ms of CPU")
    print(
        f"  dense keys, 60 fps, noise    {f['bake_dense_noise_s']:7.2f} s   one by one: {f['bake_one_by_one_s']:.1f} s"
    )
    for suffix, fps in (("", 60), ("_24fps", 24)):
        print(
            f"  sparse keys, {fps} fps, speech {f['bake_s' + suffix]:7.2f} s   dense: {f['bake_dense_s' + suffix]:.2f} s; "
            f"{f['key_reduction' + suffix]:.1f} times fewer keys, no vertex further off than {f['key_error_mm' + suffix]:.3f} mm; "
            f"in the file {f['take_mb' + suffix]:.2f} MB, dense {f['take_dense_mb' + suffix]:.2f} MB"
        )
    print(told(viewport))
    print(told_of_render(rendering))
    keep(figures, target)


if __name__ == "__main__":
    main()
