# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw degenerate scenes at a test build of the rasteriser with AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/fuzz_raster.py [--seconds 60] [--seed 0]
    python tools/fuzz_raster.py --threads         ThreadSanitizer: six threads that share contexts and pools

Every number may become NaN, Inf, zero, negative, tiny or huge; pictures go from 1 x 1 to 16384 wide, in either mode, with
both tile sizes, up to thirteen features, limits of depth from meshes and the gradient of the camera; now and then a hundred thousand Gaussians lie in
one pixel, or another thread stops the frame. A sanitizer's finding or a picture that is not finite ends the run with
status 1 and the seed that shows it. Once per run the largest cases: a million Gaussians in one pixel, a picture of
16384 x 2048 pixels. Linux with g++ or clang++ and numpy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEIRD = (float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e-30, 1e-12, 1e6, 1e12, 1e30, 3e38)


def run(seconds: float, seed: int, library: Path) -> None:
    import numpy as np

    from loquent.core.geometry.cameras import Camera, look_at
    from loquent.core.splats import native

    native.BUILT = library
    lib = native.library()
    assert lib is not None, library
    kernels = len(native.kernel_names())
    pools = [native.Pool(threads) for threads in (1, 2, 5)]
    contexts = [native.Context(k) for k in range(kernels)]
    extremes(native, contexts[-1], pools[1])
    until, cases, stopped = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        rng = np.random.default_rng((seed, cases))
        n = int(rng.choice([0, 1, 7, 8, 9, 100, 1000, 5000]))
        coefficients = int(rng.choice([0, 1, 4, 9, 16]))
        shape = (n, coefficients, 3) if coefficients else (n, 3)
        arrays = [
            rng.normal(0, rng.choice([1e-6, 0.1, 1]), (n, 3)), rng.normal(size=(n, 4)),
            rng.uniform(0, 1, (n, 3)) * 10 ** rng.uniform(-5, 1), rng.uniform(-0.1, 1.2, n), rng.normal(size=shape),
        ]  # fmt: skip
        arrays = [np.ascontiguousarray(a, np.float32) for a in arrays]
        for a in arrays:
            if rng.random() < 0.4 and a.size:
                hit = rng.random(a.shape) < rng.choice([0.01, 0.3, 1])
                a[hit] = rng.choice(WEIRD, hit.sum())
        if rng.random() < 0.01:  # very many in one pixel
            n = 10**5
            arrays = [np.resize(a, (n, *a.shape[1:])) for a in arrays] if len(arrays[0]) else arrays
            n = len(arrays[0])
            arrays[0] = (arrays[0] * np.float32(1e-7)).astype(np.float32)
        width, height = (int(rng.choice([1, 2, 7, 8, 9, 63, 65, 200, 3000, 16384])) for _ in range(2))
        if width * height > 10**6 or n > 10**4:
            height = 9
        if n > 10**4:
            width = min(width, 65)
        eye = rng.normal(size=3) * rng.choice([0.01, 1, 100])
        camera = look_at(eye, (0, 0.001, 0), fov_y=float(rng.uniform(0.01, 3)), width=width, height=height)
        if rng.random() < 0.2:
            K = np.array(camera.K)
            K[0, 2], K[1, 2] = rng.normal(size=2) * 10 ** rng.uniform(0, 7, 2)
            K[0, 0] *= 10 ** rng.uniform(-6, 6)
            camera = Camera(camera.world_to_camera, K, width, height)
        channels = int(rng.choice([0, 0, 1, 3, 4, 5, 9, 12, 13])) if width * height < 10**5 else 0
        features = rng.normal(size=(n, channels)).astype(np.float32) if channels else None
        if features is not None and rng.random() < 0.4:
            hit = rng.random(features.shape) < rng.choice([0.01, 0.3])
            features[hit] = rng.choice(WEIRD, hit.sum())
        # colour, alpha, depth, features, median depth
        layers = [np.empty((height, width, *rest), np.float32) for rest in ((3,), (), (), (channels,), ())]
        slopes = [rng.normal(size=a.shape).astype(np.float32) for a in layers]
        grads = [np.empty_like(a) for a in arrays]
        more = None if features is None else np.empty_like(features)
        matrix = np.empty((4, 4), np.float32)
        scene = native.scene_of(*arrays, features)
        view = native.view_of(camera, antialiased=bool(rng.random() < 0.5), tile=int(rng.integers(3)))
        flag = native.CancelFlag()
        stopper = threading.Timer(rng.uniform(0, 0.02), flag.set) if rng.random() < 0.05 else None
        if stopper:
            view.cancel = flag.address
            stopper.start()
        context, pool = contexts[int(rng.integers(kernels))], pools[int(rng.integers(len(pools)))]
        limit = rng.uniform(0, 2, (height, width)).astype(np.float32) if rng.random() < 0.2 else None
        if limit is not None:
            limit[rng.random(limit.shape) < 0.1] = rng.choice(WEIRD)
            corners = np.ascontiguousarray(arrays[0] if n else np.zeros((1, 3), np.float32))
            faces = rng.integers(0, len(corners), (50, 3)).astype(np.int32)
            where = map(native.pointer, (corners, faces, limit))
            lib.splat_mesh_depth(pool.handle, view, len(corners), next(where), 50, next(where), next(where))
        image, gradient = (native.Image(*map(native.pointer, group)) for group in (layers, slopes))
        image.limit = native.pointer(limit)
        try:
            context.forward(pool, scene, view, image)
            out = native.Gradients(*map(native.pointer, (*grads, None, more, matrix)))
            context.backward(pool, scene, view, image, gradient, out)
        except native.RasterError:
            continue  # more pairs than fit: refused, not drawn
        except native.Cancelled:
            stopped += 1
            continue
        finally:
            cases += 1
            if stopper:
                stopper.join()
        bound = np.float32(1e29)  # sums of colours near the largest float may overflow
        drawn = arrays[4:] if features is None else [*arrays[4:], features]
        if not all(np.isfinite(a).all() for a in layers) and not any((np.abs(a) > bound).any() for a in drawn):
            raise SystemExit(f"A picture is not finite: seed {seed}, case {cases - 1}.")
    print(f"{cases:,} cases in {seconds:.0f} s, {stopped} of them stopped: nothing found.")


def extremes(native, context, pool) -> None:
    """A million Gaussians in one pixel, forward and backward; then a picture of 16384 x 2048."""
    import numpy as np

    from loquent.core.geometry.cameras import look_at

    rng = np.random.default_rng(1)
    for n, width, height in ((10**6, 9, 7), (50, 16384, 2048)):
        arrays = [
            rng.normal(0, 1e-7, (n, 3)), rng.normal(size=(n, 4)), rng.uniform(1e-4, 2e-4, (n, 3)),
            rng.uniform(0.004, 0.02, n), rng.normal(size=(n, 3)),
        ]  # fmt: skip
        arrays = [np.ascontiguousarray(a, np.float32) for a in arrays]
        layers = [np.empty((height, width, *rest), np.float32) for rest in ((3,), ())]
        scene, view = (
            native.scene_of(*arrays),
            native.view_of(look_at((0, 0, 1), (0, 0, 0), width=width, height=height)),
        )
        image = native.Image(*map(native.pointer, layers))
        context.forward(pool, scene, view, image)
        if n > 50:
            grads = [np.empty_like(a) for a in arrays]
            context.backward(pool, scene, view, image, image, native.Gradients(*map(native.pointer, grads)))
            layers += grads
        if not all(np.isfinite(a).all() for a in layers):
            raise SystemExit(f"{n:,} Gaussians on {width} x {height}: a picture or gradient is not finite.")


def threads(compiler: list[str], folder: Path) -> int:
    """Compile tests/many_threads.cpp with the library for ThreadSanitizer and run it."""
    import build_native

    library, program = folder / build_native.LIBRARY, folder / "many_threads"
    build_native.compile_sanitized(compiler, library, build_native.THREAD_SANITIZE)
    source = [
        str(ROOT / "tests" / "many_threads.cpp"),
        f"-I{build_native.SOURCES}",
        str(library),
        f"-Wl,-rpath,{folder}",
    ]
    flags = ["-std=c++17", "-pthread", *build_native.THREAD_SANITIZE]
    subprocess.run([*compiler, *flags, *source, "-o", str(program)], check=True)
    return subprocess.run([str(program)], env={**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", action="store_true", help="look for data races instead")
    parser.add_argument("--library", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.library:
        run(options.seconds, options.seed, options.library)
        return 0
    sys.path.insert(0, str(ROOT / "tools"))
    import build_native

    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / build_native.LIBRARY
        compiler = build_native.compilers()[0]
        if options.threads:
            return threads(compiler, Path(folder))
        build_native.compile_sanitized(compiler, library)
        # Python itself is not built with the sanitizers, so their run-time libraries must be loaded before it
        preload = [
            subprocess.run([*compiler, f"-print-file-name=lib{name}.so"], capture_output=True, text=True).stdout.strip()
            for name in ("asan", "ubsan", "stdc++")
        ]
        environment = {
            **os.environ,
            "LD_PRELOAD": ":".join(preload),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        arguments = ["--seconds", str(options.seconds), "--seed", str(options.seed), "--library", str(library)]
        return subprocess.run([sys.executable, __file__, *arguments], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
