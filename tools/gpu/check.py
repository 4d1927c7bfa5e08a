# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser on an NVIDIA card: is it gsplat's picture, and at gsplat's speed? See README.md beside this file.

python3 tools/gpu/check.py --out FOLDER [--wheels FOLDER] [--device cpu]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_PIXEL, LIMIT_FLIPS, LIMIT_RATIO, LIMIT_GRADIENT = 4e-3, 1e-4, 1.2, 2e-3
BACKGROUND = (0.1, 0.2, 0.3)


class Report:
    """What was found so far, on disk after every step."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.log = folder / "report.json", (folder / "check.log").open("w", buffering=1)
        self.found: dict = {"steps": {}, "broken": []}

    def say(self, text: str) -> None:
        print(text, flush=True)
        self.log.write(text + "\n")

    def step(self, name: str, work: Callable[[], dict]) -> None:
        self.say(f"\n== {name}")
        started = time.perf_counter()
        try:
            found = work()
        except Exception:  # the next step may still tell something
            found = {"error": traceback.format_exc()}
            self.found["broken"].append(f"{name}: failed")
        found["seconds"] = round(time.perf_counter() - started, 1)
        self.found["steps"][name] = found
        for key, value in found.items():
            self.say(f"  {key}: {value}")
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")

    def hold(self, what: str, value: float, most: float) -> None:
        """A bound; ratios of times are bounds on a card only, since without one the same call is timed twice."""
        if "bare call" in what and self.found["device"] == "cpu":
            return
        if not value <= most:
            self.found["broken"].append(f"{what}: {value:.3g}, at most {most:g}")


def install(wheels: Path | None, site: Path) -> dict:
    """Wheels into a folder of their own, and this checkout importable as `loquent`."""
    (site / "loquent").symlink_to(ROOT)
    sys.path.insert(0, str(site))
    if wheels is None:
        return {"wheels": "none given"}
    files = sorted(map(str, wheels.glob("*.whl")))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--target",
        str(site / "packages"),
    ]
    subprocess.run([*command, *files], check=True)
    sys.path.insert(1, str(site / "packages"))
    os.environ["PATH"] = f"{site / 'packages' / 'bin'}:{os.environ['PATH']}"  # ninja's program
    return {"wheels": [Path(name).name for name in files]}


def environment(device: str) -> dict:
    import numpy
    import torch

    found = {"python": platform.python_version(), "numpy": numpy.__version__, "torch": torch.__version__}
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", f"{major}.{minor}")
        found |= {"card": torch.cuda.get_device_name(), "capability": f"{major}.{minor}", "cuda": torch.version.cuda}
    build = subprocess.run([sys.executable, str(ROOT / "tools/build_native.py")], capture_output=True, text=True)
    found["native build"] = (build.stdout + build.stderr).strip().splitlines()[-1:]
    from loquent.core.splats import native

    found["native kernels"] = native.kernel_names()
    return found


def kernels(device: str) -> dict:
    """Load gsplat, compiling it where that was never done."""
    if device == "cpu":
        return {"gsplat": "left out: this is a rehearsal without a card"}
    from loquent.core.splats import cuda

    return {"gsplat": cuda.gsplat_module().__version__}


def parity(report: Report, device: str) -> dict:
    """Differences of all layers, at most and by how many numbers exceed the limit."""
    import bench_raster as bench
    import numpy as np

    from loquent.core.splats.rasterize import rasterize

    left, right = ("gsplat", "native") if device == "cuda" else ("native", "numpy")
    cloud = bench.head_cloud() if device == "cuda" else bench.head_cloud(4000, 8)
    features = np.random.default_rng(0).random((len(cloud), 5)).astype(np.float32)
    found = {}
    for width, height in ((512, 512), (1920, 1080)) if device == "cuda" else ((128, 128),):
        for antialiased in (False, True):
            options = {"background": BACKGROUND, "antialiased": antialiased, "features": features}
            options["passes"] = ("median_depth", "normal", "features")
            a, b = (rasterize(cloud, bench.view(width, height), backend=name, **options) for name in (left, right))
            for layer in ("colour", "alpha", "depth", "median_depth", "normal", "features"):
                # a faint pixel's depth and normal are quotients of two small numbers: held where a fiftieth is covered
                seen = b.alpha > 0.02
                x, y = (getattr(layers, layer)[seen] for layers in (a, b))
                difference = np.abs(x - y)
                name = f"{layer} {width}x{height} {'antialiased' if antialiased else 'classic'}"
                flips = float((difference > LIMIT_PIXEL).mean())
                found[name] = f"most {difference.max():.1e}, mean {difference.mean():.1e}, beyond 4e-3: {flips:.1e}"
                loose = 1e-2 if layer == "median_depth" else LIMIT_FLIPS  # a step from one Gaussian to the next
                report.hold(f"share of {name} beyond {LIMIT_PIXEL:g}", flips, loose)
    return found


def leaves_of(cloud, device: str) -> list:
    import torch

    names = "means", "quats_wxyz", "scales", "opacities", "harmonics"
    return [torch.tensor(getattr(cloud, name), device=device, requires_grad=True) for name in names]


def gradients(report: Report, device: str) -> dict:
    import bench_raster as bench
    import numpy as np
    import torch

    from loquent.core.splats.differentiable import rasterize_torch_depth
    from loquent.core.splats.twin import rasterize_twin

    cloud = bench.head_cloud() if device == "cuda" else bench.head_cloud(400, 20)
    side = 512 if device == "cuda" else 48
    camera, rng = bench.view(side, side), np.random.default_rng(0)
    slopes = [torch.from_numpy(rng.normal(size=s).astype(np.float32)) for s in ((side, side, 3), *[(side, side)] * 2)]
    slopes[2] *= 0  # depth's slopes grow without bound where next to nothing covers; colour and alpha tell enough
    grads = []
    for place in (device, "cpu"):
        leaves = leaves_of(cloud, place)
        if device == "cpu" and grads:
            matrices = (torch.from_numpy(np.asarray(m)) for m in (camera.world_to_camera, camera.K))
            drawn = rasterize_twin(*leaves, *matrices, side, side, BACKGROUND)[:3]
        else:
            drawn = rasterize_torch_depth(*leaves, camera.world_to_camera, camera.K, side, side, BACKGROUND)
        sum((layer * slope.to(place)).sum() for layer, slope in zip(drawn, slopes, strict=True)).backward()
        grads.append([leaf.grad.cpu().numpy().astype(float) for leaf in leaves])
    found = {}
    for name, a, b in zip(("means", "quats", "scales", "opacities", "harmonics"), *grads, strict=True):
        found[name] = float(np.linalg.norm(a - b) / np.linalg.norm(b))
        report.hold(f"gradient of {name}, relative", found[name], LIMIT_GRADIENT)
    return found


def in_turns(tasks: dict[str, Callable[[], object]], device: str, runs: int) -> dict[str, float]:
    """Median milliseconds of each task, run one after the other so that a change of clock meets all."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for run in range(runs + 3):
        for name, task in tasks.items():
            wait()
            started = time.perf_counter()
            task()
            wait()
            if run >= 3:
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: round(statistics.median(found), 3) for name, found in times.items()}


def bare_call(leaves, camera, device: str) -> Callable[[], tuple]:
    """gsplat as anyone would call it: tensors on the card, nothing checked. Without a card, our own call stands in."""
    import torch

    from loquent.core.splats.differentiable import rasterize_torch_depth

    if device == "cpu":
        return lambda: rasterize_torch_depth(
            *leaves, camera.world_to_camera, camera.K, camera.width, camera.height, BACKGROUND
        )
    import gsplat

    matrix, K = (torch.tensor(m, dtype=torch.float32, device=device)[None] for m in (camera.world_to_camera, camera.K))
    background = torch.tensor([BACKGROUND], device=device)

    def call():
        pixels, alpha, _ = gsplat.rasterization(
            *leaves, matrix, K, camera.width, camera.height, sh_degree=3, packed=False, backgrounds=background,
            render_mode="RGB+ED",
        )  # fmt: skip
        return pixels[0, ..., :3], alpha[0, ..., 0], pixels[0, ..., 3]

    return call


def forward(report: Report, device: str, runs: int) -> dict:
    import bench_raster as bench
    import torch

    from loquent.core.splats.differentiable import rasterize_torch_depth
    from loquent.core.splats.rasterize import rasterize

    cloud, backend = bench.head_cloud(), "gsplat" if device == "cuda" else "native"
    found = {}
    with torch.no_grad():
        for key, (width, height) in (("512", (512, 512)), ("1080", (1920, 1080))):
            camera = bench.view(width, height)
            leaves = [leaf.detach() for leaf in leaves_of(cloud, device)]
            arguments = (
                torch.tensor(camera.world_to_camera, device=device), torch.tensor(camera.K, device=device), width, height,
                torch.tensor(BACKGROUND, device=device),
            )  # fmt: skip
            tasks = {
                "bare": bare_call(leaves, camera, device),
                "ours": lambda x=leaves, rest=arguments: rasterize_torch_depth(*x, *rest),
                "ours_from_numpy": lambda c=camera: rasterize(cloud, c, background=BACKGROUND, backend=backend),
                "native": lambda c=camera: rasterize(cloud, c, background=BACKGROUND, backend="native"),
            }
            times = in_turns(tasks, device, runs)
            found |= {f"forward_ms_{key}_{name}": value for name, value in times.items()}
            found[f"forward_ratio_{key}"] = round(times["ours"] / times["bare"], 3)
            report.hold(f"forward {key} over the bare call", found[f"forward_ratio_{key}"], LIMIT_RATIO)
    return found


def iteration(report: Report, device: str, runs: int) -> dict:
    import bench_raster as bench
    import torch

    from loquent.core.splats.differentiable import rasterize_torch

    cloud, found = bench.head_cloud(), {}
    for key, (width, height) in (("512", (512, 512)), ("1080", (1920, 1080))):
        camera, leaves = bench.view(width, height), leaves_of(cloud, device)
        target = torch.rand(height, width, 3, device=device, generator=torch.Generator(device).manual_seed(0))
        arguments = (
            torch.tensor(camera.world_to_camera, device=device), torch.tensor(camera.K, device=device), width, height,
            torch.tensor(BACKGROUND, device=device),
        )  # fmt: skip

        def learn(draw, leaves=leaves, target=target):
            for leaf in leaves:
                leaf.grad = None
            (draw()[0] - target).abs().mean().backward()

        bare = bare_call(leaves, camera, device)
        tasks = {
            "bare": lambda learn=learn, bare=bare: learn(bare),
            "ours": lambda learn=learn, x=leaves, rest=arguments: learn(lambda: rasterize_torch(*x, *rest)),
        }
        times = in_turns(tasks, device, runs)
        found |= {f"iteration_ms_{key}_{name}": value for name, value in times.items()}
        found[f"iteration_ratio_{key}"] = round(times["ours"] / times["bare"], 3)
        report.hold(f"iteration {key} over the bare call", found[f"iteration_ratio_{key}"], LIMIT_RATIO)
    return found


def frame(device: str, runs: int) -> dict:
    import bench_raster as bench

    from loquent.core.geometry.cameras import look_at
    from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
    from loquent.core.splats.rasterize import rasterize

    actor = performer(load_avatar(builtin_avatars()["ada"]))
    values = bench.some_motion()
    camera, count = look_at((0, 0.05, 0.95), (0, 0.05, 0), width=512, height=512), iter(range(1 << 30))
    card = "gsplat" if device == "cuda" else "native"
    tasks = {
        f"frame_ms_512_{name}": lambda name=name: rasterize(pose(actor, values[next(count) % 64]), camera, backend=name)
        for name in dict.fromkeys((card, "native"))
    }
    return {
        "pose_ms": in_turns({"pose": lambda: pose(actor, values[0])}, device, runs)["pose"],
        **in_turns(tasks, device, runs),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and check.log")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install aside")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--runs", type=int, help="of each timing (default 50 on a card, 5 without)")
    arguments = parser.parse_args()
    device, runs = arguments.device, arguments.runs or (50 if arguments.device == "cuda" else 5)
    report = Report(arguments.out)
    report.found["device"] = device
    with tempfile.TemporaryDirectory() as site:
        sys.path.insert(0, str(ROOT / "tools"))
        report.step("install", lambda: install(arguments.wheels, Path(site)))
        report.step("environment", lambda: environment(device))
        report.step("kernels", lambda: kernels(device))
        report.step("parity", lambda: parity(report, device))
        report.step("gradients", lambda: gradients(report, device))
        report.step("forward", lambda: forward(report, device, runs))
        report.step("iteration", lambda: iteration(report, device, runs))
        report.step("frame", lambda: frame(device, runs))
        report.path.write_text(json.dumps(report.found, indent=1) + "\n")
    broken = report.found["broken"]
    report.say("\nEvery bound holds." if not broken else "\nBroken:\n  " + "\n  ".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
