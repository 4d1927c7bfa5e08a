# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads from one picture of made-up people, of whom all sides are known: which start is right about what the picture hides?

    python -m loquent.tools.heads.photo_truth PEOPLE [--count N] [--json FILE] [--sheet PNG]

PEOPLE is a folder of tools/people. Every method gets the same most frontal picture with its true matte, camera, identity and
expression, so that neither tracking nor cutting out is measured. Other pictures of the same people, in other expressions,
judge, in visual_bench's regions. Methods: `projected`, the picture on the start map; `prior`, the visual prior, and refined;
`painted`, a head from a photo without the prior, `shipped`, with the prior's word for hidden skin and clothes, both before and
after refinement.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loquent.core.adapt.complexion import complexion
from loquent.core.adapt.photo import Fitted, PhotoOptions, avatar_of, refined, start_of
from loquent.core.adapt.picture import Picture
from loquent.core.adapt.shot import shot_of
from loquent.core.capture.embedding import load_embedding
from loquent.core.capture.track import Track
from loquent.core.head.head import Head, identity
from loquent.core.head.motion import Motion
from loquent.core.prior.visual.generator import Switches, load_generator, new_generator
from loquent.core.prior.visual.train import View, yaw_of
from loquent.core.splats.avatar import Avatar, performer, pose
from loquent.core.splats.rasterize import rasterize

from .photo_bench import CONSENT, by_map, loosened
from .visual_bench import Case, case_of, drawn_by, measure, on_grey, printed, repeated

SIDE = 128
"""Pixels of a picture in the sheet."""


def fitted_of(case: Case, source: int, head: Head) -> Fitted:
    """What fit_photo would say if it made no mistake."""
    person, view = case.person, case.source
    mine = identity(head, person.betas)
    camera = view.camera
    points = load_embedding(head).of(view.vertices)
    at = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    marks = (at[:, :2] / at[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]).astype(np.float32)
    light = view.colour / np.maximum(view.matte, 0.05)[..., None]
    shot = shot_of(light, view.matte, camera, view.vertices, head, marks)
    track = Track(
        person.betas, camera, Motion(25.0, person.values[source : source + 1]), np.ones(1, np.float32), marks[None],
        head.head_id,
    )  # fmt: skip
    return Fitted(Picture("made up", person.images[source]), track, mine, shot, complexion(shot), ())


def source_of(case: Case) -> int:
    """The number of the picture that case_of chose."""
    return int(np.argmin(np.abs([yaw_of(case.person, k) for k in range(len(case.person.images))])))


def pictures(avatar: Avatar, views: tuple[View, ...], case: Case) -> list[np.ndarray]:
    """(H, W, 3) sRGB over grey of an avatar in a case's views."""
    person, out = performer(avatar), []
    for view in views:
        number = next(k for k, c in enumerate(case.person.cameras) if c is view.camera)
        layers = rasterize(pose(person, case.person.values[number]), view.camera)
        out.append(on_grey(layers.colour, layers.alpha))
    return out


class Heads:
    """Every method's head of a case, made once."""

    def __init__(self, generator, threads: int) -> None:
        self.generator, self.options = generator, PhotoOptions("truth", CONSENT, threads=threads)
        self.case: Case | None = None
        self.made: dict[str, Avatar] = {}

    def of(self, case: Case, name: str) -> Avatar:
        if case is not self.case:
            self.case, self.made = case, self._make(case)
        return self.made[name]

    def _make(self, case: Case) -> dict[str, Avatar]:
        head = self.generator.canvas.head
        fitted = fitted_of(case, source_of(case), head)
        quiet: Callable = lambda stage, fraction, image: None  # noqa: E731
        heads = {"prior": by_map(fitted, self.generator)}
        loose = loosened(heads["prior"], fitted)
        heads["prior, refined"] = avatar_of(refined(loose, fitted, fitted.shot, self.options, quiet), fitted, "p", {})
        for name, prior in (("painted", False), ("shipped", True)):
            start, shot = start_of(fitted, self.options.seed, prior)
            heads[name] = avatar_of(start, fitted, name, {})
            finished = refined(start, fitted, shot, self.options, quiet)
            heads[f"{name}, refined"] = avatar_of(finished, fitted, name, {})
        return heads

    def drawn(self, name: str) -> Callable[[Case], list[np.ndarray]]:
        return lambda case: pictures(self.of(case, name), case.views, case)


NAMES = ("prior", "prior, refined", "painted", "painted, refined", "shipped", "shipped, refined")


def methods_of(heads: Heads) -> dict[str, Callable[[Case], list[np.ndarray]]]:
    plain = new_generator(heads.generator.canvas.size)
    plain.trust_mirror()
    return {
        "the source picture again": repeated,
        "projected": drawn_by(plain, Switches(symmetry=False), dense=False),
        "projected and mirrored": drawn_by(plain, dense=False),
        **{name: heads.drawn(name) for name in NAMES},
    }


def sheet(cases: list[Case], heads: Heads, target: Path) -> None:
    """A row a method for each case: the source, then its views; truth first."""
    rows = []
    for case in cases:
        first = on_grey(case.source.colour, case.source.matte)
        rows.append([first, *(on_grey(v.colour, v.matte) for v in case.views)])
        for name in NAMES:
            views = (case.source, *case.views)
            rows.append(pictures(heads.of(case, name), views, replace(case, views=views)))
    across = max(len(row) for row in rows)
    blank = np.full_like(rows[0][0], 0.5)
    tiles = [np.concatenate([_small(p) for p in (*row, *[blank] * (across - len(row)))], 1) for row in rows]
    Image.fromarray(np.concatenate(tiles)).save(target)


def _small(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--count", type=int, default=8, help="people who have a frontal picture")
    parser.add_argument("--threads", type=int, default=0, help="0 is one a CPU")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    generator = load_generator()
    cases: list[Case] = []
    for path in sorted(given.people.glob("*.npz")):
        case = case_of(path, generator)
        if case is not None and case.views:
            cases.append(case)
        if len(cases) == given.count:
            break
    heads = Heads(generator, given.threads)
    if given.sheet:
        sheet(cases, heads, given.sheet)
        return
    table = measure(methods_of(heads), cases)
    print(
        f"{len(cases)} people, {sum(len(c.views) for c in cases)} pictures; PSNR dB / SSIM / LPIPS\n\n{printed(table)}"
    )
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    main()
