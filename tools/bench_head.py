# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the head on one core: loading, one identity, and the full pass from 65 channels to vertices.

    python dev.py bench head [--json FILE]

Wall time, median after a warm-up, numpy held to one thread. `frame` poses frames one by one, `batch_frame` 64 together.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy is loaded

import numpy as np  # noqa: E402
from figures import keep, options  # noqa: E402

try:
    from loquent.core.head.head import identity, load_head, pose_vertices
except ImportError:  # not installed: take the checkout that this file lies in
    _root = Path(__file__).resolve().parent.parent
    _spec = importlib.util.spec_from_file_location(
        "loquent", _root / "__init__.py", submodule_search_locations=[str(_root)]
    )
    sys.modules["loquent"] = importlib.util.module_from_spec(_spec)
    from loquent.core.head.head import identity, load_head, pose_vertices

from loquent.core.head.motion import CHANNELS  # noqa: E402


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call in milliseconds, after three calls to warm up."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def bench() -> dict[str, float]:
    """Milliseconds for loading, for one identity, for a frame posed alone and for a frame of a batch of 64."""
    rng = np.random.default_rng(0)
    head = load_head()
    person = identity(head, rng.normal(size=len(head.shapedirs)))
    values = rng.uniform(0, 0.3, (64, len(CHANNELS))).astype(np.float32)
    return {
        "head_load_ms": median_ms(load_head, 5),
        "head_identity_ms": median_ms(lambda: identity(head, person.betas), 20),
        "head_frame_ms": median_ms(lambda: pose_vertices(person, values[0]), 300),
        "head_batch_frame_ms": median_ms(lambda: pose_vertices(person, values), 10) / len(values),
    }


if __name__ == "__main__":
    json_path = options(__doc__).parse_args().json
    figures = bench()
    for name, value in figures.items():
        print(f"{name:24}{value:9.3f}")
    keep(figures, json_path, 3)
