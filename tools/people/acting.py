# SPDX-License-Identifier: GPL-3.0-or-later
"""What a synthetic person does and where the camera stands: (65,) channel values and cameras, view by view."""

import numpy as np

from loquent.core.geometry.cameras import Camera
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX

from ..avatars.shots import EXPRESSIONS

MOUTHS = ("aa", "oh", "ou", "ee", "fv", "mbp", "th", "wide", "held_talk")
MOODS = ("smile", "laugh", "angry", "raised", "held_grin")
CALM = [
    i
    for i, name in enumerate(ARKIT)
    if name not in ("jawOpen", "tongueOut", "mouthClose", "cheekPuff") and "Look" not in name
]


def _add(values: np.ndarray, name: str, amount: float) -> None:
    for channel, value in EXPRESSIONS[name].items():
        values[INDEX[channel]] += amount * value


def expression(rng: np.random.Generator, kind: str) -> np.ndarray:
    """(65,) values of one frame. kind: calm, speech, mood, random."""
    values = np.zeros(len(CHANNELS), np.float32)
    if kind == "speech":
        a, b = rng.choice(len(MOUTHS), 2)
        mix = rng.random()
        _add(values, MOUTHS[a], mix * rng.uniform(0.5, 1.05))
        _add(values, MOUTHS[b], (1 - mix) * rng.uniform(0.3, 1.0))
        if rng.random() < 0.3:
            _add(values, "smile", rng.uniform(0.1, 0.5))
    elif kind == "mood":
        _add(values, MOODS[rng.integers(len(MOODS))], rng.uniform(0.4, 1.0))
    elif kind == "random":
        pick = rng.choice(CALM, rng.integers(3, 8), replace=False)
        values[pick] += rng.beta(1.2, 1.8, len(pick)) * 0.85
        values[INDEX["jawOpen"]] += rng.beta(0.7, 2.0) * (rng.random() < 0.6)
        if rng.random() < 0.5:  # most faces are symmetrical
            for name in ARKIT:
                if name.endswith("Left"):
                    left, right = INDEX[name], INDEX[name[:-4] + "Right"]
                    values[[left, right]] = values[[left, right]].mean()
    if rng.random() < 0.12:
        values[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = rng.choice([1.0, rng.uniform(0.2, 0.9)])
    else:
        lid = np.clip(rng.normal(0.05, 0.08), 0, 0.3)
        values[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] += lid
    if rng.random() < 0.35:
        brow = rng.normal(0, 0.3)
        names = (
            ("browInnerUp", "browOuterUpLeft", "browOuterUpRight") if brow > 0 else ("browDownLeft", "browDownRight")
        )
        for name in names:
            values[INDEX[name]] += abs(brow)
    values[: len(ARKIT)] = np.clip(values[: len(ARKIT)], 0, 1)
    wander = 0.16 if rng.random() < 0.5 else 0.05
    values[INDEX["gazeYaw"]] = np.clip(rng.normal(0, wander), -0.4, 0.4)
    values[INDEX["gazePitch"]] = np.clip(rng.normal(0, 0.5 * wander), -0.2, 0.2)
    if kind != "calm" or rng.random() < 0.5:
        values[INDEX["headYaw"]] = rng.normal(0, 0.10)
        values[INDEX["headPitch"]] = rng.normal(0, 0.06)
        values[INDEX["headRoll"]] = rng.normal(0, 0.05)
    return values


def camera(rng: np.random.Generator, yaw: float, pitch: float, size: int) -> Camera:
    """A square picture of head, neck and shoulders; degrees, yaw towards the subject's left, pitch from above."""
    distance = float(np.exp(rng.uniform(np.log(0.55), np.log(2.2))))
    half = rng.uniform(0.165, 0.215)
    target = np.array([0, -0.018, 0.01]) + rng.normal(0, [0.008, 0.008, 0.0])
    y, p = np.radians(yaw), np.radians(pitch)
    back = np.array([np.sin(y) * np.cos(p), np.sin(p), np.cos(y) * np.cos(p)])
    roll = rng.normal(0, 0.04)
    up = np.array([np.sin(roll), np.cos(roll), 0.0])
    right = np.cross(-back, up)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(-back, right), -back])
    matrix[:3, 3] = -matrix[:3, :3] @ (target + distance * back)
    focal = size / 2 * distance / half
    shift = rng.normal(0, 0.012, 2) * size
    K = np.array([[focal, 0, size / 2 + shift[0]], [0, focal, size / 2 + shift[1]], [0, 0, 1]])
    return Camera(matrix.astype(np.float32), K.astype(np.float32), size, size)


def views(rng: np.random.Generator, count: int, size: int) -> list[tuple[np.ndarray, Camera]]:
    """Values and cameras of a person's pictures. The first three are nearly frontal: calm, speaking, smiling or so."""
    out = []
    for number in range(count):
        if number < 3:
            kind, yaw, pitch = ("calm", "speech", "mood")[number], rng.normal(0, 8), rng.normal(0, 5)
        else:
            kind = ("calm", "speech", "mood", "random")[rng.choice(4, p=[0.15, 0.4, 0.15, 0.3])]
            yaw, pitch = rng.uniform(-75, 75), np.clip(rng.normal(0, 9), -20, 20)
        out.append((expression(rng, kind), camera(rng, np.clip(yaw, -75, 75), float(pitch), size)))
    return out
