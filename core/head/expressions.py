# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions by name, as channel values: what ships, and the files that users keep their own in."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from ..errors import FormatError
from ..files import written_whole
from .motion import CHANNELS

FORMAT = "loquent expression"


def _sides(**values: float) -> dict[str, float]:
    return {f"{name}{side}": value for name, value in values.items() for side in ("Left", "Right")}


SHIPPED: Mapping[str, Mapping[str, float]] = {
    "Smile": _sides(mouthSmile=0.7, cheekSquint=0.4, eyeSquint=0.2, mouthDimple=0.2),
    "Laugh": {**_sides(mouthSmile=0.9, cheekSquint=0.7, eyeSquint=0.5, mouthUpperUp=0.4), "jawOpen": 0.35},
    "Sad": {**_sides(mouthFrown=0.6, browDown=0.1), "browInnerUp": 0.8, "mouthShrugLower": 0.4},
    "Angry": {**_sides(browDown=0.9, eyeSquint=0.4, noseSneer=0.4, mouthPress=0.4), "jawForward": 0.15},
    "Surprised": {**_sides(eyeWide=0.7, browOuterUp=0.9), "browInnerUp": 0.9, "jawOpen": 0.4},
    "Afraid": {**_sides(eyeWide=0.8, mouthStretch=0.5, browOuterUp=0.3), "browInnerUp": 0.9, "jawOpen": 0.15},
    "Disgusted": {**_sides(noseSneer=0.8, browDown=0.4, mouthUpperUp=0.5, mouthFrown=0.3), "mouthShrugLower": 0.3},
    "Doubtful": {"browOuterUpLeft": 0.8, "browDownRight": 0.5, "mouthLeft": 0.3, "mouthPressRight": 0.4},
    "Tired": {**_sides(eyeBlink=0.4, mouthFrown=0.2), "browInnerUp": 0.2},
    "Wink Left": {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.5, "cheekSquintLeft": 0.5},
    "Kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
}


def write_expression(values: Mapping[str, float], path: Path | str) -> None:
    """Write the channels that are not zero as JSON. Raises FormatError where the file cannot be written."""
    kept = {name: round(float(values[name]), 5) for name in CHANNELS if abs(values.get(name, 0.0)) > 1e-6}
    with written_whole(path) as temporary:
        temporary.write_text(
            json.dumps({"format": FORMAT, "version": 1, "channels": kept}, indent=1) + "\n", encoding="utf-8"
        )


def read_expression(path: Path | str) -> dict[str, float]:
    """Channel values of a file. Channels that this version does not know are left out. Raises FormatError."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {error.strerror or error}. Save the expression again.") from error
    except ValueError as error:
        raise FormatError(f"'{path}' is not JSON ({error}). Save the expression again.") from error
    channels = data.get("channels") if isinstance(data, dict) and data.get("format") == FORMAT else None
    if not isinstance(channels, dict):
        raise FormatError(f'\'{path}\' is not an expression: expected "format": "{FORMAT}" and "channels".')
    values = {}
    for name, value in channels.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or abs(value) > 10:
            raise FormatError(f"'{path}', channel '{name}': expected a number from -10 to 10, found {value!r}.")
        if name in CHANNELS:
            values[name] = float(value)
    return values
