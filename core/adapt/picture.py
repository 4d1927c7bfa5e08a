# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo from a file, as the rest wants it: upright, eight-bit sRGB, three channels, and its own matte where it has one."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CaptureError

MAX_SIDE = 2048
"""Larger photos are shrunk: a head's Gaussians are a millimetre apart and more."""
LEAST_SIDE = 32
BEHIND = 128
"""Grey that shows through transparent pixels, for the eyes of landmark and matte models."""
KINDS = "jpg, png, webp, tif and bmp"
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
"""Pillow goes by contents, and runs a PostScript file of whatever name in Ghostscript: it is asked for pictures alone."""


@dataclass(frozen=True)
class Picture:
    """image: (H, W, 3) uint8 sRGB, upright. matte: (H, W) float32 of the file's own alpha, or None where it is opaque."""

    name: str
    image: np.ndarray
    matte: np.ndarray | None = None


def read_picture(path: Path | str) -> Picture:
    """A photo: turned as its EXIF says, its colour profile brought to sRGB, 16 bits to 8, grey to colour.

    Raises CaptureError for what is none.
    """
    path = Path(path)
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        from ..capture.landmarker import HOW

        raise CaptureError(f"Photos cannot be read without Pillow ({error}). {HOW}") from error
    if not path.is_file():
        raise CaptureError(f"There is no photo '{path}'. Check the path.")
    Image.init()
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if getattr(opened, "n_frames", 1) > 1 and opened.format in ("GIF", "WEBP", "PNG"):
                opened.seek(0)
            turned = ImageOps.exif_transpose(opened)
            whole = _eight_bits(turned)
            whole = _in_srgb(whole, opened.info.get("icc_profile"))
            width, height = whole.size
            if max(whole.size) > MAX_SIDE:
                whole.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
            pixels = np.asarray(whole.convert("RGBA"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise CaptureError(
            f"'{path.name}' cannot be read as a photo ({_brief(error)}). Expected a picture of one face: {KINDS}; convert it, or "
            "make a head from a film instead."
        ) from error
    if min(pixels.shape[:2]) < LEAST_SIDE:
        raise CaptureError(
            f"'{path.name}' is {width} x {height} pixels; a head needs a face of at least 60 pixels. "
            "Use the original, not its preview."
        )
    alpha = pixels[..., 3]
    if alpha.min() >= 250:
        return Picture(path.name, np.ascontiguousarray(pixels[..., :3]))
    share = alpha[..., None].astype(np.float32) / 255
    over = pixels[..., :3] * share + BEHIND * (1 - share)
    return Picture(path.name, (over + 0.5).astype(np.uint8), share[..., 0])


def turned(picture: Picture, quarters: int) -> Picture:
    """Turned by so many quarters of a circle, against the clock."""
    image, matte = (
        None if a is None else np.ascontiguousarray(np.rot90(a, quarters)) for a in (picture.image, picture.matte)
    )
    assert image is not None
    return Picture(picture.name, image, matte)


def _eight_bits(image: Any) -> Any:
    """Pillow's 16-bit grey and floating-point pictures, which it would cut off at 255."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 else 1.0
        from PIL import Image

        return Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))
    return image


def _in_srgb(image: Any, profile: bytes | None) -> Any:
    """The same light with sRGB's numbers: phones take photos in Display P3. A broken profile is ignored."""
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    from PIL import Image, ImageCms

    try:
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        plain = image.convert("RGB") if image.mode == "RGBA" else image
        out = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    if alpha is not None and isinstance(out, Image.Image):
        out.putalpha(alpha)
    return out


def _brief(error: Exception) -> str:
    return type(error).__name__ if not str(error) else str(error).splitlines()[0][:120].split("'")[0].strip()


def linear_of(image: np.ndarray) -> np.ndarray:
    """(..., 3) float32 scene-linear light of uint8 sRGB."""
    x = np.arange(256) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)[image]


def display_of(light: np.ndarray) -> np.ndarray:
    """uint8 sRGB of scene-linear light."""
    x = np.clip(light, 0, 1)
    return (np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def resized(image: np.ndarray, box: tuple[float, float, float], side: int) -> np.ndarray:
    """(side, side, C) float32 of a square of the picture: box is its left, top and side in pixels, and may reach outside,
    where the picture's border goes on. Pixels are averaged where they shrink, and mixed where they grow."""
    left, top, extent = box
    step = extent / side
    image = np.asarray(image, np.float32)
    image = image[..., None] if image.ndim == 2 else image
    for axis, start in ((0, top), (1, left)):
        n = image.shape[axis]
        if step > 1:
            edges = np.clip(start + np.arange(side + 1) * step, 0, n)
            low = np.minimum(edges[:-1], n - 1)
            high = np.maximum(edges[1:], low + 1e-3)
            total = np.cumsum(image, axis, np.float64)
            total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis)
            shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
            image = (_between(total, high, axis) - _between(total, low, axis)) / (high - low).reshape(shape)
        else:
            image = _between(image, np.clip(start + (np.arange(side) + 0.5) * step - 0.5, 0, n - 1), axis)
    return image.astype(np.float32)


def _between(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Values at fractional indices along an axis."""
    low = np.clip(np.floor(at).astype(int), 0, values.shape[axis] - 1)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    mix = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return np.take(values, low, axis) * (1 - mix) + np.take(values, high, axis) * mix


def sampled(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, C) or (N,) bilinear values at pixels (N, 2) x, y, whose centres lie at +0.5; the border goes on outside."""
    height, width = image.shape[:2]
    x = np.clip(points[:, 0] - 0.5, 0, width - 1)
    y = np.clip(points[:, 1] - 0.5, 0, height - 1)
    x0, y0 = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    fx, fy = x - x0, y - y0
    if image.ndim == 3:
        fx, fy = fx[:, None], fy[:, None]
    top = image[y0, x0] * (1 - fx) + image[y0, x0 + 1] * fx
    bottom = image[y0 + 1, x0] * (1 - fx) + image[y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + bottom * fy
