# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on the built-in head each of MediaPipe's 478 landmarks lies: core/data/face_landmarks.npz.

    python -m loquent.tools.capture.embed [--shots 240] [--cache FILE.npz]

Renders of random identities under the two built-in looks, with expressions, from -40 to 40 degrees, are shown to MediaPipe;
each landmark gets the point of the surface (triangle and barycentric weights) that lies nearest to it over all pictures. What
remains is written as the landmark's `sigma`, in units of the distance between the eyes' outer corners; the fit weighs by it.
"""

import argparse
from pathlib import Path

import numpy as np

from loquent.core.capture.landmarker import COUNT, IRISES, Landmarker

from .shots import camera_at, cast, head_model, random_values, shoot

DATA = Path(__file__).resolve().parents[2] / "core" / "data" / "face_landmarks.npz"

FAR = 0.08
"""Eye distances from which on a landmark counts as simply wrong."""


def gather(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """points (R, V, 2), found (R, 478, 2), both in units of the eye distance of the picture."""
    rng = np.random.default_rng(seed)
    head = head_model()
    spots, seen = [], []
    with Landmarker() as landmarker:
        for k in range(count):
            if k % 6 == 0:
                betas = rng.normal(0, 0.8, 100)
                actor = cast(betas, ("ada", "bruno")[k // 6 % 2])
            values = random_values(rng) if k % 3 else np.zeros(65, np.float32)
            camera = camera_at(rng.uniform(-40, 40), rng.uniform(-18, 18), fov=rng.uniform(22, 30))
            shot = shoot(actor, values, camera)
            faces = landmarker.photo(shot.image)
            if not faces:
                print("no face in", k)
                continue
            corners = [head.landmarks[f"eye_{side}_outer"] for side in ("left", "right")]
            unit = (
                camera.K[0, 0]
                * np.linalg.norm(np.subtract(*shot.vertices[corners]))
                / np.linalg.norm(camera.position - shot.vertices[corners].mean(0))
            )
            spots.append(shot.points / unit)
            seen.append(faces[0].points / unit)
            if k % 20 == 0:
                print(k, flush=True)
    return np.array(spots, np.float32), np.array(seen, np.float32)


def embed(spots: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangle (478,), weights (478, 3), sigma (478,)."""
    head = head_model()
    skin = head.faces_of("skin", "lips")
    outer = np.zeros(len(head.template), bool)
    outer[head.faces[skin]] = True
    outer &= (head.template[:, 2] > 0.0) & (head.template[:, 1] > -0.09)
    triangles, weights, sigmas = (
        np.zeros(COUNT, np.int32),
        np.zeros((COUNT, 3), np.float32),
        np.zeros(COUNT, np.float32),
    )
    for i in range(COUNT):
        candidates, allowed = np.flatnonzero(outer), skin
        if i >= IRISES[0]:
            eye = "eye_right" if i < IRISES[1] else "eye_left"
            candidates, allowed = np.arange(head.parts[eye].start, head.parts[eye].stop), head.faces_of(eye)
        cost = np.minimum(np.linalg.norm(spots[:, candidates] - seen[:, i, None], axis=2), FAR).mean(0)
        near = candidates[np.argsort(cost)[:4]]
        rows = allowed[np.isin(head.faces[allowed], near).any(1)]
        found = [(*nearest_point(spots[:, head.faces[row]], seen[:, i]), row) for row in rows]
        _, (u, v), sigmas[i], triangles[i] = min(found, key=lambda one: one[0])
        weights[i] = (1 - u - v, u, v)
    return triangles, weights, sigmas


def nearest_point(corners: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Mean distance, barycentric (2,) and median distance of the point of a triangle (R, 3, 2) nearest to (R, 2) in all
    pictures, by least squares with Cauchy weights."""
    a, b, c = corners.transpose(1, 0, 2)
    design, wanted = np.stack([b - a, c - a], -1).reshape(-1, 2), (target - a).reshape(-1)
    weight, uv, size = np.ones(len(wanted)), np.zeros(2), np.zeros(len(target))
    for _ in range(5):
        uv = np.clip(np.linalg.lstsq(design * weight[:, None], wanted * weight, rcond=None)[0], 0, 1)
        uv = uv / max(uv.sum(), 1)
        size = np.linalg.norm((wanted - design @ uv).reshape(-1, 2), axis=1)
        weight = np.repeat(1 / np.sqrt(1 + (size / (FAR / 4)) ** 2), 2)
    return float(np.minimum(size, FAR).mean()), uv, float(np.median(size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=240)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    if given.cache and given.cache.is_file():
        spots, seen = (np.load(given.cache)[n] for n in ("spots", "seen"))
    else:
        spots, seen = gather(given.shots, 7)
        if given.cache:
            np.savez(given.cache, spots=spots, seen=seen)
    triangles, weights, sigmas = embed(spots, seen)
    print("sigma: median", np.median(sigmas), "worst", np.sort(sigmas)[-10:])
    np.savez_compressed(
        DATA, triangles=triangles, weights=weights, sigmas=sigmas, head_id=np.array(head_model().head_id)
    )


if __name__ == "__main__":
    main()
