# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the visual prior on synthetic people: `python -m loquent.tools.heads.train_visual FOLDER_OF_PEOPLE --state RUN.state`.

--heroes mixes in Cycles' pictures (tools/people/hero.py, split hero_train), so that they are a share of the steps.
Goes on where RUN.state stopped; --pause ends a call early, so that people made meanwhile are found by the next. --ship
writes core/data/visual.safetensors from the running mean of the weights. One thread; some 1.2 s a step at 128 texels.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from loquent.core.assets import DATA
from loquent.core.prior.visual.generator import WEIGHTS, Switches, new_generator, save_generator, shape_of
from loquent.core.prior.visual.train import Perceptual, Recipe, Trainer, train

TESTED = ("held", "hero")


def perceptual() -> Perceptual | None:
    """LPIPS with AlexNet where its weights can be had (tools/heads/lpips.py), else none."""
    try:
        from .lpips import load_lpips

        net = load_lpips()
    except Exception as error:  # a download that fails must not end a training
        print(f"without a perceptual term: {error}", flush=True)
        return None
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


def mixed(people: list[Path], heroes: list[Path], share: float) -> list[Path]:
    """One round of training: all people once, and heroes again and again until they are this share of it."""
    times = round(len(people) * share / (1 - share)) if heroes else 0
    return people + [heroes[i % len(heroes)] for i in range(times)]


def refuse_tested(files: list[Path]) -> None:
    """Ends where people are among them that the benches judge by."""
    for path in files:
        with np.load(path, allow_pickle=False) as data:
            split = json.loads(str(data["tags"]))["split"] if "tags" in data.files else "train"
        if split in TESTED:
            raise SystemExit(
                f"'{path}' is of split '{split}', which is for testing only; expected train or hero_train."
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, nargs="+", help="folders of NNNNN.npz made by tools/people")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pause", type=int, default=0, help="end this call after so many steps")
    parser.add_argument(
        "--size", type=int, default=128, help="texels a side while training; any size can use the weights"
    )
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held", type=int, default=0, help="this many people, the last ones, are left out")
    parser.add_argument("--heroes", type=Path, help="folder of NNNNN.npz made by tools/people/hero.py")
    parser.add_argument("--share", type=float, default=1 / 3, help="of the steps that heroes get")
    parser.add_argument("--hours", type=float, default=0, help="end after so many hours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=[], help="ablations: symmetry filter second depth dense")
    parser.add_argument("--no-perceptual", action="store_true")
    parser.add_argument(
        "--spoil", type=float, default=Recipe.spoil, help="how far pictures are made unlike synthetic ones"
    )
    parser.add_argument("--begin", type=Path, help="a state whose weights a new run starts from")
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    files = sorted(f for folder in arguments.people for f in folder.glob("*.npz"))
    files = files[: len(files) - arguments.held]
    if not 0 <= arguments.share < 1:
        parser.error(f"--share {arguments.share:g} is no share of steps; expected at least 0 and less than 1.")
    heroes = sorted(arguments.heroes.glob("*.npz")) if arguments.heroes else []
    if arguments.heroes and not heroes:
        parser.error(
            f"'{arguments.heroes}' holds no NNNNN.npz; make some: python -m tools.people.hero {arguments.heroes} --split hero_train"
        )
    refuse_tested(files + heroes)
    rounds = mixed(files, heroes, arguments.share)
    generator = new_generator(arguments.size, seed=arguments.seed)
    recipe = Recipe(steps=arguments.steps, rate=arguments.rate, seed=arguments.seed, spoil=arguments.spoil)
    off = {name: False for name in arguments.without if name != "dense"}
    net = None if arguments.no_perceptual else perceptual()
    trainer = Trainer(generator, recipe, net, Switches(**off), dense="dense" not in arguments.without)
    if arguments.state.exists():
        trainer.load(arguments.state)
    elif arguments.begin:
        trainer.begin_from(arguments.begin)
    deadline = time.time() + 3600 * arguments.hours if arguments.hours else float("inf")
    last = trainer.step + arguments.pause if arguments.pause else arguments.steps
    print(f"{len(files)} people, {len(heroes)} heroes, from step {trainer.step}, {shape_of(generator)}", flush=True)
    train(
        trainer,
        rounds,
        state=arguments.state,
        report=lambda line: print(line, flush=True),
        deadline=deadline,
        last=last,
    )
    if arguments.ship:
        about = {
            "licence": "GPL-3.0-or-later",
            "data": f"{len(files)} synthetic people of tools/people and {len(heroes)} by Cycles",
            "steps": trainer.step,
            "seed": recipe.seed,
            "size": arguments.size,
        }
        save_generator(trainer.averaged(), DATA / WEIGHTS, about)
        print(f"{DATA / WEIGHTS}: {(DATA / WEIGHTS).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
