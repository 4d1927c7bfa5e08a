# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from loquent.core import checkpoint
from loquent.core.errors import FormatError
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.splats.avatar import builtin_avatars, harmonics_of, load_avatar, performer, pose, save_avatar
from loquent.core.splats.colour_network import ColourNetwork


def network(count, rng, basis=5, rows=None):
    low, high = np.zeros(len(CHANNELS), np.float32), np.zeros(len(CHANNELS), np.float32)
    high[INDEX["jawOpen"]], low[INDEX["headYaw"]], high[INDEX["headYaw"]] = 0.6, -0.3, 0.2
    rows = np.arange(count, dtype=np.int32) if rows is None else rows
    sizes = (len(CHANNELS), 16, basis)
    matrices = tuple(rng.normal(0, 0.5, (a, b)).astype(np.float32) for a, b in pairwise(sizes))
    biases = tuple(rng.normal(0, 0.1, b).astype(np.float32) for b in sizes[1:])
    field = rng.normal(0, 0.3, (basis, len(rows), 3)).astype(np.float16).astype(np.float32)
    return ColourNetwork(low, high, matrices, biases, rows, field)


def values_of(**channels):
    values = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        values[INDEX[name]] = value
    return values


def test_colours_are_the_base_plus_the_weighted_basis():
    rng = np.random.default_rng(0)
    net = network(50, rng, rows=np.array([3, 7, 30], np.int32))
    base = rng.normal(size=(50, 4, 3)).astype(np.float32)
    values = values_of(jawOpen=0.4, headYaw=-0.1)
    got = net.harmonics(base, values)
    want = base.copy()
    for k, weight in enumerate(net.weights(values)):
        want[net.rows, 0] += weight * net.basis[k]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert np.array_equal(np.delete(got, net.rows, 0), np.delete(base, net.rows, 0))


def test_poses_beyond_the_film_count_as_its_extremes_and_what_it_never_moved_as_nothing():
    net = network(20, np.random.default_rng(1))
    seen = net.weights(values_of(jawOpen=0.6, headYaw=0.2))
    assert np.array_equal(net.weights(values_of(jawOpen=3, headYaw=1.4)), seen)
    assert np.array_equal(net.weights(values_of(jawOpen=0.6, headYaw=0.2, tongueOut=1, headX=5)), seen)
    assert not np.array_equal(net.weights(values_of(jawOpen=0.1)), seen)


def test_an_avatar_keeps_its_colours_in_its_file_and_shows_them_when_posed(tmp_path):
    avatar = load_avatar(builtin_avatars()["ada"])
    net = network(len(avatar), np.random.default_rng(2), rows=np.arange(0, len(avatar), 3, dtype=np.int32))
    save_avatar(replace(avatar, colour=net), tmp_path / "a.loq")
    found = load_avatar(tmp_path / "a.loq")
    assert found.colour is not None
    values = values_of(jawOpen=0.5)
    want = net.harmonics(avatar.harmonics, values)
    np.testing.assert_allclose(pose(performer(found), values).harmonics, want, atol=1e-6)
    assert harmonics_of(avatar, values) is avatar.harmonics


def test_a_choice_of_gaussians_keeps_each_ones_colours():
    rng = np.random.default_rng(3)
    net = network(40, rng, rows=np.arange(5, 35, 2, dtype=np.int32))
    base, which, values = (
        rng.normal(size=(40, 1, 3)).astype(np.float32),
        rng.permutation(40)[:25],
        values_of(jawOpen=0.2),
    )
    some = net.of(which)
    np.testing.assert_allclose(some.harmonics(base[which], values), net.harmonics(base, values)[which], atol=1e-6)


@pytest.mark.parametrize(
    "fault", ["colour_rows", "colour_basis", "colour_matrix1", "colour_low"],
)  # fmt: skip
def test_a_damaged_colour_network_is_refused(tmp_path, fault):
    avatar = load_avatar(builtin_avatars()["ada"])
    save_avatar(replace(avatar, colour=network(len(avatar), np.random.default_rng(4))), tmp_path / "a.loq")
    arrays, header = checkpoint.read(tmp_path / "a.loq", format="Loquent avatar", version=1)
    for changed in (
        None,
        arrays[fault][..., :-1],
        arrays[fault] + 100_000 if fault == "colour_rows" else arrays[fault][:-1],
    ):
        other = {name: array for name, array in arrays.items() if name != fault}
        checkpoint.write(tmp_path / "b.loq", other if changed is None else other | {fault: changed}, header)
        with pytest.raises(FormatError, match="colour network"):
            load_avatar(tmp_path / "b.loq")
