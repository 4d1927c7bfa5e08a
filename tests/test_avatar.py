# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest

from loquent.core import checkpoint
from loquent.core.errors import FormatError
from loquent.core.geometry.cameras import look_at
from loquent.core.head.head import load_head
from loquent.core.head.motion import CHANNELS, INDEX, Motion
from loquent.core.splats import avatar as module
from loquent.core.splats.avatar import Avatar, find_avatar, load_avatar, performer, pose, save_avatar
from loquent.core.splats.binding import Binding
from loquent.core.splats.plate import Plate

HEAD = load_head()
REST = np.zeros(len(CHANNELS), np.float32)


def small_avatar(count: int = 40, seed: int = 0) -> Avatar:
    rng = np.random.default_rng(seed)
    binding = Binding(
        triangles=rng.integers(0, len(HEAD.faces), count).astype(np.int32),
        offsets=rng.normal(0, 0.3, (count, 3)).astype(np.float32),
        quats_wxyz=rng.normal(0, 1, (count, 4)).astype(np.float32),
        scales=rng.uniform(0.05, 0.9, (count, 3)).astype(np.float32),
    )
    return Avatar(
        name="Zoë", head_id=HEAD.head_id, betas=np.zeros(len(HEAD.shapedirs), np.float32), binding=binding,
        opacities=rng.random(count).astype(np.float32), harmonics=rng.normal(0, 1, (count, 4, 3)).astype(np.float32),
        about={"licence": "CC0-1.0", "consent": "invented person"},
        thumbnail=rng.integers(0, 255, (8, 6, 4), dtype=np.uint8),
    )  # fmt: skip


def test_an_avatar_comes_back_from_its_file(tmp_path):
    avatar = small_avatar()
    save_avatar(avatar, tmp_path / "zoë.loq")
    back = load_avatar(tmp_path / "zoë.loq")
    assert (back.name, back.head_id, back.about) == (avatar.name, avatar.head_id, avatar.about)
    assert np.array_equal(back.binding.triangles, avatar.binding.triangles)
    assert np.array_equal(back.thumbnail, avatar.thumbnail)
    assert np.allclose(back.binding.offsets, avatar.binding.offsets, atol=1e-3)
    assert np.allclose(back.binding.scales, avatar.binding.scales, rtol=2e-3)
    assert np.allclose(back.opacities, avatar.opacities, atol=0.5 / 255 + 1e-6)
    assert np.allclose(back.harmonics, avatar.harmonics, atol=2e-3)


def test_saving_what_was_loaded_changes_nothing_more(tmp_path):
    save_avatar(small_avatar(), tmp_path / "a.loq")
    save_avatar(load_avatar(tmp_path / "a.loq"), tmp_path / "b.loq")
    first, second = load_avatar(tmp_path / "a.loq"), load_avatar(tmp_path / "b.loq")
    for name in ("triangles", "offsets", "scales"):
        assert np.array_equal(getattr(first.binding, name), getattr(second.binding, name)), name
    assert np.allclose(first.binding.quats_wxyz, second.binding.quats_wxyz, atol=1e-3)


def test_a_head_keeps_what_its_film_looked_like(tmp_path):
    values = np.random.default_rng(1).uniform(-1, 1, (5, len(CHANNELS))).astype(np.float32)
    camera = look_at((0, 0, 0.8), (0, 0, 0), width=45, height=30)
    save_avatar(replace(small_avatar(), plate=Plate(camera, Motion(29.97, values), "a.mp4")), tmp_path / "a.loq")
    back = load_avatar(tmp_path / "a.loq").plate
    assert back is not None and (back.size, back.source, back.motion.fps) == ((45, 30), "a.mp4", 29.97)
    assert np.allclose(back.camera.K, camera.K) and np.allclose(back.camera.world_to_camera, camera.world_to_camera)
    assert np.allclose(back.motion.values, values, atol=1e-3)
    arrays, header = checkpoint.read(tmp_path / "a.loq", format=module.FORMAT, version=module.VERSION)
    for wrong in ({"size": [0, 5]}, {"K": [[1]]}, {"channels": []}, {"fps": "fast"}, {"K": [[0] * 3] * 3}):
        checkpoint.write(tmp_path / "b.loq", arrays, header | {"plate": header["plate"] | wrong})
        with pytest.raises(FormatError, match="what it tells of its film is damaged"):
            load_avatar(tmp_path / "b.loq")


def test_turning_the_head_carries_the_gaussians_rigidly():
    actor = performer(small_avatar())
    turned = REST.copy()
    turned[INDEX["neckYaw"]] = 0.4
    still, moved = pose(actor, REST), pose(actor, turned)
    between = np.linalg.norm(still.means[:, None] - still.means[None], axis=-1)
    assert np.allclose(np.linalg.norm(moved.means[:, None] - moved.means[None], axis=-1), between, atol=1e-5)
    assert not np.allclose(still.means, moved.means, atol=1e-3)
    assert np.allclose(still.scales, moved.scales, rtol=1e-4)


@pytest.mark.parametrize("keep", [10, 300, -40])
def test_a_truncated_avatar_says_so(tmp_path, keep):
    path = tmp_path / "cut.loq"
    save_avatar(small_avatar(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="cannot be read as a Loquent avatar file"):
        load_avatar(path)


def test_a_foreign_file_and_a_newer_one_are_told_apart(tmp_path):
    (tmp_path / "picture.loq").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(FormatError, match="damaged, cut short, or something else"):
        load_avatar(tmp_path / "picture.loq")
    checkpoint.write(tmp_path / "new.loq", {"a": np.zeros(1)}, {"format": module.FORMAT, "version": module.VERSION + 1})
    with pytest.raises(FormatError, match="Update Loquent"):
        load_avatar(tmp_path / "new.loq")


def test_an_avatar_with_a_missing_or_misshapen_array_is_called_damaged(tmp_path):
    save_avatar(small_avatar(), tmp_path / "whole.loq")
    arrays, header = checkpoint.read(tmp_path / "whole.loq", format=module.FORMAT, version=module.VERSION)
    for name, broken in (("offsets", np.zeros((3, 3))), ("harmonics", np.zeros((40, 5, 3))), ("opacities", None)):
        bad = {**arrays, name: broken}
        checkpoint.write(tmp_path / "bad.loq", {k: v for k, v in bad.items() if v is not None}, header)
        with pytest.raises(FormatError, match=f"'{name}' is .*The file is damaged"):
            load_avatar(tmp_path / "bad.loq")


def test_an_avatar_of_another_head_names_both():
    with pytest.raises(FormatError, match=f"made for head 'other'; this Loquent has '{HEAD.head_id}'"):
        performer(replace(small_avatar(), head_id="other"))


def test_a_triangle_that_the_head_does_not_have_is_refused():
    avatar = small_avatar()
    avatar.binding.triangles[3] = len(HEAD.faces)
    with pytest.raises(FormatError, match=f"bound to triangle {len(HEAD.faces)}; its head has {len(HEAD.faces)}"):
        performer(avatar)


def test_an_unknown_head_lists_the_built_in_ones():
    with pytest.raises(FormatError, match=r"There is no head 'eve': expected one of ada, bruno or the path of a \.loq"):
        find_avatar("eve")
