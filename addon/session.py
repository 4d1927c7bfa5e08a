# SPDX-License-Identifier: GPL-3.0-or-later
"""What is loaded now: avatars by file and time stamp. Never saved, rebuilt on demand.

Locked, because F12 renders on a thread of its own while the viewport draws on the main one.
"""

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core.errors import FormatError, LoquentError
from .paths import home

_lock = threading.Lock()
_loaded: dict[str, "Loaded"] = {}
_failed: dict[str, tuple[tuple[int, int], LoquentError]] = {}
_problems: dict[str, str] = {}
KEEP = 8
"""Avatars kept in memory: some 20 MB each."""


@dataclass(frozen=True)
class Loaded:
    """A head ready to perform. stamp: (nanoseconds, bytes) of the file it came from. performer: core's Performer for an
    avatar, else something of another program's with a `pose` of its own.

    base: the head as its file has it, where this one is of another shape. looks: the one with the same Gaussians in the
    frames of triangles, which what is uploaded once is kept for.
    """

    path: str
    stamp: tuple[int, int]
    performer: Any
    base: "Loaded | None" = None
    same_looks: "Loaded | None" = None

    @property
    def looks(self) -> "Loaded":
        return self.same_looks or self

    @property
    def foreign(self) -> bool:
        """Not an avatar: splats that another program trained. Their colours are display ones (core/splats/colour.py)."""
        return not hasattr(self.performer, "identity")

    @property
    def boxed(self) -> bool:
        """Nothing but splats: their mesh is the box around them."""
        return self.foreign and not hasattr(self.performer, "faces")

    @property
    def name(self) -> str:
        return Path(self.path).stem if self.foreign else self.performer.avatar.name

    def mesh(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) in head space and triangles (F, 3) of a mesh that stands for the head: its outer skin.

        Eyes, teeth and tongue would only cost redraws. Splats without a mesh get the box around them.
        """
        if not self.foreign:
            person = self.performer.identity
            skin = person.head.parts["skin"]
            assert skin.start == 0, skin
            faces = person.head.faces
            return person.template[: skin.stop], np.ascontiguousarray(faces[(faces < skin.stop).all(1)], np.int32)
        if not self.boxed:
            return self.performer.vertices, np.ascontiguousarray(self.performer.faces, np.int32)
        means = self.performer.gaussians.means
        low, high = means.min(0), means.max(0)
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        sides = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
        return low + corners * (high - low), sides[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int32)

    def pose(self, values: np.ndarray) -> Any:
        """Gaussians in head space for one frame of motion values (C,)."""
        from ..core.splats.avatar import pose

        return self.performer.pose(values) if self.foreign else pose(self.performer, values)

    def normals(self, values: np.ndarray) -> np.ndarray | None:
        """(N, 3) of the surface in head space, NaN for hair, which has none; None where nothing but splats is known."""
        from ..core.head.head import pose_vertices
        from ..core.splats.regions import REGIONS, surface_normals

        if self.foreign:
            return None
        person, binding = self.performer.identity, self.performer.avatar.binding
        out = surface_normals(person, binding, pose_vertices(person, values))
        out[self.regions == REGIONS.index("hair")] = np.nan
        return out

    @cached_property
    def materials(self) -> tuple[str, ...]:
        """Names of the parts that mattes tell apart."""
        from ..core.splats.regions import REGIONS

        return ("splats",) if self.foreign else REGIONS

    @cached_property
    def regions(self) -> np.ndarray:
        """(N,) indices into `materials`."""
        from ..core.splats.regions import gaussian_regions

        if self.foreign:
            return np.zeros(len(self.performer), np.uint8)
        if self.same_looks is not None:
            return self.same_looks.regions
        return gaussian_regions(self.performer.identity, self.performer.avatar.binding)


def performer(avatar: str, library: Any = None) -> Loaded:
    """The avatar of a built-in name or a path, which may be relative (`//`) to the .blend file or library.

    Read again when the file has changed. Raises FormatError or AssetError, also at once for a file that failed before
    and has not changed since: a redraw must not read a damaged file sixty times a second.
    """
    from ..core.splats.avatar import find_avatar

    try:
        try:
            path = find_avatar(avatar)
        except FormatError:
            path = Path(os.path.normpath(bpy.path.abspath(avatar, library=library)))
            if not (path.is_dir() and (path / "skin.glb").is_file()):
                path = find_avatar(path)
        info = path.stat()
        stamp = (info.st_mtime_ns, info.st_size)
        key = str(path)
        with _lock:
            found = _loaded.get(key)
            if found is None or found.stamp != stamp:
                if (failed := _failed.get(key)) and failed[0] == stamp:
                    raise failed[1]
                try:
                    found = Loaded(key, stamp, _load(path))
                except LoquentError as error:
                    _failed[key] = (stamp, error)
                    raise
                while len(_loaded) >= KEEP:
                    _loaded.pop(next(iter(_loaded)))
                _loaded[key] = found
    except LoquentError as error:
        _problems[avatar] = str(error)
        raise
    _problems.pop(avatar, None)
    return found


def of(ob: Any) -> Loaded:
    """What performs a head object as its settings shape it, linked and overridden ones too. Raises FormatError or AssetError.

    Pass the evaluated object where the identity is animated.
    """
    loaded = performer(ob.loquent.avatar, home(ob, "avatar"))
    from . import identities  # with the first head: registering stays quick

    wanted = identities.wanted(ob)
    return loaded if wanted is None or loaded.foreign else identities.shaped(loaded, wanted, ob)


def _load(path: Path) -> Any:
    """What performs the head in a file: an avatar of any head, a LAM head, or free splats that stand still."""
    from ..core.splats.other_head import load_performer

    if path.is_dir() or path.suffix.lower() == ".zip":
        from ..core.splats.lam import load_lam

        return load_lam(path, linear=False)
    from ..core.splats import formats

    if path.suffix.lower() in formats.SUFFIXES:
        return Still(formats.read_splats(path, linear=False))
    return load_performer(path)


@dataclass(frozen=True)
class Still:
    """Splats that no motion moves."""

    gaussians: Any

    def __len__(self) -> int:
        return len(self.gaussians)

    def pose(self, values: np.ndarray) -> Any:
        return self.gaussians


def problem(avatar: str) -> str:
    """What was wrong with an avatar when it was last needed; empty if nothing was."""
    return _problems.get(avatar, "")


def clear() -> None:
    """Forget everything: another file was opened."""
    with _lock:
        _loaded.clear()
        _failed.clear()
        _problems.clear()
    from . import identities

    identities.forget()
