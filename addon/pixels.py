# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of the rasteriser as Blender's render result stores them: rows bottom-up, RGBA, depth with a far background.

The arrays are kept for the next frame: at 1080p fresh ones cost as much in page faults as filling them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..core.splats.rasterize import Layers

EMPTY_DEPTH = np.float32(1e10)
"""What Blender's own engines write where there is nothing."""
KEPT_PIXELS = 9_000_000
ROWS = 16
"""Rows that are copied channel by channel while they lie in the cache: 6 ms at 1080p where one assignment takes 16."""
_spare: list["Planes"] = []


@dataclass(frozen=True)
class Planes:
    """colour: (H, W, 4) premultiplied, scene-linear. depth: (H, W) metres. Both contiguous float32, row 0 at the bottom."""

    colour: np.ndarray
    depth: np.ndarray


def planes(height: int, width: int) -> Planes:
    """Arrays of that size with any content; `release` them after use."""
    while _spare:
        found = _spare.pop()  # atomic: renders on several threads never share one
        if found.depth.shape == (height, width):
            return found
    return Planes(np.empty((height, width, 4), np.float32), np.empty((height, width), np.float32))


def release(used: Planes) -> None:
    """Keep the arrays for the next frame."""
    if used.depth.size <= KEPT_PIXELS and not _spare:
        _spare.append(used)


def forget() -> None:
    _spare.clear()


def fill(
    layers: "Layers | None", seen: np.ndarray | None, box: tuple[int, int, int, int], *, behind: np.ndarray | None
) -> Planes:
    """Planes of the part `box` (left, bottom, right, top) of a picture; None draws nothing.

    layers: depth in metres, 0 where there is nothing. seen: (H, W) their alpha without holdouts. behind: (3,) the opaque
    colour that the layers were drawn over, None for transparency.
    """
    left, bottom, right, top = box
    out = planes(top - bottom, right - left)
    if layers is None or seen is None:
        out.colour[:] = 0 if behind is None else (*behind, 1)
        out.depth[:] = EMPTY_DEPTH
        return out
    height = len(layers.alpha)
    part = slice(height - top, height - bottom), slice(left, right)
    colour = layers.colour[part][::-1]
    if behind is None:
        alpha = seen[part][::-1]
    elif seen is layers.alpha:
        alpha = None
    else:  # a holdout is a hole, also in an opaque film
        alpha = (1 - layers.alpha + seen)[part][::-1]
    for y in range(0, top - bottom, ROWS):
        for channel in range(3):
            out.colour[y : y + ROWS, :, channel] = colour[y : y + ROWS, :, channel]
        out.colour[y : y + ROWS, :, 3] = 1 if alpha is None else alpha[y : y + ROWS]
    out.depth[:] = layers.depth[part][::-1]
    out.depth[out.depth == 0] = EMPTY_DEPTH
    return out


def part_of(pictures: dict[str, np.ndarray], box: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
    """The part `box` of pictures (H, W) or (H, W, channels), row 0 at the bottom, contiguous float32."""
    left, bottom, right, top = box
    return {
        name: np.ascontiguousarray(image[len(image) - top : len(image) - bottom, left:right][::-1], np.float32)
        for name, image in pictures.items()
    }
