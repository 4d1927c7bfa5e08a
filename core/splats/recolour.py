# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours under which Gaussians look as pictures of them say: simultaneous algebraic reconstruction, in numpy.

A pixel is a sum of colours, each times a weight that the colours do not change. Every round draws the Gaussians, and hands each
of them the mean of what its pixels lack, weighted as it takes part in them (Andersen and Kak 1984, "Simultaneous algebraic
reconstruction technique (SART)"). The library's backward pass does the handing; without the library nothing is changed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..geometry.cameras import Camera
from . import native
from .gaussians import SH_C0, Gaussians

DARKEST = 0.004
"""Light below which errors weigh no more: the curve of displays is steep there."""
STEP = 0.7
SHAPE = ("means", "quats_wxyz", "scales", "opacities")


def recoloured(
    gaussians: Gaussians, cameras: Sequence[Camera], wanted: Sequence[np.ndarray], *, rounds: int = 4, threads: int = 0
) -> Gaussians:
    """The Gaussians with colours that bring them near the wanted pictures, (H, W, 3) scene-linear over black, of the cameras.

    Colours stay at least zero and do not depend on the direction they are seen from. A picture of 384 x 384 takes some 30 ms
    a round for 20,000 Gaussians on two cores.
    """
    if native.library() is None or not len(gaussians):
        return gaussians
    g = replace(gaussians, **{name: np.ascontiguousarray(getattr(gaussians, name), np.float32) for name in SHAPE})
    colours = np.maximum(gaussians.harmonics[:, 0] * SH_C0 + 0.5, 0).astype(np.float32)
    weights = [_display_slope(picture) for picture in wanted]
    shares = [_handed(g, colours, camera, weight, threads) for camera, weight in zip(cameras, weights, strict=True)]
    little = np.maximum(sum(shares) / len(shares), 1e-6)  # who is hardly in a picture learns little from it
    for _ in range(rounds):
        for camera, picture, weight, share in zip(cameras, wanted, weights, shares, strict=True):
            lacking = _handed(g, colours, camera, weight, threads, picture)
            colours = np.maximum(colours + STEP * lacking / np.maximum(share, little), 0)
    return replace(gaussians, harmonics=((colours - 0.5) / SH_C0)[:, None])


def _display_slope(linear: np.ndarray) -> np.ndarray:
    """(H, W, 3) how much more an error is seen there than in white, for the power 2.4."""
    return (np.maximum(linear, DARKEST) ** (1 / 2.4 - 1)).astype(np.float32)


def _handed(
    g: Gaussians,
    colours: np.ndarray,
    camera: Camera,
    weight: np.ndarray,
    threads: int,
    wanted: np.ndarray | None = None,
) -> np.ndarray:
    """(N, 3): for each Gaussian the sum over pixels of its share times weight, and times what is lacking where told."""
    shape = camera.height, camera.width
    colour, alpha = np.empty((*shape, 3), np.float32), np.empty(shape, np.float32)
    arrays = g.means, g.quats_wxyz, g.scales, g.opacities, colours
    scene, view = native.scene_of(*arrays), native.view_of(camera)
    image = _image(colour, alpha)
    slopes = [np.empty_like(x) for x in arrays]
    with native.borrowed_context() as context:
        context.forward(native.pool(threads), scene, view, image)
        pull = np.ascontiguousarray(weight if wanted is None else weight * (wanted - colour), np.float32)
        context.backward(
            native.pool(threads), scene, view, image, _image(pull),
            native.Gradients(*map(native.pointer, slopes)),
        )  # fmt: skip
    return slopes[4]


def _image(colour: np.ndarray, alpha: np.ndarray | None = None) -> native.Image:
    return native.Image(native.pointer(colour), native.pointer(alpha), None, None, None, None)
