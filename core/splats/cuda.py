# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser on an NVIDIA card, by gsplat 1.5 (Ye et al. 2024): the same contract, drawn and differentiated by CUDA.

Optional and thin: torch and gsplat are imported at the first frame that asks for them, never by the extension. What
rasterize.py promises beyond gsplat is added here: Gaussians with bad numbers are dropped, features and harmonics go
through one pass, and the median depth is found from gsplat's lists of what reaches each pixel.

The forward pass repeats itself byte by byte; gsplat's backward pass adds with atomics, so gradients vary in their last
digits. gsplat cannot be stopped within a frame. This file was tested with gsplat's own reference code in torch
(tests/test_gsplat.py); tools/gpu checks it on a card.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import Cancelled, RasterError
from ..geometry.cameras import Camera
from .gaussians import Gaussians
from .native import BLUR, CancelFlag

if TYPE_CHECKING:
    from torch import Tensor

MAX_CAMERAS = 8
"""In one call of gsplat, whose memory grows with cameras times Gaussians."""
DEGREES = {1: 0, 4: 1, 9: 2, 16: 3}


class CudaLayers(NamedTuple):
    """Pictures of C cameras on their device; as rasterize.Layers, with the median depth and features where asked for."""

    colour: "Tensor"  # (C, H, W, 3), may share memory with the others
    alpha: "Tensor"  # (C, H, W)
    depth: "Tensor"  # (C, H, W)
    median_depth: "Tensor | None"  # (C, H, W)
    features: "Tensor | None"  # (C, H, W, M)


def missing() -> str | None:
    """What stands against drawing by CUDA here, or None. Imports torch, which takes seconds; compiles nothing."""
    if importlib.util.find_spec("torch") is None:
        return "this Python has no torch"
    if importlib.util.find_spec("gsplat") is None:
        return "this Python has no gsplat"
    import torch

    return None if torch.cuda.is_available() else "torch finds no CUDA device"


def gsplat_module() -> ModuleType:
    """gsplat with its kernels loaded; the first time, it may compile them for minutes. Raises RasterError without."""
    found = missing()
    if found is None:
        try:
            module = importlib.import_module("gsplat")
            if importlib.import_module("gsplat.cuda._backend")._C is not None:
                return module
            found = "gsplat has no compiled kernels and no CUDA toolkit (nvcc) to compile them with"
        except Exception as error:  # a compiler that fails raises whatever it likes
            found = f"gsplat cannot be loaded ({type(error).__name__}: {str(error).strip()[:200]})"
    raise RasterError(
        f"Drawing with gsplat: expected an NVIDIA card, torch with CUDA and gsplat 1.5; found that {found}. Install them "
        "in the compute environment (pip install '.[cuda]' in Loquent's folder), or leave the choice of the backend to Loquent."
    )


def draw(
    means: "Tensor",  # (N, 3)
    quats_wxyz: "Tensor",  # (N, 4)
    scales: "Tensor",  # (N, 3)
    opacities: "Tensor",  # (N,)
    harmonics: "Tensor",  # (N, K, 3), or (N, 3) plain colours
    world_to_camera: "Tensor",  # (C, 4, 4)
    K: "Tensor",  # (C, 3, 3)
    width: int,
    height: int,
    background: "Tensor",  # (3,)
    *,
    near: float,
    far: float,
    antialiased: bool = False,
    features: "Tensor | None" = None,  # (N, M)
    median: bool = False,
    means2d: "Tensor | None" = None,  # (N, 2), of one camera
) -> CudaLayers:
    """Draw and, by autograd, differentiate float32 tensors of one device, checked by the caller.

    Gradients run to the Gaussians, the features and world_to_camera, and not through the median depth. means2d.grad gets
    what backward() finds for the projected centres, in pixels.
    """
    import torch

    gsplat = gsplat_module()
    cameras = len(world_to_camera)
    if not len(means):
        empty = means.new_zeros(cameras, height, width)
        drawn = None if features is None else means.new_zeros(cameras, height, width, features.shape[1])
        colour = background.expand(cameras, height, width, 3).clone()
        return CudaLayers(colour, empty, empty.clone(), empty.clone() if median else None, drawn)
    opacities = _of_drawable(means, quats_wxyz, scales, opacities, harmonics, features)
    degree = DEGREES[harmonics.shape[1]] if harmonics.ndim == 3 else None
    colours, extra = harmonics, 0
    if features is not None:  # gsplat takes either harmonics or plain values, so these are made values first
        if degree is not None:
            position = torch.inverse(world_to_camera)[:, :3, 3]
            directions = means[None] - position[:, None]
            table = harmonics[None].expand(cameras, -1, -1, -1)
            drawable = (opacities > 0).expand(cameras, -1)  # bad numbers would reach the camera's gradient
            colours = (gsplat.spherical_harmonics(degree, directions, table, masks=drawable) + 0.5).clamp_min(0)
        else:
            colours = colours[None].expand(cameras, -1, -1)
        extra = features.shape[1]
        colours = torch.cat([colours, features[None].expand(cameras, -1, -1)], -1)
        degree = None
    backgrounds = torch.cat([background.detach(), background.new_zeros(extra)]).expand(cameras, -1)
    pixels, alpha, meta = gsplat.rasterization(
        means, quats_wxyz, scales, opacities, colours, world_to_camera, K, width, height,
        near_plane=near, far_plane=far, radius_clip=0.0, eps2d=BLUR, sh_degree=degree, packed=False,
        backgrounds=backgrounds, render_mode="RGB+ED", rasterize_mode="antialiased" if antialiased else "classic",
    )  # fmt: skip
    if means2d is not None and meta["means2d"].requires_grad:
        meta["means2d"].register_hook(lambda slope: _add_gradient(means2d, slope[0]))
    return CudaLayers(
        pixels[..., :3],
        alpha[..., 0],
        pixels[..., 3 + extra],
        _median_depth(gsplat, meta, width, height) if median else None,
        pixels[..., 3 : 3 + extra] if features is not None else None,
    )


def draw_arrays(
    g: Gaussians,
    cameras: Sequence[Camera],
    background: tuple[float, float, float],
    *,
    features: np.ndarray | None = None,
    antialiased: bool = False,
    median: bool = False,
    cancel: CancelFlag | None = None,
) -> list[tuple[np.ndarray | None, ...]]:
    """Colour, alpha, depth, median depth and features of each camera, as float32 arrays. Raises Cancelled, RasterError.

    Cameras of one size and range of depth share a call; cancel is looked at between calls.
    """
    import torch

    gsplat_module()  # before anything else fails for want of CUDA
    device = _device()
    arrays = g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics
    tensors = [torch.from_numpy(array).to(device) for array in arrays]
    table = None if features is None else torch.from_numpy(features).to(device)
    colour = torch.tensor(background, dtype=torch.float32, device=device)
    out: list[tuple[np.ndarray | None, ...]] = [()] * len(cameras)
    with torch.no_grad():
        for group in _groups(cameras, 1 if median else MAX_CAMERAS):
            if cancel is not None and cancel.is_set():
                raise Cancelled("Rendering was stopped.")
            first = cameras[group[0]]
            matrices = np.stack([np.asarray(cameras[i].world_to_camera, np.float32) for i in group])
            intrinsics = np.stack([np.asarray(cameras[i].K, np.float32) for i in group])
            means, quats, scales, opacities, harmonics = tensors
            matrices, intrinsics = torch.from_numpy(matrices).to(device), torch.from_numpy(intrinsics).to(device)
            layers = draw(
                means, quats, scales, opacities, harmonics, matrices, intrinsics, first.width, first.height, colour,
                near=first.near, far=first.far, antialiased=antialiased, features=table, median=median,
            )  # fmt: skip
            for place, i in enumerate(group):
                out[i] = tuple(None if x is None else x[place].contiguous().cpu().numpy() for x in layers)
    return out


def _device() -> str:
    return "cuda"


def _groups(cameras: Sequence[Camera], most: int) -> Iterator[list[int]]:
    """Indices of cameras that one call can draw, at most so many at a time."""
    alike: dict[tuple, list[int]] = {}
    for i, c in enumerate(cameras):
        alike.setdefault((c.width, c.height, c.near, c.far), []).append(i)
    for indices in alike.values():
        for begin in range(0, len(indices), most):
            yield indices[begin : begin + most]


def _of_drawable(means, quats, scales, opacities, harmonics, features) -> "Tensor":
    """Opacities (N,), at most 1, and 0 where a number is not finite or a quaternion has no length: gsplat drops these.

    No result is waited for, so the card is kept busy.
    """
    import torch

    parts = [means, quats, scales, opacities[:, None], harmonics.flatten(1), *([] if features is None else [features])]
    with torch.no_grad():
        kept = (torch.cat(parts, 1) * 0).sum(1) == 0  # 0 times NaN or Inf is NaN
        kept &= (quats != 0).any(1)
    return torch.where(kept, opacities.clamp_max(1), 0)


def _add_gradient(leaf: "Tensor", slope: "Tensor") -> None:
    leaf.grad = slope.detach().to(leaf) if leaf.grad is None else leaf.grad + slope.detach().to(leaf)


def _median_depth(gsplat: ModuleType, meta: dict, width: int, height: int) -> "Tensor":
    """(C, H, W): z of the last Gaussian in each pixel that meets a transmittance above one half; 0 where there is none.

    gsplat lists all Gaussians of all pixels, pixel after pixel and near to far: 24 bytes and some for each.
    """
    import torch

    with torch.no_grad():
        centres, conics, opacities, depths = (meta[name] for name in ("means2d", "conics", "opacities", "depths"))
        cameras, pixels = len(centres), width * height
        blocks = len(meta["flatten_ids"]) // meta["tile_size"] ** 2 + 1
        light = centres.new_ones(cameras, height, width)
        which, pixel, image = gsplat.rasterize_to_indices_in_range(
            0, blocks, light, centres, conics, opacities, width, height, meta["tile_size"], meta["isect_offsets"],
            meta["flatten_ids"],
        )  # fmt: skip
        out = centres.new_zeros(cameras * pixels)
        if not len(which):
            return out.view(cameras, height, width)
        place = image * pixels + pixel
        dx = pixel % width + 0.5 - centres[image, which, 0]
        dy = pixel // width + 0.5 - centres[image, which, 1]
        a, b, c = conics[image, which].unbind(-1)
        alpha = (opacities[image, which] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp_max(0.999)
        # transmittance before each, by sums of logarithms in float64: exact enough over tens of millions
        logs = torch.log1p(-alpha.double())
        before = torch.cumsum(logs, 0) - logs
        first = torch.ones_like(place, dtype=torch.bool)
        first[1:] = place[1:] != place[:-1]
        before = before - before[first][torch.cumsum(first, 0) - 1]
        bright = torch.nonzero(before > np.log(0.5)).squeeze(1)
        last = torch.full_like(out, -1, dtype=torch.long).scatter_reduce(0, place[bright], bright, "amax")
        covered = torch.nonzero(last >= 0).squeeze(1)
        out[covered] = depths[image[last[covered]], which[last[covered]]]
        return out.view(cameras, height, width)
