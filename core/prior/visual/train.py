# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of the visual prior: one picture of a person makes the head, other pictures of the same person judge it.

Source to target as in GGTalker (Hu et al. 2025): the head made from one picture is driven by another's expression, drawn by
its camera through the differentiable rasteriser, and compared. A step is decided by the seed and its number alone, so that
a run taken up again goes on as if it had never stopped.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import checkpoint
from ...errors import FormatError
from ...geometry.cameras import Camera
from ...head.head import Head, identity, pose_vertices
from ...splats.differentiable import rasterize_torch
from .generator import ALL, Generator, Inputs, Switches, inputs_of
from .losses import dissimilarity, encode, gradients
from .maps import OPACITY
from .maps_torch import FAINT, carried, densify, frames_of, local_torch, neighbours, seat, taken
from .projection import project
from .spoil import View, dye, spoiled

STATE, STATE_VERSION = "Loquent visual training", 1


@dataclass(frozen=True)
class Recipe:
    """steps of one person each; rate of Adam, falling to a twentieth; targets judged a step; perceptual: weight of what the
    caller's network says, from a third of the steps on; own: share of steps that also judge the source picture itself; spoil:
    how far colours of a person are changed, and how far the source picture is made as bad as a photograph (spoil.py)."""

    steps: int = 3000
    rate: float = 1.0e-3
    targets: int = 2
    perceptual: float = 0.15
    own: float = 0.3
    position: float = 0.01
    seed: int = 1
    average: float = 0.995
    spoil: float = 1.0


@dataclass(frozen=True)
class Person:
    """V pictures of one person: images (V, S, S, 3) uint8 sRGB times matte, mattes (V, S, S) uint8, cameras, motion values
    (V, 65), betas (100,); tags as the maker wrote them."""

    images: np.ndarray
    mattes: np.ndarray
    cameras: tuple[Camera, ...]
    values: np.ndarray
    betas: np.ndarray
    tags: dict[str, Any]


def read_person(path: Path | str) -> Person:
    """One file of tools/people."""
    try:
        with np.load(path, allow_pickle=False) as data:
            size = data["images"].shape[1]
            cameras = tuple(
                Camera(m, k, size, size) for m, k in zip(data["world_to_camera"], data["K"], strict=True)
            )  # fmt: skip
            tags = json.loads(str(data["tags"])) if "tags" in data.files else {}
            return Person(data["images"], data["matte"], cameras, data["values"], data["betas"], tags)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise FormatError(
            f"'{path}' is no set of pictures of a person ({error}); expected images, matte, K, world_to_camera, values, "
            "betas as tools/people writes them."
        ) from error


def linear_of(image: np.ndarray) -> np.ndarray:
    """uint8 sRGB to linear float32."""
    return _TABLE[image]


_STEPS = np.arange(256) / 255
_TABLE = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4).astype(np.float32)


def view_of(person: Person, number: int, head: Head) -> View:
    """Picture `number` of a person. A matted edge pixel's sRGB value counts as that of the premultiplied colour."""
    vertices = pose_vertices(identity(head, person.betas), person.values[number])
    matte = person.mattes[number].astype(np.float32) / 255
    return View(linear_of(person.images[number]), matte, person.cameras[number], vertices)


def yaw_of(person: Person, number: int) -> float:
    """Degrees by which the face of a picture is turned from its camera, positive where its left cheek shows."""
    from ...head.head import load_head

    head = load_head()
    row = person.values[number]
    vertices = pose_vertices(identity(head, person.betas), row)
    left, right = (vertices[head.landmarks[n]] for n in ("eye_left_outer", "eye_right_outer"))
    across = left - right
    camera = person.cameras[number]
    to_camera = camera.position - (left + right) / 2
    forward = np.cross(across, [0, 1, 0])
    forward[1] = to_camera[1] = 0
    angle = np.arctan2(np.cross(forward, to_camera)[1], forward @ to_camera)
    return float(np.degrees(angle))


def source_inputs(generator: Generator, view: View, betas: np.ndarray) -> Inputs:
    canvas = generator.canvas
    seen = project(view.colour, view.matte, view.camera, view.vertices, canvas.layout, canvas.head)
    return inputs_of(seen, canvas, betas)


class Stage:
    """What drawing a generator's values needs besides them; dense splits large Gaussians."""

    def __init__(self, generator: Generator) -> None:
        self.canvas = generator.canvas
        self.beside = torch.from_numpy(neighbours(self.canvas.layout)).to(self.canvas.start.device)
        self.everywhere = torch.arange(len(self.canvas.layout), device=self.canvas.start.device)

    def draw(
        self, values: Tensor, betas: np.ndarray, views: Sequence[View], *, dense: bool = True, threads: int = 1
    ) -> list[tuple[Tensor, Tensor]]:
        """Colour (H, W, 3) and alpha (H, W) of each view of a person's values (M, 14), or of twice as many rows."""
        layout, device = self.canvas.layout, values.device
        rows = self.everywhere.repeat(len(values) // len(self.everywhere))
        if dense:
            values, chosen = densify(values, self.beside[rows], self.canvas.pitch[rows])
            rows = rows[chosen]
        else:
            keep = values[:, OPACITY].detach() > FAINT
            values, rows = values[keep], rows[keep]
        place = _moved(seat(layout, self.canvas.head, betas), device)
        out = []
        for view in views:
            frames = _moved(frames_of(view.vertices, self.canvas.head, layout), device)
            mine, here = taken(place, frames, rows)
            local = local_torch(values, mine)
            means, quats, scales = carried(local, here)
            c = view.camera
            out.append(
                rasterize_torch(
                    means, quats, scales, local[3], local[4], c.world_to_camera, c.K, c.width, c.height, threads=threads
                )
            )
        return out


def _moved(record: Any, device: torch.device) -> Any:
    return type(record)(*(getattr(record, n).to(device) for n in record.__dataclass_fields__))


Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distance of two batches of pictures (B, 3, H, W) in 0..1 sRGB."""


def loss_of(
    drawn: tuple[Tensor, Tensor],
    view: View,
    background: Tensor,
    shift: int,
    perceptual: Perceptual | None,
    weight: float,
) -> Tensor:
    """One picture's loss on a background (3,)."""
    device = drawn[0].device
    colour, matte = torch.from_numpy(view.colour).to(device), torch.from_numpy(view.matte).to(device)
    a = encode(drawn[0] + background * (1 - drawn[1][..., None]))
    b = encode(colour + background * (1 - matte[..., None]))
    total = 0.8 * (a - b).abs().mean() + 0.2 * dissimilarity(a, b, shift) + 0.4 * gradients(a, b)
    total = total + 0.3 * (drawn[1] - matte).abs().mean()
    if perceptual is not None and weight:
        # the part that mostly holds the head: networks that judge looks cost more than all the rest
        side = 5 * len(a) // 8
        top, left = len(a) // 24 + 4 * shift, (a.shape[1] - side) // 2 + 8 * (shift - 2)
        pair = torch.stack([a, b])[:, top : top + side, left : left + side].permute(0, 3, 1, 2).clamp(0, 1)
        total = total + weight * perceptual(pair[:1], pair[1:]).mean()
    return total


def sources_of(yaws: np.ndarray, rng: np.random.Generator) -> int:
    """A picture to start from: mostly one that shows most of the face."""
    chance = np.exp(-0.5 * (yaws / 28) ** 2) + 0.02
    return int(rng.choice(len(yaws), p=chance / chance.sum()))


class Trainer:
    """A generator, Adam and the running mean of the weights, which is what ships."""

    def __init__(
        self, generator: Generator, recipe: Recipe, perceptual: Perceptual | None = None,
        switches: Switches = ALL, *, dense: bool = True,
    ) -> None:  # fmt: skip
        self.generator, self.recipe, self.perceptual, self.switches = generator, recipe, perceptual, switches
        self.dense, self.step = dense, 0
        self.stage = Stage(generator)
        self.optimiser = torch.optim.Adam(generator.parameters(), recipe.rate, betas=(0.9, 0.98), eps=1e-9)
        self.mean = {n: p.detach().clone() for n, p in generator.named_parameters()}

    def advance(self, person: Person, yaws: np.ndarray) -> float:
        """One step on one person: the loss."""
        r, generator = self.recipe, self.generator
        rng = np.random.default_rng([r.seed, self.step])
        progress = self.step / max(r.steps, 1)
        for group in self.optimiser.param_groups:
            group["lr"] = r.rate * min(1.0, (self.step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * progress)))
        source = sources_of(yaws, rng)
        others = [i for i in range(len(yaws)) if i != source]
        targets = rng.permutation(others)[: r.targets].tolist() + ([source] if rng.random() < r.own else [])
        head = generator.canvas.head
        views = [view_of(person, k, head) for k in targets]
        given = view_of(person, source, head)
        if r.spoil > 0:
            dice = np.random.default_rng([r.seed, 11, self.step])
            dyed = dye(dice, r.spoil)
            views, given = [dyed(view) for view in views], spoiled(dyed(given), dice, r.spoil)
        x = source_inputs(generator, given, person.betas)
        values = generator(x, self.switches)
        weight = r.perceptual if progress > 1 / 3 else 0.0
        loss = values.new_zeros(())
        dense = self.dense and rng.random() < 0.5
        for drawn, view in zip(self.stage.draw(values, person.betas, views, dense=dense), views, strict=True):
            background = torch.tensor(rng.random(3).astype(np.float32) ** 2, device=values.device)
            loss = loss + loss_of(drawn, view, background, int(rng.integers(4)), self.perceptual, weight) / len(views)
        away = (values[: len(generator.canvas.layout), :3] - generator.canvas.start[:, :3]) * generator.canvas.pitch
        loss = loss + r.position * (away / 0.01).square().mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(r.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                self.mean[name].lerp_(parameter, 1 - keep)
        return float(loss.detach())

    def averaged(self) -> Generator:
        """A copy with the mean of the weights, for use and for shipping."""
        copy = Generator(self.generator.canvas, self.generator.widths)
        copy.load_state_dict(self.mean)
        return copy.to(self.generator.canvas.start.device).eval()

    def save(self, path: Path | str) -> None:
        """All that a later process needs to go on."""
        arrays: dict[str, np.ndarray] = {}
        state = self.optimiser.state_dict()["state"]
        for k, (name, parameter) in enumerate(self.generator.named_parameters()):
            arrays["now." + name], arrays["mean." + name] = _numpy(parameter), _numpy(self.mean[name])
            if k in state:
                arrays["first." + name] = _numpy(state[k]["exp_avg"])
                arrays["second." + name] = _numpy(state[k]["exp_avg_sq"])
        about = {"format": STATE, "version": STATE_VERSION, "step": self.step, "recipe": asdict(self.recipe)}
        checkpoint.write(path, arrays, about)

    def load(self, path: Path | str) -> None:
        """Go on where `save` was called."""
        arrays, header = checkpoint.read(path, format=STATE, version=STATE_VERSION)
        self.step = int(header["step"])
        state = self.optimiser.state_dict()
        with torch.no_grad():
            for k, (name, parameter) in enumerate(self.generator.named_parameters()):
                parameter.copy_(torch.from_numpy(arrays["now." + name]))
                self.mean[name].copy_(torch.from_numpy(arrays["mean." + name]))
                if "first." + name in arrays:
                    state["state"][k] = {
                        "step": torch.tensor(float(self.step)),
                        "exp_avg": torch.from_numpy(arrays["first." + name]),
                        "exp_avg_sq": torch.from_numpy(arrays["second." + name]),
                    }
        self.optimiser.load_state_dict(state)

    def begin_from(self, path: Path | str) -> None:
        """Step 0 of a run of its own, with the averaged weights of another's state."""
        arrays, _ = checkpoint.read(path, format=STATE, version=STATE_VERSION)
        with torch.no_grad():
            for name, parameter in self.generator.named_parameters():
                parameter.copy_(torch.from_numpy(arrays["mean." + name]))
                self.mean[name].copy_(parameter)


def train(
    trainer: Trainer, people: Sequence[Path | str], *, state: Path | None = None,
    report: Callable[[str], None] = lambda line: None, every: int = 50, deadline: float = float("inf"),
    last: int | None = None,
) -> list[float]:  # fmt: skip
    """Steps until the recipe's (or `last`) are done or time.time() passes the deadline; writes `state` now and then.

    Returns the losses. People are kept in memory once read, some 2 MB each."""
    last = trainer.recipe.steps if last is None else min(last, trainer.recipe.steps)
    losses, cache = [], {}
    begin = time.perf_counter()
    while trainer.step < last and time.time() < deadline:
        turn, place = divmod(trainer.step, len(people))
        order = np.random.default_rng([trainer.recipe.seed, 7, turn]).permutation(len(people))
        path = people[order[place]]
        if path not in cache:
            person = read_person(path)
            cache[path] = person, np.array([yaw_of(person, k) for k in range(len(person.images))])
        losses.append(trainer.advance(*cache[path]))
        if trainer.step % every == 0:
            seconds = (time.perf_counter() - begin) / len(losses)
            report(f"step {trainer.step} loss {np.mean(losses[-every:]):.4f} {seconds:.2f} s a step")
            if state is not None:
                trainer.save(state)
    if state is not None:
        trainer.save(state)
    return losses


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32)
