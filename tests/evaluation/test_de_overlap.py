import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.de_overlap import direction_agreement, overlap_at_k, precision_at_k

RNG = np.random.default_rng(0)
PREDICTED, OBSERVED = RNG.normal(size=(2, 12, 30))
SIGNIFICANT = np.abs(OBSERVED) > 0.8


@pytest.mark.parametrize("k", [1, 5, 100, None])
def test_they_are_loops_over_sorted_lists(k: int | None) -> None:
    genes = RNG.random(30) < 0.8
    overlap = overlap_at_k(PREDICTED, OBSERVED, SIGNIFICANT, k, genes=genes)
    precision = precision_at_k(PREDICTED, OBSERVED, SIGNIFICANT, k, genes=genes)
    direction = direction_agreement(PREDICTED, OBSERVED, SIGNIFICANT, genes=genes)
    for p in range(12):
        strongest = sorted(np.flatnonzero(genes), key=lambda g: -abs(PREDICTED[p, g]))
        true = sorted(np.flatnonzero(genes & SIGNIFICANT[p]), key=lambda g: -abs(OBSERVED[p, g]))
        n = len(true) if k is None else min(k, len(true))
        assert overlap[p] == pytest.approx(len(set(true[:n]) & set(strongest[:n])) / n)
        n = len(true) if k is None else min(k, int(genes.sum()))
        assert precision[p] == pytest.approx(len(set(true) & set(strongest[:n])) / n)
        same = [np.sign(PREDICTED[p, g]) == np.sign(OBSERVED[p, g]) for g in true]
        assert direction[p] == pytest.approx(np.mean(same))


@pytest.mark.parametrize("k", [1, 5, None])
def test_laws(k: int | None) -> None:
    assert (overlap_at_k(OBSERVED, OBSERVED, SIGNIFICANT, k) == 1.0).all()
    assert (precision_at_k(OBSERVED, OBSERVED, SIGNIFICANT, k) == 1.0).all()
    assert (direction_agreement(OBSERVED, OBSERVED, SIGNIFICANT) == 1.0).all()
    assert (direction_agreement(-OBSERVED, OBSERVED, SIGNIFICANT) == 0.0).all()
    rows, genes = RNG.permutation(12), RNG.permutation(30)
    for score in (overlap_at_k, precision_at_k):
        found = score(PREDICTED, OBSERVED, SIGNIFICANT, k)
        assert score(-2.0 * PREDICTED, OBSERVED, SIGNIFICANT, k) == pytest.approx(found)
        p, o, s = (x[rows][:, genes] for x in (PREDICTED, OBSERVED, SIGNIFICANT))
        assert score(p, o, s, k) == pytest.approx(found[rows])
    everything = precision_at_k(PREDICTED, OBSERVED, SIGNIFICANT)
    assert overlap_at_k(PREDICTED, OBSERVED, SIGNIFICANT) == pytest.approx(everything)


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_constant_prediction_has_the_value_of_chance(constant: float) -> None:
    same = np.full((12, 30), constant)
    assert overlap_at_k(same, OBSERVED, SIGNIFICANT, 5) == pytest.approx(5 / 30)
    share = SIGNIFICANT.mean(axis=1)
    assert precision_at_k(same, OBSERVED, SIGNIFICANT, 5) == pytest.approx(share)
    nothing = np.zeros((12, 30))
    assert (direction_agreement(nothing, OBSERVED, SIGNIFICANT) == 0.5).all()


def test_unrelated_predictions_have_the_value_of_chance() -> None:
    rng = np.random.default_rng(1)
    predicted, observed = rng.normal(size=(2, 2000, 30))
    significant = np.abs(observed) > 0.5
    wide = (significant.sum(axis=1) >= 5, significant.mean(axis=1))
    found = overlap_at_k(predicted, observed, significant, 5)[wide[0]]
    assert found.mean() == pytest.approx(5 / 30, abs=3 * found.std() / np.sqrt(len(found)))
    excess = precision_at_k(predicted, observed, significant, 5) - wide[1]
    assert excess.mean() == pytest.approx(0.0, abs=3 * excess.std() / np.sqrt(2000))
    agreement = direction_agreement(predicted, observed, significant)
    assert agreement.mean() == pytest.approx(0.5, abs=3 * agreement.std() / np.sqrt(2000))


def test_ties_at_the_last_place_are_shared_in_any_order() -> None:
    observed = np.array([[5.0, 4.0, 3.0, 0.1, 0.2]])
    significant = np.array([[True, True, False, False, False]])
    predicted = np.array([[2.0, 1.0, -1.0, 1.0, 0.0]])
    # one place for certain, the second shared by three genes
    assert overlap_at_k(predicted, observed, significant, 2) == pytest.approx((1 + 1 / 3) / 2)
    turned = overlap_at_k(predicted[:, ::-1], observed[:, ::-1], significant[:, ::-1], 2)
    assert turned == pytest.approx((1 + 1 / 3) / 2)


def test_no_significant_gene_has_no_score() -> None:
    significant = SIGNIFICANT.copy()
    significant[3] = False
    for score in (overlap_at_k, precision_at_k, direction_agreement):
        found = score(PREDICTED, OBSERVED, significant)
        assert np.flatnonzero(np.isnan(found)).tolist() == [3]
        assert np.isnan(score(PREDICTED, OBSERVED, SIGNIFICANT, genes=np.zeros(30, bool))).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="expected bool"):
        overlap_at_k(PREDICTED, OBSERVED, SIGNIFICANT.astype(float), 5)
    with pytest.raises(OptionError, match="k=0 must be at least 1"):
        precision_at_k(PREDICTED, OBSERVED, SIGNIFICANT, 0)
