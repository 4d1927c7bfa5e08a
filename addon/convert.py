# SPDX-License-Identifier: GPL-3.0-or-later
"""The only translation between Blender and core: axes, cameras, channel values, frames, pixels.

Head space (x left, y up, z out of the face) becomes Blender's object space as (x, -z, y): the head looks along -Y, as
Blender's own Suzanne does.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import SceneError
from ..core.head.motion import CHANNELS, INDEX

if TYPE_CHECKING:
    from ..core.geometry.cameras import Camera

OBJECT_FROM_HEAD = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)
OPENCV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
GAZE = tuple((INDEX[f"gaze{axis}"], INDEX[f"head{axis}"], INDEX[f"neck{axis}"]) for axis in ("Yaw", "Pitch"))
ORTHOGRAPHIC_METRES = 200.0
"""An orthographic view is drawn as a perspective one from this far behind: 0.1 % off over the depth of a head."""


def world_from_head(matrix_world: Any) -> np.ndarray:
    """(4, 4) from head space to Blender's world."""
    return np.array(matrix_world, np.float64) @ OBJECT_FROM_HEAD


def object_points(points: np.ndarray) -> np.ndarray:
    """(V, 3) head-space points in object space, float32."""
    return np.ascontiguousarray(points @ OBJECT_FROM_HEAD[:3, :3].T, np.float32)


def channel_values(ob: Any) -> np.ndarray:
    """(C,) what a head object shows: spoken channels, and what hands and the control rig add to them.

    Pass the evaluated object for animated ones. Each of the three is keyed or driven by itself, so none is in another's way.
    """
    head = ob.loquent
    spoken, adjusted, rigged = np.array(
        [[getattr(layer, name) for name in CHANNELS] for layer in (head.motion, head.adjust, head.rig)], np.float32
    )
    values = spoken + adjusted + rigged
    if head.hold:  # the eyes stay on the rig's target: what head and speech turn them by is taken off again
        for gaze, turn, root in GAZE:
            values[gaze] -= head.hold * (spoken[gaze] + adjusted[gaze] + values[turn] + values[root])
    return values


def frames_per_second(scene: Any) -> float:
    """The scene's true rate: 24 / 1.001 is 23.976."""
    return scene.render.fps / scene.render.fps_base


def picture_size(scene: Any) -> tuple[int, int]:
    """(width, height) in pixels after the resolution percentage, rounded as Blender does."""
    render = scene.render
    percent = render.resolution_percentage
    return max(1, render.resolution_x * percent // 100), max(1, render.resolution_y * percent // 100)


def border(scene: Any, width: int, height: int) -> tuple[int, int, int, int]:
    """(left, bottom, right, top) in pixels of the part that is rendered; the whole picture without a render border."""
    render = scene.render
    if not render.use_border:
        return 0, 0, width, height
    # Blender truncates single-precision products: anything else is off by a pixel at some sizes.
    left, right = (int(np.float32(v) * np.float32(width)) for v in (render.border_min_x, render.border_max_x))
    bottom, top = (int(np.float32(v) * np.float32(height)) for v in (render.border_min_y, render.border_max_y))
    return left, bottom, max(right, left + 1), max(top, bottom + 1)


def camera_from_matrices(
    view: np.ndarray, projection: np.ndarray, width: int, height: int, *, focus: float = 0.0
) -> tuple["Camera", float]:
    """Core camera of OpenGL view and projection matrices, and what to subtract from its depths.

    The second value is 0 except for orthographic views: those are drawn as a perspective from ORTHOGRAPHIC_METRES
    behind the depth `focus`, where sizes are exact.
    """
    p = np.array(projection, np.float64)
    world_to_camera = OPENCV_FROM_BLENDER @ np.array(view, np.float64)
    orthographic = abs(p[3, 3]) > 0.5
    back = ORTHOGRAPHIC_METRES - focus if orthographic else 0.0
    zoom = ORTHOGRAPHIC_METRES if orthographic else 1.0
    shift = (p[0, 3], p[1, 3]) if orthographic else (-p[0, 2], -p[1, 2])
    world_to_camera[2, 3] += back
    K = np.array([
        [p[0, 0] * zoom * width / 2, 0, (1 + shift[0]) * width / 2],
        [0, p[1, 1] * zoom * height / 2, (1 - shift[1]) * height / 2],
        [0, 0, 1],
    ])  # fmt: skip
    from ..core.geometry.cameras import Camera

    return Camera(world_to_camera.astype(np.float32), K.astype(np.float32), width, height), back


def render_camera(
    depsgraph: Any,
    camera: Any,
    width: int,
    height: int,
    *,
    matrix: np.ndarray | None = None,
    shift_x: float | None = None,
) -> tuple["Camera", float]:
    """The camera of an F12 render: sensor fit, lens shift, pixel aspect. Raises SceneError for panoramas.

    matrix, shift_x: where a stereo view stands (4, 4) and how it is shifted, in place of the camera's own.
    """
    if camera.type != "CAMERA":
        raise SceneError(f"'{camera.name}' is the scene's camera but a {camera.type.lower()}; choose a camera object.")
    if camera.data.type not in {"PERSP", "ORTHO"}:
        raise SceneError(
            f"Camera '{camera.name}' is {camera.data.type.lower()}; Loquent knows perspective and orthographic ones."
        )
    render = depsgraph.scene.render
    projection = np.array(
        camera.calc_matrix_camera(
            depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
        ),
        np.float64,
    )
    view = (
        np.array(camera.matrix_world.normalized().inverted(), np.float64) if matrix is None else np.linalg.inv(matrix)
    )
    if shift_x is not None:  # shifts count in units of the picture's side that the sensor is fitted to
        data, tall = camera.data, height * render.pixel_aspect_y / render.pixel_aspect_x
        across = data.sensor_fit == "HORIZONTAL" or (data.sensor_fit == "AUTO" and width >= tall)
        moved = 2 * (shift_x - data.shift_x) * (width if across else tall) / width
        if data.type == "ORTHO":
            projection[0, 3] -= moved
        else:
            projection[0, 2] += moved
    core, back = camera_from_matrices(view, projection, width, height, focus=_nearest_head(depsgraph, view))
    data = camera.data
    from ..core.geometry.cameras import Camera

    return Camera(core.world_to_camera, core.K, width, height, data.clip_start + back, data.clip_end + back), back


def _nearest_head(depsgraph: Any, view: np.ndarray) -> float:
    """Depth of the nearest head before the camera, 0 without one."""
    depths = [-(view @ np.array(i.matrix_world, np.float64)[:, 3])[2] for i in head_instances(depsgraph)]
    return min((d for d in depths if d > 0), default=0.0)


def cropped(camera: "Camera", left: int, top: int, width: int, height: int) -> "Camera":
    """The camera of a part of the picture; `left` and `top` are counted from the upper left corner."""
    K = camera.K.copy()
    K[0, 2] -= left
    K[1, 2] -= top
    from ..core.geometry.cameras import Camera

    return Camera(camera.world_to_camera, K, width, height, camera.near, camera.far)


def is_head(ob: Any) -> bool:
    return ob is not None and ob.type == "MESH" and bool(ob.loquent.avatar)


def head_instances(depsgraph: Any):
    """Visible heads of a depsgraph, instances of collections and geometry included.

    Each item is valid until the next is taken: copy what is needed.
    """
    for instance in depsgraph.object_instances:
        if instance.show_self and is_head(instance.object):
            yield instance


def world_colour(scene: Any) -> np.ndarray:
    """(3,) scene-linear colour behind everything: a Background node's where there is one, else the viewport colour."""
    world = scene.world
    if world is None:
        return np.zeros(3, np.float32)
    # From 5.0 worlds always use nodes, and asking whether they do is a warning.
    always = getattr(world.bl_rna.properties["use_nodes"], "is_deprecated", False)
    tree = world.node_tree if always or world.use_nodes else None
    for node in tree.nodes if tree else ():
        if node.type == "BACKGROUND" and not node.inputs["Color"].is_linked:
            strength = node.inputs["Strength"].default_value
            return np.array(node.inputs["Color"].default_value[:3], np.float32) * np.float32(strength)
    return np.array(world.color, np.float32)
