import numpy as np
import torch
from scipy import stats

from sparseshift.probability import gaussian

RNG = np.random.default_rng(0)
VALUES, MEAN, LOG_SCALE = (RNG.normal(size=shape) for shape in ((3, 4), (5, 3, 4), (4,)))


def test_it_is_scipys_also_with_particles_in_front() -> None:
    expected = stats.norm.logpdf(VALUES, MEAN, np.exp(LOG_SCALE)).sum(-1)
    args = (torch.from_numpy(a) for a in (VALUES, MEAN, LOG_SCALE))
    np.testing.assert_allclose(gaussian.log_prob(*args), expected, rtol=1e-12)


def test_gradients() -> None:
    values, mean, log_scale = (torch.from_numpy(a) for a in (VALUES, MEAN[0], LOG_SCALE))
    assert torch.autograd.gradcheck(
        lambda m, s: gaussian.log_prob(values, m, s),
        (mean.requires_grad_(), log_scale.requires_grad_()),
    )


def test_sample_moments() -> None:
    n = 40_000
    mean, scale = np.array([-3.0, 0.0, 5.0]), np.array([0.1, 1.0, 7.0])
    drawn = gaussian.sample(
        torch.from_numpy(mean).expand(n, 3),
        torch.from_numpy(np.log(scale)),
        torch.Generator().manual_seed(0),
    ).numpy()
    np.testing.assert_array_less(np.abs(drawn.mean(0) - mean), 5.0 * scale / np.sqrt(n))
    np.testing.assert_allclose(drawn.std(0), scale, rtol=0.03)
