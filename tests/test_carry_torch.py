# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from loquent.core.geometry.rotations import quat_wxyz_to_matrix  # noqa: E402
from loquent.core.splats.binding import Binding, carry  # noqa: E402
from loquent.core.splats.carry_torch import carry_torch  # noqa: E402
from tests.random_mesh import mesh_and_binding  # noqa: E402


def carried(points, faces, binding, dtype=torch.float32):
    tensors = [torch.tensor(x, dtype=dtype) for x in (binding.offsets, binding.quats_wxyz, binding.scales, points)]
    *local, vertices = [x.requires_grad_() for x in tensors]
    triangles, corners = torch.tensor(binding.triangles).long(), torch.tensor(faces).long()
    return tensors, carry_torch(triangles, *local, vertices, corners)


@pytest.mark.parametrize("seed", range(8))
def test_torch_carries_gaussians_to_where_the_product_does(seed):
    points, faces, binding = mesh_and_binding(seed)
    want = carry(binding, points, faces)
    got = [x.detach().numpy() for x in carried(points, faces, binding)[1]]
    np.testing.assert_allclose(got[0], want[0], atol=2e-6)
    np.testing.assert_allclose(quat_wxyz_to_matrix(got[1]), quat_wxyz_to_matrix(want[1]), atol=2e-4)
    np.testing.assert_allclose(got[2], want[2], rtol=2e-5, atol=1e-8)


def test_gradients_agree_with_central_differences_in_local_values_and_vertices():
    points, faces, binding = mesh_and_binding(3, count=80)
    rng = np.random.default_rng(1)
    pulls = [torch.tensor(rng.normal(size=(80, k))) for k in (3, 4, 3)]

    def value(at):
        offsets, quats, scales, vertices = at
        out = carry_torch(
            torch.tensor(binding.triangles).long(), offsets, quats, scales, vertices, torch.tensor(faces).long()
        )
        return sum((a * b).sum() for a, b in zip(out, pulls, strict=True))

    tensors, _ = carried(points, faces, binding, torch.float64)
    value(tensors).backward()
    for number, tensor in enumerate(tensors):
        for _ in range(6):
            direction = torch.tensor(rng.normal(size=tensor.shape))
            step = 1e-7 * direction
            with torch.no_grad():
                ends = [
                    value([t + sign * step if i == number else t for i, t in enumerate(tensors)]) for sign in (1, -1)
                ]
            slope = float((ends[0] - ends[1]) / 2e-7)
            assert float((tensor.grad * direction).sum()) == pytest.approx(slope, rel=2e-4, abs=1e-5), number


def test_triangles_without_area_give_finite_gaussians_and_gradients():
    points = np.zeros((5, 3), np.float32)
    points[1, 0], points[2, 0] = 1, 2
    faces = np.array([[0, 0, 0], [0, 1, 2], [0, 1, 1], [3, 4, 3]], np.int32)
    ones = np.ones((4, 3), np.float32)
    binding = Binding(np.arange(4, dtype=np.int32), ones, np.eye(4, dtype=np.float32), ones)
    tensors, out = carried(points, faces, binding)
    for got, want in zip(out, carry(binding, points, faces), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), want, atol=1e-6)
    sum(x.sum() for x in out).backward()
    assert all(torch.isfinite(t.grad).all() for t in tensors)


def test_frozen_vertices_ask_for_no_gradient():
    points, faces, binding = mesh_and_binding()
    offsets = torch.tensor(binding.offsets, requires_grad=True)
    means, quats, _ = carry_torch(
        torch.tensor(binding.triangles).long(), offsets, torch.tensor(binding.quats_wxyz), torch.tensor(binding.scales),
        torch.tensor(points), torch.tensor(faces).long(),
    )  # fmt: skip
    assert means.requires_grad and not quats.requires_grad
