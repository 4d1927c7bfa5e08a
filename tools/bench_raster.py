# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the rasteriser: 60,000 Gaussians, SH degree 3, a head filling 80 % of the picture's height.

    python3.11 dev.py bench raster [--json FILE] [--plots FOLDER]

The scene is synthetic and seeded. `forward` is Gaussians to colour, alpha and depth; `iteration` is colour and alpha
forward, and backward to means, quaternions, scales, opacities and harmonics; `passes` is `forward` with the median depth
and eight features; `pose` carries 60,000 bound Gaussians with their mesh; `frame` is motion to head to Gaussians to pixels
with the built-in head. Wall time: median, and the best and the ninth tenth of the runs beside it, after a warm-up. `cpu`
is the processor time of the best run on one thread, which other work on the machine disturbs least.

Beside it, in the same run: plain numba loops (tools/plain_numba.py; their backward pass ends at the projected Gaussians,
in their favour) and the numpy that ships for machines without the library. The prototype's best run on two otherwise idle
Zen 3 cores is quoted. Nothing else on PyPI draws such a scene without an NVIDIA or Apple card in under seconds.

The same work is counted: pairs of a Gaussian and an open pixel with alpha of at least 1/255, and runs of eight pixels that
hold one, which is what a SIMD lane set must evaluate. The floor is some 10 cycles a run (36 vector operations at nearly
four a cycle, estimated), so cycles per run say how far away it is.

--plots draws cost over the number of Gaussians and over pixels. It needs a minute more.
"""

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from figures import keep, options

from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.geometry.rotations import matrix_to_quat_wxyz
from loquent.core.head.motion import CHANNELS, INDEX, TRANSLATIONS
from loquent.core.splats import native
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.gaussians import SH_C0, Gaussians
from loquent.core.splats.rasterize import rasterize

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


@dataclass(frozen=True)
class Timing:
    """Milliseconds: wall time's median, best and ninth tenth, and the least processor time of the calling thread."""

    median: float
    best: float
    ninth: float
    cpu: float


def timed(work: Callable[[], object], runs: int = 25, seconds: float = 4.0) -> Timing:
    """At least five runs, more while there is time, after a warm-up."""
    work()
    gc.collect()
    wall, processor, until = [], [], time.perf_counter() + seconds
    while len(wall) < runs and (len(wall) < 5 or time.perf_counter() < until):
        started, cpu = time.perf_counter(), time.thread_time()
        work()
        wall.append((time.perf_counter() - started) * 1e3)
        processor.append((time.thread_time() - cpu) * 1e3)
    return Timing(statistics.median(wall), min(wall), sorted(wall)[int(0.9 * (len(wall) - 1))], min(processor))


def pose_task(threads: int = 2) -> Callable[[], object]:
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
    return lambda: carry(binding, vertices, faces, threads=threads)


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


def some_motion() -> np.ndarray:
    """(64, 65) random motion values that keep the head where it is."""
    values = np.random.default_rng(0).uniform(0, 0.3, (64, len(CHANNELS))).astype(np.float32)
    values[:, [INDEX[name] for name in TRANSLATIONS]] = 0
    return values


def frame_task(threads: int = 2) -> Callable[[], object]:
    """Motion to pixels at 512 x 512 with the built-in head, a new pose each time."""
    avatar = performer(load_avatar(builtin_avatars()["ada"]))
    camera = look_at((0, 0.05, 0.95), (0, 0.05, 0), width=512, height=512)
    values = some_motion()
    place = iter(range(1 << 30))
    return lambda: rasterize(pose(avatar, values[next(place) % 64]), camera, threads=threads)


MEMORY = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import bench_raster as b
def resident():
    with open("/proc/self/status") as file:
        return {line.split(":")[0]: int(line.split()[1]) for line in file if line.startswith(("VmRSS", "VmHWM"))}
cloud, camera = b.head_cloud(), b.view(1920, 1080)
small, little = b.head_cloud(2000, 12), b.view(64, 64)
frame = b.Frame(cloud, camera, 2)
arrays = [*frame.arrays, *frame.layers]
for array in (*arrays, *frame.grads, *frame.slopes):
    array[:] = array
before = resident()["VmRSS"]
open("/proc/self/clear_refs", "w").write("5")
frame.forward()
forward = resident()["VmHWM"]
frame.iteration()
iteration = resident()["VmHWM"]
sizes = sum(a.nbytes for a in arrays) / 1024
both = sizes + sum(a.nbytes for a in (*frame.grads, *frame.slopes)) / 1024
del frame
for k in range(500):
    b.rasterize(small, little)
start = resident()["VmRSS"]
for k in range(10000):
    b.rasterize(small, little)
print(1 + (forward - before) / sizes, 1 + (iteration - before) / both, resident()["VmRSS"] - start)
"""


def memory() -> tuple[float, float, float] | None:
    """In a process of its own (Linux): peak over inputs and outputs for a 1080p forward pass and for an iteration, and
    what 10,000 small frames add in kB."""
    if sys.platform != "linux":
        return None
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(Path(__file__).parent)], capture_output=True, text=True, env=dict(os.environ)
    )
    if done.returncode:
        print(f"memory: not measured ({done.stderr.strip().splitlines()[-1]})")
        return None
    forward, iteration, growth = map(float, done.stdout.split())
    return forward, iteration, growth


def row(name: str, one: Timing, two: Timing | None, known: str = "") -> None:
    cells = f"{one.median:9.2f}{one.best:8.2f}{one.ninth:8.2f}{one.cpu:8.2f}"
    if two is not None:
        cells += f"{two.median:9.2f}{two.best:8.2f}{two.ninth:8.2f}"
    print(f"{name:32}{cells}{known}", flush=True)


def table(figures: dict[str, float]) -> None:
    """The library's rows, numba's, numpy's, and what they say of the work."""
    gaussians, names = head_cloud(), native.kernel_names()
    try:
        import plain_numba
    except ImportError:
        plain_numba = None
        print("numba is not installed (pip install '.[bench]'): no baseline, no count of the work.")
    print(f"{'':32}{'one thread':^33}{'two threads':^25}{'prototype':>10}")
    heading = "".join(f"{word:>8}" for word in ("median", "best", "ninth"))
    print(f"{'milliseconds':32} {heading}{'cpu':>8} {heading}{'best':>10}")
    for key, (width, height) in (("512", (512, 512)), ("1080", (1920, 1080))):
        camera = view(width, height)
        for task in ("forward", "iteration", "passes"):
            for kernels, name in reversed(list(enumerate(names))):
                best_kernels = name == names[-1]
                if task == "passes" and not best_kernels:
                    continue
                frames = [Frame(gaussians, camera, threads, kernels) for threads in (1, 2)]
                one, two = (timed(getattr(frame, task)) for frame in frames)
                figure = f"{task}_ms_{key}"
                known = f"{PROTOTYPE[figure]:10.1f}" if figure in PROTOTYPE and best_kernels else ""
                row(f"{task} {width} x {height} {name}", one, two, known)
                if best_kernels:
                    figures[figure], figures[f"{figure}_1_thread"] = round(two.median, 2), round(one.median, 2)
                    figures[f"{figure}_1_thread_cpu"] = round(one.cpu, 2)
            if plain_numba and task != "passes":
                one, two = (timed(getattr(plain_numba.NumbaFrame(gaussians, camera, n), task), 7, 2) for n in (1, 2))
                row(f"{task} {width} x {height} plain numba", one, two)
                figures[f"numba_{task}_ms_{key}"] = round(two.median, 2)
                figures[f"numba_{task}_ms_{key}_1_thread"] = round(one.median, 2)
            if key == "512" and task == "forward":
                one = timed(lambda camera=camera: rasterize(gaussians, camera, backend="numpy"), 1, 0)
                row("forward 512 x 512 numpy", one, None)
        if plain_numba:
            work(figures, gaussians, camera, key, plain_numba)


def work(figures: dict[str, float], gaussians: Gaussians, camera: Camera, key: str, plain_numba: ModuleType) -> None:
    """Pairs a second and core, and cycles per run of eight, of the forward raster step on one thread."""
    pairs, runs = plain_numba.NumbaFrame(gaussians, camera, 2).work()
    frame, steps = Frame(gaussians, camera, 1), []
    for _ in range(25):
        frame.forward()
        steps.append(frame.context.statistics())
    raster, whole = (min(sum(s[name] for name in names) for s in steps) / 1e9 for names in (
        ("raster",), ("project", "sort", "bin", "raster")))  # fmt: skip
    clock = plain_numba.clock_ghz()
    cycles = raster * clock * 1e9 / runs
    figures[f"pairs_per_s_core_{key}"] = round(pairs / raster)
    figures[f"cycles_per_run_{key}"] = round(cycles, 1)
    figures["clock_ghz"] = round(clock, 2)
    parts = ", ".join(
        f"{name} {min(s[name] for s in steps) / 1e6:.1f}" for name in ("project", "sort", "bin", "raster")
    )
    print(
        f"    {pairs / 1e6:.2f} M pairs in {runs / 1e6:.2f} M runs of eight; {pairs / raster / 1e6:.0f} M pairs/s and core in "
        f"the raster step ({pairs / whole / 1e6:.0f} M/s of the whole frame); {cycles:.0f} cycles a run at "
        f"{clock:.2f} GHz, floor some 10; best steps in ms: {parts}"
    )


def main(json_path: Path | None = None, plots: Path | None = None) -> None:
    lib = native.library()
    if lib is None:
        raise SystemExit("The native library is missing; run 'python tools/build_native.py' first.")
    figures: dict[str, float] = {}
    print(f"{COUNT:,} Gaussians, SH 3; kernels {', '.join(native.kernel_names())}; {lib.splat_build().decode()}")
    table(figures)
    for name, key, task in (
        ("pose 60,000", "pose_ms", pose_task),
        ("frame 512 x 512, built-in head", "frame_ms_512", frame_task),
    ):
        one, two = timed(task(1)), timed(task(2))
        row(name, one, two)
        figures[key], figures[f"{key}_1_thread"] = round(two.median, 2), round(one.median, 2)
    error = error_against_twin()
    if error is not None:
        figures["max_error_twin"] = error
        print(f"largest difference of colour or alpha to the float64 twin: {error:.1e}")
    used = memory()
    if used is not None:
        figures["memory_forward"], figures["memory_iteration"], figures["growth_kb_10000_frames"] = used
        print(
            f"peak memory: {used[0]:.2f} times inputs and outputs (forward, 1080p), {used[1]:.2f} times (iteration); "
            f"10,000 frames add {used[2]:.0f} kB"
        )
    if plots is not None:
        from raster_plots import draw

        draw(figures, plots)
    keep(figures, json_path)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--plots", type=Path, help="also draw the two plots into this folder")
    arguments = parser.parse_args()
    main(arguments.json, arguments.plots)
