# SPDX-License-Identifier: GPL-3.0-or-later
"""An avatar: an identity of the parametric head and the Gaussians its triangles carry; stored as one `.loq` file.

Spherical harmonics are stored in head space and are not turned with the triangles: what a fit saw as sheen from the front
stays in front. Colours are scene-linear under the light the avatar was fitted in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..assets import AVATARS, data_file
from ..errors import FormatError
from ..head.head import Head, Identity, identity, load_head, pose_vertices
from ..head.motion import CHANNELS
from .binding import Binding, carry
from .colour_network import ColourNetwork, colour_network_of
from .gaussians import Gaussians
from .plate import Plate, plate_of

FORMAT = "Loquent avatar"
VERSION = 1
MAX_GAUSSIANS = 2_000_000


@dataclass(frozen=True)
class Avatar:
    """N Gaussians bound to the head whose `head_id` is named.

    betas: (S,) identity. binding: N Gaussians in triangle frames. opacities: (N,) 0..1. harmonics: (N, K, 3).
    about: licence, provenance, consent, made_with and whatever else the maker states; plain JSON.
    thumbnail: (H, W, 4) uint8 sRGB with straight alpha, or None.
    colour: what changes the colours with the performance, or None: they stay as they are.
    inpainter: the network, as ONNX, that sets this head into the film it was made from (inpainter.py), or None.
    plate: that film's camera and the head's performance in it, or None.
    """

    name: str
    head_id: str
    betas: np.ndarray
    binding: Binding
    opacities: np.ndarray
    harmonics: np.ndarray
    about: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: np.ndarray | None = None
    colour: ColourNetwork | None = None
    inpainter: bytes | None = None
    plate: Plate | None = None

    def __len__(self) -> int:
        return len(self.opacities)


def builtin_avatars() -> dict[str, Path]:
    """Names and files of the avatars that ship with Loquent."""
    return {name: data_file(f"{name}.loq") for name in AVATARS}


def find_avatar(name_or_path: str | Path) -> Path:
    """File of a built-in name, or the path itself. Raises FormatError where there is neither."""
    if str(name_or_path) in AVATARS:
        return data_file(f"{name_or_path}.loq")
    path = Path(name_or_path)
    if not path.is_file():
        raise FormatError(
            f"There is no head '{name_or_path}': expected one of {', '.join(AVATARS)} or the path of a .loq file."
        )
    return path


def save_avatar(avatar: Avatar, path: Path | str) -> None:
    """Write a `.loq` file: half precision for shapes, bytes for opacities; a file of 60,000 Gaussians takes 2-4 MB."""
    arrays = {
        "triangles": avatar.binding.triangles.astype(np.int32),
        "offsets": avatar.binding.offsets.astype(np.float16),
        "quats_wxyz": _unit(avatar.binding.quats_wxyz).astype(np.float16),
        "log_scales": np.log(np.maximum(avatar.binding.scales, 1e-6)).astype(np.float16),
        "opacities": np.round(np.clip(avatar.opacities, 0, 1) * 255).astype(np.uint8),
        "harmonics": avatar.harmonics.astype(np.float16),
        "betas": avatar.betas.astype(np.float32),
    }
    if avatar.thumbnail is not None:
        arrays["thumbnail"] = avatar.thumbnail.astype(np.uint8)
    if avatar.colour is not None:
        arrays |= avatar.colour.arrays()
    if avatar.inpainter is not None:
        arrays["inpainter"] = np.frombuffer(avatar.inpainter, np.uint8)
    header = {
        "format": FORMAT, "version": VERSION, "name": avatar.name, "head_id": avatar.head_id, "about": dict(avatar.about),
    }  # fmt: skip
    if avatar.plate is not None:
        arrays |= avatar.plate.arrays()
        header["plate"] = avatar.plate.header()
    checkpoint.write(path, arrays, header)


def load_avatar(path: Path | str) -> Avatar:
    """Read a `.loq` file. Raises FormatError for anything that is not one this version can pose."""
    arrays, header = checkpoint.read(path, format=FORMAT, version=VERSION)
    count = len(arrays.get("triangles", ()))
    if not 0 < count <= MAX_GAUSSIANS:
        raise FormatError(f"'{path}' holds {count:,} Gaussians; expected 1 to {MAX_GAUSSIANS:,}.")
    for name, shape in (("offsets", (3,)), ("quats_wxyz", (4,)), ("log_scales", (3,)), ("opacities", ())):
        found = arrays[name].shape if name in arrays else "absent"
        if found != (count, *shape):
            raise FormatError(f"'{path}': array '{name}' is {found}; expected {(count, *shape)}. The file is damaged.")
    harmonics = arrays.get("harmonics", np.zeros(0))
    if harmonics.ndim != 3 or harmonics.shape[::2] != (count, 3) or harmonics.shape[1] not in (1, 4, 9, 16):
        raise FormatError(
            f"'{path}': array 'harmonics' is {harmonics.shape}; expected ({count}, 1 | 4 | 9 | 16, 3). The file is damaged."
        )
    binding = Binding(
        triangles=arrays["triangles"].astype(np.int32),
        offsets=arrays["offsets"].astype(np.float32),
        quats_wxyz=_unit(arrays["quats_wxyz"].astype(np.float32)),
        scales=np.exp(arrays["log_scales"].astype(np.float32)),
    )
    thumbnail = arrays.get("thumbnail")
    return Avatar(
        name=str(header.get("name", Path(path).stem)),
        head_id=str(header.get("head_id", "")),
        betas=arrays.get("betas", np.zeros(0)).astype(np.float32),
        binding=binding,
        opacities=arrays["opacities"].astype(np.float32) / 255,
        harmonics=np.ascontiguousarray(harmonics, np.float32),
        about=dict(header.get("about", {})),
        thumbnail=thumbnail if thumbnail is not None and thumbnail.ndim == 3 and thumbnail.shape[2] == 4 else None,
        colour=colour_network_of(arrays, count, path),
        inpainter=_inpainter(arrays.get("inpainter"), path),
        plate=plate_of(arrays, header.get("plate"), path),
    )


def _inpainter(found: np.ndarray | None, path: Path | str) -> bytes | None:
    from .inpainter import check_inpainter  # which draws heads, and so imports this file

    if found is None:
        return None
    if found.dtype != np.uint8 or found.ndim != 1:
        raise FormatError(
            f"'{path}': array 'inpainter' is {found.dtype} {found.shape}; expected bytes. The file is damaged."
        )
    try:
        check_inpainter(found.tobytes())
    except FormatError as error:
        raise FormatError(f"'{path}': {error}") from error
    return found.tobytes()


@dataclass(frozen=True)
class Performer:
    """An avatar on its head, ready to be posed: what is computed once a head, not once a frame."""

    avatar: Avatar
    identity: Identity

    @cached_property
    def resting(self) -> np.ndarray:
        """(N, 3) means of the Gaussians in metres while the face is at rest."""
        return pose(self, np.zeros(len(CHANNELS), np.float32)).means


def performer(avatar: Avatar, head: Head | None = None) -> Performer:
    """Put an avatar on its head. Raises FormatError where it was made for another head than the built-in one."""
    head = head or load_head()
    if avatar.head_id != head.head_id:
        raise FormatError(
            f"Avatar '{avatar.name}' was made for head '{avatar.head_id}'; this Loquent has '{head.head_id}'. "
            "Use the Loquent version that made it, or make the avatar again."
        )
    triangles = avatar.binding.triangles
    if triangles.min() < 0 or triangles.max() >= len(head.faces):
        raise FormatError(
            f"Avatar '{avatar.name}' is bound to triangle {triangles.max()}; its head has {len(head.faces)}. "
            "The file is damaged."
        )
    return Performer(avatar, identity(head, avatar.betas))


def pose(performer: Performer, values: np.ndarray) -> Gaussians:
    """Gaussians in head space for one frame of motion values (C,)."""
    avatar = performer.avatar
    vertices = pose_vertices(performer.identity, values)
    means, quats, scales = carry(avatar.binding, vertices, performer.identity.head.faces)
    return Gaussians(means, quats, scales, avatar.opacities, harmonics_of(avatar, values))


def harmonics_of(avatar: Avatar, values: np.ndarray) -> np.ndarray:
    """(N, K, 3) for one frame of motion values (C,): the avatar's own array where its colours do not change."""
    return avatar.harmonics if avatar.colour is None else avatar.colour.harmonics(avatar.harmonics, values)


def _unit(quats: np.ndarray) -> np.ndarray:
    return quats / np.maximum(np.linalg.norm(quats, axis=-1, keepdims=True), 1e-12)
