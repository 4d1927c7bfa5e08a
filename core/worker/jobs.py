# SPDX-License-Identifier: GPL-3.0-or-later
"""What the child can do: plain functions of JSON arguments, a folder for arrays, and a progress callback."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Progress = Callable[[float], None]
Job = Callable[[dict[str, Any], Path, Progress], tuple[dict[str, Any], dict[str, str]]]
"""(arguments, folder, progress) -> (small values as JSON, array names -> .npy files in the folder)."""


def speak(arguments: dict[str, Any], folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """Motion for a recording. Arguments: path, fps, seed, controls (field -> number); array: values (T, C)."""
    import numpy as np

    from ..prior.generate import Controls, generate
    from ..speech.audio import read_audio

    audio = read_audio(arguments["path"])
    motion = generate(
        audio,
        fps=float(arguments["fps"]),
        seed=int(arguments["seed"]),
        controls=Controls(**arguments["controls"]),
        progress=progress,
    )
    np.save(folder / "values.npy", motion.values, allow_pickle=False)
    return {"fps": motion.fps, "warnings": list(audio.warnings)}, {"values": "values.npy"}


JOBS: Mapping[str, Job] = {"speak": speak}
