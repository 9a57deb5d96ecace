"""Where the definitions agree, the numbers are those of cell-eval.

Recorded from `cell-eval run` 0.8.2 (pdex 0.3.0), Python 3.11, on these cells written by
`screens.cell_eval.to_cell_eval`; it reads them as float32.
"""

import numpy as np
import pytest

from sparseshift.evaluation.average_effects import log_normalise, pearson_r
from sparseshift.evaluation.de_overlap import direction_agreement
from sparseshift.evaluation.differential_expression import differential_expression
from sparseshift.evaluation.discrimination import Distance, discrimination
from sparseshift.evaluation.effect_errors import mae, mse
from sparseshift.evaluation.gene_sets import perturbed_genes

GENES = [f"G{i:02d}" for i in range(30)]
PERTURBATIONS = [f"G0{i}" for i in range(1, 7)]
LABELS = np.repeat(["ctrl", *PERTURBATIONS], [40] + [20] * 6)

PEARSON_DELTA = [
    0.743619441986084,
    0.4751313626766205,
    0.6889476776123047,
    0.7801758050918579,
    0.7292620539665222,
    0.7384413480758667,
]
MSE_DELTA = [
    0.052802179008722305,
    0.09453900903463364,
    0.06564955413341522,
    0.029126159846782684,
    0.05300135910511017,
    0.06486393511295319,
]
MAE_DELTA = [
    0.1925269514322281,
    0.2401072084903717,
    0.1895657628774643,
    0.14508843421936035,
    0.18178845942020416,
    0.19986002147197723,
]
# of G02; the others have 1
DISCRIMINATION: dict[Distance, float] = {"l1": 4 / 6, "l2": 5 / 6, "cosine": 5 / 6}
# of G01 against the control, genes G00 to G09
P_VALUES = [
    0.10439073856562951,
    1.0020630418712121e-6,
    0.9435528976530703,
    0.6317694198828707,
    0.8593960712637312,
    0.48186777998725444,
    0.7275382077290136,
    0.026523093509516302,
    0.00004093811255094292,
    8.377693458780695e-6,
]
FDR = {0: 0.39146526962111067, 1: 0.000030061891256136363, 7: 0.1591385610570978}
N_SIGNIFICANT = [3, 3, 2, 4, 3, 4]


def of(name: str) -> np.ndarray:
    return np.array([label == name for label in LABELS])


def profiles(seed: int) -> np.ndarray:
    """Log-normalised cells made by whole-number arithmetic, so that they are the same everywhere."""
    cell, gene = np.arange(len(LABELS))[:, None], np.arange(30)
    noise = (
        cell * cell * (37 + seed) + cell * gene * 101 + gene * gene * 59 + cell * 13 * seed
    ) % 97
    counts = noise * (2 + gene % 4) // 97
    for p, name in enumerate(PERTURBATIONS, start=1):
        rows = np.flatnonzero(of(name))
        counts[rows, p] = 0
        counts[np.ix_(rows, 5 + 3 * p + np.arange(2))] += 1 + (p + seed) % 2
        counts[rows, 8 + 2 * p] //= 2
    return log_normalise(counts.astype(float), 60.0)


OBSERVED, PREDICTED = profiles(1), profiles(4)


def effects(cells: np.ndarray) -> np.ndarray:
    control = cells[of("ctrl")].mean(axis=0)
    return np.array([cells[of(name)].mean(axis=0) - control for name in PERTURBATIONS])


def test_errors_and_correlation_of_effects() -> None:
    predicted, observed = effects(PREDICTED), effects(OBSERVED)
    assert mse(predicted, observed) == pytest.approx(MSE_DELTA, rel=1e-5)
    assert mae(predicted, observed) == pytest.approx(MAE_DELTA, rel=1e-5)
    r = [pearson_r(p, o) for p, o in zip(predicted, observed, strict=True)]
    assert r == pytest.approx(PEARSON_DELTA, rel=1e-5)


@pytest.mark.parametrize("distance", DISCRIMINATION)
def test_discrimination_but_for_its_scale(distance: Distance) -> None:
    genes = ~perturbed_genes(PERTURBATIONS, GENES)  # they leave out the own target only
    found = discrimination(effects(PREDICTED), effects(OBSERVED), distance, genes=genes)
    theirs = np.ones(6)
    theirs[1] = DISCRIMINATION[distance]
    assert found == pytest.approx((6 * theirs - 1) / 5)


def test_rank_sums_false_discovery_rates_and_directions() -> None:
    control = OBSERVED[of("ctrl")]
    tests = [differential_expression(OBSERVED[of(p)], control) for p in PERTURBATIONS]
    assert tests[0].p_value[:10] == pytest.approx(P_VALUES, rel=1e-6)
    assert tests[0].q_value[list(FDR)] == pytest.approx(list(FDR.values()), rel=1e-6)
    significant = np.array([test.q_value < 0.05 for test in tests])
    assert significant.sum(axis=1).tolist() == N_SIGNIFICANT
    agreement = direction_agreement(effects(PREDICTED), effects(OBSERVED), significant)
    assert agreement.tolist() == [1.0] * 6
