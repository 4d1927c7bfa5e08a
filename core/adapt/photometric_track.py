# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does in a film, told by the head that was made of them: landmarks first, and then, picture after picture, the motion is
moved until the head draws what the film shows.

Landmarks place a lip to a pixel or two; pictures place it, and teeth, lids and hair, better than that. So do the trackers of the
papers whose heads are bound to a mesh (VHAP, which GaussianAvatars and GGTalker use, is photometric). Every picture starts with
what the one before was corrected by. The head itself stays as it is. A film in other light is met by one factor a colour.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..capture.film import open_film
from ..capture.perform import SENSOR_MM, Options, Progress, look, seen_of, track_of
from ..capture.problem import resting
from ..capture.track import Track
from ..errors import CaptureError
from ..head.head import load_head
from ..head.motion import Motion
from ..splats.avatar import Avatar, harmonics_of
from . import refined
from .adam import Adam
from .attention import attended, head_alone
from .follow import follow
from .footage import LEAST_CONFIDENCE, Footage, Shown, cut_footage
from .gaussian_head import GaussianHead
from .losses import decode, encode, photometric
from .torch_head import TorchHead

STEPS, FIRST_STEPS = 14, 42
"""For a picture that follows another, and for one that follows none."""
RATES = 0.15, 0.01
"""At a picture's first and last step, in refined.units."""
MATTE, SMALL = 0.3, 1e-5
"""Weights of the outline, and of corrections, which are to be no larger than pictures ask for."""
GREY = 0.2
"""Linear light behind both pictures."""
MOST_PIXELS = 450
"""Longer side of the pictures that are compared: heads are fitted to no larger ones."""
LIGHTS = 8
"""Pictures that the light is found by."""
UNLIKE = 0.6
"""How far, as a share of the film's own contrast above the chin, the drawn head may be off before it is somebody else's. Measured: heads
of the person in the film .09 and .27, of others .72 to 1.5."""


def performed(
    path: Path | str, avatar: Avatar, options: Options, folder: Path, progress: Progress | None = None, threads: int = 0
) -> Track:
    """The performance of the person of `avatar` in a film, for that head. folder: for pictures that are cut out, which stay there.

    About a second a picture of 450 pixels. progress is told the stage, 0..1 and now and then a picture, and may raise Cancelled. Raises
    CaptureError where nothing can be captured, and where the film shows somebody else.
    """
    report = progress or (lambda stage, fraction, picture: None)
    if avatar.head_id != load_head().head_id:
        raise CaptureError(
            f"'{avatar.name}' stands on a head of another make; only heads on Loquent's own mesh follow pictures. Follow landmarks alone."
        )
    film = open_film(path, options.fps)
    people, count, cuts = look(film, options, lambda f, p: report("Looking for faces", f, p))
    seen = seen_of(people.chosen(options.face, film.path.name))
    if options.focal_mm is None and avatar.plate is not None and avatar.plate.size == film.size:
        k = avatar.plate.camera.K  # the film that it was made of, or one of the same camera
        options = replace(options, focal_mm=float(k[0, 0]) / max(film.size) * SENSOR_MM)
    track = track_of(film, seen, count, cuts, options, lambda stage, f: report(stage, f, None))
    track = replace(track, betas=avatar.betas)
    values = follow(seen, track, count, resting(seen.scores), track.cuts)
    track = replace(track, motion=Motion(track.fps, values))
    index = np.flatnonzero(track.confidence >= LEAST_CONFIDENCE)
    if not len(index):
        raise CaptureError(
            f"No picture of '{film.path.name}' shows the face well enough to be compared with a head's. Follow its landmarks alone."
        )
    size = MOST_PIXELS if avatar.plate is None else min(MOST_PIXELS, max(avatar.plate.size))
    footage = cut_footage(
        path, track, folder, size, index, progress=lambda f, p: report("Cutting out the person", f, p)
    )
    motion = pursued(avatar, track, footage, lambda f, p: report("Following the pictures", f, p), threads)
    return replace(track, motion=motion)


def pursued(
    avatar: Avatar, track: Track, footage: Footage, progress: Callable[[float, np.ndarray | None], None] | None = None,
    threads: int = 0,
) -> Motion:  # fmt: skip
    """The motion of `track`, whose values and betas are in the avatar's terms, moved in the pictures of `footage` until the avatar
    draws them; between them corrections are interpolated.

    progress is told 0..1 and now and then film and drawn head side by side (H, 2 W, 3) uint8, and may raise Cancelled. Raises CaptureError where
    the first pictures show somebody else.
    """
    eye = _Eye(avatar, track, footage, threads)
    found = np.zeros((len(footage), len(refined.CORRECTED)), np.float32)
    shots = np.searchsorted(np.array(track.cuts), footage.index, side="right")
    at, off = torch.zeros(len(refined.CORRECTED)), []
    for place in range(len(footage)):
        follows = place > 0 and shots[place] == shots[place - 1]
        at, error = eye.moved(place, at, STEPS if follows else FIRST_STEPS)
        off.append(error)
        found[place] = at.numpy()
        if progress:
            progress((place + 1) / len(footage), eye.side_by_side(place, at) if place % 25 == 0 else None)
        if place == min(LIGHTS, len(footage)) - 1 and np.median(off) > UNLIKE:
            raise CaptureError(
                f"'{track.source}' does not look like '{avatar.name}': drawn over its pictures the head is off by "
                f"{np.median(off):.0%} of their contrast; expected at most {UNLIKE:.0%}. Choose the head of the person in the film, or "
                "follow its landmarks alone."
            )
    spread = refined.spread(found, footage.index, track)
    return Motion(track.fps, refined.corrected(track.motion.values, spread))


class _Eye:
    """Compares the drawn avatar with pictures of a film."""

    def __init__(self, avatar: Avatar, track: Track, footage: Footage, threads: int) -> None:
        self.avatar, self.track, self.footage, self.threads = avatar, track, footage, threads
        head = load_head()
        self.twin = TorchHead(head)
        betas = np.zeros(len(head.shapedirs), np.float32)
        betas[: len(avatar.betas)] = avatar.betas
        self.person = self.twin.identity(torch.from_numpy(betas))
        self.module = GaussianHead(head, betas, avatar.binding, avatar.opacities, avatar.harmonics)
        self.module.requires_grad_(False)
        self.units, self.columns = torch.from_numpy(refined.units()), torch.from_numpy(refined.COLUMNS)
        self.light = torch.ones(3)
        self.light = self._light()

    def moved(self, place: int, start: Tensor, steps: int) -> tuple[Tensor, float]:
        """Corrections (D,) with which the avatar draws the picture at `place`, begun with `start`; and how far it is off still."""
        shown, weight = self._looked_at(place)
        real, matte, weight = self._real(shown), torch.from_numpy(shown.matte), torch.from_numpy(weight)
        dc = self._colours(place)
        change, adam = torch.nn.Parameter(start.clone()), Adam()
        first, last = RATES
        for step in range(steps):
            colour, alpha = self._drawn(place, change, shown, dc)
            picture = encode(colour + GREY * (1 - alpha[..., None]))
            off = photometric(picture, real, weight, step % 4)
            off = off + MATTE * ((alpha - matte).abs() * weight).mean() + SMALL * (change**2).sum()
            off.backward()
            adam.step("change", change, first * (last / first) ** (step / max(steps - 1, 1)))
        with torch.no_grad():
            colour, alpha = self._drawn(place, change, shown, dc)
            inside = (matte > 0.9) & (weight > 0.7)
            apart = (encode(colour + GREY * (1 - alpha[..., None])) - real)[inside].abs().mean()
            contrast = (real[inside] - real[inside].mean(0)).abs().mean()
        return change.detach(), float(apart / contrast.clamp_min(1e-3))

    @torch.no_grad()
    def side_by_side(self, place: int, change: Tensor) -> np.ndarray:
        """(H, 2 W, 3) uint8: the film's picture and the drawn one."""
        shown, _ = self._looked_at(place)
        colour, alpha = self._drawn(place, change, shown, self._colours(place))
        both = torch.cat([self._real(shown), encode(colour + GREY * (1 - alpha[..., None]))], 1).clamp(0, 1)
        return (both.numpy() * 255 + 0.5).astype(np.uint8)

    def _looked_at(self, place: int) -> tuple[Shown, np.ndarray]:
        shown = self.footage.shown(place)
        number = int(self.footage.index[place])
        points = self.footage.windows[place].points(self.track.landmarks[number], shown.camera)
        shown, weight = head_alone(shown, attended(points, shown.camera), points)
        whole = np.ascontiguousarray
        return Shown(whole(shown.colour), whole(shown.matte), shown.camera), whole(weight)

    def _real(self, shown: Shown) -> Tensor:
        matte = torch.from_numpy(shown.matte)[..., None]
        return encode(decode(torch.from_numpy(shown.colour)) * matte + GREY * (1 - matte))

    def _colours(self, place: int) -> Tensor:
        values = self.track.motion.values[int(self.footage.index[place])]
        return torch.from_numpy(np.ascontiguousarray(harmonics_of(self.avatar, values)[:, 0]))

    def _drawn(self, place: int, change: Tensor, shown: Shown, dc: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.from_numpy(self.track.motion.values[int(self.footage.index[place])].astype(np.float32))
        values = values + torch.zeros_like(values).index_add(0, self.columns, change * self.units)
        vertices = self.twin.vertices(self.person, values)
        colour, alpha = self.module.draw(vertices, shown.camera, self.threads, dc=dc)
        return colour * self.light, alpha

    @torch.no_grad()
    def _light(self) -> Tensor:
        """(3,) linear light of the film over that of the avatar, where both show the person."""
        film, drawn = [], []
        still = torch.zeros(len(refined.CORRECTED))
        for place in np.unique(np.linspace(0, len(self.footage) - 1, LIGHTS).round().astype(int)).tolist():
            shown, _ = self._looked_at(place)
            colour, alpha = self._drawn(place, still, shown, self._colours(place))
            both = (alpha > 0.95) & (torch.from_numpy(shown.matte) > 0.95)
            film.append(decode(torch.from_numpy(shown.colour))[both].mean(0))
            drawn.append(colour[both].mean(0))
        return (torch.stack(film).nanmean(0) / torch.stack(drawn).nanmean(0).clamp_min(1e-3)).clamp(0.2, 5.0)
