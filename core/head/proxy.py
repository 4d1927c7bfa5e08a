# SPDX-License-Identifier: GPL-3.0-or-later
"""The head in few triangles: what stands under the splats for selecting, shadows, and where splats cannot be shown.

Its vertices are some of the head's, so it follows every channel by picking: tools/build_proxy.py made the list.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..assets import data_file
from ..errors import AssetError
from .head import Head, Identity
from .motion import ARKIT


@dataclass(frozen=True, eq=False)
class Proxy:
    """index: (P,) vertices of the head. faces: (Q, 3) into them. uv: (Q, 3, 2) of each corner, 0..1, v upwards.

    depth: (P,) 0..1, how far a vertex may be sunk under the skin: lips and eyelids are thin.
    """

    index: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    depth: np.ndarray

    def shapes(self, person: Identity) -> np.ndarray:
        """(52, P, 3) displacements of the ARKit units at 1, head space: linear ones, jaw and lids included."""
        out = person.head.units[:, self.index].astype(np.float32)
        for gain, name in zip(person.blink_gains, ("eyeBlinkLeft", "eyeBlinkRight"), strict=True):
            out[ARKIT.index(name)] *= gain
        return out


def load_proxy(head: Head) -> Proxy:
    """The proxy of the built-in head. Raises AssetError where it was made of another head."""
    path = data_file("proxy.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            index, faces, corners, made_of = (file[name] for name in ("index", "faces", "faces_uv", "head_id"))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise AssetError(f"Proxy '{path}' cannot be read ({error}); reinstall the extension.") from error
    if str(made_of) != head.head_id:
        raise AssetError(
            f"Proxy '{path}' was made of head '{made_of}'; expected '{head.head_id}'. Run tools/build_proxy.py."
        )
    thin = np.clip(head.masks["lips"] + head.masks["eyelids"], 0, 1)[index]
    return Proxy(index, faces, head.uv[corners], 1 - np.float32(0.8) * thin)


@lru_cache(maxsize=2)
def proxy_of(head: Head) -> Proxy:
    """As load_proxy, read once a head."""
    return load_proxy(head)
