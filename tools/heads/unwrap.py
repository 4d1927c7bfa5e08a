# SPDX-License-Identifier: GPL-3.0-or-later
"""core/data/uv_layout.npz: the built-in head unwrapped for Gaussians, mirror-symmetric, `python -m loquent.tools.heads.unwrap`.

MakeHuman's atlas gives eyes and lips some fifty texels of a small map. Here its charts, and own ones for eyes, teeth, gums
and tongue, are laid out symmetric about u = 0.5 and then stretched as a cartogram (Gastner and Newman 2004: density
diffuses until it is even, and every point is carried along), so that a region gets as many texels as it matters.
Diffusion is smooth: what did not overlap before does not afterwards.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from loquent.core.geometry.triangles import vertex_normals
from loquent.core.head.head import Head, load_head

GRID = 384
OUT = Path(__file__).parents[2] / "core" / "data" / "uv_layout.npz"
EYE_ANGLE = 1.30
"""Radians from the gaze axis up to which eyeballs are covered: lids hide the rest."""


def importance(head: Head) -> np.ndarray:
    """(F,) texels a square metre that a triangle asks for, relative to cheeks."""
    p = head.template[head.faces].mean(1).astype(np.float64)
    names = np.array(head.region_names)[head.regions]
    front = np.clip((p[:, 2] - 0.02) / 0.05, 0, 1) * np.clip((p[:, 1] + 0.10) / 0.04, 0, 1)
    out = 0.30 + 0.70 * front
    out[p[:, 1] < -0.09] = 0.13
    out += 0.5 * head.masks["ears"][head.faces].mean(1)
    for eye in head.joints[3:5]:
        out += 2.2 * np.exp(-0.5 * (((p - eye) / [0.020, 0.013, 0.05]) ** 2).sum(1))
    mouth = head.template[[head.landmarks["mouth_left"], head.landmarks["mouth_right"]]].mean(0)
    out += 1.3 * np.exp(-0.5 * (((p - mouth) / [0.028, 0.014, 0.025]) ** 2).sum(1))
    out += 0.6 * np.exp(-0.5 * (((p - head.template[head.landmarks["nose_tip"]]) / [0.016, 0.014, 0.025]) ** 2).sum(1))
    inside = np.interp(p[:, 2], [0.04, 0.085], [0.20, 0.6])
    fixed = {"lips": 4.0, "teeth_upper": 4.0, "teeth_lower": 4.0, "gums": 1.2, "tongue": 1.2, "lashes": 1.5}
    for name, value in fixed.items():
        out[names == name] = value
    out[names == "mouth_interior"] = inside[names == "mouth_interior"]
    for k, name in ((3, "eye_left"), (4, "eye_right")):
        d = p - head.joints[k]
        angle = np.arccos(np.clip(d[:, 2] / np.linalg.norm(d, axis=1), -1, 1))
        out[names == name] = np.interp(angle, [0.45, 0.60, 1.2], [9.0, 4.0, 1.5])[names == name]
    return out


def charts(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Corner places (F, 3, 2), u to the right and v downwards in 0..1, and which triangles (F,) have one."""
    p = head.template[head.faces].astype(np.float64)  # (F, 3, 3)
    old = head.uv[head.faces_uv].astype(np.float64)
    names = np.array(head.region_names)[head.regions]
    place = np.zeros((len(head.faces), 3, 2))
    used = np.zeros(len(head.faces), bool)

    def put(mask: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        place[mask] = np.stack([u, v], -1)[mask]
        used[mask] = True

    u, v = old[..., 0], old[..., 1]
    skin = np.isin(names, ["skin", "lips"])
    face = skin & (u.min(1) > 0.64) & (v.min(1) > 0.14) & (v.max(1) < 0.83)
    put(face, 0.5 + (v - 0.4835) * 1.40, 0.015 + (u - 0.641) * 1.40)
    bust = skin & (v.min(1) > 0.74) & (u.max(1) < 0.6)
    put(bust, 0.5 + (u - 0.3805) * 1.15, 0.525 + (0.974 - v) * 1.15)
    put(names == "mouth_interior", 0.5 + (u - 0.841) * 1.0, 0.80 + (0.136 - v) * 0.9)
    tongue = (names == "tongue") & (np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])[:, 1] > 0)
    put(tongue, 0.5 + p[..., 0] * 2.0, 0.925 + (0.088 - p[..., 2]) * 0.9)
    for k, name, sign in ((3, "eye_left", -1), (4, "eye_right", 1)):
        d = p - head.joints[k]
        angle = np.arccos(np.clip(d[..., 2] / np.linalg.norm(d, axis=-1), -1, 1))
        ring = np.maximum(np.hypot(d[..., 0], d[..., 1]), 1e-9)
        mine = (names == name) & (angle.max(1) < EYE_ANGLE)
        radius = 0.085 * angle / EYE_ANGLE
        put(mine, 0.5 - sign * 0.39 + radius * d[..., 0] / ring, 0.665 - radius * d[..., 1] / ring)
    normals = vertex_normals(head.template.astype(np.float64), head.faces)
    for name, top, height in (("teeth_upper", 0.80, 5.0), ("teeth_lower", 0.86, 5.0), ("gums", 0.92, 2.4)):
        mine = names == name
        for upper in (True, False) if name == "gums" else (name == "teeth_upper",):
            part = mine.copy()
            if name == "gums":
                part &= (p[..., 1].mean(1) > -0.0235) == upper
            centre = np.array([0.0, 0.052])  # x, z of the arch's middle: outwards is away from it
            out = p[..., [0, 2]].mean(1) - centre
            faces_normal = normals[head.faces].mean(1)[:, [0, 2]]
            part &= (faces_normal * out).sum(1) > 0.3 * np.linalg.norm(out, axis=1)
            arch = np.arctan2(p[..., 0], p[..., 2] - 0.045)
            side = np.where(p[..., 0].mean(1, keepdims=True) > 0, 1.0, -1.0)
            row = top + (0.05 if name == "gums" and not upper else 0.0)
            middle = p[part][..., 1].mean()
            put(part, 0.5 + side * 0.10 + arch * 0.16, row + 0.02 + (middle - p[..., 1]) * height)
    lash = names == "lashes"
    for sign in (1, -1):
        for upper in (True, False):
            eye = head.joints[3 if sign > 0 else 4]
            part = lash & (p[..., 0].mean(1) * sign > 0) & ((p[..., 1].mean(1) > eye[1]) == upper)
            q = p[part].mean((0, 1))
            # seen from the front, and drawn out along z, which lashes follow
            v_at = (0.945 if upper else 0.975) - (p[..., 2] - q[2]) * 1.2
            put(part, 0.5 + sign * 0.075 + (p[..., 0] - q[0]) * 1.2, v_at)
    return place, used


def symmetric(head: Head, place: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unique corners (U, 2) made symmetric about u = 0.5, and faces (F, 3) into them, -1 where unused."""
    index = np.flatnonzero(used)
    keys = np.concatenate([head.faces[index].reshape(-1, 1), np.round(place[index].reshape(-1, 2) * 4096)], 1)
    _, first, inverse = np.unique(keys.astype(np.int64), axis=0, return_index=True, return_inverse=True)
    corners = place[index].reshape(-1, 2)[first]
    where = head.template[head.faces[index].reshape(-1)[first]].astype(np.float64)
    faces = np.full((len(head.faces), 3), -1, np.int32)
    faces[index] = inverse.reshape(-1, 3)
    code = np.concatenate([where * [1, 1, 1], corners * 0.2], 1)
    twin = code * [-1, 1, 1, 1, 1]
    twin[:, 3] = 0.2 - code[:, 3]
    distance, other = cKDTree(code).query(twin)
    mirrored = corners[other] * [-1, 1] + [1, 0]
    corners = np.where((distance < 0.004)[:, None], (corners + mirrored) / 2, corners)
    return corners, faces


def density(corners: np.ndarray, faces: np.ndarray, want: np.ndarray) -> np.ndarray:
    """(GRID, GRID) wanted texels per area of the map, even mean 1, background a third of that."""
    total, hits = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    place = corners[faces]
    area = np.abs(np.cross(place[:, 1] - place[:, 0], place[:, 2] - place[:, 0])) / 2
    rng = np.random.default_rng(0)
    per = np.maximum(np.ceil(area * GRID**2 * 12), 6).astype(int)
    which = np.repeat(np.arange(len(faces)), per)
    r = np.sqrt(rng.random(len(which)))
    s = rng.random(len(which))
    points = np.einsum("nk,nkd->nd", np.stack([1 - r, r * (1 - s), r * s], 1), place[which])
    cell = np.clip((points * GRID).astype(int), 0, GRID - 1)
    # what a triangle wants is spread over its area, and cells weigh what fell into them by the area it stands for
    np.add.at(total, (cell[:, 1], cell[:, 0]), want[which] / per[which])
    np.add.at(hits, (cell[:, 1], cell[:, 0]), np.maximum(area[which], 1e-12) / per[which])
    covered = np.minimum(hits * GRID**2, 1)
    inside = total.sum() / covered.sum()
    out = total / inside + (1 - covered) * 0.30 * (1 - np.minimum(covered, 1))
    out = gaussian_filter(out, 1.0, mode="nearest")
    out = (out + out[:, ::-1]) / 2
    return np.clip(out / out.mean(), 0.12, 40)


def cartogram(corners: np.ndarray, rho: np.ndarray, steps: int = 140) -> np.ndarray:
    """Corners carried along while the density diffuses."""
    spectrum = dctn(rho, norm="ortho")
    k = np.pi * np.arange(GRID) / GRID
    decay = k[:, None] ** 2 + k[None] ** 2
    points, time = corners * GRID - 0.5, 0.0
    edges = np.concatenate([[0], np.geomspace(0.3, 6.0 * (GRID / np.pi) ** 2 * 0.6, steps)])
    for begin, end in itertools.pairwise(edges):
        for half in (0.25, 0.75):
            time = begin + half * (end - begin)
            now = np.maximum(np.asarray(idctn(spectrum * np.exp(-decay * time), norm="ortho")), 1e-3)
            dv, du = np.gradient(now)
            dv[[0, -1]] = 0
            du[:, [0, -1]] = 0
            sample = [map_coordinates(-d / now, points[:, ::-1].T, order=1, mode="nearest") for d in (du, dv)]
            points = np.clip(points + 0.5 * (end - begin) * np.stack(sample, 1), -0.5, GRID - 0.5)
    return (points + 0.5) / GRID


def unwrap(head: Head, rounds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Corners (U, 2) in 0..1 and faces (F, 3) into them."""
    place, used = charts(head)
    corners, faces = symmetric(head, place, used)
    index = np.flatnonzero(used)
    p = head.template[head.faces[index]].astype(np.float64)
    area = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1) / 2
    want = area * importance(head)[index]
    for _ in range(rounds):
        corners = cartogram(corners, density(corners, faces[index], want))
    return corners, faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    head = load_head()
    corners, faces = unwrap(head)
    index = np.flatnonzero(faces[:, 0] >= 0)
    place = corners[faces[index]]
    turn = np.sign(np.cross(place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]))
    before = charts(head)[0][index]
    turned = np.sign(np.cross(before[:, 1] - before[:, 0], before[:, 2] - before[:, 0])) * turn < 0
    # where triangles overlap on the map, a texel takes the first: of teeth and gums the outermost
    middle = head.template[head.faces[index]].mean(1)[:, [0, 2]] - [0.0, 0.045]
    toothy = np.isin(head.regions[index], [head.region_names.index(n) for n in ("teeth_upper", "teeth_lower", "gums")])
    index = index[np.lexsort([index, np.where(toothy, -np.linalg.norm(middle, axis=1), -1.0)])]
    quantised = np.round(np.clip(corners, 0, 1) * 65535).astype(np.uint16)
    with arguments.out.open("wb") as stream:
        np.savez_compressed(
            stream, uv=quantised, triangles=index.astype(np.int32), faces_uv=faces[index].astype(np.uint16),
            head_id=np.array(head.head_id),
        )  # fmt: skip
    print(
        f"{arguments.out}: {len(index)} triangles, {turned.sum()} turned over, {arguments.out.stat().st_size / 1e3:.0f} kB"
    )


if __name__ == "__main__":
    main()
