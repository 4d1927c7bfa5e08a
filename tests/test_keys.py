# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquent.core.head.keys import (
    cut,
    edited_spans,
    evaluate,
    hermite,
    joined,
    linear,
    pack,
    replaced,
    summed,
    unpack,
    with_spans,
)  # fmt: skip


def wave(frames=range(0, 101, 10), seed=0):
    rng = np.random.default_rng(seed)
    frames = np.array(list(frames), float)
    return hermite(frames, rng.random(len(frames)), rng.normal(size=len(frames)) * 0.05)


def altered(keys, index: int, value: float):
    numbers = keys.numbers.copy()
    numbers[index, [1, 3, 5]] += value - numbers[index, 1]
    return replace(keys, numbers=numbers)


EVERY = np.arange(-5, 106, 0.5)


@given(st.floats(-5, 105), st.integers(0, 50), st.booleans())
def test_a_key_cut_into_a_curve_changes_no_value_of_it(frame, seed, straight):
    keys = wave(seed=seed)
    if straight:
        keys = linear(keys.frames, keys.values)
    again = cut(keys, frame)
    assert len(again) in (len(keys), len(keys) + 1) and np.abs(again.frames - frame).min() <= 2e-3
    assert np.allclose(evaluate(again, EVERY), evaluate(keys, EVERY), atol=2e-4)


def test_an_untouched_curve_has_no_edited_span():
    assert edited_spans(wave(), wave()) == []


@pytest.mark.parametrize(
    ("edit", "spans"),
    [
        (lambda k: altered(k, 5, 0.9), [(40.0, 60.0)]),
        (lambda k: k.take(np.arange(len(k)) != 5), [(40.0, 60.0)]),
        (lambda k: joined(k, hermite(np.array([43.0]), np.array([0.9]), np.zeros(1))), [(40.0, 50.0)]),
        (lambda k: altered(altered(k, 5, 0.9), 6, 0.9), [(40.0, 70.0)]),
        (lambda k: altered(altered(k, 2, 0.9), 8, 0.9), [(10.0, 30.0), (70.0, 90.0)]),
        (lambda k: altered(k, 0, 0.9), [(-np.inf, 10.0)]),
        (lambda k: altered(k, 10, 0.9), [(90.0, np.inf)]),
    ],
)
def test_an_edit_spans_from_the_untouched_key_before_it_to_the_one_after(edit, spans):
    assert edited_spans(edit(wave()), wave()) == spans


def test_a_moved_key_and_another_interpolation_are_edits():
    keys = wave()
    moved = keys.numbers.copy()
    moved[5, 0:6:2] += 3
    assert edited_spans(replace(keys, numbers=moved), keys) == [(40.0, 60.0)]
    kinds = keys.kinds.copy()
    kinds[5, 0] = 0
    assert edited_spans(replace(keys, kinds=kinds), keys) == [(40.0, 60.0)]


@given(st.lists(st.tuples(st.integers(0, 10), st.floats(-1, 1)), max_size=4), st.integers(1, 99))
def test_edits_survive_a_new_take_and_the_rest_is_the_new_take(edits, seed):
    then = wave()
    now = then
    for index, value in edits:
        now = altered(now, index, value)
    new = wave(range(3, 99, 7), seed)
    spans = edited_spans(now, then)
    merged = with_spans(new, now, spans)
    for index in {i for i, _ in edits if abs(now.values[i] - then.values[i]) > 2e-3}:
        at = np.flatnonzero(np.abs(merged.frames - then.frames[index]) < 1e-3)
        assert len(at) == 1 and np.array_equal(merged.numbers[at[0]], now.numbers[index])
    outside = np.array([f for f in EVERY if all(f <= a or f >= b for a, b in spans)])
    assert np.allclose(evaluate(merged, outside), evaluate(new, outside), atol=2e-4)
    again = with_spans(wave(range(3, 99, 7), seed + 1), merged, edited_spans(merged, new))
    for index in {i for i, _ in edits if abs(now.values[i] - then.values[i]) > 2e-3}:
        assert np.abs(again.frames - then.frames[index]).min() < 1e-3


def test_moving_and_stretching_keeps_the_shape():
    keys = wave()
    assert np.allclose(evaluate(keys.moved(12, 2.0), EVERY * 2 + 12), evaluate(keys, EVERY), atol=1e-4)


def test_a_record_of_keys_comes_back_and_damage_is_told():
    curves = {
        "a": wave(),
        "b": linear(np.arange(5.0), np.arange(5.0) / 7),
        "c": linear(np.ones(1), np.zeros(1)),
        "d": replaced(wave(), wave(range(0, 99, 7), 3), 33, 61, 2),
    }
    data = pack(curves)
    back = unpack(data)
    assert back is not None and list(back) == list(curves)
    assert all(not edited_spans(curves[name], back[name]) and len(back[name]) == len(curves[name]) for name in curves)
    for damaged in (b"", b"hello", data[:-9], data[:20]):
        assert unpack(damaged) is None


@given(st.integers(0, 99), st.booleans())
def test_a_sum_of_curves_is_the_sum_everywhere(seed, straight):
    a, b = wave(seed=seed), wave(range(5, 96, 13), seed + 1)
    if straight:
        a, b = (linear(k.frames, k.values) for k in (a, b))
    total = summed([(a, 0.5), (b, -2.0)])
    inside = EVERY[(EVERY >= 5) & (EVERY <= 83)]
    assert np.allclose(evaluate(total, inside), 0.5 * evaluate(a, inside) - 2 * evaluate(b, inside), atol=3e-3)


@pytest.mark.parametrize("ease", [0, 3])
def test_a_range_spoken_anew_leaves_everything_outside_it(ease):
    old, new = wave(), wave(range(0, 101, 7), 5)
    mixed = replaced(old, new, 34, 61, ease)
    outside = EVERY[(34 - (ease == 0) * 5 >= EVERY) | (61 + (ease == 0) * 9 <= EVERY)]
    assert np.allclose(evaluate(mixed, outside), evaluate(old, outside), atol=2e-3)
    inside = np.arange(42, 57)
    assert np.allclose(evaluate(mixed, inside), evaluate(new, inside), atol=2e-3)


def test_a_take_put_behind_another_keeps_both():
    old, new = wave(), wave(range(200, 260, 9), 5)
    both = replaced(old, new, 200, 260, 3)
    assert np.allclose(evaluate(both, np.arange(100)), evaluate(old, np.arange(100)), atol=1e-4)
    assert np.allclose(
        evaluate(both, np.arange(101, 201)), old.values[-1], atol=1e-4
    )  # held, until the next line begins
    assert np.allclose(evaluate(both, np.arange(203, 255)), evaluate(new, np.arange(203, 255)), atol=1e-4)
