# SPDX-License-Identifier: GPL-3.0-or-later
"""The visual prior on people it has not seen, at 0, 30 and 60 degrees, beside baselines and ablations.

    python -m loquent.tools.heads.visual_bench HELD_PEOPLE [--state RUN.state | --weights FILE] [--rows NAME=STATE ...] [--sheet PNG]

The most frontal picture of a person makes the head; the pictures of the same person, in other expressions, whose faces are
turned nearest to 0, 30 and 60 degrees (either side, at most ten degrees off) judge it. Three regions, over mid grey:
`head` is what the person's skull, face and hair cover (the mesh above the neck, a little grown, within the matte), `hidden`
the part of it whose surface the source picture does not show, `whole` the frame.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loquent.core.geometry.triangles import barycentric_points
from loquent.core.prior.visual.generator import (
    ALL,
    Generator,
    Inputs,
    Switches,
    inputs_of,
    load_generator,
    new_generator,
)
from loquent.core.prior.visual.maps import gaussians_of, start_map
from loquent.core.prior.visual.projection import Projection, project
from loquent.core.prior.visual.train import Person, Recipe, Stage, Trainer, View, read_person, view_of, yaw_of
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize
from loquent.core.splats.uv_layout import VOLUME

from .metrics import lpips, psnr, ssim

ANGLES = (0, 30, 60)
REGIONS = ("head", "hidden", "whole")
GREY = 0.18


@dataclass(frozen=True)
class Case:
    """One person: source and targets with their angles, masks by region for each target."""

    person: Person
    inputs: Inputs
    source: View
    views: tuple[View, ...]
    angles: tuple[int, ...]
    masks: tuple[dict[str, np.ndarray], ...]


def encoded(linear: np.ndarray) -> np.ndarray:
    c = np.clip(linear, 0, 1)
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 1e-6) ** (1 / 2.4) - 0.055)


def on_grey(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return encoded(colour + GREY * (1 - alpha[..., None]))


def case_of(path: Path, generator: Generator, every: bool = False) -> Case | None:
    """None for a person without a frontal picture. every: all other pictures are judged, each at the nearest angle."""
    person, canvas = read_person(path), generator.canvas
    yaws = np.array([yaw_of(person, k) for k in range(len(person.images))])
    source = int(np.argmin(np.abs(yaws)))
    if abs(yaws[source]) > 12:
        return None
    chosen, angles = [], []
    if every:
        chosen = [k for k in range(len(yaws)) if k != source]
        angles = [min(ANGLES, key=lambda a, k=k: abs(abs(yaws[k]) - a)) for k in chosen]
    for angle in () if every else ANGLES:
        off = np.abs(np.abs(yaws) - angle)
        off[[source, *chosen]] = 1e9
        if off.min() <= 10:
            chosen.append(int(np.argmin(off)))
            angles.append(angle)
    view = view_of(person, source, canvas.head)
    seen = project(view.colour, view.matte, view.camera, view.vertices, canvas.layout, canvas.head)
    views = tuple(view_of(person, k, canvas.head) for k in chosen)
    masks = tuple(masks_of(v, seen, generator) for v in views)
    return Case(person, inputs_of(seen, canvas, person.betas), view, views, tuple(angles), masks)


def masks_of(view: View, seen: Projection, generator: Generator) -> dict[str, np.ndarray]:
    """(H, W) 0 or 1 for head and hidden."""
    canvas = generator.canvas
    layout, head = canvas.layout, canvas.head
    solid = layout.layer != VOLUME
    binding, opacities, harmonics = gaussians_of(start_map(head, layout), layout, head)
    points = barycentric_points(head.template, head.faces, layout.triangles, layout.bary)
    above = points[:, 1] > np.interp(points[:, 2], [-0.05, 0.05], [-0.02, -0.085])
    features = np.stack([above & solid, above & (seen.visible < 0.3) & solid], 1).astype(np.float32)
    shell = Gaussians(*carry(Binding(*(getattr(binding, n)[solid] for n in _PARTS)), view.vertices, head.faces),
                      opacities[solid], harmonics[solid])  # fmt: skip
    drawn = rasterize(shell, view.camera, features=features[solid]).features
    assert drawn is not None
    matte = view.matte > 0.5
    size = max(round(0.035 * len(matte)), 1)
    grown = torch.nn.functional.max_pool2d(torch.from_numpy(drawn[None, :, :, 0]), 2 * size + 1, 1, size)[0].numpy()
    # the collar lies right below: what is body in the mesh is body in the picture
    body = (1 - drawn[..., 0] > 0.5) & (rasterize(shell, view.camera).alpha > 0.5)
    return {"head": ((grown > 0.5) & matte & ~body).astype(np.float32),
            "hidden": ((drawn[..., 1] > 0.5) & matte).astype(np.float32), "whole": np.ones(matte.shape, np.float32)}  # fmt: skip


_PARTS = ("triangles", "offsets", "quats_wxyz", "scales")
Method = Callable[[Case], list[np.ndarray]]
"""Pictures (H, W, 3) of a case's views, sRGB over grey."""


def drawn_by(
    generator: Generator,
    switches: Switches = ALL,
    *,
    dense: bool = True,
    change: Callable[[Tensor], Tensor] | None = None,
) -> Method:
    stage = Stage(generator)

    def method(case: Case) -> list[np.ndarray]:
        with torch.no_grad():
            values = generator(case.inputs, switches)
            values = change(values) if change else values
            out = stage.draw(values, case.person.betas, case.views, dense=dense)
        return [on_grey(colour.numpy(), alpha.numpy()) for colour, alpha in out]

    return method


def repeated(case: Case) -> list[np.ndarray]:
    """The source picture itself."""
    return [on_grey(case.source.colour, case.source.matte) for _ in case.views]


def measure(methods: dict[str, Method], cases: list[Case], perceptual: bool = True) -> dict[str, dict[str, float]]:
    """Figures named region_angle_metric by method; means over people."""
    table: dict[str, dict[str, list[float]]] = {name: {} for name in methods}
    for case in cases:
        truths = [on_grey(v.colour, v.matte) for v in case.views]
        for name, method in methods.items():
            for picture, truth, angle, masks in zip(method(case), truths, case.angles, case.masks, strict=True):
                for region in REGIONS:
                    mask = masks[region]
                    if mask.sum() < 60:
                        continue
                    found = {"psnr": psnr(picture, truth, mask), "ssim": ssim(picture, truth, mask)}
                    if perceptual:
                        found["lpips"] = lpips(picture, truth, mask)
                    for metric, value in found.items():
                        table[name].setdefault(f"{region}_{angle}_{metric}", []).append(value)
    return {name: {key: float(np.mean(values)) for key, values in row.items()} for name, row in table.items()}


def printed(table: dict[str, dict[str, float]]) -> str:
    """Markdown: a row a method, PSNR / SSIM / LPIPS by region and angle."""
    lines = []
    for region in REGIONS:
        angles = [a for a in ANGLES if any(f"{region}_{a}_psnr" in row for row in table.values())]
        lines += [
            f"| {region} | " + " | ".join(f"{'±' if a else ''}{a}°" for a in angles) + " |",
            "|---" * (len(angles) + 1) + "|",
        ]
        for name, row in table.items():
            cells = [
                f"{row[f'{region}_{a}_psnr']:.2f} / {row[f'{region}_{a}_ssim']:.3f} / {row.get(f'{region}_{a}_lpips', np.nan):.3f}"
                for a in angles
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def opened(path: Path | None, size: int, state: bool) -> Generator:
    """Weights of a training's state or of a shipped file."""
    if path is None or not state:
        return load_generator(path, size)
    blank = new_generator(size)
    trainer = Trainer(blank, Recipe())
    trainer.load(path)
    return trainer.averaged()


def sheet(generator: Generator, paths: list[Path], target: Path, side: int = 128) -> None:
    """A row of predictions over a row of truths for each person: source, then from -60 to 60 degrees."""
    stage, rows = Stage(generator), []
    for path in paths:
        person, head = read_person(path), generator.canvas.head
        yaws = np.array([yaw_of(person, k) for k in range(len(person.images))])
        source = int(np.argmin(np.abs(yaws)))
        left = [k for k in range(len(yaws)) if k != source]
        chosen = [min(left, key=lambda k, a=a: abs(yaws[k] - a)) for a in (-60, -30, 0, 30, 60)]
        views = [view_of(person, k, head) for k in (source, *chosen)]
        with torch.no_grad():
            seen = project(
                views[0].colour, views[0].matte, views[0].camera, views[0].vertices, generator.canvas.layout, head
            )
            values = generator(inputs_of(seen, generator.canvas, person.betas))
            out = stage.draw(values, person.betas, views[1:])
        made = [on_grey(c.numpy(), a.numpy()) for c, a in out]
        truth = [on_grey(v.colour, v.matte) for v in views]
        rows += [np.concatenate([truth[0], *made], 1), np.concatenate([np.full_like(truth[0], 1.0), *truth[1:]], 1)]
    picture = Image.fromarray((np.concatenate(rows, 0) * 255 + 0.5).astype(np.uint8))
    width = 6 * side
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(220).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--weights", type=Path, help="core/data/visual.safetensors unless given")
    parser.add_argument("--state", action="store_true", help="--weights is a training's state")
    parser.add_argument(
        "--rows", nargs="*", default=[], help="NAME=STATE[:switch,switch]: trained ablations, switches off"
    )
    parser.add_argument("--only-rows", action="store_true", help="no baselines and no switches")
    parser.add_argument("--no-switches", action="store_true", help="no rows with a part switched off")
    parser.add_argument("--every", action="store_true", help="all pictures but the source, for people with few of them")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--sheet-people", type=int, default=4)
    parser.add_argument("--no-perceptual", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(arguments.people.glob("*.npz"))[: arguments.count]
    generator = opened(arguments.weights, arguments.size, arguments.state)
    if arguments.sheet:
        sheet(generator, files[: arguments.sheet_people], arguments.sheet)
        return
    cases = [case for path in files if (case := case_of(path, generator, arguments.every))]
    plain = new_generator(arguments.size)
    plain.trust_mirror()
    methods: dict[str, Method] = {}
    if not arguments.only_rows:
        methods = {
            "the source picture again": repeated,
            "projected texture, not mirrored": drawn_by(plain, Switches(symmetry=False), dense=False),
            "projected and mirrored texture": drawn_by(plain, dense=False),
            "full": drawn_by(generator),
        }
    if not (arguments.only_rows or arguments.no_switches):
        methods["no filter (switch)"] = drawn_by(generator, Switches(filter=False))
        methods["no densification (switch)"] = drawn_by(generator, dense=False)
    for row in arguments.rows:
        name, _, rest = row.partition("=")
        path, _, off = rest.partition(":")
        switches = {key: False for key in off.split(",") if key and key != "dense"}
        methods[name] = drawn_by(
            opened(Path(path), arguments.size, True), Switches(**switches), dense="dense" not in off.split(",")
        )
    table = measure(methods, cases, not arguments.no_perceptual)
    print(
        f"{len(cases)} people, {sum(len(c.views) for c in cases)} pictures; PSNR dB / SSIM / LPIPS\n\n{printed(table)}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    main()
