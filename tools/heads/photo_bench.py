# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads from one photo, measured: is it still the person when the head turns, and does its film look like the real one?

    python -m loquent.tools.heads.photo_bench [--json FILE] [--track FILE] [--every N]

Photos: the portrait and the first frame of the address film in ../shared/data. Heads of each: `projected`, the photo on the start
map and nothing else; `prior`, the generator's prediction, where its weights are at hand, and refined; `alone refined`, the shipped way without the prior's
word for hidden skin and clothes; `painted`, the shipped head before, and `refined` after it is corrected against the photo.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from loquent.core.adapt.consent import Consent
from loquent.core.adapt.likeness import GROUPS, Likeness
from loquent.core.adapt.photo import (
    Fitted,
    PhotoOptions,
    avatar_of,
    fit_photo,
    head_from_photo,
    refined,
    start_of,
)
from loquent.core.adapt.picture import display_of, linear_of
from loquent.core.capture.embedding import load_embedding
from loquent.core.capture.film import open_film, pictures
from loquent.core.capture.fit import fit_motion
from loquent.core.capture.landmarker import Landmarker
from loquent.core.capture.matte import Matter
from loquent.core.capture.perform import capture, chained
from loquent.core.capture.problem import Problem, Seen, Weights
from loquent.core.capture.track import Track, load_track
from loquent.core.errors import AssetError, CaptureError
from loquent.core.geometry.cameras import look_at
from loquent.core.head.head import load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import Avatar, performer, pose
from loquent.core.splats.binding import carry
from loquent.core.splats.gaussians import SH_C0
from loquent.core.splats.rasterize import rasterize

from . import metrics
from .identity import SAME, distance, embedding

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PORTRAIT, FILM = DATA / "portrait" / "astronaut_nasa_pd.png", DATA / "video" / "obama_weekly_20s_450.mp4"
YAWS = (0, -15, 15, -30, 30, -45, 45)
CONSENT = Consent("A public person", "A benchmark of published public-domain pictures; not shown, not kept.")
GREY = 0.18
EVERY = 10
"""Frames of the film from one that is scored to the next."""


def photo_heads(fitted: Fitted, options: PhotoOptions) -> dict[str, Avatar]:
    """The head by every method."""
    quiet: Callable = lambda stage, fraction, image: None  # noqa: E731
    heads = {"projected": by_map(fitted, None)}
    start, shot = start_of(fitted, options.seed)
    if generator := _generator():
        heads["prior"] = by_map(fitted, generator)
        loose = loosened(heads["prior"], fitted)
        heads["prior refined"] = avatar_of(refined(loose, fitted, fitted.shot, options, quiet), fitted, "prior", {})
    alone, wide = start_of(fitted, options.seed, prior=False)
    heads["alone refined"] = avatar_of(refined(alone, fitted, wide, options, quiet), fitted, "alone", {})
    heads["painted"] = avatar_of(start, fitted, "painted", {})
    heads["refined"] = avatar_of(refined(start, fitted, shot, options, quiet), fitted, "refined", {})
    return heads


def _generator():
    from loquent.core.prior.visual.generator import load_generator

    try:
        return load_generator()
    except AssetError:
        return None


def by_map(fitted: Fitted, generator) -> Avatar:
    """The photo projected on the UV map: with the start map's own colours where nothing is seen, or the generator's word."""
    from loquent.core.prior.visual.generator import densified, predict
    from loquent.core.prior.visual.maps import COLOUR, gaussians_of, start_map
    from loquent.core.prior.visual.projection import project
    from loquent.core.splats.uv_layout import uv_layout

    head = fitted.person.head
    layout = generator.canvas.layout if generator else uv_layout(head)
    shot, betas = fitted.shot, fitted.track.betas
    vertices = pose_vertices(fitted.person, fitted.values)
    seen = project(shot.light * shot.matte[..., None], shot.matte, shot.camera, vertices, layout, head)
    if generator:
        values, layout = densified(predict(generator, seen, betas), layout)
    else:
        values = start_map(head, layout, betas)
        values[:, COLOUR] += seen.visible[:, None] * (seen.colour - values[:, COLOUR])
    binding, opacities, harmonics = gaussians_of(values, layout, head, betas)
    return Avatar("map", head.head_id, betas, binding, opacities, harmonics)


def loosened(avatar: Avatar, fitted: Fitted) -> Likeness:
    """A head of the UV map as the refinement takes it: what the photo shows squarely may change."""
    head, shot = fitted.person.head, fitted.shot
    faces = head.faces[avatar.binding.triangles]
    means = carry(avatar.binding, shot.vertices, head.faces)[0]
    names = np.array(head.region_names)[head.regions[avatar.binding.triangles]]
    group = np.select(
        [np.isin(names, ("skin", "lips")), np.char.startswith(names, "eye"), names == "lashes"],
        [GROUPS.index("skin"), GROUPS.index("eyes"), GROUPS.index("lashes")],
        GROUPS.index("mouth"),
    )
    above = np.linalg.norm(means - shot.vertices[faces].mean(1), axis=1) > 0.008
    group = np.where(above & (group == GROUPS.index("skin")), GROUPS.index("hair"), group)
    loose = np.clip((shot.facing(means, shot.normals[faces].mean(1)) - 0.22) / 0.35, 0, 1).astype(np.float32)
    colours = np.maximum(avatar.harmonics[:, 0] * SH_C0 + 0.5, 0)
    return Likeness(avatar.binding, avatar.opacities, colours, group, loose, loose)


def turned(avatar: Avatar, yaw: float, side: int = 384) -> np.ndarray:
    """(side, side, 3) uint8 of the resting head, the camera `yaw` degrees to one side."""
    a = np.radians(yaw)
    camera = look_at(
        (np.sin(a), 0.015, 0.02 + np.cos(a)), (0, 0.015, 0.02), fov_y=np.radians(19), width=side, height=side
    )
    layers = rasterize(pose(performer(avatar), np.zeros(len(CHANNELS), np.float32)), camera)
    return display_of(layers.colour + GREY * (1 - layers.alpha[..., None]))


def identities(photo: np.ndarray, heads: dict[str, Avatar], landmarker: Landmarker) -> dict[str, list[float]]:
    """Distances of each head's renders at YAWS from the photo; NaN where no face is found."""
    truth = embedding(photo, landmarker)
    return {
        name: [distance(embedding(turned(avatar, yaw), landmarker), truth) for yaw in YAWS]
        for name, avatar in heads.items()
    }


@dataclass(frozen=True)
class Footage:
    """Frames of the film that are scored: images (n, H, W, 3) uint8, their mattes (n, H, W), indices in the track (n,)."""

    images: np.ndarray
    mattes: np.ndarray
    index: np.ndarray
    track: Track


def footage(path: Path, given: Track | None, every: int) -> Footage:
    track: Track = given or capture(path)
    index = np.arange(0, len(track), every)
    images, mattes = [], []
    with Matter() as matter:
        for k, picture in enumerate(pictures(open_film(path, track.fps))):
            if k in index:
                images.append(picture.image)
                mattes.append(matter(picture.image, track.landmarks[k]))
    return Footage(np.stack(images), np.stack(mattes), index[: len(images)], track)


def followed(photo: Fitted, film: Footage) -> np.ndarray:
    """(n, 65) the scored frames' motion of the photo's own identity before the photo's own camera: the film's landmarks fitted
    once more, for a head of another shape says the same by other numbers."""
    track, head = film.track, load_head()
    seen = np.arange(len(track))
    points = Seen(track.landmarks, np.clip(track.motion.values[:, :52], 0, 1), seen)
    problem = Problem(head, load_embedding(head), points, track.size, Weights(), track.fps)
    fit = fit_motion(problem, photo.track.betas, photo.track.focal, chained(seen, list(track.cuts), track.fps))
    values = fit.values[film.index].copy()
    at = [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]
    camera = photo.track.camera.world_to_camera
    values[:, at] -= (np.linalg.inv(camera[:3, :3]) @ camera[:3, 3]).astype(np.float32)
    pose = slice(INDEX["headPitch"], None)
    if film.index[0] == 0:  # the photo is this frame, and its fit the one that the head was made with
        values[:, pose] += photo.values[pose] - values[0, pose]
    return values


def reenacted(avatar: Avatar, photo: Fitted, motion: np.ndarray) -> list[np.ndarray]:
    """The head driven by motion (n, 65) before the photo's camera, over mid grey; (H, W, 3) 0..1 display."""
    person, camera = performer(avatar), photo.track.camera
    out = []
    for values in motion:
        layers = rasterize(pose(person, values), camera)
        out.append(display_of(layers.colour + GREY * (1 - layers.alpha[..., None])).astype(np.float32) / 255)
    return out


def head_masks(film: Footage) -> list[np.ndarray]:
    """(H, W) 0..1 of the person above the chin's lower end, hair and all, in each scored frame."""
    rows = np.arange(film.images.shape[1])[:, None]
    return [
        matte * (rows < film.track.landmarks[k, :, 1].max()) for matte, k in zip(film.mattes, film.index, strict=True)
    ]


def over_grey(film: Footage) -> list[np.ndarray]:
    """The film's frames, the person alone over the same grey."""
    return [
        display_of(linear_of(i) * m[..., None] + GREY * (1 - m[..., None])).astype(np.float32) / 255
        for i, m in zip(film.images, film.mattes, strict=True)
    ]


def rows(track: Track | None = None, every: int = EVERY, head: Path | None = None) -> dict[str, float]:
    """Print both tables and give their figures. head: a portrait's head made before, instead of timing one. Raises CaptureError where MediaPipe or the data are missing."""
    for path in (PORTRAIT, FILM):
        if not path.is_file():
            raise CaptureError(f"'{path}' is missing; heads from photos are measured on the real recordings only.")
    options = PhotoOptions("bench", CONSENT)
    figures: dict[str, float] = {}
    if head is None:
        begin = time.perf_counter()
        result = head_from_photo(PORTRAIT, options)
        figures["photo_s"] = time.perf_counter() - begin
        figures["photo_gaussians"] = len(result.avatar)
    film = footage(FILM, track, every)
    with tempfile.TemporaryDirectory() as folder:
        still = Path(folder) / "first.png"
        Image.fromarray(film.images[0]).save(still)
        fitted = {p: fit_photo(p, options, lambda *_: None) for p in (PORTRAIT, still)}
        heads = {p: photo_heads(f, options) for p, f in fitted.items()}
    figures |= _identity_table(fitted, heads)
    figures |= _film_table(fitted[still], heads[still], film)
    return figures


def _identity_table(fitted: dict[Path, Fitted], heads: dict[Path, dict[str, Avatar]]) -> dict[str, float]:
    print(f"\nDistance of renders from the photo by dlib's face network (one person: below {SAME})")
    print(f"{'':28}" + "".join(f"{yaw:>8}" for yaw in YAWS))
    worst: dict[str, list[float]] = {}
    with Landmarker() as landmarker:
        both = [embedding(f.picture.image, landmarker) for f in fitted.values()]
        for path, fit in fitted.items():
            for name, found in identities(fit.picture.image, heads[path], landmarker).items():
                print(f"{path.stem[:14]:15}{name:13}" + "".join(f"{d:8.3f}" for d in found))
                inner = [d for d, yaw in zip(found, YAWS, strict=True) if abs(yaw) <= 30]
                worst.setdefault(name, []).append(
                    np.nan_to_num(max(inner, key=lambda d: np.nan_to_num(d, nan=9)), nan=9)
                )
                worst.setdefault(name + "@45", []).append(max(np.nan_to_num(d, nan=9) for d in found[-2:]))
    print(f"{'the two people':28}{distance(*both):8.3f}")
    out = {"photo_identity_30": max(worst["refined"]), "photo_identity_45": max(worst["refined@45"])}
    return out | {f"photo_identity_30_{n}": max(v) for n, v in worst.items() if n != "refined" and "@" not in n}


def _film_table(photo: Fitted, heads: dict[str, Avatar], film: Footage) -> dict[str, float]:
    truths, masks = over_grey(film)[1:], head_masks(film)[1:]
    marks = metrics.landmarks([i.astype(np.float32) / 255 for i in film.images[1:]])
    shown = {"first frame": [over_grey(film)[0]] * len(truths)}
    motion = followed(photo, film)
    shown |= {name: reenacted(avatar, photo, motion)[1:] for name, avatar in heads.items()}
    print(f"\nThe film from its first frame: {len(truths)} of {len(film.track)} frames, head only, over grey")
    print(f"{'':16}{metrics.HEADER}")
    figures = {}
    for name, drawn in shown.items():
        score = metrics.scores(drawn, truths, masks)
        mouth = metrics.lmd(metrics.landmarks(drawn), marks)
        score = metrics.Scores(score.psnr, score.ssim, score.lpips, mouth)
        print(f"{name:16}{score.row()}")
        suffix = "" if name == "refined" else "_" + name.replace(" ", "_")
        figures |= {f"photo_{k}{suffix}": getattr(score, k) for k in ("psnr", "ssim", "lpips", "lmd")}
    others = [
        figures[f"photo_psnr_{name}"]
        for name in ("first_frame", "projected", "prior")
        if f"photo_psnr_{name}" in figures
    ]
    if others:
        figures["photo_psnr_baseline"] = max(others)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--track", type=Path, help="a capture of the film, to save its time")
    parser.add_argument("--every", type=int, default=EVERY)
    given = parser.parse_args()
    figures = rows(load_track(given.track) if given.track else None, given.every)
    print()
    for name in ("photo_s", "photo_identity_30", "photo_identity_45", "photo_psnr", "photo_psnr_baseline"):
        if name in figures:
            print(f"{name:24}{figures[name]:9.3f}")
    if given.json:
        given.json.write_text(json.dumps({k: round(float(v), 4) for k, v in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
