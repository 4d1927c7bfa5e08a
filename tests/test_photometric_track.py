# SPDX-License-Identifier: GPL-3.0-or-later
"""A track moved until a head draws the pictures: of a film that is made up here, tracked with known errors."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from loquent.core.adapt import footage  # noqa: E402
from loquent.core.adapt.footage import Footage, Window, encoded  # noqa: E402
from loquent.core.adapt.photometric_track import pursued  # noqa: E402
from loquent.core.capture.embedding import load_embedding  # noqa: E402
from loquent.core.capture.track import Track  # noqa: E402
from loquent.core.errors import CaptureError  # noqa: E402
from loquent.core.geometry.cameras import look_at  # noqa: E402
from loquent.core.head.head import load_head, pose_vertices  # noqa: E402
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion  # noqa: E402
from loquent.core.splats import native  # noqa: E402
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose  # noqa: E402
from loquent.core.splats.rasterize import rasterize  # noqa: E402

pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")
SIZE, FRAMES = 128, 5
CAMERA = look_at((0, 0.02, 0.8), (0, 0, 0), fov_y=np.radians(26), width=SIZE, height=SIZE)
LIGHT = np.array([0.8, 0.7, 0.9], np.float32)


def acted() -> np.ndarray:
    values = np.zeros((FRAMES, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]] = (0.0, 0.2, 0.5, 0.3, 0.1)
    values[:, INDEX["headYaw"]] = np.linspace(-0.1, 0.1, FRAMES)
    return values


def mistaken(values: np.ndarray) -> np.ndarray:
    out = values.copy()
    out[:, INDEX["jawOpen"]] += 0.15
    out[:, INDEX["headYaw"]] += 0.02
    out[:, INDEX["headX"]] += 0.002
    return out


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """The avatar, the true values, and cuts of a film of it in another light."""
    folder = tmp_path_factory.mktemp("film")
    ada, values = load_avatar(builtin_avatars()["ada"]), acted()
    actor = performer(ada)
    for k, row in enumerate(values):
        layers = rasterize(pose(actor, row), CAMERA)
        alpha = np.clip(layers.alpha, 0, 1)
        colour = encoded(LIGHT * layers.colour / np.maximum(alpha, 1e-3)[..., None])
        footage._write(folder / footage._name(k), colour, alpha)
    cuts = Footage(folder, np.arange(FRAMES), (Window(0, 0, SIZE, SIZE),) * FRAMES, CAMERA, SIZE)
    points = [_landmarks(pose_vertices(actor.identity, row)) for row in values]
    return ada, values, cuts, np.array(points)


def _landmarks(vertices: np.ndarray) -> np.ndarray:
    seen = load_embedding(load_head()).of(vertices) @ CAMERA.world_to_camera[:3, :3].T + CAMERA.world_to_camera[:3, 3]
    return (seen[:, :2] / seen[:, 2:] * CAMERA.K[[0, 1], [0, 1]] + CAMERA.K[:2, 2]).astype(np.float32)


def _off(avatar, values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(F,) root mean square difference of linear pictures."""
    actor = performer(avatar)
    pictures = [[rasterize(pose(actor, row), CAMERA).colour for row in rows] for rows in (values, truth)]
    return np.array([np.sqrt(((a - b) ** 2).mean()) for a, b in zip(*pictures, strict=True)])


def track_of(avatar, values, points, **changes) -> Track:
    ones = np.ones(len(values), np.float32)
    track = Track(avatar.betas, CAMERA, Motion(25.0, values), ones, points, avatar.head_id, "made up")
    return replace(track, **changes)


def test_a_mistaken_track_is_put_right_by_the_pictures_in_whatever_light(film):
    ada, values, cuts, points = film
    told = []
    track = track_of(ada, mistaken(values), points)
    motion = pursued(ada, track, cuts, lambda f, p: told.append((f, p)), threads=1)
    before, after = _off(ada, track.motion.values, values), _off(ada, motion.values, values)
    assert (after < before / 2.5).all() and after[-1] < before[-1] / 4, (before, after)
    jaw = INDEX["jawOpen"]
    off = np.abs(motion.values - values)[:, jaw]
    assert off.max() < 0.1 and off[-1] < 0.04
    assert told[-1][0] == 1 and told[0][1].shape[2] == 3 and told[0][1].dtype == np.uint8


def test_pictures_left_out_take_the_corrections_of_their_neighbours(film):
    ada, values, cuts, points = film
    few = Footage(cuts.folder, np.array([0, 4]), cuts.windows[:2], CAMERA, SIZE)
    track = track_of(ada, mistaken(values), points)
    motion = pursued(ada, track, few, threads=1)
    moved = (motion.values - track.motion.values)[:, len(ARKIT) :]  # expressions are kept within 0 and 1 afterwards
    assert np.allclose(moved, np.linspace(moved[0], moved[4], FRAMES), atol=1e-6)
    between = _off(ada, motion.values, values)[1:4], _off(ada, track.motion.values, values)[1:4]
    assert (between[0] < between[1] / 2).all(), between


def test_somebody_else_is_refused(film):
    _, values, cuts, points = film
    bruno = load_avatar(builtin_avatars()["bruno"])
    with pytest.raises(CaptureError, match=r"'made up' does not look like 'bruno'.*Choose the head of the person"):
        pursued(bruno, track_of(bruno, values, points), cuts, threads=1)
