# SPDX-License-Identifier: GPL-3.0-or-later
"""The native rasteriser as a torch operation, for fitting avatars on a CPU; the extension itself never imports this."""

import numpy as np
import torch
from torch import Tensor

from ..errors import RasterError
from ..geometry.cameras import Camera
from . import native


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
    threads: int = 0,
    means2d: Tensor | None = None,  # (N, 2)
) -> tuple[Tensor, Tensor]:
    """Colour (H, W, 3), premultiplied and over the background, and alpha (H, W), with gradients to the five tensors.

    Everything is float32 on the CPU; other tensors are converted, and their gradients back. The camera and the
    background get no gradient. means2d: zeros that require grad; its .grad then holds d loss / d projected centre in
    pixels, which densification goes by. A frame's memory is held until its graph is dropped.
    """
    colour, alpha, _ = _Rasterize.apply(
        *(x.float() for x in (means, quats_wxyz, scales, opacities, harmonics)),
        means2d, _view(world_to_camera, K, width, height, background, near, far), threads, False,
    )  # fmt: skip
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
    threads: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """As rasterize_torch, with expected depth (H, W) in metres, divided by alpha, and its gradients."""
    return _Rasterize.apply(
        *(x.float() for x in (means, quats_wxyz, scales, opacities, harmonics)),
        None, _view(world_to_camera, K, width, height, background, near, far), threads, True,
    )  # fmt: skip


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, quats, scales, opacities, harmonics, means2d, view, threads, with_depth):
        tensors = [x.detach().cpu().contiguous() for x in (means, quats, scales, opacities, harmonics)]
        _check(*tensors)
        arrays = [x.numpy() for x in tensors]
        shape = view.height, view.width
        colour, alpha = torch.empty(*shape, 3), torch.empty(shape)
        depth = torch.empty(shape) if with_depth else None
        image = _image(colour, alpha, depth)
        context = native.take_context()
        try:
            context.forward(native.pool(threads), native.scene_of(*arrays), view, image)
        except BaseException:
            native.give_context(context)
            raise
        if any(ctx.needs_input_grad[:6]):
            ctx.save_for_backward(*tensors, colour, alpha, *([depth] if with_depth else []))
            ctx.frame = _Held(context)  # goes back when the graph is dropped, too
            ctx.view, ctx.threads, ctx.with_means2d = view, threads, means2d is not None
        else:
            native.give_context(context)
        return colour, alpha, depth

    @staticmethod
    def backward(ctx, v_colour, v_alpha, v_depth):
        *tensors, colour, alpha = ctx.saved_tensors[:7]
        depth = ctx.saved_tensors[7] if len(ctx.saved_tensors) > 7 else None
        v_colour, v_alpha, v_depth = (None if v is None else v.contiguous() for v in (v_colour, v_alpha, v_depth))
        if v_colour is None:
            v_colour = torch.zeros_like(colour)
        grads = [torch.empty_like(x) for x in tensors]
        v_means2d = torch.empty(len(tensors[0]), 2) if ctx.with_means2d else None
        out = native.Gradients(*(native.pointer(g.numpy()) for g in grads), _pointer(v_means2d))  # pyright: ignore
        ctx.frame.context.backward(
            native.pool(ctx.threads), native.scene_of(*(x.numpy() for x in tensors)), ctx.view,
            _image(colour, alpha, depth), _image(v_colour, v_alpha, v_depth if depth is not None else None), out,
        )  # fmt: skip
        return *grads, v_means2d, None, None, None


class _Held:
    """A context that finds its own way back."""

    def __init__(self, context: native.Context):
        self.context = context

    def __del__(self):
        if native is not None:
            native.give_context(self.context)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _image(colour: Tensor, alpha: Tensor | None, depth: Tensor | None) -> native.Image:
    return native.Image(_pointer(colour), _pointer(alpha), _pointer(depth))


def _view(world_to_camera, K, width, height, background, near, far) -> native.View:
    both = (x.detach().cpu() if isinstance(x, Tensor) else x for x in (world_to_camera, K))
    matrix, K = (np.asarray(x, np.float32) for x in both)
    background = tuple(float(x) for x in background)
    if matrix.shape != (4, 4) or K.shape != (3, 3) or len(background) != 3:
        raise RasterError(
            f"Camera: expected world_to_camera (4, 4), K (3, 3) and a background of 3; found {matrix.shape}, {K.shape}, "
            f"{len(background)}."
        )
    return native.view_of(Camera(matrix, K, int(width), int(height), near, far), background)


def _check(means, quats, scales, opacities, harmonics) -> None:
    n = len(means)
    found = [tuple(x.shape) for x in (means, quats, scales, opacities, harmonics)]
    fits = found[:4] == [(n, 3), (n, 4), (n, 3), (n,)]
    fits &= found[4] == (n, 3) or (len(found[4]) == 3 and found[4][1] in (1, 4, 9, 16) and found[4][::2] == (n, 3))
    if not fits:
        raise RasterError(
            "Gaussians: expected means (N, 3), quats (N, 4), scales (N, 3), opacities (N,) and harmonics "
            f"(N, 1|4|9|16, 3) or colours (N, 3); found {found}."
        )
