# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians to pixels: one contract, drawn by the native library where it is there and by numpy where it is not.

On request (backend="gsplat", or "auto" for the fastest there is) an NVIDIA card draws; see cuda.py.

Semantics are those of gsplat 1.5.3, classic or antialiased: pixel centres at +0.5; covariance blur of 0.3 square pixels; alpha
at most 0.999; contributions below 1/255 skipped; a pixel ends before the Gaussian that would bring its transmittance to
1e-4; colour max(SH + 0.5, 0) seen from the camera, or the given plain one; depth is z in the camera. Gaussians with NaN or Inf, a quaternion of
length zero or an opacity below 1/255 are dropped; opacities above 1 count as 1. Antialiased, an opacity is multiplied
by sqrt(det cov / det (cov + blur)): what the blur adds to a small splat's width it takes from its strength. The same
input gives the same bytes, whatever the number of threads.
"""

import logging
import threading
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from ..errors import RasterError
from ..geometry.cameras import Camera
from ..geometry.rotations import quat_wxyz_to_matrix
from . import cuda, native, plain
from .gaussians import Gaussians

log = logging.getLogger(__name__)
MAX_SIDE = 65535
PASSES = ("colour", "alpha", "depth", "median_depth", "normal", "features")
"""Layers that can be asked for; the first three cost next to nothing and are always drawn."""
BACKENDS = ("native", "numpy", "gsplat")
"""What can draw; "auto" is the first of gsplat, native and numpy that can here."""


@dataclass(frozen=True)
class Layers:
    """What a camera sees; row 0 is the top of the picture.

    colour: (H, W, 3) scene-linear, premultiplied, background added. alpha: (H, W) 0..1.
    depth: (H, W) expected z in metres of what covers the pixel (divided by alpha), 0 where alpha is 0.

    Only when asked for: median_depth: (H, W) z of the Gaussian that brings the transmittance to 1/2 or below, or of the
    last one where none does, 0 where there is none (as in gsplat's 2DGS). normal: (H, W, 3) in world space, the
    weighted mean of the Gaussians' shortest axes, each turned to the camera; of length 1, or 0 where nothing covers.
    features: (H, W, M) weighted sums of the given features: premultiplied by alpha, no background.
    """

    colour: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    median_depth: np.ndarray | None = None
    normal: np.ndarray | None = None
    features: np.ndarray | None = None


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    *,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    passes: Collection[str] = ("colour", "alpha", "depth"),
    features: np.ndarray | None = None,
    antialiased: bool = False,
    limit: np.ndarray | None = None,
    threads: int = 0,
    cancel: native.CancelFlag | None = None,
    backend: str | None = None,
) -> Layers:
    """Draw Gaussians (N may be 0). Safe to call from several threads at once.

    passes: names of PASSES. features: (N, M) for the pass of that name, which they also ask for. limit: (H, W) z from which on
    nothing is drawn in that pixel, as behind a wall (see holdout.py). threads: 0 means one per CPU. cancel: once another
    thread sets it, this raises Cancelled within some tiles' time. backend: one of BACKENDS or "auto"; None is native, or
    numpy without it. Raises RasterError where that backend cannot draw here; gsplat knows no limit.
    """
    return rasterize_batch(
        gaussians, (camera,), background=background, passes=passes, features=features, antialiased=antialiased,
        limits=None if limit is None else (limit,), threads=threads, cancel=cancel, backend=backend,
    )[0]  # fmt: skip


def rasterize_batch(
    gaussians: Gaussians,
    cameras: Iterable[Camera],
    *,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    passes: Collection[str] = ("colour", "alpha", "depth"),
    features: np.ndarray | None = None,
    antialiased: bool = False,
    limits: Iterable[np.ndarray] | None = None,
    threads: int = 0,
    cancel: native.CancelFlag | None = None,
    backend: str | None = None,
) -> list[Layers]:
    """The same Gaussians from several cameras of any sizes: each as rasterize draws it, with one scratch memory."""
    gaussians, features = _float32(gaussians), _features(gaussians, passes, features)
    backend = backend_name(None if backend == "auto" and limits is not None else backend)
    if backend == "gsplat":
        if limits is not None:
            raise RasterError("Limits of depth: expected the native backend or numpy; found gsplat, which has none.")
        return _draw_by_cuda(gaussians, list(cameras), background, passes, features, antialiased, cancel)
    with native.borrowed_context() if backend == "native" else nullcontext() as context:
        return [
            _draw(context, gaussians, camera, background, passes, features, antialiased, limit, threads, cancel)
            for camera, limit in zip(cameras, limits or repeat(None), strict=False)
        ]


def _draw(
    context: native.Context | None,
    g: Gaussians,
    camera: Camera,
    background: tuple[float, float, float],
    passes: Collection[str],
    features: np.ndarray | None,
    antialiased: bool,
    limit: np.ndarray | None,
    threads: int,
    cancel: native.CancelFlag | None,
) -> Layers:
    _check(g, camera, background)
    if limit is not None:
        limit = np.ascontiguousarray(limit, np.float32)
        if limit.shape != (camera.height, camera.width):
            raise RasterError(f"Limit: expected ({camera.height}, {camera.width}), the picture; found {limit.shape}.")
    channels = _channels(g, camera, passes, features)
    if context is None:
        if native.library() is None:  # else it was asked for
            _warn_slow()
        colour, alpha, depth, median, drawn = plain.rasterize_plain(
            g, camera, background, antialiased=antialiased, features=channels, limit=limit, cancel=cancel
        )
    else:
        shape = camera.height, camera.width
        colour, alpha, depth = (np.empty((*shape, *rest), np.float32) for rest in ((3,), (), ()))
        median = np.empty(shape, np.float32) if "median_depth" in passes else None
        drawn = None if channels is None else np.empty((*shape, channels.shape[1]), np.float32)
        scene = native.scene_of(g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics, channels)
        view = native.view_of(camera, background, cancel.address if cancel else None, antialiased)
        image = native.Image(*map(native.pointer, (colour, alpha, depth, drawn, median, limit)))
        context.forward(native.pool(threads), scene, view, image)
    return _layers(colour, alpha, depth, median, drawn, passes, features)


def _draw_by_cuda(
    g: Gaussians,
    cameras: list[Camera],
    background: tuple[float, float, float],
    passes: Collection[str],
    features: np.ndarray | None,
    antialiased: bool,
    cancel: native.CancelFlag | None,
) -> list[Layers]:
    for camera in cameras:
        _check(g, camera, background)
    options = {"antialiased": antialiased, "median": "median_depth" in passes, "cancel": cancel}
    if "normal" not in passes:
        drawn = cuda.draw_arrays(g, cameras, background, features=features, **options)
    else:  # normals turn to the camera, so each has its own
        each = [(_channels(g, camera, passes, features), camera) for camera in cameras]
        drawn = [cuda.draw_arrays(g, [c], background, features=channels, **options)[0] for channels, c in each]
    return [_layers(*layers[:5], passes=passes, features=features) for layers in drawn]


def _channels(g: Gaussians, camera: Camera, passes: Collection[str], features: np.ndarray | None) -> np.ndarray | None:
    """Features to draw: the given ones, and normals as three more."""
    if "normal" not in passes:
        return features
    normals = shortest_axes(g, camera.position)
    return normals if features is None else np.concatenate([features, normals], 1)


def _layers(colour, alpha, depth, median, drawn, passes: Collection[str], features: np.ndarray | None) -> Layers:
    given = 0 if features is None else features.shape[1]
    return Layers(
        colour,
        alpha,
        depth,
        median if "median_depth" in passes else None,
        _unit(drawn[..., given:]) if drawn is not None and "normal" in passes else None,
        drawn[..., :given] if drawn is not None and features is not None else None,
    )


def shortest_axes(gaussians: Gaussians, position: np.ndarray) -> np.ndarray:
    """(N, 3) float32: each Gaussian's shortest axis in world space, of length 1, on the side of `position` (3,)."""
    shortest = np.argmin(gaussians.scales, axis=1)
    with np.errstate(all="ignore"):  # what has bad numbers is not drawn
        axes = quat_wxyz_to_matrix(gaussians.quats_wxyz)[np.arange(len(gaussians)), :, shortest]
        away = ((gaussians.means - np.asarray(position, np.float32)) * axes).sum(1) > 0
    return np.ascontiguousarray(np.where(away[:, None], -axes, axes), np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def backend_name(backend: str | None = None) -> str:
    """What of BACKENDS draws here for this request. "auto" imports torch, where there is one, to ask for CUDA.

    Raises RasterError for an unknown name, and for "native" or "gsplat" where they cannot draw.
    """
    if backend is None:
        return "numpy" if native.library() is None else "native"
    if backend == "auto":
        if cuda.missing() is None:
            try:
                return backend_name("gsplat")
            except RasterError as error:
                log.warning("The NVIDIA card is not used. %s", error)
        return backend_name()
    if backend not in BACKENDS:
        raise RasterError(f"Backend: expected one of {', '.join(BACKENDS)}, auto or None; found '{backend}'.")
    if backend == "native":
        native.pool(1)  # tells what to do where the library is missing
    elif backend == "gsplat":
        cuda.gsplat_module()
    return backend


def describe(backend: str | None = None) -> str:
    """One line on what draws here, for logs and reports: "native (avx2, 8 threads; gcc 12.2.0)", "numpy (slow)"."""
    name = backend_name(backend)
    if name == "native":
        return f"native ({native.describe()})"
    return "numpy (slow)" if name == "numpy" else f"gsplat {cuda.gsplat_module().__version__} (CUDA)"


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


def _features(g: Gaussians, passes: Collection[str], features: np.ndarray | None) -> np.ndarray | None:
    unknown = sorted(set(passes) - set(PASSES))
    if unknown or isinstance(passes, str):
        raise RasterError(f"Passes: expected some of {', '.join(PASSES)}; found {unknown or passes}.")
    if features is None:
        if "features" in passes:
            raise RasterError(f"Passes: expected features ({len(g)}, M) with the pass 'features'; found none.")
        return None
    features = np.ascontiguousarray(features, np.float32)
    most = native.MAX_FEATURES - 3  # normals are features, too
    if features.ndim != 2 or len(features) != len(g) or not 0 < features.shape[1] <= most:
        raise RasterError(f"Features: expected ({len(g)}, M) with M of 1 to {most}; found {features.shape}.")
    return features


def _check(g: Gaussians, camera: Camera, background: tuple[float, float, float]) -> None:
    n = g.means.shape[0]
    expected = {"means": (n, 3), "quats_wxyz": (n, 4), "scales": (n, 3), "opacities": (n,)}
    for name, shape in expected.items():
        if (found := getattr(g, name).shape) != shape:
            raise RasterError(f"Gaussians: expected {name} {shape} for {n} Gaussians; found {found}.")
    if g.harmonics.shape != (n, 3) and g.harmonics.shape not in [(n, K, 3) for K in (1, 4, 9, 16)]:
        raise RasterError(
            f"Gaussians: expected harmonics ({n}, K, 3) with K of 1, 4, 9 or 16, or plain colours ({n}, 3); found "
            f"{g.harmonics.shape}."
        )
    matrix, intrinsics = np.asarray(camera.world_to_camera), np.asarray(camera.K)
    if matrix.shape != (4, 4) or intrinsics.shape != (3, 3):
        raise RasterError(
            f"Camera: expected world_to_camera (4, 4) and K (3, 3); found {matrix.shape} and {intrinsics.shape}."
        )
    if not (np.isfinite(matrix).all() and np.isfinite(intrinsics).all() and intrinsics[0, 0] > 0 < intrinsics[1, 1]):
        raise RasterError("Camera: expected finite matrices and focal lengths above 0; check the camera's transform.")
    if np.abs(intrinsics[[0, 1, 2, 2], [1, 0, 0, 1]]).max() > 1e-6 * intrinsics[0, 0]:
        raise RasterError(f"Camera: expected K without skew or perspective; found {intrinsics.tolist()}.")
    if not (0 < camera.width <= MAX_SIDE and 0 < camera.height <= MAX_SIDE):
        raise RasterError(
            f"Camera: expected a picture of 1 to {MAX_SIDE} pixels a side; found {camera.width} x {camera.height}."
        )
    if len(background) != 3:
        raise RasterError(f"Background: expected three numbers; found {len(background)}.")
