# SPDX-License-Identifier: GPL-3.0-or-later
"""A head back in the film it was made from: the last fifth, which it never saw, with and without the real frame.

    python -m loquent.tools.heads.inpaint_bench HEAD.loq FILM [--track FILM.track] [--sheet FILE.png]

Self-reenactment: the head does what the track says of the held-out frames. Every row says what of the real frame it was given,
because that decides the whole frame's figures; compare within one region only. Repeating the nearest training
frame and pasting the render over the real frame are the baselines.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loquent.core.capture.film import open_film, pictures
from loquent.core.capture.track import Track, load_track
from loquent.core.errors import FormatError
from loquent.core.geometry.cameras import Camera
from loquent.core.head.motion import INDEX
from loquent.core.splats.avatar import Avatar, load_avatar, performer
from loquent.core.splats.inpainter import cut, fitted, hole, load_inpainter
from loquent.core.splats.plate import Plate

from . import metrics
from .regions import masks_of

HELD_OUT, STEP, TILE = 0.2, 5, 165
WITH, WITHOUT, PASTED, NEAREST = "inpainter, frame fed", "inpainter, no frame", "render over frame", "nearest frame"
POSE = ("headYaw", "headPitch", "headRoll", "headX", "headY", "headZ", "neckYaw", "neckPitch", "neckRoll")


@dataclass(frozen=True)
class Reenacted:
    """What every method makes of the held-out frames; frames: their numbers; hole: the mask that the inpainter was given."""

    frames: np.ndarray
    truths: list[np.ndarray]
    made: dict[str, list[np.ndarray]]
    holes: list[np.ndarray]
    milliseconds: float


def reenact(
    head: Path, film: Path, plate: Plate | None = None, *, held_out: float = HELD_OUT, step: int = STEP, data: bytes | None = None
) -> Reenacted:  # fmt: skip
    """Every `step`th held-out frame by every method. data: an inpainter to take in place of the head's."""
    avatar = load_avatar(head)
    plate, data = plate or avatar.plate, data or avatar.inpainter
    if plate is None or data is None:
        raise FormatError(
            f"'{head.name}' has no {'plate' if plate is None else 'inpainter'}. Make it from a film again."
        )
    actor, network = performer(avatar), load_inpainter(data)
    first = int(len(plate.motion) * (1 - held_out))
    wanted = np.arange(first, len(plate.motion), step)
    nearest = _nearest(plate.motion.values, first, wanted)
    shown = _shown(film, plate, {int(k) for k in wanted} | {int(k) for k in nearest})
    made: dict[str, list[np.ndarray]] = {name: [] for name in (WITH, WITHOUT, PASTED, NEAREST)}
    truths, holes, spent = [], [], []
    for number, near in zip(wanted, nearest, strict=True):
        truth = shown[int(number)]
        camera = _fit(plate.camera, truth.shape)
        drawn = cut(actor, plate.motion.values[number], camera)
        mask = hole(drawn.cover)
        began = time.perf_counter()
        made[WITH].append(network(drawn.render, truth, mask))
        spent.append(time.perf_counter() - began)
        made[WITHOUT].append(network(drawn.render, np.zeros_like(truth), np.ones_like(mask)))
        made[PASTED].append(drawn.render[..., :3] + (1 - drawn.render[..., 3:]) * truth)
        made[NEAREST].append(shown[int(near)])
        truths.append(truth)
        holes.append(mask)
    return Reenacted(wanted, truths, made, holes, 1e3 * float(np.median(spent)))


def _nearest(values: np.ndarray, first: int, wanted: np.ndarray) -> np.ndarray:
    """For each frame the training frame of the most alike motion; a centimetre and .1 rad count as .2 of a channel."""
    weights = np.ones(values.shape[1])
    for name in POSE:
        weights[INDEX[name]] = 20.0 if name in ("headX", "headY", "headZ") else 2.0
    apart = ((values[wanted, None] - values[None, :first]) * weights) ** 2
    return apart.sum(-1).argmin(1)


def _shown(film: Path, plate: Plate, wanted: set[int]) -> dict[int, np.ndarray]:
    found = {}
    for k, picture in enumerate(pictures(open_film(film, plate.motion.fps))):
        if k in wanted:
            found[k] = picture.image.astype(np.float32) / 255
        if len(found) == len(wanted):
            return found
    raise FormatError(
        f"'{film.name}' ended after {len(found)} of the {len(wanted)} pictures wanted; is it the head's film?"
    )


def _fit(camera: Camera, shape: tuple[int, ...]) -> Camera:
    height, width = shape[:2]
    k = np.array(camera.K, np.float64)
    k[0] *= width / camera.width
    k[1] *= height / camera.height
    return Camera(camera.world_to_camera, k, width, height)


def learned(
    head: Path, film: Path, *, held_out: float = HELD_OUT, say: Callable[[str], None] = print
) -> tuple[bytes, float]:
    """The inpainter of a head's file, and minutes: learned now, from all but the held-out frames, where it holds none."""
    from dataclasses import replace

    from loquent.core.adapt.inpainter import InpainterOptions, inpainter_from_film
    from loquent.core.splats.avatar import save_avatar

    avatar = load_avatar(head)
    if avatar.inpainter is not None:
        return avatar.inpainter, 0.0
    if avatar.plate is None:
        raise FormatError(f"'{head.name}' knows no film. Make it from the film again, with a fifth held out.")
    began = time.perf_counter()
    options = InpainterOptions(frames=(0, int(len(avatar.plate.motion) * (1 - held_out))), size=max(avatar.plate.size))
    data = inpainter_from_film(film, avatar, _as_track(avatar.plate, avatar), options)
    save_avatar(replace(avatar, inpainter=data), head)
    minutes = (time.perf_counter() - began) / 60
    say(f"inpainter learned in {minutes:.1f} min, {len(data) / 1e3:.0f} kB, kept in '{head.name}'")
    return data, minutes


def _as_track(plate: Plate, avatar: Avatar) -> Track:
    count = len(plate.motion)
    nothing = np.zeros((count, 478, 2), np.float32)
    return Track(
        avatar.betas, plate.camera, plate.motion, np.ones(count, np.float32), nothing, avatar.head_id, plate.source
    )


def rows(
    head: Path, film: Path, plate: Plate | None = None, *, held_out: float = HELD_OUT, step: int = STEP,
    data: bytes | None = None, say: Callable[[str], None] = print,
) -> dict[str, float]:  # fmt: skip
    """Print the table; its figures, video_whole_psnr among them. Raises CaptureError without MediaPipe or its matte model."""
    minutes = 0.0
    if data is None:
        data, minutes = learned(head, film, held_out=held_out, say=say)
    found = reenact(head, film, plate, held_out=held_out, step=step, data=data)
    bytes_of = [np.round(t * 255).astype(np.uint8) for t in found.truths]
    seen = metrics.landmarks(found.truths)
    masks = masks_of(bytes_of, seen)
    say(
        f"\n{head.name} back in '{film.name}': {len(found.truths)} of the last {held_out:.0%} frames, never learned from"
    )
    titles = ("head", "head + torso", "whole frame")
    say(f"{'':24}" + "".join(f"{title:>24}  " for title in titles) + f"{'LMD':>7}")
    say(f"{'':24}" + f"{'PSNR':>8}{'SSIM':>8}{'LPIPS':>8}  " * 3 + f"{'px':>7}")
    figures: dict[str, float] = {"video_inpaint_ms": found.milliseconds} | (
        {"video_inpainter_min": minutes} if minutes else {}
    )
    keys = {WITH: "video_fed", WITHOUT: "video_unfed", PASTED: "video_pasted", NEAREST: "video_nearest"}
    for name, pictures_of in found.made.items():
        scored = metrics.by_region(pictures_of, found.truths, masks, seen)
        line = "".join(f"{s.psnr:8.2f}{s.ssim:8.4f}{s.lpips:8.4f}  " for s in scored.values())
        say(f"{name:24}{line}{scored['whole'].lmd:7.2f}")
        figures |= metrics.figures(keys[name], scored)
    figures["video_whole_psnr"] = figures["video_fed_whole_psnr"]
    say(
        f"Inpainting {found.truths[0].shape[1]} x {found.truths[0].shape[0]}: {found.milliseconds:.0f} ms a frame, without the render"
    )
    return figures


def sheet(found: Reenacted, other: Callable[[int], np.ndarray] | None, target: Path, count: int = 3) -> None:
    """Truth, what was cut out, the render pasted, the inpainter with and without the frame; other(k): one more row."""
    from PIL import Image

    columns = []
    for k in np.linspace(0, len(found.truths) - 1, count).round().astype(int):
        truth, mask = found.truths[k], found.holes[k][..., None]
        tiles = [truth, truth * (1 - mask), *(found.made[name][k] for name in (PASTED, WITH, WITHOUT))]
        if other is not None:
            tiles.append(other(int(k)))
        columns.append(np.concatenate([fitted(t, (TILE, round(TILE * t.shape[1] / t.shape[0]))) for t in tiles], 0))
    whole = np.round(np.clip(np.concatenate(columns, 1), 0, 1) * 255).astype(np.uint8)
    Image.fromarray(whole).quantize(256, kmeans=2, dither=Image.Dither.NONE).save(target, optimize=True)


def transplanted(
    head: Path, film: Path, frames: np.ndarray, source: int, plate: Plate | None = None, data: bytes | None = None
):
    """k -> the held-out footage frames[k] with the performance of `source` frames earlier: nothing there knows the truth."""
    avatar = load_avatar(head)
    plate, data = plate or avatar.plate, data or avatar.inpainter
    assert plate is not None and data is not None
    actor, network, known = performer(avatar), load_inpainter(data), plate
    shown = _shown(film, plate, {int(f) for f in frames})

    def made(k: int) -> np.ndarray:
        frame = int(frames[k])
        picture = shown[frame]
        camera = _fit(known.camera, picture.shape)
        there, drawn = (cut(actor, known.motion.values[n], camera) for n in (frame, frame - source))
        return network(drawn.render, picture, hole(drawn.cover, there.cover))

    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path)
    parser.add_argument("film", type=Path)
    parser.add_argument("--track", type=Path, help="of the film, where the head does not know it")
    parser.add_argument("--inpainter", type=Path, help="an ONNX file in place of the head's own")
    parser.add_argument("--step", type=int, default=STEP)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet there")
    given = parser.parse_args()
    track = load_track(given.track) if given.track else None
    plate = Plate(track.camera, track.motion, track.source) if track else None
    data = given.inpainter.read_bytes() if given.inpainter else None
    rows(given.head, given.film, plate, step=given.step, data=data)
    if given.sheet:
        found = reenact(given.head, given.film, plate, step=max(given.step, 20), data=data)
        sheet(found, transplanted(given.head, given.film, found.frames, 100, plate, data), given.sheet)


if __name__ == "__main__":
    main()
