# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads on the graphics card: what is uploaded once, what is uploaded a frame, and the draw call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from ..core.geometry.cameras import Camera
from . import poses
from .splat_shader import HEAD_TEXELS, HEADER_TEXELS, PLANES, STATIC_TEXELS, compile_shader

WIDTH = 2048
"""Texels a row: every card since 2010 takes textures that wide."""
MODELS = 16
"""Heads whose unchanging texels are kept; some 5 MB each."""
GROWTH = 0.8
"""Exponent by which Gaussians grow when one in `step` is drawn: step ** (GROWTH / 2) keeps the skin closed."""


@dataclass(frozen=True)
class View:
    """What a head is drawn for.

    back: distance that an orthographic camera was moved away, else 0. clip: the OpenGL projection's elements [2][2] and
    [2][3], by which depths match what else is in the picture.
    """

    camera: Camera
    back: float
    clip: tuple[float, float]


@dataclass(frozen=True)
class Seen:
    """One head in a view. model: (4, 4) from head space to the world."""

    loaded: Any
    values: np.ndarray
    model: np.ndarray
    view: View


@dataclass(frozen=True)
class Manner:
    """How heads are drawn.

    depth_only: depth of what covers half of a pixel, no colour. step: one Gaussian in so many, larger. planes: (P, 4) in
    camera space; what is on their negative side is cut off. nearer: metres that depths are drawn before their place.
    exposure: factor of colours. erase: what is drawn already goes where heads cover it; blend by multiplying.
    """

    depth_only: bool = False
    step: int = 1
    planes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    nearer: float = 0.0
    exposure: float = 1.0
    erase: bool = False


@dataclass(frozen=True)
class Model:
    """What of an avatar never changes. N Gaussians on U triangles of its mesh.

    texels: (N * stride, 4). corners: (3, U) vertices. triangles: (N,) indices into them. offsets: (N, 3). colour: the
    network that changes its colours with the motion, or None.
    """

    texels: np.ndarray
    corners: np.ndarray
    triangles: np.ndarray
    offsets: np.ndarray
    harmonics: int
    colour: Any = None

    @cached_property
    def places(self) -> np.ndarray:
        """(N, 4): offsets and a one, for the order."""
        return np.ascontiguousarray(np.pad(self.offsets, ((0, 0), (0, 1)), constant_values=1), np.float32)

    @cached_property
    def faces(self) -> np.ndarray:
        """(U, 4) texels."""
        return np.pad(self.corners.T, ((0, 0), (0, 1))).astype(np.float32)


def model_of(avatar: Any, faces: np.ndarray) -> Model:
    """Of an avatar bound to triangles of `faces` (F, 3)."""
    binding = avatar.binding
    used, triangles = np.unique(binding.triangles, return_inverse=True)
    return _model(binding, faces[used], triangles, avatar.opacities, avatar.harmonics, avatar.colour)


# A triangle whose frame is the identity: Gaussians of another program's stand on it.
STAND = np.array([[-1, 0, 1], [2, 0, 1], [-1, 0, -2]], np.float32) / 3


def free_model(gaussians: Any) -> Model:
    """Of Gaussians that no mesh carries, with the display colours that other programs train."""
    from ..core.splats.binding import Binding
    from ..core.splats.colour import linear_harmonics

    nothing = np.zeros(len(gaussians), np.int64)
    binding = Binding(nothing, gaussians.means, gaussians.quats_wxyz, gaussians.scales)
    return _model(binding, np.array([[0, 1, 2]]), nothing, gaussians.opacities, linear_harmonics(gaussians.harmonics))


def _model(
    binding: Any,
    corners: np.ndarray,
    triangles: np.ndarray,
    opacities: np.ndarray,
    harmonics: np.ndarray,
    colour: Any = None,
) -> Model:
    texels = np.zeros((len(triangles), STATIC_TEXELS + harmonics.shape[1], 4), np.float32)
    texels[:, 0, :3], texels[:, 0, 3] = binding.offsets, triangles
    texels[:, 1] = binding.quats_wxyz
    texels[:, 2, :3], texels[:, 2, 3] = binding.scales, opacities
    texels[:, STATIC_TEXELS:, :3] = harmonics
    if colour is not None:  # which of the frame's changes is this Gaussian's, counted from 1
        texels[colour.rows, STATIC_TEXELS, 3] = np.arange(1, len(colour.rows) + 1)
    return Model(
        texels.reshape(-1, 4), np.ascontiguousarray(corners.T), triangles.astype(np.intp), binding.offsets,
        harmonics.shape[1], colour,
    )  # fmt: skip


def frames(vertices: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(4, 3, U): for triangles (3, U) of vertices (V, 3) what an offset's x, y, z and a one add to a mean.

    The same as core's triangle_frames, coordinate by coordinate: a third of its time.
    """
    planes = np.ascontiguousarray(vertices.T)
    a = np.take(planes, corners[0], axis=1)
    edge = np.take(planes, corners[1], axis=1)
    edge -= a
    side = np.take(planes, corners[2], axis=1)
    side -= a
    out = np.empty((4, 3, corners.shape[1]), np.float32)
    out[3] = a + (edge + side) / np.float32(3)
    width = np.sqrt(edge[0] * edge[0] + edge[1] * edge[1] + edge[2] * edge[2])
    along = edge
    along /= np.maximum(width, np.float32(1e-12))
    up = out[1]
    _cross(along, side, up)
    height = np.sqrt(up[0] * up[0] + up[1] * up[1] + up[2] * up[2])
    up /= np.maximum(height, np.float32(1e-12))
    _cross(along, up, out[2])
    out[0] = along
    out[:3] *= (width + height) / 2
    return out


def _cross(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        np.multiply(a[j], b[k], out=out[i])
        out[i] -= a[k] * b[j]


class Pose:
    """A head at some channel values. vertices: (V, 3) that its triangles' corners count in."""

    def __init__(self, model: Model, vertices: np.ndarray, values: np.ndarray | None = None) -> None:
        self.model = model
        self.vertices = vertices
        self._values = values

    @cached_property
    def changes(self) -> np.ndarray:
        """(M, 3) that are added to the plain colours of the Gaussians that the model's colour network knows."""
        if self.model.colour is None or self._values is None:
            return np.zeros((0, 3), np.float32)
        return self.model.colour.changes(self._values)

    @cached_property
    def frames(self) -> np.ndarray:
        return frames(self.vertices, self.model.corners)

    def depths(self, row: np.ndarray, step: int = 1) -> np.ndarray:
        """(ceil(N / step),) of Gaussians along row (4,) of a head-to-camera matrix."""
        row = row.astype(np.float32)
        by_triangle = np.ascontiguousarray((row[0] * self.frames[:, 0] + row[1] * self.frames[:, 1]
                                            + row[2] * self.frames[:, 2]).T)  # fmt: skip
        each = np.take(by_triangle, self.model.triangles[::step], axis=0)
        return np.einsum("nk,nk->n", each, self.model.places[::step]) + row[3]


def order(depths: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) float32 places in the concatenation of all heads' Gaussians, farthest first.

    Depths are sorted as 16-bit steps: numpy's radix sort, 1 ms for 60,000. Heads whose depths do not overlap are sorted
    for themselves, so that two of them far apart are not sorted coarsely.
    """
    starts = np.cumsum([0, *map(len, depths)])
    spans = sorted(((float(d.max()), float(d.min()), i) for i, d in enumerate(depths) if len(d)), reverse=True)
    groups: list[tuple[float, list[int]]] = []  # nearest depth so far, heads
    for far, near, i in spans:
        if groups and far >= groups[-1][0]:
            groups[-1] = min(near, groups[-1][0]), [*groups[-1][1], i]
        else:
            groups.append((near, [i]))
    parts = []
    for _, members in groups:
        along = depths[members[0]] if len(members) == 1 else np.concatenate([depths[i] for i in members])
        low, high = float(along.min()), float(along.max())
        steps = ((high - along) * np.float32(65535 / max(high - low, 1e-9))).astype(np.uint16)
        sequence = np.argsort(steps, kind="stable")
        if len(members) == 1:
            sequence += starts[members[0]]
        else:
            places = [np.arange(starts[i], starts[i + 1]) for i in members]
            sequence = np.concatenate(places)[sequence]
        parts.append(sequence.astype(np.float32))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Stage:
    """The heads of a view on the card. Make and use it where a GPU context is current."""

    def __init__(self) -> None:
        self._models: dict[int, tuple[Any, Model]] = {}
        self._free: dict[int, tuple[bytes, Model]] = {}
        self._set: tuple[tuple[Model, ...], Any, list[tuple[int, int]]] | None = None
        self._poses: dict[int, tuple[Any, bytes, Pose]] = {}
        self._uploaded: tuple[list[Pose], Any] | None = None
        self._ordered: tuple[list[Pose], list[np.ndarray], int, Any] | None = None

    def draw(self, seen: Sequence[Seen], manner: Manner) -> None:
        """Draw with the blending and depth test that the caller has set; premultiplied, scene-linear."""
        if not seen:
            return
        # Held by name until drawn: binding a texture does not keep it alive.
        bound, count = self.prepare(seen, manner)
        camera, clip = seen[0].view.camera, seen[0].view.clip
        shader, quad = _shader(), _quad()
        shader.bind()
        shader.uniform_float("lens", tuple(float(camera.K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))))
        exposure = 0.0 if manner.depth_only else -1.0 if manner.erase else manner.exposure
        shader.uniform_float("view", (camera.width, camera.height, WIDTH, exposure))
        shader.uniform_float("clip", (*clip, camera.near, 0.0))
        for name, held in bound.items():
            shader.uniform_sampler(name, held)
        quad.draw_instanced(shader, instance_start=0, instance_count=count)

    def prepare(self, seen: Sequence[Seen], manner: Manner) -> tuple[dict[str, Any], int]:
        """The shader's textures, by name, and how many Gaussians are drawn: all that the CPU does for a redraw."""
        posed = [self.pose(head.loaded, head.values) for head in seen]
        splats, starts = self._static([pose.model for pose in posed])
        matrices = [head.view.camera.world_to_camera.astype(np.float64) @ head.model for head in seen]
        counts = [-(-len(pose.model.triangles) // manner.step) for pose in posed]
        vertices, bases = self._vertices(posed)
        heads = texture(self._heads(seen, posed, matrices, counts, starts, bases, manner), "RGBA32F")
        sequence = self._order(seen, posed, matrices, manner.step)
        return {"splats": splats, "vertices": vertices, "order": sequence, "heads": heads}, sum(counts)

    def pose(self, loaded: Any, values: np.ndarray) -> Pose:
        """The head at these channel values; nothing is done when they are among those of the last redraws."""
        key = hash((id(loaded), values.tobytes()))
        found = self._poses.get(key)
        if found is None or found[0] is not loaded or found[1] != values.tobytes():
            if loaded.foreign:
                pose = Pose(self._free_model(loaded, values), STAND)
            else:
                pose = Pose(self._model(loaded), poses.vertices(loaded, values), values)
            while len(self._poses) >= poses.KEEP:
                self._poses.pop(next(iter(self._poses)))
            found = self._poses[key] = loaded, values.tobytes(), pose
        return found[2]

    def _model(self, loaded: Any) -> Model:
        loaded = loaded.looks  # another shape of head under the same looks uploads nothing
        found = self._models.get(id(loaded))
        if found is None or found[0] is not loaded:
            performer = loaded.performer
            while len(self._models) >= MODELS:  # two heads that turn into each other are new ones at every frame
                self._models.pop(next(iter(self._models)))
            found = self._models[id(loaded)] = loaded, model_of(performer.avatar, performer.identity.head.faces)
        return found[1]

    def _free_model(self, loaded: Any, values: np.ndarray) -> Model:
        """Splats that stand still are made once."""
        found = self._models.get(id(loaded))
        gaussians = loaded.pose(values)
        if found is None or found[0] is not gaussians:
            found = self._models[id(loaded)] = gaussians, free_model(gaussians)
        return found[1]

    def _static(self, models: list[Model]) -> tuple[Any, list[tuple[int, int]]]:
        """Texture of all models, each once, and for every head where its Gaussians and its triangles begin."""
        once = tuple({id(model): model for model in models}.values())
        if (
            self._set is None
            or len(self._set[0]) != len(once)
            or any(a is not b for a, b in zip(self._set[0], once, strict=True))
        ):
            parts, starts, at = [], [], 0
            for model in once:
                starts.append((at, at + len(model.texels)))
                parts += [model.texels, model.faces]
                at += len(model.texels) + len(model.faces)
            self._set = once, texture(np.concatenate(parts), "RGBA32F"), starts
        where = {id(model): start for model, start in zip(self._set[0], self._set[2], strict=True)}
        return self._set[1], [where[id(model)] for model in models]

    def _vertices(self, posed: list[Pose]) -> tuple[Any, list[int]]:
        once = list({id(pose): pose for pose in posed}.values())
        if self._uploaded is None or [id(p) for p in self._uploaded[0]] != [id(p) for p in once]:
            parts = [part for p in once for part in (p.vertices, p.changes)]
            texels = np.zeros((sum(map(len, parts)), 4), np.float32)
            np.concatenate(parts, out=texels[:, :3])
            self._uploaded = once, texture(texels, "RGBA32F")
        starts = np.cumsum([0, *(len(p.vertices) + len(p.changes) for p in once)])
        where = {id(pose): int(start) for pose, start in zip(once, starts[:-1], strict=True)}
        return self._uploaded[1], [where[id(pose)] for pose in posed]

    def _heads(
        self, seen: Sequence[Seen], posed: list[Pose], matrices: list[np.ndarray], counts: list[int],
        starts: list[tuple[int, int]], bases: list[int], manner: Manner,
    ) -> np.ndarray:  # fmt: skip
        """(HEADER_TEXELS + HEAD_TEXELS * heads, 4): what the shader has to know of the view and of each head."""
        out = np.zeros((HEADER_TEXELS + HEAD_TEXELS * len(seen), 4), np.float32)
        planes = manner.planes[:PLANES]
        out[0] = len(seen), len(planes), manner.step ** (GROWTH / 2), manner.nearer
        out[1 : 1 + len(planes)] = planes
        place = 0
        for i, (head, pose, matrix) in enumerate(zip(seen, posed, matrices, strict=True)):
            at = HEADER_TEXELS + HEAD_TEXELS * i
            out[at] = place, starts[i][0], pose.model.harmonics, bases[i]
            out[at + 1] = starts[i][1], bases[i] + len(pose.vertices), manner.step, head.view.back
            out[at + 2 : at + 5] = matrix[:3]
            out[at + 5, :3] = -np.linalg.solve(matrix[:3, :3], matrix[:3, 3])
            place += counts[i]
        return out

    def _order(self, seen: Sequence[Seen], posed: list[Pose], matrices: list[np.ndarray], step: int) -> Any:
        """Kept between the passes of one redraw and while nothing moves."""
        rows = [matrix[2] - [0, 0, 0, head.view.back] for head, matrix in zip(seen, matrices, strict=True)]
        kept = self._ordered
        if (
            kept is None
            or kept[2] != step
            or [id(p) for p in kept[0]] != [id(p) for p in posed]
            or not all(np.array_equal(a, b) for a, b in zip(kept[1], rows, strict=True))
        ):
            depths = [pose.depths(row, step) for pose, row in zip(posed, rows, strict=True)]
            self._ordered = kept = posed, rows, step, texture(order(depths), "R32F")
        return kept[3]


def texture(values: np.ndarray, kind: str) -> Any:
    """A texture of texels (n, 4) or (n,), row after row; what is beyond the last texel is zero."""
    import gpu

    channels = 4 if kind == "RGBA32F" else 1
    rows = -(-len(values) // WIDTH)
    flat = np.empty(rows * WIDTH * channels, np.float32)
    flat[: values.size] = values.ravel()
    flat[values.size :] = 0
    return gpu.types.GPUTexture((WIDTH, rows), format=kind, data=gpu.types.Buffer("FLOAT", flat.size, flat))


@cache
def _shader() -> Any:
    return compile_shader()


@cache
def _quad() -> Any:
    from gpu_extras.batch import batch_for_shader

    return batch_for_shader(_shader(), "TRI_STRIP", {"corner": [(-1, -1), (1, -1), (-1, 1), (1, 1)]})


@cache
def stage(purpose: str) -> Stage:
    """The one of this session for a purpose: views that show the same frame share its textures."""
    return Stage()


def forget() -> None:
    """Free what is on the card."""
    stage.cache_clear()
    _quad.cache_clear()
    _shader.cache_clear()
