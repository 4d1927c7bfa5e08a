# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity space: MakeHuman's sliders drawn at random, and the principal directions of the heads they make.

Heads are linear in target weights, so the PCA needs no head at all: with X = W D (samples x targets times targets x
coordinates) and D' = Q R, the right singular vectors of X are Q times those of W R'. Seconds instead of minutes.
"""

from dataclasses import dataclass

import numpy as np

from .mpfb import Source, macro_weights

DETAIL_SIGMA = 0.3
Weights = dict[str, float]


def draw(source: Source, rng: np.random.Generator) -> Weights:
    """Target weights of one random adult: gender, age, race, muscle, weight and every head slider."""
    macro = macro_weights(
        rng.uniform(0, 1), rng.uniform(0.44, 0.95), float(np.clip(rng.normal(0.5, 0.2), 0, 1)),
        float(np.clip(rng.normal(0.5, 0.22), 0, 1)), rng.dirichlet([0.6] * 3),
    )  # fmt: skip
    details: Weights = {}
    for slider, (low, _) in source.sliders.items():
        base = slider.split("/")[1]
        if base.startswith("r-"):
            continue
        value = float(np.clip(rng.normal(0, DETAIL_SIGMA), -1, 1))
        if slider.startswith("asym"):
            value *= 0.35
        if low is None:  # one-sided: pointed ears, round heads; rarer and weaker than the rest
            value = max(value, 0) * 0.7
        if "pointed" in base or "triangle" in base:
            value *= 0.15
        details[slider] = value
        mirror = slider.replace("/l-", "/r-")
        if base.startswith("l-") and mirror in source.sliders:
            details[mirror] = float(np.clip(value + rng.normal(0, 0.06), -1, 1))
    return macro | slider_targets(source, details)


def slider_targets(source: Source, details: Weights) -> Weights:
    """Slider positions in -1..1 as target weights."""
    out: Weights = {}
    for slider, value in details.items():
        low, high = source.sliders[slider]
        name = high if value >= 0 else low
        if name is not None and value != 0:
            out[name] = abs(value)
    return out


@dataclass(frozen=True)
class Samples:
    """N drawn heads as weights (N, K) over K targets, and the targets' displacements (K, 19158, 3)."""

    names: list[str]
    weights: np.ndarray
    targets: np.ndarray

    def row(self, weights: Weights) -> np.ndarray:
        index = {n: i for i, n in enumerate(self.names)}
        out = np.zeros(len(self.names), np.float32)
        for name, value in weights.items():
            if name in index:
                out[index[name]] = value
        return out


def sample(source: Source, count: int, seed: int, extra: list[Weights]) -> Samples:
    """Draw `count` heads; targets that only `extra` heads use are loaded as well.

    Every head is moved so that its skull joint stays where the base mesh has it, which keeps body height out.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw(source, rng) for _ in range(count)]
    names = sorted({n for w in drawn + extra for n in w if source.has_target(n)})  # MakeHuman leaves out zero targets
    index = {n: i for i, n in enumerate(names)}
    weights = np.zeros((count, len(names)), np.float32)
    for row, chosen in zip(weights, drawn, strict=True):
        for name, value in chosen.items():
            if name in index:
                row[index[name]] = value
    targets = np.stack([source.target(n) for n in names])
    skull = source.base.group_vertices("joint-head")
    targets -= targets[:, skull].mean(1, keepdims=True)
    return Samples(names, weights, targets)


@dataclass(frozen=True)
class Basis:
    """directions (S, K): each row is one identity component as weights over the targets, at one standard deviation."""

    mean: np.ndarray  # (K,)
    directions: np.ndarray  # (S, K)
    to_betas: np.ndarray  # (K, S): (weights - mean) @ to_betas
    explained: float


def principal_directions(samples: Samples, fields: np.ndarray, emphasis: np.ndarray, count: int) -> Basis:
    """PCA of the heads that `fields` (K, V, 3) make of the targets, each vertex weighted by `emphasis` (V,)."""
    mean = samples.weights.mean(0)
    d = (fields * np.sqrt(emphasis)[:, None]).reshape(len(fields), -1).astype(np.float64)
    gram = d @ d.T
    value, vector = np.linalg.eigh(gram)
    keep = value > value[-1] * 1e-10
    root = vector[:, keep] * np.sqrt(value[keep])  # D = root @ Q', Q orthonormal
    coords = (samples.weights - mean) @ root
    _, s, vt = np.linalg.svd(coords, full_matrices=False)
    vt *= np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(1)])[:, None]  # signs do not depend on the solver
    sigma = s / np.sqrt(len(coords))
    # a direction as weights over the targets: solve weights @ root = sigma * v (minimum norm)
    inverse = vector[:, keep] / np.sqrt(value[keep])
    directions = (sigma[:count, None] * vt[:count]) @ inverse.T
    to_betas = root @ vt[:count].T / sigma[:count]
    return Basis(mean, directions, to_betas, float((s[:count] ** 2).sum() / (s**2).sum()))
