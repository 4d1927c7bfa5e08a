# SPDX-License-Identifier: GPL-3.0-or-later
"""One head on the graphics card: what is uploaded once, what is uploaded a frame, and the draw call."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..core.geometry.cameras import Camera
from ..core.geometry.triangles import triangle_frames
from ..core.head.head import pose_vertices
from .splat_shader import STATIC_TEXELS, compile_shader

WIDTH = 2048
"""Texels a row: every card since 2010 takes textures that wide."""


@dataclass(frozen=True)
class View:
    """What a head is drawn for.

    back: distance that an orthographic camera was moved away, else 0. clip: the OpenGL projection's elements [2][2] and
    [2][3], by which depths match what else is in the picture.
    """

    camera: Camera
    back: float
    clip: tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """Triangles of a posed head. origins: (F, 3). axes: (F, 3, 3) rotations times scales. texture: both, uploaded."""

    origins: np.ndarray
    axes: np.ndarray
    texture: Any


class HeadOnCard:
    """Static texture of an avatar and its latest pose. Make and use it where a GPU context is current."""

    def __init__(self, performer: Any) -> None:
        avatar = performer.avatar
        binding = avatar.binding
        self._performer = performer
        self._harmonics = avatar.harmonics.shape[1]
        self._triangles = binding.triangles
        self._offsets = np.ascontiguousarray(binding.offsets)
        texels = np.zeros((len(avatar), STATIC_TEXELS + self._harmonics, 4), np.float32)
        texels[:, 0, :3], texels[:, 0, 3] = binding.offsets, binding.triangles
        texels[:, 1] = binding.quats_wxyz
        texels[:, 2, :3], texels[:, 2, 3] = binding.scales, avatar.opacities
        texels[:, STATIC_TEXELS:, :3] = avatar.harmonics
        self._splats = texture(texels.reshape(-1, 4), "RGBA32F")
        self._values = b""
        self._pose: Pose | None = None
        self._order: tuple[Pose, np.ndarray, Any] | None = None

    def pose(self, values: np.ndarray) -> Pose:
        """The head at these channel values; nothing is done when they are those of the last call."""
        if self._pose is None or values.tobytes() != self._values:
            identity = self._performer.identity
            origins, rotations, scales = triangle_frames(pose_vertices(identity, values), identity.head.faces)
            axes = np.ascontiguousarray(rotations * scales[:, None, None], np.float32)
            texels = np.empty((len(origins), 3, 4), np.float32)
            texels[..., :3], texels[..., 3] = axes, origins
            self._pose = Pose(origins, axes, texture(texels.reshape(-1, 4), "RGBA32F"))
            self._values = values.tobytes()
        return self._pose

    def draw(self, pose: Pose, model: np.ndarray, view: View, *, depth_only: bool = False) -> None:
        """Draw with the blending and depth test that the caller has set; premultiplied, scene-linear."""
        camera = view.camera
        model_view = camera.world_to_camera.astype(np.float64) @ model
        eye = -np.linalg.solve(model_view[:3, :3], model_view[:3, 3])
        shader, quad = _shader(), _quad()
        shader.bind()
        shader.uniform_float("model_view", _matrix(model_view))
        shader.uniform_float("lens", tuple(float(camera.K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))))
        shader.uniform_float("view", (camera.width, camera.height, WIDTH, float(depth_only)))
        shader.uniform_float("eye", (*eye.tolist(), view.back))
        shader.uniform_float("clip", (*view.clip, camera.near, self._harmonics))
        shader.uniform_sampler("splats", self._splats)
        shader.uniform_sampler("frames", pose.texture)
        shader.uniform_sampler("order", self._order_texture(pose, model_view))
        quad.draw_instanced(shader, instance_start=0, instance_count=len(self._triangles))

    def _order_texture(self, pose: Pose, model_view: np.ndarray) -> Any:
        """Kept between the passes of one redraw, and alive until drawn: binding a texture does not hold it."""
        if self._order is None or self._order[0] is not pose or not np.array_equal(self._order[1], model_view):
            self._order = (pose, model_view, texture(self.order(pose, model_view), "R32F"))
        return self._order[2]

    def order(self, pose: Pose, model_view: np.ndarray) -> np.ndarray:
        """(N,) float32 indices, farthest first. Depths are sorted as 16-bit steps: numpy's radix sort, 1 ms."""
        row = model_view[2].astype(np.float32)
        along = row[:3] @ pose.axes  # (F, 3): a local offset's share of depth
        depths = (pose.origins @ row[:3])[self._triangles]
        depths += np.einsum("nk,nk->n", self._offsets, along[self._triangles])
        low, high = float(depths.min()), float(depths.max())
        steps = ((high - depths) * (65535 / max(high - low, 1e-9))).astype(np.uint16)
        return np.argsort(steps, kind="stable").astype(np.float32)


def texture(values: np.ndarray, kind: str) -> Any:
    """A texture of texels (n, 4) or (n,), row after row; what is beyond the last texel is zero."""
    import gpu

    channels = 4 if kind == "RGBA32F" else 1
    rows = -(-len(values) // WIDTH)
    flat = np.zeros(rows * WIDTH * channels, np.float32)
    flat[: values.size] = values.ravel()
    return gpu.types.GPUTexture((WIDTH, rows), format=kind, data=gpu.types.Buffer("FLOAT", flat.size, flat))


@cache
def _shader() -> Any:
    return compile_shader()


@cache
def _quad() -> Any:
    from gpu_extras.batch import batch_for_shader

    return batch_for_shader(_shader(), "TRI_STRIP", {"corner": [(-1, -1), (1, -1), (-1, 1), (1, 1)]})


def forget() -> None:
    """Free what is on the card."""
    _quad.cache_clear()
    _shader.cache_clear()


def _matrix(matrix: np.ndarray) -> Any:
    from mathutils import Matrix

    return Matrix(matrix.tolist())
