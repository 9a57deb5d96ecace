import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.columns import Columns
from sparseshift.screens.control_guides import with_control_guides
from sparseshift.screens.null_screen import IMPLANTED, Implant, null_screen

COLUMNS = Columns("gene", "control", "batch")
SIZES = {"control": 300, "A": 100, "B": 60, "A+B": 40}


@pytest.fixture(scope="module")
def screen() -> AnnData:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(list(SIZES), list(SIZES.values())))
    batch = np.where(np.arange(500) < 200, "x", "y")
    guide = [
        f"NT_{i % 6}" if label == "control" else f"{label}_1" for i, label in enumerate(labels)
    ]
    obs = pd.DataFrame(
        {"gene": labels, "batch": batch, "guide": guide}, index=[f"c{i}" for i in range(500)]
    )
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(1.0, 4.0, 50), (500, 50)), dtype=np.float32)
    return AnnData(counts, obs=obs)


@pytest.mark.parametrize("seed", range(3))
def test_labels_move_within_batches_and_one_effect_is_implanted(
    screen: AnnData, seed: int
) -> None:
    null = null_screen(screen, COLUMNS, seed=seed)
    labels = null.obs["gene"].to_numpy()
    implanted = labels == IMPLANTED
    assert implanted.sum() == 60  # the median of perturbations
    # but for cells of the control that were implanted, batches hold what they held
    before = pd.crosstab(screen.obs["gene"], screen.obs["batch"])
    after = pd.crosstab(null.obs["gene"], null.obs["batch"])
    after.loc["control"] += after.loc[IMPLANTED]
    pd.testing.assert_frame_equal(before, after.drop(index=IMPLANTED), check_names=False)
    moved = (labels != screen.obs["gene"].to_numpy()).mean()
    assert 0.4 < moved < 0.8
    # counts change in implanted cells only, in some genes only, and only down
    change = (null.X - screen.X).toarray()
    assert not change[~implanted].any()
    genes = (change != 0).any(axis=0)
    share = np.asarray(screen.X.sum(0)).ravel()[genes].sum() / screen.X.sum()
    assert 0.2 <= share < 0.4
    kept = null.X[implanted][:, genes].sum() / screen.X[implanted][:, genes].sum()
    assert kept == pytest.approx(0.25, abs=0.02)
    assert (change <= 0).all()
    assert (null.X.data > 0).all()
    again = null_screen(screen, COLUMNS, seed=seed)
    assert (again.X != null.X).nnz == 0
    assert again.obs.equals(null.obs)


def test_a_screen_without_control_or_with_few_cells_gets_its_effect_too(screen: AnnData) -> None:
    without = screen[screen.obs["gene"] != "control"].copy()
    null = null_screen(without, Columns("gene"), seed=0, implant=Implant(max_cells=7))
    assert (null.obs["gene"] == IMPLANTED).sum() == 7
    assert null.n_obs == without.n_obs


def test_the_original_stays_as_it_was(screen: AnnData) -> None:
    before = screen.copy()
    null_screen(screen, COLUMNS, seed=0)
    with_control_guides(screen, COLUMNS, "guide", min_cells=10, seed=0)
    assert screen.obs.equals(before.obs)
    assert (screen.X != before.X).nnz == 0


def test_the_name_of_the_effect_is_taken(screen: AnnData) -> None:
    taken = screen.copy()
    taken.obs["gene"] = taken.obs["gene"].replace("A", IMPLANTED)
    with pytest.raises(ScreenError, match=r"A perturbation is called 'implanted'.*Rename it"):
        null_screen(taken, COLUMNS, seed=0)


def test_half_of_the_control_guides_become_perturbations(screen: AnnData) -> None:
    changed, names = with_control_guides(screen, COLUMNS, "guide", min_cells=30, seed=0)
    assert len(names) == 3
    labels = changed.obs["gene"]
    for name in names:
        guide = name.removeprefix("guide ")
        cells = (screen.obs["guide"] == guide) & (screen.obs["gene"] == "control")
        assert (labels[cells] == name).all()
        assert (labels == name).sum() == cells.sum()
    assert (labels == "control").sum() == 300 - labels.isin(names).sum()
    others = screen.obs["gene"] != "control"
    assert (labels[others] == screen.obs["gene"][others]).all()


def test_too_few_cells_of_a_guide_are_no_power(screen: AnnData) -> None:
    assert with_control_guides(screen, COLUMNS, "guide", min_cells=200, seed=0)[1] == []
