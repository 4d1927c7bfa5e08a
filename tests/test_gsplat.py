# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser against gsplat's own reference code in torch, where gsplat is installed (pip install gsplat==1.5.3).

gsplat has no CPU kernels: its reference leaves two steps to CUDA, the lists of Gaussians that reach each pixel and the
compositing of lists (nerfacc). Both are written here in plain torch, so this is gsplat's projection, harmonics, tiles
and alpha, and the textbook's compositing.
"""

import math
import sys
import types

import numpy as np
import pytest

from loquent.core.geometry.cameras import look_at
from loquent.core.splats import native

torch = pytest.importorskip("torch")
pytest.importorskip("gsplat")
pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")

WIDTH, HEIGHT, TILE, BACKGROUND = 200, 152, 16, (0.1, 0.4, 0.2)


def pixel_lists(begin, end, light, centres, conics, opacities, width, height, tile, offsets, ids):
    """gsplat's rasterize_to_indices_in_range: (Gaussian, pixel, image) of the blocks begin ... end - 1 of each tile."""
    rows, columns = offsets.shape[-2:]
    starts, block = [*offsets.reshape(-1).tolist(), len(ids)], tile * tile
    light, gaussians, pixels = light.reshape(height, width), [], []
    for k in range(rows * columns):
        first, last = starts[k] + begin * block, min(starts[k + 1], starts[k] + end * block)
        if first >= last:
            continue
        here, top, left = ids[first:last].long(), k // columns * tile, k % columns * tile
        y, x = torch.meshgrid(
            torch.arange(top, min(height, top + tile)), torch.arange(left, min(width, left + tile)), indexing="ij"
        )
        x, y = x.reshape(-1), y.reshape(-1)
        d = centres[0, here][:, None] - torch.stack([x, y], -1)[None].to(centres) - 0.5
        a, b, c = conics[0, here][:, None].unbind(-1)
        sigma = 0.5 * (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) + b * d[..., 0] * d[..., 1]
        alpha = (opacities[0, here][:, None] * torch.exp(-sigma)).clamp_max(0.999)
        seen = (sigma >= 0) & (alpha >= 1 / 255)
        after = light[y, x] * torch.cumprod(torch.where(seen, 1 - alpha, 1), 0)
        pixel, gaussian = torch.nonzero((seen & (after > 1e-4)).T, as_tuple=True)
        gaussians.append(here[gaussian])
        pixels.append(y[pixel] * width + x[pixel])
    if not gaussians:
        return (torch.zeros(0, dtype=torch.long),) * 3
    gaussians, pixels = torch.cat(gaussians), torch.cat(pixels)
    order = torch.argsort(pixels, stable=True)
    return gaussians[order], pixels[order], torch.zeros_like(order)


def weights_of_lists(alphas, ray_indices, n_rays, **_):
    """nerfacc's render_weight_from_alpha: alpha times the product of what came before in the same pixel."""
    logs = torch.log1p(-alphas.double())
    before = torch.cumsum(logs, 0) - logs
    first = torch.ones_like(ray_indices, dtype=torch.bool)
    first[1:] = ray_indices[1:] != ray_indices[:-1]
    light = torch.exp(before - before[first][torch.cumsum(first.long(), 0) - 1]).to(alphas.dtype)
    return alphas * light, light


def sums_of_lists(weights, values, ray_indices, n_rays):
    """nerfacc's accumulate_along_rays."""
    terms = weights[:, None] * (1 if values is None else values)
    return torch.zeros(n_rays, terms.shape[1]).index_add(0, ray_indices, terms)


def reference(means, quats, scales, opacities, harmonics, matrix, K, background, antialiased):
    """Colour (H, W, 3 or any), alpha (H, W) by gsplat's torch code."""
    from gsplat.cuda import _torch_impl as impl

    covariances, _ = impl._quat_scale_to_covar_preci(quats, scales, True, False)
    radii, centres, depths, conics, strength = impl._fully_fused_projection(
        means, covariances, matrix[None], K[None], WIDTH, HEIGHT, eps2d=0.3, calc_compensations=antialiased
    )
    position = torch.inverse(matrix)[:3, 3]
    colours = (impl._spherical_harmonics(3, means - position, harmonics) + 0.5).clamp_min(0)[None]
    opacities = opacities[None] * strength if antialiased else opacities[None]
    radii = radii * (opacities >= 1 / 255)[..., None]  # as the CUDA projection does
    columns, rows = math.ceil(WIDTH / TILE), math.ceil(HEIGHT / TILE)
    _, keys, ids = impl._isect_tiles(centres, radii, depths, TILE, columns, rows)
    offsets = impl._isect_offset_encode(keys, 1, columns, rows)
    colour, alpha = impl._rasterize_to_pixels(
        centres, conics, colours, opacities, WIDTH, HEIGHT, TILE, offsets, ids, backgrounds=background
    )
    return colour[0], alpha[0, ..., 0]


@pytest.fixture
def stand_ins(monkeypatch):
    import gsplat.cuda._wrapper as wrapper

    nerfacc = types.ModuleType("nerfacc")
    nerfacc.render_weight_from_alpha, nerfacc.accumulate_along_rays = weights_of_lists, sums_of_lists
    monkeypatch.setitem(sys.modules, "nerfacc", nerfacc)
    monkeypatch.setattr(wrapper, "rasterize_to_indices_in_range", pixel_lists)


@pytest.mark.parametrize("antialiased", [False, True])
def test_pictures_and_gradients_agree_with_gsplat(stand_ins, antialiased):
    from loquent.core.splats.differentiable import rasterize_torch

    rng, n = np.random.default_rng(0), 3000
    opacities = np.where(rng.random(n) < 0.6, rng.uniform(0.9, 0.999, n), rng.uniform(0.005, 0.9, n))
    arrays = (
        rng.normal(0, 0.06, (n, 3)), rng.normal(size=(n, 4)), rng.uniform(1e-3, 1e-2, (n, 3)), opacities,
        rng.normal(0, 0.3, (n, 16, 3)),
    )  # fmt: skip
    view = look_at((0.2, 0.1, 0.6), (0, 0, 0), fov_y=0.5, width=WIDTH, height=HEIGHT)
    matrix, K = (torch.tensor(np.asarray(m, np.float32)) for m in (view.world_to_camera, view.K))
    slopes = [torch.from_numpy(rng.normal(size=(HEIGHT, WIDTH, *rest)).astype(np.float32)) for rest in ((3,), ())]
    pictures, gradients = [], []
    for ours in (False, True):
        leaves = [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in arrays]
        pose = matrix.clone().requires_grad_()
        if ours:
            out = rasterize_torch(*leaves, pose, K, WIDTH, HEIGHT, BACKGROUND, antialiased=antialiased)
        else:
            out = reference(*leaves, pose, K, torch.tensor([BACKGROUND]), antialiased)
        sum((o * s).sum() for o, s in zip(out, slopes, strict=True)).backward()
        pictures.append([o.detach().numpy() for o in out])
        # gsplat's camera position is that of the inverse matrix, ours -R^T t: equal for rigid motions only, so the
        # camera's gradient is compared along these, by its turn about three axes and its shift
        g, M = pose.grad.numpy()[:3].astype(float), matrix.numpy()[:3].astype(float)
        torque = np.cross(M.T, g.T).sum(0)
        gradients.append([*(leaf.grad.numpy() for leaf in leaves), np.concatenate([torque, g[:, 3]])])
    # but for a few pixels: rounding decides what happens at alpha = 1/255 and at a transmittance of 1e-4
    errors = [np.sort(np.abs(a - b).ravel()) for a, b in zip(*pictures, strict=True)]
    exact, worst = [float(e[-10]) for e in errors], [float(e[-1]) for e in errors]
    relative = [float(np.linalg.norm(b - a) / np.linalg.norm(a)) for a, b in zip(*gradients, strict=True)]
    limit = 1e-5 if "avx2" in native.kernel_names() else 5e-5
    assert max(exact) < limit, (exact, worst)
    assert max(worst) < 4e-3, worst
    assert max(relative) < 5e-5, relative
