import numpy as np
import pytest
from scipy import stats

from sparseshift.errors import OptionError
from sparseshift.evaluation import differential_expression as module
from sparseshift.evaluation.differential_expression import differential_expression

RNG = np.random.default_rng(0)
PERTURBED = np.log1p(RNG.poisson(0.8, size=(30, 40))).astype(np.float32)
CONTROL = np.log1p(RNG.poisson(0.5, size=(50, 40))).astype(np.float32)


def test_it_is_scipy_gene_by_gene_for_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    found = differential_expression(PERTURBED, CONTROL)
    expected = [
        stats.mannwhitneyu(x, y, method="asymptotic").pvalue
        for x, y in zip(PERTURBED.T, CONTROL.T, strict=True)
    ]
    assert found.p_value == pytest.approx(expected)
    assert found.effect == pytest.approx(PERTURBED.mean(0) - CONTROL.mean(0), rel=1e-5)
    monkeypatch.setattr(module, "_GENES_AT_ONCE", 7)
    assert (differential_expression(PERTURBED, CONTROL).p_value == found.p_value).all()


def test_q_values_are_benjamini_hochberg_by_hand() -> None:
    found = differential_expression(PERTURBED, CONTROL)
    for p, q in zip(found.p_value, found.q_value, strict=True):
        larger = found.p_value[found.p_value >= p]
        by_hand = min(40 * x / (found.p_value <= x).sum() for x in larger)
        assert q == pytest.approx(min(1.0, by_hand))


def test_ranks_do_not_see_a_monotone_map_and_sides_can_be_exchanged() -> None:
    found = differential_expression(PERTURBED, CONTROL)
    raw = differential_expression(
        np.expm1(PERTURBED.astype(float)), np.expm1(CONTROL.astype(float))
    )
    assert raw.p_value == pytest.approx(found.p_value)
    turned = differential_expression(CONTROL, PERTURBED)
    assert turned.p_value == pytest.approx(found.p_value)
    assert turned.effect == pytest.approx(-found.effect)


def test_false_discoveries_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(1)
    effect = np.where(np.arange(400) < 40, 1.5, 0.0)
    false_share = []
    for _ in range(40):
        perturbed, control = rng.normal(size=(40, 400)) + effect, rng.normal(size=(60, 400))
        called = differential_expression(perturbed, control).q_value < 0.05
        false_share.append(called[40:].sum() / max(called.sum(), 1))
        assert called[:40].mean() > 0.9
    assert np.mean(false_share) < 0.05 + 3 * np.std(false_share) / np.sqrt(40)


def test_a_gene_that_does_not_vary_and_what_does_not_fit() -> None:
    still = differential_expression(np.zeros((4, 2)), np.zeros((5, 2)))
    assert still.p_value.tolist() == [1.0, 1.0]
    assert differential_expression(np.zeros((4, 0)), np.zeros((5, 0))).q_value.shape == (0,)
    with pytest.raises(OptionError, match="a test needs both"):
        differential_expression(PERTURBED[:0], CONTROL)
    with pytest.raises(OptionError, match="the same genes"):
        differential_expression(PERTURBED[:, :3], CONTROL)
    with pytest.raises(OptionError, match="not finite"):
        differential_expression(np.full((3, 40), np.nan), CONTROL)
