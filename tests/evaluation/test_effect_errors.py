import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.average_effects import rmse
from sparseshift.evaluation.effect_errors import mae, mse

RNG = np.random.default_rng(0)
PREDICTED, OBSERVED = RNG.normal(size=(2, 7, 20))


def test_they_are_loops_over_chosen_genes() -> None:
    genes = RNG.random((7, 20)) < 0.4
    for p in range(7):
        off = [PREDICTED[p, g] - OBSERVED[p, g] for g in range(20) if genes[p, g]]
        assert mae(PREDICTED, OBSERVED, genes)[p] == pytest.approx(np.mean(np.abs(off)))
        assert mse(PREDICTED, OBSERVED, genes)[p] == pytest.approx(np.mean(np.square(off)))


def test_mse_is_rmse_squared_and_mae_is_at_most_rmse() -> None:
    roots = np.array([rmse(p, o) for p, o in zip(PREDICTED, OBSERVED, strict=True)])
    assert mse(PREDICTED, OBSERVED) == pytest.approx(roots**2)
    assert (mae(PREDICTED, OBSERVED) <= roots).all()


@pytest.mark.parametrize("error", [mae, mse])
def test_laws(error: object) -> None:
    assert callable(error)
    found = error(PREDICTED, OBSERVED)
    order, genes = RNG.permutation(7), RNG.permutation(20)
    assert error(PREDICTED[order], OBSERVED[order]) == pytest.approx(found[order])
    assert error(PREDICTED[:, genes], OBSERVED[:, genes]) == pytest.approx(found)
    assert error(PREDICTED + 3.0, OBSERVED + 3.0) == pytest.approx(found)
    assert error(OBSERVED, PREDICTED) == pytest.approx(found)
    assert not error(OBSERVED, OBSERVED).any()
    assert error(OBSERVED + 0.5, OBSERVED) == pytest.approx([error([[0.5]], [[0.0]])[0]] * 7)


def test_no_gene_has_no_error() -> None:
    genes = np.ones((7, 20), bool)
    genes[3] = False
    assert np.flatnonzero(np.isnan(mae(PREDICTED, OBSERVED, genes))).tolist() == [3]
    assert np.isnan(mse(PREDICTED, OBSERVED, np.zeros(20, bool))).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="same perturbations and genes"):
        mae(PREDICTED, OBSERVED[:, :5])
    with pytest.raises(OptionError, match=r"expected \(perturbations, genes\)"):
        mae(PREDICTED[0], OBSERVED[0])
    with pytest.raises(OptionError, match="expected bool"):
        mae(PREDICTED, OBSERVED, np.arange(5))
    with pytest.raises(OptionError, match="predicted effects of 1 of 7"):
        mse(np.where(np.arange(7)[:, None] == 2, np.nan, PREDICTED), OBSERVED)
