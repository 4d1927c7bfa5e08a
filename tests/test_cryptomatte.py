# SPDX-License-Identifier: GPL-3.0-or-later
import json

import numpy as np
import pytest

from loquent.core.splats.cryptomatte import layers, metadata, murmur3, number, number_bits


@pytest.mark.parametrize(
    ("text", "hashed"),
    [("", 0), ("hello", 0x248BFA47), ("hello, world", 0x149BBB7F), ("The quick brown fox jumps over the lazy dog", 0x2E4FF723)],
)  # fmt: skip
def test_murmur3_gives_its_published_values(text, hashed):
    assert murmur3(text.encode()) == hashed


def test_numbers_are_finite_and_keep_all_bits_but_one():
    names = [f"Head.{k:03d} Ä" for k in range(3000)]
    numbers = np.array([number(name) for name in names])
    assert np.isfinite(numbers).all() and (np.abs(numbers) > 1e-38).all() and len(set(numbers.tolist())) == len(names)
    assert all(bin(number_bits(n) ^ murmur3(n.encode())).count("1") <= 1 for n in names)


def test_a_pixel_lists_what_covers_it_from_most_to_least():
    coverages = np.zeros((1, 3, 3), np.float32)
    coverages[0, 0] = 0.1, 0.6, 0.3
    coverages[0, 1] = 0, 0.25, 0
    first, second = layers(coverages, ["a", "b", "c"], 2)
    a, b, c = (number(n) for n in "abc")
    assert first[0, 0].tolist() == [b, np.float32(0.6), c, np.float32(0.3)]
    assert second[0, 0].tolist() == [a, np.float32(0.1), 0, 0]
    assert first[0, 1].tolist() == [b, 0.25, 0, 0] and not first[0, 2].any() and not second[0, 1:].any()


def test_the_least_is_left_out_where_levels_end():
    coverages = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    (only,) = layers(coverages, list("abcdef"), 1)
    assert np.array_equal(only[..., 1], coverages.max(-1)) and np.array_equal(
        only[..., 3], np.sort(coverages, -1)[..., -2]
    )


def test_metadata_names_the_layer_by_seven_digits_of_its_hash():
    found = metadata("ViewLayer.CryptoObject", ["Adà"])
    prefix = f"cryptomatte/{murmur3(b'ViewLayer.CryptoObject'):08x}"[:19]
    assert found[f"{prefix}/name"] == "ViewLayer.CryptoObject" and len(prefix) == len("cryptomatte/") + 7
    assert json.loads(found[f"{prefix}/manifest"]) == {"Adà": f"{number_bits('Adà'):08x}"}
    assert {key.rsplit("/")[-1] for key in found} == {"name", "hash", "conversion", "manifest"}
