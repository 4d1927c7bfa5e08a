# SPDX-License-Identifier: GPL-3.0-or-later
"""One control moves its own part of the picture and the rest stays: on a built-in head, on one whose Gaussians were bound to a
person of their own as those of photos are, and on one whose colours follow the performance as those of films do.

tests/test_mixing.py has the same for all five controls against each other on the mesh.
"""

from dataclasses import replace

import numpy as np
import pytest

from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.head.sliders import moved
from loquent.core.splats.adopt import bound_to
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.colour_network import ColourNetwork
from loquent.core.splats.mixing import reshaped
from loquent.core.splats.rasterize import rasterize

HEAD = load_head()
SIZE = 128
CAMERA = look_at((0, 0.02, 0.75), (0, 0.02, 0.03), width=SIZE, height=SIZE)
START = {"jawOpen": 0.15, "eyeBlinkLeft": 0.1, "eyeBlinkRight": 0.1}
CONTROLS = {
    "blink": {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9},
    "gaze": {"gazeYaw": 0.3, "gazePitch": -0.1},
    "expression": {"jawOpen": 0.6, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6},
    "pose": {"headYaw": 0.35, "headPitch": -0.15},
}
OWN = {"blink": ("eyes",), "gaze": ("eyes",), "expression": ("mouth",), "pose": ()}


def values(channels):
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        out[INDEX[name]] = value
    return out


def built_in():
    return load_avatar(builtin_avatars()["ada"])


def from_a_photo():
    """ada's Gaussians bound to the mesh of somebody else, on which they lie at rest."""
    ada = built_in()
    betas = moved(ada.betas, {"width": 1.5, "long_face": -1.0}, len(HEAD.shapedirs))
    vertices = pose_vertices(identity(HEAD, betas), values({}))
    made = replace(ada, betas=betas, harmonics=np.ascontiguousarray(ada.harmonics[:, :1]))
    rest = pose(performer(made), values({}))
    return replace(made, binding=bound_to(rest, ada.binding.triangles, vertices, HEAD.faces))


def from_a_film():
    """With colours that change by up to .05 in what the film showed: of the mouth with the jaw, of the lids with the blink."""
    ada = from_a_photo()
    rng = np.random.default_rng(0)
    centres = HEAD.template[HEAD.faces[ada.binding.triangles]].mean(1)
    matrix, parts = np.zeros((len(CHANNELS), 2), np.float32), np.zeros((2, len(ada)), bool)
    for k, (names, places) in enumerate((
        (("jawOpen",), ("lip_lower_middle",)), (("eyeBlinkLeft", "eyeBlinkRight"), ("eye_left_outer", "eye_right_outer")),
    )):  # fmt: skip
        matrix[[INDEX[name] for name in names], k] = 1
        for place in places:
            parts[k] |= np.linalg.norm(centres - HEAD.template[HEAD.landmarks[place]], axis=1) < 0.025
    rows = np.flatnonzero(parts.any(0)).astype(np.int32)
    basis = rng.normal(0, 0.1, (2, len(rows), 3)).astype(np.float32) * parts[:, rows, None]
    low, high = np.full(len(CHANNELS), -0.2, np.float32), np.full(len(CHANNELS), 1.0, np.float32)
    return replace(ada, colour=ColourNetwork(low, high, (matrix,), (np.zeros(2, np.float32),), rows, basis))


HEADS = {"built in": built_in, "from a photo": from_a_photo, "from a film": from_a_film}


@pytest.fixture(scope="module", params=HEADS)
def who(request):
    return performer(HEADS[request.param]())


def skull(person, vertices):
    """(4, 4) by which the skull has moved: teeth of the upper jaw are bone, and no expression moves them."""
    at = HEAD.parts["teeth_upper"]
    rest, now = pose_vertices(person, values({}))[at], vertices[at]
    u, _, vt = np.linalg.svd((rest - rest.mean(0)).T @ (now - now.mean(0)))
    out = np.eye(4)
    out[:3, :3] = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt).T
    out[:3, 3] = now.mean(0) - out[:3, :3] @ rest.mean(0)
    return out


def picture(who, channels, following=True):
    """(H, W, 3) in display colours, of a camera that moves with the skull."""
    row = values(channels)
    matrix = CAMERA.world_to_camera
    if following:
        matrix = matrix @ np.linalg.inv(skull(who.identity, pose_vertices(who.identity, row)))
    camera = Camera(matrix.astype(np.float32), CAMERA.K, SIZE, SIZE)
    drawn = rasterize(pose(who, row), camera, background=(0.2, 0.2, 0.2)).colour
    return np.clip(drawn, 0, 1) ** (1 / 2.2)


def regions(who):
    vertices = pose_vertices(who.identity, values(START))
    vertices = (vertices - skull(who.identity, vertices)[:3, 3]) @ skull(who.identity, vertices)[:3, :3]

    def box(names, grow):
        at = vertices[[HEAD.landmarks[name] for name in names]]
        at = at @ CAMERA.world_to_camera[:3, :3].T + CAMERA.world_to_camera[:3, 3]
        points = (at @ CAMERA.K.T)[:, :2] / (at @ CAMERA.K.T)[:, 2:]
        (x0, y0), (x1, y1) = np.maximum(points.min(0) - grow, 0).astype(int), (points.max(0) + grow).astype(int)
        return slice(y0, y1), slice(x0, x1)

    eyes = box([name for name in HEAD.landmarks if name.startswith("eye_")], (3, 5))
    mouth = box(["mouth_left", "mouth_right", "chin", "lip_upper_middle"], (5, 4))
    return {"eyes": eyes, "mouth": mouth, "above": (slice(10, eyes[0].start - 4), eyes[1])}


@pytest.mark.parametrize("control", CONTROLS)
def test_one_control_changes_its_own_part_of_the_picture_and_the_rest_stays(who, control):
    before, after = picture(who, START), picture(who, START | CONTROLS[control])
    for name, where in regions(who).items():
        apart = np.abs(after - before)[where].mean()
        if name in OWN[control]:
            assert apart > 0.015, (name, apart)
        else:  # harmonics of degree 1 are seen from elsewhere by a head that turns; a wide smile lifts the lower lids
            assert apart < (0.02 if control == "pose" else 0.004), (name, apart)
    if control == "pose":
        assert np.abs(picture(who, START | CONTROLS["pose"], following=False) - before).mean() > 0.02


@pytest.mark.parametrize("control", ["blink", "gaze", "expression"])
def test_another_shape_leaves_every_control_where_it_was(who, control):
    other = performer(reshaped(who.avatar, {"width": 2.0, "long_face": 1.0}))
    assert other.avatar.harmonics is who.avatar.harmonics and other.avatar.colour is who.avatar.colour
    assert np.abs(picture(other, START) - picture(who, START)).mean() > 0.01
    part = OWN[control][0]
    changes = [
        np.abs(picture(w, START | CONTROLS[control]) - picture(w, START))[regions(w)[part]].mean() for w in (who, other)
    ]
    assert 0.6 < changes[1] / changes[0] < 1.6
