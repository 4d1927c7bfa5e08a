# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser in plain numpy: the same picture, one Gaussian after the other. A second or so for a head at 512 px.

It is what draws where no native library fits the machine. See rasterize.py for the semantics.
"""

import numpy as np

from ..errors import Cancelled
from ..geometry.cameras import Camera
from ..geometry.rotations import quat_wxyz_to_matrix
from .gaussians import Gaussians
from .native import BLUR, CancelFlag

ALPHA_MAX = 0.999
ALPHA_MIN = 1 / 255
T_STOP = 1e-4


def rasterize_plain(
    gaussians: Gaussians,
    camera: Camera,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    antialiased: bool = False,
    features: np.ndarray | None = None,
    limit: np.ndarray | None = None,
    cancel: CancelFlag | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colour (H, W, 3), alpha, depth, median depth (H, W) and features (H, W, M) as in rasterize.Layers."""
    height, width = camera.height, camera.width
    features = gaussians.means[:, :0] if features is None else features
    premultiplied = np.zeros((height, width, 4 + features.shape[1]), np.float32)  # colour, depth, features
    median = np.zeros((height, width), np.float32)
    light = np.ones((height, width), np.float32)  # transmittance
    finished = np.zeros((height, width), bool)
    with np.errstate(all="ignore"):  # NaN and Inf are dropped by comparison
        centres, conics, extents, opacities, values = _project(gaussians, camera, features, antialiased)
    x0, y0 = np.clip(np.ceil(centres - extents - 0.5), 0, (width, height)).astype(int).T
    x1, y1 = np.clip(np.floor(centres + extents - 0.5) + 1, 0, (width, height)).astype(int).T
    columns, rows = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5
    for k in np.flatnonzero((x1 > x0) & (y1 > y0)):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Rendering was stopped.")
        box = slice(y0[k], y1[k]), slice(x0[k], x1[k])
        dx, dy = columns[box[1]] - centres[k, 0], (rows[box[0]] - centres[k, 1])[:, None]
        a, b, c = conics[k]
        sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        alpha = np.minimum(opacities[k] * np.exp(-sigma), np.float32(ALPHA_MAX))
        alpha[alpha < ALPHA_MIN] = 0
        after = light[box] * (1 - alpha)
        finished[box] |= (after <= T_STOP) & (alpha > 0)
        if limit is not None:
            finished[box] |= limit[box] <= values[k, 3]
        open_ = ~finished[box]
        weight = alpha * light[box] * open_
        median[box][(weight > 0) & (light[box] > 0.5)] = values[k, 3]
        premultiplied[box] += weight[..., None] * values[k]
        light[box] = np.where(open_, after, light[box])
    alpha = 1 - light
    depth = np.divide(premultiplied[..., 3], alpha, out=np.zeros_like(alpha), where=alpha > 0)
    colour = premultiplied[..., :3] + light[..., None] * np.asarray(background, np.float32)
    return colour, alpha, depth, median, premultiplied[..., 4:]


def _project(g: Gaussians, camera: Camera, features: np.ndarray, antialiased: bool) -> tuple[np.ndarray, ...]:
    """The visible, near to far: centres (M, 2), conics (M, 3), extents (M, 2), opacities (M,), values (M, 4 + K).

    Values are colour, z and the features.
    """
    matrix, K = camera.world_to_camera.astype(np.float32), np.asarray(camera.K, np.float32)
    rotation = matrix[:3, :3]
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    x, y, z = (g.means @ rotation.T + matrix[:3, 3]).T
    opacities = np.minimum(g.opacities, 1)
    kept = (z >= camera.near) & (z <= camera.far) & (opacities >= ALPHA_MIN) & np.isfinite(g.opacities)
    kept &= (g.quats_wxyz != 0).any(1) & np.isfinite(g.quats_wxyz).all(1)

    # x/z and y/z are held near the picture for the Jacobian, else splats beside the camera would explode
    over_x, over_y = 0.15 * camera.width / fx, 0.15 * camera.height / fy
    tx = z * np.clip(x / z, -cx / fx - over_x, (camera.width - cx) / fx + over_x)
    ty = z * np.clip(y / z, -cy / fy - over_y, (camera.height - cy) / fy + over_y)
    zero = np.zeros_like(z)
    jacobian = np.stack([fx / z, zero, -fx * tx / z**2, zero, fy / z, -fy * ty / z**2], -1).reshape(-1, 2, 3)
    half = jacobian @ rotation @ quat_wxyz_to_matrix(g.quats_wxyz) * g.scales[:, None]  # (N, 2, 3)
    first, second, mixed = (half[:, 0] ** 2).sum(1), (half[:, 1] ** 2).sum(1), (half[:, 0] * half[:, 1]).sum(1)
    # Lagrange's identity: the plain determinant would lose all digits for long thin splats
    sharp = (np.cross(half[:, 0], half[:, 1]) ** 2).sum(1)
    det = sharp + BLUR * (first + second + BLUR)
    if antialiased:
        opacities = opacities * np.sqrt(sharp / det)
        kept &= opacities >= ALPHA_MIN
    first, second = first + BLUR, second + BLUR
    centres = np.stack([fx * x / z + cx, fy * y / z + cy], -1)
    conics = np.stack([second, -mixed, first], -1) / det[:, None]
    reach = 2 * np.log(255 * opacities)
    extents = np.sqrt(np.maximum(reach[:, None] * np.stack([first, second], -1), 0)) + 1e-3
    colours = _colours(g, camera)
    kept &= np.isfinite(np.concatenate([centres, conics, extents, colours, features], 1)).all(1) & (det > 0)
    order = np.flatnonzero(kept)
    order = order[np.argsort(z[order], kind="stable")]
    values = np.concatenate([colours, z[:, None], features], 1)
    return tuple(a[order].astype(np.float32) for a in (centres, conics, extents, opacities, values))


def _colours(g: Gaussians, camera: Camera) -> np.ndarray:
    if g.harmonics.ndim == 2:
        return g.harmonics
    direction = g.means - camera.position.astype(np.float32)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    basis = harmonics_basis(direction, g.harmonics.shape[1])
    return np.maximum(np.einsum("nk,nkc->nc", basis, g.harmonics) + 0.5, 0)


def harmonics_basis(directions: np.ndarray, count: int) -> np.ndarray:
    """(N, count) real spherical harmonics of unit directions (N, 3), count 1, 4, 9 or 16, in the order of 3DGS."""
    x, y, z = directions.T
    xx, yy, zz = x * x, y * y, z * z
    c1, c2, c3 = 0.48860251190292, 1.092548430592079, 0.5900435899266435
    return np.stack([
        np.full_like(x, 0.2820947917738781),
        -c1 * y, c1 * z, -c1 * x,
        c2 * x * y, -c2 * y * z, 0.3153915652525201 * (3 * zz - 1), -c2 * x * z, c2 / 2 * (xx - yy),
        -c3 * y * (3 * xx - yy), 2.890611442640554 * x * y * z, 0.4570457994644658 * y * (1 - 5 * zz),
        0.3731763325901154 * z * (5 * zz - 3), 0.4570457994644658 * x * (1 - 5 * zz),
        1.445305721320277 * z * (xx - yy), -c3 * x * (xx - 3 * yy),
    ][:count], -1)  # fmt: skip
