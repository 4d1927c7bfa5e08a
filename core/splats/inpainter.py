# SPDX-License-Identifier: GPL-3.0-or-later
"""A head put back into its footage: the network that fills in what lies between a drawn head and the real frame.

After GGTalker's body inpainter (Hu et al. 2025): picture = I(render, (1 - dilate(head)) * frame). The
network is one person's, small, and travels in the `.loq` as ONNX. It answers with a residual: what to add to the premultiplied
render inside the hole, that is the background behind the head, the neck's border and what the render lacks. Outside the
hole the frame stays as it is, to the bit.

Everything here is display sRGB in 0..1, because films are; renders come scene-linear and are converted by `display`.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FormatError, RasterError
from ..geometry.cameras import Camera
from .avatar import Performer, pose
from .colour import display_harmonics
from .onnx_outline import outline
from .rasterize import rasterize

MAX_BYTES = 8 << 20
OPSETS = range(13, 22)
OPERATORS = frozenset({"Add", "Cast", "Concat", "Conv", "DepthToSpace", "Mul", "Relu", "Resize"})
"""What a network of ours is made of. A file from elsewhere may hold no others: no loops, no calls, nothing that reads files."""
INPUTS = {"render": 4, "frame": 3, "mask": 1}
OUTPUT = "residual"
MULTIPLE = 16
MAX_SIDE = 1024
GROW, FEATHER = 0.015, 0.012
"""How far the hole goes beyond the head, and over which width it then fades, in head heights."""
OWN_WEIGHT, BELOW_CHIN = 0.5, 0.005
"""What is cut out is the head alone: Gaussians on triangles that move with it rather than with the shoulders, by this share of
their skinning, and at rest no lower than so many metres below the chin. A collar that is cut out has to be drawn where the person wore it, and
was 2 pixels off."""


@dataclass(frozen=True)
class Cut:
    """A head drawn for a frame. render: (H, W, 4) display sRGB, premultiplied. cover: (H, W) 0..1, where the head itself is,
    without shoulders."""

    render: np.ndarray
    cover: np.ndarray


def cut(performer: Performer, values: np.ndarray, camera: Camera, threads: int = 0) -> Cut:
    """The head at these motion values as the inpainter wants it."""
    gaussians = pose(performer, values)
    own = own_gaussians(performer)
    layers = rasterize(gaussians, camera, features=own.astype(np.float32)[:, None], threads=threads)
    assert layers.features is not None
    return Cut(display(layers.colour, layers.alpha), np.clip(layers.features[..., 0], 0, 1))


def own_gaussians(performer: Performer) -> np.ndarray:
    """(N,) bool: which belong to the head that is cut out. The first time some 5 ms."""
    person = performer.identity
    head, triangles = person.head, performer.avatar.binding.triangles
    chin = person.template[head.landmarks["chin"], 1]
    return (1 - head.weights[head.faces, 0].mean(1)[triangles] > OWN_WEIGHT) & (
        performer.resting[:, 1] > chin - BELOW_CHIN
    )


def display(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 4) display sRGB, premultiplied, of scene-linear premultiplied colour (H, W, 3) and alpha (H, W)."""
    share = np.clip(alpha, 0, 1)[..., None]
    straight = np.clip(colour / np.maximum(share, 1e-4), 0, 1)
    curved = display_harmonics(straight.reshape(-1, 3)).reshape(straight.shape)
    return np.concatenate([np.clip(curved, 0, 1) * share, share], -1).astype(np.float32)


def hole(*covers: np.ndarray, height: float | None = None, grow: float = GROW, feather: float = FEATHER) -> np.ndarray:
    """(H, W) 0..1: 1 on the covers and a margin round them, fading out beyond it; what is taken out of the frame.

    covers: of the head in the frame, and of the head to be put there. height: of the head in pixels, None measures it.
    """
    inside = np.maximum.reduce(covers) > 0.3
    rows = np.flatnonzero(inside.any(1))
    if not len(rows):
        return np.zeros(inside.shape, np.float32)
    height = height or float(rows[-1] - rows[0] + 1)
    fade = max(1, round(feather * height / 2))
    wide = _dilated(inside, max(1, round(grow * height)) + fade)
    return _box(_box(wide.astype(np.float32), fade // 2 or 1), fade // 2 or 1)


def _dilated(inside: np.ndarray, radius: int) -> np.ndarray:
    """A bool picture grown by a disc, near enough: an octagon of a square and a diamond."""
    square = _spread(_spread(inside, round(radius * 0.7), 0), round(radius * 0.7), 1)
    cross = _spread(inside, radius, 0) | _spread(inside, radius, 1)
    return square | cross


def _spread(inside: np.ndarray, radius: int, axis: int) -> np.ndarray:
    total = np.cumsum(inside, axis=axis, dtype=np.int32)
    size = inside.shape[axis]
    at = np.arange(size)
    upper = np.take(total, np.minimum(at + radius, size - 1), axis)
    lower = np.take(total, np.maximum(at - radius - 1, 0), axis)
    first = np.expand_dims(at - radius - 1 < 0, 1 - axis)
    return upper - np.where(first, 0, lower) > 0


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    for axis in (0, 1):
        padded = np.pad(values, [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        total = np.cumsum(padded, axis=axis, dtype=np.float64)
        size, width = values.shape[axis], 2 * radius + 1
        values = (np.take(total, np.arange(width, width + size), axis) - np.take(total, np.arange(size), axis)) / width
    return values.astype(np.float32)


def composed(render: np.ndarray, frame: np.ndarray, mask: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(H, W, 3): the frame outside the mask, render and residual inside."""
    share = mask[..., None]
    inside = np.clip(render[..., :3] + residual, 0, 1)
    return np.where(share > 0, frame * (1 - share) + inside * share, frame).astype(np.float32)


@dataclass(frozen=True)
class Inpainter:
    """size: (height, width) at which the network works; films of other sizes but this shape are filled at it."""

    session: Any
    size: tuple[int, int]

    def __call__(self, render: np.ndarray, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(H, W, 3) display sRGB: render (H, W, 4) premultiplied sits in frame (H, W, 3), in the hole mask (H, W).

        Where the film is larger than the network's size, what it adds (never the head itself) is enlarged.
        Raises RasterError for pictures of another shape than the film it was learned from.
        """
        self._check(render, frame, mask)
        small = [fitted(picture, self.size) for picture in (render, frame * (1 - mask[..., None]), mask[..., None])]
        feed = {name: planes(picture) for name, picture in zip(INPUTS, small, strict=True)}
        residual = self.session.run([OUTPUT], feed)[0][0, :, : self.size[0], : self.size[1]].transpose(1, 2, 0)
        return composed(render, frame, mask, fitted(residual, (frame.shape[0], frame.shape[1])))

    def _check(self, render: np.ndarray, frame: np.ndarray, mask: np.ndarray) -> None:
        height, width = mask.shape
        if render.shape != (height, width, 4) or frame.shape != (height, width, 3):
            raise RasterError(
                f"Inpainting: expected a render (H, W, 4), a frame (H, W, 3) and a mask (H, W) of one size; found "
                f"{render.shape}, {frame.shape}, {mask.shape}."
            )
        own = self.size[1] / self.size[0]
        if abs(width / height - own) > 0.02 * own:
            raise RasterError(
                f"Inpainting: the footage is {width} x {height}; this head learned to sit in a film of {self.size[1]} x "
                f"{self.size[0]}. Use the film that the head was made from, uncropped."
            )


def apply(session: Inpainter, render: np.ndarray, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """As calling the Inpainter."""
    return session(render, frame, mask)


def planes(picture: np.ndarray) -> np.ndarray:
    """(1, C, H', W') float32 of (H, W, C), the border repeated up to multiples of MULTIPLE."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, [(0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)], mode="edge")
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, C) at another size: bilinear, and averaged before it gets smaller."""
    for axis, wanted in enumerate(size):
        have = picture.shape[axis]
        if have != wanted:
            picture = _resampled(picture, axis, have, wanted)
    return picture


def _resampled(picture: np.ndarray, axis: int, have: int, wanted: int) -> np.ndarray:
    if have > wanted:  # the mean over each new pixel's stretch of old ones
        total = np.cumsum(picture, axis=axis, dtype=np.float64)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis)
        edges = np.linspace(0, have, wanted + 1)
        low = np.floor(edges).astype(int)
        share = np.expand_dims(edges - low, tuple(a for a in range(picture.ndim) if a != axis))
        at = np.take(total, low, axis) * (1 - share) + np.take(total, np.minimum(low + 1, have), axis) * share
        return (np.diff(at, axis=axis) * (wanted / have)).astype(np.float32)
    place = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
    low = np.floor(place).astype(int)
    share = np.expand_dims(place - low, tuple(a for a in range(picture.ndim) if a != axis)).astype(np.float32)
    high = np.minimum(low + 1, have - 1)
    return np.take(picture, low, axis) * (1 - share) + np.take(picture, high, axis) * share


def load_inpainter(data: bytes | np.ndarray, threads: int = 0) -> Inpainter:
    """The network of ONNX bytes, checked. Raises FormatError for anything that this version cannot run."""
    import onnxruntime

    data = bytes(data)
    size = check_inpainter(data)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise FormatError(f"The head's inpainter cannot be loaded: {_short(error)}. Make the head again.") from error
    height, width = (side + -side % MULTIPLE for side in size)
    found = {entry.name: list(entry.shape) for entry in [*session.get_inputs(), *session.get_outputs()]}
    wanted = {name: [1, count, height, width] for name, count in (INPUTS | {OUTPUT: 3}).items()}
    if found != wanted:
        raise FormatError(f"The head's inpainter has {found}; expected {wanted}. Make the head again.")
    return Inpainter(session, size)


def check_inpainter(data: bytes) -> tuple[int, int]:
    """(height, width) the network works at. Reads the file's outline only; raises FormatError where it is not one of ours."""
    what = "The head's inpainter"
    if not 0 < len(data) <= MAX_BYTES:
        raise FormatError(f"{what} has {len(data):,} bytes; expected 1 to {MAX_BYTES:,}. Make the head again.")
    found = outline(data)
    if not found.opsets.keys() <= {""} or found.opsets.get("", 0) not in OPSETS:
        raise FormatError(
            f"{what} uses ONNX operator sets {found.opsets}; expected {OPSETS.start} to {OPSETS.stop - 1}."
        )
    if foreign := found.operators - OPERATORS:
        raise FormatError(f"{what} uses the operators {', '.join(sorted(foreign))}, which none of Loquent's does.")
    if found.external:
        raise FormatError(f"{what} refers to other files, which none of Loquent's does.")
    try:
        height, width = (int(side) for side in json.loads(found.metadata["loquent"])["size"])
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{what} does not tell the size it works at. Make the head again.") from error
    if not (MULTIPLE <= height <= MAX_SIDE and MULTIPLE <= width <= MAX_SIDE):
        raise FormatError(f"{what} works at {width} x {height}; expected {MULTIPLE} to {MAX_SIDE} a side.")
    return height, width


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
