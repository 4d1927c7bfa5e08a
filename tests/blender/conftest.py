# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender as a Python module, the extension registered, and a head of 400 Gaussians to try things on."""

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import loquent  # noqa: E402
from loquent.core.geometry.triangles import triangle_frames  # noqa: E402
from loquent.core.head.head import identity, load_head  # noqa: E402
from loquent.core.splats.avatar import Avatar, save_avatar  # noqa: E402
from loquent.core.splats.binding import Binding  # noqa: E402


@pytest.fixture(scope="session")
def registered():
    loquent.register()
    yield loquent
    loquent.unregister()


@pytest.fixture
def scene(registered):
    """A new, empty file: 96 x 64 pixels, our engine, nothing in it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "LOQUENT"
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    return scene


@pytest.fixture(scope="session")
def tiny_avatar():
    """400 Gaussians of known, varied colour on the skin of the built-in head."""
    rng = np.random.default_rng(5)
    head = load_head()
    person = identity(head)
    skin = np.flatnonzero((head.faces < head.parts["skin"].stop).all(1))
    triangles = np.sort(rng.choice(skin, 400)).astype(np.int32)
    sizes = triangle_frames(person.template, head.faces)[2][triangles]
    quats = rng.normal(size=(400, 4)).astype(np.float32)
    harmonics = rng.normal(size=(400, 9, 3)).astype(np.float32) * 0.3
    harmonics[:, 0] += 0.5
    return Avatar(
        name="tiny",
        head_id=head.head_id,
        betas=np.zeros(1, np.float32),
        binding=Binding(
            triangles,
            rng.normal(size=(400, 3)).astype(np.float32) * 0.2,
            quats / np.linalg.norm(quats, axis=1, keepdims=True),
            (np.exp(rng.normal(size=(400, 3)) * 0.4) * 0.009 / sizes[:, None]).astype(np.float32),
        ),
        opacities=rng.uniform(0.3, 1, 400).astype(np.float32),
        harmonics=harmonics,
    )


@pytest.fixture(scope="session")
def tiny(tiny_avatar, tmp_path_factory):
    """The same as a file; the path as text."""
    path = tmp_path_factory.mktemp("avatars") / "tiny.loq"
    save_avatar(tiny_avatar, path)
    return str(path)


@pytest.fixture
def head(scene, tiny):
    """The tiny head in the scene with a close-up camera, selected and active."""
    from loquent.addon.scene import build_head_object, setup_scene

    ob = build_head_object(scene, tiny)
    setup_scene(scene, ob)
    ob.select_set(True)
    bpy.context.view_layer.objects.active = ob
    return ob


@pytest.fixture(scope="session")
def other(tiny_avatar, tmp_path_factory):
    """A second avatar file, of other colours."""
    path = tmp_path_factory.mktemp("avatars") / "other.loq"
    save_avatar(replace(tiny_avatar, name="other", harmonics=-tiny_avatar.harmonics), path)
    return str(path)
