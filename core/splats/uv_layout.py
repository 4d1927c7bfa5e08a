# SPDX-License-Identifier: GPL-3.0-or-later
"""Places for Gaussians on the built-in head: the used texels of a square map, each on a triangle, and a layer above skin.

The map is the head's own unwrap (tools/heads/unwrap.py, core/data/uv_layout.npz), mirror-symmetric about its middle
column, with eyes, lips and the mouth's inside enlarged. Where hair, beard and cloth stand off the mesh (scalp, jaw, neck,
shoulders) a texel has a second slot, of layer 1, at the same row and column. Slots are ordered by layer, row, column.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from zipfile import BadZipFile

import numpy as np

from ..assets import data_file
from ..errors import AssetError
from ..geometry.triangles import triangle_frames
from ..head.head import Head

SURFACE, VOLUME = 0, 1
SIZE = 192
VOLUME_RISE = 0.008
"""Metres above the skin at which the slots of layer 1 start."""


@dataclass(frozen=True, eq=False)
class UvLayout:
    """M slots on maps of (size, size).

    triangles (M,) int32 of the head; bary (M, 3) float32; rows, cols (M,) int32; layer (M,) uint8: SURFACE or VOLUME;
    regions (M,) uint8 into head.region_names; mirror (M,) int32: the slot of the mirrored texel in the same layer.

    A slot has a frame that does not jump from triangle to triangle: along the map's u, the normal, and their cross
    product. spins (M,) float32: angle about the normal (the triangle frame's second axis) from the triangle's frame to
    the slot's. spacing (M, 2) float32: metres between neighbouring texels along u and along v on the mean head.
    """

    size: int
    triangles: np.ndarray
    bary: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    layer: np.ndarray
    regions: np.ndarray
    mirror: np.ndarray
    spins: np.ndarray
    spacing: np.ndarray

    def __len__(self) -> int:
        return len(self.triangles)

    @cached_property
    def surface(self) -> int:
        """How many slots are of layer 0: they come first."""
        return int((self.layer == SURFACE).sum())

    @cached_property
    def pitch(self) -> np.ndarray:
        """(M,) metres: the side of a square as large as a texel on the mean head, the unit of a slot's offsets."""
        return np.sqrt(self.spacing[:, 0] * self.spacing[:, 1])

    def to_map(self, values: np.ndarray) -> np.ndarray:
        """(2, size, size, C) of values (M, C), per layer; zero where there is no slot."""
        out = np.zeros((2, self.size, self.size, values.shape[1]), values.dtype)
        out[self.layer, self.rows, self.cols] = values
        return out

    def take(self, slots: np.ndarray) -> "UvLayout":
        """The same with slots (M',) only, each as often as it is named; they mirror into themselves."""
        names = ("triangles", "bary", "rows", "cols", "layer", "regions", "spins", "spacing")
        kept = {name: getattr(self, name)[slots] for name in names}
        return UvLayout(self.size, mirror=np.arange(len(slots), dtype=np.int32), **kept)


def uv_layout(head: Head, size: int = SIZE) -> UvLayout:
    """The slots of a head at some size of map; the same arrays in every run. About 0.1 s, then kept."""
    return _layouts(_Same(head), size)


class _Same:
    """A head as a key: the same while its identifier is."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def __hash__(self) -> int:
        return hash(self.head.head_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.head.head_id == other.head.head_id


@lru_cache(maxsize=4)
def _layouts(key: _Same, size: int) -> UvLayout:
    head = key.head
    places, faces = _unwrap(head)
    rows, cols, which, bary = _texels(places, faces[:, 1:], size)
    triangles = faces[which, 0]
    frames = _texel_frames(head, triangles, places[faces[which, 1:]] / 65535 * size)
    spins, spacing = frames
    above = _volume_weight(head)[head.faces[triangles]].mean(1) > 0.4
    table = np.full((size, size), -1, np.int64)
    table[rows, cols] = np.arange(len(rows))
    mirror = table[rows, size - 1 - cols]
    above &= above[mirror]
    second = np.flatnonzero(above)
    back = np.full(len(rows), -1, np.int64)
    back[second] = len(rows) + np.arange(len(second))
    both = np.concatenate([np.arange(len(rows)), second])
    layer = np.repeat(np.array([SURFACE, VOLUME], np.uint8), [len(rows), len(second)])
    return UvLayout(
        size, triangles[both].astype(np.int32), bary[both].astype(np.float32), rows[both].astype(np.int32),
        cols[both].astype(np.int32), layer, head.regions[triangles[both]].astype(np.uint8),
        np.concatenate([mirror, back[mirror[second]]]).astype(np.int32), spins[both].astype(np.float32),
        spacing[both].astype(np.float32),
    )  # fmt: skip


def _unwrap(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Corners (U, 2) int64 of 0..65535 and rows (triangle, three corners) of the triangles that are unwrapped."""
    path = data_file("uv_layout.npz")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            head_id, places = str(data["head_id"]), data["uv"].astype(np.int64)
            faces = np.concatenate([data["triangles"][:, None], data["faces_uv"]], 1).astype(np.int64)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise AssetError(f"'{path}' cannot be read ({error}); reinstall the extension.") from error
    if head_id != head.head_id:
        raise AssetError(
            f"'{path}' unwraps head '{head_id}'; expected '{head.head_id}'. Gaussian maps exist for the built-in head only."
        )
    return places, faces


def _texels(places: np.ndarray, faces: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Rows, columns, index into faces and barycentrics of texels whose middle, and whose mirrored middle, is covered.

    All decisions are made in integers, so that every numpy finds the same slots; a texel in two triangles takes the first.
    """
    corners = places[faces] * (2 * size)  # (n, 3, 2); texel middles lie at (2 i + 1) 65535
    low = np.maximum(-((65535 - corners.min(1)) // 131070), 0)
    high = np.minimum((corners.max(1) - 65535) // 131070, size - 1)
    span = np.maximum(high - low + 1, 0)
    count = span[:, 0] * span[:, 1]
    which = np.repeat(np.arange(len(faces)), count)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    cols = low[which, 0] + nth % np.maximum(span[which, 0], 1)
    rows = low[which, 1] + nth // np.maximum(span[which, 0], 1)
    middle = np.stack([2 * cols + 1, 2 * rows + 1], 1) * 65535
    c = corners[which]
    weights = np.stack([_cross(c[:, (k + 1) % 3] - middle, c[:, (k + 2) % 3] - middle) for k in range(3)], 1)
    total = weights.sum(1)
    inside = ((weights >= 0).all(1) | (weights <= 0).all(1)) & (total != 0)
    rows, cols, which, weights, total = (x[inside] for x in (rows, cols, which, weights, total))
    texel, first = np.unique(rows * size + cols, return_index=True)
    used = np.zeros(size * size, bool)
    used[texel] = True
    used = (used.reshape(size, size) & used.reshape(size, size)[:, ::-1]).reshape(-1)
    first = first[used[texel]]
    return rows[first], cols[first], which[first], weights[first] / total[first, None]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _texel_frames(head: Head, triangles: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """spins (n,) and spacing (n, 2) of texels in triangles (n,) whose corners lie at places (n, 3, 2), in texels."""
    p = head.template.astype(np.float64)[head.faces[triangles]]
    _, rotations, _ = triangle_frames(p.reshape(-1, 3), np.arange(3 * len(p)).reshape(-1, 3))
    edges, steps = p[:, 1:] - p[:, :1], places[:, 1:] - places[:, :1]  # (n, 2, 3), (n, 2, 2)
    det = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 0, 1] * steps[:, 1, 0]
    det = np.where(np.abs(det) < 1e-9, 1e-9, det)
    along_u = (edges[:, 0] * steps[:, 1, 1, None] - edges[:, 1] * steps[:, 0, 1, None]) / det[:, None]
    along_v = (edges[:, 1] * steps[:, 0, 0, None] - edges[:, 0] * steps[:, 1, 0, None]) / det[:, None]
    local = np.einsum("nji,nj->ni", rotations, along_u)
    # about the frame's y (the normal), x goes to -z for a positive angle
    spins = np.arctan2(-local[:, 2], local[:, 0])
    u = np.linalg.norm(along_u, axis=1)
    height = np.linalg.norm(np.cross(along_u, along_v), axis=1) / np.maximum(u, 1e-9)
    # slivers of the unwrap must not make needles or plates
    both = np.clip(np.stack([u, height], 1), 1e-4, 0.020)
    short = both.min(1, keepdims=True)
    ears = head.masks["ears"][head.faces[triangles]].mean(1) > 0.3
    skin = head.regions[triangles] == head.region_names.index("skin")
    longest = np.where(skin & ~ears, 7.0, 3.0) + 2.0 * (head.regions[triangles] == head.region_names.index("tongue"))
    return spins, np.minimum(both, longest[:, None] * short)


def _volume_weight(head: Head) -> np.ndarray:
    """(V,) 0..1: where hair, beard or cloth may stand off the mesh, mirror-symmetric but for the mesh's own rounding."""
    p = head.template
    skull = np.clip((p[:, 1] - 0.075) / 0.02, 0, 1) + np.clip((0.060 - p[:, 2]) / 0.02, 0, 1)
    below = np.clip((-0.055 - p[:, 1]) / 0.015, 0, 1)
    brow = np.clip((p[:, 1] - 0.062) / 0.008, 0, 1) * np.clip((p[:, 2] - 0.05) / 0.02, 0, 1)
    out = np.maximum.reduce([head.masks["scalp"], head.masks["beard"], np.clip(skull, 0, 1), below, brow])
    skin = head.parts["skin"]
    out[: skin.start] = 0
    out[skin.stop :] = 0
    out[np.unique(head.faces[head.faces_of("mouth_interior")])] = 0
    return out
