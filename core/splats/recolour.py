# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours under which Gaussians look as pictures of them say, and which of them a picture shows at all.

Colours are found by simultaneous algebraic reconstruction, in numpy.

A pixel is a sum of colours, each times a weight that the colours do not change. Every round draws the Gaussians, and hands each
of them the mean of what its pixels lack, weighted as it takes part in them (Andersen and Kak 1984, "Simultaneous algebraic
reconstruction technique (SART)"). The library's backward pass does the handing; without the library nothing is changed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..geometry.cameras import Camera
from ..geometry.rotations import normalized, quat_wxyz_to_matrix
from . import native
from .gaussians import SH_C0, Gaussians
from .rasterize import rasterize_batch

DARKEST = 0.004
"""Light below which errors weigh no more: the curve of displays is steep there."""
STEP = 0.7
SHAPE = ("means", "quats_wxyz", "scales", "opacities")


def recoloured(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    wanted: Sequence[np.ndarray],
    *,
    which: np.ndarray | None = None,
    rounds: int = 4,
    threads: int = 0,
) -> Gaussians:
    """The Gaussians with colours that bring them near the wanted pictures, (H, W, 3) scene-linear over black, of the cameras.

    which: (N,) bool, those that get new colours; the others keep theirs with all harmonics. New colours stay at least zero and
    do not depend on the direction they are seen from. A picture of 384 x 384 takes some 30 ms a round for 20,000 Gaussians on
    two cores.
    """
    if native.library() is None or not len(gaussians) or (which is not None and not which.any()):
        return gaussians
    g = _contiguous(gaussians)
    colours = np.maximum(gaussians.harmonics[:, 0] * SH_C0 + 0.5, 0).astype(np.float32)
    weights = [_display_slope(picture) for picture in wanted]
    if which is not None:  # what the others draw is taken off, so that these alone make up the rest
        dark = gaussians.harmonics.astype(np.float32)
        dark[which] = 0
        dark[which, 0] = -0.5 / SH_C0
        drawn = rasterize_batch(replace(g, harmonics=dark), cameras, threads=threads, backend="native")
        wanted = [picture - layers.colour for picture, layers in zip(wanted, drawn, strict=True)]
        colours[~which] = 0
    shares = [_handed(g, colours, camera, weight, threads) for camera, weight in zip(cameras, weights, strict=True)]
    little = np.maximum(sum(shares) / len(shares), 1e-6)  # who is hardly in a picture learns little from it
    for _ in range(rounds):
        for camera, picture, weight, share in zip(cameras, wanted, weights, shares, strict=True):
            lacking = _handed(g, colours, camera, weight, threads, picture)
            colours = np.maximum(colours + STEP * lacking / np.maximum(share, little), 0)
            if which is not None:
                colours[~which] = 0
    harmonics = ((colours - 0.5) / SH_C0)[:, None]
    if which is not None:
        kept = gaussians.harmonics.astype(np.float32)
        kept[which] = 0
        kept[which, 0] = harmonics[which, 0]
        harmonics = kept
    return replace(gaussians, harmonics=harmonics)


def seen(gaussians: Gaussians, cameras: Sequence[Camera], *, threads: int = 0) -> np.ndarray | None:
    """(N,) 0..1: how much of a Gaussian is not covered by others, in the camera that sees most of it; None without the library.

    That is its share in the picture over the share it would have alone, which is computed and not drawn: where a Gaussian is
    cut off by the picture's edge it counts as covered there.
    """
    if native.library() is None:
        return None
    g = _contiguous(gaussians)
    out = np.zeros(len(g), np.float32)
    black = np.zeros((len(g), 3), np.float32)
    turns = quat_wxyz_to_matrix(normalized(g.quats_wxyz)) * g.scales[:, None]
    for camera in cameras:
        share = _handed(g, black, camera, np.ones((camera.height, camera.width, 3), np.float32), threads)[:, 0]
        rotation = camera.world_to_camera[:3, :3]
        z = g.means @ rotation[2] + camera.world_to_camera[2, 3]
        half = (rotation[:2] @ turns) * (camera.K[0, 0] / np.maximum(z, camera.near))[:, None, None]
        first, second = ((half**2).sum(2) + native.BLUR).T
        area = np.sqrt(np.maximum(first * second - (half[:, 0] * half[:, 1]).sum(1) ** 2, native.BLUR**2))
        out = np.maximum(out, share / np.maximum(2 * np.pi * area * g.opacities, 1e-6))
    return np.minimum(out, 1)


def _contiguous(g: Gaussians) -> Gaussians:
    return replace(g, **{name: np.ascontiguousarray(getattr(g, name), np.float32) for name in SHAPE})


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
