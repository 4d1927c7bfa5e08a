# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of one animation curve as arrays, and what may be done to them without touching what an artist set.

Numbers of kinds are those of Blender's enumerations, which files keep: they never change. A curve with its handles a
third of the way to the neighbours is a cubic polynomial of time between keys (Hermite's form), so what is fitted here is
what Blender shows.
"""

import json
import zlib
from dataclasses import dataclass

import numpy as np

CONSTANT, LINEAR, BEZIER = 0, 1, 2
"""Interpolations."""
FREE, ALIGNED = 0, 3
"""Handle types."""

NUMBERS = ("co", "handle_left", "handle_right", "back", "amplitude", "period")
WIDTHS = (2, 2, 2, 1, 1, 1)
KINDS = ("interpolation", "handle_left_type", "handle_right_type", "easing", "type")


@dataclass(frozen=True)
class Keys:
    """K keys in order of time. numbers (K, 9) float32: frame, value, left handle (2), right handle (2), then back,
    amplitude and period of elastic interpolations; kinds (K, 5) int32 in the order of KINDS."""

    numbers: np.ndarray
    kinds: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def frames(self) -> np.ndarray:
        return self.numbers[:, 0]

    @property
    def values(self) -> np.ndarray:
        return self.numbers[:, 1]

    def take(self, index: np.ndarray) -> "Keys":
        """Those keys, by index or mask."""
        return Keys(self.numbers[index], self.kinds[index])

    def moved(self, frames: float, stretch: float = 1.0) -> "Keys":
        """The same keys later by a number of frames, after stretching time from frame 0."""
        numbers = self.numbers.copy()
        numbers[:, 0:6:2] = numbers[:, 0:6:2] * np.float32(stretch) + np.float32(frames)
        return Keys(numbers, self.kinds)


def linear(frames: np.ndarray, values: np.ndarray) -> Keys:
    """A key a frame, straight lines between them; handles lie on their keys."""
    co = np.stack([frames, values], 1)
    return _keys(np.concatenate([co, co, co], 1), LINEAR, FREE)


def hermite(frames: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> Keys:
    """Smooth keys with aligned handles; slopes in value per frame."""
    gaps = np.diff(frames) / 3 if len(frames) > 1 else np.ones(1)
    left, right = np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]])
    if len(frames) == 1:
        left = right = np.ones(1)
    table = [frames, values, frames - left, values - slopes * left, frames + right, values + slopes * right]
    return _keys(np.stack(table, 1), BEZIER, ALIGNED)


def _keys(numbers: np.ndarray, interpolation: int, handle: int) -> Keys:
    elastic = np.tile(np.array([[1.70158, 0.8, 4.1]]), (len(numbers), 1))  # Blender's defaults
    kinds = np.tile(np.array([[interpolation, handle, handle, 0, 0]], np.int32), (len(numbers), 1))
    return Keys(np.concatenate([numbers, elastic], 1).astype(np.float32), kinds)


def joined(*parts: Keys) -> Keys:
    """The keys of several in order of time; of keys at one frame the last part's stays."""
    numbers = np.concatenate([part.numbers for part in parts])
    kinds = np.concatenate([part.kinds for part in parts])
    order = np.argsort(numbers[:, 0], kind="stable")
    last = np.ones(len(order), bool)
    last[:-1] = np.diff(numbers[order, 0]) > 1e-4
    return Keys(numbers[order[last]], kinds[order[last]])


def same(a: Keys, b: Keys, tolerance: float = 1e-4) -> np.ndarray:
    """(K,) mask: which of two equally long sets' keys have one value, shape and kind. Frames are not compared.

    A handle counts by where it lies from its key, so that keys that were only moved are equal. The selected kind of
    key, which is a colour in the editor, does not count.
    """
    shape_a, shape_b = (k.numbers[:, 2:6] - np.tile(k.numbers[:, :2], 2) for k in (a, b))
    bezier = (a.kinds[:, 0] == BEZIER) | (b.kinds[:, 0] == BEZIER)
    # Handles of straight keys are only drawn; Blender rewrites them when a curve is touched.
    handles = (np.abs(shape_a - shape_b) <= tolerance * 10).all(1) | ~bezier
    kinds = (a.kinds[:, 0] == b.kinds[:, 0]) & (~bezier | (a.kinds[:, 1:3] == b.kinds[:, 1:3]).all(1))
    return (np.abs(a.values - b.values) <= tolerance) & handles & kinds


def edited_spans(now: Keys, then: Keys, tolerance: float = 1e-4) -> list[tuple[float, float]]:
    """(first, last) frames of the stretches in which `now` is not `then`, borders being keys that nobody touched.

    -inf and inf stand where no untouched key follows. Empty where nothing was changed. Between the borders the artist
    moved, added, deleted or reshaped a key. A handle that Blender turned because a neighbour moved belongs to the edit.
    """
    where = np.searchsorted(then.frames, now.frames - 1e-3)
    inside = where < len(then)
    found = np.zeros(len(now), bool)
    found[inside] = np.abs(then.frames[where[inside]] - now.frames[inside]) <= 1e-3
    kept = found.copy()
    kept[found] = same(now.take(found), then.take(where[found]), tolerance)
    untouched_then = np.zeros(len(then), bool)
    untouched_then[where[kept]] = True
    borders_now = now.frames[kept]
    borders = np.concatenate([[-np.inf], borders_now, [np.inf]])
    # An interval between neighbouring untouched keys is an edit if either side holds anything else inside it.
    others = np.concatenate([now.frames[~kept], then.frames[~untouched_then]])
    hit = np.unique(np.searchsorted(borders, others, side="right") - 1)
    spans: list[tuple[float, float]] = []
    for i in hit:
        first, last = float(borders[i]), float(borders[i + 1])
        if spans and spans[-1][1] == first:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


def with_spans(new: Keys, old: Keys, spans: list[tuple[float, float]]) -> Keys:
    """`new` with what `old` holds strictly inside each span; the borders are `new`'s own, cut in where it has no key."""
    for first, last in spans:
        for border in (first, last):
            if np.isfinite(border):
                new = cut(new, border)
        outside = (new.frames <= first + 1e-3) | (new.frames >= last - 1e-3)
        inside = (old.frames > first + 1e-3) & (old.frames < last - 1e-3)
        new = joined(new.take(outside), old.take(inside))
    return new


def cut(keys: Keys, frame: float) -> Keys:
    """The same curve with a key at `frame`, split by de Casteljau's rule so that no shape changes.

    Beyond the ends, where the curve is held, the value of the end. Elastic and other eased stretches are cut at the value
    of their first key: their shape changes.
    """
    at = int(np.searchsorted(keys.frames, frame - 1e-3))
    if at < len(keys) and abs(keys.frames[at] - frame) <= 1e-3:
        return keys
    before, after = max(at - 1, 0), min(at, len(keys) - 1)
    a, b = keys.numbers[before].astype(np.float64), keys.numbers[after].astype(np.float64)
    row = keys.numbers[before].astype(np.float64)
    kind = keys.kinds[before].copy()
    numbers, kinds = keys.numbers.astype(np.float64), keys.kinds.copy()
    if at in (0, len(keys)) or kind[0] not in (LINEAR, BEZIER):
        shift = np.array([frame - row[0], 0.0])
        row[:6] += np.tile(shift, 3)
        row[3] = row[5] = row[1]
        if at == len(keys):  # held: neither the last key's handle nor the new one may lift the line between
            numbers[before, 5] = numbers[before, 1]
            kinds[before, 1:3] = FREE
        elif at == 0:
            kind[0] = LINEAR
    elif kind[0] == LINEAR:
        value = a[1] + (b[1] - a[1]) * (frame - a[0]) / (b[0] - a[0])
        row[:6] = np.tile([frame, value], 3)
    else:
        p = np.stack([a[:2], a[4:6], b[2:4], b[:2]])
        p[1, 0], p[2, 0] = np.clip([p[1, 0], p[2, 0]], a[0], b[0])
        t = _parameter(p[:, 0], frame)
        p01, p12, p23 = p[:-1] + t * np.diff(p, axis=0)
        p012, p123 = p01 + t * (p12 - p01), p12 + t * (p23 - p12)
        middle = p012 + t * (p123 - p012)
        row[:6] = np.concatenate([middle, p012, p123])
        kind[1:3] = ALIGNED
        numbers[before, 4:6], numbers[after, 2:4] = p01, p23
    numbers = np.insert(numbers, at, row, 0)
    return Keys(numbers.astype(np.float32), np.insert(kinds, at, kind, 0))


def _parameter(x: np.ndarray, frame: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        t = (low + high) / 2
        value = (1 - t) ** 3 * x[0] + 3 * (1 - t) ** 2 * t * x[1] + 3 * (1 - t) * t * t * x[2] + t**3 * x[3]
        low, high = (t, high) if value < frame else (low, t)
    return (low + high) / 2


def evaluate(keys: Keys, frames: np.ndarray) -> np.ndarray:
    """(n,) float64 values of the curve, held beyond its ends; straight, constant and Bezier keys."""
    out = np.empty(len(frames))
    for i, frame in enumerate(np.asarray(frames, np.float64)):
        at = int(np.searchsorted(keys.frames, frame, side="right")) - 1
        if at < 0 or at >= len(keys) - 1 or keys.kinds[at, 0] == CONSTANT:
            out[i] = keys.values[np.clip(at, 0, len(keys) - 1)]
            continue
        a, b = keys.numbers[at].astype(np.float64), keys.numbers[at + 1].astype(np.float64)
        if keys.kinds[at, 0] == LINEAR:
            out[i] = a[1] + (b[1] - a[1]) * (frame - a[0]) / (b[0] - a[0])
        else:
            t = _parameter(np.array([a[0], a[4], b[2], b[0]]), frame)
            y = np.array([a[1], a[5], b[3], b[1]])
            out[i] = (1 - t) ** 3 * y[0] + 3 * (1 - t) ** 2 * t * y[1] + 3 * (1 - t) * t * t * y[2] + t**3 * y[3]
    return out


def pack(curves: dict[str, Keys]) -> bytes:
    """What was written, small enough to be kept beside it; `unpack` gives it back to float precision.

    Straight curves take 8 bytes a key before compression, those of `hermite` 12 and any other 36. What `same` does not
    look at (colours of keys, elastic settings) is not kept.
    """
    header, columns = [], []
    for path, keys in curves.items():
        form = _form(keys)
        columns.append(_columns(keys, form).ravel())
        header.append([path, len(keys), form])
    text = json.dumps(header).encode()
    table = np.concatenate(columns or [np.zeros(0)]).astype("<f4")
    return zlib.compress(len(text).to_bytes(4, "little") + text + table.tobytes(), 1)


def unpack(data: bytes) -> dict[str, Keys] | None:
    """The curves that were packed; None for bytes that are not such a record."""
    try:
        plain = zlib.decompress(data)
        size = int.from_bytes(plain[:4], "little")
        table = np.frombuffer(plain[4 + size :], "<f4").astype(np.float64)
        curves, at = {}, 0
        for path, count, form in json.loads(plain[4 : 4 + size]):
            rows = table[at : at + _WIDTH[form] * count].reshape(_WIDTH[form], count)
            at += rows.size
            curves[str(path)] = _FORMS[form](*rows)
    except (zlib.error, ValueError, TypeError, KeyError, OverflowError):
        return None
    return curves if at == len(table) else None


def _form(keys: Keys) -> str:
    if (keys.kinds[:, 0] == LINEAR).all():
        return "linear"
    smooth = hermite(*_columns(keys, "hermite").astype(np.float64))
    return "hermite" if same(keys, smooth, 1e-6).all() else "any"


def _columns(keys: Keys, form: str) -> np.ndarray:
    if form == "linear":
        return keys.numbers[:, :2].T
    if form == "hermite":
        return np.stack([keys.frames, keys.values, _slopes(keys)])
    return np.concatenate([keys.numbers[:, :6], keys.kinds[:, :3]], 1).T


def _any(*rows: np.ndarray) -> Keys:
    keys = _keys(np.stack(rows[:6], 1), LINEAR, FREE)
    keys.kinds[:, :3] = np.stack(rows[6:], 1)
    return keys


_FORMS = {"linear": linear, "hermite": hermite, "any": _any}
_WIDTH = {"linear": 2, "hermite": 3, "any": 9}


def _slopes(keys: Keys) -> np.ndarray:
    run = np.maximum(keys.numbers[:, 4] - keys.numbers[:, 0], 1e-9)
    return np.where(keys.kinds[:, 0] == BEZIER, (keys.numbers[:, 5] - keys.numbers[:, 1]) / run, 0)


def summed(parts: list[tuple[Keys, float]]) -> Keys:
    """The sum of curves times factors, exactly, for curves made by `linear` and `hermite`: a key wherever one has one."""
    if len(parts) == 1:
        keys, factor = parts[0]
        numbers = keys.numbers.copy()
        numbers[:, 1:6:2] *= np.float32(factor)
        return Keys(numbers, keys.kinds)
    frames = np.unique(np.concatenate([keys.frames for keys, _ in parts]).astype(np.float64))
    values, slopes = np.zeros(len(frames)), np.zeros(len(frames))
    smooth = False
    for keys, factor in parts:
        value, slope = _at(keys, frames)
        values += factor * value
        slopes += factor * slope
        smooth |= bool(len(keys) > 1 and keys.kinds[0, 0] == BEZIER)
    return hermite(frames, values, slopes) if smooth else linear(frames, values)


def _at(keys: Keys, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes at frames of a curve made by `linear` or `hermite`, held beyond its ends."""
    if len(keys) == 1:
        return np.full(len(frames), float(keys.values[0])), np.zeros(len(frames))
    x, y = keys.frames.astype(np.float64), keys.values.astype(np.float64)
    segment = np.clip(np.searchsorted(x, frames, side="right") - 1, 0, len(x) - 2)
    width = x[segment + 1] - x[segment]
    u = np.clip((frames - x[segment]) / width, 0, 1)
    rise = y[segment + 1] - y[segment]
    beyond = (frames < x[0] - 1e-6) | (frames > x[-1] + 1e-6)
    if keys.kinds[0, 0] != BEZIER:
        return y[segment] + rise * u, np.where(beyond, 0, rise / width)
    m = _slopes(keys)
    a, b = m[segment] * width, m[segment + 1] * width
    value = y[segment] + rise * u * u * (3 - 2 * u) + a * u * (1 - u) ** 2 - b * u * u * (1 - u)
    slope = (6 * rise * u * (1 - u) + a * (1 - u) * (1 - 3 * u) - b * u * (2 - 3 * u)) / width
    return value, np.where(beyond, 0, slope)


def replaced(old: Keys, new: Keys, first: float, last: float, ease: float) -> Keys:
    """`new` between two frames, `old` outside them; over `ease` frames inside each border one runs into the other.

    A border beyond which `old` has no key needs no easing: there `new` begins or ends as it is.
    """
    low = first + ease if len(old) and old.frames[0] < first else first
    high = last - ease if len(old) and old.frames[-1] > last else last
    for border, inner, needed in ((first, low, low > first), (last, high, high < last)):
        if needed:
            old, new = cut(old, border), cut(new, inner)
    inside = new.take((new.frames >= low - 1e-3) & (new.frames <= high + 1e-3))
    before = old.take(old.frames <= first + 1e-3) if low > first else old.take(old.frames < first - 1e-3)
    after = old.take(old.frames >= last - 1e-3) if high < last else old.take(old.frames > last + 1e-3)
    return tidied(joined(before, inside, after))


def tidied(keys: Keys) -> Keys:
    """Handles that reach further than their neighbour drawn in, direction kept: what was cut away no longer pulls."""
    numbers = keys.numbers.astype(np.float64)
    gaps = np.diff(numbers[:, 0])
    for side, reach, sign in ((2, np.concatenate([[np.inf], gaps]), -1), (4, np.concatenate([gaps, [np.inf]]), 1)):
        run = sign * (numbers[:, side] - numbers[:, 0])
        shrink = np.where(run > reach, reach / 3 / np.maximum(run, 1e-9), 1.0)[:, None]
        numbers[:, side : side + 2] = numbers[:, :2] + shrink * (numbers[:, side : side + 2] - numbers[:, :2])
    return Keys(numbers.astype(np.float32), keys.kinds)
