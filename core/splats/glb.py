# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh of a binary glTF 2.0 file with its morph targets and skin, read from bytes.

A small reader of its own, because mesh libraries keep neither morph targets nor skins: the first primitive that has
targets, embedded buffers only, plain or sparse accessors. Every offset and count is checked against the bytes that are
there before anything is allocated for it.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FormatError

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MAX_VERTICES = 2_000_000
MAX_METRES = 1e4
MAX_MORPH_BYTES = 1 << 29
"""Sparse targets unfold to all vertices: so much in all, or a small file could fill the memory."""


@dataclass(frozen=True)
class MorphMesh:
    """A mesh at rest in its own space.

    vertices: (V, 3). faces: (F, 3) int32. targets: displacements (V, 3) by name. joint_names: J names, empty without a
    skin. joints: (J, 3) rest positions. skin_joints: (V, 4) indices into them. skin_weights: (V, 4), rows sum to 1.
    """

    vertices: np.ndarray
    faces: np.ndarray
    targets: Mapping[str, np.ndarray]
    joint_names: tuple[str, ...]
    joints: np.ndarray
    skin_joints: np.ndarray
    skin_weights: np.ndarray


def read_glb(data: bytes, name: str) -> MorphMesh:
    """The first mesh with morph targets. name: of the file, for messages. Raises FormatError for anything else."""
    try:
        return _Reader(data, name).mesh()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(
            f"'{name}' is not a glTF file that can be read ({type(error).__name__}: {error}). "
            "It is damaged or made by another program; export it again."
        ) from error


class _Reader:
    """A glTF document and its one buffer. Where a file breaks the standard, plain Python errors come out."""

    def __init__(self, data: bytes, name: str):
        self.name = name
        if len(data) < 20 or data[:4] != b"glTF":
            raise FormatError(f"'{name}': expected a binary glTF file (.glb), found one that starts with {data[:8]!r}.")
        version, total, size, kind = struct.unpack("<IIII", data[4:20])
        if version != 2 or total > len(data) or kind != 0x4E4F534A or size > total - 20:
            raise FormatError(
                f"'{name}': expected binary glTF 2 of {total:,} bytes with JSON first, found version {version} and "
                f"{len(data):,} bytes. The file is cut short or damaged; copy it again."
            )
        self.json: dict[str, Any] = json.loads(data[20 : 20 + size])
        start = 20 + size
        self.buffer = b""
        if total >= start + 8:
            size, kind = struct.unpack("<II", data[start : start + 8])
            if kind == 0x004E4942:
                self.buffer = data[start + 8 : start + 8 + size]

    def mesh(self) -> MorphMesh:
        for index, mesh in enumerate(self.json.get("meshes", [])):
            for primitive in mesh["primitives"]:
                if primitive.get("targets"):
                    return self.primitive(index, mesh, primitive)
        raise FormatError(f"'{self.name}': expected a mesh with morph targets (shape keys), found none.")

    def primitive(self, index: int, mesh: dict[str, Any], primitive: dict[str, Any]) -> MorphMesh:
        attributes = primitive["attributes"]
        vertices = self.accessor(attributes["POSITION"], 3).astype(np.float32)
        count = len(vertices)
        names = mesh.get("extras", {}).get("targetNames", [])
        if len(names) != len(primitive["targets"]) or len(set(map(str, names))) != len(names):
            raise FormatError(
                f"'{self.name}': expected a name for each of {len(primitive['targets'])} morph targets, found "
                f"{len(set(map(str, names)))}. Export it with shape key names."
            )
        if count * 12 * len(names) > MAX_MORPH_BYTES:
            raise FormatError(f"'{self.name}': {len(names):,} morph targets of {count:,} vertices are too many.")
        targets = {
            str(target): self.accessor(part["POSITION"], 3, count).astype(np.float32)
            for target, part in zip(names, primitive["targets"], strict=True)
            if "POSITION" in part
        }
        if "indices" in primitive:
            corners = self.accessor(primitive["indices"], 1)[:, 0].astype(np.int64)
        else:
            corners = np.arange(count)
        if primitive.get("mode", 4) != 4 or len(corners) % 3 or (len(corners) and corners.max() >= count):
            raise FormatError(f"'{self.name}': expected triangles between its {count:,} vertices, found other corners.")
        if not all((np.abs(a) < MAX_METRES).all() for a in (vertices, *targets.values())):  # NaN is not below it either
            raise FormatError(
                f"'{self.name}': expected positions within {MAX_METRES:g} m, found larger ones, NaN or Inf. "
                "Export it again."
            )
        skin = self.skin(index, attributes, count)
        return MorphMesh(vertices, corners.reshape(-1, 3).astype(np.int32), targets, *skin)

    def skin(
        self, mesh: int, attributes: dict[str, Any], count: int
    ) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]:
        nodes = self.json.get("nodes", [])
        which = next((node["skin"] for node in nodes if node.get("mesh") == mesh and "skin" in node), None)
        if which is None or "JOINTS_0" not in attributes or "inverseBindMatrices" not in self.json["skins"][which]:
            return (), np.zeros((0, 3), np.float32), np.zeros((count, 4), np.int32), np.zeros((count, 4), np.float32)
        skin = self.json["skins"][which]
        names = tuple(str(nodes[_index(joint)].get("name", "")) for joint in skin["joints"])
        inverse = self.accessor(skin["inverseBindMatrices"], 16, len(names)).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = self.accessor(attributes["JOINTS_0"], 4, count).astype(np.int32)
        scale = {np.dtype("u1"): 255, np.dtype("u2"): 65535}
        raw = self.accessor(attributes["WEIGHTS_0"], 4, count)
        weights = raw.astype(np.float32) / scale.get(raw.dtype, 1)
        plausible = (np.abs(inverse) < 1e6).all() and (np.abs(weights) < 1e3).all()
        if joints.max(initial=0) >= len(names) or not plausible:
            raise FormatError(
                f"'{self.name}': expected a skin over its {len(names)} joints, found one that is damaged."
            )
        inverse = inverse.astype(np.float64)
        singular = np.abs(np.linalg.det(inverse)) < 1e-9
        rest = np.linalg.inv(np.where(singular[:, None, None], np.eye(4), inverse))[:, :3, 3]
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
        return names, rest.astype(np.float32), joints, weights

    def accessor(self, index: int, width: int, rows: int | None = None) -> np.ndarray:
        """(count, width) of an accessor, which must have that width and, where given, that many rows."""
        accessor = self.json["accessors"][_index(index)]
        count = _index(accessor["count"])
        if WIDTHS[accessor["type"]] != width or (rows is not None and count != rows) or count > 8 * MAX_VERTICES:
            raise ValueError(f"accessor {index} is {count} x {accessor['type']}, expected {rows or 'N'} x {width}")
        if width == 3 and count > MAX_VERTICES:
            raise ValueError(f"{count:,} vertices, expected at most {MAX_VERTICES:,}")
        kind = np.dtype(COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            out = self.view(accessor["bufferView"], accessor.get("byteOffset", 0), count, width, kind)
        else:
            out = np.zeros((count, width), kind)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            some = _index(sparse["count"])
            places, values = sparse["indices"], sparse["values"]
            place = np.dtype(COMPONENTS[places["componentType"]])
            where = self.view(places["bufferView"], places.get("byteOffset", 0), some, 1, place)[:, 0]
            if some and not 0 <= where.min() <= where.max() < count:
                raise ValueError(f"accessor {index} changes element {where.max()} of {count}")
            out = out.copy()
            out[where] = self.view(values["bufferView"], values.get("byteOffset", 0), some, width, kind)
        return out

    def view(self, index: int, offset: int, count: int, width: int, kind: np.dtype) -> np.ndarray:
        view = self.json["bufferViews"][_index(index)]
        if _index(view.get("buffer", 0)) != 0 or "uri" in self.json["buffers"][0]:
            raise ValueError("its data lie in another file; expected them inside the .glb")
        size = kind.itemsize * width
        stride = _index(view.get("byteStride", size))
        start, end = _index(view.get("byteOffset", 0)), _index(view["byteLength"])
        first = start + _index(offset)
        last = first + (count - 1) * stride + size if count else first
        if stride < size or last > min(start + end, len(self.buffer)):
            raise ValueError(f"bufferView {index} is too short for {count:,} elements")
        if not count:
            return np.zeros((0, width), kind)
        return np.ndarray((count, width), kind, self.buffer, first, (stride, kind.itemsize))


def _index(value: Any) -> int:
    """A non-negative integer, or an error: a negative one would silently count from the end."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError(f"expected an index or count, found {str(value)[:40]}")
    return value
