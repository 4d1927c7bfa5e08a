# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on the lens and when during the shutter a picture is drawn: blur is the mean of sharp pictures.

Points are a low-discrepancy sequence without random numbers (Roberts 2018, R2), so a frame is the same to the byte however
often and in whatever order it is drawn.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.geometry.cameras import Camera

SHARP_PIXELS = 0.4
"""Radius of a circle of confusion that no one sees: one sample is enough."""


@dataclass(frozen=True)
class Lens:
    """radius: metres of the aperture. focus: metres along the view to what is sharp. blades, rotation, ratio: its shape."""

    radius: float
    focus: float
    blades: int = 0
    rotation: float = 0.0
    ratio: float = 1.0


@dataclass(frozen=True)
class Shutter:
    """Moments (T,) in frames from the frame, and the weights (T,) of their pictures, which add up to 1."""

    times: tuple[float, ...]
    weights: tuple[float, ...]


STILL = Shutter((0.0,), (1.0,))


def lens_of(camera: Any, world_to_camera: np.ndarray) -> Lens | None:
    """The lens of an evaluated camera object; None where depth of field is off."""
    data = camera.data
    dof = data.dof
    if not dof.use_dof or dof.aperture_fstop <= 0:
        return None
    focus = dof.focus_distance
    if dof.focus_object is not None:
        matrix = np.array(dof.focus_object.matrix_world, np.float64)
        bone = dof.focus_object.pose.bones.get(dof.focus_subtarget) if dof.focus_object.pose else None
        if bone is not None:
            matrix = matrix @ np.array(bone.matrix, np.float64)
        focus = abs(float((world_to_camera.astype(np.float64) @ matrix[:, 3])[2]))
    # Cycles' rule: an orthographic camera has no focal length, so the f-number alone sizes its lens
    size = 1.0 if data.type == "ORTHO" else data.lens * 1e-3
    return Lens(
        size / (2 * dof.aperture_fstop),
        max(focus, 1e-4),
        dof.aperture_blades,
        dof.aperture_rotation,
        dof.aperture_ratio,
    )


def shutter_of(render: Any, steps: int) -> Shutter:
    """The shutter of a scene's render settings in that many moments, weighted by its curve."""
    if not render.use_motion_blur or render.motion_blur_shutter <= 0:
        return STILL
    middle = (np.arange(steps) + 0.5) / steps
    begin = {"START": 0.0, "CENTER": -0.5, "END": -1.0}[render.motion_blur_position]
    curve = render.motion_blur_shutter_curve
    curve.initialize()
    weights = np.array([max(0.0, curve.evaluate(curve.curves[0], float(t))) for t in middle])
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(steps, 1 / steps)
    return Shutter(tuple((begin + middle) * render.motion_blur_shutter), tuple(weights))


def lens_points(lens: Lens, count: int) -> np.ndarray:
    """(count, 2) metres right and up on the lens, evenly over its area."""
    # the plastic number: the generalised golden ratio in two dimensions
    plastic = 1.3247179572447460
    unit = (0.5 + np.arange(1, count + 1)[:, None] / np.array([plastic, plastic**2])) % 1
    if lens.blades >= 3:
        points = _polygon(unit, lens.blades, lens.rotation)
    else:
        angle, radius = 2 * np.pi * unit[:, 0], np.sqrt(unit[:, 1])
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    points -= points.mean(0)  # what is in focus stays where it is, however few samples
    return points * lens.radius * [1 / max(lens.ratio, 1e-3), 1]


def _polygon(unit: np.ndarray, blades: int, rotation: float) -> np.ndarray:
    """Even points of the unit square on a regular polygon with corners on the unit circle."""
    wedge = np.floor(unit[:, 0] * blades)
    u, v = unit[:, 0] * blades - wedge, unit[:, 1]
    root = np.sqrt(u)
    u, v = (1 - root), v * root  # barycentric, weights of the two outer corners
    corners = (wedge[:, None] + [0, 1]) * 2 * np.pi / blades + rotation
    across, along = 1 - u - v, v
    return np.stack(
        [
            across * np.cos(corners[:, 0]) + along * np.cos(corners[:, 1]),
            across * np.sin(corners[:, 0]) + along * np.sin(corners[:, 1]),
        ],
        -1,
    )


def through(camera: Camera, lens: Lens, point: np.ndarray, back: float) -> Camera:
    """The camera from a point (2,) of its lens: what lies in focus keeps its place in the picture.

    back: how far an orthographic camera was moved away to be drawn as a perspective one.
    """
    focus = lens.focus + back
    # from far away a lens has to be larger for the same blur
    right, up = np.asarray(point, np.float64) * (focus / lens.focus if back else 1.0)
    matrix, K = camera.world_to_camera.astype(np.float64), camera.K.astype(np.float64)
    matrix[0, 3] -= right
    matrix[1, 3] += up  # OpenCV: y down
    K[0, 2] += K[0, 0] * right / focus
    K[1, 2] -= K[1, 1] * up / focus
    return replace(camera, world_to_camera=matrix.astype(np.float32), K=K.astype(np.float32))


def blur_pixels(camera: Camera, lens: Lens, depths: np.ndarray, back: float) -> float:
    """Greatest radius, in pixels, of circles of confusion at these depths (N,) of the core camera."""
    focus = lens.focus + back
    radius = lens.radius * (focus / lens.focus if back else 1.0)
    depths = depths[depths > 1e-4]
    return float(camera.K[0, 0] * radius * np.abs(1 / depths - 1 / focus).max()) if len(depths) else 0.0
