# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts one person before the camera: fine skin, eyes, hair and clothes, and re-poses all of it with the head.

Needs no Blender itself (scene.py does); the fit asks it for the same geometry.
"""

from dataclasses import dataclass

import numpy as np

from . import facehair, groom, paint
from .people import Person
from .sitter import Sitter, frames
from .strands import Strands, join
from .surface import Refinement, normals, refine

LEVELS = 2
COLLAR = 0.0035
ENAMEL = (238, 228, 210)
"""Teeth, 8-bit sRGB."""
KIND_NAMES = ("skin", "mouth", "teeth", "gums", "tongue")


@dataclass(frozen=True)
class Look:
    """Everything about a person that does not move with the expression.

    body: refinement of all but eyes and lashes; kind: (F_fine,) index into KIND_NAMES; colour, rough, mean: per fine vertex.
    shirt: (F_shirt, 3) fine faces of the cloth, shell: (V_fine,) metres it stands off. shirt_colour: linear.
    eye: rest directions etc. of one unit eyeball: vertices (E, 3) about its centre, faces, colours per eye.
    strands: all wisps at rest.
    """

    body: Refinement
    faces: np.ndarray
    owner: np.ndarray
    kind: np.ndarray
    mean: np.ndarray
    colour: np.ndarray
    rough: np.ndarray
    shirt: np.ndarray
    shell: np.ndarray
    shirt_colour: np.ndarray
    eye_faces: np.ndarray
    eye_points: tuple[np.ndarray, np.ndarray]
    eye_colours: tuple[np.ndarray, np.ndarray]
    strands: Strands


def neckline(mean: np.ndarray) -> np.ndarray:
    """Metres below a round neckline, on the mean head; positive is under cloth."""
    front = np.interp(mean[:, 2], [-0.06, 0.06], [-0.088, -0.150])
    return front - mean[:, 1] - 0.10 * np.clip(np.abs(mean[:, 0]) - 0.075, -0.02, 0.03)


def dress(person: Person, sitter: Sitter) -> Look:
    """Paints, grooms and clothes a sitter."""
    body = refine(sitter.faces, len(sitter.rest), LEVELS)
    kinds = sitter.kind[body.coarse(np.arange(len(body.faces)))]
    keep = np.isin(kinds, KIND_NAMES)
    faces, kinds = body.faces[keep], kinds[keep]
    owner = body.coarse(np.flatnonzero(keep))
    which = np.array([KIND_NAMES.index(k) for k in kinds])
    rest, mean = body.weights @ sitter.rest, body.weights @ sitter.mean
    normal = normals(rest, faces)
    soft = {name: np.clip(body.linear @ getattr(sitter, name), 0, 1) for name in ("lips", "inner", "ears")}
    hair = np.asarray(person.hair)
    is_skin = np.zeros(len(rest), bool)
    is_skin[faces[which <= 1]] = True
    eyes, eyes_rest = sitter.person.head.joints[3:5], np.stack(sitter.eyes)
    lip = soft["lips"] > 0.6
    mouth = mean[lip & is_skin].mean(0)
    skin_faces = faces[(which == 0)]
    scalp = groom.Scalp(rest, mean, normal, soft["ears"], skin_faces, owner[which == 0])
    chin = beard_mask(mean, soft["lips"], mouth)
    line = groom.BOB_LINE if person.style == "bob" else groom.CROP_LINE
    under = groom.hairline(mean, line, 0.012) * (mean[:, 1] > -0.04) * groom.not_ear(mean, soft["ears"])
    colour, rough = paint.skin(
        person.palette,
        mean,
        soft["lips"] ** 1.3,
        soft["inner"],
        chin * (person.beard > 0),
        under,
        hair,
        eyes,
        mouth,
        person.seed,
    )
    for name, tint, roughness in (
        ("teeth", ENAMEL, 0.22),
        ("gums", (172, 84, 82), 0.28),
        ("tongue", (206, 112, 108), 0.38),
    ):
        v = np.unique(faces[kinds == name])
        if len(v):
            back = np.clip((mouth[2] - 0.014 - mean[v, 2]) / 0.040, 0, 1)[:, None]
            shade = paint.linear(*tint) * (1 - 0.6 * back) * (1 + 0.06 * paint.noise(mean[v], 0.004, 5))[:, None]
            colour[v], rough[v] = shade, roughness
    grown = [
        groom.bob(scalp, person.hair, 6500, person.seed)
        if person.style == "bob"
        else groom.crop(scalp, person.hair, 9000, person.seed, person.grey)
    ]
    brow = (
        dict(thick=0.0034, arch=0.0050, drop=0.0)
        if person.style == "bob"
        else dict(thick=0.0050, arch=0.0035, drop=0.001)
    )
    grown.append(
        facehair.brows(scalp, eyes_rest, person.brow, 900 if person.style == "bob" else 1100, person.seed + 5, **brow)
    )
    grown.append(facehair.lashes(sitter, eyes_rest, 360, person.seed + 6, long=person.style == "bob"))
    if person.beard:
        grown.append(facehair.beard(scalp, chin, person.hair, 5200, person.seed + 7, person.grey * 0.6, person.beard))
    below = neckline(mean)
    cloth = (below[faces] > -0.014).all(1) & (which == 0)  # the cloth dips under the skin, so its edge is smooth
    rim = np.exp(-(((below - 0.004) / 0.005) ** 2))
    shell = np.where(below < 0, np.clip(0.0045 * (1 + below / 0.0035), -0.006, 0.0045), 0.0030 + 0.0022 * rim)
    shirt_colour = paint.linear(*person.palette.cloth)[None] * (1 + 0.10 * paint.noise(mean, 0.003, 77, 2))[:, None]
    eye_faces, theta, phi = eye_grid()
    points, colours = [], []
    for number in range(2):
        points.append(eye_shape(sitter.person.eye_radii[number], sitter.person.head.cornea, theta, phi))
        colours.append(paint.eyeball(person.palette.iris, theta, phi, person.seed + number))
    return Look(
        body,
        faces,
        owner,
        which,
        mean,
        colour,
        rough,
        faces[cloth],
        shell,
        shirt_colour,
        eye_faces,
        tuple(points),
        tuple(colours),
        join(grown, 12),
    )


def beard_mask(mean: np.ndarray, lips: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    """(V,) 0..1 where a short full beard grows, on the mean head."""
    x, y, z = np.abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    top = np.interp(
        z, [0.0, 0.02, 0.055, 0.075, 0.085], [0.045, 0.020, mouth[1] - 0.006, mouth[1] - 0.010, mouth[1] + 0.004]
    )
    low = np.interp(z, [0.0, 0.03, 0.08], [-0.030, -0.062, -0.085])
    out = (
        np.clip((top - y) / 0.006 + 0.5, 0, 1)
        * np.clip((y - low) / 0.008 + 0.5, 0, 1)
        * np.clip((z - 0.006) / 0.008, 0, 1)
    )
    moustache = (
        np.exp(-((np.maximum(x - 0.022, 0) / 0.005) ** 2))
        * np.clip((mouth[1] + 0.0165 - y) / 0.003 + 0.5, 0, 1)
        * (y > mouth[1] - 0.004)
        * (z > 0.07)
    )
    gap = np.exp(-((np.maximum(np.abs(x - 0.030) - 0.004, 0) / 0.004) ** 2)) * (y < mouth[1] + 0.012) * (z > 0.06)
    soul = 1 - 0.75 * np.exp(-(((x - 0.014) / 0.006) ** 2)) * np.exp(-(((y - mouth[1] + 0.012) / 0.004) ** 2))
    return np.clip(
        np.maximum(np.maximum(out * soul, moustache), 0.8 * gap * (y > low)) * (1 - np.clip(lips * 1.6, 0, 1)), 0, 1
    )


def eye_grid(rings: int = 56, around: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces, theta and phi of a ball cap about the optical axis, finer near it."""
    t = np.concatenate([np.linspace(0, 0.52, 36), np.linspace(0.55, 1.9, rings - 36)])
    theta, phi = (a.ravel() for a in np.meshgrid(t, np.linspace(0, 2 * np.pi, around, endpoint=False), indexing="ij"))
    i, j = (a.ravel() for a in np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij"))
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]), theta, phi


def eye_shape(radius: float, cornea: tuple[float, float], theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """(E, 3) eyeball about its centre, looking along +z; `cornea` is (height in metres, half width in radians)."""
    swell = np.clip(1 - (theta / cornea[1]) ** 2, 0, 1) ** 1.5
    direction = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
    return direction * (radius + cornea[0] * swell)[:, None]


def rigid(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation that best carries centred (n, 3) points a to b (Kabsch 1976)."""
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    return vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T


@dataclass(frozen=True)
class Posed:
    """Geometry of one expression: skin (V_fine, 3), shirt (V_fine, 3), eyes, hair points (n, k, 3)."""

    skin: np.ndarray
    shirt: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    hair: np.ndarray


def strike(look: Look, sitter: Sitter, vertices: np.ndarray) -> Posed:
    """The person with the head's posed (V, 3) vertices."""
    skin = look.body.weights @ vertices
    shirt = skin + normals(skin, look.faces) * look.shell[:, None]
    eyes = []
    for k, points, centre in zip(("eye_left", "eye_right"), look.eye_points, sitter.eyes, strict=True):
        v = np.unique(sitter.faces[sitter.kind == k])
        turn = rigid(sitter.rest[v], vertices[v])
        eyes.append((points + centre - sitter.rest[v].mean(0)) @ turn.T + vertices[v].mean(0))
    return Posed(skin, shirt, tuple(eyes), carry_points(look.strands.points, look.strands.triangles, sitter, vertices))


def carry_points(points: np.ndarray, triangles: np.ndarray, sitter: Sitter, vertices: np.ndarray) -> np.ndarray:
    """Points (n, k, 3) at rest ride on triangles (n,)."""
    o0, r0, s0 = frames(sitter.rest, sitter.faces[triangles])
    o1, r1, s1 = frames(vertices, sitter.faces[triangles])
    local = np.einsum("nji,nkj->nki", r0, points - o0[:, None]) / s0[:, None, None]
    return np.einsum("nij,nkj->nki", r1, local) * s1[:, None, None] + o1[:, None]
