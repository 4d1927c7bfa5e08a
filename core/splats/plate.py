# SPDX-License-Identifier: GPL-3.0-or-later
"""The film that a head was made from, as far as putting the head back into it needs: its camera, and what the head does in it.

The pictures themselves are not kept: a head is a few megabytes, its film may be anything and anywhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, MotionError
from ..geometry.cameras import Camera
from ..head.motion import CHANNELS, Motion

ARRAY = "plate_values"
KEYS = ("K", "world_to_camera", "size", "fps", "source")


@dataclass(frozen=True)
class Plate:
    """camera: of every picture, its K in pixels of the upright film. motion: what the head does, picture by picture.
    source: the film's name, without folders."""

    camera: Camera
    motion: Motion
    source: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the film."""
        return self.camera.width, self.camera.height

    def arrays(self) -> dict[str, np.ndarray]:
        """What the `.loq` keeps: 130 bytes a picture."""
        return {ARRAY: self.motion.values.astype(np.float16)}

    def header(self) -> dict[str, Any]:
        """The rest of it, as JSON."""
        return {
            "K": np.asarray(self.camera.K, np.float64).tolist(), "size": list(self.size), "fps": self.motion.fps,
            "world_to_camera": np.asarray(self.camera.world_to_camera, np.float64).tolist(), "source": self.source,
            "channels": list(CHANNELS),
        }  # fmt: skip


def plate_of(arrays: dict[str, np.ndarray], header: Any, path: Path | str) -> Plate | None:
    """The plate in a `.loq`, None without one. Raises FormatError for a damaged one."""
    if ARRAY not in arrays:
        return None
    try:
        if tuple(header["channels"]) != CHANNELS:
            raise ValueError("its channels are not this version's")
        width, height = (int(side) for side in header["size"])
        k, matrix = np.array(header["K"], np.float64), np.array(header["world_to_camera"], np.float64)
        if k.shape != (3, 3) or matrix.shape != (4, 4) or not 1 <= min(width, height) <= max(width, height) <= 65535:
            raise ValueError("its camera is not one")
        if not (np.isfinite(k).all() and np.isfinite(matrix).all() and k[0, 0] > 0 and k[1, 1] > 0):
            raise ValueError("its camera is not one")
        motion = Motion(float(header["fps"]), arrays[ARRAY].astype(np.float32))
        return Plate(Camera(matrix, k, width, height), motion, str(header["source"]))
    except (KeyError, ValueError, TypeError, MotionError) as error:
        raise FormatError(f"'{path}': what it tells of its film is damaged: {error}. Make the head again.") from error
