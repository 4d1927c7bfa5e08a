# SPDX-License-Identifier: GPL-3.0-or-later
"""The UV layout and the start map: symmetric, complete, closed from every side."""

import numpy as np
import pytest

from loquent.core.errors import AssetError
from loquent.core.geometry.cameras import look_at
from loquent.core.geometry.triangles import barycentric_points
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.prior.visual.maps import COLOUR, OPACITY, gaussians_of, start_map
from loquent.core.splats.binding import carry
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize
from loquent.core.splats.uv_layout import VOLUME, uv_layout


@pytest.fixture(scope="module")
def head():
    return load_head()


def points_of(head, layout):
    return barycentric_points(head.template, head.faces, layout.triangles, layout.bary)


def test_a_full_layout_has_as_many_slots_as_a_head_wants(head):
    layout = uv_layout(head)
    assert 20_000 < len(layout) < 60_000
    assert np.allclose(layout.bary.sum(1), 1, atol=1e-5) and layout.bary.min() >= -1e-6
    assert (head.regions[layout.triangles] == layout.regions).all()


def test_mirrored_slots_lie_on_the_other_side_of_the_face(head):
    layout = uv_layout(head, 96)
    assert (layout.mirror[layout.mirror] == np.arange(len(layout))).all()
    assert (layout.layer[layout.mirror] == layout.layer).all()
    assert (layout.cols[layout.mirror] == layout.size - 1 - layout.cols).all()
    points = points_of(head, layout)
    apart = np.linalg.norm(points[layout.mirror] * [-1, 1, 1] - points, axis=1)
    assert np.percentile(apart, 95) < 4e-4


def test_eyes_and_lips_get_more_texels_than_their_area(head):
    layout = uv_layout(head)
    surface = layout.layer != VOLUME
    skin, lips, eye = (np.median(layout.pitch[surface & (layout.regions == head.region_names.index(n))])
                       for n in ("skin", "lips", "eye_left"))  # fmt: skip
    assert lips < 0.5 * skin and eye < 0.5 * skin


def test_no_two_slots_share_a_texel_of_one_layer(head):
    layout = uv_layout(head, 96)
    keys = (layout.layer.astype(np.int64) * 96 + layout.rows) * 96 + layout.cols
    assert len(np.unique(keys)) == len(keys) and (np.diff(keys) > 0).all()


def test_a_foreign_head_is_refused_with_what_to_do(head):
    from dataclasses import replace

    foreign = replace(head, faces=head.faces[::-1].copy())
    with pytest.raises(AssetError, match="built-in head only"):
        uv_layout(foreign)


@pytest.mark.parametrize("angle", [0, 50, 90, 140, 180, 270])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_start_map_is_closed_from_every_side(head, angle, seed):
    layout = uv_layout(head)
    betas = np.random.default_rng(seed).normal(size=len(head.shapedirs)).astype(np.float32) * (seed > 0)
    values = np.zeros(len(CHANNELS), np.float32)
    values[INDEX["jawOpen"]] = 0.5 * (seed > 0)
    alpha, mesh = drawn(head, layout, betas, values, np.radians(angle))
    # what is two pixels inside the mesh's own outline is covered
    assert (alpha[mesh] > 0.93).mean() > 0.995


def drawn(head, layout, betas, values, angle):
    binding, opacities, harmonics = gaussians_of(start_map(head, layout, betas), layout, head, betas)
    vertices = pose_vertices(identity(head, betas), values)
    camera = look_at((1.3 * np.sin(angle), 0.02, 1.3 * np.cos(angle)), (0, 0.02, 0), fov_y=0.2, width=160, height=160)
    alpha = rasterize(Gaussians(*carry(binding, vertices, head.faces), opacities, harmonics), camera).alpha
    rng = np.random.default_rng(0)
    skin = head.faces_of("skin", "lips")
    points = barycentric_points(vertices, head.faces, np.repeat(skin, 60), rng.dirichlet((1, 1, 1), 60 * len(skin)))
    at = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    pixel = np.floor((at @ camera.K.T)[:, :2] / at[:, 2:]).astype(int)
    inside = ((pixel >= 0) & (pixel < 160)).all(1)
    hit = np.zeros((160, 160), bool)
    hit[pixel[inside, 1], pixel[inside, 0]] = True
    for _ in range(3):
        hit[1:-1, 1:-1] &= hit[2:, 1:-1] & hit[:-2, 1:-1] & hit[1:-1, 2:] & hit[1:-1, :-2]
    return alpha, hit


def test_the_open_mouth_shows_teeth_before_the_dark(head):
    layout = uv_layout(head)
    start = start_map(head, layout)
    teeth = start[np.isin(layout.regions, [head.region_names.index(n) for n in ("teeth_upper", "teeth_lower")])]
    inside = start[layout.regions == head.region_names.index("mouth_interior")]
    assert teeth[:, COLOUR].mean() > 10 * inside[:, COLOUR].mean() > 0
    assert (start[layout.layer == VOLUME, OPACITY] < -3).all()


def test_a_person_s_gaussians_lie_on_that_person(head):
    layout = uv_layout(head, 64)
    betas = np.random.default_rng(1).normal(size=100).astype(np.float32)
    binding, _, _ = gaussians_of(start_map(head, layout), layout, head, betas)
    rest = identity(head, betas).template
    means, _, scales = carry(binding, rest, head.faces)
    on = barycentric_points(rest, head.faces, layout.triangles, layout.bary)
    surface = layout.layer != VOLUME
    assert np.abs(means - on)[surface].max() < 1e-4
    assert np.percentile(np.linalg.norm(means - on, axis=1)[~surface], 5) > 0.004
    assert scales.max() < 0.08
