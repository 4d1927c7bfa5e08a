# SPDX-License-Identifier: GPL-3.0-or-later
"""The native rasteriser through ctypes: finds the library, describes its structures, keeps threads and scratch memory.

The library is looked for in native/build/, where tools/build_native.py puts it in a checkout, then in the wheel
`loquent_splat`, which the Blender extension bundles.
Arrays are checked by the callers (rasterize.py, binding.py); nothing here may be handed another dtype or order.
"""

import ctypes
import importlib
import logging
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import Cancelled, RasterError
from ..geometry.cameras import Camera

log = logging.getLogger(__name__)
ABI = 5
MAX_FEATURES = 4096
LIBRARY = {"win32": "loquent_splat.dll", "darwin": "libloquent_splat.dylib"}.get(sys.platform, "libloquent_splat.so")
BUILT = Path(__file__).parent / "native" / "build" / f"{sys.platform}-{platform.machine().lower()}" / LIBRARY

# the same as in gsplat 1.5.3
BLUR = 0.3
"""Added to the diagonal of the 2D covariance, in square pixels: no splat is thinner than a pixel."""
SPARE_CONTEXTS = 4
STATISTICS = (
    "visible", "pairs", "tile_width", "tile_height",
    "project", "sort", "bin", "raster", "raster_backward", "project_backward",
)  # fmt: skip


class Scene(ctypes.Structure):
    _fields_ = [
        ("count", c_int64), ("means", c_void_p), ("quats", c_void_p), ("scales", c_void_p), ("opacities", c_void_p),
        ("harmonics", c_void_p), ("features", c_void_p),
        ("coefficients", c_int32), ("feature_count", c_int32),
    ]  # fmt: skip


class View(ctypes.Structure):
    _fields_ = [
        ("world_to_camera", c_float * 16), ("intrinsics", c_float * 9), ("background", c_float * 3),
        ("near_plane", c_float), ("far_plane", c_float), ("blur", c_float), ("radius_clip", c_float),
        ("width", c_int32), ("height", c_int32), ("antialiased", c_int32), ("tile", c_int32), ("cancel", c_void_p),
    ]  # fmt: skip


class Image(ctypes.Structure):
    _fields_ = [
        ("colour", c_void_p), ("alpha", c_void_p), ("depth", c_void_p), ("features", c_void_p),
        ("median_depth", c_void_p), ("limit", c_void_p),
    ]  # fmt: skip


class Gradients(ctypes.Structure):
    _fields_ = [
        ("means", c_void_p), ("quats", c_void_p), ("scales", c_void_p), ("opacities", c_void_p),
        ("harmonics", c_void_p), ("means2d", c_void_p), ("features", c_void_p), ("world_to_camera", c_void_p),
    ]  # fmt: skip


@cache
def library() -> ctypes.CDLL | None:
    """The loaded library, or None where there is none that fits this version of Loquent and this machine."""
    for path in _candidates():
        try:
            found = ctypes.CDLL(str(path))
            version = found.splat_abi()
            if version == ABI:
                return _declared(found)
            log.warning(
                "Rasteriser %s is not used: expected interface %d; found %d. Run 'python tools/build_native.py' in a "
                "checkout, or reinstall the extension.", path, ABI, version,
            )  # fmt: skip
        except (OSError, AttributeError):
            continue
    return None


def _candidates() -> Iterator[Path]:
    if BUILT.is_file():
        yield BUILT
    try:
        yield Path(importlib.import_module("loquent_splat").LIBRARY)
    except (ImportError, AttributeError):
        return


def _declared(lib: ctypes.CDLL) -> ctypes.CDLL:
    signatures = {
        "splat_build": (c_char_p, []),
        "splat_kernels": (c_int32, [c_int32, c_char_p, c_int32]),
        "splat_pool_create": (c_void_p, [c_int32]),
        "splat_pool_threads": (c_int32, [c_void_p]),
        "splat_pool_destroy": (None, [c_void_p]),
        "splat_create": (c_void_p, [c_int32]),
        "splat_destroy": (None, [c_void_p]),
        "splat_forward": (c_int32, [c_void_p, c_void_p, POINTER(Scene), POINTER(View), POINTER(Image)]),
        "splat_backward": (
            c_int32,
            [c_void_p, c_void_p, POINTER(Scene), POINTER(View), POINTER(Image), POINTER(Image), POINTER(Gradients)],
        ),
        "splat_statistics": (None, [c_void_p, POINTER(c_int64)]),
        "splat_mesh_depth": (
            c_int32,
            [c_void_p, POINTER(View), c_int64, c_void_p, c_int64, c_void_p, c_void_p],
        ),
        "splat_carry": (
            c_int32,
            [c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, *[c_void_p] * 7],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def kernel_names() -> tuple[str, ...]:
    """Names of the instruction sets that the library can use on this machine, best last; () without a library."""
    lib, names = library(), []
    if lib is None:
        return ()
    name = ctypes.create_string_buffer(32)
    index = 0
    while (runs := lib.splat_kernels(index, name, len(name))) >= 0:
        if runs:
            names.append(name.value.decode())
        index += 1
    return tuple(names)


def describe() -> str:
    """The instruction set that draws here, the threads and what compiled the library: "avx2, 8 threads; gcc 12.2.0"."""
    lib, threads = _required(), _required().splat_pool_threads(pool().handle)
    return f"{kernel_names()[-1]}, {threads} thread{'s' * (threads > 1)}; {lib.splat_build().decode()}"


class Pool:
    """Worker threads of the library. threads counts the caller's own; 0 means one per CPU."""

    def __init__(self, threads: int = 0):
        self.library = _required()
        self.handle = self.library.splat_pool_create(threads)
        if not self.handle:
            raise MemoryError("no memory for the rasteriser's threads")

    def __del__(self):
        if getattr(self, "handle", None) and not sys.is_finalizing():
            self.library.splat_pool_destroy(self.handle)


class Context:
    """Scratch memory of one frame. Not shared between frames whose backward pass is still to come."""

    def __init__(self, kernels: int = -1):
        self.library = _required()
        self.handle = self.library.splat_create(kernels)
        if not self.handle:
            raise RasterError(
                f"The rasteriser has no instruction set {kernels} for this machine; it has {kernel_names()}."
            )

    def __del__(self):
        if getattr(self, "handle", None) and not sys.is_finalizing():
            self.library.splat_destroy(self.handle)

    def forward(self, pool: Pool, scene: Scene, view: View, image: Image) -> None:
        check(self.library.splat_forward(self.handle, pool.handle, scene, view, image))

    def backward(self, pool: Pool, scene: Scene, view: View, image: Image, gradient: Image, out: Gradients) -> None:
        check(self.library.splat_backward(self.handle, pool.handle, scene, view, image, gradient, out))

    def statistics(self) -> dict[str, int]:
        """Counts of the last frame and nanoseconds spent in its steps, by the names of STATISTICS."""
        values = (c_int64 * len(STATISTICS))()
        self.library.splat_statistics(self.handle, values)
        return dict(zip(STATISTICS, values, strict=True))


class CancelFlag:
    """Stops frames from another thread: hand it to the call that draws, then set() it; the call raises Cancelled."""

    def __init__(self):
        self._flag = c_int32(0)

    def set(self) -> None:
        self._flag.value = 1

    def clear(self) -> None:
        self._flag.value = 0

    def is_set(self) -> bool:
        return self._flag.value != 0

    @property
    def address(self) -> int:
        """Of the int32 that the library looks at between tiles; valid as long as this object lives."""
        return ctypes.addressof(self._flag)


class _Shared:
    """Pools by thread count and spare contexts, for the whole process."""

    def __init__(self):
        self.lock = threading.Lock()
        self.pools: dict[int, Pool] = {}
        self.contexts: list[Context] = []


_shared = _Shared()


def _after_fork() -> None:
    """Threads do not survive a fork: forget them without waiting for them."""
    global _shared
    for pool in _shared.pools.values():
        pool.handle = None
    _shared = _Shared()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def pool(threads: int = 0) -> Pool:
    """The process's pool of that many threads, made at first use. 0: one per CPU."""
    with _shared.lock:
        if threads not in _shared.pools:
            _shared.pools[threads] = Pool(threads)
        return _shared.pools[threads]


def take_context() -> Context:
    """A context for one frame; hand it back with give_context."""
    with _shared.lock:
        return _shared.contexts.pop() if _shared.contexts else Context()


def give_context(context: Context) -> None:
    with _shared.lock:
        if len(_shared.contexts) < SPARE_CONTEXTS:
            _shared.contexts.append(context)


@contextmanager
def borrowed_context() -> Iterator[Context]:
    context = take_context()
    try:
        yield context
    finally:
        give_context(context)


def pointer(array: np.ndarray | None) -> int | None:
    """Address of a C-contiguous array, which the caller keeps alive."""
    if array is None:
        return None
    assert array.flags.c_contiguous, array.strides
    return array.ctypes.data


def scene_of(
    means: np.ndarray,
    quats: np.ndarray,
    scales: np.ndarray,
    opacities: np.ndarray,
    harmonics: np.ndarray,
    features: np.ndarray | None = None,
) -> Scene:
    """Structure over checked float32 arrays, which the caller keeps alive.

    harmonics: (N, K, 3), or (N, 3) plain colours. features: (N, M).
    """
    coefficients = harmonics.shape[1] if harmonics.ndim == 3 else 0
    arrays = means, quats, scales, opacities, harmonics, features
    count = 0 if features is None else features.shape[1]
    return Scene(len(means), *map(pointer, arrays), coefficients, count)  # pyright: ignore[reportArgumentType]


def view_of(
    camera: Camera,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    cancel: int | None = None,
    antialiased: bool = False,
    tile: int = 0,
) -> View:
    """cancel: address of an int32 that another thread may set to stop the frame. tile: as in splat.h, for tests."""
    return View(
        (c_float * 16)(*np.asarray(camera.world_to_camera, np.float32).ravel()),
        (c_float * 9)(*np.asarray(camera.K, np.float32).ravel()),
        (c_float * 3)(*background),
        camera.near, camera.far, BLUR, 0.0, camera.width, camera.height, antialiased, tile, cancel,
    )  # fmt: skip


def check(status: int) -> None:
    """Raise what a status of the library stands for."""
    if status == 1:
        raise Cancelled("Rendering was stopped.")
    if status == 2:
        raise MemoryError("The rasteriser could not get the memory for this frame.")
    if status == 3:
        raise RasterError(
            "The Gaussians cover more tiles than one frame can hold (4 billion): expected splats smaller than the "
            "picture. Remove oversized splats or lower the resolution."
        )
    if status == 5:
        raise RasterError("A backward pass needs the forward pass of the same arrays just before it.")
    assert status == 0, f"rasteriser status {status}"


def _required() -> ctypes.CDLL:
    lib = library()
    if lib is None:
        raise RasterError(
            f"The native rasteriser is missing: expected the package loquent_splat or {BUILT}. "
            "Run 'python tools/build_native.py' with a C++ compiler installed, or reinstall the extension."
        )
    return lib
