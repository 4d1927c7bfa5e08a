# SPDX-License-Identifier: GPL-3.0-or-later
"""Render passes: which there are, what they need of each Gaussian, and how a drawn picture becomes them.

Whatever a pass shows of Gaussians is drawn as features beside the colours, so that it has the same soft edges as Combined:
one-hot columns for Cryptomatte, offsets in pixels for Vector, axes for Normal. All of them are sums, which blur by lens and
shutter can average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.splats.cryptomatte import layers as crypto_layers
from ..core.splats.cryptomatte import metadata
from .pixels import EMPTY_DEPTH

if TYPE_CHECKING:
    from ..core.geometry.cameras import Camera
    from .stage import Actor, Cast


@dataclass(frozen=True)
class Pass:
    """A pass as Blender registers it. flag: the view layer's property that asks for it; None always does."""

    name: str
    channels: int
    chan_id: str
    kind: str
    flag: str | None


PASSES = (
    Pass("Combined", 4, "RGBA", "COLOR", None),
    Pass("Depth", 1, "Z", "VALUE", "use_pass_z"),
    Pass("Mist", 1, "Z", "VALUE", "use_pass_mist"),
    Pass("Normal", 3, "XYZ", "VECTOR", "use_pass_normal"),
    Pass("Vector", 4, "XYZW", "VECTOR", "use_pass_vector"),
    Pass("Coverage", 1, "A", "VALUE", "loquent.use_pass_coverage"),
)
CRYPTOMATTES = {
    "CryptoObject": "use_pass_cryptomatte_object",
    "CryptoMaterial": "use_pass_cryptomatte_material",
    "CryptoAsset": "use_pass_cryptomatte_asset",
}


def asked(layer: Any) -> list[Pass]:
    """The passes that a view layer has enabled."""
    found = [p for p in PASSES if p.flag is None or layer.path_resolve(p.flag)]
    for name, flag in CRYPTOMATTES.items():
        if getattr(layer, flag):
            found += [
                Pass(f"{name}{k:02d}", 4, "RGBA", "COLOR", flag) for k in range((layer.pass_cryptomatte_depth + 1) // 2)
            ]
    return found


@dataclass(frozen=True)
class Mist:
    """World settings: metres from the camera where it begins, over how many it grows, and by which power."""

    start: float = 5.0
    depth: float = 25.0
    power: float = 1.0

    @classmethod
    def of(cls, world: Any) -> "Mist":
        if world is None:
            return cls()
        settings = world.mist_settings
        power = {"LINEAR": 1.0, "QUADRATIC": 2.0, "INVERSE_QUADRATIC": 0.5}[settings.falloff]
        return cls(settings.start, settings.depth, power)


@dataclass(frozen=True)
class Features:
    """Columns (N, M) to draw, and which of them are what."""

    columns: np.ndarray | None
    where: dict[str, slice]
    names: dict[str, tuple[str, ...]]
    """Of each Cryptomatte, what its columns stand for."""

    def of(self, drawn: np.ndarray | None, name: str) -> np.ndarray | None:
        """The drawn columns (H, W, k) of that name; None where they were not needed."""
        return None if drawn is None or name not in self.where else drawn[..., self.where[name]]


def features(cast: "Cast", names: Sequence[str], motion: np.ndarray | None = None) -> Features:
    """What passes of these names need of each Gaussian of a cast. motion: (N, 4) as the Vector pass holds it."""
    actors = cast.actors
    sizes = [len(actor.gaussians) for actor in actors]
    columns: list[np.ndarray] = []
    where: dict[str, slice] = {}
    of_names: dict[str, tuple[str, ...]] = {}

    def add(name: str, values: np.ndarray) -> None:
        begin = sum(c.shape[1] for c in columns)
        where[name] = slice(begin, begin + values.shape[1])
        columns.append(values.astype(np.float32))

    seen = np.repeat([not actor.held for actor in actors], sizes)
    if not seen.all():
        add("seen", seen[:, None])
    if any(actor.display for actor in actors):
        add("display", _display_columns(cast, sizes))
    if "Normal" in names:
        add("Normal", cast.normals() * seen[:, None])
    if motion is not None:
        add("Vector", np.nan_to_num(motion) * seen[:, None])
    for matte, labels in _labels(actors, sizes).items():
        if f"{matte}00" not in names:
            continue
        present = sorted({name for name, shown in zip(*_runs(labels, seen), strict=True) if shown})
        of_names[matte] = tuple(present)
        add(matte, _one_hot(labels, present) * seen[:, None])
    return Features(np.concatenate(columns, 1) if columns else None, where, of_names)


Labels = list[tuple[np.ndarray, tuple[str, ...]]]
"""For each actor: indices (N,) of names."""


def _labels(actors: Sequence["Actor"], sizes: Sequence[int]) -> dict[str, Labels]:
    whole = [np.zeros(size, np.uint8) for size in sizes]
    return {
        "CryptoObject": [(zeros, (actor.name,)) for zeros, actor in zip(whole, actors, strict=True)],
        "CryptoMaterial": [(actor.loaded.regions, actor.loaded.materials) for actor in actors],
        "CryptoAsset": [(zeros, (actor.asset,)) for zeros, actor in zip(whole, actors, strict=True)],
    }


def _runs(labels: Labels, seen: np.ndarray) -> tuple[list[str], list[bool]]:
    """Names that occur, and whether a Gaussian of that name is seen."""
    names: list[str] = []
    shown: list[bool] = []
    at = 0
    for indices, of in labels:
        part = seen[at : at + len(indices)]
        at += len(indices)
        for k in np.unique(indices):
            names.append(of[k])
            shown.append(bool(part[indices == k].any()))
    return names, shown


def _one_hot(labels: Labels, names: Sequence[str]) -> np.ndarray:
    rows = []
    for indices, of in labels:
        place = np.array([names.index(name) if name in names else -1 for name in of])
        rows.append(place[indices])
    return np.concatenate(rows)[:, None] == np.arange(len(names))


def _display_columns(cast: "Cast", sizes: Sequence[int]) -> np.ndarray:
    """(N, 4): display colour as the camera sees it and 1, or zeros for Gaussians of linear colour."""
    from ..core.splats.gaussians import SH_C0
    from .placing import seen_colours

    colours = np.maximum(seen_colours(cast.gaussians, cast.camera.position)[:, 0] * np.float32(SH_C0) + 0.5, 0)
    shown = np.repeat([actor.display and not actor.held for actor in cast.actors], sizes)
    return np.concatenate([colours, np.ones((len(colours), 1), np.float32)], 1) * shown[:, None]


def crypto_metadata(layer: str, of: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """What files and the Cryptomatte node read of the mattes of a view layer."""
    return {key: value for matte, names in of.items() for key, value in metadata(f"{layer}.{matte}", names).items()}


def decoded(
    names: Sequence[str],
    drawn: np.ndarray | None,
    made: Features | None,
    alpha: np.ndarray,
    depth: np.ndarray,
    camera: "Camera",
    back: float,
    mist: Mist,
) -> dict[str, np.ndarray]:
    """Passes by name except Combined and Depth, row 0 on top: (H, W) or (H, W, channels).

    drawn: (H, W, M) features. alpha: (H, W) of what is seen. depth: (H, W) metres, EMPTY_DEPTH where there is nothing.
    camera: that of the world, whose picture this may be a part of.
    """
    out: dict[str, np.ndarray] = {}
    shape = alpha.shape
    for name in names:
        if name == "Mist":
            out[name] = _mist(alpha, depth, camera, back, mist)
        elif name == "Coverage":
            out[name] = alpha
        elif name in {"Normal", "Vector"}:
            part = made.of(drawn, name) if made is not None else None
            channels = 3 if name == "Normal" else 4
            if part is None:
                out[name] = np.zeros((*shape, channels), np.float32)
            elif name == "Normal":  # as in Cycles, empty parts of a pixel count as zero
                length = np.sqrt(np.einsum("hwc,hwc->hw", part, part))
                out[name] = part * (alpha / np.maximum(length, 1e-12))[..., None]
            else:
                out[name] = part / np.maximum(alpha, 1e-6)[..., None]
    for matte in CRYPTOMATTES:
        count = sum(name.startswith(matte) for name in names)
        part = made.of(drawn, matte) if made is not None else None
        if part is None:
            ranked = [np.zeros((*shape, 4), np.float32)] * count
        else:
            ranked = crypto_layers(part, made.names[matte], count) if made is not None else []
        out.update({f"{matte}{k:02d}": layer for k, layer in enumerate(ranked)})
    return out


def _mist(alpha: np.ndarray, depth: np.ndarray, camera: "Camera", back: float, mist: Mist) -> np.ndarray:
    height, width = depth.shape
    distance = depth
    if not back:  # mist goes by distance, depth along the view
        x = (np.arange(width, dtype=np.float32) + 0.5 - camera.K[0, 2]) / camera.K[0, 0]
        y = (np.arange(height, dtype=np.float32) + 0.5 - camera.K[1, 2]) / camera.K[1, 1]
        distance = depth * np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2)
    inside = np.clip((distance - mist.start) / max(mist.depth, 1e-6), 0, 1) ** mist.power
    inside = np.where(depth >= EMPTY_DEPTH, np.float32(1), inside)
    return (1 - alpha * (1 - inside)).astype(np.float32)
