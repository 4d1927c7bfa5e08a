# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as Live Link Face CSV: 61 columns, the file that MetaHuman, Faceit and most ARKit tools read.

The 52 coefficients come in the app's order (right before left for `jaw` and `mouth`), then head and eye rotations in
radians with the signs of `motion.POSE`. Rows carry a timecode HH:MM:SS:FF.mmm whose frames count at the take's rate.
The app's eye rotations repeat what the eyeLook coefficients say; so `gaze*` is folded into both on writing, and reading
takes the coefficients alone. Neck, translation and sideways jaw rotation have no column and are not written.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import FormatError
from ..files import check_readable, written_whole
from ..room import blocks
from .motion import ARKIT, CHANNELS, INDEX, LOOK_RADIANS, Motion

_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
_ORDER = tuple(_SWAPPED.get(name, name) for name in ARKIT)
_HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
_EYES = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
HEADER = ("Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in _ORDER), *_HEAD, *_EYES)
COUNT = len(HEADER) - 2
MAX_BYTES = 1 << 30


def write_livelink(motion: Motion, path: Path | str) -> None:
    """Write a take at the motion's own rate; coefficients are clipped to 0..1."""
    # line by line: hours of a take are hundreds of megabytes of text
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        for part in blocks(len(motion)):
            for frame, row in enumerate(_rows(Motion(motion.fps, motion.values[part])), part.start):
                table.writerow([_timecode(frame, motion.fps), COUNT, *(f"{value:.6f}" for value in row)])


def _rows(motion: Motion) -> np.ndarray:
    """(T, COUNT) numbers of a take's rows."""
    coefficients, eyes = _with_gaze(motion)
    heads = np.stack([motion.column(name[0].lower() + name[1:]) for name in _HEAD], 1)
    return np.hstack([coefficients, heads, eyes])


def read_livelink(path: Path | str, fps: float | None = None) -> Motion:
    """Read a take. The rate is `fps` or, where None, the highest frame count seen in the timecodes, at least 24.

    Raises FormatError for a file that is not such a table.
    """
    path = Path(path)
    columns = _table(path)
    rate = fps or _rate(columns["timecode"])
    values = np.zeros((len(columns["timecode"]), len(CHANNELS)), np.float32)
    for name in (*ARKIT, "headYaw", "headPitch", "headRoll"):
        texts = columns.get(name.lower())
        if texts is None:
            if name in ARKIT:
                raise FormatError(
                    f"'{path}' has no column '{name}'; expected a Live Link Face CSV with all 52 ARKit coefficients."
                )
            continue
        try:
            values[:, INDEX[name]] = [float(text) for text in texts]
        except ValueError as error:
            raise FormatError(f"'{path}', column '{name}': expected numbers, found {error.args[0]}.") from error
    if not np.isfinite(values).all():
        raise FormatError(f"'{path}' holds values that are not finite numbers. Export the take again.")
    return Motion(rate, values)


def _table(path: Path) -> Mapping[str, list[str]]:
    check_readable(path, "a Live Link Face CSV", MAX_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"'{path}' is not a text table: {error}. Expected a Live Link Face CSV.") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if "timecode" not in names or "jawopen" not in names:
        raise FormatError(
            f"'{path}': expected a Live Link Face CSV whose first line begins 'Timecode,BlendShapeCount,EyeBlinkLeft'; "
            f"found '{','.join(rows[0])[:60] if rows else ''}'."
        )
    if len(rows) < 2:
        raise FormatError(f"'{path}' has a header and no frames. Record or export the take again.")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise FormatError(
                f"'{path}', line {number}: {len(row)} values; expected {len(names)}. The file is cut short."
            )
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(names)}


def _rate(timecodes: list[str]) -> float:
    """Frames a second by the highest frame number before the seconds tick over."""
    try:
        frames = [int(float(text.split(":")[3])) for text in timecodes]
    except (IndexError, ValueError):
        return 60.0  # the app's own rate; some tools write plain numbers there
    highest = max(frames) + 1
    return next((float(rate) for rate in (24, 25, 30, 48, 50, 60) if highest <= rate), float(highest))


def _timecode(frame: int, fps: float) -> str:
    """HH:MM:SS:FF.mmm of a frame; at 23.976 and its kin the seconds count frames, without drop-frame."""
    rate = max(1, round(fps))
    seconds, part = divmod(frame, rate)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{part:02d}.{frame * 1000 // rate % 1000:03d}"


def _with_gaze(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """(T, 52) coefficients in the file's order and (T, 6) eye rotations, gaze in both."""
    columns = {name: motion.column(name).copy() for name in ARKIT}
    yaw, pitch = motion.column("gazeYaw"), motion.column("gazePitch")
    eyes = []
    for side, outward in (("Left", 1), ("Right", -1)):  # yaw > 0 looks to the subject's left: outward for the left eye
        for direction, angle in (
            ("Out", outward * yaw), ("In", -outward * yaw), ("Down", pitch), ("Up", -pitch),
        ):  # fmt: skip
            columns[f"eyeLook{direction}{side}"] += np.maximum(angle, 0) / LOOK_RADIANS[direction]
        turn = {d: columns[f"eyeLook{d}{side}"] * LOOK_RADIANS[d] for d in LOOK_RADIANS}
        eyes += [outward * (turn["Out"] - turn["In"]), turn["Down"] - turn["Up"], np.zeros(len(motion))]
    return np.clip(np.stack([columns[name] for name in _ORDER], 1), 0, 1), np.stack(eyes, 1)
