# SPDX-License-Identifier: GPL-3.0-or-later
"""Build core/data/proxy.npz: the head in few triangles, every corner of which is a vertex of head.npz.

    python tools/build_proxy.py [--out FILE] [--skin N]

Edges are collapsed into one of their ends by quadric error (Garland and Heckbert 1997), so that posing the proxy is picking
vertices of the posed head. Seams of the UV layout and the rims of eyes and collar stay where they are. Lips and eyelids
keep more triangles than their shape at rest would need: they move. Skin and eyeballs are kept, what is in the mouth is not.
Needs numpy alone; the same file comes out everywhere.
"""

import argparse
import heapq
from pathlib import Path

import numpy as np

from loquent.core.head.head import Head, load_head

ROOT = Path(__file__).resolve().parent.parent
SKIN, EYE = 1900, 90
"""Vertices kept of the skin and of each eyeball."""
STURDY = {"lips": 200.0, "eyelids": 200.0, "brow_left": 6.0, "brow_right": 6.0, "ears": 0.2, "scalp": 0.3}
"""By mask: how much dearer its vertices are."""


class Surface:
    """Triangles that lose vertices one by one."""

    def __init__(self, points: np.ndarray, faces: np.ndarray, dear: np.ndarray, locked: np.ndarray) -> None:
        self.points = points.astype(np.float64)
        self.faces = [list(map(int, face)) for face in faces]
        self.locked = locked
        self.around: dict[int, set[int]] = {}
        for i, face in enumerate(self.faces):
            for v in face:
                self.around.setdefault(v, set()).add(i)
        self.alive = set(self.around)
        self.stamp = dict.fromkeys(self.alive, 0)
        self.quadrics = {v: np.zeros((4, 4)) for v in self.alive}
        for face in self.faces:
            a, b, c = self.points[face]
            normal = np.cross(b - a, c - a)
            area = np.linalg.norm(normal)
            if area > 0:
                plane = np.append(normal / area, -normal @ a / area)
                for v in face:
                    self.quadrics[v] += area * dear[v] * np.outer(plane, plane)
        self.heap: list[tuple[float, int, int, int, int]] = []
        for v in self.alive:
            self._offer(v)

    def neighbours(self, v: int) -> set[int]:
        return {w for i in self.around[v] for w in self.faces[i]} - {v}

    def reduce(self, count: int) -> None:
        """Collapse the cheapest edges until `count` vertices are left or none can go."""
        while len(self.alive) > count and self.heap:
            _, u, v, was_u, was_v = heapq.heappop(self.heap)
            fresh = u in self.alive and v in self.alive and (self.stamp[u], self.stamp[v]) == (was_u, was_v)
            if fresh and self._may(u, v):
                self._collapse(u, v)

    def _offer(self, u: int) -> None:
        if self.locked[u]:
            return
        for v in self.neighbours(u):
            if self.locked[v]:
                continue
            p = np.append(self.points[v], 1)
            length = float(((self.points[u] - self.points[v]) ** 2).sum())
            cost = float(p @ (self.quadrics[u] + self.quadrics[v]) @ p) + 1e-9 * length  # even where it is flat
            heapq.heappush(self.heap, (cost, u, v, self.stamp[u], self.stamp[v]))

    def _may(self, u: int, v: int) -> bool:
        """Whether u may become v: the surface stays a surface and no triangle turns over."""
        shared = self.around[u] & self.around[v]
        if len(shared) != 2 or len(self.neighbours(u) & self.neighbours(v)) != 2:
            return False
        for i in self.around[u] - shared:
            before = self.points[self.faces[i]]
            after = self.points[[v if w == u else w for w in self.faces[i]]]
            n0, n1 = (np.cross(p[1] - p[0], p[2] - p[0]) for p in (before, after))
            if n0 @ n1 < 0.3 * np.linalg.norm(n0) * np.linalg.norm(n1) or np.linalg.norm(n1) < 1e-10:
                return False
        return True

    def _collapse(self, u: int, v: int) -> None:
        for i in self.around[u] & self.around[v]:
            for w in self.faces[i]:
                if w != u:
                    self.around[w].discard(i)
            self.faces[i] = []
        for i in self.around.pop(u):
            if self.faces[i]:
                self.faces[i] = [v if w == u else w for w in self.faces[i]]
                self.around[v].add(i)
        self.alive.discard(u)
        self.quadrics[v] += self.quadrics[u]
        for w in self.neighbours(v) | {v}:
            self.stamp[w] += 1
        for w in self.neighbours(v) | {v}:
            self._offer(w)


def proxy(head: Head, skin: int) -> dict[str, np.ndarray]:
    """index (P,) vertices of the head; faces (Q, 3) into them; faces_uv (Q, 3) into the head's uv."""
    dear = np.ones(len(head.template))
    for name, factor in STURDY.items():
        dear *= 1 + (factor - 1) * np.clip(head.masks[name], 0, 1)
    corners, coordinates = [], []
    for part, count in (("skin", skin), ("eye_left", EYE), ("eye_right", EYE)):
        span = head.parts[part]
        chosen = np.flatnonzero(((head.faces >= span.start) & (head.faces < span.stop)).all(1))
        faces, uvs = head.faces[chosen], head.faces_uv[chosen]
        surface = Surface(head.template, faces, dear, _locked(len(head.template), faces, uvs))
        surface.reduce(count)
        only = dict(zip(faces.ravel().tolist(), uvs.ravel().tolist(), strict=True))  # right for all but seams
        for face, old, uv in zip(surface.faces, faces.tolist(), uvs.tolist(), strict=True):
            if face:
                corners.append(face)
                coordinates.append([uv[k] if face[k] == old[k] else only[face[k]] for k in range(3)])
    index, faces = np.unique(np.array(corners), return_inverse=True)
    return {
        "index": index.astype(np.int32), "faces": faces.reshape(-1, 3).astype(np.int32),
        "faces_uv": np.array(coordinates, np.int32), "head_id": np.array(head.head_id),
    }  # fmt: skip


def _locked(count: int, faces: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """(V,) whether a vertex lies on a seam of the UV layout or on the rim of the surface."""
    locked = np.zeros(count, bool)
    pairs = np.unique(np.stack([faces.ravel(), uvs.ravel()], 1), axis=0)[:, 0]
    locked[pairs[:-1][pairs[:-1] == pairs[1:]]] = True
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    once, times = np.unique(edges, axis=0, return_counts=True)
    locked[once[times == 1]] = True
    return locked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "core" / "data" / "proxy.npz")
    parser.add_argument("--skin", type=int, default=SKIN)
    arguments = parser.parse_args()
    made = proxy(load_head(), arguments.skin)
    np.savez_compressed(arguments.out, **made)  # pyright: ignore[reportArgumentType]
    print(f"{arguments.out.name}: {len(made['index'])} vertices, {len(made['faces'])} triangles, "
          f"{arguments.out.stat().st_size / 1e3:.0f} kB")  # fmt: skip


if __name__ == "__main__":
    main()
