# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians as attributes of Blender 5.3's point clouds of type GAUSSIAN_SPLAT.

That version was not out as a module when this was made; the type is known from its Python stubs and release notes, the
names of its attributes are not. Tested in 5.2: with a property that stands in for the type, the copied cloud draws the same
picture as the head. Attributes that 5.3 does not know by these names are left out of its picture, not out of the file.
"""

from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from . import convert

if TYPE_CHECKING:
    from ..core.splats.gaussians import Gaussians

TYPE = "GAUSSIAN_SPLAT"


def available() -> bool:
    """Whether the running Blender has splats of its own."""
    kind = bpy.types.PointCloud.bl_rna.properties.get("type") if hasattr(bpy.types, "PointCloud") else None
    return kind is not None and TYPE in kind.enum_items


def attributes(gaussians: "Gaussians", *, display: bool = False) -> dict[str, tuple[str, np.ndarray]]:
    """By attribute name its data type and float32 array (N, k), in object space.

    position, rotation (wxyz), scale (metres, standard deviations), opacity (0..1) and sh_0 to sh_15 as colours of 3DGS in
    scene-linear light, turned from the axes of head space. display: the harmonics are display ones and are converted.
    """
    from ..core.geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz
    from ..core.splats.colour import linear_harmonics
    from ..core.splats.moved import turned_harmonics

    harmonics = linear_harmonics(gaussians.harmonics) if display else gaussians.harmonics
    turn = matrix_to_quat_wxyz(convert.OBJECT_FROM_HEAD[:3, :3]).astype(np.float32)
    quats = quat_multiply_wxyz(turn, gaussians.quats_wxyz)
    quats = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    out: dict[str, tuple[str, np.ndarray]] = {
        "position": ("FLOAT_VECTOR", convert.object_points(gaussians.means)),
        "rotation": ("QUATERNION", quats.astype(np.float32)),
        "scale": ("FLOAT_VECTOR", gaussians.scales.astype(np.float32)),
        "opacity": ("FLOAT", gaussians.opacities.astype(np.float32)[:, None]),
    }
    turned = turned_harmonics(harmonics, convert.OBJECT_FROM_HEAD[:3, :3])
    out |= {f"sh_{k}": ("FLOAT_VECTOR", np.ascontiguousarray(turned[:, k])) for k in range(turned.shape[1])}
    return out


def point_cloud(name: str, arrays: dict[str, tuple[str, np.ndarray]]) -> Any:
    """A point cloud of these attributes, of Blender's splat type where it has one."""
    cloud = bpy.data.pointclouds.new(name)
    count = len(arrays["position"][1])
    cloud.resize(count)
    for attribute, (kind, values) in arrays.items():
        found = cloud.attributes.get(attribute) or cloud.attributes.new(attribute, kind, "POINT")
        key = {"FLOAT_VECTOR": "vector", "QUATERNION": "value", "FLOAT": "value"}[kind]
        found.data.foreach_set(key, np.ascontiguousarray(values, np.float32).ravel())
    if available():
        cloud.type = TYPE
    return cloud
