# SPDX-License-Identifier: GPL-3.0-or-later
"""Head objects: a proxy mesh (proxy.py) that gives selection, transform and bounds, with the settings of a head on it."""

import uuid
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import convert, proxy, session
from .properties import settle


def build_head_object(
    scene: Any, avatar: str, *, name: str = "", location: Any = (0, 0, 0), collection: Any = None
) -> Any:
    """A new head object in the scene, looking along -Y. Raises FormatError or AssetError for an unusable avatar.

    Everything that can fail happens before the scene is touched.
    """
    loaded = session.performer(avatar)
    name = name or loaded.name.title() or "Head"
    ob = bpy.data.objects.new(name, proxy.build_mesh(name, loaded))
    proxy.add_keys(ob, loaded)
    ob.location = location
    ob.loquent.avatar = avatar
    ob.loquent.uuid = uuid.uuid4().hex
    ob.loquent.start = scene.frame_start
    settle(ob)
    if loaded.boxed:
        ob.display_type = "WIRE"  # a filled box hides the splats in it
    ob.visible_camera = False  # Cycles and EEVEE let it throw shadows, and show it as little as we do
    (collection or scene.collection).objects.link(ob)
    return ob


def own_uuid(ob: Any) -> str:
    """The object's identifier; renewed first if the object is a copy of another head."""
    if not ob.loquent.uuid or any(
        o.loquent.uuid == ob.loquent.uuid for o in bpy.data.objects if o is not ob and o.session_uid < ob.session_uid
    ):
        ob.loquent.uuid = uuid.uuid4().hex
    return ob.loquent.uuid


def place_camera(scene: Any, ob: Any, *, lens: float = 85.0, fill: float = 0.97, name: str = "Camera") -> Any:
    """A new camera at eye height in front of a head, framed as a close-up; it becomes the scene's camera.

    fill: part of the picture's height between collar and a little above the hair, less in narrow pictures.
    """
    data = bpy.data.cameras.new(name)
    data.lens = lens
    data.clip_start = 0.01
    camera = bpy.data.objects.new(name, data)
    (ob.users_collection[0] if ob.users_collection else scene.collection).objects.link(camera)
    low, high = close_up(ob)
    matrix = np.array(ob.matrix_basis if ob.parent is None else ob.matrix_world, np.float64)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    size = np.linalg.norm(matrix[:3, :3], axis=0) * (high - low)
    width, height = convert.picture_size(scene)
    width, height = width * scene.render.pixel_aspect_x, height * scene.render.pixel_aspect_y
    half = data.sensor_width / 2 / lens  # tangent of half the field of view along the longer side
    half_x, half_y = half * min(1, width / height), half * min(1, height / width)
    distance = max(size[2] / 2 / fill / half_y, size[0] / 2 / fill / half_x) + size[1] / 2
    middle = (matrix @ np.append((low + high) / 2, 1))[:3]
    pose = np.eye(4)
    pose[:3, :3] = np.stack([axes[:, 0], axes[:, 2], -axes[:, 1]], axis=1)  # looks along +Y of the head, up is its +Z
    pose[:3, 3] = middle - axes[:, 1] * distance
    camera.matrix_world = Matrix(pose.tolist())
    scene.camera = camera
    return camera


def close_up(ob: Any) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) corners in object space of what a close-up shows: collar to hair, ear to ear."""
    loaded = session.of(ob)
    if loaded.foreign:
        points = convert.object_points(loaded.mesh()[0])
        return points.min(0), points.max(0)
    person = loaded.performer.identity
    points = convert.object_points(person.template)
    chin = points[person.head.landmarks["chin"], 2]
    head = points[points[:, 2] > chin]
    low, high = head.min(0), head.max(0)
    low[2] -= 0.05  # the neck down to the collar
    high[2] += 0.025  # hair stands above the skin
    return low, high
