# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyes, teeth, gums, tongue and lashes: painted by rules, in the photo's light and with the colours that it shows."""

from dataclasses import dataclass

import numpy as np

from .complexion import Complexion
from .shot import EYES, MOUTH, Shot
from .surface import Slots, kinds

WHITE = np.array([0.62, 0.55, 0.50])
IRIS = np.array([0.055, 0.035, 0.022])
TEETH = np.array([0.62, 0.55, 0.44])
GUMS = np.array([0.28, 0.09, 0.085])
TONGUE = np.array([0.33, 0.11, 0.105])
INSIDE = np.array([0.075, 0.02, 0.018])
SKIN = np.array([0.50, 0.32, 0.24])
"""Linear colours in the light in which skin of medium tone looks like SKIN."""
IRIS_RADIUS, PUPIL_RADIUS = 0.0059, 0.0019
"""Metres; on nearly all adults (Rufer et al. 2005: white-to-white 11.7 mm)."""


@dataclass(frozen=True)
class Light:
    """What the photo's light does to a white thing: (3,) factors."""

    factors: np.ndarray


def light_of(look: Complexion, shot: Shot) -> Light:
    """Estimated from the whites of the eyes where they are seen, else from the skin's brightness."""
    luma = float(look.skin_colour @ [0.2126, 0.7152, 0.0722])
    dark = float(SKIN @ [0.2126, 0.7152, 0.0722])
    # dark skin is less the light's fault than its own: half of it in logarithms
    level = (luma / dark) ** (1.0 if luma > dark else 0.55)
    tint = look.skin_colour / max(luma, 1e-4) / (SKIN / dark)
    tint = np.clip(tint, 0.5, 2) ** 0.3
    return Light(np.clip(level, 0.15, 1.6) * tint)


def paint_eyes(shot: Shot, slots: Slots, head, gaze: dict[int, np.ndarray], light: Light) -> np.ndarray:
    """(N, 3) colours of slots on the eyeballs. gaze: (3,) axis of each eye joint, 3 and 4, in the photo.

    The iris takes the median colour of what the photo shows of it; the white is shaded towards the lids.
    """
    person = shot.vertices
    points = slots.of(person, head.faces)
    left = np.isin(head.regions[slots.triangles], [head.region_names.index("eye_left")])
    colours = np.zeros((len(slots), 3), np.float32)
    trust = shot.trust(EYES, 1)
    seen_colours, weights = shot.look(slots, EYES, trust)
    eyes = [(left, "eye_left", 3), (~left, "eye_right", 4)]
    angles = np.zeros(len(slots))
    for mine, part, joint in eyes:
        centre, radius = _ball(person[head.parts[part]])
        away = points[mine] - centre
        away = away / np.linalg.norm(away, axis=1, keepdims=True)
        angles[mine] = np.arccos(np.clip(away @ gaze[joint], -1, 1)) * radius
    iris_share = (angles > PUPIL_RADIUS * 1.2) & (angles < IRIS_RADIUS * 0.85)
    iris = _iris(seen_colours[iris_share & (weights > 0.3)], light)
    white_seen = seen_colours[(angles > IRIS_RADIUS * 1.25) & (angles < IRIS_RADIUS * 2) & (weights > 0.5)]
    white = _white(white_seen, light)
    r = angles
    edge = np.clip((r - IRIS_RADIUS) / 0.0006 + 0.5, 0, 1)[:, None]
    pupil = np.clip((r - PUPIL_RADIUS) / 0.0005 + 0.5, 0, 1)[:, None]
    rim = np.clip(1 - 0.65 * np.exp(-(((r - IRIS_RADIUS) / 0.0009) ** 2)), 0, 1)[:, None]
    inner = (1 + 0.35 * np.exp(-(((r - 0.0028) / 0.0009) ** 2)))[:, None]
    pinkish = np.clip((r - 0.008) / 0.006, 0, 1)[:, None]
    ball = white * (1 - pinkish * np.array([0.15, 0.38, 0.42]))
    colours[:] = edge * ball + (1 - edge) * (pupil * iris * inner * rim + (1 - pupil) * 0.004)
    return colours


def _ball(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the sphere nearest to points (n, 3), by least squares."""
    a = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    x = np.linalg.lstsq(a, (points**2).sum(1), rcond=None)[0]
    return x[:3], float(np.sqrt(max(x[3] + x[:3] @ x[:3], 1e-8)))


def _iris(seen: np.ndarray, light: Light) -> np.ndarray:
    default = IRIS * light.factors
    if len(seen) < 6:
        return default
    found = np.median(seen, 0)
    share = min(len(seen) / 60, 0.85)
    mixed = np.exp(share * np.log(np.maximum(found, 2e-3)) + (1 - share) * np.log(default))
    return np.clip(mixed, 0.35 * default, 6 * default)


def _white(seen: np.ndarray, light: Light) -> np.ndarray:
    default = WHITE * light.factors * 0.8
    if len(seen) < 6:
        return default
    luma = seen @ [0.2126, 0.7152, 0.0722]
    found = np.median(seen[luma >= np.quantile(luma, 0.6)], 0)
    mixed = np.sqrt(np.maximum(found, 1e-3) * default)
    return np.clip(mixed, 0.45 * default, 1.3 * default)


def paint_mouth(shot: Shot, slots: Slots, head, light: Light) -> np.ndarray:
    """(N, 3) colours of teeth, gums, tongue and the mouth's inside; darker the further back."""
    kind = kinds(head)[slots.triangles]
    base = np.select(
        [(kind == k)[:, None] for k in ("teeth", "gums", "tongue", "mouth")], [TEETH, GUMS, TONGUE, INSIDE], INSIDE
    )
    teeth = _teeth(shot, slots, kind, light)
    base = np.where((kind == "teeth")[:, None], teeth, base * light.factors)
    depth = slots.of(head.template, head.faces)[:, 2]
    front = float(head.template[head.parts["teeth_upper"], 2].max())
    shade = np.interp(front - depth, [0, 0.006, 0.02, 0.04], [1.0, 0.9, 0.42, 0.15])
    x = np.abs(slots.of(head.template, head.faces)[:, 0])
    shade = shade * np.interp(x, [0.012, 0.026], [1.0, 0.6])
    upper = slots.of(head.template, head.faces)[:, 1]
    shade = np.where(kind == "mouth", shade * np.interp(upper, [-0.05, -0.02], [0.7, 1.0]), shade)
    return (base * shade[:, None]).astype(np.float32)


def _teeth(shot: Shot, slots: Slots, kind: np.ndarray, light: Light) -> np.ndarray:
    """(3,) colour of teeth: as seen in the photo where they are, else enamel in its light."""
    default = TEETH * light.factors * 0.85
    mine = np.flatnonzero(kind == "teeth")
    places = Slots(slots.triangles[mine], slots.bary[mine], slots.parts[mine])
    colours, weights = shot.look(places, MOUTH, shot.trust(MOUTH, 1))
    seen = colours[weights > 0.4]
    if len(seen) < 30:
        return default
    luma = seen @ [0.2126, 0.7152, 0.0722]
    found = np.median(seen[luma >= np.quantile(luma, 0.6)], 0)
    grey = np.ptp(found) / max(found.max(), 1e-4)
    if grey > 0.6 or found.mean() < 0.4 * default.mean():  # lips or the dark, not teeth
        return default
    return np.clip(0.7 * found + 0.3 * default, 0.5 * default, 1.5 * default)
