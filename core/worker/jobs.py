# SPDX-License-Identifier: GPL-3.0-or-later
"""What the child can do: plain functions of JSON arguments, a folder for arrays, and a progress callback."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Progress = Callable[[float], None]
"""child.Report is one, and can name stages and show pictures besides."""
Job = Callable[[dict[str, Any], Path, Progress], tuple[dict[str, Any], dict[str, str]]]
"""(arguments, folder, progress) -> (small values as JSON, array names -> .npy files in the folder)."""


def speak(arguments: dict[str, Any], folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """Motion for one recording or several cuts of some; array: values (T, C).

    Arguments: pieces (fields of Piece), fps, seed, controls (field -> number), keyed: a .npz of controls over time, a
    number a frame from the first on, the last one held; or empty; style: a .style file, or empty;
    phones: whether to answer what is said when too, as names in one line and array phones (n, 2) of seconds;
    reduce: millimetres, start and span of sparse keys to answer too (array keys: bytes for keys.unpack), or nothing;
    cache: a folder for what was heard, or nothing; cache_bytes: how much it may hold.
    """
    import numpy as np

    from ..errors import AssetError
    from ..prior.generate import Controls, listen, perform
    from ..prior.style import read_style, with_style
    from ..speech.phones import recognise
    from ..speech.pieces import Piece, assembled
    from .cache import Cache, key_of

    audio = assembled([Piece(**piece) for piece in arguments["pieces"]])
    fps, seed = float(arguments["fps"]), int(arguments["seed"])
    style = read_style(arguments["style"]) if arguments.get("style") else None
    controls = Controls(**arguments["controls"])
    controls = with_style(controls, style) if style else controls
    store = Cache(Path(arguments["cache"]) if arguments.get("cache") else None, float(arguments.get("cache_bytes", 0)))
    key = key_of(audio.samples, seed, Path(arguments["style"]) if style else None)
    heard = store.find(key)
    raw, said = heard or (listen(audio, seed=seed, style=style, progress=lambda part: progress(0.8 * part)), [])
    if not heard:
        with suppress(AssetError):  # without its weights there is no track; the speech is not lost with it
            found = recognise(audio, progress=lambda part: progress(0.8 + 0.15 * part))
            said = [(s.begin, s.end, s.viseme) for s in found]
        store.keep(key, raw, said)
    keyed: dict[str, np.ndarray] = {}
    if arguments.get("keyed"):
        frames = len(perform(raw, fps=fps).values)
        with np.load(arguments["keyed"], allow_pickle=False) as file:
            keyed = {name: np.pad(file[name][:frames], (0, max(0, frames - len(file[name]))), "edge") for name in file}
    motion = perform(raw, controls, fps=fps, seed=seed, keyed=keyed)
    np.save(folder / "values.npy", motion.values, allow_pickle=False)
    answer: dict[str, Any] = {"fps": motion.fps, "warnings": list(audio.warnings), "heard_before": heard is not None}
    files = {"values": "values.npy"}
    if arguments.get("reduce") and (packed := _reduced(motion, **arguments["reduce"])):
        np.save(folder / "keys.npy", np.frombuffer(packed, np.uint8), allow_pickle=False)
        files["keys"] = "keys.npy"
    if arguments.get("phones") and said:
        np.save(folder / "phones.npy", np.array([[begin, end] for begin, end, _ in said]), allow_pickle=False)
        answer["phones"], files["phones"] = " ".join(name for _, _, name in said), "phones.npy"
    progress(1.0)
    return answer, files


def _reduced(motion: Any, millimetres: float, start: int, span: list[int] | None) -> bytes:
    """Sparse keys of a motion that begins at frame `start`, of the frames in `span` alone where given; packed.

    Nothing for an empty span. Done here, because half an hour of speech takes some 20 s, in which Blender would stand still.
    """
    from ..head.keys import pack
    from ..head.motion import Motion
    from ..head.reduction import sparse_keys

    first, last = (
        (max(span[0], start), min(span[1], start + len(motion) - 1)) if span else (start, start + len(motion) - 1)
    )
    if first > last:
        return b""
    part = Motion(motion.fps, motion.values[first - start : last + 1 - start])
    return pack(sparse_keys(part, first, millimetres))


def phones(arguments: dict[str, Any], folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """Visemes of a recording. Arguments: pieces (fields of Piece); answer: segments [[begin, end, viseme, confidence], ...]."""
    from ..speech.phones import recognise
    from ..speech.pieces import Piece, assembled

    found = recognise(assembled([Piece(**piece) for piece in arguments["pieces"]]), progress=progress)
    return {"segments": [[s.begin, s.end, s.viseme, s.confidence] for s in found]}, {}


def perform(arguments: dict[str, Any], folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """Motion of a face in a film; array: values (T, C).

    Arguments: film, face (1 is the largest), focal_mm (0 estimates it), fps of the motion; head: the .loq of the person in the film, which
    is held against its pictures, empty for landmarks alone. Needs MediaPipe here, and torch for a head.
    """
    import tempfile

    import numpy as np

    from ..capture.film import has_sound
    from ..capture.perform import Options, capture
    from .making import watched

    focal = float(arguments.get("focal_mm", 0)) or None
    options = Options(int(arguments["face"]), focal, float(arguments["fps"]))
    if arguments.get("head"):
        from ..adapt.photometric_track import performed
        from ..splats.avatar import load_avatar

        with tempfile.TemporaryDirectory(prefix="loquent-") as pictures:
            avatar = load_avatar(arguments["head"])
            track = performed(arguments["film"], avatar, options, Path(pictures), watched(progress))
    else:
        track = capture(arguments["film"], options, watched(progress))
    np.save(folder / "values.npy", track.motion.values, allow_pickle=False)
    answer = {"fps": track.fps, "warnings": list(track.warnings), "sound": has_sound(arguments["film"])}
    return answer, {"values": "values.npy"}


def head_from_photo(
    arguments: dict[str, Any], folder: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, str]]:
    """A head from a photo: see making.py."""
    from .making import from_photo

    return from_photo(arguments, progress), {}


def head_from_video(
    arguments: dict[str, Any], folder: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, str]]:
    """A head from a film: see making.py."""
    from .making import from_video

    return from_video(arguments, progress), {}


def head_from_splats(
    arguments: dict[str, Any], folder: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, str]]:
    """A head that somebody else made: see making.py."""
    from .making import from_splats

    return from_splats(arguments, progress), {}


def about(arguments: dict[str, Any], folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """What this interpreter brings: its version, the packages that jobs need, and what learning would compute on.

    Arguments: device, what the user asks for: AUTO, CPU or CUDA. Raises WorkerError for CUDA where there is none.
    """
    import platform
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    from ..adapt.environment import missing
    from ..errors import WorkerError

    wanted, cuda = arguments.get("device", "AUTO"), False
    packages = {}
    for name in ("numpy", "onnxruntime", "soundfile", "safetensors", "torch", "mediapipe", "av"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = ""
    device = "no torch: speech works, heads cannot be learned"
    if packages["torch"]:
        try:
            torch = import_module("torch")  # asked for only here, in the interpreter that learning would run in
            device = "the processor"
            if torch.cuda.is_available():
                name, cuda = torch.cuda.get_device_name(), True
                hint = f"the processor; there is a {name}: choose NVIDIA CUDA to learn heads from films on it"
                device = name if wanted == "CUDA" else hint
        except Exception as error:  # a broken torch is what the user wants to hear of
            device = f"torch cannot be loaded: {error}"
    if wanted == "CUDA" and not cuda:
        raise WorkerError(
            f"NVIDIA CUDA is chosen in the preferences, and Python {platform.python_version()} cannot use it ({device}). "
            "Choose another Worker Python whose torch finds the card, or the device Automatic."
        )
    return {"python": platform.python_version(), "packages": packages, "device": device, "lacking": missing()}, {}


JOBS: Mapping[str, Job] = {
    "speak": speak,
    "phones": phones,
    "perform": perform,
    "head_from_photo": head_from_photo,
    "head_from_video": head_from_video,
    "head_from_splats": head_from_splats,
    "about": about,
}
