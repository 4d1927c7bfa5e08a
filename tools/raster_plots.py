# SPDX-License-Identifier: GPL-3.0-or-later
"""The two plots of docs/rasteriser.md: cost over the number of Gaussians and over pixels, for bench_raster.py."""

from collections.abc import Sequence
from pathlib import Path

import bench_raster as bench
import numpy as np

COUNTS = (10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
SIZES = ((256, 256), (512, 512), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))
STYLE = {"forward": ("#1f77b4", "o"), "iteration": ("#d62728", "s")}


def draw(figures: dict[str, float], folder: Path) -> None:
    """Measure and write raster_gaussians.svg and raster_pixels.svg; the slopes in log-log go into `figures`."""
    folder.mkdir(parents=True, exist_ok=True)
    # as many Gaussians as the surface needs: their width shrinks as their number grows, as it does where heads are fitted
    clouds = [bench.head_cloud(n, 2.5 * (60_000 / n) ** 0.5) for n in COUNTS]
    times = measured([(cloud, bench.view(512, 512)) for cloud in clouds])
    plot(figures, folder / "raster_gaussians.svg", COUNTS, times, "Gaussians, 512 × 512", "gaussians")
    cloud = bench.head_cloud()
    times = measured([(cloud, bench.view(*size)) for size in SIZES])
    pixels = [width * height for width, height in SIZES]
    plot(
        figures, folder / "raster_pixels.svg", pixels, times, "pixels, 60,000 Gaussians (256² … 3840 × 2160)", "pixels"
    )


def measured(scenes: list) -> dict[str, list[float]]:
    """Milliseconds on one thread, by processor time, of each task and scene."""
    out: dict[str, list[float]] = {task: [] for task in STYLE}
    for cloud, camera in scenes:
        frame = bench.Frame(cloud, camera, 1)
        for task, found in out.items():
            found.append(bench.timed(getattr(frame, task), 9, 6).cpu)
    return out


def plot(
    figures: dict[str, float], path: Path, xs: Sequence[int], times: dict[str, list[float]], label: str, name: str
) -> None:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "loquent"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    x = np.asarray(xs, float)
    for task, (colour, marker) in STYLE.items():
        y = np.asarray(times[task])
        slope = float(np.polyfit(np.log(x), np.log(y), 1)[0])
        figures[f"slope_{name}_{task}"] = round(slope, 2)
        axes.loglog(x, y, marker=marker, color=colour, label=f"{task}, exponent {slope:.2f}")
        print(f"{task} over {name}: " + ", ".join(f"{n:,} {t:.1f} ms" for n, t in zip(xs, y, strict=True)))
    first = times["iteration"][0]
    axes.loglog(x, first * x / x[0], color="#999999", linestyle=":", label="proportional")
    axes.set_xlabel(label)
    axes.set_ylabel("ms, one thread")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
