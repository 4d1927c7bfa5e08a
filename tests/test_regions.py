# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from loquent.core.splats.avatar import find_avatar, load_avatar, performer, pose
from loquent.core.splats.regions import REGIONS, gaussian_regions


@pytest.fixture(scope="module", params=["ada", "bruno"])
def head(request):
    loaded = performer(load_avatar(find_avatar(request.param)))
    return loaded, gaussian_regions(loaded.identity, loaded.avatar.binding)


def of(head, name):
    loaded, regions = head
    means = pose(loaded, np.zeros(65, np.float32)).means
    return means[regions == REGIONS.index(name)]


def test_every_region_of_a_built_in_head_has_gaussians(head):
    assert (np.bincount(head[1], minlength=len(REGIONS)) > 300).all() and len(head[1]) == len(head[0].avatar)


def test_regions_lie_where_they_do_in_a_face(head):
    """Head space: x to the left, y up, z out of the face, metres from the skull's joint."""
    hair, eyes, teeth, lips, body, skin = (of(head, n) for n in ("hair", "eyes", "teeth", "lips", "body", "skin"))
    assert hair[:, 1].max() > skin[:, 1].max()
    assert np.median(eyes[:, 1]) > np.median(lips[:, 1]) > np.median(body[:, 1])
    assert np.median(lips[:, 2]) > np.median(teeth[:, 2])  # teeth are behind the lips
    assert np.abs(eyes[:, 0].mean()) < 0.005 and np.abs(eyes[:, 0]).min() > 0.01  # one on each side


def test_lips_and_eyes_follow_their_triangles(head):
    loaded, regions = head
    names = np.array(loaded.identity.head.region_names)[loaded.identity.head.regions[loaded.avatar.binding.triangles]]
    assert (regions[names == "lips"] == REGIONS.index("lips")).all()
    assert (regions[np.isin(names, ["eye_left", "eye_right"])] == REGIONS.index("eyes")).all()
    assert (regions[np.isin(names, ["gums", "tongue"])] == REGIONS.index("mouth")).all()
