# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the native rasteriser: 60,000 Gaussians, SH degree 3, a head filling 80 % of the picture's height.

    python dev.py bench raster [--json FILE]

The scene is synthetic and seeded. `forward` is Gaussians to colour, alpha and depth; `iteration` is colour and alpha
forward, and backward to means, quaternions, scales, opacities and harmonics; `passes` is `forward` with the median depth
and eight features; `pose` carries 60,000 bound Gaussians with
their mesh. Wall time, median of several runs after a warm-up, and the best run beside it. `cpu` is the processor time of
the best run on one thread, which other work on the machine disturbs least. The last column is the prototype's best run
on two otherwise idle Zen 3 cores.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.geometry.rotations import matrix_to_quat_wxyz
from loquent.core.splats import native
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.gaussians import SH_C0, Gaussians

COUNT = 60_000
PROTOTYPE = {  # RASTER.md, 5: best of several runs, two threads
    "forward_ms_512": 10.1,
    "forward_ms_1080": 22.8,
    "iteration_ms_512": 22.8,
    "iteration_ms_1080": 51.9,
}


def head_cloud(count: int = COUNT, sigma_mm: float = 2.5, seed: int = 0) -> Gaussians:
    """A head-sized ellipsoid of flat Gaussians with a nose and a shell of hair; opacity and harmonics at random."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    axes = np.array([0.075, 0.115, 0.095])
    nose = np.exp(-((direction[:, 0] / 0.12) ** 2 + ((direction[:, 1] + 0.05) / 0.18) ** 2)) * (direction[:, 2] > 0)
    bump = 1 + 0.03 * np.sin(9 * direction[:, 0]) * np.cos(7 * direction[:, 1]) + 0.18 * nose
    means = direction * axes * bump[:, None]
    hair = (direction[:, 1] > 0.15) & (rng.random(count) < 0.5)
    means[hair] += direction[hair] * rng.uniform(0, 0.02, (hair.sum(), 1))
    normal = direction / axes
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    first = np.cross(normal, rng.normal(size=(count, 3)))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    rotations = np.stack([first, np.cross(normal, first), normal], -1)
    scales = np.exp(rng.normal(size=(count, 3)) * 0.25) * np.array([1, 0.8, 0.25]) * sigma_mm * 1e-3
    scales[hair] *= [1.6, 0.4, 1.2]
    solid, medium, faint = rng.uniform(0.9, 0.999, count), rng.uniform(0.3, 0.9, count), rng.uniform(0.005, 0.3, count)
    kind = rng.random(count)
    opacities = np.where(kind < 0.6, solid, np.where(kind < 0.85, medium, faint))
    harmonics = rng.normal(size=(count, 16, 3)) * 0.05
    base = 0.5 + 0.25 * np.sin(direction * [5, 8, 6] + [0, 1, 2])
    base[hair] *= 0.4
    harmonics[:, 0] = (base - 0.5) / SH_C0
    arrays = means, matrix_to_quat_wxyz(rotations), scales, opacities, harmonics
    return Gaussians(*(np.ascontiguousarray(a, np.float32) for a in arrays))


def view(width: int, height: int) -> Camera:
    """From the front left, the head filling 80 % of the height."""
    camera = look_at((0.27, 0.08, 0.75), (0, 0, 0), width=width, height=height)
    focal = 0.8 * height / 0.25 * 0.8
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
    return Camera(camera.world_to_camera, K, width, height)


class Frame:
    """One scene and camera with all arrays made beforehand, so that only the library is timed."""

    def __init__(self, gaussians: Gaussians, camera: Camera, threads: int, kernels: int = -1):
        shape = camera.height, camera.width
        fields = "means", "quats_wxyz", "scales", "opacities", "harmonics"
        self.arrays = [np.ascontiguousarray(getattr(gaussians, name), np.float32) for name in fields]
        self.layers = [np.empty((*shape, 3), np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)]
        rng = np.random.default_rng(1)
        self.slopes = [rng.normal(size=a.shape).astype(np.float32) for a in self.layers[:2]]
        self.grads = [np.empty_like(a) for a in self.arrays]
        self.scene, self.view = native.scene_of(*self.arrays), native.view_of(camera)
        self.image = native.Image(*map(native.pointer, self.layers))
        self.features = rng.normal(size=(len(gaussians), 8)).astype(np.float32)
        self.extra = [np.empty((*shape, 8), np.float32), np.empty(shape, np.float32)]
        self.rich_scene = native.scene_of(*self.arrays, self.features)
        self.rich = native.Image(*map(native.pointer, (*self.layers, *self.extra)))
        self.flat = native.Image(*map(native.pointer, self.layers[:2]), None)
        self.gradient = native.Image(*map(native.pointer, self.slopes), None)
        self.out = native.Gradients(*map(native.pointer, self.grads), None)
        self.pool, self.context = native.Pool(threads), native.Context(kernels)

    def forward(self) -> None:
        self.context.forward(self.pool, self.scene, self.view, self.image)

    def passes(self) -> None:
        self.context.forward(self.pool, self.rich_scene, self.view, self.rich)

    def iteration(self) -> None:
        self.context.forward(self.pool, self.scene, self.view, self.flat)
        self.context.backward(self.pool, self.scene, self.view, self.flat, self.gradient, self.out)


def timed(work: Callable[[], object], runs: int = 25, seconds: float = 4.0) -> tuple[float, float, float]:
    """Median and best wall time, and least processor time of this thread, in milliseconds."""
    work()
    wall, processor, until = [], [], time.perf_counter() + seconds
    while len(wall) < runs and (len(wall) < 5 or time.perf_counter() < until):
        started, cpu = time.perf_counter(), time.thread_time()
        work()
        wall.append((time.perf_counter() - started) * 1e3)
        processor.append((time.thread_time() - cpu) * 1e3)
    return statistics.median(wall), min(wall), min(processor)


def pose_task() -> Callable[[], object]:
    """Carry COUNT Gaussians on a mesh of 20,000 triangles."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(0, 0.1, (10_000, 3)).astype(np.float32)
    faces = (rng.integers(0, 10_000, (20_000, 1)) + [0, 1, 2]).astype(np.int32) % 10_000
    quats = rng.normal(size=(COUNT, 4)).astype(np.float32)
    binding = Binding(
        np.sort(rng.integers(0, len(faces), COUNT)).astype(np.int32),
        rng.normal(size=(COUNT, 3)).astype(np.float32),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        rng.uniform(0.1, 1, (COUNT, 3)).astype(np.float32),
    )
    return lambda: carry(binding, vertices, faces, threads=2)


def error_against_twin() -> float | None:
    """Largest difference of colour or alpha to the torch twin in float64 on a small scene; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    from loquent.core.splats.twin import rasterize_twin

    gaussians, camera = head_cloud(1500, 16), view(96, 96)
    frame = Frame(gaussians, camera, 1)
    frame.forward()
    tensors = [torch.from_numpy(a).double() for a in frame.arrays]
    matrices = [torch.from_numpy(np.asarray(m)).double() for m in (camera.world_to_camera, camera.K)]
    want = rasterize_twin(*tensors, *matrices, camera.width, camera.height)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(frame.layers[:2], want, strict=False))


def main(json_path: str | Path | None = None) -> None:
    lib = native.library()
    if lib is None:
        raise SystemExit("The native library is missing; run 'python tools/build_native.py' first.")
    gaussians, names = head_cloud(), native.kernel_names()
    figures: dict[str, float] = {}
    print(f"{COUNT:,} Gaussians, SH 3; kernels {', '.join(names)}; {lib.splat_build().decode()}")
    print(f"{'':32}{'one thread':>24}{'two threads':>16}{'prototype':>12}")
    print(f"{'milliseconds':32}{'median':>8}{'best':>8}{'cpu':>8}{'median':>8}{'best':>8}{'best':>12}")
    for kernels, name in reversed(list(enumerate(names))):
        for key, (width, height) in (("512", (512, 512)), ("1080", (1920, 1080))):
            for task in ("forward", "passes", "iteration"):
                one, two = (
                    timed(getattr(Frame(gaussians, view(width, height), threads, kernels), task)) for threads in (1, 2)
                )
                known = ""
                if name == names[-1]:
                    figure = f"{task}_ms_{key}"
                    figures[figure] = round(two[0], 2)
                    known = f"{PROTOTYPE[figure]:12.1f}" if figure in PROTOTYPE else ""
                cells = "".join(f"{x:8.1f}" for x in (*one, *two[:2]))
                print(f"{f'{task} {width} x {height} {name}':32}{cells}{known}", flush=True)
    median, best, _ = timed(pose_task())
    figures["pose_ms"] = round(median, 2)
    print(f"{'pose':32}{'':24}{median:8.2f}{best:8.2f}")
    error = error_against_twin()
    if error is not None:
        figures["max_error_twin"] = error
        print(f"largest difference of colour or alpha to the float64 twin: {error:.1e}")
    if json_path:
        Path(json_path).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    main(parser.parse_args().json)
