# SPDX-License-Identifier: GPL-3.0-or-later
"""What making a head from a photo or a film gives: the avatar, what to be told about it, and what was learned besides."""

from dataclasses import dataclass
from pathlib import Path

from ..capture.track import Track
from ..splats.avatar import Avatar


@dataclass(frozen=True)
class HeadResult:
    """avatar: what is saved as a `.loq`. warnings: sentences for the user, each with what to do; empty where all went well.

    style: file of the voice style learned from the same film, or None. track: what the face did in the footage (one frame of a
    photo), or None where none was fitted.
    """

    avatar: Avatar
    warnings: tuple[str, ...] = ()
    style: Path | None = None
    track: Track | None = None
