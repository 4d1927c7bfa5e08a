# SPDX-License-Identifier: GPL-3.0-or-later
"""Room for long results: small arrays in memory, large ones in a mapped file that has no name and goes with the process.

Pages of a mapped file are the system's to write out and drop, so hours of sound, curves and channels leave memory free.
"""

import tempfile

import numpy as np

LARGE = 1 << 25
"""Bytes from which on an array lies in a file: 7 minutes of sound, 70 of curves, 86 of channels at 25 frames a second."""
BLOCK = 1 << 14
"""Frames that work on long arrays takes at a time, so that what it needs besides does not grow with them."""


def room(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """An array that nothing was written to yet; in memory also where no file can be made."""
    if int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize >= LARGE:
        try:
            with tempfile.TemporaryFile() as file:
                return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
        except OSError:  # no room on the disk, or nowhere to write
            pass
    return np.empty(shape, dtype)


def blocks(count: int) -> list[slice]:
    """Slices of at most BLOCK that cover `count`, in order."""
    return [slice(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK)]
