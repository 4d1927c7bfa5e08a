# SPDX-License-Identifier: GPL-3.0-or-later
"""Avatars of another head than the built-in one, such as a user's FLAME: the head's file lies beside the avatar's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import AssetError, FormatError
from ..head.head import Head, load_head, pose_vertices
from .avatar import Avatar, Performer, load_avatar, performer, pose
from .colour import display_harmonics
from .gaussians import Gaussians

ENDING = ".head.npz"


@dataclass(frozen=True)
class OnOtherHead:
    """A performer for those who know only the built-in head: it poses itself, and its colours are display ones.

    vertices (V, 3) and faces (F, 3): the head's mesh at rest.
    """

    performer: Performer
    vertices: np.ndarray
    faces: np.ndarray
    display: np.ndarray

    def __len__(self) -> int:
        return len(self.performer.avatar)

    def pose(self, values: np.ndarray) -> Gaussians:
        """Gaussians in head space for one frame of motion values (65,)."""
        g = pose(self.performer, values)
        return Gaussians(g.means, g.quats_wxyz, g.scales, g.opacities, self.display)


def find_head(head_id: str, near: Path) -> Head:
    """The head of that id among the `*.head.npz` in a folder. Raises FormatError where there is none."""
    found = []
    for path in sorted(near.glob("*" + ENDING)):
        try:
            head = load_head(path)
        except AssetError:
            continue
        if head.head_id == head_id:
            return head
        found.append(path.name)
    listed = f"there {'is' if len(found) == 1 else 'are'} {', '.join(found)[:120]}" if found else "there is none"
    raise FormatError(
        f"This avatar belongs to another head, '{head_id}', whose file (name{ENDING}) should lie beside it in '{near}'; "
        f"{listed}. Copy it there, or make it with `loquent head convert-flame`."
    )


def head_of(avatar: Avatar, path: Path | str) -> Head:
    """The head an avatar was made for: the built-in one, or a file beside the avatar's `path`."""
    built_in = load_head()
    return built_in if avatar.head_id == built_in.head_id else find_head(avatar.head_id, Path(path).resolve().parent)


def load_performer(path: Path | str) -> Performer | OnOtherHead:
    """What performs the avatar in a file, whichever head it was made for. Raises FormatError or AssetError."""
    avatar = load_avatar(path)
    head = head_of(avatar, path)
    found = performer(avatar, head)
    if head is load_head():
        return found
    still = pose_vertices(found.identity, np.zeros(65, np.float32))
    return OnOtherHead(found, still, head.faces, display_harmonics(avatar.harmonics))
