import numpy as np
import pytest
from scipy.stats import pearsonr

from sparseshift.evaluation.average_effects import pearson_r
from sparseshift.evaluation.delta_against_mean import delta_against_mean

RNG = np.random.default_rng(0)
PREDICTED, OBSERVED = RNG.normal(size=(2, 6, 40))
MEAN = RNG.normal(size=40)


def test_it_is_scipys_r_of_the_differences() -> None:
    genes = RNG.random((6, 40)) < 0.5
    found = delta_against_mean(PREDICTED, OBSERVED, MEAN, MEAN + 0.1, genes)
    for p, g in enumerate(genes):
        expected = pearsonr(PREDICTED[p, g] - MEAN[g], OBSERVED[p, g] - MEAN[g]).statistic
        assert found[p] == pytest.approx(expected)


def test_the_control_cancels_where_each_side_takes_its_own() -> None:
    """Effects against noisy control halves give what profiles against the mean profile give."""
    mean_profile, a, b = RNG.normal(size=(3, 40))
    of_profiles = delta_against_mean(PREDICTED, OBSERVED, mean_profile, mean_profile)
    of_effects = delta_against_mean(
        PREDICTED - a, OBSERVED - b, mean_profile - a, mean_profile - b
    )
    assert of_effects == pytest.approx(of_profiles)


def test_what_all_perturbations_share_does_not_count() -> None:
    shared = 10.0 * RNG.normal(size=40)
    r = [pearson_r(p, o) for p, o in zip(PREDICTED + shared, OBSERVED + shared, strict=True)]
    assert min(r) > 0.9
    found = delta_against_mean(PREDICTED + shared, OBSERVED + shared, shared, shared)
    assert found == pytest.approx(
        [pearson_r(p, o) for p, o in zip(PREDICTED, OBSERVED, strict=True)]
    )
    assert delta_against_mean(OBSERVED, OBSERVED, MEAN, MEAN) == pytest.approx(np.ones(6))


def test_the_mean_effect_says_nothing_of_its_own_whatever_the_rounding() -> None:
    trained = RNG.normal(size=(50, 40))
    same = np.tile(trained[::-1].sum(axis=0) / 50, (6, 1))
    mean = trained.mean(axis=0)
    assert (same[0] != mean).any()
    assert (delta_against_mean(same, OBSERVED, mean, mean) == 0.0).all()
    assert np.isnan(delta_against_mean(OBSERVED, same, mean, mean)).all()


@pytest.mark.parametrize("n", [2, 5, 20])
def test_an_unrelated_prediction_has_one_in_n_plus_one(n: int) -> None:
    rng = np.random.default_rng(n)
    effects = rng.normal(size=(200, n + 2, 300)) + 5.0
    mean = effects[:, :n].mean(axis=1)
    found = [
        delta_against_mean(e[n : n + 1], e[n + 1 :], m, m)[0]
        for e, m in zip(effects, mean, strict=True)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(1 / (n + 1), abs=3 * error)
