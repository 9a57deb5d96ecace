import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import special

from sparseshift.probability.bounds import ElboTerms, iwelbo


@pytest.mark.parametrize("n_particles", [1, 2, 1000])
def test_iwelbo_of_equal_weights_is_their_log(n_particles: int) -> None:
    level = torch.tensor([-1234.5, 0.0, 80.0], dtype=torch.float64)
    bound = iwelbo(level.expand(n_particles, 3))
    torch.testing.assert_close(bound, level, rtol=1e-12, atol=1e-10)


def test_iwelbo_is_the_log_of_the_mean_weight() -> None:
    log_w = np.random.default_rng(0).normal(-3000.0, 4.0, size=(50, 7))
    expected = special.logsumexp(log_w, axis=0) - np.log(50)
    np.testing.assert_allclose(iwelbo(torch.from_numpy(log_w)), expected, rtol=1e-12)


def test_iwelbo_is_at_least_the_elbo_of_the_same_draws() -> None:
    log_w = torch.from_numpy(np.random.default_rng(0).standard_cauchy(size=(20, 200)))
    assert (log_w.mean(0) <= iwelbo(log_w) + 1e-12).all()


def test_iwelbo_rises_with_particles_towards_the_log_likelihood() -> None:
    # weights exp(N(-1/2, 1)) have mean one: log p = 0, and E[log w] = -1/2
    log_w = torch.from_numpy(np.random.default_rng(0).normal(-0.5, 1.0, size=(256, 20_000)))
    expected = [iwelbo(log_w[:k]).mean().item() for k in (1, 2, 4, 16, 64, 256)]
    assert expected[0] == pytest.approx(-0.5, abs=0.03)
    assert all(a < b for a, b in pairwise(expected))
    assert -0.01 < expected[-1] < 0.005


def test_negative_elbo_adds_up() -> None:
    terms = ElboTerms(torch.tensor([-10.0, -20.0]), torch.tensor([1.0, 3.0]), torch.tensor(50.0))
    assert terms.negative_elbo(100).item() == pytest.approx(15.0 + 2.0 + 0.5)
    assert terms.negative_elbo(100, kl_weight=0.0).item() == pytest.approx(15.0)
    assert terms.negative_elbo(100, kl_weight=0.3).item() == pytest.approx(15.0 + 0.3 * 2.5)
    assert math.isnan(
        ElboTerms(torch.tensor([math.nan]), torch.tensor([0.0]), torch.tensor(0.0))
        .negative_elbo(1)
        .item()
    )
