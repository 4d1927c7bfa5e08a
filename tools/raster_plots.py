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
    """Measure and write raster_gaussians.svg and raster_pixels.svg; what each one more costs goes into `figures`."""
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
    matplotlib.rcParams |= {"svg.hashsalt": "loquent", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
    x = np.asarray(xs, float)
    for task, (colour, marker) in STYLE.items():
        y = np.asarray(times[task])
        # a line by relative errors: what a frame costs in any case, and what each Gaussian or pixel adds
        each, base = np.polyfit(x, y, 1, w=1 / y)
        off = float(np.abs((base + each * x) / y - 1).max())
        figures[f"{task}_ns_per_{name[:-1]}"] = round(float(each) * 1e6, 2)
        figures[f"{task}_off_line_{name}"] = round(off, 3)
        axes.plot(x, base + each * x, color=colour, linewidth=0.8, linestyle="--")
        label_ = f"{task}: {base:.1f} ms + {each * 1e6:.3g} ns each"
        axes.plot(x, y, marker=marker, color=colour, linestyle="", label=label_)
        print(f"{task} over {name}: " + ", ".join(f"{n:,} {t:.1f} ms" for n, t in zip(xs, y, strict=True)))
        print(f"    {label_}; at most {off:.0%} off that line")
    axes.set(xlabel=label, ylabel="ms, one thread", xlim=(0, None), ylim=(0, None))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k")
    axes.grid(True, alpha=0.25)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
