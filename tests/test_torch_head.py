# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from loquent.core.adapt.torch_head import TorchHead  # noqa: E402
from loquent.core.head.head import identity, load_head, pose_vertices  # noqa: E402
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX  # noqa: E402


def some_values(rng, count):
    values = np.zeros((count, len(CHANNELS)), np.float32)
    values[:, : len(ARKIT)] = rng.uniform(0, 1, (count, len(ARKIT))) * (rng.random((count, len(ARKIT))) < 0.3)
    values[:, len(ARKIT) :] = rng.normal(0, 0.15, (count, len(CHANNELS) - len(ARKIT)))
    return values


@pytest.mark.parametrize("seed", range(3))
def test_the_torch_head_stands_where_the_products_head_stands(seed):
    rng = np.random.default_rng(seed)
    head = load_head()
    betas = rng.normal(0, 1, len(head.shapedirs)).astype(np.float32)
    values = some_values(rng, 4)
    want = pose_vertices(identity(head, betas), values)
    twin = TorchHead(head)
    person = twin.identity(torch.tensor(betas))
    np.testing.assert_allclose(twin.vertices(person, torch.tensor(values)).numpy(), want, atol=1e-5)
    np.testing.assert_allclose(twin.vertices(person, torch.tensor(values[1])).numpy(), want[1], atol=1e-5)


def test_a_blink_and_a_closed_mouth_stand_where_the_products_do():
    head = load_head()
    values = np.zeros(len(CHANNELS), np.float32)
    for name, value in (("eyeBlinkLeft", 1), ("eyeBlinkRight", 0.6), ("jawOpen", 0.5), ("mouthClose", 0.9)):
        values[INDEX[name]] = value
    twin = TorchHead(head)
    got = twin.vertices(twin.identity(torch.zeros(len(head.shapedirs))), torch.tensor(values)).numpy()
    np.testing.assert_allclose(got, pose_vertices(identity(head), values), atol=1e-5)


def test_gradients_to_channels_and_identity_agree_with_differences():
    rng = np.random.default_rng(5)
    head = load_head()
    twin = TorchHead(head)
    values = torch.tensor(some_values(rng, 1)[0], requires_grad=True)
    betas = torch.tensor(rng.normal(0, 0.5, len(head.shapedirs)), dtype=torch.float32, requires_grad=True)
    pull = torch.tensor(rng.normal(0, 1, head.template.shape), dtype=torch.float32)

    def value(v, b):
        return (twin.vertices(twin.identity(b), v).double() * pull).sum()

    value(values, betas).backward()
    with torch.no_grad():
        for name in ("jawOpen", "mouthSmileLeft", "headYaw", "neckPitch", "headX", "gazeYaw", "mouthPucker"):
            step = torch.zeros(len(CHANNELS))
            step[INDEX[name]] = 2e-3
            slope = float(value(values + step, betas) - value(values - step, betas)) / 4e-3
            assert float(values.grad[INDEX[name]]) == pytest.approx(slope, rel=2e-2, abs=2e-3), name
        for k in (0, 3, 17):
            step = torch.zeros(len(betas))
            step[k] = 5e-3
            slope = float(value(values, betas + step) - value(values, betas - step)) / 1e-2
            assert float(betas.grad[k]) == pytest.approx(slope, rel=3e-2, abs=3e-3), k
