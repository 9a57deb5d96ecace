from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from sparseshift.errors import OptionError, ScreenError
from sparseshift.screens.columns import Columns
from sparseshift.screens.effect_sizes import effect_sizes
from sparseshift.screens.held_out import HeldOutRule, choose_held_out

COLUMNS = Columns("gene", "control")
GENES = "ABCDEFGH"
DOUBLES = ["A+B", "A+C", "B+D", "C+D", "E+F", "E+G", "A+X"]


def screen_of(labels: Sequence[str], n_cells: int = 3) -> AnnData:
    repeated = np.repeat(list(labels), n_cells)
    names = [f"c{i}" for i in range(len(repeated))]
    return AnnData(np.ones((len(repeated), 2)), obs=pd.DataFrame({"gene": repeated}, index=names))


SCREEN = screen_of(["control", *GENES, *DOUBLES])


def choose(seed: int = 0, **rule: object) -> list[str]:
    return choose_held_out(SCREEN, COLUMNS, HeldOutRule(**rule), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("seen", [0, 1, 2])
def test_so_many_singles_of_a_double_are_seen(seen: int, seed: int) -> None:
    held_out = choose(seed, doubles=2, singles_seen=seen)
    assert held_out == sorted(held_out) == choose(seed, doubles=2, singles_seen=seen)
    trained = {*GENES, *DOUBLES} - set(held_out)
    seen_genes = {gene for label in trained for gene in label.split("+")}
    # of the doubles that are held out, two at least have exactly so many genes in training
    doubles = [label for label in held_out if "+" in label and "X" not in label]
    n_seen = [len(set(label.split("+")) & seen_genes) for label in doubles]
    assert n_seen.count(seen) >= 2
    if seen == 2:
        assert len(held_out) == 2
        assert all(set(label.split("+")) <= trained for label in held_out)


@pytest.mark.parametrize("n_folds", [2, 5, 15])
def test_folds_hold_out_each_perturbation_once(n_folds: int) -> None:
    folds = [choose(3, fold=i, n_folds=n_folds) for i in range(n_folds)]
    assert sorted(label for fold in folds for label in fold) == sorted([*GENES, *DOUBLES])
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    assert folds != [choose(4, fold=i, n_folds=n_folds) for i in range(n_folds)]


def test_lists_are_taken_as_far_as_they_go(caplog: pytest.LogCaptureFixture) -> None:
    assert choose(listed=("B", "A", "NOPE")) == ["A", "B"]
    assert "1 of 3 listed perturbations are not in the screen: 'NOPE'" in caplog.text
    with pytest.raises(ScreenError, match=r"None of the 1 listed perturbations .*It has 'A'"):
        choose(listed=("NOPE",))


def test_doubles_are_held_out_as_far_as_there_are(caplog: pytest.LogCaptureFixture) -> None:
    singles = screen_of(["control", *GENES])
    assert choose_held_out(singles, COLUMNS, HeldOutRule(doubles=1), 0) == []
    assert "none of the 8 perturbations combines two genes with '+': 'A'" in caplog.text
    caplog.clear()
    assert choose(doubles=9) == sorted(set(DOUBLES) - {"A+X"})
    assert "9 doubles with 2 of their singles seen are to be held out; 6 can be" in caplog.text
    assert "Of 7 doubles 6 have both genes perturbed alone" in caplog.text
    caplog.clear()
    assert choose(doubles=6, singles_seen=1)
    assert "6 doubles with 1 of their singles seen are to be held out" in caplog.text


def test_what_cannot_be_held_out_is_answered_with_what_there_is() -> None:
    with pytest.raises(ScreenError, match=r"15 perturbations cannot be held out of 15"):
        choose(largest=15)
    with pytest.raises(ScreenError, match=r"this screen has none: name it in columns.control"):
        choose_held_out(SCREEN, Columns("gene"), HeldOutRule(largest=2), 0)


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(OptionError, match=r"fold is 5; of 5 folds it can be 0 to 4"):
        HeldOutRule(fold=5)
    with pytest.raises(
        ScreenError, match=r"15 perturbations cannot be dealt to 16 folds: 2 to 15"
    ):
        choose(fold=0, n_folds=16)


def test_a_rule_is_one_rule() -> None:
    with pytest.raises(
        OptionError, match=r"give one of largest, listed, doubles and fold \(given: none\)"
    ):
        HeldOutRule()
    with pytest.raises(OptionError, match=r"given: largest, doubles"):
        HeldOutRule(largest=1, doubles=1)
    with pytest.raises(OptionError, match=r"singles_seen is 3; it can be 0, 1 or 2"):
        HeldOutRule(doubles=1, singles_seen=3)
    with pytest.raises(OptionError, match=r"largest must be 1 or more"):
        HeldOutRule(largest=0)


def shifted_screen(seed: int = 0) -> AnnData:
    """Three perturbations that change 0, 5 and 20 of 60 genes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(["control", "none", "some", "many"], [300, 80, 80, 80])
    fold = np.ones((len(labels), 60))
    fold[labels == "some", :5] = 4.0
    fold[labels == "many", :20] = 4.0
    counts = rng.poisson(5.0 * fold)
    names = [f"c{i}" for i in range(len(labels))]
    return AnnData(counts.astype(np.float32), obs=pd.DataFrame({"gene": labels}, index=names))


def test_effects_are_ordered_by_their_size() -> None:
    sizes = effect_sizes(shifted_screen(), COLUMNS, n_components=20)
    assert list(sizes.index) == ["many", "some", "none"]
    assert sizes["none"] < 0.2 * sizes["some"]
    again = effect_sizes(shifted_screen(), COLUMNS, n_components=20)
    pd.testing.assert_series_equal(sizes, again)
    rule = HeldOutRule(largest=2)
    assert choose_held_out(shifted_screen(), COLUMNS, rule, 0) == ["many", "some"]


def test_the_linear_mmd_is_the_squared_distance_of_the_means() -> None:
    """With all components kept, of the log-normalised profiles themselves: mean XX + mean YY - 2 mean XY."""
    import scanpy

    screen = shifted_screen()
    sizes = effect_sizes(screen, COLUMNS, n_components=10**6)
    profiles = screen.copy()
    scanpy.pp.normalize_total(profiles)
    scanpy.pp.log1p(profiles)
    labels = screen.obs["gene"].to_numpy()
    x, y = (np.asarray(profiles.X)[labels == name] for name in ("many", "control"))
    mmd = (x @ x.T).mean() + (y @ y.T).mean() - 2 * (x @ y.T).mean()
    assert sizes["many"] == pytest.approx(mmd, rel=1e-3)


def test_a_draw_of_cells_is_of_its_seed() -> None:
    screen = shifted_screen()
    drawn = [effect_sizes(screen, COLUMNS, n_components=5, n_cells=40, seed=s) for s in (0, 0, 1)]
    pd.testing.assert_series_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0].sort_index(), drawn[2].sort_index())
