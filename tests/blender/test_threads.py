# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser's threads inside Blender's interpreter: several callers, a fork, and the exit."""

import subprocess
import sys
from pathlib import Path

import pytest

from loquent.core.splats import native

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")

START = """
import os, sys, threading
import bpy
import numpy as np
from loquent.core.geometry.cameras import look_at
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import describe, rasterize

rng = np.random.default_rng(0)
g = Gaussians(*(np.float32(a) for a in (rng.normal(0, .08, (3000, 3)), rng.normal(size=(3000, 4)),
              rng.uniform(.002, .02, (3000, 3)), rng.uniform(.1, 1, 3000), rng.normal(0, .3, (3000, 4, 3)))))
camera = look_at((0, 0, .6), (0, 0, 0), width=160, height=120)
want = rasterize(g, camera, threads=3).colour
assert describe().startswith("native ("), describe()
"""

SEVERAL = """
wrong = []
def work():
    for _ in range(10):
        if not np.array_equal(rasterize(g, camera, threads=3).colour, want): wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for _ in range(20): bpy.context.view_layer.update()
for t in threads: t.join()
assert not wrong
"""

FORK = """
busy = threading.Thread(target=lambda: [rasterize(g, camera, threads=3) for _ in range(40)])
busy.start()  # its frame holds the pool when the process divides
pid = os.fork()
if pid == 0:
    os._exit(0 if np.array_equal(rasterize(g, camera, threads=3).colour, want) else 3)
busy.join()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

EXIT = """
from loquent.core.splats import native
for count in (2, 3, 5): rasterize(g, camera, threads=count)
held = [native.Pool(4), native.Context(), native.take_context()]  # nobody gives these back
"""
# Not tested: frames still drawn by daemon threads at the exit. Blender's module then waits for ever in its own clean-up,
# whatever those threads do (seen in 4.5 with a thread that only sorts numbers).


def ends_well(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-800:])


def test_several_threads_draw_what_one_draws_while_blender_works():
    ends_well(SEVERAL)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_while_another_thread_draws_can_draw():
    ends_well(FORK)


def test_blender_ends_with_pools_and_contexts_that_nobody_gave_back():
    ends_well(EXIT)
