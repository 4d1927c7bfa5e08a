# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the face is in Gaussians of unknown frame and unit: landmarks of renders, found from all sides and then in space.

A splat file states neither its unit nor which way is up. Renders from the 24 axis-aligned attitudes are shown to MediaPipe;
the best face gives a first frame. In that frame the head is rendered from five sides, and each landmark is where its rays
meet. Depth pictures of the same views are the surface that registration works on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product
from math import radians

import numpy as np

from ..errors import CaptureError
from ..geometry.cameras import Camera, look_at
from ..head.head import Head
from ..head.registration import Landmarks, Similarity, procrustes
from ..splats.gaussians import Gaussians
from ..splats.rasterize import rasterize
from .embedding import Embedding
from .landmarker import Face, Landmarker

SIZE = 320
COARSE = 224
YAWS = (-35.0, -18.0, 0.0, 18.0, 35.0)
FACING = 0.45
"""Cosine between a landmark's normal and the view, from which that view is believed."""
DEPTH_STEP = 0.008
"""Metres between neighbouring depths, over which there is an edge and no surface."""
STRIDE = 3
TRUST = 0.15
"""Of landmarks from pictures: there are hundreds, and they err by 2-3 mm."""
BACKGROUND = (0.45, 0.45, 0.45)
Progress = Callable[[float], None]


@dataclass(frozen=True)
class SplatFace:
    """landmarks: pairs on our head and in the splats' space. similarity: from head space, by them. vertices, faces: what
    is seen of the surface. picture: (H, W, 3) uint8, from the front.
    """

    landmarks: Landmarks
    similarity: Similarity
    vertices: np.ndarray
    faces: np.ndarray
    picture: np.ndarray


def find_face(
    gaussians: Gaussians, head: Head, embedding: Embedding, landmarker: Landmarker, progress: Progress | None = None
) -> SplatFace:
    """The face in free Gaussians (scene-linear). Some 5 s. Raises CaptureError where no face is found from any side."""
    tell = progress or (lambda fraction: None)
    solid = gaussians.opacities > 0.2
    means = gaussians.means[solid if solid.any() else slice(None)].astype(np.float64)
    middle = np.median(means, axis=0)
    radius = float(np.quantile(np.linalg.norm(means - middle, axis=1), 0.9))
    if not (np.isfinite(radius) and radius > 0):
        raise CaptureError("The splats have no extent; expected a head. Export them again.")
    first = _coarse(gaussians, middle, radius, embedding, head, landmarker, tell)
    similarity = first
    for round_ in range(2):
        views = [_view(similarity, head, yaw) for yaw in YAWS]
        pictures = [_picture(gaussians, camera) for camera in views]
        found = [next(iter(landmarker.photo(picture)), None) for picture, _ in pictures]
        landmarks = _meeting(views, found, similarity, head, embedding)
        similarity = procrustes(landmarks.ours(head.template.astype(np.float64)), landmarks.points)
        tell(0.6 + 0.2 * round_)
    vertices, faces = _surface(views, [depth for _, depth in pictures], similarity.scale)
    tell(1.0)
    return SplatFace(landmarks, similarity, vertices, faces, pictures[len(YAWS) // 2][0])


def _coarse(
    gaussians: Gaussians,
    middle: np.ndarray,
    radius: float,
    embedding: Embedding,
    head: Head,
    landmarker: Landmarker,
    tell: Progress,
) -> Similarity:
    """A first frame: of the attitudes in which a face is seen, the one whose landmarks fit a head before that camera best."""
    ours = embedding.of(head.template).astype(np.float64)
    best: tuple[float, Similarity] | None = None
    attitudes = _attitudes()
    for k, axes in enumerate(attitudes):
        eye = middle + 3.2 * radius * axes[2]
        camera = look_at(eye, middle, up=tuple(axes[1]), fov_y=radians(42), width=COARSE, height=COARSE)
        picture, depth = _picture(gaussians, camera)
        tell(0.6 * (k + 1) / len(attitudes))
        for face in landmarker.photo(picture)[:1]:
            points, seen = _lifted(face, depth, camera)
            if seen.sum() < 100:
                continue
            fit = procrustes(ours[seen], points[seen])
            for _ in range(3):  # depth beside the face's outline is that of what lies behind
                error = np.linalg.norm(fit.of(ours) - points, axis=1)
                good = seen & (error < 2 * np.median(error[seen]))
                fit = procrustes(ours[good], points[good])
            upright = float(fit.rotation[:, 2] @ axes[2])  # 1: looks into the camera
            spread = float(np.median(error[seen]) / fit.scale)
            cost = spread + 0.02 * (1 - upright)
            if upright > 0.5 and (best is None or cost < best[0]):
                best = cost, fit
    if best is None:
        raise CaptureError(
            "No face was found in the splats from any side. Expected a human head with its face; give landmarks with "
            "--landmarks, or cut the head out of its scene first."
        )
    return best[1]


def _attitudes() -> list[np.ndarray]:
    """(24) of (3, 3): rows are the subject's left, up and front, along the axes of the file."""
    out = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            axes = np.zeros((3, 3))
            axes[range(3), order] = signs
            if np.linalg.det(axes) > 0:
                out.append(axes)
    return out


def _view(similarity: Similarity, head: Head, yaw: float) -> Camera:
    """A camera before the face, `yaw` degrees towards the subject's left."""
    nose = head.template[head.landmarks["nose_tip"]].astype(np.float64)
    centre = nose + [0, 0.01, -0.05]
    angle = radians(yaw)
    eye = centre + 0.9 * np.array([np.sin(angle), 0, np.cos(angle)])
    up = similarity.rotation[:, 1]
    camera = look_at(
        similarity.of(eye), similarity.of(centre), up=(float(up[0]), float(up[1]), float(up[2])),
        fov_y=radians(20), width=SIZE, height=SIZE,
    )  # fmt: skip
    near = 0.3 * similarity.scale
    return Camera(camera.world_to_camera, camera.K, SIZE, SIZE, near=near)


def _picture(gaussians: Gaussians, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 sRGB, and depth (H, W), 0 where there is nothing solid."""
    layers = rasterize(gaussians, camera, background=BACKGROUND, passes=("colour", "alpha", "depth"))
    colour = np.clip(layers.colour, 0, 1)
    display = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * np.maximum(colour, 1e-6) ** (1 / 2.4) - 0.055)
    return (display * 255 + 0.5).astype(np.uint8), np.where(layers.alpha > 0.6, layers.depth, 0)


def _lifted(face: Face, depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(478, 3) landmarks at the depth seen behind them, and which have one."""
    column = np.clip(face.points[:, 0].astype(int), 0, camera.width - 1)
    row = np.clip(face.points[:, 1].astype(int), 0, camera.height - 1)
    z = depth[row, column]
    return _placed(face.points, z, camera), z > 0


def _placed(pixels: np.ndarray, z: np.ndarray, camera: Camera) -> np.ndarray:
    """(N, 3) in the world of pixels (N, 2) at depths (N,)."""
    K = camera.K.astype(np.float64)
    x = (pixels[:, 0] - K[0, 2]) / K[0, 0] * z
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1] * z
    local = np.stack([x, y, z], 1) - camera.world_to_camera[:3, 3]
    return local @ np.linalg.inv(camera.world_to_camera[:3, :3].astype(np.float64)).T


def _meeting(
    views: list[Camera], found: list[Face | None], similarity: Similarity, head: Head, embedding: Embedding
) -> Landmarks:
    """Landmarks where their rays meet, by least squares over the views that see them from the front."""
    from ..geometry.triangles import vertex_normals

    count = len(embedding.corners)
    places = similarity.of(embedding.of(head.template).astype(np.float64))
    normals = embedding.of(vertex_normals(head.template, head.faces)) @ similarity.rotation.T
    left, right, votes = np.zeros((count, 3, 3)), np.zeros((count, 3)), np.zeros(count)
    for camera, face in zip(views, found, strict=True):
        if face is None:
            continue
        eye = camera.position.astype(np.float64)
        rays = _placed(face.points[:count].astype(np.float64), np.ones(count), camera) - eye
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        towards = (eye - places) / np.linalg.norm(eye - places, axis=1, keepdims=True)
        weight = np.maximum((normals * towards).sum(1) - FACING, 0)
        across = weight[:, None, None] * (np.eye(3) - rays[:, :, None] * rays[:, None, :])
        left += across
        right += across @ eye
        votes += weight > 0
    good = votes >= 2
    if good.sum() < 60:
        raise CaptureError(
            "The face in the splats was found from one side only. Expected a head that can be seen from both sides; give "
            "landmarks with --landmarks."
        )
    points = np.linalg.solve(left[good], right[good][..., None])[..., 0]
    off = np.linalg.norm(points - places[good], axis=1) / similarity.scale
    sure = off < max(0.02, 2.5 * float(np.median(off)))
    index = np.flatnonzero(good)[sure]
    return Landmarks(embedding.corners[index], embedding.weights[index].astype(np.float64), points[sure], TRUST)


def _surface(views: list[Camera], depths: list[np.ndarray], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """What the views see of the surface as triangles between every few pixels, cut at edges of depth."""
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    at = 0
    for camera, depth in list(zip(views, depths, strict=True))[::2]:
        z = _smoothed(depth.astype(np.float64), DEPTH_STEP * scale)[::STRIDE, ::STRIDE]
        rows, columns = np.mgrid[0 : camera.height : STRIDE, 0 : camera.width : STRIDE]
        pixels = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1)
        corner = np.arange(z.size).reshape(z.shape)
        a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
        quads = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
        z = z.ravel()
        depths_of = z[quads]
        solid = (depths_of > 0).all(1) & (np.ptp(depths_of, axis=1) < DEPTH_STEP * scale)
        quads = quads[solid]
        used, quads = np.unique(quads, return_inverse=True)
        vertices.append(_placed(pixels[used], z[used], camera))
        faces.append(quads.reshape(-1, 3) + at)
        at += len(used)
    return np.concatenate(vertices), np.concatenate(faces)


def _smoothed(depth: np.ndarray, step: float) -> np.ndarray:
    """Depths as the mean over 5 x 5 pixels that lie within a step of the middle one: single Gaussians make them rough."""
    total, count = np.zeros_like(depth), np.zeros_like(depth)
    padded = np.pad(depth, 2)
    height, width = depth.shape
    for dy in range(5):
        for dx in range(5):
            other = padded[dy : dy + height, dx : dx + width]
            near = (other > 0) & (np.abs(other - depth) < step)
            total += np.where(near, other, 0)
            count += near
    return np.where(depth > 0, total / np.maximum(count, 1), 0)


def seen_surface(gaussians: Gaussians, similarity: Similarity, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of the face's surface as seen from five sides, where `similarity` says that the head is."""
    views = [_view(similarity, head, yaw) for yaw in YAWS]
    return _surface(views, [_picture(gaussians, camera)[1] for camera in views], similarity.scale)
