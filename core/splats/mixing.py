# SPDX-License-Identifier: GPL-3.0-or-later
"""One head's Gaussians on another identity, and mixtures of two heads.

Gaussians are stored in the frames of triangles, so another identity carries them along, bigger where its triangles are
bigger. Looks are mixed in one of two ways. Heads made on the same texels have the same triangle at every place of their
lists: there places, axes, sizes, opacities and colours go over into each other ("values"). Others dissolve ("dissolve"):
both sets stand on the mixed identity, each as dense as its share. Features lie over each other, because both are bound to
one mesh, and both sets are given the mixed colour of the triangle they stand on: dense Gaussians hide each other wholly, so
that without it a mixture is blotchy with the colours of whoever happens to be in front.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..head.head import load_head
from ..head.sliders import moved
from .avatar import Avatar, find_avatar, load_avatar, performer, save_avatar
from .binding import Binding
from .colour_network import ColourNetwork

GONE = 1 / 255
"""Opacity below which nothing is drawn."""
SPREAD = 8
"""Rings of triangles that colours are carried over where nothing stands."""


def reshaped(avatar: Avatar, amounts: dict[str, float]) -> Avatar:
    """The same looks on a moved identity. amounts: standard deviations by name (core/head/sliders.py)."""
    return replace(avatar, betas=moved(avatar.betas, amounts, len(load_head().shapedirs)))


def same_slots(a: Avatar, b: Avatar) -> bool:
    """Whether Gaussian i of both stands on the same triangle, for all i: heads made on the same texels."""
    return np.array_equal(a.binding.triangles, b.binding.triangles)


def mixed(a: Avatar, b: Avatar, factor: float, *, looks: bool = True) -> Avatar:
    """From a (factor 0) to b (factor 1). Without `looks` only the shape of the head moves and a's Gaussians follow.

    At 0 and 1 one set of Gaussians is left, unchanged. Factors outside are held at the ends. Colours that change with the
    expression are those of the nearer head, fading out towards the middle, where they would belong to neither; what paints
    one person's footage is left out of mixtures.
    Raises FormatError for avatars of different heads.
    """
    if a.head_id != b.head_id:
        raise FormatError(
            f"'{a.name}' was made for head '{a.head_id}' and '{b.name}' for '{b.head_id}': they have no mesh in common. "
            "Make one of them again with this version of Loquent."
        )
    share = float(np.clip(factor, 0, 1))
    if share == 0:
        return a
    count = max(len(a.betas), len(b.betas))
    betas = (1 - share) * np.pad(a.betas, (0, count - len(a.betas))) + share * np.pad(
        b.betas, (0, count - len(b.betas))
    )
    betas = betas.astype(np.float32)
    if not looks:
        about = {**mixed_about(a, b, share), "source": f"looks of {a.name}, shape {share:.0%} towards {b.name}"}
        return replace(a, betas=betas, about=about)
    if share == 1:
        return b
    made = _values(a, b, share) if same_slots(a, b) else _dissolved(a, b, share)
    return replace(
        made, name=f"{a.name} + {b.name}", betas=betas, about=mixed_about(a, b, share),
        thumbnail=None, inpainter=None, plate=None,
    )  # fmt: skip


def mixed_about(a: Avatar, b: Avatar, share: float) -> dict[str, Any]:
    """What the file of a mixture says: both persons, both consents."""
    both = [(avatar.name, avatar.about) for avatar in (a, b)]

    def joined(key: str) -> str:
        said = [(name, str(about.get(key, "")).strip()) for name, about in both]
        if said[0][1] == said[1][1]:
            return said[0][1]
        return "; ".join(f"{name}: {text or 'not stated'}" for name, text in said)

    out = {key: joined(key) for key in ("subject", "consent", "date", "licence", "made_with")}
    out = {key: text for key, text in out.items() if text}
    kept: dict[str, Any] = dict(out)
    kept["source"] = f"mix of {a.name} ({1 - share:.0%}) and {b.name} ({share:.0%})"
    kept["synthetic"] = all(bool(about.get("synthetic")) for _, about in both)
    return kept


def mix_files(
    first: str | Path, second: str | Path, factor: float, out: Path, *, looks: bool = True
) -> tuple[Avatar, str]:
    """Mix two heads, by built-in name or file, into a new `.loq`; the mixture, and a sentence that says how it was made.

    Raises FormatError for what is no head, for heads of different meshes, and for a factor outside 0 to 1.
    """
    if not 0 <= factor <= 1:
        raise FormatError(f"The factor is {factor:g}; expected 0 (all the first head) to 1 (all the second).")
    if Path(out).suffix.lower() != ".loq":
        raise FormatError(f"'{out}' is no name for a head; expected one that ends in .loq.")
    a, b = (_to_mix(name) for name in (first, second))
    made = mixed(a, b, factor, looks=looks)
    save_avatar(made, out)
    if not looks:
        how = f"the shape alone; the looks are {a.name}'s"
    elif same_slots(a, b):
        how = "shape, places, sizes and colours: both were made on the same texels"
    else:
        how = "the shape, and both sets of Gaussians over each other: they were not made on the same texels"
    return made, f"{made.name}: {1 - factor:.0%} {a.name}, {factor:.0%} {b.name}; {how}. {len(made):,} Gaussians."


def _to_mix(name: str | Path) -> Avatar:
    if Path(name).is_dir() or Path(name).suffix.lower() == ".zip":
        raise FormatError(
            f"'{name}' is a folder or zip, as LAM's heads are; expected a built-in head or a .loq. Import it first: loquent head "
            "import head.zip -o head.loq."
        )
    avatar = load_avatar(find_avatar(name))
    if avatar.head_id != load_head().head_id:
        raise FormatError(
            f"'{avatar.name}' stands on the mesh '{avatar.head_id}'; only heads on the built-in one, '{load_head().head_id}', can "
            "be mixed. Heads on a FLAME mesh perform and export as they are."
        )
    performer(avatar)  # refuses damaged files with the reason
    return avatar


def _values(a: Avatar, b: Avatar, share: float) -> Avatar:
    f = np.float32(share)
    quats = b.binding.quats_wxyz * np.where(
        (a.binding.quats_wxyz * b.binding.quats_wxyz).sum(1, keepdims=True) < 0, -1, 1
    )
    quats = (1 - f) * a.binding.quats_wxyz + f * quats
    quats /= np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    binding = Binding(
        a.binding.triangles,
        (1 - f) * a.binding.offsets + f * b.binding.offsets,
        quats.astype(np.float32),
        (a.binding.scales ** (1 - f) * b.binding.scales**f).astype(np.float32),
    )
    first, second = _padded(a.harmonics, b.harmonics)
    return replace(
        a,
        binding=binding,
        opacities=((1 - f) * a.opacities + f * b.opacities).astype(np.float32),
        harmonics=(1 - f) * first + f * second,
        colour=_faded((a if share < 0.5 else b).colour, share),
    )


def _dissolved(a: Avatar, b: Avatar, share: float) -> Avatar:
    """Both sets, each with its share of opacity, their colours moved so that both have the same mean on every triangle."""
    own, others = _triangle_colours(a), _triangle_colours(b)
    first, second = _padded(a.harmonics, b.harmonics)
    first, second = first.copy(), second.copy()
    first[:, 0] += share * (others - own)[a.binding.triangles]
    second[:, 0] += (1 - share) * (own - others)[b.binding.triangles]
    # Shares of opacity as they are: skin is several Gaussians deep and stays closed, long hair thins out evenly.
    opacities = [avatar.opacities * np.float32(weight) for avatar, weight in ((a, 1 - share), (b, share))]
    kept = [each >= GONE for each in opacities]
    binding = Binding(
        *(
            np.concatenate([getattr(avatar.binding, name)[rows] for avatar, rows in zip((a, b), kept, strict=True)])
            for name in ("triangles", "offsets", "quats_wxyz", "scales")
        )
    )
    return replace(
        a,
        binding=binding,
        opacities=np.concatenate([each[rows] for each, rows in zip(opacities, kept, strict=True)]).astype(np.float32),
        harmonics=np.concatenate([first[kept[0]], second[kept[1]]]),
        colour=_faded(_of_part(a, kept[0], 0) if share < 0.5 else _of_part(b, kept[1], int(kept[0].sum())), share),
    )


def _of_part(avatar: Avatar, kept: np.ndarray, start: int) -> ColourNetwork | None:
    """An avatar's colour network for those of its Gaussians that are kept, which begin at `start` of a mixture."""
    if avatar.colour is None:
        return None
    part = avatar.colour.of(np.flatnonzero(kept))
    return replace(part, rows=part.rows + np.int32(start))


def _faded(network: ColourNetwork | None, share: float) -> ColourNetwork | None:
    return network and replace(network, basis=network.basis * np.float32(abs(1 - 2 * share)))


def _triangle_colours(avatar: Avatar) -> np.ndarray:
    """(F, 3) mean degree-0 harmonics of what stands on each triangle; bare ones take it from around them."""
    faces = load_head().faces
    weights = avatar.opacities * avatar.binding.scales.max(1) ** 2 + 1e-9
    sums = np.stack(
        [np.bincount(avatar.binding.triangles, w, len(faces)) for w in (weights, *(weights * avatar.harmonics[:, 0].T))]
    )
    at = np.ascontiguousarray(faces.ravel())
    vertices = int(faces.max()) + 1
    for _ in range(SPREAD):
        bare = sums[0] <= 0
        if not bare.any():
            break
        around = np.stack([np.bincount(at, np.repeat(row, 3), vertices) for row in sums])
        sums[:, bare] = around[:, faces[bare]].sum(2)
    everywhere = (weights @ avatar.harmonics[:, 0]) / weights.sum()
    return np.where(sums[0] > 0, sums[1:] / np.maximum(sums[0], 1e-30), everywhere[:, None]).T.astype(np.float32)


def _padded(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Harmonics of the higher of both degrees."""
    most = max(a.shape[1], b.shape[1])
    return [np.pad(table, ((0, 0), (0, most - table.shape[1]), (0, 0))) for table in (a, b)]
