# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser as a torch operation, for fitting avatars; the extension itself never imports this.

Gaussians on the CPU are drawn by the native library, those on a CUDA device by gsplat (cuda.py), which threads do not
concern and whose gradients vary in their last digits.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import RasterError
from ..geometry.cameras import Camera
from . import cuda, native


def rasterize_torch(
    means: Tensor,  # (N, 3)
    quats_wxyz: Tensor,  # (N, 4), any length but zero
    scales: Tensor,  # (N, 3) linear, metres
    opacities: Tensor,  # (N,) 0..1
    harmonics: Tensor,  # (N, K, 3) with K = 1, 4, 9, 16, or (N, 3) plain colours
    world_to_camera: Tensor | np.ndarray,  # (4, 4) OpenCV
    K: Tensor | np.ndarray,  # (3, 3) pixels
    width: int,
    height: int,
    background: tuple[float, float, float] | Tensor = (0.0, 0.0, 0.0),
    *,
    near: float = 0.01,
    far: float = 1e10,
    antialiased: bool = False,
    threads: int = 0,
    means2d: Tensor | None = None,  # (N, 2)
) -> tuple[Tensor, Tensor]:
    """Colour (H, W, 3), premultiplied and over the background, and alpha (H, W), with gradients to the five tensors.

    Everything is float32 on the CPU; other tensors are converted, and their gradients back. world_to_camera gets a
    gradient where it is a tensor that requires one: to its upper twelve numbers as they stand, so that a caller's own
    parametrisation keeps it a rigid motion. K and the background get none. means2d: zeros that require grad; its .grad
    then holds d loss / d projected centre in pixels, which densification goes by. A frame's memory is held until its
    graph is dropped.
    """
    tensors = (means, quats_wxyz, scales, opacities, harmonics)
    if means.is_cuda:
        return _by_cuda(
            tensors, None, world_to_camera, K, width, height, background, near, far, antialiased, means2d=means2d
        )[:2]  # fmt: skip
    view = _view(world_to_camera, K, width, height, background, near, far, antialiased)
    colour, alpha, *_ = _Rasterize.apply(*_floats(*tensors, world_to_camera), means2d, None, view, threads, False)
    return colour, alpha


def rasterize_torch_depth(
    means: Tensor,
    quats_wxyz: Tensor,
    scales: Tensor,
    opacities: Tensor,
    harmonics: Tensor,
    world_to_camera: Tensor | np.ndarray,
    K: Tensor | np.ndarray,
    width: int,
    height: int,
    background: tuple[float, float, float] | Tensor = (0.0, 0.0, 0.0),
    *,
    near: float = 0.01,
    far: float = 1e10,
    antialiased: bool = False,
    threads: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """As rasterize_torch, with expected depth (H, W) in metres, divided by alpha, and its gradients."""
    tensors = (means, quats_wxyz, scales, opacities, harmonics)
    if means.is_cuda:
        return _by_cuda(tensors, None, world_to_camera, K, width, height, background, near, far, antialiased)[:3]
    view = _view(world_to_camera, K, width, height, background, near, far, antialiased)
    return _Rasterize.apply(*_floats(*tensors, world_to_camera), None, None, view, threads, True)[:3]


class TorchLayers(NamedTuple):
    """As rasterize.Layers. Gradients run through all but the median depth."""

    colour: Tensor  # (H, W, 3)
    alpha: Tensor  # (H, W)
    depth: Tensor  # (H, W)
    median_depth: Tensor  # (H, W)
    features: Tensor  # (H, W, M)


def rasterize_torch_layers(
    means: Tensor,
    quats_wxyz: Tensor,
    scales: Tensor,
    opacities: Tensor,
    harmonics: Tensor,
    features: Tensor,  # (N, M), M at least 1
    world_to_camera: Tensor | np.ndarray,
    K: Tensor | np.ndarray,
    width: int,
    height: int,
    background: tuple[float, float, float] | Tensor = (0.0, 0.0, 0.0),
    *,
    near: float = 0.01,
    far: float = 1e10,
    antialiased: bool = False,
    threads: int = 0,
) -> TorchLayers:
    """As rasterize_torch_depth, with the median depth and M feature channels, and gradients to the features."""
    tensors = (means, quats_wxyz, scales, opacities, harmonics)
    if means.is_cuda:
        drawn = _by_cuda(
            tensors, features, world_to_camera, K, width, height, background, near, far, antialiased, median=True
        )  # fmt: skip
        return TorchLayers._make(drawn)
    view = _view(world_to_camera, K, width, height, background, near, far, antialiased)
    drawn = _Rasterize.apply(*_floats(*tensors, world_to_camera), None, features.float(), view, threads, True)
    return TorchLayers(*drawn)


def _by_cuda(
    tensors,
    features,
    world_to_camera,
    K,
    width,
    height,
    background,
    near,
    far,
    antialiased,
    *,
    median=False,
    means2d=None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """One camera's layers as gsplat draws them on the device of the Gaussians; nothing here waits for the device."""
    device = tensors[0].device
    _check_camera(np.shape(world_to_camera), np.shape(K), len(background))
    means, quats, scales, opacities, harmonics = tensors
    _check(means, quats, scales, opacities, harmonics, features)
    floats = [x.to(device) for x in _floats(*tensors, world_to_camera, K)]
    means, quats, scales, opacities, harmonics, matrix, K = floats
    background = torch.as_tensor(background, dtype=torch.float32, device=device)
    features = None if features is None else features.float().to(device)
    drawn = cuda.draw(
        means, quats, scales, opacities, harmonics, matrix[None], K[None], int(width), int(height), background, near=near,
        far=far, antialiased=antialiased, features=features, median=median, means2d=means2d,
    )  # fmt: skip
    median_depth, channels = (None if x is None else x[0] for x in (drawn.median_depth, drawn.features))
    return drawn.colour[0], drawn.alpha[0], drawn.depth[0], median_depth, channels


def shortest_axes_torch(means: Tensor, quats_wxyz: Tensor, scales: Tensor, position: Tensor) -> Tensor:
    """As rasterize.shortest_axes, differentiable: (N, 3) features whose drawn sums, made unit vectors, are the normals."""
    w, x, y, z = torch.nn.functional.normalize(quats_wxyz, dim=1).unbind(1)
    columns = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], 1),
        torch.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], 1),
        torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], 1),
    ]
    axes = torch.stack(columns, 1)[torch.arange(len(means), device=means.device), scales.argmin(1)]
    away = ((means.detach() - position) * axes.detach()).sum(1, keepdim=True) > 0
    return torch.where(away, -axes, axes)


def _floats(*tensors: Tensor | np.ndarray) -> list[Tensor]:
    return [(x if isinstance(x, Tensor) else torch.tensor(np.asarray(x))).float() for x in tensors]


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, means, quats, scales, opacities, harmonics, world_to_camera, means2d, features, view, threads, with_depth
    ):
        tensors = [x.detach().cpu().contiguous() for x in (means, quats, scales, opacities, harmonics)]
        if features is not None:
            tensors.append(features.detach().cpu().contiguous())
        _check(*tensors)
        shape = view.height, view.width
        colour, alpha = torch.empty(*shape, 3), torch.empty(shape)
        depth = torch.empty(shape) if with_depth else None
        median = torch.empty(shape) if features is not None else None
        drawn = torch.empty(*shape, features.shape[1]) if features is not None else None
        layers = colour, alpha, depth, drawn, median
        context = native.take_context()
        try:
            context.forward(native.pool(threads), _scene(tensors), view, _image(*layers))
        except BaseException:
            native.give_context(context)
            raise
        ctx.set_materialize_grads(False)  # what nobody uses costs no pass
        if any(ctx.needs_input_grad[:8]):
            ctx.save_for_backward(*tensors, colour, alpha, depth, drawn)
            ctx.frame = _Held(context)  # goes back when the graph is dropped, too
            ctx.view, ctx.threads, ctx.with_means2d = view, threads, means2d is not None
        else:
            native.give_context(context)
        if median is not None:
            ctx.mark_non_differentiable(median)
        return colour, alpha, depth, median, drawn

    @staticmethod
    def backward(ctx, v_colour, v_alpha, v_depth, _, v_features):
        *tensors, colour, alpha, depth, drawn = ctx.saved_tensors
        slopes = (None if v is None else v.contiguous() for v in (v_colour, v_alpha, v_depth, v_features))
        v_colour, v_alpha, v_depth, v_features = slopes
        if v_colour is None:
            v_colour = torch.zeros_like(colour)
        grads = [torch.empty_like(x) for x in tensors]
        v_means2d = torch.empty(len(tensors[0]), 2) if ctx.with_means2d else None
        v_pose = torch.empty(4, 4) if ctx.needs_input_grad[5] else None
        v_table = grads[5] if len(grads) > 5 else None
        ctx.frame.context.backward(
            native.pool(ctx.threads), _scene(tensors), ctx.view, _image(colour, alpha, depth, drawn),
            _image(v_colour, v_alpha, v_depth if depth is not None else None, v_features if drawn is not None else None),
            native.Gradients(*map(_pointer, (*grads[:5], v_means2d, v_table, v_pose))),
        )  # fmt: skip
        return *grads[:5], v_pose, v_means2d, v_table, None, None, None


class _Held:
    """A context that finds its own way back."""

    def __init__(self, context: native.Context):
        self.context = context

    def __del__(self):
        if native is not None:
            native.give_context(self.context)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _scene(tensors: list[Tensor]) -> native.Scene:
    return native.scene_of(*(x.numpy() for x in tensors))


def _image(*layers: Tensor | None) -> native.Image:
    return native.Image(*map(_pointer, layers))


def _view(world_to_camera, K, width, height, background, near, far, antialiased) -> native.View:
    both = (x.detach().cpu() if isinstance(x, Tensor) else x for x in (world_to_camera, K))
    matrix, K = (np.asarray(x, np.float32) for x in both)
    _check_camera(matrix.shape, K.shape, len(background))
    red, green, blue = (float(x) for x in background)
    background = red, green, blue
    return native.view_of(Camera(matrix, K, int(width), int(height), near, far), background, antialiased=antialiased)


def _check_camera(matrix: tuple[int, ...], K: tuple[int, ...], background: int) -> None:
    if tuple(matrix) != (4, 4) or tuple(K) != (3, 3) or background != 3:
        raise RasterError(
            f"Camera: expected world_to_camera (4, 4), K (3, 3) and a background of 3; found {tuple(matrix)}, {tuple(K)}, "
            f"{background}."
        )


def _check(means, quats, scales, opacities, harmonics, features=None) -> None:
    n = len(means)
    if features is not None:
        shape = tuple(features.shape)
        if len(shape) != 2 or len(features) != n or not 0 < shape[1] <= native.MAX_FEATURES:
            raise RasterError(f"Features: expected ({n}, M) with M of 1 to {native.MAX_FEATURES}; found {shape}.")
    found = [tuple(x.shape) for x in (means, quats, scales, opacities, harmonics)]
    fits = found[:4] == [(n, 3), (n, 4), (n, 3), (n,)]
    fits &= found[4] == (n, 3) or (len(found[4]) == 3 and found[4][1] in (1, 4, 9, 16) and found[4][::2] == (n, 3))
    if not fits:
        raise RasterError(
            "Gaussians: expected means (N, 3), quats (N, 4), scales (N, 3), opacities (N,) and harmonics "
            f"(N, 1|4|9|16, 3) or colours (N, 3); found {found}."
        )
