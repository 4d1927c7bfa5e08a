# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way, timed: speech to motion, a posed and drawn frame, the demo, the size of the zip.

    python3.11 dev.py bench whole [--json FILE]

Baselines beside the figures: a second of speech takes a second to listen to; the frame is timed beside its rasteriser
alone; the demo has 300 s and 4 GB.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from math import radians
from pathlib import Path

import numpy as np
from figures import keep, options

from loquent.core.geometry.cameras import look_at
from loquent.core.prior.generate import generate
from loquent.core.speech.audio import read_audio
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.rasterize import backend_name, rasterize

ROOT = Path(__file__).resolve().parent.parent


def milliseconds(function: Callable[[int], object], runs: int = 25) -> float:
    """Median wall time of one call, after two warm-up calls."""
    times = []
    for run in range(runs + 2):
        started = time.perf_counter()
        function(run)
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:]) * 1e3


def measure() -> tuple[dict[str, float], list[tuple[str, str, str]]]:
    """Figures by name, and rows (what, figure, baseline) for the table."""
    figures: dict[str, float] = {}
    rows = []
    voice = read_audio(ROOT / "sample_scenes" / "voice_ada.flac")
    started = time.perf_counter()
    motion = generate(voice, fps=25.0, seed=0)
    cold = (time.perf_counter() - started) / voice.seconds
    warm = min(milliseconds(lambda run: generate(voice, fps=25.0, seed=run), 3), 1e9) / 1e3 / voice.seconds
    figures["speech_s_per_s"] = warm
    rows.append(("compute per second of speech", f"{warm:.3f} s", f"first call, models loaded: {cold:.3f} s"))

    actor = performer(load_avatar(builtin_avatars()["ada"]))
    for name, width, height in (("512", 512, 512), ("1080", 1920, 1080)):
        camera = look_at((0, 0.05, 0.95), (0, 0.05, 0), fov_y=radians(25), width=width, height=height)
        still = pose(actor, motion.values[0])
        bare = milliseconds(lambda _, c=camera, g=still: rasterize(g, c))
        whole = milliseconds(lambda run, c=camera: rasterize(pose(actor, motion.values[run % len(motion)]), c))
        figures[f"frame_ms_{name}"] = whole
        rows.append((f"posed frame {width}x{height}", f"{whole:.1f} ms", f"rasteriser alone: {bare:.1f} ms"))

    zips = sorted((ROOT / "dist").glob("loquent-*.zip"), key=lambda path: path.stat().st_mtime)
    if not zips:
        subprocess.run([sys.executable, str(ROOT / "dev.py"), "build"], check=True)
        zips = sorted((ROOT / "dist").glob("loquent-*.zip"))
    figures["zip_mb"] = zips[-1].stat().st_size / 1e6
    rows.append(
        ("extension zip", f"{figures['zip_mb']:.1f} MB", "extensions.blender.org takes up to 200 MB (recalled)")
    )

    subprocess.run([sys.executable, str(ROOT / "dev.py"), "demo"], check=True)
    report = json.loads((ROOT / "out/demo/report.json").read_text())
    figures |= {"demo_s": report["demo_s"], "demo_peak_gb": report["demo_peak_gb"]}
    rows.append(("demo after installation", f"{report['demo_s']:.0f} s", "asked: 300 s"))
    rows.append(("demo, peak memory", f"{report['demo_peak_gb']:.2f} GB", "asked: 4 GB"))
    return figures, rows


def main() -> None:
    target = options(__doc__).parse_args().json
    figures, rows = measure()
    print(f"\nRasteriser: {backend_name()}; numpy {np.__version__}")
    for what, figure, baseline in rows:
        print(f"  {what:32} {figure:>12}   {baseline}")
    keep(figures, target)


if __name__ == "__main__":
    main()
