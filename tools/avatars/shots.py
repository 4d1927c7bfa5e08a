# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of pictures taken of each person: expressions, cameras, close-ups, and those kept out of the fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import atan, cos, radians, sin

import numpy as np

from loquent.core.geometry.cameras import Camera


def pair(name: str, value: float) -> dict[str, float]:
    """The same coefficient left and right."""
    return {name + "Left": value, name + "Right": value}


SMILE = pair("mouthSmile", 0.85) | pair("cheekSquint", 0.45) | pair("eyeSquint", 0.2)
EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "aa": {"jawOpen": 0.65} | pair("mouthLowerDown", 0.25) | pair("mouthUpperUp", 0.15),
    "wide": {"jawOpen": 1.0} | pair("mouthUpperUp", 0.3),
    "oh": {"jawOpen": 0.4, "mouthFunnel": 0.7},
    "ou": {"jawOpen": 0.12, "mouthPucker": 0.9},
    "ee": {"jawOpen": 0.12} | pair("mouthStretch", 0.5) | pair("mouthLowerDown", 0.45) | pair("mouthUpperUp", 0.3) | pair("mouthSmile", 0.3),
    "fv": {"jawOpen": 0.08, "mouthRollLower": 0.6} | pair("mouthUpperUp", 0.35),
    "mbp": {"mouthRollLower": 0.35, "mouthRollUpper": 0.35} | pair("mouthPress", 0.5),
    "th": {"jawOpen": 0.22, "tongueOut": 0.4},
    "smile": SMILE | pair("mouthDimple", 0.2),
    "laugh": SMILE | {"jawOpen": 0.2} | pair("mouthUpperUp", 0.5) | pair("mouthLowerDown", 0.35),
    "blink": pair("eyeBlink", 1.0),
    "half": pair("eyeBlink", 0.5) | {"jawOpen": 0.25},
    "raised": {"browInnerUp": 0.8, "jawOpen": 0.3} | pair("browOuterUp", 0.8) | pair("eyeWide", 0.8),
    "angry": pair("browDown", 0.9) | pair("noseSneer", 0.5) | pair("mouthFrown", 0.5) | pair("mouthPress", 0.3),
    "left": {"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9, "mouthLeft": 0.4},
    "right": {"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9, "mouthRight": 0.4},
    "up": pair("eyeLookUp", 0.9),
    "down": pair("eyeLookDown", 0.9) | {"jawOpen": 0.1},
    "tongue": {"jawOpen": 0.55, "tongueOut": 0.9},
    "held_talk": {"jawOpen": 0.33, "mouthFunnel": 0.3, "browInnerUp": 0.4} | pair("mouthLowerDown", 0.2) | pair("eyeBlink", 0.15),
    "held_grin": SMILE | {"jawOpen": 0.05, "eyeLookOutLeft": 0.4, "eyeLookInRight": 0.4} | pair("mouthUpperUp", 0.4) | pair("mouthLowerDown", 0.3),
}  # fmt: skip

FULL, WIDE, MOUTH, EYES = "full", "wide", "mouth", "eyes"
FRAMING: Mapping[str, tuple[tuple[float, float, float], float]] = {
    FULL: ((0.0, 0.004, 0.0), 0.180), WIDE: ((0.0, -0.060, 0.0), 0.250), MOUTH: ((0.0, -0.022, 0.075), 0.048), EYES: ((0.0, 0.037, 0.060), 0.062),
}  # fmt: skip
DISTANCE = 1.4


@dataclass(frozen=True)
class Shot:
    """One picture. yaw towards the subject's left, pitch upwards, degrees. held: kept out of the fit."""

    expression: str
    framing: str
    yaw: float
    pitch: float
    held: bool = False

    @property
    def name(self) -> str:
        return f"{self.expression}_{self.framing}_{self.yaw:+04.0f}_{self.pitch:+03.0f}"

    def camera(self, size: int) -> Camera:
        """OpenCV camera for a square picture."""
        target, half = FRAMING[self.framing]
        y, p = radians(self.yaw), radians(self.pitch)
        back = np.array([sin(y) * cos(p), sin(p), cos(y) * cos(p)])
        forward = -back
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        matrix[:3, 3] = -matrix[:3, :3] @ (np.asarray(target) + DISTANCE * back)
        focal = size / 2 * DISTANCE / half
        K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
        return Camera(matrix.astype(np.float32), K.astype(np.float32), size, size)


SIZES: Mapping[str, int] = {FULL: 384, WIDE: 384, MOUTH: 320, EYES: 320}
"""Pixels a side of each framing."""


def fov(framing: str) -> float:
    """Radians across the square picture."""
    return 2 * atan(FRAMING[framing][1] / DISTANCE)


def shots() -> list[Shot]:
    """All pictures of a person, the most useful first."""
    held = [
        Shot("held_talk", FULL, 12, 4, True), Shot("held_grin", FULL, -28, 2, True), Shot("held_talk", FULL, 62, -6, True),
        Shot("held_grin", FULL, 160, 8, True), Shot("held_talk", MOUTH, 10, -3, True), Shot("held_grin", EYES, -18, 4, True),
    ]  # fmt: skip
    first = [
        Shot("neutral", FULL, y, p)
        for y, p in (
            (0, 0),
            (180, 5),
            (-45, 0),
            (45, 5),
            (90, 0),
            (-90, 5),
            (135, 8),
            (-135, 5),
            (20, 15),
            (-20, -18),
            (-65, -12),
            (65, 18),
            (0, 55),
            (180, 40),
            (105, 30),
            (-105, -15),
        )
    ]
    first += [Shot("neutral", WIDE, y, p) for y, p in ((0, 0), (75, 5), (-75, 5), (180, 10))]
    moving = [n for n in EXPRESSIONS if n != "neutral" and not n.startswith("held")]
    mouths = ["aa", "laugh", "ee", "wide", "oh", "ou", "fv", "th", "smile", "mbp", "neutral"]
    gazes = ["neutral", "blink", "left", "right", "half", "up", "down", "raised", "angry"]
    close = [Shot(n, MOUTH, (-8, 6)[i % 2], (-4, 4)[i // 2 % 2]) for i, n in enumerate(mouths)]
    close += [Shot(n, EYES, (5, -6)[i % 2], (3, -3)[i // 2 % 2]) for i, n in enumerate(gazes)]
    front = [Shot(n, FULL, (9 * (i % 5) - 18), (i * 7 % 23) - 11) for i, n in enumerate(moving)]
    side = [Shot(n, FULL, (1 if i % 2 else -1) * (32 + 5 * (i % 4)), (i * 5 % 17) - 8) for i, n in enumerate(moving)]
    close2 = [Shot(n, MOUTH, (38, -42)[i % 2], (-6, 8)[i // 2 % 2]) for i, n in enumerate(mouths[:9])]
    close2 += [Shot(n, EYES, (-40, 36)[i % 2], (6, -4)[i // 2 % 2]) for i, n in enumerate(gazes[:5])]
    far = [
        Shot(n, FULL, (1 if i % 2 else -1) * (68 + 9 * (i % 4)), (i * 5 % 21) - 10) for i, n in enumerate(moving[::2])
    ]
    extra = [
        Shot("tongue", MOUTH, 0, -4), Shot("tongue", MOUTH, 32, 10), Shot("wide", MOUTH, -10, 16), Shot("aa", MOUTH, 12, -18),
        Shot("wide", MOUTH, 55, 2), Shot("neutral", FULL, 15, -34), Shot("neutral", FULL, -55, -30), Shot("blink", EYES, 0, 12),
        Shot("half", EYES, -10, 0), Shot("down", EYES, 8, -6), Shot("laugh", MOUTH, -12, 8),
    ]  # fmt: skip
    out = held[:2] + first[:8]
    for group in (close, first[8:], front, held[2:], extra, close2, side, far):
        out += group
    return out
