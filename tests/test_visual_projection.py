# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture taken of a painted head comes back onto the slots that were seen, and onto no others."""

import numpy as np
import pytest

from loquent.core.geometry.cameras import look_at
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.prior.visual.maps import COLOUR, gaussians_of, start_map
from loquent.core.prior.visual.projection import project, sample
from loquent.core.splats.binding import carry
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize
from loquent.core.splats.uv_layout import VOLUME, uv_layout


@pytest.fixture(scope="module")
def shot():
    head = load_head()
    layout = uv_layout(head, 128)
    values = start_map(head, layout)
    # a painted head: colour tells where on the map a slot lies
    values[:, COLOUR] = np.stack([layout.cols / 127, layout.rows / 127, 0.5 + 0 * layout.rows], 1)
    binding, opacities, harmonics = gaussians_of(values, layout, head)
    row = np.zeros(len(CHANNELS), np.float32)
    row[INDEX["headYaw"]] = 0.5
    vertices = pose_vertices(identity(head), row)
    camera = look_at((0, 0, 1.2), (0, 0, 0), fov_y=0.35, width=256, height=256)
    drawn = rasterize(Gaussians(*carry(binding, vertices, head.faces), opacities, harmonics), camera)
    return head, layout, values, project(drawn.colour, drawn.alpha, camera, vertices, layout, head)


def test_seen_slots_get_their_colours_back(shot):
    head, layout, values, seen = shot
    skin = (layout.layer != VOLUME) & (layout.regions == head.region_names.index("skin"))
    sure = skin & (seen.visible > 0.95)
    assert sure.mean() > 0.15
    error = np.abs(seen.colour - values[:, COLOUR])[sure].max(1)
    assert np.median(error) < 0.01 and np.percentile(error, 95) < 0.06


def test_the_side_that_is_turned_away_is_not_seen(shot):
    head, layout, _, seen = shot
    points = head.template[head.faces[layout.triangles]].mean(1)
    assert seen.visible[points[:, 2] < -0.06].max() == 0
    ears = head.masks["ears"][head.faces[layout.triangles]].mean(1) > 0.5
    left, right = ears & (points[:, 0] > 0), ears & (points[:, 0] < 0)
    # positive yaw turns the face to the subject's left: the right ear comes forward
    assert seen.visible[right].mean() > 5 * seen.visible[left].mean()
    assert (seen.colour[seen.visible == 0] == 0).all()


def test_closed_lips_hide_what_is_inside_the_mouth(shot):
    head, layout, _, seen = shot
    inside = [head.region_names.index(n) for n in ("teeth_upper", "teeth_lower", "tongue", "mouth_interior")]
    assert seen.visible[np.isin(layout.regions, inside)].max() < 0.2


def test_normals_face_the_camera_where_slots_are_seen(shot):
    *_, seen = shot
    assert (seen.normal[seen.visible > 0.5][:, 2] < 0.2).mean() > 0.99
    assert np.abs(np.linalg.norm(seen.normal, axis=1) - 1).max() < 1e-3


def test_the_outline_tells_where_the_matte_ends(shot):
    _, layout, _, seen = shot
    assert (seen.outline[layout.layer != VOLUME] == 0).all()
    crown = (layout.layer == VOLUME) & (layout.rows < 4)
    assert seen.outline[crown, 3].mean() < 0.1  # nine centimetres above a bald crown there is nothing


def test_sampling_hits_pixel_centres_exactly():
    image = np.random.default_rng(0).random((5, 7, 2))
    rows, cols = np.mgrid[:5, :7]
    at = np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5], 1)
    assert np.allclose(sample(image, at), image.reshape(-1, 2))
    assert np.isfinite(sample(image, np.array([[np.nan, np.inf], [-5, 99]]))).all()
