# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits a person's Gaussians to the pictures that render.py took: `python -m tools.avatars.fit ada --cache FOLDER`.

Every Gaussian stays near where initial.py laid it (bounded offsets and sizes, per group), so that expressions and views
that no picture shows cannot tear the head apart. Writes the `.loq` file and prints held-out PSNR before and after.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from loquent.core.geometry.cameras import Camera
from loquent.core.splats.avatar import Avatar, save_avatar
from loquent.core.splats.binding import Binding
from loquent.core.splats.differentiable import rasterize_torch
from loquent.core.splats.gaussians import SH_C0

from . import card, initial, paint, shots, sitter, stage
from .model import Frames, Model, frames_of
from .people import PEOPLE, Person
from .sheet import thumbnail

HEM = (-0.236, -0.190)
"""Heights in metres between which the bust fades in, so that it ends softly and not in a cut."""
MAX_GAUSSIANS = 78_000


@dataclass
class Picture:
    """One training picture: colour (H, W, 4) float16 premultiplied linear, its camera and expression."""

    shot: shots.Shot
    image: Tensor
    camera: Camera


def encode(linear: Tensor) -> Tensor:
    """sRGB, with a straight continuation below and above so that gradients never vanish."""
    x = linear.clamp(0.0, 1.0)
    curve = torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp_min(1e-5) ** (1 / 2.4) - 0.055)
    return curve + 0.42 * (linear - x)


def similarity(a: Tensor, b: Tensor, shift: int) -> Tensor:
    """Mean SSIM of two (H, W, 3) pictures over 8 px windows every 4 px, starting at pixel `shift`; a Gaussian window at every
    pixel takes thirty times longer on a CPU and fits no better."""
    stack = torch.stack([a, b, a * a, b * b, a * b]).permute(0, 3, 1, 2)[..., shift:, shift:]
    ma, mb, aa, bb, ab = functional.avg_pool2d(stack, 8, 4)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    return ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))).mean()


def edges(image: Tensor) -> Tensor:
    """(2, H - 1, W - 1, 3) differences of neighbouring pixels; matching them keeps hair and lashes crisp."""
    corner = image[:-1, :-1]
    return torch.stack([image[1:, :-1] - corner, image[:-1, 1:] - corner])


def load(folder: Path) -> list[Picture]:
    """All pictures that exist."""
    out = []
    for shot in shots.shots():
        path = folder / f"{shot.name}.npy"
        if path.exists():
            image = torch.from_numpy(np.load(path))
            out.append(Picture(shot, image, shot.camera(image.shape[0])))
    return out


def psnr(model: Model, pictures: list[Picture], frames: dict[str, Frames], threads: int) -> dict[str, float]:
    """PSNR in decibels of sRGB pictures over mid grey, per framing and over all."""
    scores: dict[str, list[float]] = {}
    with torch.no_grad():
        for p in pictures:
            colour, alpha = model.draw(frames[p.shot.expression], p.camera, threads)
            target = p.image.float()
            a = encode(colour + 0.18 * (1 - alpha[..., None])).clamp(0, 1)
            b = encode(target[..., :3] + 0.18 * (1 - target[..., 3:])).clamp(0, 1)
            value = float(-10 * torch.log10(((a - b) ** 2).mean()))
            scores.setdefault(p.shot.framing, []).append(value)
    flat = [v for values in scores.values() for v in values]
    return {k: round(float(np.mean(v)), 2) for k, v in scores.items()} | {"all": round(float(np.mean(flat)), 2)}


def first_colours(model: Model, pictures: list[Picture], frames: dict[str, Frames], threads: int) -> None:
    """Gives each Gaussian the mean colour of the pixels it covers: two backward passes a picture."""
    total, weight = torch.zeros(len(model.logit), 3), torch.zeros(len(model.logit), 3)
    for p in pictures:
        means, quats, scales = (x.detach() for x in model.world(frames[p.shot.expression]))
        c = p.camera
        for which, into in ((p.image[..., :3].float(), total), (p.image[..., 3:].float().expand(-1, -1, 3), weight)):
            plain = torch.full((len(means), 1, 3), 1.0, requires_grad=True)
            colour, _ = rasterize_torch(
                means,
                quats,
                scales,
                torch.sigmoid(model.logit).detach(),
                plain,
                c.world_to_camera,
                c.K,
                c.width,
                c.height,
                threads=threads,
            )
            (colour * which).sum().backward()
            into += plain.grad[:, 0]
    seen = weight[:, 0] > 0.3 * SH_C0
    mean = total / weight.clamp_min(1e-6)
    with torch.no_grad():
        base = model.dc[:, 0] * SH_C0 + 0.5
        light = (mean[seen].mean(0) / base[seen].mean(0)).clamp(0.05, 2)
        model.dc[:, 0] = (torch.where(seen[:, None], mean, base * light * 0.5) - 0.5) / SH_C0


def groups_of(model: Model, rate: float) -> list[dict]:
    return [
        {"params": [model.wander], "lr": 0.030 * rate}, {"params": [model.turn], "lr": 0.004 * rate},
        {"params": [model.size], "lr": 0.025 * rate}, {"params": [model.logit], "lr": 0.030 * rate},
        {"params": [model.dc], "lr": 0.020 * rate}, {"params": [model.sheen], "lr": 0.003 * rate},
    ]  # fmt: skip


def train(
    model: Model,
    pictures: list[Picture],
    frames: dict[str, Frames],
    steps: int,
    seed: int,
    threads: int,
    group: np.ndarray,
) -> None:
    """Adam over random pictures; the rate falls to a twentieth."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(groups_of(model, 1.0), betas=(0.9, 0.99), eps=1e-15)
    start_rates = [g["lr"] for g in optimiser.param_groups]
    chance = np.array([1.6 if p.shot.framing in (shots.MOUTH, shots.EYES) else 1.0 for p in pictures])
    chance /= chance.sum()
    begin, shown = time.perf_counter(), 0.0
    first = model.dc.detach().clone()
    spindle = torch.from_numpy(np.isin(group, [initial.GROUPS.index(k) for k in ("hair", "brow", "lash", "beard")]))
    for step in range(steps):
        ramp = 0.05 ** (step / steps)
        for g, lr in zip(optimiser.param_groups, start_rates, strict=True):
            g["lr"] = lr * ramp
        p = pictures[rng.choice(len(pictures), p=chance)]
        target = p.image.float()
        colour, alpha = model.draw(frames[p.shot.expression], p.camera, threads)
        background = torch.from_numpy(rng.random(3).astype(np.float32) ** 2)
        a = encode(colour + background * (1 - alpha[..., None]))
        b = encode(target[..., :3] + background * (1 - target[..., 3:]))
        loss = (
            0.8 * (a - b).abs().mean()
            + 0.2 * (1 - similarity(a, b, int(rng.integers(4))))
            + 0.3 * (alpha - target[..., 3]).abs().mean()
        )
        loss = loss + 0.4 * (edges(a) - edges(b)).abs().mean()
        loss = loss + 1e-3 * (torch.tanh(model.wander) ** 2).mean() + 5e-4 * (model.sheen**2).mean()
        loss = loss + 1e-2 * ((model.dc - first) ** 2).mean()  # what no picture shows keeps its first colour
        # surfaces stay closed: what is opaque at rest must be opaque where no picture looked
        loss = loss + 1e-2 * torch.relu(0.95 - torch.sigmoid(model.logit[~spindle])).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        shown = 0.98 * shown + 0.02 * loss.item()
        if step % 250 == 249:
            seconds = time.perf_counter() - begin
            print(f"step {step + 1}/{steps} loss {shown / (1 - 0.98 ** (step + 1)):.4f} {seconds:.0f} s", flush=True)


def whiten(harmonics: np.ndarray, teeth: np.ndarray) -> np.ndarray:
    """The same harmonics with teeth (N,) held to the hue of enamel: teeth that few pictures show took on odd tints."""
    enamel = paint.linear(*stage.ENAMEL)
    luma = np.array([0.2126, 0.7152, 0.0722])
    colour = harmonics[teeth, 0] * SH_C0 + 0.5
    plain = np.maximum(colour @ luma, 0)[:, None] * enamel / (enamel @ luma)
    out = harmonics.copy()
    out[teeth, 0] = (0.25 * colour + 0.75 * plain - 0.5) / SH_C0
    return out


def pack(
    model: Model, start: initial.Start, person: Person, who: sitter.Sitter, about: dict, thumbnail: np.ndarray | None
) -> Avatar:
    """The product's avatar, without what became transparent, sorted by triangle."""
    with torch.no_grad():
        offsets, quats, scales = (x.numpy() for x in model.local())
        opacity = torch.sigmoid(model.logit).numpy()
        harmonics = whiten(model.harmonics().numpy(), who.kind[start.binding.triangles] == "teeth")
    height = start.heights
    opacity = opacity * np.clip((height - HEM[0]) / (HEM[1] - HEM[0]), 0, 1)
    keep = opacity > 0.02
    if keep.sum() > MAX_GAUSSIANS:
        keep &= opacity >= np.sort(opacity)[-MAX_GAUSSIANS]
    order = np.flatnonzero(keep)
    order = order[np.argsort(start.binding.triangles[order], kind="stable")]
    binding = Binding(start.binding.triangles[order], offsets[order], quats[order], scales[order])
    return Avatar(
        person.name,
        who.person.head.head_id,
        who.person.betas,
        binding,
        opacity[order],
        harmonics[order],
        about,
        thumbnail,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(PEOPLE))
    parser.add_argument("--cache", type=Path, default=Path("out/avatars"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", type=Path, help="the .loq file; core/data/NAME.loq unless given")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    person = PEOPLE[arguments.name]
    who = sitter.invite(person, arguments.cache)
    look = stage.dress(person, who)
    begin = initial.start(who, look, person.seed, hair_spindles=person.spindles)
    pictures = load(arguments.cache / arguments.name)
    training = [p for p in pictures if not p.shot.held]
    held = [p for p in pictures if p.shot.held]
    triangles = begin.binding.triangles
    frames = {e: frames_of(who.pose(c), who.faces, triangles) for e, c in shots.EXPRESSIONS.items()}
    rest = frames_of(who.rest, who.faces, triangles)
    model = Model(begin, rest.scales[:, 0].numpy())
    first_colours(model, training[:40], frames, arguments.threads)
    before = psnr(model, held, frames, arguments.threads)
    print(
        f"{len(triangles)} Gaussians, {len(training)} pictures, {len(held)} held out; initial PSNR {before}", flush=True
    )
    train(model, training, frames, arguments.steps, person.seed, arguments.threads, begin.group)
    after = psnr(model, held, frames, arguments.threads)
    print(f"held-out PSNR {before} -> {after}; training {psnr(model, training, frames, arguments.threads)}", flush=True)
    about = {
        "licence": "CC0-1.0",
        "provenance": "An invented person: MakeHuman shape (CC0), groomed, lit and rendered by tools/avatars with Cycles; no photograph or scan.",
        "consent": "Not a real person.",
        "made_with": "Loquent tools/avatars",
        "command": f"python -m tools.avatars {person.name}",
        "seed": person.seed,
        "pictures": len(training),
        "steps": arguments.steps,
        "held_out_psnr_db": {"initial": before, "fitted": after},
    }
    out = arguments.out or Path(__file__).parents[2] / "core" / "data" / f"{person.name}.loq"
    avatar = pack(model, begin, person, who, about, None)
    save_avatar(Avatar(**{**vars(avatar), "thumbnail": thumbnail(avatar, who.person)}), out)
    card.write(out.with_suffix(".md"), person.name, len(avatar), out.stat().st_size, about)
    print(f"{out}: {len(avatar)} Gaussians, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
