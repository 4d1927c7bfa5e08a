# SPDX-License-Identifier: GPL-3.0-or-later
"""Head objects: a proxy mesh that gives selection, transform and bounds, with the settings of a head on it."""

import uuid
from typing import Any

import bpy
import numpy as np

from . import convert, session


def build_head_object(scene: Any, avatar: str, *, name: str = "", location: Any = (0, 0, 0), collection: Any = None) -> Any:
    """A new head object in the scene, looking along -Y. Raises FormatError or AssetError for an unusable avatar.

    Everything that can fail happens before the scene is touched.
    """
    loaded = session.performer(avatar)
    identity = loaded.performer.identity
    name = name or loaded.performer.avatar.name.title() or "Head"
    mesh = bpy.data.meshes.new(name)
    vertices = convert.object_points(identity.template)
    faces = np.ascontiguousarray(identity.head.faces, np.int32)
    _fill(mesh, vertices, faces)
    ob = bpy.data.objects.new(name, mesh)
    ob.location = location
    ob.loquent.avatar = avatar
    ob.loquent.uuid = uuid.uuid4().hex
    ob.loquent.start = scene.frame_start
    # Bounds only: the mesh does not move with the speech, so it must not stand in front of the Gaussians that do.
    ob.display_type = "BOUNDS"
    ob.visible_camera = ob.visible_shadow = False  # Cycles and EEVEE shall not show the still mesh either
    (collection or scene.collection).objects.link(ob)
    return ob


def own_uuid(ob: Any) -> str:
    """The object's identifier; renewed first if the object is a copy of another head."""
    if not ob.loquent.uuid or any(
        o.loquent.uuid == ob.loquent.uuid for o in bpy.data.objects if o is not ob and o.session_uid < ob.session_uid
    ):
        ob.loquent.uuid = uuid.uuid4().hex
    return ob.loquent.uuid


def place_camera(scene: Any, ob: Any, *, lens: float = 85.0, fill: float = 0.72, name: str = "Camera") -> Any:
    """A new camera at eye height in front of a head, framed as a close-up; it becomes the scene's camera.

    fill: part of the picture's height that the head takes, less where a narrow picture would cut the ears.
    """
    data = bpy.data.cameras.new(name)
    data.lens = lens
    data.clip_start = 0.01
    data.sensor_fit = "AUTO"
    camera = bpy.data.objects.new(name, data)
    (ob.users_collection[0] if ob.users_collection else scene.collection).objects.link(camera)
    low, high = head_bounds(ob)
    matrix = np.array(ob.matrix_world, np.float64) if ob.parent else np.array(ob.matrix_basis, np.float64)
    middle = matrix @ np.append((low + high) / 2, 1)
    size = np.linalg.norm(matrix[:3, :3], axis=0) * (high - low)
    width, height = (v * p for v, p in zip(
        convert.picture_size(scene), (scene.render.pixel_aspect_x, scene.render.pixel_aspect_y), strict=True
    ))  # fmt: skip
    half = data.sensor_width / 2 / lens  # tangent of half the field of view along the longer side
    half_x, half_y = half * min(1, width / height), half * min(1, height / width)
    distance = max(size[2] / 2 / fill / half_y, size[0] / 2 / 0.9 / half_x) + size[1] / 2
    forward = matrix[:3, 1] / np.linalg.norm(matrix[:3, 1])
    up = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
    position = middle[:3] - forward * distance
    rotation = np.eye(4)
    rotation[:3, :3] = np.stack([np.cross(forward, up), up, -forward], axis=1)
    rotation[:3, 3] = position
    camera.matrix_world = rotation.T.tolist()
    scene.camera = camera
    return camera


def head_bounds(ob: Any) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) corners in object space of what lies above the neck joint's chin line: the head without its bust."""
    points = np.empty(len(ob.data.vertices) * 3, np.float32)
    ob.data.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    loaded = session.performer(ob.loquent.avatar, ob.library)
    joints = convert.object_points(loaded.performer.identity.joints)
    # The chin lies about as far below the skull's pivot as the mouth lies before it: cut the bust a little lower.
    above = points[points[:, 2] > joints[1, 2] - 0.06]
    points = above if len(above) > 10 else points
    return points.min(0), points.max(0)


def _fill(mesh: Any, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Vertices and triangles in bulk: the operator must not take a visible moment."""
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    mesh.validate()
