# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians to pixels: one contract, drawn by the native library where it is there and by numpy where it is not.

Semantics are those of gsplat 1.5.3 in classic mode: pixel centres at +0.5; covariance blur of 0.3 square pixels; alpha
at most 0.999; contributions below 1/255 skipped; a pixel ends before the Gaussian that would bring its transmittance to
1e-4; colour max(SH + 0.5, 0) seen from the camera; depth is z in the camera. Gaussians with NaN or Inf, a quaternion of
length zero or an opacity below 1/255 are dropped; opacities above 1 count as 1. The same input gives the same bytes,
whatever the number of threads.
"""

import logging
import threading
from dataclasses import dataclass

import numpy as np

from ..errors import RasterError
from ..geometry.cameras import Camera
from . import native, plain
from .gaussians import Gaussians

log = logging.getLogger(__name__)
MAX_SIDE = 65535


@dataclass(frozen=True)
class Layers:
    """What a camera sees; row 0 is the top of the picture.

    colour: (H, W, 3) scene-linear, premultiplied, background added. alpha: (H, W) 0..1.
    depth: (H, W) expected z in metres of what covers the pixel (divided by alpha), 0 where alpha is 0.
    """

    colour: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    *,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    threads: int = 0,
) -> Layers:
    """Draw Gaussians (N may be 0). threads: 0 means one per CPU. Safe to call from several threads at once."""
    gaussians = _float32(gaussians)
    _check(gaussians, camera, background)
    if native.library() is None:
        _warn_slow()
        return Layers(*plain.rasterize_plain(gaussians, camera, background))
    shape = camera.height, camera.width
    colour, alpha, depth = np.empty((*shape, 3), np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    g = gaussians
    scene = native.scene_of(g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)
    image = native.Image(*map(native.pointer, (colour, alpha, depth)))
    with native.borrowed_context() as context:
        context.forward(native.pool(threads), scene, native.view_of(camera, background), image)
    return Layers(colour, alpha, depth)


def backend_name() -> str:
    """What draws here: "native" or "numpy"."""
    return "numpy" if native.library() is None else "native"


_warned = threading.Event()


def _warn_slow() -> None:
    """Once a process: a warning in the log, which Blender's console and `loquent` both show."""
    if not _warned.is_set():
        _warned.set()
        log.warning(
            "Slow path: the native rasteriser is missing, so Gaussians are drawn by numpy, some hundred times slower. "
            "Reinstall the extension for this platform, or run 'python tools/build_native.py' in a checkout."
        )


def _float32(g: Gaussians) -> Gaussians:
    arrays = (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics)
    return Gaussians(*(np.ascontiguousarray(a, np.float32) for a in arrays))


def _check(g: Gaussians, camera: Camera, background: tuple[float, float, float]) -> None:
    n = g.means.shape[0]
    expected = {"means": (n, 3), "quats_wxyz": (n, 4), "scales": (n, 3), "opacities": (n,)}
    for name, shape in expected.items():
        if (found := getattr(g, name).shape) != shape:
            raise RasterError(f"Gaussians: expected {name} {shape} for {n} Gaussians; found {found}.")
    K = g.harmonics.shape[1] if g.harmonics.ndim == 3 else None
    if g.harmonics.shape != (n, K, 3) or K not in (1, 4, 9, 16):
        raise RasterError(
            f"Gaussians: expected harmonics ({n}, K, 3) with K of 1, 4, 9 or 16; found {g.harmonics.shape}."
        )
    matrix, intrinsics = np.asarray(camera.world_to_camera), np.asarray(camera.K)
    if matrix.shape != (4, 4) or intrinsics.shape != (3, 3):
        raise RasterError(
            f"Camera: expected world_to_camera (4, 4) and K (3, 3); found {matrix.shape} and {intrinsics.shape}."
        )
    if not (np.isfinite(matrix).all() and np.isfinite(intrinsics).all() and intrinsics[0, 0] > 0 < intrinsics[1, 1]):
        raise RasterError("Camera: expected finite matrices and focal lengths above 0; check the camera's transform.")
    if not (0 < camera.width <= MAX_SIDE and 0 < camera.height <= MAX_SIDE):
        raise RasterError(
            f"Camera: expected a picture of 1 to {MAX_SIDE} pixels a side; found {camera.width} x {camera.height}."
        )
    if len(background) != 3:
        raise RasterError(f"Background: expected three numbers; found {len(background)}.")
