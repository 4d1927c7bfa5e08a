# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic people: the seed decides all bytes, files hold what they promise, and pictures agree with shape, pose and camera."""

import json
from functools import cache

import numpy as np
import pytest

pytest.importorskip("scipy", reason="people are made with scipy")

from loquent.core.geometry.cameras import Camera
from loquent.core.head.head import load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats import native
from loquent.core.splats.holdout import mesh_depth
from loquent.tools.people import acting, make, person, recipe

pytestmark = pytest.mark.skipif(native.library() is None, reason="numpy alone takes minutes to draw a person")

SIZE, VIEWS = 64, 3


@cache
def first() -> dict[str, np.ndarray]:
    return make.record("train", 0, SIZE, VIEWS)


@cache
def bald() -> person.Person:
    head = load_head()
    number = next(i for i in range(200) if recipe.sample(head, "train", i).style == "bald")
    return person.build("train", number)


def outline(someone: person.Person, values: np.ndarray, camera: Camera) -> tuple[np.ndarray, int]:
    """(H, W) bool: what the head's mesh covers, and the row of the chin (cloth stands off the mesh, so it does not count)."""
    vertices = pose_vertices(someone.body.shape, values)
    chin = camera.K @ (camera.world_to_camera @ np.append(vertices[load_head().landmarks["lip_lower_middle"]], 1))[:3]
    return np.isfinite(mesh_depth([(vertices, load_head().faces)], camera)), int(chin[1] / chin[2])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_the_same_number_and_seed_give_the_same_bytes(tmp_path):
    make.save(tmp_path / "00000.npz", first())
    make.save(tmp_path / "again.npz", make.record("train", 0, SIZE, VIEWS))
    assert (tmp_path / "00000.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000.npz", "again.npz"]  # nothing half written is left


def test_people_of_all_splits_and_seeds_are_different():
    head = load_head()
    betas = np.stack(
        [recipe.sample(head, split, i, seed).betas for split in recipe.SPLITS for i in range(8) for seed in (0, 1)]
    )
    apart = np.linalg.norm(betas[:, None] - betas[None], axis=2) + 100 * np.eye(len(betas))
    assert apart.min() > 3


def test_recipes_vary_in_everything_people_differ_in():
    head = load_head()
    many = [recipe.sample(head, "train", i) for i in range(300)]
    assert {r.style for r in many} == set(recipe.STYLES)
    assert {r.beard for r in many} == set(recipe.BEARDS)
    assert {r.collar for r in many} == set(recipe.COLLARS)
    assert not any(r.beard != "none" for r in many if r.woman)
    for low, high, values in (
        (0.1, 0.8, [r.melanin for r in many]),
        (0.1, 0.8, [r.age for r in many]),
        (60, 235, [r.palette.skin[0] for r in many]),
    ):
        assert min(values) < low * 1.5 and max(values) > high * 0.9


def test_a_file_holds_what_training_reads():
    file = first()
    assert {n: (a.shape, a.dtype.str) for n, a in file.items() if n != "tags"} == {
        "images": ((VIEWS, SIZE, SIZE, 3), "|u1"),
        "matte": ((VIEWS, SIZE, SIZE), "|u1"),
        "K": ((VIEWS, 3, 3), "<f4"),
        "world_to_camera": ((VIEWS, 4, 4), "<f4"),
        "values": ((VIEWS, len(CHANNELS)), "<f4"),
        "betas": ((100,), "<f4"),
    }
    tags = json.loads(str(file["tags"]))
    assert {"style", "beard", "melanin", "light", "split", "index", "skin", "glasses"} <= set(tags)
    assert (file["images"][file["matte"] == 0] == 0).all()  # premultiplied: nothing where nobody is
    covered = file["matte"] > 250
    assert 0.2 < covered.mean() < 0.9
    assert file["images"][covered].mean() > 30


def test_making_goes_on_where_it_stopped(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(make, "record", lambda split, index, *_: made.append(index) or first())
    arguments = [str(tmp_path), "--split", "held", "--count", "3"]
    monkeypatch.setattr("sys.argv", ["make", *arguments])
    make.main()
    (tmp_path / "held" / "00001.npz").unlink()
    make.main()
    assert made == [0, 1, 2, 1]
    assert sorted(p.name for p in (tmp_path / "held").iterdir()) == ["00000.npz", "00001.npz", "00002.npz"]


def test_heroes_are_numbered_from_the_first_that_was_asked_for_and_go_on(tmp_path, monkeypatch):
    pytest.importorskip("bpy", reason="heroes are drawn by Cycles")
    from loquent.tools.people import hero

    made = []
    monkeypatch.setattr(hero, "record", lambda split, index, views, *_: made.append((split, index, views)) or first())
    arguments = [str(tmp_path), "--split", "hero_train", "--first", "30", "--people", "2", "--views", "6"]
    monkeypatch.setattr("sys.argv", ["hero", *arguments])
    hero.main()
    (tmp_path / "00030.npz").unlink()
    hero.main()
    assert made == [("hero_train", 30, 6), ("hero_train", 31, 6), ("hero_train", 30, 6)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00030.npz", "00031.npz"]


@pytest.mark.parametrize("yaw", [-60.0, 5.0, 45.0])
def test_mattes_cover_what_the_posed_mesh_covers(yaw):
    rng = np.random.default_rng(int(yaw + 100))
    values, camera = acting.expression(rng, "speech"), acting.camera(rng, yaw, 5, 256)
    values[INDEX["headYaw"]] = 0.15
    _, matte = person.draw(bald(), values, camera)
    mesh, chin = outline(bald(), values, camera)
    assert overlap(matte[:chin] > 0.5, mesh[:chin]) > 0.97
    values[INDEX["headYaw"]] = -0.25
    assert overlap(matte[:chin] > 0.5, outline(bald(), values, camera)[0][:chin]) < 0.95


def test_light_comes_from_where_the_recipe_says():
    """Left and right cheeks swap brightness when the light is mirrored."""
    someone = bald()
    points = someone.body.points
    cheek = (
        (points.group == 0) & (np.abs(np.abs(points.mean[:, 0]) - 0.04) < 0.012) & (np.abs(points.mean[:, 1]) < 0.02)
    )
    cheek &= points.mean[:, 2] > 0.05
    left = points.mean[cheek, 0] > 0
    camera = acting.camera(np.random.default_rng(0), 0, 0, 64)
    rest = np.zeros(len(CHANNELS), np.float32)
    ratios = []
    for turn in (1.0, -1.0):
        lamp = someone.light
        radiance = 0.02 + 0.1 * np.clip(turn * lamp.directions[:, :1], 0, 1) * np.ones((1, 3))
        lit = person.lit(
            person.replace(
                someone,
                light=person.replace(lamp, radiance=radiance.astype(np.float32), key_colour=np.zeros(3, np.float32)),
            ),
            rest,
            camera,
        )
        level = lit.harmonics[: len(points)][cheek].mean(1)
        ratios.append(level[left].mean() / level[~left].mean())
    assert ratios[0] > 1.3 and ratios[1] < 1 / 1.3
