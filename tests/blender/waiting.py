# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs waited for as a script of Blender waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def wait_for(job: Any) -> None:
    """Until its result is there. Raises what went wrong; the job stays open."""
    while not job.poll():
        job.wait()


@contextmanager
def ready(job: Any) -> Iterator[Any]:
    """The job with its result there; closed in every case."""
    try:
        wait_for(job)
        yield job
    finally:
        job.close()


def finished(job: Any) -> str:
    """What a job says that is waited for and applied."""
    with ready(job):
        return job.apply()
