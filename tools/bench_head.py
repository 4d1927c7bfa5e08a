# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of the head's forward pass: identity, shape, expression, joints and skinning to vertices, on one core.

    python tools/bench_head.py        prints a table; bench() returns the figures
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402  after the thread limits


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
    from loquent.core.head.head import identity, load_head, pose_vertices
    from loquent.core.head.motion import CHANNELS

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
    try:
        import loquent  # noqa: F401
    except ImportError:  # not installed: the checkout itself is the package
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    for name, value in bench().items():
        print(f"{name:24s}{value:9.3f}")
