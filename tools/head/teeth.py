# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty-eight separate teeth and two gum ridges, modelled along the arch of MakeHuman's tooth strips.

Crown sizes are rounded textbook averages of permanent teeth (mesiodistal width, crown height, labiolingual depth, mm).
The upper crowns' labial faces lie on the strip's own outer face, so they are where MakeHuman's lips expect teeth; the
lower arch stands a little inside, so that the upper incisors overlap the lower ones.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import UnivariateSpline
from scipy.sparse import vstack

from .mpfb import TEETH_LOWER as STRIP_LOWER
from .mpfb import TEETH_UPPER as STRIP_UPPER
from .parts import GUMS, TEETH_LOWER, TEETH_UPPER, Part, expand, similarity

SEGMENTS = 12
LEVELS = (0.0, 0.16, 0.36, 0.6, 0.82, 0.94)  # 0 below the gum, 1 biting edge
# width, height, depth in mm, from the middle to the second molar
UPPER = (
    (8.6, 10.0, 7.0), (6.7, 9.0, 6.2), (7.7, 9.9, 7.8), (7.0, 8.3, 8.8), (6.8, 8.0, 8.8), (10.2, 7.3, 10.6),
    (9.6, 7.0, 10.4),
)  # fmt: skip
LOWER = (
    (5.4, 8.8, 5.8), (5.9, 9.0, 6.2), (6.8, 10.2, 7.4), (7.0, 8.5, 7.6), (7.0, 8.0, 8.0), (10.6, 7.4, 10.2),
    (10.2, 7.0, 9.8),
)  # fmt: skip
# per kind, over LEVELS: share of the width, share of the depth, how far the labial face stands back in mm
PROFILES = {
    "incisor": (
        (0.66, 0.76, 0.9, 0.99, 1.0, 0.95), (0.95, 1.0, 0.86, 0.58, 0.33, 0.24), (0.5, 0.1, 0.0, 0.15, 0.45, 0.7),
    ),
    "canine": (
        (0.68, 0.8, 0.94, 1.0, 0.82, 0.48), (0.95, 1.0, 0.92, 0.68, 0.42, 0.28), (0.5, 0.1, 0.0, 0.2, 0.7, 1.1),
    ),
    "premolar": (
        (0.76, 0.86, 0.96, 1.0, 0.94, 0.78), (0.9, 0.97, 1.0, 0.95, 0.84, 0.68), (0.5, 0.1, 0.0, 0.25, 0.8, 1.5),
    ),
    "molar": (
        (0.84, 0.92, 0.98, 1.0, 0.96, 0.84), (0.88, 0.95, 1.0, 0.98, 0.9, 0.78), (0.5, 0.15, 0.0, 0.2, 0.7, 1.3),
    ),
}  # fmt: skip
KINDS = ("incisor", "incisor", "canine", "premolar", "premolar", "molar", "molar")
DROP = 1.8  # mm both rows stand below the strips: upper incisors end below the upper lip's edge, as in life
OVERBITE = 1.5  # mm the upper incisors hang over the lower ones
# the strips' outer biting edge from the middle to the subject's left, and the same row at the gum
UPPER_EDGE = (15069, 15086, 15071, 15070, 15085, 15078, 15077, 15076, 15080)
LOWER_EDGE = (15010, 15001, 15002, 15003, 15004, 15005, 15006, 15007, 15008)


@dataclass(frozen=True)
class Arch:
    """The labial line of one row of teeth, by arc length in mm from the middle; negative is the subject's right."""

    length: np.ndarray
    points: np.ndarray  # (n, 3) decimetres

    def at(self, s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Point, unit tangent (towards the subject's left) and unit outward normal, both horizontal."""

        def point(u: float) -> np.ndarray:
            return np.array([np.interp(u, self.length, self.points[:, k]) for k in range(3)])

        tangent = point(s + 2.5) - point(s - 2.5)
        tangent[1] = 0
        tangent /= np.linalg.norm(tangent)
        return point(s), tangent, np.cross(tangent, [0.0, 1.0, 0.0])


def arch(mean: np.ndarray, row: tuple[int, ...], inset: float) -> Arch:
    """Smooth symmetric labial curve through a row of strip vertices, moved inwards by `inset` mm."""
    half = mean[list(row)].copy()
    half[0, 0] = 0
    full = np.concatenate([half[:0:-1] * [-1, 1, 1], half])
    knots = np.r_[0, np.cumsum(np.linalg.norm(np.diff(full, axis=0), axis=1))]
    fine = np.linspace(knots[0], knots[-1], 401)
    curve = np.stack([UnivariateSpline(knots, full[:, k], k=3, s=17 * 0.004**2)(fine) for k in range(3)], 1)
    curve = (curve + curve[::-1] * [-1, 1, 1]) / 2
    tangent = np.gradient(curve[:, [0, 2]], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    curve[:, 0] += tangent[:, 1] * inset / 100
    curve[:, 2] -= tangent[:, 0] * inset / 100
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(curve[:, [0, 2]], axis=0), axis=1))] * 100
    middle = length[-1] / 2
    # run on straight beyond the last molar
    ends = [curve[0] + (curve[0] - curve[20]) * 0.6, curve[-1] + (curve[-1] - curve[-21]) * 0.6]
    extra = np.linalg.norm((ends[1] - curve[-1])[[0, 2]]) * 100
    return Arch(np.r_[-middle - extra, length - middle, middle + extra], np.concatenate([ends[:1], curve, ends[1:]]))


def crown(kind: int, size: tuple[float, float, float], upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """One tooth in its own mm frame: x along the arch, y towards the bite (0 at the bite), z outwards (0 labial).

    Returns vertices (SEGMENTS * len(LEVELS) + 1, 3) and faces.
    """
    width, height, depth = size
    incisor, canine, molar = (KINDS[kind] == k for k in ("incisor", "canine", "molar"))
    wide, deep, back = PROFILES[KINDS[kind]]
    turn = np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS + np.pi / SEGMENTS
    power = 2 / (2.6 if incisor or canine else 3.0)
    cx, cz = (np.sign(f) * np.abs(f) ** power for f in (np.sin(turn), np.cos(turn)))
    rings = []
    for level, w, d, b in zip(LEVELS, wide, deep, back, strict=True):
        z = -b - depth * d / 2 + cz * depth * d / 2
        y = np.full(SEGMENTS, -(1 - level) * height)
        if level > 0.9 and not (incisor or canine):  # cusps: the four corners stand up
            y = y + 0.5 * np.abs(np.sin(2 * turn)) * (1.0 if molar else 0.6) - 0.3
        if canine and level > 0.8:
            y = y - 1.2 * np.abs(cx) * (1 if level < 0.9 else 0.6)
        if incisor and level > 0.9:
            y = y - (0.25 if upper else 0.1) * np.abs(cx) ** 3
        rings.append(np.stack([cx * width / 2 * w, y, z], 1))
    top = rings[-1].mean(0)
    top[1] = 0.0 if incisor or canine else -0.95
    vertices = np.concatenate([*rings, top[None]])
    faces = []
    for r in range(len(LEVELS) - 1):
        for s in range(SEGMENTS):
            a, b = r * SEGMENTS + s, r * SEGMENTS + (s + 1) % SEGMENTS
            faces += [(a, b, b + SEGMENTS), (a, b + SEGMENTS, a + SEGMENTS)]
    last = (len(LEVELS) - 1) * SEGMENTS
    faces += [(last + s, last + (s + 1) % SEGMENTS, len(vertices) - 1) for s in range(SEGMENTS)]
    return vertices, np.array(faces)


@dataclass(frozen=True)
class Row:
    """Everything that places one row of teeth."""

    upper: bool
    arch: Arch
    sizes: tuple[tuple[float, float, float], ...]
    strip: np.ndarray  # MakeHuman indices of the stand-in
    centres: np.ndarray  # (14,) arc length of each tooth, from the right second molar to the left one
    kinds: np.ndarray  # (14,) 0 central incisor .. 6 second molar


def row_of(mean: np.ndarray, upper: bool) -> Row:
    line = arch(mean, UPPER_EDGE if upper else LOWER_EDGE, 0.2 if upper else 2.6)
    sizes = UPPER if upper else LOWER
    widths = np.array([s[0] for s in sizes])
    half = np.cumsum(widths) - widths / 2
    kinds = np.r_[np.arange(7)[::-1], np.arange(7)]
    return Row(upper, line, sizes, np.array(STRIP_UPPER if upper else STRIP_LOWER), np.r_[-half[::-1], half], kinds)


def bite(row: Row, s: float) -> float:
    """Height in decimetres of the biting edge over the strip's: half the overbite in front, little behind."""
    fade = np.clip(1 - (abs(s) - 12) / 14, 0, 1)
    return ((-1 if row.upper else 1) * (OVERBITE / 2 * fade + 0.35 * (1 - fade)) - DROP) / 100


def teeth(row: Row, mean: np.ndarray, tile: tuple[float, float, float]) -> Part:
    """The 14 crowns of a row, the right second molar first."""
    up = -1.0 if row.upper else 1.0  # direction of the bite
    positions, faces, uvs, maps, offset = [], [], [], [], 0
    for i, (s, kind) in enumerate(zip(row.centres, row.kinds, strict=True)):
        local, f = crown(int(kind), row.sizes[kind], row.upper)
        p, tangent, outward = row.arch.at(s)
        origin = p + [0, bite(row, s), 0]
        world = origin + (local[:, :1] * tangent + local[:, 2:] * outward) / 100
        world[:, 1] += up * local[:, 1] / 100
        flip = np.linalg.det(np.stack([tangent, [0, up, 0], outward])) < 0
        faces.append((f[:, ::-1] if flip else f) + offset)
        positions.append(world)
        cell = np.stack([local[:, 0] / 24 + 0.5, local[:, 1] / 24 + 0.95], 1)
        ring = np.arctan2(local[:, 2] - local[:, 2].mean(), local[:, 0]) / (2 * np.pi) + 0.5
        cell[:, 0] = 0.05 + 0.9 * ring
        uvs.append(np.array(tile[:2]) + (cell + [i % 7, i // 7]) * tile[2] / 7)
        weights = np.exp(-0.5 * (np.linalg.norm(mean[row.strip] - world.mean(0), axis=1) / 0.09) ** 2)
        maps.append(expand(similarity(world, mean[row.strip], weights), row.strip))
        offset += len(world)
    array = np.concatenate(faces)
    all_positions = np.concatenate(positions)
    region = TEETH_UPPER if row.upper else TEETH_LOWER
    return Part(
        "teeth_upper" if row.upper else "teeth_lower", all_positions, array, np.concatenate(uvs), array,
        vstack(maps).tocsr(), np.full(len(all_positions), -1), np.full(len(array), region, np.uint8),
    )  # fmt: skip


def gum(row: Row, mean: np.ndarray, tile: tuple[float, float, float]) -> Part:
    """The ridge that the crowns stand in, scalloped round each of them: a strip of 8 vertices swept along the arch."""
    up = -1.0 if row.upper else 1.0
    widths = np.array([row.sizes[k][0] for k in row.kinds])
    heights = np.array([row.sizes[k][1] for k in row.kinds])
    depths = np.array([row.sizes[k][2] for k in row.kinds])
    per = 6
    stations = []  # arc length, height of crown, depth, 0 at a tooth's middle .. 1 between teeth
    for i in range(14):
        for q in range(per):
            x = (q / per - 0.5) * 2
            j = i if x >= 0 or i == 0 else i - 1
            k = min(i + 1, 13) if x > 0 else j
            t = abs(x) / 2
            stations.append((
                row.centres[i] + x * widths[i] / 2,
                heights[i] * (1 - t) + heights[k] * t, depths[i] * (1 - t) + depths[k] * t, abs(x) ** 3,
            ))  # fmt: skip
    stations.append((row.centres[-1] + widths[-1] / 2, heights[-1], depths[-1], 1.0))
    positions, maps, uvs = [], [], []
    for s, height, depth, between in stations:
        p, _, outward = row.arch.at(s)
        margin = -(0.86 * height) + between * 2.4  # mm over the bite, labial gum line
        end = abs(s) > row.centres[-1]
        labial = 0.05 - between * 1.3
        root = -height - 4.5
        # (y over bite, z outwards) in mm from the labial root over the crest to the lingual root
        profile = np.array([
            (root, -1.2), (-height - 1.2, 0.35), (margin - 0.7, labial + 0.3), (margin, labial - 0.45),
            (margin + 0.3 * between, -depth * 0.5), (margin, -depth + 0.5 + between), (margin - 1.0, -depth - 0.3),
            (root, -depth - 1.8),
        ])  # fmt: skip
        if end:
            profile[:, 0] = np.minimum(profile[:, 0], -height * 0.9)
        origin = p + [0, bite(row, s), 0]
        world = origin + profile[:, 1:] * outward / 100
        world[:, 1] += up * profile[:, 0] / 100
        weights = np.exp(-0.5 * (np.linalg.norm(mean[row.strip] - world.mean(0), axis=1) / 0.09) ** 2)
        maps.append(expand(similarity(world, mean[row.strip], weights), row.strip))
        positions.append(world)
        uvs.append(np.array(tile[:2]) + np.stack([np.full(8, (s + 70) / 140), np.linspace(0.02, 0.98, 8)], 1) * tile[2])
    faces = []
    for i in range(len(stations) - 1):
        for k in range(7):
            a, b = i * 8 + k, (i + 1) * 8 + k
            quad = (a, b, b + 1, a + 1) if row.upper else (a, a + 1, b + 1, b)
            faces += [quad[:3], (quad[0], quad[2], quad[3])]
    array = np.array(faces)
    all_positions = np.concatenate(positions)
    return Part(
        "gum_upper" if row.upper else "gum_lower", all_positions, array, np.concatenate(uvs), array,
        vstack(maps).tocsr(), np.full(len(all_positions), -1), np.full(len(array), GUMS, np.uint8),
    )  # fmt: skip
