# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from loquent.core.adapt.gaussian_head import GaussianHead, bounds_by_region, dc_of  # noqa: E402
from loquent.core.geometry.cameras import look_at  # noqa: E402
from loquent.core.head.head import identity, load_head, pose_vertices  # noqa: E402
from loquent.core.head.motion import CHANNELS, INDEX  # noqa: E402
from loquent.core.splats import native  # noqa: E402
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose  # noqa: E402
from loquent.core.splats.binding import Binding  # noqa: E402
from loquent.core.splats.rasterize import rasterize  # noqa: E402

pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")
CAMERA = look_at((0.05, 0.03, 0.75), (0, 0.02, 0), width=96, height=96)


def ada(count=6000, seed=0):
    avatar = load_avatar(builtin_avatars()["ada"])
    which = np.sort(np.random.default_rng(seed).choice(len(avatar), count, replace=False))
    b = avatar.binding
    binding = Binding(b.triangles[which], b.offsets[which], b.quats_wxyz[which], b.scales[which])
    return replace(
        avatar,
        binding=binding,
        opacities=avatar.opacities[which].clip(0.05, 0.99),
        harmonics=avatar.harmonics[which, :1],
    )


def module_of(avatar):
    return GaussianHead(load_head(), avatar.betas, avatar.binding, avatar.opacities, avatar.harmonics)


def values():
    out = np.zeros(len(CHANNELS), np.float32)
    out[[INDEX["jawOpen"], INDEX["headYaw"], INDEX["mouthSmileLeft"]]] = 0.5, 0.3, 0.4
    return out


def test_a_fresh_head_draws_what_the_avatar_it_began_with_draws():
    avatar = ada()
    vertices = pose_vertices(identity(load_head(), avatar.betas), values())
    with torch.no_grad():
        colour, alpha = module_of(avatar).draw(vertices, CAMERA)
    want = rasterize(pose(performer(avatar), values()), CAMERA)
    np.testing.assert_allclose(colour.numpy(), want.colour, atol=2e-4)
    np.testing.assert_allclose(alpha.numpy(), want.alpha, atol=2e-4)


def test_its_avatar_is_posed_as_it_is_drawn_and_leaves_out_what_is_transparent():
    module = module_of(ada())
    with torch.no_grad():
        for parameter in (module.wander, module.turn, module.size, module.dc):
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        module.logit[:500] = -9
    avatar = module.avatar("Somebody", {"licence": "none"})
    assert len(avatar) == len(module) - 500 and (np.diff(avatar.binding.triangles) >= 0).all()
    vertices = pose_vertices(identity(load_head(), avatar.betas), values())
    with torch.no_grad():
        colour, _ = module.draw(vertices, CAMERA)
    want = rasterize(pose(performer(avatar), values()), CAMERA)
    np.testing.assert_allclose(want.colour, colour.numpy(), atol=5e-3)


def test_no_step_however_large_takes_a_gaussian_out_of_its_bounds():
    avatar = ada(500)
    module = module_of(avatar)
    bounds = bounds_by_region(load_head(), avatar.binding.triangles)
    with torch.no_grad():
        for parameter in (module.wander, module.turn, module.size):
            parameter += 1e4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
        sizes = module.start_sizes.numpy()
        found = module.binding()
    moved = np.abs(found.offsets - avatar.binding.offsets) * sizes[:, None]
    assert (moved <= bounds.reach[:, None] * 1.001).all()
    grown = found.scales / avatar.binding.scales
    assert grown.max() <= bounds.grow.max() * 1.001 and grown.min() >= bounds.shrink.min() * 0.999


def test_a_few_steps_bring_the_picture_closer():
    avatar = ada(3000)
    vertices = pose_vertices(identity(load_head(), avatar.betas), values())
    want = torch.from_numpy(rasterize(pose(performer(avatar), values()), CAMERA).colour)
    grey = replace(avatar, harmonics=dc_of(np.full((len(avatar), 3), 0.3)))
    module = module_of(grey)
    optimiser = torch.optim.Adam(module.rates(3.0))
    losses = []
    for _ in range(25):
        loss = (module.draw(vertices, CAMERA)[0] - want).abs().mean() + 1e-3 * module.pull()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
