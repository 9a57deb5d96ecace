import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.gene_sets import perturbed_genes, top_genes

SYMBOLS = ["A", "B", "C", "B"]


def test_perturbed_genes_of_combinations_and_repeated_symbols() -> None:
    found = perturbed_genes(["A+B", "C", "not measured"], SYMBOLS)
    assert found.astype(int).tolist() == [[1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert perturbed_genes([], SYMBOLS).shape == (0, 4)


def test_top_genes_is_a_loop() -> None:
    rng = np.random.default_rng(0)
    effects = rng.integers(-4, 5, size=(30, 12)).astype(float)  # with ties
    among = rng.random((30, 12)) < 0.6
    for n in (1, 3, 12, 50):
        found = top_genes(effects, n, among)
        for p in range(30):
            ranked = sorted(np.flatnonzero(among[p]), key=lambda g: (-abs(effects[p, g]), g))
            assert np.flatnonzero(found[p]).tolist() == sorted(ranked[:n])


def test_top_genes_do_not_depend_on_sign_or_scale_and_move_with_the_genes() -> None:
    effects = np.random.default_rng(1).normal(size=(5, 30))
    found = top_genes(effects, 7)
    assert (found.sum(axis=1) == 7).all()
    assert (top_genes(-3.0 * effects, 7) == found).all()
    order = np.random.default_rng(2).permutation(30)
    assert (top_genes(effects[:, order], 7) == found[:, order]).all()
    with pytest.raises(OptionError, match="n=0 must be at least 1"):
        top_genes(effects, 0)


def test_genes_chosen_on_the_scored_cells_make_predictions_look_too_small() -> None:
    """Why they are chosen on support: the true effect is what independent cells have on average."""
    rng = np.random.default_rng(3)
    true = rng.normal(size=(200, 200))
    support, query = true + rng.normal(size=(2, *true.shape))
    chosen_on_support, chosen_on_query = top_genes(support, 20), top_genes(query, 20)
    ratio = [
        np.abs(query[g]).mean() / np.abs(true[g]).mean()
        for g in (chosen_on_support, chosen_on_query)
    ]
    slope = (query * true)[chosen_on_support].sum() / (true**2)[chosen_on_support].sum()
    assert slope == pytest.approx(1.0, abs=0.03)
    assert ratio[0] < 1.2
    assert ratio[1] > 1.5
