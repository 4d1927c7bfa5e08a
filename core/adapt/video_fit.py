# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians, identity and tracks to the pictures of a film: the training loop of head_from_video.

First the tracks stay as they are and the Gaussians settle; then both move together, which repairs the tracking (GGTalker, Hu et
al. 2025, "adaptation"); last the colours learn to follow the performance. Small pictures first. One picture a step.

Everything random comes from one generator, whose state is kept with the numbers: a fit that was interrupted goes on as if it had
not been.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import checkpoint
from ..capture.track import Track
from ..errors import Cancelled, FormatError
from ..geometry.cameras import Camera
from ..geometry.triangles import triangle_frames
from ..head.head import Head
from ..head.motion import ARKIT, INDEX
from ..splats.colour_network import MAX_BASIS, ColourNetwork
from ..splats.differentiable import rasterize_torch
from ..splats.gaussians import SH_C0
from . import refined
from .adam import Adam
from .attention import MARGINS, attended, head_alone
from .colour_fit import ColourModel
from .footage import Footage, Shown, silhouette
from .gaussian_head import GaussianHead
from .losses import decode, encode, photometric
from .start import Start
from .torch_head import TorchHead, TorchIdentity

FORMAT, VERSION = "Loquent unfinished head", 2
SAVE_EVERY, SHOW_EVERY = 250, 100
MAX_GAUSSIANS = 60_000
SURVEYED = ("first_dc", "seen", "free", "square", "blind")
"""What is known of every Gaussian: its first colour, how far its colour and its shape are seen, how squarely, and which way it is not."""
REGULAR = 4
"""All Gaussians' own terms are taken every so many steps."""
CARRIED = 4
"""Frames to either side that a frame's correction moves along."""
RATES = {"wander": 0.020, "turn": 0.010, "size": 0.020, "logit": 0.030, "dc": 0.015}
CLEARLY, LEAST_SHOWN = 0.5, 0.02
"""Pixels of a picture of 300 pixels that a Gaussian has to cover, on average, to be known from it; and the least of those inside the mouth, which
are small and many, of which half of what the best seen cover is enough."""
OUTER, MOUTH = ("skin", "lips"), ("teeth_upper", "teeth_lower", "gums", "tongue", "mouth_interior")
HEADS = 0.7
"""Share of the steps that are shown the head alone."""
PARALLAX = 1 - float(np.cos(np.radians(12)))
"""How far the directions that a place is seen from must spread (1 less the length of their mean) before its depth is known."""
CORRECTION_RATE, BETAS_RATE, COLOUR_RATE = 0.15, 0.004, 0.004


@dataclass(frozen=True)
class Stage:
    """size: longer side of the pictures; steps; joint: tracks and identity move, too; colour: colours follow the performance;
    split: how often surfaces are refined on the way; rate: factor on the learning rates at its beginning and end."""

    size: int
    steps: int
    joint: bool = False
    colour: bool = False
    split: int = 0
    rate: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Recipe:
    """What is done in which order, and what every term weighs."""

    stages: tuple[Stage, ...]
    seed: int = 0
    matte: float = 0.3
    pull: float = 1e-3
    smooth: float = 4e-3
    anchor: float = 2e-2
    even: float = 0.5
    still: float = 2e-4
    small: float = 2e-5
    mouth: float = 2.5
    eyes: float = 1.5
    basis: int = 8


def recipe(size: int = 450, steps: int | None = None, seed: int = 0) -> Recipe:
    """The usual stages for pictures of some size; `steps` in all, 9,000 where None: as many as 20 minutes leave room for on two cores."""
    total = 9_000 if steps is None else steps
    small, middle = min(size, 160), min(size, 300)
    share = lambda part: max(1, round(part * total))  # noqa: E731
    return Recipe((
        Stage(small, share(0.15), rate=(1.0, 0.8)),
        Stage(middle, share(0.25), joint=True, split=1, rate=(1.0, 0.6)),
        Stage(size, share(0.35), joint=True, split=2, rate=(0.8, 0.35)),
        Stage(size, share(0.25), joint=True, colour=True, rate=(0.35, 0.03)),
    ), seed)  # fmt: skip


def without(whole: Recipe, *, joint: bool = True, colour: bool = True) -> Recipe:
    """The same steps without refined tracks, or without colours that follow the performance: for comparisons."""
    stages = tuple(replace(s, joint=s.joint and joint, colour=s.colour and colour) for s in whole.stages)
    return replace(whole, stages=stages)


class Fit:
    """A fit under way. `run` does it all; then `module`, `values()`, `betas()` and `colours()` hold what was found."""

    def __init__(
        self, head: Head, start: Start, footage: Footage, track: Track, plan: Recipe, threads: int = 0,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        torch.manual_seed(plan.seed)
        self.head, self.footage, self.track, self.plan, self.threads = head, footage, track, plan, threads
        self.device = torch.device(device)
        self.twin = TorchHead(head, self.device)
        self.module = GaussianHead(head, track.betas, start.binding, start.opacities, start.harmonics, start.bounds)
        self.module.to(self.device)
        self.pairs = self._tensor(start.pairs.astype(np.int64))
        self.start = start
        self.frames = footage.index
        self.tracked = self._tensor(track.motion.values[self.frames])
        self.correction = torch.nn.Parameter(
            self._tensor(np.zeros((len(self.frames), len(refined.CORRECTED)), np.float32))
        )
        betas = np.zeros(len(head.shapedirs), np.float32)
        betas[: len(track.betas)] = track.betas
        self.shape = torch.nn.Parameter(self._tensor(betas))
        self.first_shape = self.shape.detach().clone()
        self.ties = refined.neighbours(self.frames, track)
        self.units, self.columns = self._tensor(refined.units()), self._tensor(refined.COLUMNS)
        self.colour: ColourModel | None = None
        self.adam, self.rng = Adam(), np.random.default_rng(plan.seed)
        self.done = 0
        self.moved = torch.zeros_like(self.module.start_sizes)
        self.touched = 0
        self.error = np.full(len(self.frames), np.nan)
        self.first_dc, self.seen = self.module.dc.detach().clone(), torch.ones_like(self.module.start_sizes)
        self.free, self.square = torch.ones_like(self.seen), torch.ones_like(self.seen)
        self.blind = torch.zeros_like(self.module.wander)
        self._person: TorchIdentity | None = None
        self._near: dict[int, np.ndarray] = {}
        self._chance = _chance(track, self.frames)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.plan.stages)

    def run(self, folder: Path | None, progress: Callable[[float, np.ndarray | None], None]) -> bool:
        """All steps that are left. folder: where the state is kept, None keeps none. Returns whether it went on from there.

        progress is told 0..1 and now and then a picture, and may raise Cancelled: the state is kept before.
        """
        resumed = folder is not None and self.load(folder)
        if not self.done:
            self.survey()
        try:
            while self.done < self.steps:
                shown = self.step()
                progress(self.done / self.steps, shown)
                if folder is not None and self.done % SAVE_EVERY == 0:
                    self.save(folder)
        except Cancelled:
            if folder is not None:
                self.save(folder)
            raise
        if folder is not None:
            self.save(folder)
        return resumed

    # --- what is drawn

    def values_of(self, place: int, joint: bool) -> Tensor:
        """(65,) of the frame at `place`, with a graph to its correction where joint."""
        values = self.tracked[place]
        correction = self.correction[place] if joint else self.correction.detach()[place]
        moved = torch.zeros_like(values).index_add(0, self.columns, correction * self.units)
        out = values + moved
        return torch.cat([out[: len(ARKIT)].clamp(0, 1), out[len(ARKIT) :]])

    def vertices(self, values: Tensor, joint: bool) -> Tensor:
        if joint:
            return self.twin.vertices(self.twin.identity(self.shape), values)
        if self._person is None:
            with torch.no_grad():
                self._person = self.twin.identity(self.shape.detach())
        return self.twin.vertices(self._person, values)

    def dc_of(self, values: Tensor) -> Tensor:
        return self.module.dc if self.colour is None else self.colour(self.module.dc, values.detach())

    @torch.no_grad()
    def drawn(self, values: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """Linear colour (H, W, 3), premultiplied, and alpha (H, W) of motion values (65,) as the fit stands."""
        v = self._tensor(np.asarray(values, np.float32))
        colour, alpha = self.module.draw(self.vertices(v, False), camera, self.threads, dc=self.dc_of(v))
        return colour.cpu().numpy(), alpha.cpu().numpy()

    # --- one step

    def stage(self) -> tuple[Stage, int]:
        """The stage of the next step, and how many of its steps are done."""
        left = self.done
        for stage in self.plan.stages:
            if left < stage.steps:
                return stage, left
            left -= stage.steps
        return self.plan.stages[-1], self.plan.stages[-1].steps

    def step(self) -> np.ndarray | None:
        stage, at = self.stage()
        self._prepare(stage, at)
        place = int(self.rng.choice(len(self.frames), p=self._weights()))
        shift = int(self.rng.integers(4))
        background = self._tensor(self.rng.random(3).astype(np.float32) ** 2)
        shown = self.footage.shown(place, stage.size)
        weight = self._weight(place, shown.camera, shown.matte)
        near, weight = self._closer(place, shown, weight)
        alone, shown = near is not shown, near
        truth, matte, weight = (self._tensor(x) for x in (shown.colour, shown.matte, weight))
        values = self.values_of(place, stage.joint)
        means2d = torch.zeros(len(self.module), 2, device=self.device, requires_grad=True) if stage.split else None
        colour, alpha = self.module.draw(
            self.vertices(values, stage.joint), shown.camera, self.threads, dc=self.dc_of(values), means2d=means2d
        )
        wanted = decode(truth) * matte[..., None]
        behind = background * (1 - alpha[..., None])
        picture = encode(colour + behind)
        real = encode(wanted + background * (1 - matte[..., None]))
        seen = photometric(picture, real, weight, shift)
        covered = ((alpha - matte).abs() * weight.clamp_max(1)).mean()
        loss = seen + self.plan.matte * covered + self._regular(place, stage)
        loss.backward()
        self._update(stage, at, place)
        if means2d is not None and means2d.grad is not None:
            self.moved += means2d.grad.norm(dim=1)
            self.touched += 1
        if alone:  # whole pictures are easier
            value = float(seen.detach())
            self.error[place] = value if np.isnan(self.error[place]) else 0.7 * self.error[place] + 0.3 * value
        self.done += 1
        if self.done % SHOW_EVERY:
            return None
        both = torch.cat([picture, real], 1).detach().clamp(0, 1)
        return (both.cpu().numpy() * 255 + 0.5).astype(np.uint8)

    def _prepare(self, stage: Stage, at: int) -> None:
        if stage.colour and self.colour is None:
            used = [self.values_of(k, False).detach().cpu().numpy() for k in range(len(self.frames))]
            rows = np.flatnonzero(
                ((self.seen > 0.3) & (torch.sigmoid(self.module.logit.detach()) > 0.05)).cpu().numpy()
            )
            self.colour = ColourModel.begun(np.array(used), rows, min(self.plan.basis, MAX_BASIS), self.plan.seed)
            self.colour.to(self.device)
        if stage.split:
            every = max(stage.steps // (stage.split + 1), 1)
            if at and at % every == 0 and at // every <= stage.split and self.touched:
                self.split()

    def _regular(self, place: int, stage: Stage) -> Tensor:
        """What keeps unseen poses clean; terms of all Gaussians are taken every REGULAR-th step, that much stronger."""
        return (
            self._regular_tracks(place, stage)
            if self.done % REGULAR
            else self._regular_all() + self._regular_tracks(place, stage)
        )

    def _regular_all(self) -> Tensor:
        plan, module = self.plan, self.module
        wander, size = torch.tanh(module.wander), torch.tanh(module.size)
        a, b = self.pairs.unbind(1)
        both = torch.cat([wander, 0.5 * size], 1)
        rough = ((both.index_select(0, a) - both.index_select(0, b)) ** 2).sum(1).mean() / 3
        loss = plan.pull * module.pull() + plan.smooth * rough
        change = module.dc - self.first_dc
        loss = loss + plan.anchor * ((change**2).mean(1) * (1 - self.seen)).mean()
        # side by side in the picture, several cover the same pixels, and only their sum is seen
        apart = (change.index_select(0, a) - change.index_select(0, b)).square().mean(1)
        loss = loss + plan.even * (apart * (1 - torch.minimum(self.square[a], self.square[b]) ** 2)).mean()
        if self.colour is not None:
            loss = loss + self.colour.pull()
        return REGULAR * loss

    def _regular_tracks(self, place: int, stage: Stage) -> Tensor:
        plan, loss = self.plan, torch.zeros((), device=self.device)
        if stage.joint:
            before, after = self.ties[place]
            own = self.correction[place]
            held = self.correction.detach()
            tie = float(before) * (own - held[max(place - 1, 0)]) ** 2
            tie = tie + float(after) * (own - held[min(place + 1, len(held) - 1)]) ** 2
            loss = loss + plan.still * tie.sum() + plan.small * (own**2).sum()
            loss = loss + 1e-4 * ((self.shape - self.first_shape) ** 2).sum()
        return loss

    def _update(self, stage: Stage, at: int, place: int) -> None:
        first, last = stage.rate
        rate = first * (last / first) ** (at / stage.steps)
        shape, paint = self.free[:, None], self.seen[:, None]
        for name, own in RATES.items():
            gain = paint if name == "dc" else shape[:, 0] if name == "logit" else shape
            move = self.adam.step(name, getattr(self.module, name), own * rate, gain=gain)
            if name == "wander" and move is not None:
                with torch.no_grad():
                    self.module.wander -= self.blind * (self.blind * move).sum(1, keepdim=True)
        if stage.joint:
            warm = min(1.0, (at + 1) / 50)
            move = self.adam.step("correction", self.correction, CORRECTION_RATE * rate * warm, place)
            if move is not None:
                self._carry(move, place)
            self.adam.step("shape", self.shape, BETAS_RATE * rate * warm)
            self._person = None
        if self.colour is not None:
            for name, parameter in self.colour.named_parameters():
                self.adam.step("colour." + name, parameter, COLOUR_RATE * max(rate, 0.1) / 0.35)

    @torch.no_grad()
    def _carry(self, move: Tensor, place: int) -> None:
        """Move the corrections of the frames around along: a tracker errs alike in frames that follow each other, and every frame
        is drawn only a few times."""
        for way, side in ((-1, 0), (1, 1)):
            share, at = 1.0, place
            for _ in range(CARRIED):
                share *= 0.7 * float(self.ties[at, side])
                at += way
                if share < 0.05:
                    break
                self.correction[at] += share * move

    def _weights(self) -> np.ndarray:
        """Chance of each frame: less where the picture does not fit, which a hand or a wrong track may be why of."""
        known = ~np.isnan(self.error)
        chance = self._chance.copy()
        if known.sum() > 8:
            usual = np.median(self.error[known])
            chance[known] *= np.clip(2 * usual / np.maximum(self.error[known], 1e-9), 0.05, 1)
        return chance / chance.sum()

    def _weight(self, place: int, camera: Camera, matte: np.ndarray) -> np.ndarray:
        """(H, W) what a pixel counts: lips and eyes more, what the mesh has no triangles near to nothing."""
        out = attended(self._landmarks(place, camera), camera, self.plan.mouth, self.plan.eyes)
        far = (matte > 0.3) & ~_enlarged(self._reached(place), out.shape)
        out[far] = 0
        return out

    def _landmarks(self, place: int, camera: Camera) -> np.ndarray:
        return self.footage.windows[place].points(self.track.landmarks[self.frames[place]], camera)

    def _closer(self, place: int, shown: Shown, weight: np.ndarray) -> tuple[Shown, np.ndarray]:
        """Mostly the head alone: it is what is looked at, and half the pixels are done in half the time."""
        if self.rng.random() > HEADS or (self.done + 1) % SHOW_EVERY == 0:
            return shown, weight
        return head_alone(shown, weight, self._landmarks(place, shown.camera), MARGINS * self.rng.uniform(0.9, 1.1, 4))

    def _reached(self, place: int) -> np.ndarray:
        """(h, w) bool, coarse: where the head's mesh, made 3 cm larger, is."""
        if place not in self._near:
            camera = self.footage.windows[place].camera(self.track.camera, 64)
            vertices = self.twin.vertices(self.twin.identity(self.first_shape), self.tracked[place]).cpu().numpy()
            depth = (vertices @ camera.world_to_camera[2, :3] + camera.world_to_camera[2, 3]).mean()
            reach = max(1, round(0.03 * camera.K[0, 0] / max(float(depth), 0.1)))
            self._near[place] = _dilated(silhouette(vertices, self.head.faces, camera), reach)
        return self._near[place]

    # --- more and fewer Gaussians

    @torch.no_grad()
    def split(self) -> None:
        """Split the Gaussians whose pictures pull at them most, and drop those that nobody sees."""
        strain = (self.moved / max(self.touched, 1)).cpu().numpy()
        room = MAX_GAUSSIANS - len(self.module)
        opaque = torch.sigmoid(self.module.logit).cpu().numpy()
        most = max(0, min(room, len(strain) // 10))
        order = np.argsort(-np.where(opaque > 0.2, strain, 0), kind="stable")[:most]
        order = np.sort(order[strain[order] > np.median(strain) * 2])
        keep = np.flatnonzero((opaque > 0.01) | (self.module.start_closed.cpu().numpy() > 0))
        origin = self.module.split(keep, order, self.rng)
        for name in RATES:
            self.adam.gather(name, origin)
        at = np.full(len(strain), -1)
        at[keep] = np.arange(len(keep))
        at = self._tensor(at)
        pairs = at[self.pairs]
        children = torch.stack([at[self._tensor(order)], self._tensor(np.arange(len(keep), len(origin)))], 1)
        pairs = torch.cat([pairs, children])
        self.pairs = pairs[(pairs >= 0).all(1)]
        for name in SURVEYED:
            setattr(self, name, getattr(self, name)[origin].clone())
        self.moved, self.touched = torch.zeros_like(self.seen), 0

    # --- colours to begin with

    def survey(self, most: int = 16) -> None:
        """Find out how well the film shows each Gaussian, and from where. Of a plain head, take the film's mean colours as well."""
        module = self.module
        total, weight = torch.zeros_like(module.dc), torch.zeros_like(module.start_sizes)
        facing, ways, opened = torch.full_like(weight, -1.0), torch.zeros_like(module.wander), torch.zeros_like(weight)
        size = max([stage.size for stage in self.plan.stages[:2]], default=min(self.footage.size, 300))
        opacities = torch.sigmoid(module.logit).detach()
        triangles = module.start_triangles.cpu().numpy()
        places = np.unique(np.linspace(0, len(self.frames) - 1, most).round().astype(int)).tolist()
        open_mouths = np.argsort(-self.tracked[:, INDEX["jawOpen"]].cpu().numpy(), kind="stable")[: most // 2].tolist()
        for place, into_weight in [*((p, weight) for p in places), *((p, opened) for p in open_mouths)]:
            shown = self.footage.shown(place, size)
            vertices = self.vertices(self.values_of(place, False), False).detach()
            with torch.no_grad():
                means, quats, scales = module.world(vertices)
            c = shown.camera
            seen_from = _ways(vertices.cpu().numpy(), self.head.faces, c)[triangles]
            matte = self._tensor(shown.matte)[..., None]
            asked = [(matte.expand(-1, -1, 3), into_weight)]
            if into_weight is weight:
                facing = torch.maximum(facing, self._tensor(seen_from[:, 1]))
                ways += self._tensor(seen_from) / len(places)
                asked.append((decode(self._tensor(shown.colour)) * matte, total))
            for which, into in asked:
                plain = torch.ones(len(module), 1, 3, device=self.device, requires_grad=True)
                colour, _ = rasterize_torch(
                    means, quats, scales, opacities, plain, c.world_to_camera, c.K, c.width, c.height,
                    threads=self.threads,
                )  # fmt: skip
                (colour * which).sum().backward()
                assert plain.grad is not None
                into += plain.grad[:, 0] if into.ndim == 2 else plain.grad[:, 0, 0]
        pixels, pixels_open = (
            w / SH_C0 / len(p) * (300 / size) ** 2 for w, p in ((weight, places), (opened, open_mouths))
        )
        covers = (pixels / CLEARLY).clamp(0, 1)
        seen = covers * ((facing - 0.2) / 0.35).clamp(0, 1)
        if self.start.likely:
            hair = ~module.start_closed
            # ears are folded: what lies behind shines through
            ears = self.head.masks["ears"][self.head.faces].mean(1)[triangles]
            self.square = facing.clamp(0, 1) * self._tensor((1 - 0.75 * ears).astype(np.float32))
            self.free = covers * ((facing + torch.where(hair, 0.25, 0.05)) / 0.4).clamp(0, 1)
            self.seen = torch.where(hair, covers * ((facing + 0.1) / 0.3).clamp(0, 1), seen)
            # what opens and shuts is seen in few frames, and is right in those
            outer, mouth = ([self.head.region_names.index(name) for name in names] for names in (OUTER, MOUTH))
            inside, in_mouth = ~np.isin(self.head.regions, outer), np.isin(self.head.regions, mouth)[triangles]
            opens = np.maximum(self.head.masks["lips"], self.head.masks["eyelids"])[self.head.faces].max(1) > 0.1
            for known, where in ((self.free, inside | opens), (self.seen, inside | opens), (self.square, inside)):
                known[self._tensor(where[triangles])] = 1
            if in_mouth.any():  # as far as the widest open mouths show it: Adam would move the rest as far
                within = self._tensor(in_mouth)
                shown_open = torch.maximum(pixels, pixels_open)[within]
                clearly = max(0.5 * float(shown_open.quantile(0.9)), LEAST_SHOWN)
                self.free[within] = self.seen[within] = (shown_open / clearly).clamp(0, 1)
            alike = ways.norm(dim=1, keepdim=True)
            self.blind = ways / alike.clamp_min(1e-6) * (1 - (1 - alike) / PARALLAX).clamp_min(0).sqrt()
        else:
            with torch.no_grad():
                mean = (total / weight.clamp_min(1e-6)[:, None] - 0.5) / SH_C0
                module.dc.copy_(torch.where(seen[:, None] > 0.5, mean, module.dc))
        self.first_dc = module.dc.detach().clone()

    # --- what was found

    def betas(self) -> np.ndarray:
        return self.shape.detach().cpu().numpy().copy()

    def corrections(self) -> np.ndarray:
        """(F, D) in refined.units."""
        return self.correction.detach().cpu().numpy().copy()

    def values(self) -> np.ndarray:
        """(T, 65) of all frames of the track."""
        spread = refined.spread(self.corrections(), self.frames, self.track)
        return refined.corrected(self.track.motion.values, spread)

    def colours(self) -> ColourNetwork | None:
        return None if self.colour is None else self.colour.network()

    # --- to a file and back

    def save(self, folder: Path) -> None:
        state: dict[str, Tensor] = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        state |= {f"adam.{k}": v for k, v in self.adam.state().items()}
        if self.colour is not None:
            state |= {f"colour.{k}": v for k, v in self.colour.state_dict().items()}
        state |= {
            "correction": self.correction, "shape": self.shape, "pairs": self.pairs, "moved": self.moved,
            "error": torch.from_numpy(self.error), **{name: getattr(self, name) for name in SURVEYED},
        }  # fmt: skip
        header = {
            "format": FORMAT, "version": VERSION, "done": self.done, "touched": self.touched, "of": self._of(),
            "random": json.dumps(self.rng.bit_generator.state), "colour": self.colour is not None,
        }  # fmt: skip
        checkpoint.write(folder / "fit.safetensors", {k: v.detach().cpu().numpy() for k, v in state.items()}, header)

    def _of(self) -> str:
        """What a state must have been saved by to be gone on with."""
        told = {"recipe": asdict(self.plan), "source": self.track.source, "frames": [len(self.frames), int(self.frames.sum())],
                "size": self.footage.size, "betas": float(np.abs(self.track.betas).sum()), "start": len(self.start.opacities)}  # fmt: skip
        return json.dumps(told, sort_keys=True)

    def load(self, folder: Path) -> bool:
        """Go on from what `save` wrote there; False where there is nothing, or it is of another film or recipe."""
        path = folder / "fit.safetensors"
        if not path.is_file():
            return False
        try:
            arrays, header = checkpoint.read(path, format=FORMAT, version=VERSION)
        except FormatError:
            return False  # cut short when the power went: begin again
        if header["of"] != self._of():
            return False
        state = {k: self._tensor(v) for k, v in arrays.items()}

        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

        self.module.adopt(part("module."))
        self.adam.restore(part("adam."))
        if header["colour"]:
            self.colour = ColourModel.restored(part("colour."))
            self.colour.to(self.device)
        with torch.no_grad():
            self.correction.copy_(state["correction"])
            self.shape.copy_(state["shape"])
        self.pairs, self.moved = state["pairs"], state["moved"]
        for name in SURVEYED:
            setattr(self, name, state[name])
        self.error, self.done, self.touched = arrays["error"].copy(), int(header["done"]), int(header["touched"])
        self.rng.bit_generator.state = json.loads(header["random"])
        return True


def _chance(track: Track, frames: np.ndarray) -> np.ndarray:
    """(F,) how often a frame is drawn: as it is trusted, more where the mouth is open or the eyes are shut, which is rare."""
    values = track.motion.values[frames]
    rare = values[:, INDEX["jawOpen"]] * 3 + 4 * values[:, INDEX["eyeBlinkLeft"]]
    return np.maximum(track.confidence[frames], 0.05) * (1 + np.clip(rare, 0, 3))


def _ways(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """(T, 3) unit vectors from triangles to the camera, in their own frames, whose second axis is the normal."""
    origins, rotations, _ = triangle_frames(vertices.astype(np.float32), faces)
    way = np.asarray(camera.position, np.float32) - origins
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    return np.einsum("nji,nj->ni", rotations, way).astype(np.float32)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    for axis in (0, 1):
        wide = mask.copy()
        for shift in range(1, radius + 1):
            for sign in (1, -1):
                moved = np.roll(mask, sign * shift, axis)
                edge = slice(0, shift) if sign > 0 else slice(-shift, None)
                moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = False
                wide |= moved
        mask = wide
    return mask


def _enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows = np.arange(shape[0]) * mask.shape[0] // shape[0]
    columns = np.arange(shape[1]) * mask.shape[1] // shape[1]
    return mask[rows[:, None], columns]
