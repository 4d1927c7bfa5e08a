# SPDX-License-Identifier: GPL-3.0-or-later
"""Small repairs of the rest head and of its units against this topology."""

from dataclasses import dataclass

import numpy as np

from . import ARKIT
from .eyes import CORNEA_HEIGHT, LIMBUS
from .lids import LidData, cleared
from .parts import LIPS
from .teeth import SEGMENTS

CORNEA_WIDTH = LIMBUS * 1.12


def clear_lids(
    template: np.ndarray, lids: dict[str, LidData], spheres: dict[str, tuple[np.ndarray, float]]
) -> np.ndarray:
    """The rest head with its lids lying on the new eyeballs and corneas instead of in them."""
    for side, data in lids.items():
        centre, radius = spheres[side]
        offset = template[data.index] - centre
        cosine = offset[:, 2] / np.linalg.norm(offset, axis=1)
        bulge = CORNEA_HEIGHT * np.maximum(1 - 2 * (1 - cosine) / CORNEA_WIDTH**2, 0) ** 1.5
        floor = radius + np.maximum(data.clearance, bulge + 1e-3)
        template = cleared(template, data, centre, np.where(data.clearance > 0, floor, 0))
    return template


LOWER_LIP = -0.122  # decimetres jawOpen lowers what belongs to the lower lip, at least
OVERLAP = 0.002  # decimetres the lips of the rest head press into each other where they would have been open
REACH = 0.025  # decimetres: how far from the slit its closing is felt
STATIONS = np.linspace(-0.228, 0.228, 39)


@dataclass(frozen=True)
class Slit:
    """The line between the closed lips, cut at STATIONS across the mouth, seen from the front.

    upper, lower: (39, 2) vertices whose edge carries the lowest point of the upper and the highest of the lower lip,
    with the shares (39,) of the second one.
    """

    upper: np.ndarray
    upper_share: np.ndarray
    lower: np.ndarray
    lower_share: np.ndarray
    middle: np.ndarray  # (39, 3)

    def gap(self, field: np.ndarray) -> np.ndarray:
        """(39,) how far a field (V, 3) of positions or displacements opens the slit."""
        return _between(field, self.upper, self.upper_share)[:, 1] - _between(field, self.lower, self.lower_share)[:, 1]


def _between(field: np.ndarray, pair: np.ndarray, share: np.ndarray) -> np.ndarray:
    return field[pair[:, 0]] * (1 - share)[:, None] + field[pair[:, 1]] * share[:, None]


def find_slit(points: np.ndarray, faces: np.ndarray, labels: np.ndarray, jaw_open: np.ndarray) -> Slit:
    tri = faces[labels == LIPS]
    edges = np.unique(np.sort(np.concatenate([tri[:, [0, 1]], tri[:, [1, 2]], tri[:, [2, 0]]]), 1), axis=0)
    low = jaw_open[edges, 1].mean(1) < LOWER_LIP
    a, b = points[edges[:, 0]], points[edges[:, 1]]
    found: dict[str, list[tuple[int, float]]] = {"upper": [], "lower": []}
    for x in STATIONS:
        t = (x - a[:, 0]) / np.where(a[:, 0] == b[:, 0], 1, b[:, 0] - a[:, 0])
        height = a[:, 1] * (1 - t) + b[:, 1] * t
        crosses = (t >= 0) & (t <= 1) & (a[:, 0] != b[:, 0])
        up = np.where(crosses & ~low, height, np.inf).argmin()
        down = np.where(crosses & low, height, -np.inf).argmax()
        found["upper"].append((int(up), float(t[up])))
        found["lower"].append((int(down), float(t[down])))
    (u, us), (d, ds) = (zip(*found[k], strict=True) for k in ("upper", "lower"))
    upper, lower = edges[list(u)], edges[list(d)]
    shares = np.array(us), np.array(ds)
    middle = (_between(points, upper, shares[0]) + _between(points, lower, shares[1])) / 2
    return Slit(upper, shares[0], lower, shares[1], middle)


def closing_field(slit: Slit, points: np.ndarray, jaw_open: np.ndarray) -> np.ndarray:
    """(V, 39): how much each vertex rises for a unit of closing at each station."""
    side = np.clip((jaw_open[:, 1] - LOWER_LIP) / 0.012, -1, 1)  # +1 upper lip, -1 lower lip
    nearest = np.interp(points[:, 0], STATIONS, slit.middle[:, 1]), np.interp(points[:, 0], STATIONS, slit.middle[:, 2])
    away = ((points[:, 1] - nearest[0]) / REACH) ** 2 + (np.minimum(points[:, 2] - nearest[1], 0) / (2 * REACH)) ** 2
    strength = np.where(points[:, 2] > 0.7, -0.5 * side * np.exp(-0.5 * away), 0)
    step = STATIONS[1] - STATIONS[0]
    hats = np.maximum(1 - np.abs(points[:, :1] - STATIONS) / step, 0)
    return strength[:, None] * hats


def close_lips(
    template: np.ndarray, shapedirs: np.ndarray, slit: Slit, jaw_open: np.ndarray, skin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Template (V, 3) and shapedirs (S, V, 3) whose lips touch at rest for every identity, to first order.

    MakeHuman's mouth stands open by up to a millimetre at the corners. `skin`: number of skin vertices, which come first.
    """
    template, shapedirs = template.copy(), shapedirs.copy()
    field = closing_field(slit, template[:skin], jaw_open[:skin])
    opening = slit.gap(template)
    template[:skin, 1] += field @ np.maximum(opening + OVERLAP, 0)
    for direction in shapedirs:
        direction[:skin, 1] += field @ slit.gap(direction)
    return template, shapedirs


def meet_lids(
    template: np.ndarray, blink: np.ndarray, data: LidData, centre: np.ndarray, overlap: float = 0.003
) -> np.ndarray:
    """Blink unit (V, 3) scaled across the eye so that the margins just meet everywhere on the mean head.

    MakeHuman's blink is made for wider eyes: on the mean head its upper lid would run 4 mm over the lower one.
    """
    x = (template[data.gap_index[:, :2], 0] * np.abs(data.gap_weights[:, :2])).sum(1)
    opening = (template[data.gap_index, 1] * data.gap_weights).sum(1)
    closing = -(blink[data.gap_index, 1] * data.gap_weights).sum(1)
    need = np.clip((opening + overlap) / closing, 0.55, 1.05)
    t = (x - centre[0]) / 0.1
    smooth = np.polyval(np.polyfit(t, need, 3), t)
    smooth += np.maximum(need - smooth, 0).max() * 0.7
    return blink * np.interp(template[:, 0], x, smooth)[:, None]


# mm that the lower lip goes further down at a distance (mm) from the middle: MakeHuman's units pull it into a V
ROUNDER = {
    "jawOpen": ((0, 6, 10, 14, 18, 20, 22, 24.5), (0, 0.9, 2.2, 4.2, 4.2, 3.3, 1.6, 0)),
    "mouthFunnel": ((0, 6, 10, 12, 15, 18, 21), (0, 0.8, 1.8, 1.9, 1.2, 0.4, 0)),
}


def round_lower_lip(units: np.ndarray, template: np.ndarray, slit: Slit, skin: int) -> np.ndarray:
    """Units whose lower lip opens in a U; mouthClose takes back what jawOpen gets, so that lips still meet."""
    units = units.copy()
    p = template[:skin]
    lower = np.clip((LOWER_LIP - units[ARKIT.index("jawOpen"), :skin, 1]) / 0.015, 0, 1)
    middle = [np.interp(p[:, 0], STATIONS, slit.middle[:, k]) for k in (1, 2)]
    below, behind = np.maximum(middle[0] - p[:, 1], 0), np.maximum(middle[1] - p[:, 2], 0)
    strength = lower * np.exp(-0.5 * (below / 0.075) ** 2 - 0.5 * (behind / 0.09) ** 2) * (p[:, 2] > 0.7)
    for name, (distance, drop) in ROUNDER.items():
        field = -strength * np.interp(np.abs(p[:, 0]) * 100, distance, drop) / 100
        units[ARKIT.index(name), :skin, 1] += field
        if name == "jawOpen":
            units[ARKIT.index("mouthClose"), :skin, 1] -= field
    return units


def settle_tongue(template: np.ndarray, units: np.ndarray, span: slice) -> tuple[np.ndarray, np.ndarray]:
    """Template and units with a tongue that lies inside the lower arch and sinks further as the jaw opens.

    MakeHuman's is as wide as the arch and stays near the palate, which fills an open mouth. tongueOut lifts it again.
    """
    template, units = template.copy(), units.copy()
    tongue = template[span]
    drop = np.interp(tongue[:, 2], (0.5, 0.9, 1.3), (0.02, 0.045, 0.045))
    tongue[:, 0] *= np.interp(tongue[:, 2], (0.6, 0.95), (1.0, 0.85))
    tongue[:, 1] -= drop
    units[ARKIT.index("tongueOut"), span, 1] += drop
    units[ARKIT.index("jawOpen"), span, 1] -= np.interp(tongue[:, 2], (0.6, 0.95, 1.35), (0.05, 0.09, 0.03))
    return template, units


def occlude(
    template: np.ndarray, shapedirs: np.ndarray, spans: dict[str, slice], overbite: float = 0.015
) -> tuple[np.ndarray, np.ndarray]:
    """Template and shapedirs whose lower row keeps its bite under the upper one for every identity.

    MakeHuman's jaw sliders pull the two strips apart by millimetres; the lower row is moved as a whole until its
    incisors follow the upper ones. `overbite`: decimetres the upper incisors hang over the lower ones at rest.
    """
    template, shapedirs = template.copy(), shapedirs.copy()
    upper, lower = (incisor_edges(spans[f"teeth_{row}"]) for row in ("upper", "lower"))
    lift = overbite - (template[lower, 1].max() - template[upper, 1].min())
    apart = shapedirs[:, lower].mean(1) - shapedirs[:, upper].mean(1)
    for name in ("teeth_lower", "gum_lower"):
        template[spans[name], 1] += lift
        shapedirs[:, spans[name]] -= apart[:, None]
    return template, shapedirs


def incisor_edges(row: slice) -> np.ndarray:
    """Vertices of the biting edges of the two central incisors in a row of 14 teeth."""
    tooth = (row.stop - row.start) // 14
    return np.concatenate([np.arange(tooth - 1 - SEGMENTS, tooth) + row.start + k * tooth for k in (6, 7)])
