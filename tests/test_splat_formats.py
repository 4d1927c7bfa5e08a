# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed splat files against another program's reading of them, hostile packed files, and the choice of reader.

tests/data/by_splat_transform.* were written by splat-transform 3.7.0 (PlayCanvas; its SPZ is the reference library) from
300 random Gaussians of degree 2; the .npz holds every tenth as that program unpacked them again.
"""

import struct
from pathlib import Path

import numpy as np
import pytest

from loquent.core.errors import FormatError
from loquent.core.geometry.rotations import quat_wxyz_to_matrix
from loquent.core.splats.formats import about_splats, read_splats, write_splats
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.packed_ply import COLOURS, RANGES, WORDS, read_packed_ply
from loquent.core.splats.ply import read_ply

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("kind", "name"), [("spz", "by_splat_transform.spz"), ("packed", "by_splat_transform.compressed.ply")]
)
def test_files_of_another_program_read_as_that_program_reads_them(kind, name):
    g = read_splats(DATA / name, linear=False)
    assert len(g) == 300
    with np.load(DATA / "by_splat_transform.npz") as want:
        for field, step in (("means", 0), ("scales", 1e-6), ("opacities", 1e-6), ("harmonics", 1e-6)):
            found, expected = getattr(g, field)[::10], want[f"{kind}_{field}"]
            assert np.allclose(found, expected, rtol=step, atol=step), field
        turned = [quat_wxyz_to_matrix(q) for q in (g.quats_wxyz[::10], want[f"{kind}_quats_wxyz"])]
        assert np.abs(turned[0] - turned[1]).max() < 1e-5


def test_what_a_file_holds_is_told_by_its_header(tmp_path):
    about = about_splats(DATA / "by_splat_transform.spz")
    assert (about.count, about.degree, about.encoding, about.bound) == (300, 2, "SPZ 3", False)
    about = about_splats(DATA / "by_splat_transform.compressed.ply")
    assert (about.count, about.degree, about.encoding) == (300, 2, "packed by SuperSplat")
    write_splats(read_splats(DATA / "by_splat_transform.spz"), tmp_path / "a.ply")
    assert about_splats(tmp_path / "a.ply").encoding == "binary_little_endian"
    with pytest.raises(FormatError, match="found nothing"):
        about_splats(tmp_path / "none.spz")


def test_every_format_holds_the_same_scene(tmp_path):
    g = read_splats(DATA / "by_splat_transform.spz")
    for name in ("a.ply", "A.SPZ"):
        write_splats(g, tmp_path / name)
        again = read_splats(tmp_path / name)
        assert np.array_equal(again.means, g.means) and np.allclose(again.scales, g.scales, rtol=1e-5)
        assert np.allclose(again.harmonics, g.harmonics, atol=2e-3)
    with pytest.raises(FormatError, match=r"expected a splat file, .ply or .spz; found '.sog'"):
        read_splats(tmp_path / "a.sog")
    with pytest.raises(FormatError, match="no suffix"):
        write_splats(g, tmp_path / "a")


def packed(count=2, chunks=1, sh=None, *, ranges=RANGES + COLOURS, words=WORDS, form="binary_little_endian",
           values=None, body=None, kind="uint") -> bytes:  # fmt: skip
    lines = [f"ply\nformat {form} 1.0\nelement chunk {chunks}", *(f"property float {name}" for name in ranges)]
    lines += [f"element vertex {count}", *(f"property {kind} {name}" for name in words)]
    if sh:
        lines += [f"element sh {sh[0]}", *(f"property uchar f_rest_{i}" for i in range(sh[1]))]
    if values is None:
        values = [-1.0 if name.startswith("min") else 1.0 for name in ranges]
    if body is None:
        body = struct.pack(f"<{len(ranges)}f", *values) + bytes(16 * 2) + bytes(sh[0] * sh[1] if sh else 0)
    return "\n".join(lines).encode() + b"\nend_header\n" + body


def test_a_packed_gaussian_bit_by_bit(tmp_path):
    words = 2047 << 21 | 0 << 11 | 2047, 1 << 30 | 1023 << 20 | 511 << 10 | 512, 0, 255 << 24 | 0 << 16 | 51 << 8 | 51
    low, high = [-1.0, -2, -3, -5, -5, -5], [1.0, 2, 3, 0, 0, 0]
    body = struct.pack("<12f4I", *low, *high, *words)
    (tmp_path / "a.ply").write_bytes(packed(1, ranges=RANGES, body=body))  # older files have no ranges of colours
    g = read_splats(tmp_path / "a.ply", linear=False)
    assert np.allclose(g.means, [[1, -2, 3]]) and np.allclose(g.scales, np.exp(-5.0)) and np.allclose(g.opacities, 0.2)
    assert np.allclose(g.quats_wxyz, [[0.7071, 0.7071, 0, 0]], atol=1e-3)
    assert np.allclose(g.harmonics[0, 0] * 0.28209479 + 0.5, [1, 0, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(form="ascii"), "in ascii"),
        (packed(words=WORDS[:3]), "'vertex' with"),
        (packed(kind="float"), "'vertex' with"),
        (packed(ranges=RANGES[:6]), "'chunk' with"),
        (packed(ranges=RANGES + COLOURS[:2]), "some colours"),
        (packed(count=10**12), "1,000,000,000,000 Gaussians in 1 chunks"),
        (packed(count=512, chunks=1), "512 Gaussians in 1 chunks"),
        (packed(count=7_999_999, chunks=31250), "promises 7,999,999"),
        (packed(count=0, chunks=0), "0 Gaussians"),
        (packed(sh=(3, 9)), "3 x 9 harmonics"),
        (packed(sh=(2, 10)), "2 x 10 harmonics"),
        (packed()[:-1], "cut short"),
        (packed(values=[np.nan] * 18), "expected finite"),
        (packed(values=[1000.0] * 18), "expected finite"),
        (packed(values=[0.0] * 12 + [np.inf] * 6), "finite colours"),
    ],
    ids=range(15),
)
def test_hostile_packed_files_are_refused_in_words(tmp_path, content, message):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_packed_ply(tmp_path / "a.ply")


def test_infinite_logits_of_other_converters_are_opacities_of_zero_and_one(tmp_path):
    ones = np.ones((3, 3), np.float32)
    g = Gaussians(ones, np.ones((3, 4), np.float32), ones, np.array([0, 0.5, 1], np.float32), ones[:, None])
    write_splats(g, tmp_path / "a.ply")
    content = (tmp_path / "a.ply").read_bytes()
    for sign in (-1, 1):
        old = struct.pack("<f", sign * 120.0)
        assert content.count(old) == 1
        content = content.replace(old, struct.pack("<f", sign * np.inf))
    (tmp_path / "a.ply").write_bytes(content)
    assert np.allclose(read_ply(tmp_path / "a.ply").opacities, [0, 0.5, 1])
