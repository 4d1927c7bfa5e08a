# SPDX-License-Identifier: GPL-3.0-or-later
"""A still head in a frame of its own is imported whole: through named points, and through MediaPipe where that is at hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from loquent.core.adapt.import_head import ImportOptions, import_head
from loquent.core.capture.landmarker import Landmarker
from loquent.core.capture.splat_face import _attitudes, seen_surface
from loquent.core.errors import CaptureError
from loquent.core.geometry.rotations import axis_angle_to_matrix
from loquent.core.head import registration
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.head.registration import Landmarks, Similarity, procrustes
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
from loquent.core.splats.moved import moved
from loquent.core.splats.ply import write_ply

REST = np.zeros(len(CHANNELS), np.float32)
TURN, SCALE, SHIFT = axis_angle_to_matrix(np.array([1.2, 0.4, -2.0])), 3.7, np.array([1.0, -2.0, 0.5])


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "STIFFNESS", (50, 5))
        patch.setattr(registration, "SOLVES", 1)
        patch.setattr(registration, "ICP_ROUNDS", 6)
        yield


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """ada at rest as a plain .ply, and she herself."""
    ada = performer(load_avatar(builtin_avatars()["ada"]))
    path = tmp_path_factory.mktemp("still") / "scan.ply"
    write_ply(moved(pose(ada, REST), SCALE, TURN, SHIFT), path)
    return ada, path


def judged(found, ada) -> None:
    """Registered to a few millimetres, the same at rest, and lips that part."""
    identity = performer(found.avatar).identity
    at = list(identity.head.landmarks.values())
    shape, true = identity.template[at].astype(np.float64), ada.identity.template[at].astype(np.float64)
    fit = procrustes(shape, true)
    assert np.linalg.norm(fit.of(shape) - true, axis=1).mean() < 0.005 and 0.85 < fit.scale < 1.15
    values = REST.copy()
    values[INDEX["jawOpen"]] = 0.6
    closed, opened = pose(performer(found.avatar), REST), pose(performer(found.avatar), values)
    drop = closed.means[:, 1] - opened.means[:, 1]
    hers = pose(ada, REST).means[:, 1] - pose(ada, values).means[:, 1]
    assert 0.7 < drop.max() / hers.max() < 1.3 and np.median(drop) < 1e-3
    assert found.kind == "still" and any("cut in two" in note for note in found.notes)
    assert found.avatar.about["imported_from"] == "still: scan.ply" and found.avatar.about["licence"] == "CC0-1.0"


def test_named_points_are_enough(still, quick, tmp_path):
    ada, path = still
    head = ada.identity.head
    points = {
        name: (SCALE * ada.identity.template[head.landmarks[name]] @ TURN.T + SHIFT).tolist()
        for name in ("nose_tip", "chin", "mouth_left", "mouth_right", "eye_left_outer", "eye_right_outer")
    }
    (tmp_path / "points.json").write_text(json.dumps(points))
    told: list[str] = []
    options = ImportOptions("Ada", {"licence": "CC0-1.0"}, landmarks=tmp_path / "points.json")
    found = import_head(path, options, lambda stage, fraction, picture: told.append(stage))
    judged(found, ada)
    assert found.avatar.name == "Ada" and list(dict.fromkeys(told)) == ["register", "bind"]


def test_mediapipe_finds_the_face_in_any_frame(still, quick):
    try:
        with Landmarker():
            pass
    except CaptureError as error:
        pytest.skip(f"no MediaPipe with its model here: {str(error)[:60]}")
    ada, path = still
    judged(import_head(path, ImportOptions(about={"licence": "CC0-1.0"})), ada)


def test_without_mediapipe_one_message_says_that_points_can_be_named(still):
    _, path = still
    with pytest.raises(
        CaptureError, match=r"There is no file 'nowhere.task'.*Or name 4 or more points of the face yourself"
    ):
        import_head(path, ImportOptions(model=Path("nowhere.task")))


def test_lips_that_are_seen_closed_are_not_registered_through_each_other(still, quick):
    ada, _ = still
    head, shape = ada.identity.head, ada.identity.template.astype(np.float64)
    vertices, faces = seen_surface(pose(ada, REST), Similarity(1.0, np.eye(3), np.zeros(3)), head)
    at = [
        head.landmarks[n]
        for n in ("nose_tip", "chin", "mouth_left", "mouth_right", "eye_left_outer", "eye_right_outer")
    ]
    marks = Landmarks(np.array([[k] * 3 for k in at]), np.array([[1.0, 0, 0]] * len(at)), shape[at], 10.0)
    found = registration.register(head, vertices, faces, marks, seen_only=True)
    for side in ("left", "middle", "right"):
        upper, lower = (head.landmarks[f"lip_{which}_{side}"] for which in ("upper", "lower"))
        gap = found.similarity.back(found.vertices)[upper] - found.similarity.back(found.vertices)[lower]
        assert gap[1] - (shape[upper] - shape[lower])[1] > -0.001


def test_all_attitudes_along_the_axes_are_tried():
    attitudes = _attitudes()
    assert len(attitudes) == 24 == len({tuple(axes.ravel()) for axes in attitudes})
    assert all(np.linalg.det(axes) == pytest.approx(1) for axes in attitudes)
