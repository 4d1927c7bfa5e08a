# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a detector that knows only real faces agree with the files? `python -m tools.people.check FOLDER`. Needs mediapipe.

Finds MediaPipe's landmarks in pictures over grey and compares them with where the head's own lie, in units of the distance
between the eyes' outer corners on the head (so that turned heads do not count more).
"""

import argparse
import json
from pathlib import Path

import numpy as np

from loquent.core.capture.embedding import OUTER_CORNERS, load_embedding
from loquent.core.capture.landmarker import Landmarker
from loquent.core.head.head import identity, load_head, pose_vertices

from .sheet import over_grey

BANDS = ((0, 20), (20, 45), (45, 76))
"""Degrees of yaw between face and camera."""
LARGER = 2


def measure(path: Path, landmarker: Landmarker) -> list[tuple[float, float | None, float]]:
    """Of each picture: degrees of yaw, error of landmarks or None without a face, error of the mouth's opening."""
    head = load_head()
    embedding = load_embedding(head)
    with np.load(path, allow_pickle=False) as file:
        data = {n: file[n] for n in file.files}
    out = []
    for view, values in enumerate(data["values"]):
        points = embedding.of(pose_vertices(identity(head, data["betas"]), values))
        matrix, K = data["world_to_camera"][view], data["K"][view]
        p = points @ matrix[:3, :3].T + matrix[:3, 3]
        truth = p[:, :2] / p[:, 2:] * K[0, 0] + K[:2, 2]
        span = float(np.linalg.norm(np.subtract(*points[list(OUTER_CORNERS)])) * K[0, 0] / p[:, 2].mean())
        across = np.subtract(*points[list(OUTER_CORNERS)]) @ matrix[:3, :3].T
        yaw = float(np.degrees(np.arctan2(abs(across[2]), abs(across[0]))))
        picture = over_grey(data["images"][view], data["matte"][view]).repeat(LARGER, 0).repeat(LARGER, 1)
        faces = landmarker.photo(picture)
        if not faces:
            out.append((yaw, None, np.nan))
            continue
        seen = faces[0].points[:, :2] / LARGER
        off = np.linalg.norm(seen - truth, axis=1)[:468].mean() / span
        opened = [np.linalg.norm(x[13] - x[14]) / span for x in (seen, truth)]
        out.append((yaw, float(off), float(opened[0] - opened[1])))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.people.check", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=20)
    arguments = parser.parse_args()
    rows: list[tuple[float, float | None, float]] = []
    with Landmarker(faces=1) as landmarker:
        for path in sorted(arguments.folder.glob("[0-9]*.npz"))[: arguments.people]:
            rows += measure(path, landmarker)
    for low, high in BANDS:
        band = [r for r in rows if low <= r[0] < high]
        found = [r for r in band if r[1] is not None]
        report = {
            "yaw": [low, high],
            "pictures": len(band),
            "found": len(found),
            "landmarks_off": round(float(np.median([r[1] for r in found if r[1] is not None])), 4) if found else None,
            "lips_off": round(float(np.median([abs(r[2]) for r in found])), 4) if found else None,
        }
        print(json.dumps(report))


if __name__ == "__main__":
    main()
