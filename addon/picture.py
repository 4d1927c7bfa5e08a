# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture of the heads: moments of the shutter and points of the lens, each drawn sharp, averaged."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import Cancelled
from ..core.splats.native import CancelFlag
from . import convert, passes, sampling, stage
from .occluders import occluders
from .pixels import EMPTY_DEPTH
from .preferences import preference
from .render_settings import settings

if TYPE_CHECKING:
    from ..core.geometry.cameras import Camera
    from ..core.splats.gaussians import Gaussians
    from ..core.splats.rasterize import Layers

POLL_SECONDS = 0.02
"""How often a running draw asks whether the user has pressed Esc."""


@dataclass(frozen=True)
class Picture:
    """layers: means over all samples, depth in metres of the world and 0 where there is nothing; features as made says.

    seen: (H, W) coverage of what is not a holdout. camera: of the world, at the frame itself; back: what an orthographic
    camera was moved away.
    """

    layers: "Layers | None"
    seen: np.ndarray | None
    made: passes.Features | None
    camera: "Camera"
    back: float


@dataclass(frozen=True)
class Shot:
    """What one picture is asked for. view: name and matrix and shift of a stereo camera, or None.

    crop: (left, top, width, height) of the only part that is drawn, or None.
    """

    depsgraph: Any
    camera: Any
    size: tuple[int, int]
    names: Sequence[str]
    behind: np.ndarray | None
    crop: tuple[int, int, int, int] | None = None
    look: Callable[[Any], tuple[np.ndarray, float]] | None = None
    """Of a stereo view: the camera's matrix and shift at the depsgraph's frame."""

    def core_camera(self) -> tuple["Camera", float]:
        camera = self.camera.evaluated_get(self.depsgraph)
        matrix, shift = self.look(camera) if self.look is not None else (None, None)
        core, back = convert.render_camera(self.depsgraph, camera, *self.size, matrix=matrix, shift_x=shift)
        return (convert.cropped(core, *self.crop) if self.crop else core), back


def paint(shot: Shot, engine: Any) -> Picture:
    """The picture of a shot. Raises Cancelled once `engine.test_break()` says so.

    engine: something with frame_set(frame, subframe), test_break(), update_progress(share) and update_stats.
    """
    scene = shot.depsgraph.scene
    wanted = settings(scene)
    shutter = sampling.shutter_of(scene.render, wanted.motion_samples)
    frame = scene.frame_current + scene.frame_subframe
    motion = None
    if "Vector" in shot.names and shutter is sampling.STILL:
        motion = _motion(shot, engine, frame)
    total = _Sum()
    made, still_camera, still_back = None, *shot.core_camera()
    try:
        for step, (time, weight) in enumerate(zip(shutter.times, shutter.weights, strict=True)):
            if time:
                _go(engine, frame + time)
            for layers, part, share in _moment(shot, engine, wanted, motion, step, shutter):
                made = part
                total.add(layers, weight * share)
    finally:
        if any(shutter.times):
            _go(engine, frame)
    layers = total.mean()
    seen = None
    if layers is not None:
        drawn = made.of(layers.features, "seen") if made is not None else None
        seen = layers.alpha if drawn is None else drawn[..., 0]
    return Picture(layers, seen, made, still_camera, still_back)


def decode(picture: Picture, shot: Shot) -> dict[str, np.ndarray]:
    """The passes of a picture besides Combined and Depth, row 0 on top."""
    if not set(shot.names) - {"Combined", "Depth"}:
        return {}
    mist = passes.Mist.of(shot.depsgraph.scene.world)
    camera = picture.camera
    if picture.layers is None or picture.seen is None:
        shape = camera.height, camera.width
        alpha, depth, drawn = np.zeros(shape, np.float32), np.full(shape, EMPTY_DEPTH), None
    else:
        depth = np.where(picture.layers.depth > 0, picture.layers.depth, EMPTY_DEPTH)
        alpha, drawn = picture.seen, picture.layers.features
    return passes.decoded(shot.names, drawn, picture.made, alpha, depth, camera, picture.back, mist)


def _go(engine: Any, frame: float) -> None:
    whole = int(np.floor(frame))
    engine.frame_set(whole, float(frame - whole))


def _motion(shot: Shot, engine: Any, frame: float) -> dict[tuple[int, ...], np.ndarray]:
    """(N, 4) by actor: pixels from here to where its Gaussians were a frame ago, and from where they will be to here.

    Right and up, as Cycles and the Vector Blur node have it.
    """
    at = []
    try:
        for time in (frame - 1, frame + 1, frame):
            _go(engine, time)
            camera, _ = shot.core_camera()
            at.append(stage.places(stage.actors(shot.depsgraph), camera))
    finally:
        _go(engine, frame)
    before, after, now = at
    up = np.array([1, -1], np.float64)
    out = {}
    for key, here in now.items():
        was, will = before.get(key, here), after.get(key, here)
        if was.shape != here.shape or will.shape != here.shape:  # another file at that frame
            was = will = here
        out[key] = np.concatenate([(was - here) * up, (here - will) * up], 1)
    return out


def _moment(
    shot: Shot,
    engine: Any,
    wanted: Any,
    motion: dict[tuple[int, ...], np.ndarray] | None,
    step: int,
    shutter: sampling.Shutter,
) -> Iterator[tuple["Layers", passes.Features | None, float]]:
    """Layers of each lens sample at the depsgraph's frame, with its share."""
    moments = len(shutter.times)
    camera, back = shot.core_camera()
    cast = stage.cast(stage.actors(shot.depsgraph), camera)
    if cast is None:
        return
    lens = sampling.lens_of(shot.camera.evaluated_get(shot.depsgraph), camera.world_to_camera)
    depths = _depths(cast)
    points = np.zeros((1, 2))
    if lens is not None and sampling.blur_pixels(camera, lens, depths * cast.scale, back) > sampling.SHARP_PIXELS:
        every = sampling.lens_points(lens, max(wanted.lens_samples, moments))
        points = every[step::moments]
    meshes = occluders(shot.depsgraph) if wanted.use_holdout else []
    offsets = None if motion is None else np.concatenate([motion[actor.key] for actor in cast.actors])
    made = passes.features(cast, shot.names, offsets)
    gaussians = _without_colour(cast)
    deep = not {"Depth", "Mist"}.isdisjoint(shot.names)
    alone = moments * len(points) == 1
    for k, point in enumerate(points):
        if engine.test_break():
            raise Cancelled("Rendering was stopped.")
        number = step + moments * k
        through = camera if not point.any() or lens is None else sampling.through(camera, lens, point, back)
        draw = _Draw(gaussians, cast, through, shot.behind, made, deep)
        layers = watched(lambda flag, draw=draw, n=number: draw(meshes, depths, alone, n, flag), engine.test_break)
        yield replace(layers, depth=_metres(layers.depth, cast.scale, back)), made, 1 / len(points)
        engine.update_progress((step + (k + 1) / len(points)) / moments)


def _depths(cast: stage.Cast) -> np.ndarray:
    matrix = cast.camera.world_to_camera
    return cast.gaussians.means @ matrix[2, :3] + matrix[2, 3]


def _metres(depth: np.ndarray, scale: float, back: float) -> np.ndarray:
    """To the world's scale, less what an orthographic camera was moved back; 0 stays 0. In place."""
    if scale != 1:
        depth *= np.float32(scale)
    if back:
        np.subtract(depth, np.float32(back), out=depth, where=depth > 0)
    return depth


def _without_colour(cast: stage.Cast) -> "Gaussians":
    """Holdouts and display colours draw black: the first have none, the others come as features."""
    from ..core.splats.gaussians import SH_C0

    dark = [actor.held or actor.display for actor in cast.actors]
    if not any(dark):
        return cast.gaussians
    rows = np.repeat(dark, [len(actor.gaussians) for actor in cast.actors])
    harmonics = cast.gaussians.harmonics[:, :1] if all(dark) else cast.gaussians.harmonics
    harmonics = harmonics.copy()
    harmonics[rows] = 0
    harmonics[rows, 0] = -0.5 / SH_C0
    return replace(cast.gaussians, harmonics=harmonics)


@dataclass(frozen=True)
class _Draw:
    """One sharp picture from a camera of the world."""

    gaussians: "Gaussians"
    cast: stage.Cast
    camera: "Camera"
    behind: np.ndarray | None
    made: passes.Features
    deep: bool
    """Depth is asked for: the median, which a translucent skin does not draw towards what is behind it."""

    def __call__(
        self,
        meshes: Sequence[tuple[np.ndarray, np.ndarray]],
        depths: np.ndarray,
        alone: bool,
        number: int,
        flag: CancelFlag,
    ) -> "Layers":
        """alone: the only sample, whose edges of meshes have to be smooth by themselves; else samples smooth them."""
        from ..core.splats.holdout import limits

        near_far = None
        if meshes:
            end = float(depths.max()) * self.cast.scale
            near_far = limits(meshes, self.camera, end, samples=4 if alone else 1, first=number)
        layers = self._drawn(None if near_far is None else near_far.near, flag)
        if near_far is not None and near_far.far is not None and near_far.share is not None:
            layers = _mixed(layers, self._drawn(near_far.far, flag), near_far.share)
        return layers

    def _drawn(self, limit: np.ndarray | None, flag: CancelFlag) -> "Layers":
        from ..core.splats.rasterize import rasterize

        red, green, blue = (0.0, 0.0, 0.0) if self.behind is None else map(float, self.behind)
        layers = rasterize(
            self.gaussians,
            self.cast.seen_through(self.camera),
            background=(red, green, blue),
            passes=("median_depth",) if self.deep else (),
            features=self.made.columns,
            threads=preference("threads", 0),
            limit=None if limit is None else limit / np.float32(self.cast.scale),
            cancel=flag,
        )
        if layers.median_depth is not None:
            layers = replace(layers, depth=layers.median_depth, median_depth=None)
        shown = self.made.of(layers.features, "display")
        return layers if shown is None else replace(layers, colour=layers.colour + _light(shown))


def _light(shown: np.ndarray) -> np.ndarray:
    """(H, W, 3) premultiplied scene-linear colour of drawn display colours and their coverage (H, W, 4)."""
    from ..core.splats.colour import linear_layers
    from ..core.splats.rasterize import Layers

    return linear_layers(Layers(shown[..., :3], shown[..., 3], shown[..., 3])).colour


def _mixed(one: "Layers", other: "Layers", share: np.ndarray) -> "Layers":
    """`share` (H, W) of one and the rest of the other; depths by what covers them."""
    total = _Sum()
    total.add(one, share)
    total.add(other, 1 - share)
    mixed = total.mean()
    assert mixed is not None
    return mixed


class _Sum:
    """Weighted sum of layers. Weights are numbers or (H, W)."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray | None] | None = None
        self._only: Layers | None = None

    def add(self, layers: "Layers", weight: float | np.ndarray) -> None:
        if self._parts is None and isinstance(weight, float) and weight == 1.0:
            self._only = layers  # sharp pictures are handed on untouched
            return
        assert self._only is None, "weights add up to more than 1"
        wide = np.asarray(weight, np.float32)
        deep = wide[..., None] if wide.ndim else wide
        parts = [
            layers.colour * deep, layers.alpha * wide, layers.depth * layers.alpha * wide,
            None if layers.features is None else layers.features * deep,
        ]  # fmt: skip
        if self._parts is None:
            self._parts = parts
        else:
            for mine, more in zip(self._parts, parts, strict=True):
                if mine is not None:
                    mine += more

    def mean(self) -> "Layers | None":
        from ..core.splats.rasterize import Layers

        if self._parts is None:
            return self._only
        colour, alpha, depth, drawn = self._parts
        assert colour is not None and alpha is not None and depth is not None
        np.divide(depth, alpha, out=depth, where=alpha > 0)
        return Layers(colour, alpha, depth, features=drawn)


def watched(draw: Callable[[CancelFlag], "Layers"], test_break: Callable[[], bool]) -> "Layers":
    """What `draw` returns, run on a thread of its own while this one asks Blender whether to stop. Raises Cancelled."""
    flag = CancelFlag()
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(draw(flag))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="Loquent drawing")
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        if not flag.is_set() and test_break():
            flag.set()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
