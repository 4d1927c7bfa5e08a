# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations as axis-angle vectors, 3x3 matrices and unit quaternions in wxyz order; all take any leading batch axes.

Quaternion products, matrices and logarithms follow Sola, "Quaternion kinematics for the error-state Kalman filter"
(2017); the axis-angle exponential is Rodrigues' formula with series at small angles.
"""

import numpy as np

SMALL = 1e-4
"""Angle in radians below which series replace the closed forms."""


def axis_angle_to_matrix(vectors: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations by |v| radians about v, for vectors (..., 3)."""
    v = np.asarray(vectors)
    angle2 = (v * v).sum(-1)[..., None, None]
    angle = np.sqrt(angle2)
    small = angle < SMALL
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1 - angle2 / 6, np.sin(safe) / safe)
    b = np.where(small, 0.5 - angle2 / 24, (1 - np.cos(safe)) / safe**2)
    k = skew(v)
    return (np.eye(3) + a * k + b * (k @ k)).astype(v.dtype if v.dtype.kind == "f" else float)


def skew(vectors: np.ndarray) -> np.ndarray:
    """(..., 3, 3) cross-product matrices: skew(v) @ x = v x x."""
    x, y, z = np.moveaxis(np.asarray(vectors), -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def axis_angle_to_quat_wxyz(vectors: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions of axis-angle vectors (..., 3)."""
    v = np.asarray(vectors)
    angle2 = (v * v).sum(-1, keepdims=True)
    angle = np.sqrt(angle2)
    small = angle < SMALL
    safe = np.where(small, 1.0, angle)
    factor = np.where(small, 0.5 - angle2 / 48, np.sin(safe / 2) / safe)
    return np.concatenate([np.cos(angle / 2), factor * v], -1)


def quat_wxyz_to_axis_angle(quats_wxyz: np.ndarray) -> np.ndarray:
    """(..., 3) shortest axis-angle vectors (length 0..pi) of quaternions (..., 4), which need not be of unit length."""
    q = normalized(quats_wxyz)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    small = sine < SMALL
    factor = np.where(small, 2 / q[..., :1].clip(min=0.5), 2 * np.arctan2(sine, q[..., :1]) / np.where(small, 1, sine))
    return factor * q[..., 1:]


def quat_wxyz_to_matrix(quats_wxyz: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of quaternions (..., 4), which need not be of unit length."""
    w, x, y, z = np.moveaxis(normalized(quats_wxyz), -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(*w.shape, 3, 3)


def matrix_to_quat_wxyz(matrices: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions with w >= 0 of rotations (..., 3, 3).

    Of the four equivalent forms the one with the largest pivot is taken for each matrix, so none divides by little.
    """
    m = np.asarray(matrices)
    m00, m01, m02 = m[..., 0, 0], m[..., 0, 1], m[..., 0, 2]
    m10, m11, m12 = m[..., 1, 0], m[..., 1, 1], m[..., 1, 2]
    m20, m21, m22 = m[..., 2, 0], m[..., 2, 1], m[..., 2, 2]
    forms = np.stack([
        np.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
        np.stack([m21 - m12, 1 + m00 - m11 - m22, m01 + m10, m02 + m20], -1),
        np.stack([m02 - m20, m01 + m10, 1 - m00 + m11 - m22, m12 + m21], -1),
        np.stack([m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22], -1),
    ], -2)  # fmt: skip
    pivot = np.argmax(np.stack([forms[..., i, i] for i in range(4)], -1), -1)
    q = np.take_along_axis(forms, pivot[..., None, None], -2)[..., 0, :]
    q = normalized(q)
    return np.where(q[..., :1] < 0, -q, q)


def quat_multiply_wxyz(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 4) products: first b, then a, as with matrices."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b), -1, 0)
    return np.stack([
        aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw,
    ], -1)  # fmt: skip


def quat_conjugate_wxyz(quats_wxyz: np.ndarray) -> np.ndarray:
    """(..., 4) inverses of unit quaternions."""
    return np.asarray(quats_wxyz) * np.array([1, -1, -1, -1], np.asarray(quats_wxyz).dtype)


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length one along the last axis; zero stays zero."""
    v = np.asarray(vectors)
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    return v / np.where(length == 0, 1, length)


def yaw_pitch_roll(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """(..., 3, 3) turns of the head in head space: roll about z first, then pitch about x, then yaw about y.

    Positive yaw turns to the subject's left, positive pitch looks down, positive roll is counter-clockwise for a
    viewer in front.
    """
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    out = np.empty((*np.shape(cy), 3, 3), np.result_type(cy, cp, cr))
    out[..., 0, 0], out[..., 0, 1], out[..., 0, 2] = cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp
    out[..., 1, 0], out[..., 1, 1], out[..., 1, 2] = cp * sr, cp * cr, -sp
    out[..., 2, 0], out[..., 2, 1], out[..., 2, 2] = cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp
    return out
