# SPDX-License-Identifier: GPL-3.0-or-later
"""The visual prior trained on an NVIDIA card: python3 tools/gpu/train_visual.py PEOPLE --out FOLDER [--wheels FOLDER] [--device cpu].

The same core/prior/visual/train.py as on a processor, with wider networks, larger maps and more pictures judged a step; drawn
by gsplat (core/splats/cuda.py). Goes on where FOLDER/run.state stopped. Afterwards one prediction is held against the same
weights on the processor. `--device cpu` rehearses all of it.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from check import install


def parity(trainer, files: list[Path], device: str) -> float:
    """Largest difference of a prediction between the device and the processor."""
    import copy

    import torch

    from loquent.core.prior.visual.train import read_person, source_inputs, view_of

    person, near = read_person(files[0]), trainer.generator
    far = copy.deepcopy(near).cpu()
    view = view_of(person, 0, near.canvas.head)
    with torch.no_grad():
        a = near(source_inputs(near, view, person.betas)).cpu()
        b = far(source_inputs(far, view, person.betas))
    return float((a - b)[:, :13].abs().quantile(0.999))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, nargs="+", help="folders of NNNNN.npz made by tools/people")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--wheels", type=Path, help="wheels of what this Python lacks: gsplat and what it imports")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--minutes", type=float, default=0, help="end after so many; a later call goes on")
    parser.add_argument("--widths", type=int, nargs="+")
    parser.add_argument("--size", type=int)
    parser.add_argument("--targets", type=int)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    report: dict = install(arguments.wheels, Path(tempfile.mkdtemp()))
    import torch

    from loquent.core.prior.visual.generator import WEIGHTS, new_generator, save_generator, shape_of
    from loquent.core.prior.visual.train import Recipe, Trainer, train
    from loquent.tools.heads.train_visual import perceptual

    cuda = arguments.device.startswith("cuda")
    widths = tuple(arguments.widths or ((64, 96, 144, 192) if cuda else (16, 24)))
    generator = new_generator(arguments.size or (192 if cuda else 64), widths, arguments.seed).to(arguments.device)
    recipe = Recipe(
        steps=arguments.steps, targets=arguments.targets or (6 if cuda else 1), rate=5e-4, seed=arguments.seed
    )
    judge = perceptual()
    trainer = Trainer(generator, recipe, None if judge is None else judge.to(arguments.device))  # pyright: ignore
    arguments.out.mkdir(parents=True, exist_ok=True)
    state = arguments.out / "run.state"
    if state.exists():
        trainer.load(state)
    files = sorted(f for folder in arguments.people for f in folder.glob("*.npz"))
    begin, first = time.perf_counter(), trainer.step
    deadline = time.time() + 60 * arguments.minutes if arguments.minutes else float("inf")
    losses = train(trainer, files, state=state, report=lambda line: print(line, flush=True), deadline=deadline)
    seconds = time.perf_counter() - begin
    report |= {
        "device": torch.cuda.get_device_name() if cuda else "cpu", "torch": torch.__version__, "people": len(files),
        "recipe": asdict(recipe), "shape": shape_of(generator), "seconds_per_step": seconds / max(trainer.step - first, 1),
        "first_loss": losses[0] if losses else None, "last_loss": losses[-1] if losses else None,
        "device_against_cpu": parity(trainer, files, arguments.device),
    }  # fmt: skip
    about = {
        "licence": "GPL-3.0-or-later",
        "data": f"{len(files)} synthetic people",
        "steps": trainer.step,
        "seed": recipe.seed,
    }
    save_generator(trainer.averaged(), arguments.out / WEIGHTS, about)
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", "utf8")
    print(json.dumps(report, indent=1))
    return int(not report["device_against_cpu"] < (5e-2 if cuda else 1e-6))


if __name__ == "__main__":
    sys.exit(main())
