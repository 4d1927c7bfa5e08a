# SPDX-License-Identifier: GPL-3.0-or-later
"""The heads of a depsgraph at its frame, ready to be drawn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import convert, session
from .placing import camera_in, placed, similarity

if TYPE_CHECKING:  # registering shall not wait for what only drawing needs
    from ..core.geometry.cameras import Camera
    from ..core.splats.gaussians import Gaussians


@dataclass(frozen=True)
class Actor:
    """One visible head.

    key: the same at every frame. asset: the topmost parent's name. gaussians: (N) in head space. matrix: (4, 4) to the
    world. values: (C,) motion. display: colours are display ones, drawn as their trainer saw them. held: a holdout, which
    hides what is behind and is not seen itself.
    """

    key: tuple[int, ...]
    name: str
    asset: str
    gaussians: "Gaussians"
    matrix: np.ndarray
    loaded: session.Loaded
    values: np.ndarray
    held: bool = False

    @property
    def display(self) -> bool:
        return self.loaded.foreign


@dataclass(frozen=True)
class Cast:
    """Several actors as one set of Gaussians, in order, in the space that `camera` looks into.

    scale: metres of the world per unit of depth there. to_world: (3, 3) rotation for directions.
    """

    actors: tuple[Actor, ...]
    gaussians: "Gaussians"
    camera: "Camera"
    scale: float
    to_world: np.ndarray

    def seen_through(self, camera: "Camera") -> "Camera":
        """Another camera of the world, in this space."""
        return camera_in(camera, self.actors[0].matrix, self.scale) if self._own_space else camera

    def normals(self) -> np.ndarray:
        """(N, 3) in the world, on the camera's side: of the skin where there is one, else each Gaussian's shortest axis."""
        from ..core.splats.rasterize import shortest_axes

        out = shortest_axes(self.gaussians, self.camera.position) @ self.to_world.T
        at = 0
        for actor in self.actors:
            of_skin, rows = actor.loaded.normals(actor.values), slice(at, at + len(actor.gaussians))
            at = rows.stop
            if of_skin is None:
                continue
            turned = of_skin @ np.linalg.inv(actor.matrix[:3, :3])  # normals go by the inverse transpose
            turned /= np.linalg.norm(turned, axis=1, keepdims=True)
            known = np.isfinite(turned).all(1)
            out[rows][known] = turned[known]
        return out.astype(np.float32)

    @property
    def _own_space(self) -> bool:
        return self.gaussians.means is self.actors[0].gaussians.means


def actors(depsgraph: Any) -> list[Actor]:
    """All heads that the depsgraph's view layer renders, at its frame. Raises FormatError for a file that is missing."""
    found: list[Actor] = []
    posed: dict[int, Any] = {}
    layer = depsgraph.view_layer_eval
    for instance in convert.head_instances(depsgraph):
        ob = instance.object
        owner = instance.parent if instance.is_instance and instance.parent else ob
        if ob.indirect_only_get(view_layer=layer) or owner.indirect_only_get(view_layer=layer):
            continue  # the collection is there for shadows and reflections only
        uid = ob.original.session_uid
        if uid not in posed:  # instances share one pose
            loaded = session.of(ob)
            values = convert.channel_values(ob)
            posed[uid] = loaded, values, loaded.pose(values)
        loaded, values, gaussians = posed[uid]
        matrix = convert.world_from_head(instance.matrix_world)
        if abs(np.linalg.det(matrix)) <= 1e-12:  # scaled to nothing: nothing to see
            continue
        held = ob.holdout_get(view_layer=layer) or owner.holdout_get(view_layer=layer)
        key = uid, *instance.persistent_id
        found.append(Actor(key, owner.name, _top(owner), gaussians, matrix, loaded, values, held))
    return found


def _top(ob: Any) -> str:
    while ob.parent is not None:
        ob = ob.parent
    return ob.name


def cast(found: list[Actor], camera: "Camera") -> Cast | None:
    """The actors as one set of Gaussians; None without any.

    A head alone keeps its own space and the camera comes to it; several go into the world.
    """
    from ..core.splats.gaussians import join

    if not found:
        return None
    if len(found) == 1 and (scale := similarity(found[0].matrix)) is not None:
        matrix = found[0].matrix
        return Cast(tuple(found), found[0].gaussians, camera_in(camera, matrix, scale), scale, matrix[:3, :3] / scale)
    eye = camera.position
    together = join([placed(actor.gaussians, actor.matrix, eye) for actor in found])
    return Cast(tuple(found), together, camera, 1.0, np.eye(3))


def places(found: list[Actor], camera: "Camera") -> dict[tuple[int, ...], np.ndarray]:
    """By actor, (N, 2) pixels where its Gaussians' centres are in the picture, y downwards."""
    out = {}
    for actor in found:
        matrix = camera.world_to_camera.astype(np.float64) @ actor.matrix
        x, y, z = (actor.gaussians.means @ matrix[:3, :3].T + matrix[:3, 3]).T
        K = camera.K
        with np.errstate(all="ignore"):
            at = np.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], -1)
        out[actor.key] = np.where((z > 1e-4)[:, None], at, np.nan)
    return out
