# SPDX-License-Identifier: GPL-3.0-or-later
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from loquent.core.prior.diffusion import SIGMA_MAX, SPREAD, denoiser, precondition, sigmas
from loquent.core.prior.sampling import SAMPLERS, euler, guided, heun, multistep

CENTRE = np.linspace(-1, 1, 5)


def gaussian(x: Any, sigma: float) -> Any:
    """The best denoiser of data around CENTRE with SPREAD: known in closed form."""
    return CENTRE + SPREAD**2 / (SPREAD**2 + sigma**2) * (x - CENTRE)


def exact(x: np.ndarray) -> np.ndarray:
    """Where the probability flow of that data takes x from SIGMA_MAX to 0."""
    return CENTRE + SPREAD / np.sqrt(SPREAD**2 + SIGMA_MAX**2) * (x - CENTRE)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_ends_where_the_flow_of_gaussian_data_ends(name):
    x = CENTRE + SIGMA_MAX * np.random.default_rng(0).normal(size=(400, 5))
    errors = [np.abs(SAMPLERS[name](gaussian, x, sigmas(n)) - exact(x)).mean() for n in (4, 16, 64)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.02


def test_second_order_is_nearer_than_first():
    x = CENTRE + SIGMA_MAX * np.random.default_rng(1).normal(size=(400, 5))
    first, second, third = (
        np.abs(f(gaussian, x, sigmas(n)) - exact(x)).mean() for f, n in ((euler, 16), (multistep, 16), (heun, 16))
    )
    assert second < 0.5 * first and third < 0.5 * first


def test_samples_have_the_mean_and_deviation_of_the_data():
    x = CENTRE + np.hypot(SIGMA_MAX, SPREAD) * np.random.default_rng(2).normal(size=(20000, 5))
    found = multistep(gaussian, x, sigmas(16))
    assert np.allclose(found.mean(0), CENTRE, atol=0.03) and np.allclose(found.std(0), SPREAD, rtol=0.05)


def test_one_step_is_the_answer_of_the_network_alone():
    x = np.random.default_rng(3).normal(size=(3, 5))
    for sampler in (euler, heun, multistep):
        assert np.allclose(sampler(gaussian, x, sigmas(1)), gaussian(x, SIGMA_MAX))


@pytest.mark.parametrize("name", SAMPLERS)
def test_arrays_of_torch_and_numpy_are_sampled_alike(name):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(4).normal(size=(2, 7, 5))

    def network(x: Any, number: float) -> Any:
        return 0.3 * x - 0.1 * number

    found = SAMPLERS[name](denoiser(network), x, sigmas(6))
    assert np.allclose(SAMPLERS[name](denoiser(network), torch.from_numpy(x), sigmas(6)).numpy(), found, atol=1e-12)


def test_guidance_of_one_is_none_and_of_two_goes_twice_as_far():
    def heard(x, sigma):
        return x + 1

    def unheard(x, sigma):
        return x

    assert guided(heard, unheard, 1) is heard
    assert guided(heard, unheard, 2)(0.0, 1.0) == 2


def test_noise_levels_fall_to_nothing():
    for steps in (1, 2, 4, 8, 50):
        found = sigmas(steps)
        assert len(found) == steps + 1 and found[0] == pytest.approx(SIGMA_MAX) and found[-1] == 0
        assert all(a > b for a, b in pairwise(found))


def test_preconditioning_keeps_every_level_at_unit_deviation():
    """Karras et al. 2022, appendix B.6: what enters the network and what it must answer with both have variance 1."""
    rng = np.random.default_rng(5)
    clean = SPREAD * rng.normal(size=200000)
    for sigma in (0.02, 0.3, 1.0, 4.0):
        skip, out, into, number = precondition(sigma)
        noisy = clean + sigma * rng.normal(size=clean.shape)
        assert (into * noisy).std() == pytest.approx(1, rel=0.02)
        assert ((clean - skip * noisy) / out).std() == pytest.approx(1, rel=0.02)
        assert number == pytest.approx(np.log(sigma) / 4)


def test_preconditioning_of_arrays_is_that_of_their_numbers():
    torch = pytest.importorskip("torch")
    levels = np.array([0.05, 0.7, 3.0])
    for array in (levels, torch.from_numpy(levels)):
        for many, one in zip(precondition(array), zip(*map(precondition, levels.tolist()), strict=True), strict=True):
            assert np.allclose(np.asarray(many), one)
