# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as ARKit JSON, in the layout that LAM, OpenAvatarChat and their viewers exchange, and read in all layouts met so far.

Written: {"names": 52 names, "metadata": {"fps", "frame_count", "blendshape_names"}, "frames": [{"weights", "time",
"rotation"}]}; what ARKit has no coefficient for goes along as "pose_names" and a "pose" of every frame, which other readers
ignore. Read besides: NVIDIA Audio2Face ("facsNames", "weightMat", "exportFps"), lists of frames with a dictionary of names in
each (also as "blendShapes", or as MediaPipe's list of categoryName and score), and dictionaries of whole columns.
Names are recognised as jawOpen, JawOpen, jaw_open, mouthSmile_L, mouthSmileL.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..files import check_readable, written_whole
from ..room import blocks
from .motion import ARKIT, CHANNELS, INDEX, POSE, Motion

MAX_BYTES = 1 << 28
FEWEST = 5
"""Known channels that a file must name to be taken for a performance."""
DEFAULT_FPS = 30.0


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _spellings() -> dict[str, str]:
    found = {_plain(name): name for name in CHANNELS}
    for name in ARKIT:
        for side in ("Left", "Right"):
            if name.endswith(side) and name[: -len(side)] + ("Right" if side == "Left" else "Left") in ARKIT:
                found.setdefault(_plain(name[: -len(side)] + side[0]), name)
    return found


SPELLINGS: Mapping[str, str] = _spellings()
_NAMES = ("names", "blendshape_names", "blendshapenames", "facsnames", "blendshapes", "bsnames", "channels")
_ROWS = ("frames", "weightmat", "weights", "data", "blendshape_weights")
_VALUES = ("weights", "blendshapes", "blendshape", "values", "coefficients", "data", "bs")
_RATES = ("fps", "exportfps", "framerate", "frame_rate", "frames_per_second")
_TIMES = ("time", "timestamp", "timecode", "t")


def write_arkit_json(motion: Motion, path: Path | str) -> None:
    """Coefficients are clipped to 0..1 and rounded to a millionth; pose channels are kept whole."""
    head = {
        "names": list(ARKIT),
        "metadata": {"fps": motion.fps, "frame_count": len(motion), "blendshape_names": list(ARKIT)},
        "pose_names": list(POSE),
    }
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(json.dumps(head)[:-1] + ', "frames": [')
        for part in blocks(len(motion)):
            weights = np.clip(motion.values[part, : len(ARKIT)], 0, 1).round(6)
            poses = motion.values[part, len(ARKIT) :].round(7)
            for k, (w, p) in enumerate(zip(weights, poses, strict=True), part.start):
                frame = {"weights": w.tolist(), "time": round(k / motion.fps, 6), "rotation": [], "pose": p.tolist()}
                file.write((",\n" if k else "\n") + json.dumps(frame))
        file.write("\n]}\n")


def read_arkit_json(path: Path | str, fps: float | None = None) -> Motion:
    """The performance in a file. The rate is `fps`, or what the file says, or what its times say, or 30.

    Raises FormatError for anything that is not one.
    """
    path = Path(path)
    data = _parsed(path)
    names, rows, times = _table(path, data)
    columns = [(i, SPELLINGS[_plain(name)]) for i, name in enumerate(names) if _plain(name) in SPELLINGS]
    if len(columns) < FEWEST:
        raise FormatError(
            f"'{path}' names {len(columns)} of the 52 ARKit coefficients; expected at least {FEWEST}, such as jawOpen. "
            "It is not an ARKit performance."
        )
    values = np.zeros((len(rows), len(CHANNELS)), np.float32)
    for k, row in enumerate(rows):
        if len(row) != len(names):
            raise FormatError(f"'{path}', frame {k}: {len(row)} values; expected {len(names)}, one for each name.")
        for i, channel in columns:
            values[k, INDEX[channel]] = _number(row[i], path, f"frame {k}, {channel}")
    _read_pose(path, data, values)
    return Motion(fps or _rate(path, data, times), values)


def _parsed(path: Path) -> Any:
    check_readable(path, "an ARKit performance", MAX_BYTES)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"'{path}' is not JSON: {error}. Export the performance again.") from error


def _lower(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in mapping.items()}


def _table(path: Path, data: Any) -> tuple[list[str], list[Sequence[Any]], list[float]]:
    """names, rows of values, times (where frames tell them)."""
    if isinstance(data, dict):
        keyed = _lower(data)
        inner = keyed.get("blendshapes")
        if isinstance(inner, dict):  # {"blendShapes": {"jawOpen": [...], ...}}
            return _columns(path, inner)
        names = next((keyed[k] for k in _NAMES if _strings(keyed.get(k))), None)
        if names is None and isinstance(keyed.get("metadata"), dict):
            meta = _lower(keyed["metadata"])
            names = next((meta[k] for k in _NAMES if _strings(meta.get(k))), None)
        rows = next((keyed[k] for k in _ROWS if isinstance(keyed.get(k), list)), None)
        if rows is None:
            return _columns(path, data)
    else:
        names, rows = None, data
    if not isinstance(rows, list) or not rows:
        raise FormatError(f"'{path}' holds no frames; expected ARKit names and a list of frames.")
    times: list[float] = []
    found: list[Sequence[Any]] = []
    for k, frame in enumerate(rows):
        values, time = _frame(frame)
        if isinstance(values, dict):
            if names is None:
                names = [name for name in values if isinstance(values[name], int | float)]
            values = [values.get(name, 0.0) for name in names]
        if not isinstance(values, list):
            raise FormatError(f"'{path}', frame {k}: expected numbers or a dictionary of names, found {_kind(frame)}.")
        found.append(values)
        if time is not None:
            times.append(time)
    if names is None:
        raise FormatError(f"'{path}' does not say which coefficients its numbers are; expected a list 'names'.")
    return list(names), found, times if len(times) == len(found) else []


def _columns(path: Path, data: Mapping[str, Any]) -> tuple[list[str], list[Sequence[Any]], list[float]]:
    """{"jawOpen": [...], ...}: one list of numbers a channel."""
    lists = {k: v for k, v in data.items() if _plain(k) in SPELLINGS and isinstance(v, list) and v}
    lengths = {len(column) for column in lists.values()}
    if len(lengths) != 1:
        what = "columns of different lengths" if lengths else "neither frames nor columns of coefficients"
        raise FormatError(f"'{path}' holds {what}; expected ARKit names and a list of frames.")
    return list(lists), list(zip(*lists.values(), strict=True)), []


def _frame(frame: Any) -> tuple[Any, float | None]:
    """What one frame holds: a list of numbers or a dictionary name -> number, and its time where it tells one."""
    if not isinstance(frame, dict):
        if isinstance(frame, list) and frame and isinstance(frame[0], dict):
            return _scores(frame), None
        return frame, None
    keyed = _lower(frame)
    time = next((keyed[k] for k in _TIMES if isinstance(keyed.get(k), int | float)), None)
    values = next((keyed[k] for k in _VALUES if isinstance(keyed.get(k), list | dict)), frame)
    if isinstance(values, list) and values and isinstance(values[0], dict):
        values = _scores(values)
    return values, None if time is None else float(time)


def _scores(entries: list[Any]) -> dict[str, Any]:
    """MediaPipe's [{"categoryName": "jawOpen", "score": 0.1}, ...], and name/value, in any of their spellings."""
    found = {}
    for entry in entries:
        keyed = {_plain(k): v for k, v in entry.items()} if isinstance(entry, dict) else {}
        name = next((keyed[k] for k in ("categoryname", "name", "key") if isinstance(keyed.get(k), str)), None)
        value = next((keyed[k] for k in ("score", "value", "weight") if k in keyed), None)
        if name is not None and value is not None:
            found[name] = value
    return found


def _strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _kind(value: Any) -> str:
    return {dict: "a dictionary without them", list: "a list", str: "text", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )


def _number(value: Any, path: Path, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise FormatError(f"'{path}', {where}: expected a number, found {str(value)[:40]!r}.")
    return float(value)


def _read_pose(path: Path, data: Any, values: np.ndarray) -> None:
    """The pose channels that Loquent writes beside ARKit's."""
    if not isinstance(data, dict) or not _strings(data.get("pose_names")):
        return
    names = data["pose_names"]
    for k, frame in enumerate(data["frames"]):
        pose = frame.get("pose") if isinstance(frame, dict) else None
        if not isinstance(pose, list) or len(pose) != len(names):
            raise FormatError(f"'{path}', frame {k}: expected {len(names)} numbers in 'pose'.")
        for name, value in zip(names, pose, strict=True):
            if name in POSE:
                values[k, INDEX[name]] = _number(value, path, f"frame {k}, {name}")


def _rate(path: Path, data: Any, times: list[float]) -> float:
    places = [data, data.get("metadata")] if isinstance(data, dict) else []
    for place in places:
        keyed = _lower(place) if isinstance(place, dict) else {}
        for name in _RATES:
            value = keyed.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                if not (isfinite(value) and 1 <= value <= 1000):
                    raise FormatError(f"'{path}' says {value} frames per second; expected 1 to 1000.")
                return float(value)
    step = float(np.median(np.diff(times))) if len(times) > 2 else 0.0
    if step > 1:  # milliseconds
        step /= 1000
    if not 0.001 <= step <= 1:
        return DEFAULT_FPS
    common = min((24, 25, 30, 48, 50, 60, 90, 100, 120), key=lambda rate: abs(rate - 1 / step))
    return float(common) if abs(common * step - 1) < 0.02 else 1 / step
