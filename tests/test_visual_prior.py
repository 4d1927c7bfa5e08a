# SPDX-License-Identifier: GPL-3.0-or-later
"""The visual prior learns end to end, its stages keep to what they may say, and a run taken up again is the same run."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from loquent.core.errors import FormatError  # noqa: E402
from loquent.core.geometry.cameras import look_at  # noqa: E402
from loquent.core.geometry.triangles import barycentric_points  # noqa: E402
from loquent.core.head.head import identity, load_head, pose_vertices  # noqa: E402
from loquent.core.head.motion import CHANNELS, INDEX  # noqa: E402
from loquent.core.prior.visual.generator import (  # noqa: E402
    ALL,
    Switches,
    densified,
    inputs_of,
    load_generator,
    new_generator,
    predict,
    save_generator,
)
from loquent.core.prior.visual.maps import COLOUR, OFFSET, OPACITY, gaussians_of, start_map  # noqa: E402
from loquent.core.prior.visual.maps_torch import carried, frames_of, local_torch, seat  # noqa: E402
from loquent.core.prior.visual.network import folded  # noqa: E402
from loquent.core.prior.visual.projection import project  # noqa: E402
from loquent.core.prior.visual.spoil import dye, spoiled  # noqa: E402
from loquent.core.prior.visual.train import Recipe, Trainer, read_person, source_inputs, train, view_of, yaw_of  # noqa: E402
from loquent.core.splats.binding import carry  # noqa: E402
from loquent.core.splats.gaussians import Gaussians  # noqa: E402
from loquent.core.splats.rasterize import rasterize  # noqa: E402
from loquent.core.splats.uv_layout import VOLUME, uv_layout  # noqa: E402

SIDE, PICTURE = 32, 64
WIDTHS = (16, 24)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two people of different colours, six pictures each, drawn from maps that the generator could make."""
    folder = tmp_path_factory.mktemp("people")
    head = load_head()
    layout = uv_layout(head, SIDE)
    torch.set_num_threads(1)
    for number in range(2):
        rng = np.random.default_rng(number)
        betas = rng.normal(size=100).astype(np.float32) * 0.5
        values = start_map(head, layout)
        values[:, COLOUR] *= rng.uniform(0.4, 1.4, 3).astype(np.float32)
        above = layout.layer == VOLUME
        values[above, OPACITY], values[above, 1] = 2.0, 0.02 / layout.pitch[above]
        binding, opacities, harmonics = gaussians_of(values, layout, head, betas)
        images, mattes, cameras, rows = [], [], [], []
        for angle in (-60, -30, 0, 30, 60, 10):
            row = np.zeros(len(CHANNELS), np.float32)
            row[INDEX["jawOpen"]] = rng.random() * 0.3
            at = np.radians(angle)
            camera = look_at((np.sin(at), 0, np.cos(at)), (0, 0, 0), fov_y=0.42, width=PICTURE, height=PICTURE)
            vertices = pose_vertices(identity(head, betas), row)
            drawn = rasterize(Gaussians(*carry(binding, vertices, head.faces), opacities, harmonics), camera)
            c = np.clip(drawn.colour, 0, 1)
            images.append(np.where(c < 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 1e-6) ** (1 / 2.4) - 0.055))
            mattes.append(drawn.alpha)
            cameras.append(camera)
            rows.append(row)
        to_bytes = lambda x: np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)  # noqa: E731
        np.savez(
            folder / f"{number:05d}.npz", images=to_bytes(np.array(images)), matte=to_bytes(np.array(mattes)),
            K=np.array([c.K for c in cameras]), world_to_camera=np.array([c.world_to_camera for c in cameras]),
            values=np.array(rows), betas=betas,
        )  # fmt: skip
    return sorted(folder.glob("*.npz"))


def trained(people, steps, **options):
    generator = new_generator(SIDE, WIDTHS)
    trainer = Trainer(generator, Recipe(steps=30, rate=3e-3, **options))
    return trainer, train(trainer, people, last=steps)


def test_a_tiny_training_lowers_its_loss_end_to_end(people):
    trainer, losses = trained(people, 30)
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6]), losses
    assert trainer.averaged().first.head.weight.abs().max() > 0


def test_a_run_taken_up_again_goes_on_as_if_it_had_never_stopped(people, tmp_path):
    straight, losses = trained(people, 6)
    first, begun = trained(people, 3)
    first.save(tmp_path / "run.state")
    second = Trainer(new_generator(SIDE, WIDTHS), first.recipe)
    second.load(tmp_path / "run.state")
    rest = train(second, people, last=6)
    assert np.allclose(begun + rest, losses, rtol=1e-4)
    for a, b in zip(straight.generator.parameters(), second.generator.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_heroes_get_their_share_of_a_round():
    from loquent.tools.heads.train_visual import mixed

    people, heroes = [f"p{i}" for i in range(60)], ["a", "b", "c"]
    files = mixed(people, heroes, 1 / 3)
    assert files[:60] == people and len(files) == 90
    assert [files.count(h) for h in heroes] == [10, 10, 10]
    assert mixed(people, [], 1 / 3) == people == mixed(people, heroes, 0)


def test_people_to_be_tested_on_are_not_trained_on(tmp_path):
    from loquent.tools.heads.train_visual import refuse_tested

    for split in ("train", "hero_train", "hero", "held"):
        np.savez(tmp_path / f"{split}.npz", tags=np.array(f'{{"split": "{split}"}}'))
    refuse_tested([tmp_path / "train.npz", tmp_path / "hero_train.npz"])
    for split in ("hero", "held"):
        with pytest.raises(SystemExit, match="testing only"):
            refuse_tested([tmp_path / f"{split}.npz"])


def test_untrained_seen_slots_show_the_picture_and_hidden_ones_its_mirror(people):
    generator = new_generator(SIDE, WIDTHS)
    generator.trust_mirror()
    person, head, layout = read_person(people[0]), generator.canvas.head, generator.canvas.layout
    view = view_of(person, 4, head)
    seen = project(view.colour, view.matte, view.camera, view.vertices, layout, head)
    made = predict(generator, seen, person.betas)
    sure = seen.visible > 0.99
    assert np.abs(made - start_map(head, layout))[:, OFFSET].max() < 1e-5
    assert np.abs(made[sure, COLOUR] - np.clip(seen.colour[sure], 0.0, 1)).max() < 2e-3
    hidden = (seen.visible < 0.01) & (seen.visible[layout.mirror] > 0.99)
    assert hidden.sum() > 50
    assert np.abs(made[hidden, COLOUR] - seen.colour[layout.mirror][hidden]).max() < 2e-3


def test_ablations_switch_off_what_they_say(people):
    trainer, _ = trained(people, 4)
    generator = trainer.generator
    person = read_person(people[0])
    x = source_inputs(generator, view_of(person, 4, generator.canvas.head), person.betas)
    with torch.no_grad():
        full = generator(x, ALL)
        flat = generator(x, Switches(depth=False))
        double = generator(x, Switches(filter=False))
        alone = generator(x, Switches(symmetry=False))
    assert torch.allclose(flat[:, OFFSET], generator.canvas.start[:, OFFSET], atol=1e-6)
    assert len(double) == 2 * len(full)
    assert not torch.allclose(alone[:, COLOUR], full[:, COLOUR])
    bounded = (full - generator.canvas.start)[:, OFFSET].norm(dim=1) * generator.canvas.pitch[:, 0]
    assert bounded[~generator.canvas.volume].max() < 0.0035 * 3**0.5 + 1e-6 and bounded.max() < 0.08


def test_the_filter_drops_hidden_hair_among_seen_gaussians(people):
    generator = new_generator(SIDE, WIDTHS)
    canvas = generator.canvas
    values = canvas.start.clone()
    hidden = torch.nonzero(canvas.volume)[0]
    other = torch.nonzero(~canvas.volume)[0]
    seen = torch.zeros(len(values), 1)
    seen[other] = 1
    # the hidden slot is put where the seen one lies
    inverse = canvas.axes[hidden[0]].T @ (canvas.points[other[0]] - canvas.points[hidden[0]])
    values[hidden, :3] = inverse / canvas.pitch[hidden]
    after = generator._filtered(values, seen)
    assert after[hidden, OPACITY] < values[hidden, OPACITY] - 10
    assert torch.equal(after[other], values[other])


def test_split_gaussians_look_the_same_and_are_smaller(people):
    head = load_head()
    layout = uv_layout(head, SIDE)
    values = start_map(head, layout)
    values[:, COLOUR] = [0.6, 0.4, 0.2]
    split, finer = densified(values, layout, largest=0.006)
    assert len(values) < len(split) == len(finer) <= 60_000
    assert np.median(np.exp(split[:, 3:6].max(1)) * finer.pitch) < np.median(
        np.exp(values[:, 3:6].max(1)) * layout.pitch
    )
    camera = look_at((0, 0, 1), (0, 0, 0), fov_y=0.42, width=PICTURE, height=PICTURE)
    pictures = []
    for v, slots in ((values, layout), (split, finer)):
        binding, opacities, harmonics = gaussians_of(v, slots, head)
        drawn = rasterize(Gaussians(*carry(binding, head.template, head.faces), opacities, harmonics), camera)
        pictures.append(drawn.colour)
    assert np.abs(pictures[0] - pictures[1]).mean() < 0.01
    few, _ = densified(values, layout, largest=0.006, most=len(values) + 10)
    assert len(few) == len(values) + 10


def test_the_torch_twin_makes_the_same_gaussians():
    head = load_head()
    layout = uv_layout(head, SIDE)
    rng = np.random.default_rng(0)
    betas = rng.normal(size=100).astype(np.float32)
    values = start_map(head, layout) + 0.3 * rng.normal(size=(len(layout), 14)).astype(np.float32)
    binding, opacities, harmonics = gaussians_of(values, layout, head, betas)
    vertices = pose_vertices(identity(head, betas), np.zeros(len(CHANNELS), np.float32))
    local = local_torch(torch.from_numpy(values), seat(layout, head, betas))
    drawn = carried(local, frames_of(vertices, head, layout))
    for a, b in zip(drawn, carry(binding, vertices, head.faces), strict=True):
        assert np.abs(a.numpy() - b).max() < 2e-5
    assert np.allclose(local[3].numpy(), opacities, atol=1e-6) and np.allclose(local[4].numpy(), harmonics, atol=1e-5)


def test_weights_keep_their_meaning_in_a_file_and_a_foreign_file_is_refused(people, tmp_path):
    trainer, _ = trained(people, 3)
    save_generator(trainer.generator, tmp_path / "g.safetensors", {"seed": 1})
    again = load_generator(tmp_path / "g.safetensors", SIDE)
    person = read_person(people[0])
    view = view_of(person, 2, again.canvas.head)
    seen = project(view.colour, view.matte, view.camera, view.vertices, again.canvas.layout, again.canvas.head)
    a, b = predict(trainer.generator, seen, person.betas), predict(again, seen, person.betas)
    assert np.abs(a - b).max() < 0.05 and np.abs(a - b)[:, COLOUR].max() < 0.01
    assert inputs_of(seen, again.canvas, person.betas).colour.shape == (len(again.canvas.layout), 3)
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="tools/people"):
        read_person(tmp_path / "no.npz")


def test_the_turn_of_a_face_is_told_from_its_camera(people):
    person = read_person(people[0])
    assert np.allclose([yaw_of(person, k) for k in range(5)], [-60, -30, 0, 30, 60], atol=5)


def test_beyond_the_maps_edge_lies_what_lies_there_on_the_head():
    head = load_head()
    layout = uv_layout(head, 128)
    points = barycentric_points(head.template, head.faces, layout.triangles, layout.bary)
    maps = torch.from_numpy(layout.to_map(np.concatenate([points, np.ones((len(points), 1))], 1).astype(np.float32)))
    around = folded(maps.permute(0, 3, 1, 2))[0]
    for inner, outer in (((slice(None, -1), 1), (slice(None, -1), 0)), ((1, slice(None)), (0, slice(None)))):
        a, b = around[:, *inner], around[:, *outer]
        there = (a[3] > 0) & (b[3] > 0) & (a[1] > -0.06)
        assert there.sum() > 20
        assert (a[:3] - b[:3])[:, there].norm(dim=0).median() < 0.012


def test_hair_that_is_not_seen_takes_on_the_hair_that_is():
    canvas = new_generator(128, WIDTHS).canvas
    points, scalp, beard = canvas.points, canvas.about[:, 0], canvas.about[:, 1]
    right = points[:, 0] < 0
    # the left half of a fair head with a red face and a green coat is seen from the front
    hair, coat = (scalp > 0.5), points[:, 1] < -0.14
    colour = torch.where(hair[:, None], torch.tensor([0.9, 0.8, 0.4]), torch.tensor([0.8, 0.2, 0.2]))
    colour = torch.where(coat[:, None], torch.tensor([0.1, 0.6, 0.1]), colour)
    seen = ((points[:, 2] > 0.03) & ~right)[:, None].float()
    assert 100 < float((seen[:, 0] * hair).sum()) < 0.2 * float(hair.sum())
    near = canvas.filled(colour * seen, seen)
    back = points[:, 2] < -0.03
    assert (near - colour)[hair & back].abs().max() < 0.1
    assert (near - colour)[coat & back].abs().max() < 0.1
    standing = canvas.volume & back & (beard < 0.3) & (points[:, 1] > -0.05)
    assert (near[standing] - torch.tensor([0.9, 0.8, 0.4])).abs().max() < 0.1


def test_what_is_told_of_the_back_of_the_head_has_no_seam():
    canvas = new_generator(128, WIDTHS).canvas
    points = canvas.points
    hair = canvas.about[:, 0] > 0.5
    # light from one side
    colour = torch.where(points[:, :1] < 0, 0.2, 0.8).expand(-1, 3)
    seen = (points[:, 2] > 0.0)[:, None].float()
    near = canvas.filled(colour * seen, seen)[:, 0]
    middle = torch.nonzero(hair & (points[:, 2] < -0.05) & (points[:, 0].abs() < 0.004))[:, 0]
    assert len(middle) > 20
    assert (near[middle] - near[canvas.mirror[middle]]).abs().max() < 0.25


def test_a_dye_is_the_same_for_all_pictures_and_a_spoilt_picture_stays_a_picture(people):
    person, head = read_person(people[0]), load_head()
    a, b = view_of(person, 2, head), view_of(person, 3, head)
    dyed = dye(np.random.default_rng(1))
    assert np.array_equal(dyed(a).colour, dye(np.random.default_rng(1))(a).colour)
    assert np.abs(dyed(a).colour - a.colour).max() > 0.02 and np.array_equal(dyed(b).matte, b.matte)
    plain = dye(np.random.default_rng(1), 0.0)(a).colour
    assert np.abs(plain - a.colour)[a.matte > 0.5].max() < 1e-5
    for number in range(8):
        worse = spoiled(a, np.random.default_rng(number))
        assert worse.colour.dtype == worse.matte.dtype == worse.vertices.dtype == np.float32
        assert worse.matte.min() >= 0 and worse.matte.max() <= 1 and np.isfinite(worse.colour).all()
        assert (worse.colour[worse.matte == 0] == 0).all()
        assert np.abs(worse.vertices - a.vertices).max() < 0.03
