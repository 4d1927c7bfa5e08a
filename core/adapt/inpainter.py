# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's body inpainter, learned from the film that the head was learned from (GGTalker, Hu et al. 2025, step 4).

The head is drawn over the film's frames as they were tracked, the head in them is cut out with a margin, and the network
learns to close the gap. A new performance holds its head elsewhere than the frame it is put into, so that is what it is
shown: the drawn head comes from one frame and the footage from another, moved, turned and scaled a little, in holes of
varying width. What it should then answer is put together of what is known: the drawn head's own frame inside its outline,
around it the other frame where no head was in the way, else the first one, if the camera stood still; where neither knows, nothing is asked.
Now and then it gets no frame at all, so that the whole picture can be had from the render alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .. import checkpoint
from ..capture.film import open_film, pictures
from ..capture.track import Track
from ..errors import CaptureError, FormatError
from ..geometry.cameras import Camera
from ..splats.avatar import Avatar, performer
from ..splats.inpainter import FEATHER, GROW, MULTIPLE, composed, cut, fitted, hole
from .footage import chosen_frames
from .inpaint_network import InpaintNetwork, export

FORMAT, VERSION = "Loquent inpainter in training", 1
LEAST = 8
"""Frames below which nothing is learned: a photo has no footage to sit in."""
MARGIN = 0.02
"""Head heights round a drawn head in which its own frame still counts as the head's: hair ends softly."""
SHIFT, TURN, GROWTH = 0.03, 0.07, 0.02
"""Most that the drawn head is moved (head heights), turned (radians) and scaled against the footage, by normal deviates."""
WITHOUT_FRAME, OTHER_FRAME, MOVED = 0.12, 0.5, 0.6
"""Shares of the samples."""
EDGES = 0.5
"""Weight of differences of neighbouring pixels beside the pixels themselves."""
LEARNING_RATE, LAST_RATE = 4e-3, 1e-4
SAVE_EVERY = 100

Progress = Callable[[str, float, np.ndarray | None], None]


@dataclass(frozen=True)
class InpainterOptions:
    """size: longer side at which the network works; larger films get what it adds enlarged. steps: of training, two samples
    each. most: frames kept in memory, about 1.2 MB each. frames: the first and the end of those that may be learned from, None takes all."""

    size: int = 384
    steps: int = 900
    crop: int = 192
    most: int = 160
    seed: int = 0
    frames: tuple[int, int] | None = None
    threads: int = 0
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Samples:
    """n frames with their heads drawn: frames (n, h, w, 3), renders (n, h, w, 4) premultiplied, covers (n, h, w), all uint8
    display sRGB. height: of the head in pixels."""

    frames: np.ndarray
    renders: np.ndarray
    covers: np.ndarray
    height: float

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[1], self.frames.shape[2]


def inpainter_from_film(
    path: Path | str, avatar: Avatar, track: Track, options: InpainterOptions | None = None, progress: Progress | None = None
) -> bytes:  # fmt: skip
    """The ONNX bytes of the inpainter of a head that was learned from this film with this track. About 3 min on one core.

    progress is told the stage, 0..1 and sometimes a picture (H, W, 3) uint8; may raise Cancelled. With options.checkpoint, a
    file, an interrupted training goes on where it was. Raises CaptureError where there is nothing to learn from.
    """
    options = options or InpainterOptions()
    report = progress or (lambda stage, fraction, picture: None)
    samples = draw_samples(path, avatar, track, options, report)
    network = train(samples, options, report)
    return export(network, {"source": track.source})


def draw_samples(
    path: Path | str, avatar: Avatar, track: Track, options: InpainterOptions, report: Progress
) -> Samples:
    """The film's frames and the head over them. About 40 ms a frame."""
    index = chosen_frames(track, len(track))
    first, end = options.frames or (0, len(track))
    index = index[(index >= first) & (index < end)]
    if len(index) < LEAST:
        raise CaptureError(
            f"Only {len(index)} frames of '{Path(path).name}' show the face well; the inpainter needs at least {LEAST}. "
            "Use a longer film, or go on without an inpainter."
        )
    if len(index) > options.most:
        index = index[np.linspace(0, len(index) - 1, options.most).round().astype(int)]
    camera = scaled_camera(track.camera, options.size)
    size = camera.height, camera.width
    frames = np.empty((len(index), *size, 3), np.uint8)
    renders, covers = np.empty((len(index), *size, 4), np.uint8), np.empty((len(index), *size), np.uint8)
    person, place = performer(avatar), {int(frame): k for k, frame in enumerate(index)}
    done, heights = 0, []
    for number, picture in enumerate(pictures(open_film(path, track.fps))):
        if number not in place:
            continue
        k = place[number]
        frames[k] = np.round(fitted(picture.image.astype(np.float32), size))
        drawn = cut(person, track.motion.values[number], camera, options.threads)
        renders[k], covers[k] = np.round(drawn.render * 255), np.round(drawn.cover * 255)
        rows = np.flatnonzero((drawn.cover > 0.3).any(1))
        heights.append(float(np.ptp(rows)) + 1 if len(rows) else 0.0)
        done += 1
        report("Drawing the head over its film", done / len(index), None)
        if done == len(index):
            break
    if done < len(index):
        raise CaptureError(
            f"'{Path(path).name}' ended after {number + 1} pictures; expected the {len(track)} that were tracked."
        )
    if min(heights) < 16:
        raise CaptureError(
            f"The head is {min(heights):.0f} pixels high in a frame of '{Path(path).name}'; the inpainter needs 16. "
            "Track the film again, or go on without an inpainter."
        )
    return Samples(frames, renders, covers, float(np.median(heights)))


def scaled_camera(camera: Camera, longest: int) -> Camera:
    """The camera with its longer side at most `longest` pixels."""
    scale = min(1.0, longest / max(camera.width, camera.height))
    width, height = max(MULTIPLE, round(camera.width * scale)), max(MULTIPLE, round(camera.height * scale))
    k = np.array(camera.K, np.float64)
    k[0] *= width / camera.width
    k[1] *= height / camera.height
    return Camera(camera.world_to_camera, k, width, height)


def still_plate(samples: Samples) -> np.ndarray:
    """(h, w, 3) 0..1: the median of what the frames show where no head is; what no frame shows, from its surroundings."""
    size = samples.size
    out, known = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    zones = np.stack([_zone(cover, samples.height, 2 * MARGIN) > 0.05 for cover in samples.covers])
    for row in range(size[0]):
        free = ~zones[:, row]  # (n, w)
        line = np.where(free[..., None], samples.frames[:, row], np.nan).astype(np.float32)
        any_free = free.any(0)
        out[row, any_free] = np.nanmedian(line[:, any_free], 0) / 255
        known[row] = any_free
    return _diffused(out, known)


def _diffused(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown pixels from known ones, the nearer the more: a pyramid of means, filled from its top."""
    if known.all() or min(known.shape) < 4:
        mean = picture[known > 0].mean(0) if known.any() else np.full(3, 0.5, np.float32)
        return np.where(known[..., None] > 0, picture, mean)
    height, width = known.shape
    small = (-(-height // 2), -(-width // 2))
    weights = fitted(known[..., None], small)
    means = fitted(picture * known[..., None], small) / np.maximum(weights, 1e-6)
    below = fitted(_diffused(means, (weights[..., 0] > 0).astype(np.float32)), (height, width))
    return np.where(known[..., None] > 0, picture, below)


def _zone(cover: np.ndarray, height: float, margin: float) -> np.ndarray:
    return hole(cover.astype(np.float32) / 255, height=height, grow=margin, feather=margin)


@dataclass(frozen=True)
class _Sample:
    """What the network is shown and should answer, (1, C, h, w) each, and where it counts."""

    render: Tensor
    frame: Tensor
    mask: Tensor
    target: Tensor
    weight: Tensor
    corner: tuple[int, int]


def train(samples: Samples, options: InpainterOptions, report: Progress) -> InpaintNetwork:
    """The network, its weights rounded to what is stored. The seed decides all; interrupted or not makes no difference."""
    generator = torch.Generator().manual_seed(options.seed)
    network = InpaintNetwork(samples.size, still_plate(samples), generator)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.9, 0.98))
    threads = torch.get_num_threads()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        start = _resume(network, optimiser, samples, options)
        for step in range(start, options.steps):
            try:
                report("Learning the footage", step / options.steps, _preview(network, samples, step))
            except BaseException:
                _save(network, optimiser, samples, options, step)
                raise
            share = 0.5 + 0.5 * float(np.cos(np.pi * step / options.steps))
            for group in optimiser.param_groups:
                group["lr"] = min(1.0, (step + 1) / 20) * (LAST_RATE + (LEARNING_RATE - LAST_RATE) * share)
            optimiser.zero_grad()
            rng = np.random.default_rng((options.seed, step))
            for _ in range(2):
                (0.5 * loss(network, _sample(samples, options, rng))).backward()
            optimiser.step()
            if (step + 1) % SAVE_EVERY == 0:
                _save(network, optimiser, samples, options, step + 1)
    finally:
        torch.set_num_threads(threads)
    network.halve()
    report("Learning the footage", 1.0, _preview(network, samples, 0))
    return network


def loss(network: InpaintNetwork, sample: _Sample) -> Tensor:
    """Mean distance, and that of neighbouring differences, over the hole."""
    residual = network(sample.render, sample.frame * (1 - sample.mask), sample.mask, sample.corner)
    picture = sample.frame * (1 - sample.mask) + (sample.render[:, :3] + residual) * sample.mask
    count = (sample.weight * sample.mask).sum().clamp_min(1) * 3
    apart = (picture - sample.target) * sample.weight
    total = apart.abs().sum() + 2 * apart.square().sum()
    for axis in (2, 3):
        total = total + EDGES * apart.diff(dim=axis).abs().sum()
    return total / count


def _sample(samples: Samples, options: InpainterOptions, rng: np.random.Generator) -> _Sample:
    size, height = samples.size, samples.height
    one = int(rng.integers(len(samples)))
    kind = rng.random()
    without = kind < WITHOUT_FRAME
    other = int(rng.integers(len(samples))) if kind > 1 - OTHER_FRAME else one
    move = None if without or rng.random() > MOVED else _movement(samples.covers[one], height, rng)
    corner, extent = _corner(samples, one, options.crop, rng, anywhere=without)
    part = (slice(corner[0], corner[0] + extent[0]), slice(corner[1], corner[1] + extent[1]))
    stack = np.concatenate([samples.renders[one], samples.frames[one], samples.covers[one][..., None]], -1)
    moved = (_moved(stack, move) if move is not None else stack.astype(np.float32)) / 255
    render, own, cover = moved[..., :4], moved[..., 4:7], moved[..., 7]
    footage = samples.frames[other].astype(np.float32) / 255
    if without:
        mask, target, weight = np.ones(size, np.float32), own, np.ones(size, np.float32)
        footage = np.zeros_like(footage)
    else:
        wide = float(rng.uniform(0.8, 2.5))
        mask = hole(
            cover,
            samples.covers[other].astype(np.float32) / 255,
            height=height,
            grow=GROW * wide,
            feather=FEATHER * wide,
        )
        inside = _zone((cover * 255).astype(np.uint8), height, MARGIN)
        if move is None and other == one:
            target, weight = own, np.ones(size, np.float32)
        else:
            busy = _zone(samples.covers[other], height, 2 * MARGIN)
            own_busy = _zone(samples.covers[one], height, 2 * MARGIN)
            share = ((1 - own_busy) * busy)[..., None]
            behind = footage * (1 - share) + samples.frames[one].astype(np.float32) / 255 * share
            target = own * inside[..., None] + behind * (1 - inside[..., None])
            weight = 1 - (1 - inside) * busy * own_busy
    shown = _worn(render[part], rng)
    return _Sample(
        _planes(shown), _planes(footage[part]), _planes(mask[part][..., None]), _planes(target[part]),
        _planes(weight[part][..., None]), corner,
    )  # fmt: skip


def _movement(cover: np.ndarray, height: float, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) from new pixels to old ones: a turn and a scale about the head's foot, and a shift."""
    rows, columns = np.nonzero(cover > 76)
    foot = np.array([np.median(columns), rows.max()], np.float64) if len(rows) else np.array(cover.shape[::-1]) / 2.0
    angle, scale = TURN / 2 * rng.standard_normal(), 1 + GROWTH / 2 * rng.standard_normal()
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    shift = SHIFT / 2 * height * rng.standard_normal(2) * (1.0, 0.5)
    return np.concatenate([turn, (foot - turn @ (foot + shift))[:, None]], 1)


def _moved(stack: np.ndarray, move: np.ndarray) -> np.ndarray:
    """(h, w, C) seen through that movement, bilinear."""
    height, width = stack.shape[:2]
    # pixel centres, in the -1..1 of grid_sample
    to_unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    full = to_unit @ np.vstack([move, [0, 0, 1]]) @ np.linalg.inv(to_unit)
    grid = F.affine_grid(torch.tensor(full[None, :2], dtype=torch.float32), [1, 1, height, width], align_corners=False)
    out = F.grid_sample(_planes(stack), grid, padding_mode="border", align_corners=False)
    return out[0].permute(1, 2, 0).numpy()


def _corner(
    samples: Samples, frame: int, crop: int, rng: np.random.Generator, anywhere: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a sample is cut out, on the network's grid: over the head or its edge."""
    inside = [side + -side % MULTIPLE for side in samples.size]
    extent = [min(crop - crop % MULTIPLE, side) for side in inside]
    rows, columns = np.nonzero(samples.covers[frame] > 76)
    corner = []
    for axis, places in enumerate((rows, columns)):
        room = inside[axis] - extent[axis]
        if anywhere or not len(places):
            at = rng.integers(0, room + 1)
        else:
            margin = 0.15 * samples.height
            at = rng.uniform(places.min() - margin, places.max() + margin) - extent[axis] / 2
        corner.append(int(np.clip(round(at / MULTIPLE) * MULTIPLE, 0, room - room % MULTIPLE)))
    return (corner[0], corner[1]), (extent[0], extent[1])


def _worn(render: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The render as worse heads and unseen frames have it: another brightness, some noise."""
    alpha = render[..., 3:]
    gain = 1 + 0.01 * rng.standard_normal(3)
    noise = 0.005 * rng.random() * rng.standard_normal(render[..., :3].shape)
    colour = np.clip(render[..., :3] * gain + noise * alpha, 0, alpha)
    return np.concatenate([colour, alpha], -1).astype(np.float32)


def _planes(picture: np.ndarray) -> Tensor:
    """(1, C, h, w), the border repeated up to multiples of MULTIPLE."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, [(0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)], mode="edge")
    return torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32))


def _preview(network: InpaintNetwork, samples: Samples, step: int) -> np.ndarray | None:
    """Every 50 steps: the head in the frame next to its own."""
    if step % 50:
        return None
    one = (step // 50 * 7) % len(samples)
    other = (one + 1) % len(samples)
    render, frame = samples.renders[one].astype(np.float32) / 255, samples.frames[other].astype(np.float32) / 255
    mask = hole(samples.covers[one] / np.float32(255), samples.covers[other] / np.float32(255), height=samples.height)
    with torch.no_grad():
        out = network(_planes(render), _planes(frame * (1 - mask[..., None])), _planes(mask[..., None]))
    residual = out[0, :, : samples.size[0], : samples.size[1]].permute(1, 2, 0).numpy()
    return np.round(composed(render, frame, mask, residual) * 255).astype(np.uint8)


def _key(samples: Samples, options: InpainterOptions) -> str:
    sums = [int(part.astype(np.int64).sum()) for part in (samples.frames[0], samples.renders[0], samples.covers[-1])]
    return f"{samples.frames.shape} {sums} {options.steps} {options.crop} {options.seed}"


def _save(
    network: InpaintNetwork, optimiser: torch.optim.Adam, samples: Samples, options: InpainterOptions, step: int
) -> None:
    if options.checkpoint is None:
        return
    arrays = {}
    for name, weight in network.named_parameters():
        arrays[f"weight.{name}"] = weight.detach().numpy()
        for part in ("exp_avg", "exp_avg_sq"):
            if weight in optimiser.state:
                arrays[f"{part}.{name}"] = optimiser.state[weight][part].numpy()
    header = {"format": FORMAT, "version": VERSION, "step": step, "key": _key(samples, options)}
    checkpoint.write(options.checkpoint, arrays, header)


def _resume(network: InpaintNetwork, optimiser: torch.optim.Adam, samples: Samples, options: InpainterOptions) -> int:
    """The step to go on from; 0 where there is no checkpoint of this training."""
    if options.checkpoint is None or not options.checkpoint.is_file():
        return 0
    try:
        arrays, header = checkpoint.read(options.checkpoint, format=FORMAT, version=VERSION)
    except FormatError:
        return 0  # damaged, or something else: it is written anew
    if header.get("key") != _key(samples, options) or not header.get("step"):
        return 0
    step = int(header["step"])
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.copy_(torch.from_numpy(arrays[f"weight.{name}"]))
            optimiser.state[weight] = {
                "step": torch.tensor(float(step)),
                "exp_avg": torch.from_numpy(arrays[f"exp_avg.{name}"]),
                "exp_avg_sq": torch.from_numpy(arrays[f"exp_avg_sq.{name}"]),
            }
    return step
