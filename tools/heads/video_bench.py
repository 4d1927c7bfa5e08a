# SPDX-License-Identifier: GPL-3.0-or-later
"""A head from a film, measured on the film's last fifth, which nothing was learned from.

    python -m loquent.tools.heads.video_bench FILM [--head FILE.loq] [--work FOLDER] [--sheet FILE.png] [--json FILE]
    python -m loquent.tools.heads.video_bench FILM --ablations [--steps N] [--size N] [--work FOLDER]

Held-out frames are tracked by their landmarks with the identity found before (core/adapt/follow.py); no picture of them is fitted.
The head is drawn by them over the film's still background, as far as the learned frames show it: the real frame is fed to nobody
here (with it: inpaint_bench.py). Regions and measures are those of regions.py and metrics.py.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loquent.core.adapt.consent import Consent
from loquent.core.adapt.footage import decoded, encoded
from loquent.core.adapt.video import VideoOptions, finished, fitted, followed, head_from_video, whole_motion
from loquent.core.capture.film import open_film, pictures
from loquent.core.capture.matte import Matter
from loquent.core.capture.perform import Options, fill_in, look, seen_of
from loquent.core.capture.track import Track
from loquent.core.errors import FormatError
from loquent.core.head.motion import CHANNELS
from loquent.core.splats.avatar import Avatar, harmonics_of, load_avatar, performer, pose, save_avatar
from loquent.core.splats.plate import Plate
from loquent.core.splats.rasterize import rasterize

from . import metrics
from .identity import SAME
from .regions import masks_of

if TYPE_CHECKING:
    from loquent.core.adapt.video_fit import Recipe

HELD_OUT, STEP = 0.2, 5
CONSENT = Consent("A public person", "A benchmark of a published public-domain film; not shown, not kept.")
REGIONS = {"head": "head", "torso": "head + torso", "whole": "whole frame"}


@dataclass(frozen=True)
class Held:
    """Held-out frames: their numbers, pictures (H, W, 3) 0..1, masks as regions.region_masks, landmarks; the still background."""

    index: np.ndarray
    truths: list[np.ndarray]
    masks: list[dict[str, np.ndarray]]
    landmarks: np.ndarray
    background: np.ndarray
    first: np.ndarray


def held_frames(film: Path, first: int, count: int, fps: float, step: int = STEP) -> Held:
    """Every `step`th frame from `first` on, and the background of the frames before."""
    index = np.arange(first, count, step)
    wanted, learned = set(index.tolist()), set(np.linspace(0, first - 1, 25).round().astype(int).tolist())
    truths, behind = [], []
    start = np.zeros(0)
    with Matter() as matter:
        for number, picture in enumerate(pictures(open_film(film, fps))):
            start = picture.image if number == 0 else start
            if number in wanted:
                truths.append(picture.image.astype(np.float32) / 255)
            if number in learned:
                image = picture.image.astype(np.float32)
                image[matter(picture.image) > 0.05] = np.nan
                behind.append(image)
    seen = metrics.landmarks(truths)
    masks = masks_of([np.round(t * 255).astype(np.uint8) for t in truths], seen)
    return Held(index, truths, masks, seen, _median(behind), start.astype(np.float32) / 255)


def _median(images: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W, 3) 0..1; where the person always stands, the row's nearest background."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that are never seen
        found = np.nanmedian(np.stack(images), 0)
    for row in found:
        known = np.flatnonzero(np.isfinite(row[:, 0]))
        if len(known):
            nearest = known[np.abs(np.arange(len(row))[:, None] - known).argmin(1)]
            row[:] = row[nearest]
    known = np.flatnonzero(np.isfinite(found[:, 0, 0]))
    nearest = known[np.abs(np.arange(len(found))[:, None] - known).argmin(1)]
    return np.nan_to_num(found[nearest] / 255).astype(np.float32)


def reenacted(avatar: Avatar, values: np.ndarray, plate: Plate, held: Held) -> tuple[list[np.ndarray], float]:
    """The avatar doing values[index] over the background, and its milliseconds a frame with posing."""
    actor, behind, out, spent = performer(avatar), decoded(held.background), [], []
    for number in held.index:
        began = time.perf_counter()
        layers = rasterize(pose(actor, values[number]), plate.camera)
        spent.append(time.perf_counter() - began)
        out.append(encoded(layers.colour + behind * (1 - layers.alpha[..., None])))
    return out, 1e3 * float(np.median(spent))


def pursued_values(film: Path, avatar: Avatar, first: int, threads: int = 0) -> np.ndarray:
    """(T, 65) values of the plate, from frame `first` on moved until the frozen head draws the pictures (photometric_track.py), as papers'
    trackers follow held-out frames: a row of its own, because those pictures are then no longer unseen. About a second a frame."""
    from loquent.core.adapt.footage import cut_footage
    from loquent.core.adapt.photometric_track import pursued

    assert avatar.plate is not None
    plate, source = avatar.plate, open_film(film, avatar.plate.motion.fps)
    people, count, cuts = look(source, Options(), lambda fraction, picture: None)
    seen = seen_of(people.chosen(1, source.path.name))
    points = fill_in(seen.points.reshape(len(seen.index), -1), seen.index, count, cuts, source.fps, rests=False)
    sure = np.isin(np.arange(count), seen.index).astype(np.float32)
    marks = points.reshape(count, -1, 2)
    track = Track(avatar.betas, plate.camera, plate.motion, sure, marks, avatar.head_id, plate.source, tuple(cuts))
    with tempfile.TemporaryDirectory() as folder:
        later = np.flatnonzero((sure > 0) & (np.arange(count) >= first))
        footage = cut_footage(film, track, Path(folder), max(plate.size), later)
        return pursued(avatar, track, footage, threads=threads).values


def colour_ms(avatar: Avatar, values: np.ndarray, gaussians: int = 60_000) -> float:
    """Milliseconds that colours following the performance cost a frame, for as many Gaussians as `gaussians`."""
    if avatar.colour is None:
        return 0.0
    rows = np.arange(gaussians) % len(avatar)
    big = replace(avatar, harmonics=np.ascontiguousarray(avatar.harmonics[rows]), colour=avatar.colour.of(rows))
    spent = []
    for row in values[:60]:
        began = time.perf_counter()
        harmonics_of(big, row)
        spent.append(time.perf_counter() - began)
    return 1e3 * float(np.median(spent))


def still_the_person(avatar: Avatar, picture: np.ndarray) -> dict[int, float]:
    """Distance of the resting head's face from the face in a frame (H, W, 3) 0..1, turned by 0, 30 and 45 degrees (the farther of
    both sides), by the network of identity.py; empty where that is not at hand."""
    from loquent.core.capture.landmarker import Landmarker
    from loquent.core.errors import AssetError
    from loquent.core.geometry.cameras import look_at

    from .identity import distance, embedding

    actor, rest, out = performer(avatar), np.zeros(len(CHANNELS), np.float32), {}
    try:
        with Landmarker() as landmarker:
            wanted = embedding(np.round(picture * 255).astype(np.uint8), landmarker)
            for turn in (0, 30, 45):
                far = []
                for yaw in np.radians(sorted({-turn, turn})):
                    eye = np.sin(yaw), 0.015, np.cos(yaw)
                    layers = rasterize(pose(actor, rest), look_at(eye, (0, 0.01, 0), fov_y=0.32, width=384, height=384))
                    drawn = encoded(layers.colour + 0.18 * (1 - layers.alpha[..., None]))
                    far.append(distance(embedding(np.round(drawn * 255).astype(np.uint8), landmarker), wanted))
                out[turn] = max(far)
    except AssetError as error:
        print(f"Without distances of faces: {error}")
    return out


def line(name: str, found: dict[str, metrics.Scores]) -> str:
    scored = "".join(f"{s.psnr:8.2f}{s.ssim:8.4f}{s.lpips:8.4f}  " for s in (found[r] for r in REGIONS))
    return f"{name:28}{scored}{found['whole'].lmd:7.2f}"


def header() -> str:
    titles = f"{'':28}" + "".join(f"{title:>24}  " for title in REGIONS.values()) + f"{'LMD':>7}"
    return titles + "\n" + f"{'':28}" + f"{'PSNR':>8}{'SSIM':>8}{'LPIPS':>8}  " * 3 + f"{'px':>7}"


def _as_a_user() -> None:
    """Torch on all cores, as in the user's command: the benchmark's own tables keep libraries to one thread."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)


def made(film: Path, work: Path, *, steps: int | None = None, threads: int = 0, say: Callable[[str], None] = print):
    """The head that a user gets, with style and inpainter, but for the last fifth of the film; and the minutes that it took."""
    _as_a_user()
    began, stages = time.perf_counter(), []

    def tell(stage: str, fraction: float, picture: np.ndarray | None) -> None:
        del fraction, picture
        if not stages or stages[-1][0] != stage:
            stages.append((stage, time.perf_counter() - began))

    options = VideoOptions("Film", CONSENT, work, steps, held_out=HELD_OUT, threads=threads)
    result = head_from_video(film, options, tell)
    whole = time.perf_counter() - began
    ends = [at for _, at in stages[1:]] + [whole]
    say("seconds: " + ", ".join(f"{name} {end - at:.0f}" for (name, at), end in zip(stages, ends, strict=True)))
    for warning in result.warnings:
        say(warning)
    return result.avatar, whole / 60


def _ablated(film: Path, options: VideoOptions, plan: "Recipe", prior: bool) -> tuple[Avatar, float]:
    """A head by another plan, in the tracks and pictures that are there from the one before; and the minutes of its fit."""
    from loquent.core.adapt.footage import cut_footage

    folder = options.checkpoint
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    quiet = lambda stage, fraction, preview: None  # noqa: E731
    take = followed(open_film(film), options, folder, quiet)
    footage = cut_footage(film, take.track, folder / "pictures", options.size)
    began = time.perf_counter()
    fit = fitted(take.track, footage, options, None, quiet, plan, prior)
    avatar, track = finished(fit, take.track, options, CONSENT.about(source="video"))
    minutes = (time.perf_counter() - began) / 60
    return replace(avatar, plate=Plate(track.camera, whole_motion(take, track)[0], track.source)), minutes


def rows(
    film: Path, head: Path | None = None, *, work: Path | None = None, step: int = STEP,
    steps: int | None = None, photometric: bool = True, say: Callable[[str], None] = print,
) -> dict[str, float]:  # fmt: skip
    """Print the table of a head (None makes one, which takes its minutes, and keeps it in `work`); its figures. Raises CaptureError
    without MediaPipe."""
    figures: dict[str, float] = {}
    if head is None:
        target = work or Path("out/video_bench")
        target.mkdir(parents=True, exist_ok=True)
        # an empty folder: nothing is taken over from before, so that minutes are a whole making's
        with tempfile.TemporaryDirectory(dir=target) as folder:
            avatar, figures["video_min"] = made(film, Path(folder), steps=steps, say=say)
        save_avatar(avatar, target / "head.loq")
    else:
        avatar = load_avatar(head)
    if avatar.plate is None:
        raise FormatError("The head knows no film. Make it from the film again, with a fifth held out.")
    values = avatar.plate.motion.values
    held = held_frames(film, len(values) - round(HELD_OUT * len(values)), len(values), avatar.plate.motion.fps, step)
    say(
        f"\n{len(avatar):,} Gaussians on {len(held.index)} of the last {HELD_OUT:.0%} frames, no real frame fed\n{header()}"
    )
    drawn, milliseconds = reenacted(avatar, values, avatar.plate, held)
    scored = metrics.by_region(drawn, held.truths, held.masks, held.landmarks)
    say(line("head from video", scored))
    if avatar.colour is not None:
        other, _ = reenacted(replace(avatar, colour=None), values, avatar.plate, held)
        say(line("same, colours held still", metrics.by_region(other, held.truths, held.masks, held.landmarks)))
    if photometric:
        moved = pursued_values(film, avatar, int(held.index[0]))
        other, _ = reenacted(avatar, moved, avatar.plate, held)
        fitted_too = metrics.by_region(other, held.truths, held.masks, held.landmarks)
        say(line("followed by their pictures", fitted_too))
        figures |= metrics.figures("video_followed", fitted_too)
    first = metrics.by_region([held.first] * len(held.truths), held.truths, held.masks, held.landmarks)
    say(line("first frame repeated", first))
    figures |= metrics.figures("video", scored) | metrics.figures("video_first", first)
    figures |= {"colour_ms": colour_ms(avatar, values), "video_ms": milliseconds, "video_gaussians": float(len(avatar))}
    for turn, far in still_the_person(avatar, held.first).items():
        figures[f"video_identity_{turn}"] = far
    if "video_identity_0" in figures:
        shown = ", ".join(f"{figures[f'video_identity_{turn}']:.2f} at {turn}" for turn in (0, 30, 45))
        say(f"distance of faces from the first frame's, turned: {shown} degrees; below {SAME} is one person")
    say(
        f"pose and draw {milliseconds:.1f} ms a frame ({1e3 / milliseconds:.0f} FPS); colours {figures['colour_ms']:.2f} ms for 60,000"
    )
    return figures


def ablations(
    film: Path, work: Path, *, steps: int = 600, size: int = 200, step: int = STEP, say=print
) -> dict[str, float]:
    """GGTalker's table 4, each with the same steps on pictures of the same size: full; begun with a plain head; begun as usual and
    not adapted; without colours that follow; without refined tracks."""
    from loquent.core.adapt.video_fit import recipe, without

    _as_a_user()
    plan = recipe(size, steps)
    options = VideoOptions("Film", CONSENT, work / "ablations", None, False, False, size=size, held_out=HELD_OUT)
    none = replace(plan, stages=())
    kinds = {
        "full": plan, "no prior": plan, "no adaptation": none,
        "no colour network": without(plan, colour=False), "no joint track refinement": without(plan, joint=False),
    }  # fmt: skip
    say(f"{steps} steps each, pictures of {size} pixels\n{header()}")
    figures: dict[str, float] = {}
    held = None
    for name, own in kinds.items():
        avatar, minutes = _ablated(film, options, own, name != "no prior")
        assert avatar.plate is not None
        values = avatar.plate.motion.values
        count = len(values)
        held = held or held_frames(film, count - round(HELD_OUT * count), count, avatar.plate.motion.fps, step)
        scored = metrics.by_region(
            reenacted(avatar, values, avatar.plate, held)[0], held.truths, held.masks, held.landmarks
        )
        far = still_the_person(avatar, held.first)
        figures |= {f"ablation_{name.replace(' ', '_')}_identity_{turn}": value for turn, value in far.items()}
        turned = ", ".join(f"{value:.2f}" for value in far.values())
        say(f"{line(name, scored)}  {minutes:.1f} min; faces at 0, 30, 45 degrees: {turned}")
        figures |= metrics.figures("ablation_" + name.replace(" ", "_"), scored)
    return figures


TURNS = tuple((yaw, {}) for yaw in (-45, -30, -15, 0, 15, 30, 45))
ACTED = (
    (-30, {"jawOpen": 0.6}), (0, {"jawOpen": 0.6}), (45, {"jawOpen": 0.6}),
    (0, {"eyeBlinkLeft": 1, "eyeBlinkRight": 1}), (0, {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}),
    (15, {"gazeYaw": 0.35}), (180, {}),
)  # fmt: skip


def sheet(avatar: Avatar, film: Path, target: Path, frames: int = 2) -> None:
    """Held-out frames, the head drawn by them and four times their difference; below the head turned, and acting."""
    from PIL import Image

    from .photo_sheet import SIDE, tile

    assert avatar.plate is not None
    values = avatar.plate.motion.values
    first = len(values) - round(HELD_OUT * len(values))
    held = held_frames(film, first, len(values), avatar.plate.motion.fps, max(1, (len(values) - first) // (frames + 1)))
    drawn, _ = reenacted(avatar, values, avatar.plate, held)
    across = SIDE * len(TURNS)
    pairs = list(zip(held.truths, drawn, strict=True))[1 : frames + 1]
    tops = [np.concatenate([t, d, np.abs(t - d) * 4], 1) for t, d in pairs]
    top = Image.fromarray((np.concatenate(tops, 1).clip(0, 1) * 255 + 0.5).astype(np.uint8))
    top = top.resize((across, round(top.height * across / top.width)), Image.Resampling.LANCZOS)
    below = [np.concatenate([tile(avatar, yaw, channels) for yaw, channels in row], 1) for row in (TURNS, ACTED)]
    whole = Image.fromarray(np.concatenate([np.asarray(top), *below]))
    whole.quantize(200, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--head", type=Path, help="made before, with a fifth held out")
    parser.add_argument("--work", type=Path, default=Path("out/video_bench"), help="folder for unfinished work")
    parser.add_argument("--steps", type=int, help="of the fit; the usual number where it is not given")
    parser.add_argument("--size", type=int, default=200, help="of the ablations' pictures")
    parser.add_argument("--every", type=int, default=STEP, help="of the held-out frames every so many are scored")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.ablations:
        figures = ablations(given.film, given.work, steps=given.steps or 600, size=given.size, step=given.every)
    else:
        figures = rows(given.film, given.head, work=given.work, step=given.every, steps=given.steps)
    if given.sheet:
        sheet(load_avatar(given.head or given.work / "head.loq"), given.film, given.sheet)
    if given.json:
        given.json.write_text(json.dumps({k: round(float(v), 4) for k, v in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
