# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of the posed head and how they change with every channel, for many frames at once.

Positions are exact (head.pose_vertices). Derivatives leave out what is small: lids pushed off the eyeball, and the skinning
weights' blend between neck and head. Gauss-Newton needs no more.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry.rotations import yaw_pitch_roll
from ..geometry.triangles import vertex_normals
from ..head.head import Head, Identity, identity, pose_vertices
from ..head.motion import ARKIT, INDEX
from .embedding import Embedding

_LEFT_OUT = {"tongueOut", "jawOpen"}
UNITS = tuple(n for n in ARKIT if not n.startswith("eyeLook") and n not in _LEFT_OUT)
"""Units that are fitted as linear displacements; the gaze channels carry what eyeLook* would."""
POSES = ("gazePitch", "gazeYaw", "headPitch", "headYaw", "headRoll", "headX", "headY", "headZ")
FITTED = (*UNITS, "jawOpen", *POSES)
COLUMNS = np.array([INDEX[name] for name in FITTED])
"""Columns of a Motion that are fitted, in this order."""
AT = {name: k for k, name in enumerate(FITTED)}
NECK, JAW, LEFT_EYE, RIGHT_EYE = 1, 2, 3, 4
STEP = 1e-3


@dataclass(frozen=True)
class FaceModel:
    """The head reduced to its L landmarks: linear parts (L, 3, K) and skinning weights."""

    head: Head
    embedding: Embedding
    units: np.ndarray  # (L, 3, U)
    looks: np.ndarray  # (L, 3, 8): eyeLookDown, In, Out, Up of the left eye, then of the right
    shapes: np.ndarray  # (L, 3, S)
    posedirs: np.ndarray  # (L, 3, 9)
    weights: np.ndarray  # (L, 5)
    normals: np.ndarray  # (L, 3) of the mean face at rest

    def points(self, person: Identity, values: np.ndarray) -> np.ndarray:
        """(T, L, 3) landmarks in head space of channel values (T, 65). About 0.7 ms a frame."""
        return self.embedding.of(pose_vertices(person, values))


def face_model(head: Head, embedding: Embedding, components: int) -> FaceModel:
    """Reduce a head to its landmarks, with its first identity components."""

    def planes(fields: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(embedding.of(fields).transpose(1, 2, 0), np.float32)

    looks = [ARKIT.index(f"eyeLook{way}{side}") for side in ("Left", "Right") for way in ("Down", "In", "Out", "Up")]
    return FaceModel(
        head, embedding,
        units=planes(head.units[[ARKIT.index(n) for n in UNITS]]), looks=planes(head.units[looks]),
        shapes=planes(head.shapedirs[:components]), posedirs=planes(head.posedirs),
        weights=embedding.of(head.weights), normals=embedding.of(vertex_normals(head.template, head.faces)),
    )  # fmt: skip


def person_of(model: FaceModel, betas: np.ndarray) -> Identity:
    return identity(model.head, betas)


def head_turns(values: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations of the head."""
    yaw, pitch, roll = (values[:, INDEX[n]] for n in ("headYaw", "headPitch", "headRoll"))
    return yaw_pitch_roll(yaw, pitch, roll).astype(np.float32)


def derivatives(
    model: FaceModel, person: Identity, values: np.ndarray, points: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What (T, L, 2, K) and (T, L, 2, S) a change of the FITTED channels and of the betas does to `rows` of the landmarks.

    rows (T, L, 2, 3): what is made of a displacement in head space, such as pixels.
    """
    head = model.head
    turn = head_turns(values)
    jaw_turn = _joint_turn(values, "jawYaw", "jawOpen", "jawRoll", head.jaw_open_radians)
    own = rows @ turn[:, None]  # of displacements before the head turns
    carried = own + model.weights[:, JAW, None, None] * (own @ (jaw_turn - np.eye(3, dtype=np.float32))[:, None])
    out = np.empty((*rows.shape[:3], len(FITTED)), np.float32)
    out[..., : len(UNITS)] = _applied(carried, model.units)
    for side, gain in zip(("Left", "Right"), person.blink_gains, strict=True):
        out[..., AT["eyeBlink" + side]] *= gain
    close = AT["mouthClose"]  # added after the joints
    out[..., close] = (own @ model.units[:, :, close, None])[..., 0]
    rest = model.embedding.of(person.template)
    slope = (_joint_turn(values, "jawYaw", "jawOpen", "jawRoll", head.jaw_open_radians, STEP) - jaw_turn) / STEP
    out[..., AT["jawOpen"]] = _jaw(model, person, rest, slope, own)
    for name in ("gazePitch", "gazeYaw"):
        out[..., AT[name]] = (own @ _gaze(model, person, rest, values, name)[..., None])[..., 0]
    place = values[:, None, [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]]
    local = (points - person.joints[NECK] - place) @ turn  # transposed twice: R^T (x - j)
    for name in ("headPitch", "headYaw", "headRoll"):
        nudged = values.copy()
        nudged[:, INDEX[name]] += STEP
        moved = local @ ((head_turns(nudged) - turn) / STEP).transpose(0, 2, 1)
        out[..., AT[name]] = (rows @ moved[..., None])[..., 0]
    out[..., AT["headX"] :] = rows
    shapes = _applied(carried, model.shapes)
    pivot = head.joint_dirs[: model.shapes.shape[2], NECK].T  # (3, S): a turned head turns about its own joint
    shapes += rows @ ((np.eye(3, dtype=np.float32) - turn) @ pivot)[:, None]
    return out, shapes


def _applied(rows: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """(T, L, 2, K) of rows (T, L, 2, 3) on planes (L, 3, K): one product for each landmark."""
    frames, count = rows.shape[:2]
    flat = np.ascontiguousarray(rows.transpose(1, 0, 2, 3)).reshape(count, frames * 2, 3)
    return (flat @ planes).reshape(count, frames, 2, -1).transpose(1, 0, 2, 3)


def _joint_turn(values: np.ndarray, yaw: str, pitch: str, roll: str, scale: float, more: float = 0.0) -> np.ndarray:
    angles = (values[:, INDEX[yaw]], (values[:, INDEX[pitch]] + more) * scale, values[:, INDEX[roll]])
    return yaw_pitch_roll(*angles).astype(np.float32)


def _jaw(model: FaceModel, person: Identity, rest: np.ndarray, slope: np.ndarray, own: np.ndarray) -> np.ndarray:
    arm = model.weights[:, JAW, None] * (rest - person.joints[JAW])  # (L, 3)
    moved = arm @ slope.transpose(0, 2, 1) + (model.posedirs @ slope.reshape(-1, 1, 9, 1))[..., 0]
    return (own @ moved[..., None])[..., 0]


def _gaze(model: FaceModel, person: Identity, rest: np.ndarray, values: np.ndarray, name: str) -> np.ndarray:
    """(T, L, 3) displacement before the head turns: the eyeballs turn, the lids go along."""
    pitch, yaw = values[:, INDEX["gazePitch"]], values[:, INDEX["gazeYaw"]]
    small = np.float32(STEP)
    before = yaw_pitch_roll(yaw, pitch, 0 * yaw)
    after = yaw_pitch_roll(yaw + small * (name == "gazeYaw"), pitch + small * (name == "gazePitch"), 0 * yaw)
    slope = ((after - before) / small).astype(np.float32)
    down, inner, outer, up = model.head.look_radians.astype(np.float32)
    out = np.zeros((len(values), len(rest), 3), np.float32)
    for k, (joint, outwards) in enumerate(((LEFT_EYE, 1), (RIGHT_EYE, -1))):
        out += (model.weights[:, joint, None] * (rest - person.joints[joint])) @ slope.transpose(0, 2, 1)
        lids = model.looks[..., 4 * k : 4 * k + 4]
        if name == "gazePitch":
            shares = np.stack([(pitch >= 0) / down, 0 * yaw, 0 * yaw, (pitch < 0) / -up], -1)
        else:
            away = outwards * yaw >= 0
            shares = np.stack([0 * yaw, ~away * (-outwards / inner), away * (outwards / outer), 0 * yaw], -1)
        out += (lids @ shares.astype(np.float32)[:, None, :, None])[..., 0]
    return out
