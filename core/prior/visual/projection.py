# SPDX-License-Identifier: GPL-3.0-or-later
"""What one picture shows of every slot of a head: colour, how surely it is seen, and the surface's lie before the camera."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...geometry.cameras import Camera
from ...geometry.triangles import vertex_normals
from ...head.head import Head
from ...splats.binding import Binding, carry
from ...splats.gaussians import Gaussians
from ...splats.rasterize import rasterize
from ...splats.uv_layout import VOLUME, VOLUME_RISE, UvLayout
from .maps import gaussians_of, start_map

RISES = (0.015, 0.035, 0.060, 0.090)
"""Metres above the skin at which the matte is asked how far hair and cloth reach."""
DEPTH_SIDE = 288
"""Pixels of the longer side of the depth picture that visibility is told from."""
SLACK = 0.0035
"""Metres a slot may lie behind the drawn surface and still be seen."""


@dataclass(frozen=True)
class Projection:
    """For M slots: colour (M, 3) linear, straight, 0 where nothing is seen; visible (M,) 0..1; normal (M, 3) in camera axes
    (OpenCV: x right, y down, z forward); depth (M,) metres before or behind the middle of the head; position (M, 3) metres
    in the space of the vertices; matte (M,) where the slot falls; outline (M, len(RISES)) matte above it, layer 1 only;
    pixel (M, 2) where it falls. mirrored colours and weights are colour[layout.mirror], visible[layout.mirror]."""

    colour: np.ndarray
    visible: np.ndarray
    normal: np.ndarray
    depth: np.ndarray
    position: np.ndarray
    matte: np.ndarray
    outline: np.ndarray
    pixel: np.ndarray


def project(
    image: np.ndarray, matte: np.ndarray, camera: Camera, vertices: np.ndarray, layout: UvLayout, head: Head
) -> Projection:
    """image (H, W, 3) linear, colour times matte; matte (H, W) 0..1; vertices (V, 3) posed as in the picture.

    Seen is what the head's surface does not hide (a depth test on the rasterised start map), what faces the camera, and
    what the matte covers. About 30 ms at 192 texels.
    """
    vertices = np.asarray(vertices, np.float32)
    faces = head.faces[layout.triangles]
    normals = np.einsum("nk,nkd->nd", layout.bary, vertex_normals(vertices, head.faces)[faces])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-8)
    skin = np.einsum("nk,nkd->nd", layout.bary, vertices[faces])
    volume = layout.layer == VOLUME
    points = skin + normals * np.where(volume, VOLUME_RISE, 0.0)[:, None].astype(np.float32)
    rotation, move = camera.world_to_camera[:3, :3], camera.world_to_camera[:3, 3]
    local, pixel = _to_pixels(points, camera)
    turned = normals @ rotation.T.astype(np.float32)
    towards = -local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-8)
    facing = (turned * towards).sum(1)
    middle = float((vertices[head.parts["skin"]].mean(0) @ rotation.T + move)[2])

    covered = sample(matte[..., None], pixel)[:, 0]
    colour = sample(image, pixel) / np.maximum(covered, 0.2)[:, None]
    depth, shares = _surface(vertices, camera, layout, head, pixel)
    behind = local[:, 2] - depth
    slack = SLACK + layout.pitch * np.sqrt(np.maximum(1 - facing**2, 0)) / np.maximum(facing, 0.25)
    front = np.clip(2 - behind / slack, 0, 1)
    open_to = np.where(volume, smooth(facing, -0.15, 0.25), smooth(facing, 0.10, 0.40))
    inside = ((pixel >= 0) & (pixel < [camera.width, camera.height])).all(1) & (local[:, 2] > camera.near)
    # an eyeball lies less than a millimetre behind its lids: what part the pixel shows tells more than the depth
    group = _groups(layout, head)
    shown = np.where(group == 0, 1.0, smooth(shares[np.arange(len(group)), group], 0.5, 0.9))
    shown = np.where(
        layout.regions == head.region_names.index("lashes"), 0.0, shown
    )  # cards: what shines through is lid
    visible = (front * open_to * shown * smooth(covered, 0.4, 0.9) * inside).astype(np.float32)

    outline = np.zeros((len(layout), len(RISES)), np.float32)
    for k, rise in enumerate(RISES):
        at = _to_pixels(skin[volume] + rise * normals[volume], camera)[1]
        outline[volume, k] = sample(matte[..., None], at)[:, 0]
    seen = visible[:, None] > 0
    return Projection(
        np.where(seen, np.clip(colour, 0, None), 0).astype(np.float32), visible, turned.astype(np.float32),
        (local[:, 2] - middle).astype(np.float32), points.astype(np.float32), covered.astype(np.float32), outline,
        pixel.astype(np.float32),
    )  # fmt: skip


def smooth(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, a smooth step between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def sample(image: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """(M, C) of image (H, W, C), bilinear, pixel centres at +0.5; the border goes on for ever."""
    height, width = image.shape[:2]
    at = np.nan_to_num(np.asarray(pixel, np.float64), nan=-1e6, posinf=1e6, neginf=-1e6)
    x, y = np.clip(at[:, 0] - 0.5, 0, width - 1), np.clip(at[:, 1] - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    left, top = np.maximum(left, 0), np.maximum(top, 0)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    upper = image[top, left] * (1 - fx) + image[top, right] * fx
    lower = image[bottom, left] * (1 - fx) + image[bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def _to_pixels(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Points in camera axes (M, 3) and their pixels (M, 2)."""
    local = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    ahead = np.maximum(local[:, 2:], 1e-6)
    return local, (local @ camera.K.T)[:, :2] / ahead


def _groups(layout: UvLayout, head: Head) -> np.ndarray:
    """(M,) 0 outside, 1 eyeballs, 2 inside the mouth."""
    names = np.array(head.region_names)
    eyes, outside = np.isin(names, ["eye_left", "eye_right"]), np.isin(names, ["skin", "lips", "lashes"])
    return np.where(eyes, 1, np.where(outside, 0, 2))[layout.regions]


@lru_cache(maxsize=4)
def _shell(layout: UvLayout, key: str, head_of: "_Held") -> tuple[Binding, np.ndarray, np.ndarray, np.ndarray]:
    """The opaque surface of the start map, that can hide something, and its groups one-hot."""
    del key
    binding, opacities, harmonics = gaussians_of(start_map(head_of.head, layout), layout, head_of.head)
    solid = (layout.layer != VOLUME) & (layout.regions != head_of.head.region_names.index("lashes"))
    parts = (x[solid] for x in (binding.triangles, binding.offsets, binding.quats_wxyz, binding.scales))
    one_hot = np.eye(3, dtype=np.float32)[_groups(layout, head_of.head)[solid]]
    return Binding(*parts), opacities[solid], harmonics[solid], one_hot


class _Held:
    """A head that is passed along without being part of the key."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)


def _surface(
    vertices: np.ndarray, camera: Camera, layout: UvLayout, head: Head, pixel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(M,) z of the surface that the camera sees at each pixel, infinite where it sees none; (M, 3) shares of groups there."""
    factor = min(1.0, DEPTH_SIDE / max(camera.width, camera.height))
    width, height = max(round(camera.width * factor), 1), max(round(camera.height * factor), 1)
    scale = np.diag([width / camera.width, height / camera.height, 1]).astype(np.float32)
    small = Camera(camera.world_to_camera, scale @ camera.K, width, height, camera.near, camera.far)
    binding, opacities, harmonics, one_hot = _shell(layout, head.head_id, _Held(head))
    drawn = rasterize(
        Gaussians(*carry(binding, vertices, head.faces), opacities, harmonics),
        small,
        passes=("colour", "alpha", "depth", "median_depth", "features"),
        features=one_hot,
    )
    median, shares = drawn.median_depth, drawn.features
    assert median is not None and shares is not None
    depth = np.where(drawn.alpha > 0.5, median, np.inf)
    at = np.floor(np.clip(np.nan_to_num(pixel * [scale[0, 0], scale[1, 1]]), 0, [width - 1, height - 1])).astype(int)
    return depth[at[:, 1], at[:, 0]], shares[at[:, 1], at[:, 0]]
