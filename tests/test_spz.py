# SPDX-License-Identifier: GPL-3.0-or-later
"""SPZ files: laws of the format, hostile files, and files that another program wrote."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.errors import FormatError
from loquent.core.geometry.rotations import quat_wxyz_to_matrix
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.spz import read_spz, write_spz

FIELDS = ("means", "quats_wxyz", "scales", "opacities", "harmonics")


def some(n=40, degree=3, seed=0, size=0.1) -> Gaussians:
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(0, size, (n, 3)), rng.normal(size=(n, 4)), np.exp(rng.uniform(-9, 2, (n, 3))), rng.random(n),
        np.concatenate([rng.normal(0, 0.8, (n, 1, 3)), rng.uniform(-1, 1, (n, (degree + 1) ** 2 - 1, 3))], 1),
    )  # fmt: skip
    return Gaussians(*(a.astype(np.float32) for a in arrays))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [0.1, 300.0])
def test_what_is_written_reads_back_within_the_format_s_steps(tmp_path, degree, size):
    before = some(degree=degree, size=size)
    write_spz(before, tmp_path / "a.spz", linear=False)
    after = read_spz(tmp_path / "a.spz", linear=False)
    assert np.abs(after.means - before.means).max() <= (2**-17 if size < 1 else 2**-12)
    turned = quat_wxyz_to_matrix(after.quats_wxyz).transpose(0, 2, 1) @ quat_wxyz_to_matrix(before.quats_wxyz)
    assert np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))).max() < 0.3
    assert np.abs(np.log(after.scales / before.scales)).max() <= 1 / 32 + 1e-5
    assert np.abs(after.opacities - before.opacities).max() <= 1 / 510 + 1e-6
    assert np.abs(after.harmonics[:, 0] - before.harmonics[:, 0]).max() <= 0.5 / (0.15 * 255) + 1e-6
    if degree:
        assert np.abs(after.harmonics[:, 1:] - before.harmonics[:, 1:]).max() <= 1 / 128 + 1e-6


@given(seed=st.integers(0, 2**32 - 1), degree=st.integers(0, 3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_what_was_read_is_written_again_without_further_loss(tmp_path_factory, seed, degree):
    folder = tmp_path_factory.mktemp("spz")
    write_spz(some(15, degree, seed), folder / "a.spz", linear=False)
    once = read_spz(folder / "a.spz", linear=False)
    write_spz(once, folder / "b.spz", linear=False)
    twice = read_spz(folder / "b.spz", linear=False)
    for name in FIELDS:
        a, b = getattr(once, name), getattr(twice, name)
        if name == "quats_wxyz":  # two largest components may change places
            assert np.abs((a * b).sum(1)).min() > 1 - 1e-5
        else:
            assert np.array_equal(a, b), name


def test_colours_become_scene_linear_unless_told_otherwise(tmp_path):
    write_spz(some(), tmp_path / "a.spz")
    g = some()
    assert np.abs(read_spz(tmp_path / "a.spz").harmonics[:, 0] - g.harmonics[:, 0]).mean() < 0.05


def data_of(version=3, count=2, degree=0, bits=12, flags=0, body=b"", magic=b"NGSP") -> bytes:
    return magic + struct.pack("<IIBBBB", version, count, degree, bits, flags, 0) + body


def test_one_gaussian_byte_by_byte(tmp_path):
    """By hand from the description of the format: a mean of (1, -2, .5), identity, grey, opacity 51/255."""
    position = b"".join(int(v * 4096).to_bytes(3, "little", signed=True) for v in (1, -2, 0.5))
    identity = (3 << 30).to_bytes(4, "little")
    body = position + bytes([51]) + bytes([127, 128, 255]) + bytes([160, 144, 176]) + identity
    (tmp_path / "a.spz").write_bytes(gzip.compress(data_of(count=1, body=body)))
    g = read_spz(tmp_path / "a.spz", linear=False)
    assert g.means.tolist() == [[1, -2, 0.5]]
    assert np.allclose(g.quats_wxyz, [[1, 0, 0, 0]]) and np.allclose(g.scales, np.exp([[0, -1, 1]]))
    assert np.allclose(g.opacities, 0.2) and np.allclose(g.harmonics[0, 0], [-0.01307, 0.01307, 3.3333], atol=1e-4)
    second = position + bytes([51, 127, 128, 255, 160, 144, 176]) + bytes([255, 127, 127])
    (tmp_path / "b.spz").write_bytes(gzip.compress(data_of(version=2, count=1, body=second)))
    assert np.allclose(read_spz(tmp_path / "b.spz").quats_wxyz, [[0, 1, 0, 0]], atol=0.01)


BODY = bytes(40)
NOISE = np.random.default_rng(0).bytes(40)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "gzip"),
        (b"ply\nformat", "expected a .spz file"),
        (gzip.compress(b"hello"), "found gzipped data"),
        (gzip.compress(data_of(magic=b"PSGN", body=BODY)), "found gzipped data"),
        (gzip.compress(data_of(version=1, body=BODY)), "version 1"),
        (b"NGSP" + struct.pack("<I", 4) + BODY, "version 4; expected version 2 or 3"),
        (gzip.compress(data_of(degree=9, body=BODY)), "degree 9"),
        (gzip.compress(data_of(bits=200, body=BODY)), "200 bits"),
        (gzip.compress(data_of(count=0)), "0 Gaussians"),
        (gzip.compress(data_of(count=2**32 - 1, body=BODY)), "4,294,967,295"),
        (gzip.compress(data_of(count=7_999_999, body=BODY)), "promises 7,999,999"),
        (gzip.compress(data_of(count=3, body=BODY)), "promises 3"),
        (gzip.compress(data_of(body=NOISE))[:-30], "promises 2"),
        (gzip.compress(data_of(body=NOISE))[:10] + b"\xff" * 60, "damaged"),
    ],
    ids=range(14),  # else the names would hold the time of day, which gzip writes down
)
def test_hostile_files_are_refused_in_words(tmp_path, content, message):
    path = tmp_path / "a.spz"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_spz(path)


def test_a_bomb_is_unpacked_no_further_than_its_header_accounts_for(tmp_path):
    import tracemalloc

    (tmp_path / "a.spz").write_bytes(gzip.compress(data_of(body=BODY + bytes(200_000_000)), 9))
    tracemalloc.start()
    assert len(read_spz(tmp_path / "a.spz")) == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000, peak


def test_nothing_and_nan_are_not_written(tmp_path):
    g = some(3)
    for bad in (
        Gaussians(*(getattr(g, name)[:0] for name in FIELDS)),
        Gaussians(g.means * np.nan, g.quats_wxyz, g.scales, g.opacities, g.harmonics),
        Gaussians(g.means, g.quats_wxyz * 0, g.scales, g.opacities, g.harmonics),
        Gaussians(g.means + 1e9, g.quats_wxyz, g.scales, g.opacities, g.harmonics),
    ):
        with pytest.raises(FormatError, match="Cannot write"):
            write_spz(bad, tmp_path / "a.spz")
    assert not list(Path(tmp_path).iterdir())
