# SPDX-License-Identifier: GPL-3.0-or-later
"""Closest points, and registering the built-in head to others: laws, an unseen identity in another topology, ICT's names."""

import numpy as np
import pytest

from loquent.core.capture.embedding import load_embedding
from loquent.core.errors import FormatError
from loquent.core.geometry.rotations import axis_angle_to_matrix
from loquent.core.geometry.surface import Surface, closest_on_triangles, components, nearest
from loquent.core.head import registration as module
from loquent.core.head.head import load_head
from loquent.core.head.ict import channels_of, load_ict, with_gaze, write_obj
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion
from loquent.core.head.registration import Landmarks, outer_skin, procrustes, register
from loquent.tools.heads.elsewhere import _face, remeshed, unseen


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_closest_point_of_a_triangle_is_closer_than_any_other(rng):
    a, b, c, p = rng.normal(size=(4, 200, 3))
    weights = closest_on_triangles(p, a, b, c)
    assert (weights >= 0).all() and np.allclose(weights.sum(1), 1)
    found = np.linalg.norm(np.einsum("nk,nkd->nd", weights, np.stack([a, b, c], 1)) - p, axis=1)
    for _ in range(50):
        other = rng.dirichlet([1, 1, 1], 200)
        assert (
            np.linalg.norm(np.einsum("nk,nkd->nd", other, np.stack([a, b, c], 1)) - p, axis=1) >= found - 1e-9
        ).all()


def test_a_triangle_without_area_has_a_closest_point_too():
    weights = closest_on_triangles(np.ones((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)))
    assert np.isfinite(weights).all() and weights.sum() == pytest.approx(1)


def test_nearest_agrees_with_all_distances_whatever_the_pieces(rng, monkeypatch):
    points, queries = rng.normal(size=(300, 3)), rng.normal(size=(500, 3))
    right = np.linalg.norm(points[None] - queries[:, None], axis=2).argmin(1)
    for size in (1 << 25, 4000):
        monkeypatch.setattr("loquent.core.geometry.surface.CHUNK_BYTES", size)
        assert (nearest(points, queries) == right).mean() > 0.995  # float32 may swap equals


def test_closest_points_on_the_head_are_on_it_and_agree_with_every_triangle(rng):
    head = load_head()
    surface = Surface(head.template.astype(np.float64), outer_skin(head))
    queries = head.template[outer_skin(head)[rng.integers(0, 9000, 60), 0]] + rng.normal(0, 0.01, (60, 3))
    found = surface.closest(queries, thorough=True)
    assert np.allclose(found.of(surface.faces, surface.vertices), found.points)
    corners = surface.vertices[surface.faces]
    for query, distance in zip(queries, found.distances, strict=True):
        weights = closest_on_triangles(query, corners[:, 0], corners[:, 1], corners[:, 2])
        best = np.linalg.norm(np.einsum("fk,fkd->fd", weights, corners) - query, axis=1).min()
        assert distance < best + 5e-4


def test_pieces_of_a_mesh_are_told_apart():
    head = load_head()
    piece = components(head.faces, len(head.template))
    for name in ("eye_left", "eye_right", "tongue"):
        assert len(np.unique(piece[head.parts[name]])) == 1, name
    assert len(np.unique(piece)) >= len(head.parts)


def test_procrustes_finds_a_similarity_back(rng):
    points = rng.normal(size=(20, 3))
    turn = axis_angle_to_matrix(np.array([0.3, -1.2, 2.0]))
    found = procrustes(points, 2.5 * points @ turn.T + [1, 2, 3])
    assert found.scale == pytest.approx(2.5) and np.allclose(found.rotation, turn)
    assert np.allclose(found.back(found.of(points)), points)
    mirrored = procrustes(points, points * [-1, 1, 1])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)


@pytest.fixture(scope="module")
def registered():
    """An unseen identity, remeshed to some 1,500 vertices, turned and in another unit; few steps, for time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STIFFNESS", (50, 4, 1))
        patch.setattr(module, "SOLVES", 1)
        patch.setattr(module, "ICP_ROUNDS", 5)
        head, embedding = load_head(), load_embedding(load_head())
        truth = unseen(head, np.random.default_rng(1), 0.7)
        vertices, faces = remeshed(truth, outer_skin(head), 0.011)
        turn = axis_angle_to_matrix(np.array([0.1, 0.5, -0.2]))
        truth, vertices = 3.0 * truth @ turn.T + 1, 3.0 * vertices @ turn.T + 1
        use = np.linspace(0, len(embedding.corners) - 1, 20).astype(int)
        points = np.einsum("lk,lkd->ld", embedding.weights[use], truth[embedding.corners[use]])
        marks = Landmarks(embedding.corners[use], embedding.weights[use], points)
        told: list[float] = []
        return head, truth, marks, register(head, vertices, faces, marks, progress=told.append), turn, told


def test_each_step_comes_nearer_to_an_unseen_identity(registered):
    head, truth, marks, found, _, _ = registered
    face = _face(head)
    rigid = procrustes(marks.ours(head.template.astype(np.float64)), marks.points).of(head.template)
    errors = [1e3 / 3 * np.linalg.norm(x - truth, axis=1)[face].mean() for x in (rigid, found.shaped, found.vertices)]
    assert errors[0] > 1.2 * errors[1] > 1.2 * 1.05 * errors[2] and errors[2] < 2.2, errors
    assert found.error < 1e-3 and 2.7 < found.similarity.scale < 3.3


def test_units_are_carried_with_their_direction_and_size(registered):
    head, truth, _, found, turn, _ = registered
    right = Surface(truth, outer_skin(head)).closest(found.target.vertices, found.target.normals)
    for name in ("mouthSmileLeft", "browInnerUp"):
        unit = head.units[ARKIT.index(name)].astype(np.float64)
        true = 3.0 * right.of(outer_skin(head), unit) @ turn.T
        carried = found.carry_displacements(unit[None])[0]
        moved = np.linalg.norm(true, axis=1) > 3e-3
        assert np.linalg.norm(carried - true, axis=1)[moved].mean() < 0.25 * np.linalg.norm(true, axis=1)[moved].mean()


def test_masks_are_carried_and_progress_ends_at_one(registered):
    head, _, _, found, _, told = registered
    lips = found.carry(head.masks["lips"].astype(np.float64))
    assert 0.5 < lips.max() <= 1.0001 and lips.min() >= 0
    assert told == sorted(told) and told[-1] == pytest.approx(1)


def test_a_box_is_no_head():
    v = np.array([[x, y, z] for x in np.linspace(-1, 1, 9) for y in np.linspace(-1, 1, 9) for z in (0.0, 0.01)])
    f = np.array([[i, i + 2, i + 18] for i in range(0, 140, 2)])
    with pytest.raises(FormatError, match="could not be registered"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STIFFNESS", (50,))
        patch.setattr(module, "SOLVES", 1)
        patch.setattr(module, "ICP_ROUNDS", 1)
        register(load_head(), v, f)
    with pytest.raises(FormatError, match="Give a whole, finite mesh"):
        register(load_head(), np.full((200, 3), np.nan), f)


def test_ict_expressions_follow_channels_and_gaze_becomes_looks(tmp_path):
    assert channels_of("browInnerUp_L") == (("browInnerUp", 1.0),) == channels_of("browInnerUp_R")
    assert channels_of("mouthSmile_L") == (("mouthSmileLeft", 1.0),) and channels_of("PupilDilate_L") == ()
    names = ["jawOpen", "eyeLookOut_L", "eyeLookIn_R", "PupilDilate_L"]
    deltas = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.savez(
        tmp_path / "ict.npz",
        neutral=np.zeros((5, 3)),
        faces=np.array([[0, 1, 2, 3]]),
        expr_names=names,
        expr_delta=deltas,
    )
    face = load_ict(tmp_path / "ict.npz")
    values = np.zeros((1, len(CHANNELS)), np.float32)
    values[0, INDEX["jawOpen"]], values[0, INDEX["gazeYaw"]] = 0.5, 0.1
    found = face.values(Motion(30, values))[0]
    looks = with_gaze(values)[0]
    assert found[0] == 0.5 and found[3] == 0
    assert 0 < found[1] == looks[INDEX["eyeLookOutLeft"]] and 0 < found[2] == looks[INDEX["eyeLookInRight"]]
    assert np.allclose(face.pose(found), 0.5 * deltas[0] + found[1] * deltas[1] + found[2] * deltas[2], atol=1e-6)
    np.savez(
        tmp_path / "bad.npz",
        neutral=np.zeros((5, 3)),
        faces=np.array([[0, 1, 2, 9]]),
        expr_names=names,
        expr_delta=deltas,
    )
    with pytest.raises(FormatError, match="expected neutral"):
        load_ict(tmp_path / "bad.npz")


def test_the_kit_is_read_as_its_authors_publish_it(tmp_path):
    neutral = np.random.default_rng(0).normal(size=(5, 3)).round(4)

    def write(name, vertices):
        lines = [
            "# ICT",
            *(f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices),
            "vt 0 0",
            "f 1/1 2/1 3/1 4/1",
            "f 3/1 4/1 5/1",
        ]
        (tmp_path / f"{name}.obj").write_text("\n".join(lines))

    write("generic_neutral_mesh", neutral)
    write("jawOpen", neutral + [[0, -1, 0]])
    write("identity000", neutral + 1)
    face = load_ict(tmp_path)
    assert face.names == ("jawOpen",) and face.quads.tolist() == [[0, 1, 2, 3], [2, 3, 4, 4]]
    np.testing.assert_allclose(face.deltas[0], np.tile([0, -1, 0], (5, 1)), atol=1e-5)
    write_obj(face, np.array([0.5]), tmp_path / "posed.obj")
    lines = (tmp_path / "posed.obj").read_text().splitlines()
    assert lines[-2:] == ["f 1 2 3 4", "f 3 4 5"] and float(lines[0].split()[2]) == pytest.approx(neutral[0, 1] - 0.5)
    write("jawOpen", neutral[:4])
    with pytest.raises(FormatError, match=r"has 4 vertices; expected 5"):
        load_ict(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_text("v 1 two 3")
    with pytest.raises(FormatError, match=r"cannot be read as \.obj"):
        load_ict(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").unlink()
    with pytest.raises(FormatError, match="expected the folder FaceXModel"):
        load_ict(tmp_path)
