# SPDX-License-Identifier: GPL-3.0-or-later
"""What the child can do: plain functions of JSON arguments, a folder for arrays, and a progress callback."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Progress = Callable[[float], None]
Job = Callable[[dict[str, Any], Path, Progress], tuple[dict[str, Any], dict[str, str]]]
"""(arguments, folder, progress) -> (small values as JSON, array names -> .npy files in the folder)."""


def speak(arguments: dict[str, Any], folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """Motion for one recording or several cuts of some; array: values (T, C).

    Arguments: pieces (fields of Piece), fps, seed, controls (field -> number), keyed: a .npz of controls over time, a
    number a frame from the first on, the last one held; or empty.
    """
    import numpy as np

    from ..prior.generate import Controls, listen, perform
    from ..speech.pieces import Piece, assembled

    audio = assembled([Piece(**piece) for piece in arguments["pieces"]])
    fps, seed = float(arguments["fps"]), int(arguments["seed"])
    raw = listen(audio, seed=seed, progress=lambda part: progress(0.95 * part))
    keyed: dict[str, np.ndarray] = {}
    if arguments.get("keyed"):
        frames = len(perform(raw, fps=fps).values)
        with np.load(arguments["keyed"], allow_pickle=False) as file:
            keyed = {name: np.pad(file[name][:frames], (0, max(0, frames - len(file[name]))), "edge") for name in file}
    motion = perform(raw, Controls(**arguments["controls"]), fps=fps, seed=seed, keyed=keyed)
    np.save(folder / "values.npy", motion.values, allow_pickle=False)
    progress(1.0)
    return {"fps": motion.fps, "warnings": list(audio.warnings)}, {"values": "values.npy"}


JOBS: Mapping[str, Job] = {"speak": speak}
