# SPDX-License-Identifier: GPL-3.0-or-later
"""What the visual prior says of skin and clothes that a photo does not show, as colours of the mesh's vertices.

Of hair the prior is not asked: trained on made-up people, it takes a real person's hidden hair for dark or for skin, while
the photo's own hair, carried on backwards, looks like that person's (docs/heads.md has figures and pictures).
"""

from importlib.util import find_spec

import numpy as np

from ..head.head import Identity
from ..splats.gaussians import SH_C0
from ..splats.uv_layout import VOLUME
from .paint import on_vertices, spread
from .shot import Shot
from .surface import Slots

COVERING = 1.5
"""How much of what stands off the skin is taken for the skin's colour, times its opacity."""


def unseen_colours(shot: Shot, person: Identity) -> np.ndarray | None:
    """(V, 3) linear, of the mesh's outside; None without torch. shot.vertices: not widened. About 1 s."""
    if find_spec("torch") is None:
        return None
    from ..prior.visual.generator import load_generator, predict
    from ..prior.visual.maps import gaussians_of
    from ..prior.visual.projection import project

    generator = load_generator()
    layout, head = generator.canvas.layout, person.head
    seen = project(shot.light * shot.matte[..., None], shot.matte, shot.camera, shot.vertices, layout, head)
    _, opacities, harmonics = gaussians_of(predict(generator, seen, person.betas), layout, head, person.betas)
    colours = np.maximum(harmonics[:, 0] * SH_C0 + 0.5, 0)
    outside = np.isin(np.array(head.region_names)[layout.regions], ("skin", "lips"))

    def field(mine: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = Slots(layout.triangles[mine], layout.bary[mine], np.ones(int(mine.sum()), int))
        return on_vertices(shot, places, values[mine], np.ones(len(places)))

    skin = spread(shot, *field(outside & (layout.layer != VOLUME), colours), rounds=2)
    weighted = np.concatenate([colours * opacities[:, None], opacities[:, None]], 1)
    sums, total = field(layout.layer == VOLUME, weighted)
    above = sums[:, :3] / np.maximum(sums[:, 3:], 1e-4)
    share = np.clip(COVERING * sums[:, 3] / np.maximum(total, 1e-4), 0, 1)[:, None]
    return (skin + share * (above - skin)).astype(np.float32)
