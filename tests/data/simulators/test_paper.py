import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sparseshift.data.simulators import decoder
from sparseshift.data.simulators.paper import paper
from sparseshift.data.simulators.simulation import Simulation
from sparseshift.errors import OptionError

# of 40 perturbations x 50 cells and 100 controls, 15 latents, 100 genes: seeds 0 to 9, widened
SPREAD_OF_LOG_COUNTS = (0.70, 0.90)
SPREAD_OF_GENE_CORRELATIONS = (0.15, 0.26)
SPREAD_OF_TOTALS = (0.10, 0.40)  # standard deviation of a cell's total, as a share of their mean


@pytest.fixture(scope="module")
def drawn() -> Simulation:
    """The reference screen."""
    return paper(
        np.random.default_rng(0),
        n_perturbations=40,
        n_cells_per_perturbation=50,
        n_control_cells=100,
    )


def test_shapes(drawn: Simulation) -> None:
    assert drawn.counts.shape == (2100, 100)
    assert drawn.counts.dtype == np.int32
    assert drawn.latents.shape == (2100, 15)
    assert drawn.latents.dtype == drawn.shifts.dtype == np.float32
    assert drawn.shifts.shape == (40, 15)
    codes, sizes = np.unique(drawn.perturbation, return_counts=True)
    assert codes.tolist() == list(range(-1, 40))
    assert sizes.tolist() == [100] + [50] * 40


def test_every_gene_has_a_million_counts(drawn: Simulation) -> None:
    # the published code divides by the sum over cells: every column is Poisson(1e6) in all
    totals = drawn.counts.sum(0, dtype=np.int64)
    assert (np.abs(totals - 1e6) < 5.0 * 1e3).all()
    assert stats.kstest((totals - 1e6) / 1e3, "norm").pvalue > 1e-3


def test_moments_of_the_reference_screen(drawn: Simulation) -> None:
    log_counts = np.log1p(drawn.counts)
    assert SPREAD_OF_LOG_COUNTS[0] < log_counts.std() < SPREAD_OF_LOG_COUNTS[1]
    correlations = np.corrcoef(drawn.counts.T)[np.triu_indices(100, 1)]
    assert SPREAD_OF_GENE_CORRELATIONS[0] < correlations.std() < SPREAD_OF_GENE_CORRELATIONS[1]
    totals = drawn.counts.sum(1)
    assert SPREAD_OF_TOTALS[0] < totals.std() / totals.mean() < SPREAD_OF_TOTALS[1]


def test_latents_are_standard_normal_around_their_shift(drawn: Simulation) -> None:
    is_control = drawn.perturbation < 0
    shift = np.where(is_control[:, None], 0.0, drawn.shifts[drawn.perturbation])
    rest = drawn.latents - shift
    assert stats.kstest(rest.ravel(), "norm").pvalue > 1e-3
    assert np.abs(rest.mean(0)).max() < 5.0 / np.sqrt(len(rest))
    off = np.corrcoef(rest.T) - np.eye(15)
    assert np.abs(off).max() < 5.0 / np.sqrt(len(rest))
    assert np.abs(rest[is_control].mean()) < 5.0 / np.sqrt(100 * 15)


def test_shifts_are_sparse_and_of_size_five() -> None:
    screen = paper(
        np.random.default_rng(1), n_perturbations=3000, n_cells_per_perturbation=1, n_genes=2
    )
    targets = (screen.shifts != 0).sum(1)
    assert set(targets.tolist()) == {1, 2, 3}
    # drawn with replacement: 1/3 (1 + 29/15 + 631/225) of 15 latents
    density = targets.mean() / 15
    assert 0.12 < density < 0.135
    assert density == pytest.approx((1 + 29 / 15 + 631 / 225) / 45, abs=0.004)
    size = np.abs(screen.shifts[screen.shifts != 0])
    assert size.mean() == pytest.approx(5.0, abs=0.04)
    assert size.std() == pytest.approx(0.5, abs=0.03)
    assert np.sign(screen.shifts).sum() / len(size) == pytest.approx(0.0, abs=0.07)
    hit = (screen.shifts != 0).mean(0)
    assert hit.min() > 0.09
    assert hit.max() < 0.165


def test_genes_depend_on_the_latents_and_not_on_the_label() -> None:
    rng = np.random.default_rng(2)
    screen = paper(rng, n_perturbations=1, n_cells_per_perturbation=3000, n_genes=5)
    halves = np.log(screen.counts[:1500].mean(0) / screen.counts[1500:].mean(0))
    assert np.abs(halves).max() < 0.2


def moments(screen: Simulation) -> dict[str, float]:
    """What a screen looks like, in ten numbers."""
    counts, size = screen.counts, np.abs(screen.shifts[screen.shifts != 0])
    log_counts, totals = np.log1p(counts), counts.sum(1)
    correlations = np.corrcoef(counts.T)[np.triu_indices(counts.shape[1], 1)]
    return {
        "sd_of_log_counts": log_counts.std(),
        "mean_of_log_counts": log_counts.mean(),
        "sd_of_gene_correlations": correlations.std(),
        "cv_of_totals": totals.std() / totals.mean(),
        "share_of_zeros": (counts == 0).mean(),
        "largest_share_of_a_gene": (counts.max(0) / counts.sum(0)).mean(),
        "edge_density": (screen.shifts != 0).mean(),
        "mean_shift": size.mean(),
        "sd_of_shifts": size.std(),
        "sd_of_latents_around_shift": (screen.latents - screen.shifts[screen.perturbation]).std(),
    }


def test_the_public_code_draws_such_screens() -> None:
    path = Path(__file__).with_name("public_code_moments.json")
    expected = json.loads(path.read_text(encoding="utf-8"))
    drawn = [moments(paper(np.random.default_rng(seed))) for seed in range(8)]
    for name in drawn[0]:
        own = np.array([each[name] for each in drawn])
        assert abs(expected[name] - own.mean()) < 4.0 * own.std(), name


def test_seeds() -> None:
    sizes = {"n_perturbations": 4, "n_cells_per_perturbation": 5, "n_genes": 7, "n_latents": 2}
    a, b, c = (paper(np.random.default_rng(s), **sizes) for s in (0, 0, 1))
    for field in ("counts", "latents", "perturbation", "shifts"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert not np.array_equal(a.counts, c.counts)
    assert not np.array_equal(a.shifts, c.shifts)


def test_cells_in_parts_are_the_same_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"n_perturbations": 4, "n_cells_per_perturbation": 5, "n_genes": 7, "n_latents": 2}
    whole = paper(np.random.default_rng(0), **sizes)
    monkeypatch.setattr(decoder, "_AT_ONCE", 3)
    np.testing.assert_array_equal(paper(np.random.default_rng(0), **sizes).counts, whole.counts)


def test_one_cell_and_gene_are_refused() -> None:
    sizes = {"n_perturbations": 1, "n_cells_per_perturbation": 1, "n_genes": 1}
    with pytest.raises(OptionError, match="one cell and one gene do not vary"):
        paper(np.random.default_rng(0), **sizes)


def test_smallest_sizes() -> None:
    sizes = {"n_perturbations": 1, "n_cells_per_perturbation": 2, "n_genes": 1, "n_latents": 1}
    screen = paper(np.random.default_rng(0), **sizes)
    assert screen.counts.shape == (2, 1)
    assert (screen.shifts != 0).all()


@pytest.mark.parametrize(
    "name", ["n_perturbations", "n_cells_per_perturbation", "n_latents", "n_genes"]
)
@pytest.mark.parametrize("size", [0, -3])
def test_sizes_that_are_not_positive_are_refused(name: str, size: int) -> None:
    with pytest.raises(OptionError, match=f"{name}={size} must be at least 1"):
        paper(np.random.default_rng(0), **{name: size})
    with pytest.raises(OptionError, match="n_control_cells=-1 must not be negative"):
        paper(np.random.default_rng(0), n_control_cells=-1)
