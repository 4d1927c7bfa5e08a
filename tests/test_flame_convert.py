# SPDX-License-Identifier: GPL-3.0-or-later
"""A FLAME model becomes a head file. The model is made up: the built-in head without shoulders, in FLAME's layout."""

from dataclasses import replace

import numpy as np
import pytest

from loquent.addon.cli import main
from loquent.core.capture.embedding import load_embedding
from loquent.core.errors import FormatError
from loquent.core.head import flame_convert, registration
from loquent.core.head.flame_convert import convert_flame, read_basis, read_flame_model, write_head
from loquent.core.head.flame_npz import read_flame, write_flame
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX, Motion
from loquent.core.head.registration import Landmarks, outer_skin
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose, save_avatar
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.export import read_bound, write_sequence
from loquent.core.splats.formats import read_splats
from loquent.core.splats.other_head import OnOtherHead, load_performer
from loquent.core.splats.ply import BoundSplats, write_bound_ply

SHIFT = np.array([0.0, -0.02, 0.01])
SHAPES, OURS = 300, 30
"""Directions of identity as FLAME has them; the first are the built-in head's."""


def made_up() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The model, and which of our vertices its vertices are."""
    head = load_head()
    faces = np.concatenate([outer_skin(head), head.faces[head.faces_of("eye_left", "eye_right")]])
    faces = faces[(head.template[faces][:, :, 1] > -0.13).all(1)]
    used, faces = np.unique(faces, return_inverse=True)
    v = head.template[used].astype(np.float64) + SHIFT
    shapedirs = np.zeros((len(used), 3, SHAPES + 100), np.float32)
    shapedirs[:, :, :OURS] = head.shapedirs[:OURS, used].transpose(1, 2, 0)
    waves = np.sin(v @ np.random.default_rng(1).normal(0, 20, (3, SHAPES - OURS)))
    shapedirs[:, :, OURS:SHAPES] = 1e-4 * waves[:, None]
    mix = np.random.default_rng(0).normal(size=(100, len(ARKIT))).astype(np.float32) / 7
    shapedirs[:, :, SHAPES:] = np.einsum("eu,uvd->vde", mix, head.units[:, used])
    posedirs = np.zeros((len(used), 3, 36), np.float32)
    posedirs[:, :, 9:18] = head.posedirs[:, used].transpose(1, 2, 0)
    system = np.concatenate([v.T, np.ones((1, len(v)))])
    joints = np.concatenate([(head.joints + SHIFT).T, np.ones((1, 5))])
    return {
        "v_template": v, "shapedirs": shapedirs, "posedirs": posedirs, "weights": head.weights[used],
        "J_regressor": np.linalg.lstsq(system, joints, rcond=None)[0].T, "f": faces.reshape(-1, 3).astype(np.uint32),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }, used  # fmt: skip


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Few steps of registration, for time: the shape is known exactly here."""
    folder = tmp_path_factory.mktemp("flame")
    model, used = made_up()
    np.savez(folder / "flame.npz", **model)
    head = load_head()
    embedding = load_embedding(head)
    points = np.einsum("lk,lkd->ld", embedding.weights, head.template[embedding.corners]) + SHIFT
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "STIFFNESS", (10,))
        patch.setattr(registration, "SOLVES", 1)
        patch.setattr(registration, "ICP_ROUNDS", 1)
        read = read_flame_model(folder / "flame.npz")
        arrays, found = convert_flame(read, head, Landmarks(embedding.corners, embedding.weights, points))
    write_head(arrays, folder / "flame.head.npz")
    return folder, used, load_head(folder / "flame.head.npz"), found, model


def values(**channels: float) -> np.ndarray:
    out = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        out[INDEX[name]] = value
    return out


@pytest.mark.parametrize(
    ("channels", "millimetres"),
    [(dict(jawOpen=0.8), 0.2), (dict(mouthSmileLeft=1.0), 0.3), (dict(mouthPucker=1.0), 0.3), (dict(headYaw=0.4), 0.1),
     (dict(gazeYaw=0.3), 0.2), (dict(eyeBlinkLeft=1.0, eyeBlinkRight=1.0), 0.6), (dict(jawOpen=0.4, mouthClose=0.4), 0.3)],
)  # fmt: skip
def test_channels_move_the_converted_head_as_ours(converted, channels, millimetres):
    _, used, head, _, _ = converted
    ours, theirs = identity(load_head()), identity(head)
    true = (pose_vertices(ours, values(**channels)) - pose_vertices(ours, values()))[used]
    moved = pose_vertices(theirs, values(**channels)) - pose_vertices(theirs, values())
    moving = np.linalg.norm(true, axis=1) > 1e-3
    error = 1e3 * np.linalg.norm(moved - true, axis=1)[moving].mean()
    assert error < millimetres and error < 0.2 * 1e3 * np.linalg.norm(true, axis=1)[moving].mean()


def test_identity_joints_masks_regions_and_landmarks_come_along(converted):
    _, used, head, found, _ = converted
    built_in = load_head()
    betas = np.random.default_rng(0).normal(size=OURS).astype(np.float32)
    assert np.abs(identity(head, betas).template - identity(built_in, betas).template[used]).max() < 2e-3
    assert np.allclose(head.joints, built_in.joints, atol=1e-4) and head.head_id != built_in.head_id
    assert found.error < 2e-4
    for name in ("lips", "eyelids", "ears"):
        assert np.abs(head.masks[name] - built_in.masks[name][used])[: len(used) - 844].mean() < 0.02, name
    for name, vertex in built_in.landmarks.items():
        assert np.linalg.norm(head.template[head.landmarks[name]] - built_in.template[vertex]) < 2e-3, name
    eyes = head.faces_of("eye_left", "eye_right")
    assert len(eyes) == 1680 and (head.weights[head.faces[eyes], 3:].sum(-1) > 0.99).all()


def test_all_directions_of_identity_are_kept_to_micrometres(converted):
    _, _, head, _, model = converted
    betas = np.random.default_rng(2).normal(size=SHAPES).astype(np.float32)
    true = model["v_template"] + model["shapedirs"][:, :, :SHAPES].astype(np.float64) @ betas
    true -= (model["J_regressor"] @ model["v_template"])[1]
    skin = np.unique(head.faces[head.faces_of("skin", "lips")])
    error = np.linalg.norm(identity(head, betas).template - true, axis=1)[skin]
    assert len(head.shapedirs) == SHAPES and np.quantile(error, 0.8) < 1e-5  # lids are kept off the eyeballs


def test_tracked_expressions_of_flame_are_read_as_coefficients(converted, tmp_path):
    folder, _, _, _, _ = converted
    basis = read_basis(folder / "flame.head.npz")
    motion = Motion(25, np.stack([values(mouthSmileLeft=0.7, browInnerUp=0.5), values(mouthPucker=0.6)]))
    write_flame(motion, tmp_path / "take.npz", basis)
    with np.load(tmp_path / "take.npz") as file:
        arrays = {n: file[n] for n in file.files}
    assert arrays["expr"].shape == (2, 100) and "expr_names" not in arrays
    back = read_flame(tmp_path / "take.npz", basis=basis)
    assert np.abs(back.values - motion.values).max() < 0.05
    with pytest.raises(FormatError, match="no basis of expressions"):
        read_basis(tmp_path / "take.npz")


def test_gaussians_bound_to_flame_perform_from_a_file_beside_their_head(converted, tmp_path):
    folder, _, head, _, _ = converted
    rng = np.random.default_rng(0)
    n = 200
    binding_of = load_avatar(builtin_avatars()["ada"]).binding
    triangles = rng.integers(0, len(head.faces), n).astype(np.int32)
    binding = Binding(triangles, binding_of.offsets[:n], binding_of.quats_wxyz[:n], binding_of.scales[:n])
    write_bound_ply(BoundSplats(binding, np.full(n, 0.8, np.float32), rng.normal(0, 0.3, (n, 16, 3)).astype(np.float32)),
                    tmp_path / "point_cloud.ply")  # fmt: skip
    shape = rng.normal(size=(1, 300)).astype(np.float32)
    np.savez(tmp_path / "flame_param.npz", shape=shape, expr=np.zeros((3, 100)))
    where = tmp_path / "flame.head.npz"
    where.write_bytes((folder / "flame.head.npz").read_bytes())
    arguments = ["head", "import", str(tmp_path / "point_cloud.ply"), "--head", str(where)]
    assert main([*arguments, "--params", str(tmp_path / "flame_param.npz"), "-o", str(tmp_path / "me.loq")]) == 0
    who = load_performer(tmp_path / "me.loq")
    assert isinstance(who, OnOtherHead) and len(who) == n
    given = values(jawOpen=0.5, mouthSmileLeft=0.4)
    vertices = pose_vertices(identity(head, shape[0, : len(head.shapedirs)]), given)
    means, _, scales = carry(binding, vertices, head.faces)
    found = who.pose(given)
    assert np.abs(found.means - means).max() < 1e-4 and np.allclose(found.scales, scales, rtol=0.01)
    where.unlink()
    with pytest.raises(FormatError, match=r"belongs to another head.*convert-flame"):
        load_performer(tmp_path / "me.loq")


def test_the_mesh_s_own_offsets_become_part_of_where_gaussians_sit(converted, tmp_path):
    _, _, head, _, _ = converted
    rng = np.random.default_rng(1)
    b, n = load_avatar(builtin_avatars()["ada"]).binding, 300
    triangles = rng.integers(0, len(head.faces), n).astype(np.int32)
    binding = Binding(triangles, b.offsets[:n], b.quats_wxyz[:n], b.scales[:n])
    write_bound_ply(
        BoundSplats(binding, np.full(n, 0.8, np.float32), np.zeros((n, 1, 3), np.float32)), tmp_path / "a.ply"
    )
    own = np.zeros((1, len(head.template) + 120, 3), np.float32)  # GaussianAvatars adds 120 vertices of teeth
    own[0, : len(head.template)] = 0.003 * np.sin(40 * head.template[:, [1, 2, 0]])
    shape = rng.normal(size=300).astype(np.float32)
    np.savez(tmp_path / "flame_param.npz", shape=shape, static_offset=own)
    avatar, notes = read_bound(tmp_path / "a.ply", head, tmp_path / "flame_param.npz")
    assert any("static_offset" in note and "mm" in note for note in notes)
    person = identity(head, avatar.betas)
    own_mesh = replace(person, planes=person.planes + own[0, : len(head.template)].T)
    for given, most in ((values(), 2e-5), (values(jawOpen=0.5, headYaw=0.3), 2e-3)):
        wanted, _, _ = carry(binding, pose_vertices(own_mesh, given), head.faces)
        found, _, _ = carry(avatar.binding, pose_vertices(person, given), head.faces)
        # lids are kept off the eyeballs, and so move by other ways
        assert np.quantile(np.abs(found - wanted), 0.98) < most
    for wrong, says in ((own[:, :50], "expected"), (np.where(own > 0.0029, np.nan, own), "not finite")):
        np.savez(tmp_path / "flame_param.npz", shape=shape, static_offset=wrong)
        with pytest.raises(FormatError, match=f"static_offset.*{says}"):
            read_bound(tmp_path / "a.ply", head, tmp_path / "flame_param.npz")


def test_gaussians_on_teeth_that_flame_lacks_are_left_out_and_told(converted, tmp_path):
    _, _, head, _, _ = converted
    avatar = load_avatar(builtin_avatars()["ada"])
    b = avatar.binding
    binding = Binding(np.array([0, len(head.faces) + 5], np.int32), b.offsets[:2], b.quats_wxyz[:2], b.scales[:2])
    write_bound_ply(BoundSplats(binding, avatar.opacities[:2], avatar.harmonics[:2]), tmp_path / "a.ply")
    found, notes = read_bound(tmp_path / "a.ply", head)
    assert len(found) == 1 and any("teeth" in note for note in notes) and any("mean shape" in note for note in notes)
    assert main(["head", "import", str(tmp_path / "a.ply"), "-o", str(tmp_path / "a.loq")]) == 1


def test_a_bound_head_goes_out_and_comes_back_with_every_bit(tmp_path, capsys):
    out = tmp_path / "ada.ply"
    assert main(["head", "export", "ada", "--bound", "-o", str(out)]) == 0
    assert main(["head", "import", str(out), "-o", str(tmp_path / "back.loq")]) == 0
    ada, back = load_avatar(builtin_avatars()["ada"]), load_avatar(tmp_path / "back.loq")
    for field in ("triangles", "offsets", "quats_wxyz"):
        assert np.abs(getattr(ada.binding, field) - getattr(back.binding, field)).max() < 1e-3, field
    assert np.array_equal(ada.betas, back.betas) and np.abs(ada.harmonics - back.harmonics).max() < 2e-2
    with np.load(tmp_path / "ada.npz") as file:
        assert file["vertices"].shape == load_head().template.shape and np.array_equal(file["faces"], load_head().faces)
    assert "no licence" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("suffix", [".ply", ".spz"])
def test_a_motion_goes_out_as_one_file_a_frame(tmp_path, suffix):
    ada = load_avatar(builtin_avatars()["ada"])
    b = ada.binding
    few = replace(
        ada, binding=Binding(b.triangles[::40], b.offsets[::40], b.quats_wxyz[::40], b.scales[::40]),
        opacities=ada.opacities[::40], harmonics=ada.harmonics[::40],
    )  # fmt: skip
    who = performer(few)
    motion = Motion(25, np.stack([values(), values(jawOpen=0.5), values(headYaw=0.3)]))
    paths = write_sequence(who, motion, tmp_path / f"take_##{suffix}")
    assert [path.name for path in paths] == [f"take_{k:02d}{suffix}" for k in range(3)]
    for path, row in zip(paths, motion.values, strict=True):
        found, wanted = read_splats(path), pose(who, row)
        assert np.abs(found.means - wanted.means).max() < (1e-7 if suffix == ".ply" else 5e-5)
    with pytest.raises(FormatError, match="Put more #"):
        write_sequence(who, Motion(25, np.zeros((11, 65))), tmp_path / "take_#.ply")
    with pytest.raises(FormatError, match="names no sequence"):
        write_sequence(who, motion, tmp_path / "take.ply")


def test_wrong_models_are_refused_with_what_is_wrong(converted, tmp_path):
    _, _, _, _, model = converted

    def refused(match: str, **changes) -> None:
        arrays = {k: v for k, v in (model | changes).items() if v is not None}
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(FormatError, match=match):
            read_flame_model(tmp_path / "bad.npz")

    refused("weights missing", weights=None)
    refused("posedirs is", posedirs=np.zeros((5, 3, 36)))
    refused("expected 400", shapedirs=model["shapedirs"][:, :, :60])
    refused("triangles reach vertex", f=model["f"] + 100000)
    refused("not finite", v_template=model["v_template"] * np.nan)
    refused("do not sum to 1", weights=model["weights"] * 2)
    refused("expected metres", v_template=model["v_template"] * 100)
    (tmp_path / "x.obj").write_text("v 0 0 0")
    with pytest.raises(FormatError, match="expected a FLAME model"):
        read_flame_model(tmp_path / "x.obj")
    broken = dict(np.load(converted[0] / "flame.head.npz"))
    del broken["part_starts"]
    write_head(broken, tmp_path / "broken.head.npz")
    from loquent.core.errors import AssetError

    with pytest.raises(AssetError, match="is damaged"):
        load_head(tmp_path / "broken.head.npz")
    eyeless = model | {"weights": np.eye(5, dtype=np.float32)[np.ones(len(model["weights"]), int)]}
    with pytest.raises(FormatError, match="eyeball was not found"):
        flame_convert._eyes(eyeless["weights"], model["f"].astype(int))
    save_avatar(load_avatar(builtin_avatars()["ada"]), tmp_path / "a.loq")
    assert not isinstance(load_performer(tmp_path / "a.loq"), OnOtherHead)
