# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the prior: core/data/speech.onnx (Listener), denoiser.onnx and style.onnx.

    python -m loquent.tools.speech.train --store FOLDER --out FOLDER --steps 1500 --seed 1 [--device cuda --amp]

FOLDER is a store of train_data.py. One loop, one loss of named parts, weights averaged over the run; on one CPU thread
everything follows from --seed. tools/speech/README.md has the commands from nothing to weights.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.prior.denoiser import Denoiser, Listener, Shape, StyleEncoder
from ...core.prior.diffusion import SIGMA_MAX, SIGMA_MIN, TRAINED, precondition
from ...core.prior.mouth import MOUTH, OUTPUTS
from . import lips, train_data
from .train_export import export

N = len(MOUTH)
WEIGHT = np.array(
    [{"jawOpen": 3.0, "mouthPucker": 1.5, "mouthFunnel": 1.5, "mouthLowerDown": 1.5}.get(n, 0.7) for n in MOUTH]
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training besides its data."""

    steps: int = 1500
    seed: int = 1
    batch: int = 16  # windows a step
    frames: int = 200  # of a window: 4 s
    rate: float = 2e-3
    capture_share: float = 0.15
    context: int = 25  # frames already performed, at most
    drop_audio: float = 0.1
    drop_style: float = 0.1
    width: int = 128
    depth: int = 4
    dropout: float = 0.1
    cross_reach: int = 12
    features: bool = True  # False: log-mel alone (ablation)
    pace: float = 2.0
    lip: float = 1.0
    gap: float = 0.3
    state: float = 1.0
    diffusion: float = 1.0  # 0: the regression alone (ablation)

    @property
    def shape(self) -> Shape:
        return Shape(width=self.width, depth=self.depth, dropout=self.dropout, cross_reach=self.cross_reach)


class Networks(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.listener, self.denoiser, self.style = Listener(shape), Denoiser(shape), StyleEncoder()


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum() / weight.expand_as(x).sum().clamp(min=1)


def _huber(x: Tensor, delta: float) -> Tensor:
    return functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=delta) / delta


def losses(
    nets: Networks, b: dict[str, Tensor], recipe: Recipe, jaws: lips.Lips, rng: torch.Generator
) -> dict[str, Tensor]:
    """Named parts of the loss on one batch; each is a mean over what may teach, in units where 1 is a bad start."""
    listener, count, frames = nets.listener, len(b["curves"]), recipe.frames
    device = b["curves"].device

    def chance(*size: int) -> Tensor:
        return torch.rand(*size, generator=rng).to(device)

    style = nets.style(b["style"]) * (chance(count, 1) >= recipe.drop_style)
    features = b["features"] if recipe.features else b["features"] * 0
    tokens, mean, states = listener(features, b["mel"], style)
    mean, states = mean.float(), states.float()
    taught = b["taught"][:, None] * b["seen"][..., None]  # (B, L, 20)
    weight = taught[..., :N] * torch.as_tensor(WEIGHT, dtype=torch.float32, device=device)
    truth = b["curves"][..., :N] / listener.scale
    whole = (taught[..., 0] * taught[..., -3])[..., None]  # whose every channel and state is known
    parts: dict[str, Tensor] = {}

    def motion_losses(name: str, found: Tensor, weight: Tensor, by: Tensor | float) -> None:
        """Value, pace and lips of a clean motion in scaled units; errors are divided by `by` (B, 1, 1)."""
        error = (found - truth) / by
        parts[name] = _mean(_huber(error, 1.0), weight)
        parts[name + "_pace"] = recipe.pace * _mean(
            _huber(error.diff(dim=1), 0.5), weight[:, 1:] * weight[:, :-1].sign()
        )
        apart = jaws.positions(found * listener.scale) - jaws.positions(b["curves"][..., :N])
        close = (weight[..., :1] > 0).float() * whole.clamp(min=0.3)
        parts[name + "_lips"] = recipe.lip * _mean(_huber(apart / by, 1.0), close)

    motion_losses("mean", mean, weight, 1.0)
    mask = taught[..., N:].repeat_interleave(2, 1)
    entropy = functional.binary_cross_entropy_with_logits(states, b["states"].clamp(0, 1), reduction="none")
    parts["states"] = recipe.state * _mean(entropy, mask * torch.tensor([3.0, 2.0, 1.0], device=device))
    # closure: the gap that remains between the lips once the states have shut them, against the true one
    shut = states[..., 0].sigmoid().unflatten(1, (frames, 2))[:, :, 0]
    gap = jaws.gap(mean * listener.scale).clamp(min=0) * (1 - shut)
    true = jaws.gap(b["curves"][..., :N]).clamp(min=0) * (1 - b["states"][:, ::2, 0])
    parts["gap"] = recipe.gap * _mean(_huber(gap - true, 1.0), whole[..., 0] * (1 - b["states"][:, ::2, 2]))
    if not recipe.diffusion:
        return parts
    average = mean.detach()
    rest = torch.where(
        taught[..., :N] > 0, truth - average, torch.zeros_like(truth)
    )  # what nobody taught: the regression's
    spread = torch.randn(count, generator=rng).to(device) * TRAINED[1] + TRAINED[0]
    sigma = spread.exp().clamp(SIGMA_MIN, SIGMA_MAX)[:, None, None]
    skip, out, into, number = precondition(sigma)
    noise = torch.randn(rest.shape, generator=rng).to(device)
    length = (chance(count) * 1.25 * recipe.context).long().clamp(max=recipe.context) * (chance(count) > 0.15)
    known = (torch.arange(frames, device=device)[None] < length[:, None]).float()[..., None]
    before = rest + 0.1 * chance(count, 1, 1) * torch.randn(rest.shape, generator=rng).to(device)
    heard = (chance(count) >= recipe.drop_audio).float()
    raw = nets.denoiser(into * (rest + sigma * noise), number[:, 0, 0], tokens, style, before, known, heard).float()
    clean = average + skip * (rest + sigma * noise) + out * raw
    motion_losses("clean", clean, weight * (1 - known), out.clamp(min=0.05) / 0.5)
    for name in ("clean", "clean_pace", "clean_lips"):
        parts[name] = recipe.diffusion * parts[name]
    return parts


def prepare(nets: Networks, store: train_data.Store) -> None:
    """Sets the scales from the data: features to unit deviation, channels to about one root mean square."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(store.index), min(400, len(store.index)), replace=False)
    some = np.concatenate([store.clip(i)["features"][::5].astype(np.float32) for i in chosen])
    nets.listener.feature_mean.copy_(torch.from_numpy(some.mean(0)))
    nets.listener.feature_scale.copy_(torch.from_numpy(1 / (some.std(0) + 1e-3)))
    taught = np.array([store.index[i]["taught"] for i in chosen])
    squares, counts = np.zeros(len(OUTPUTS)), np.zeros(len(OUTPUTS))
    for k, i in enumerate(chosen):
        curves = store.clip(i)["curves"].astype(np.float32)
        squares += taught[k] * np.square(curves).sum(0)
        counts += taught[k] * len(curves)
    scale = np.sqrt(squares / np.maximum(counts, 1))[:N]
    nets.listener.scale.copy_(torch.from_numpy(np.clip(scale, 0.04, 0.3)).float())


def train(
    store: train_data.Store, recipe: Recipe, *, device: str = "cpu", amp: bool = False, start: dict | None = None,
    report: Callable[[str], None] = print, every: int = 50,
) -> Networks:  # fmt: skip
    """Networks that learned `recipe.steps` batches; deterministic in the seed on one CPU thread."""
    torch.manual_seed(recipe.seed)
    rng, chances = np.random.default_rng(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    nets = Networks(recipe.shape)
    prepare(nets, store)
    if start:
        nets.load_state_dict(start)
    nets.to(device).train()
    fitted = lips.fitted()
    jaws = lips.Lips(fitted.vertices.to(device), fitted.gaps.to(device))
    batches = train_data.Batches(store, recipe.frames, recipe.capture_share)
    optimiser = torch.optim.AdamW(nets.parameters(), recipe.rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.08)
    average, running, began = [p.detach().clone() for p in nets.parameters()], {}, time.process_time()
    for step in range(recipe.steps):
        drawn = batches.draw(recipe.batch, rng)
        b = {name: torch.from_numpy(array).to(device) for name, array in vars(drawn).items()}
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=amp):
            parts = losses(nets, b, recipe, jaws, chances)
        total = torch.stack(list(parts.values())).sum()
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        keep = min(0.995, step / (step + 10))
        for mean, p in zip(average, nets.parameters(), strict=True):
            mean.lerp_(p.detach(), 1 - keep)
        for name, value in (*parts.items(), ("total", total)):
            running[name] = 0.97 * running.get(name, float(value.detach())) + 0.03 * float(value.detach())
        if step % every == every - 1 or step == recipe.steps - 1:
            seconds = time.process_time() - began
            report(f"step {step + 1} {seconds:.0f}s " + " ".join(f"{k} {v:.4f}" for k, v in running.items()))
    for mean, p in zip(average, nets.parameters(), strict=True):
        p.data.copy_(mean)
    nets.cpu().eval()
    if not recipe.features:  # what a constant input gives, so that the export ignores the features as the training did
        into, heard = nets.listener.from_features, nets.listener
        with torch.no_grad():
            into.bias += into.weight @ (-heard.feature_mean * heard.feature_scale).clamp(-6, 6)
            into.weight.zero_()
    return nets


def named_styles(nets: Networks, store: train_data.Store) -> dict[str, np.ndarray]:
    """ "articulated": table 0 of the phone-derived curves (their mean, where there is none); "captured": the actors' mean."""
    numbers = train_data.speaker_styles(store)
    by_source = [
        sorted({a["speaker"] for a in store.index if a["source"] == source and a["speaker"]}) for source in (0, 1)
    ]
    if "table 0" in by_source[0]:
        by_source[0] = ["table 0"]
    styles: dict[str, np.ndarray] = {}
    for name, speakers in zip(("articulated", "captured"), by_source, strict=True):
        if speakers:
            with torch.no_grad():
                styles[name] = nets.style(torch.from_numpy(np.stack([numbers[s] for s in speakers]))).numpy().mean(0)
    return styles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the .onnx files, weights and log")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …")
    parser.add_argument("--amp", action="store_true", help="bfloat16 where it is safe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="go on from a run's weights.pt")
    parser.add_argument("--without-captures", action="store_true")
    defaults = Recipe()
    for name, value in asdict(defaults).items():
        kind = (lambda text: text not in ("0", "False")) if isinstance(value, bool) else type(value)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = replace(defaults, **{name: getattr(arguments, name) for name in asdict(defaults)})
    store = train_data.opened(arguments.store)
    if arguments.without_captures:
        store = store.only(i for i, a in enumerate(store.index) if a["source"] != 1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = (arguments.out / "log.txt").open("w", encoding="utf8")

    def report(line: str) -> None:
        print(line, flush=True)
        print(line, file=log, flush=True)

    report(f"{len(store.index)} hearings: {store.minutes(0):.1f} minutes synthetic, {store.minutes(1):.1f} captured")
    start = torch.load(arguments.start, weights_only=True) if arguments.start else None
    nets = train(store, recipe, device=arguments.device, amp=arguments.amp, start=start, report=report)
    torch.save(nets.state_dict(), arguments.out / "weights.pt")
    (arguments.out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n", "utf8")
    export(nets, named_styles(nets, store), arguments.out)


if __name__ == "__main__":
    main()
