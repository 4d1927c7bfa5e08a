# SPDX-License-Identifier: GPL-3.0-or-later
"""Training pictures made less like each other: people of colours that no maker gave them, and sources as bad as photographs.

Synthetic people have the hair, skin and light of their maker, clean mattes and meshes that fit exactly. A photograph has
none of that, so the networks are to learn what follows from a picture's own colours and not what colours people have.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image

from ...geometry.cameras import Camera

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class View:
    """One picture ready for a step: colour (H, W, 3) linear premultiplied, matte (H, W), camera, posed vertices."""

    colour: np.ndarray
    matte: np.ndarray
    camera: Camera
    vertices: np.ndarray


def dye(dice: np.random.Generator, strength: float = 1.0) -> Callable[[View], View]:
    """A change of colours that all pictures of a person share: exposure, white balance, saturation, hue, contrast (which
    makes dark hair fair and fair hair dark)."""
    gain = np.exp(strength * (0.2 * dice.normal() + 0.1 * dice.normal(size=3))).astype(np.float32)
    mixing = np.eye(3, dtype=np.float32) + 0.06 * strength * dice.normal(size=(3, 3)).astype(np.float32)
    mixing /= mixing.sum(1, keepdims=True)
    saturation = 1 + strength * dice.uniform(-0.4, 0.3)
    power = float(np.exp(strength * dice.uniform(-0.5, 0.25)))

    def dyed(view: View) -> View:
        matte = view.matte[..., None]
        straight = view.colour / np.maximum(matte, 1e-3)
        luma = np.maximum(straight @ LUMA, 1e-4)[..., None]
        # the middle of skin stays where it is
        straight = straight * (luma / 0.3) ** (power - 1)
        luma = (straight @ LUMA)[..., None]
        straight = (luma + saturation * (straight - luma)) @ mixing.T * gain
        return replace(view, colour=(np.clip(straight, 0, 1.2) * matte).astype(np.float32))

    return dyed


def spoiled(view: View, dice: np.random.Generator, strength: float = 1.0) -> View:
    """A source picture with what photographs have: soft or compressed, noise, a matte that is off by a pixel so that the
    background shines in, and a mesh that does not quite fit. Each with some chance only."""
    maybe = dice.random(5) < 0.5 * strength
    scale = len(view.matte) / 192
    colour, matte, vertices = view.colour, view.matte, view.vertices
    if maybe[0]:
        wide = float(dice.uniform(0.3, 1.0)) * scale
        behind = (dice.random(3) ** 2).astype(np.float32)
        picture = colour + behind * (1 - matte[..., None])
        edge = float(dice.uniform(0.3, 0.7))
        matte = np.clip((soft(matte, wide + 0.3) - edge) * 2 + 0.5, 0, 1).astype(np.float32)
        colour = picture * matte[..., None]
    if maybe[1]:
        sigma = float(dice.uniform(0.3, 1.1)) * scale
        colour = soft(colour, sigma)
        matte = soft(matte, sigma)
    if maybe[2] or maybe[3]:
        shown = np.clip(colour, 0, 1) ** (1 / 2.2)
        if maybe[2]:
            shown = np.clip(shown + dice.normal(size=shown.shape) * dice.uniform(0.005, 0.03), 0, 1)
        if maybe[3]:
            held = BytesIO()
            Image.fromarray((shown * 255 + 0.5).astype(np.uint8)).save(held, "JPEG", quality=int(dice.integers(35, 92)))
            shown = np.asarray(Image.open(held), np.float32) / 255
        colour = (shown**2.2 * (matte[..., None] > 0)).astype(np.float32)
    if maybe[4]:
        middle = vertices.mean(0)
        turn = np.cross(np.eye(3), 0.012 * dice.normal(size=3))
        grown = (vertices - middle) @ (np.eye(3) + turn) * (1 + 0.008 * dice.normal())
        vertices = (middle + grown + 0.0012 * dice.normal(size=3)).astype(np.float32)
    return View(colour, matte, view.camera, vertices)


def soft(image: np.ndarray, sigma: float) -> np.ndarray:
    """An image (H, W) or (H, W, C) behind a Gaussian of `sigma` pixels; its border goes on for ever."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        wide = [(reach, reach) if k == axis else (0, 0) for k in range(image.ndim)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, wide, "edge"), len(weights), axis)
        image = windows @ weights
    return image
