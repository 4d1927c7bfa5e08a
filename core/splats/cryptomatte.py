# SPDX-License-Identifier: GPL-3.0-or-later
"""Cryptomatte (Friedman and Jones 2015, specification 1.2): names as numbers in the picture, with their coverage.

A pixel holds pairs (number, coverage), greatest coverage first; two pairs fill one RGBA layer. Numbers are the bits of
MurmurHash3_32 of the name's UTF-8 bytes, kept out of the exponents of zero, NaN and Inf.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np


def murmur3(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32 (Appleby 2011)."""
    mask, value = 0xFFFFFFFF, seed
    whole = len(data) // 4 * 4

    def scrambled(k: int) -> int:
        k = k * 0xCC9E2D51 & mask
        return ((k << 15 | k >> 17) & mask) * 0x1B873593 & mask

    for at in range(0, whole, 4):
        value ^= scrambled(int.from_bytes(data[at : at + 4], "little"))
        value = ((value << 13 | value >> 19) & mask) * 5 + 0xE6546B64 & mask
    if len(data) > whole:
        value ^= scrambled(int.from_bytes(data[whole:], "little"))
    value ^= len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & mask
    value = (value ^ value >> 13) * 0xC2B2AE35 & mask
    return value ^ value >> 16


def number_bits(name: str) -> int:
    """The 32 bits that stand for a name in the picture."""
    bits = murmur3(name.encode())
    exponent = bits >> 23 & 255
    return bits ^ 1 << 23 if exponent in (0, 255) else bits


def number(name: str) -> np.float32:
    """The same as the float32 that they are."""
    return np.uint32(number_bits(name)).view(np.float32)


def layers(coverages: np.ndarray, names: Sequence[str], count: int) -> list[np.ndarray]:
    """`count` RGBA layers (H, W, 4) of coverages (H, W, M) of M named things: number, coverage, number, coverage.

    Nothing is written where nothing covers. Equal coverages keep the order of the names.
    """
    height, width, things = coverages.shape
    assert things == len(names), (things, names)
    out = [np.zeros((height, width, 4), np.float32) for _ in range(count)]
    numbers = np.array([number(name) for name in names], np.float32)
    if not count or not things:
        return out
    flat = coverages.reshape(-1, things)
    count_at = np.zeros(len(flat), np.uint16)
    for column in flat.T:
        count_at += column > 0
    pure = np.flatnonzero(count_at == 1)  # nearly all pixels of a face: nothing to sort
    of = np.take(flat, pure, 0)
    first = out[0].reshape(-1, 4)
    first[pure, 0], first[pure, 1] = numbers[of.argmax(1)], of.max(1)
    mixed = np.flatnonzero(count_at > 1)
    covered = np.take(flat, mixed, 0)
    order = np.argsort(-covered, axis=1, kind="stable")[:, : 2 * count]
    ranked = np.take_along_axis(covered, order, 1)
    codes = np.where(ranked > 0, numbers[order], np.float32(0))
    for rank in range(order.shape[1]):
        layer = out[rank // 2].reshape(-1, 4)
        layer[mixed, rank % 2 * 2] = codes[:, rank]
        layer[mixed, rank % 2 * 2 + 1] = np.maximum(ranked[:, rank], 0)
    return out


def metadata(layer: str, names: Sequence[str]) -> Mapping[str, str]:
    """What a file says of a Cryptomatte layer such as `ViewLayer.CryptoObject`, so that names can be picked."""
    prefix = f"cryptomatte/{murmur3(layer.encode()):08x}"[:19]
    return {
        f"{prefix}/name": layer,
        f"{prefix}/hash": "MurmurHash3_32",
        f"{prefix}/conversion": "uint32_to_float32",
        f"{prefix}/manifest": json.dumps({name: f"{number_bits(name):08x}" for name in names}, ensure_ascii=False),
    }
