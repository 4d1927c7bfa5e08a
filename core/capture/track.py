# SPDX-License-Identifier: GPL-3.0-or-later
"""A track: who is seen, by what camera, and what the head does in every picture; stored as one `.track` file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import checkpoint
from ..errors import FormatError, MotionError
from ..geometry.cameras import Camera
from ..head.motion import CHANNELS, Motion

FORMAT = "Loquent track"
VERSION = 1


@dataclass(frozen=True)
class Track:
    """A person in T pictures at a constant rate, as film.pictures gives them for that rate.

    betas (S,) identity; camera: one for all pictures, whose K and size are in pixels of the upright film; motion: T frames
    in front of that camera; confidence (T,) 0..1, zero where no face was found and the frame was filled in; landmarks
    (T, 478, 2) pixels as MediaPipe saw them, filled in likewise; cuts: frames at which another shot begins; source: the
    film's name, without folders; head_id: the head that betas belong to; error: median landmark error, eye distances.
    """

    betas: np.ndarray
    camera: Camera
    motion: Motion
    confidence: np.ndarray
    landmarks: np.ndarray
    head_id: str
    source: str = ""
    cuts: tuple[int, ...] = ()
    error: float = 0.0
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.motion)

    @property
    def fps(self) -> float:
        return self.motion.fps

    @property
    def focal(self) -> float:
        """In pixels."""
        return float(self.camera.K[0, 0])

    @property
    def size(self) -> tuple[int, int]:
        return self.camera.width, self.camera.height

    @property
    def seen(self) -> np.ndarray:
        """(T,) whether the face was found; elsewhere the frame is filled in from its neighbours."""
        return self.confidence > 0


def save_track(track: Track, path: Path | str) -> None:
    """Write a `.track` file, about 4 KB a frame."""
    arrays = {
        "betas": track.betas.astype(np.float32), "values": track.motion.values, "K": track.camera.K.astype(np.float64),
        "world_to_camera": track.camera.world_to_camera.astype(np.float64),
        "confidence": track.confidence.astype(np.float32), "landmarks": track.landmarks.astype(np.float32),
    }  # fmt: skip
    header = {
        "format": FORMAT, "version": VERSION, "fps": track.fps, "channels": list(CHANNELS), "size": list(track.size),
        "source": track.source, "cuts": list(track.cuts), "head_id": track.head_id, "error": track.error,
        "warnings": list(track.warnings),
    }  # fmt: skip
    checkpoint.write(path, arrays, header)


def load_track(path: Path | str) -> Track:
    """Read a `.track` file. Raises FormatError for anything else."""
    arrays, header = checkpoint.read(path, format=FORMAT, version=VERSION)
    try:
        values, confidence, landmarks = arrays["values"], arrays["confidence"], arrays["landmarks"]
        width, height = (int(side) for side in header["size"])
        if tuple(header["channels"]) != CHANNELS:
            raise ValueError("its channels are not this version's")
        if confidence.shape != (len(values),) or landmarks.shape[0] != len(values) or landmarks.ndim != 3:
            raise ValueError(
                f"{len(values)} frames of motion, but confidence {confidence.shape}, landmarks {landmarks.shape}"
            )
        if arrays["K"].shape != (3, 3) or arrays["world_to_camera"].shape != (4, 4) or min(width, height) < 1:
            raise ValueError("its camera is not one")
        return Track(
            arrays["betas"].astype(np.float32), Camera(arrays["world_to_camera"], arrays["K"], width, height),
            Motion(float(header["fps"]), values), confidence, landmarks, str(header["head_id"]), str(header["source"]),
            tuple(int(c) for c in header["cuts"]), float(header["error"]), tuple(str(w) for w in header["warnings"]),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError, MotionError) as error:
        raise FormatError(f"'{path}' is a track, but damaged: {error}. Capture it again.") from error
