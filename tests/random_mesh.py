# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh of random triangles with Gaussians on them, for tests of carrying."""

import numpy as np

from loquent.core.splats.binding import Binding


def mesh_and_binding(seed=0, vertices=40, faces=60, count=500):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 0.1, (vertices, 3)).astype(np.float32)
    corners = np.stack([rng.choice(vertices, 3, replace=False) for _ in range(faces)]).astype(np.int32)
    quats = rng.normal(size=(count, 4)).astype(np.float32)
    binding = Binding(
        rng.integers(0, faces, count).astype(np.int32),
        rng.normal(0, 0.3, (count, 3)).astype(np.float32),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        rng.uniform(0.01, 0.2, (count, 3)).astype(np.float32),
    )
    return points, corners, binding
