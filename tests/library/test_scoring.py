"""Models and baselines on held-out cells, as tidy tables."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats

from sparseshift.data.splits import Split, make_split
from sparseshift.errors import ScreenError
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring import (
    METRIC_COLUMNS,
    METRICS,
    QUERY,
    UNTRAINED,
    ObservedEffects,
    RunKey,
    ScoreSettings,
    baseline_effects,
    compare_mechanism,
    headline,
    predict_profiles,
    raw_effects,
    score_as_paper,
    score_baseline_predictions,
    score_baselines,
    score_cells,
    score_model_predictions,
    score_query,
    score_training,
    with_latents,
)
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns

COLUMNS = Columns("gene", "ctrl")
HELD_OUT = ["C", "D", "C+D", "A+C"]
SETTINGS = ScoreSettings(n_particles=4, n_draws=2, n_resamples=50, seed=0)
KEY = RunKey("small", "svae_plus", "split", 0)
KINDS = ["single", "combination, 0 of 2 singles seen", "combination, 1 of 2 singles seen"]
BASELINES = [
    "no_change",
    "mean_effect",
    "additive",
    "ridge",
    "low_rank_linear",
    "matching_mean",
    "support_mean",
    "support_mean_shrunk",
    "support_mean_to_control",
]


def split_of(screen: AnnData, held_out: list[str], columns: Columns = COLUMNS) -> Split:
    """A split of a screen."""
    return make_split(
        list(screen.obs_names),
        read_perturbations(screen, columns),
        columns.control,
        name="split",
        held_out=held_out,
        seed=0,
    )


def profile(screen: AnnData, cells: tuple[str, ...] | list[str], total: float) -> np.ndarray:
    """Mean log-normalised profile of cells by name."""
    counts = screen[list(cells)].X.toarray().astype(float)
    return np.log1p(counts / counts.sum(1, keepdims=True) * total).mean(0)


def total_of(screen: AnnData) -> float:
    """Median total of the control cells."""
    controls = screen[screen.obs["gene"] == "ctrl"]
    return float(np.median(np.asarray(controls.X.sum(1))))


def query_table(
    model: FittedModel, cells: pd.DataFrame, screen: AnnData, split: Split
) -> pd.DataFrame:
    """The tidy rows of an adapted model on query cells."""
    predictions = score_model_predictions(model, model, cells, screen, split, SETTINGS)
    return score_query(cells, predictions, KEY, SETTINGS)


def baseline_table(screen: AnnData, split: Split) -> pd.DataFrame:
    """The tidy rows of all baselines."""
    genes = tuple(screen.var_names)
    predictions = score_baseline_predictions(screen, COLUMNS, split, genes, SETTINGS)
    return score_baselines(predictions, "small", split.name, SETTINGS)


def names_of(screen: AnnData, cells: tuple[str, ...], label: str) -> list[str]:
    """Those of the cells that have this label."""
    labels = dict(zip(screen.obs_names, read_perturbations(screen, COLUMNS), strict=True))
    return [cell for cell in cells if labels[cell] == label]


@pytest.fixture(scope="module")
def split(small_screen: AnnData) -> Split:
    """What the fitted models have not seen."""
    return split_of(small_screen, HELD_OUT)


@pytest.fixture(scope="module")
def observed(small_screen: AnnData, split: Split) -> ObservedEffects:
    """Of the held-out perturbations."""
    return ObservedEffects(small_screen, COLUMNS, split, tuple(small_screen.var_names))


@pytest.fixture(scope="module")
def baselines(observed: ObservedEffects) -> dict[str, dict[str, np.ndarray]]:
    """Of every baseline."""
    return baseline_effects(observed, "ctrl")


def test_observed_effects_are_query_cells_less_control_half_b(
    small_screen: AnnData, split: Split, observed: ObservedEffects
) -> None:
    total = total_of(small_screen)
    assert observed.target_total == total
    assert set(observed.effects) == set(HELD_OUT)
    for label in HELD_OUT:
        cells = names_of(small_screen, split.query, label)
        expected = profile(small_screen, cells, total) - profile(
            small_screen, split.control_b, total
        )
        np.testing.assert_allclose(observed.effects[label], expected, atol=1e-5)


def test_support_mean_is_support_cells_less_control_half_a(
    small_screen: AnnData, split: Split, baselines: dict[str, dict[str, np.ndarray]]
) -> None:
    total = total_of(small_screen)
    start = profile(small_screen, split.control_a, total)
    for label in HELD_OUT:
        cells = names_of(small_screen, split.support, label)
        expected = profile(small_screen, cells, total) - start
        np.testing.assert_allclose(baselines["support_mean"][label], expected, atol=1e-5)


def test_mean_effect_is_that_of_the_training_perturbations(
    small_screen: AnnData, split: Split, baselines: dict[str, dict[str, np.ndarray]]
) -> None:
    total = total_of(small_screen)
    start = profile(small_screen, split.control_a, total)
    every = [
        profile(
            small_screen, list(small_screen.obs_names[small_screen.obs["gene"] == label]), total
        )
        for label in ("A", "B", "B+A")
    ]
    for label in HELD_OUT:
        np.testing.assert_allclose(
            baselines["mean_effect"][label], np.mean(every, axis=0) - start, atol=1e-5
        )


def test_shrunk_support_lies_between_support_and_mean_effect(
    baselines: dict[str, dict[str, np.ndarray]],
) -> None:
    for label in HELD_OUT:
        mean, support, shrunk = (
            baselines[name][label]
            for name in ("mean_effect", "support_mean", "support_mean_shrunk")
        )
        weight = (shrunk - mean) / (support - mean)
        assert np.ptp(weight) < 1e-4
        assert 0.0 < weight[0] < 1.0


def test_additive_is_the_sum_of_singles_where_both_were_trained(small_screen: AnnData) -> None:
    split = split_of(small_screen, ["A+B", "C+D", "D"])
    observed = ObservedEffects(small_screen, COLUMNS, split, tuple(small_screen.var_names))
    found = baseline_effects(observed, "ctrl")
    total = total_of(small_screen)
    start = profile(small_screen, split.control_a, total)
    singles = [
        profile(
            small_screen, list(small_screen.obs_names[small_screen.obs["gene"] == gene]), total
        )
        - start
        for gene in ("A", "B")
    ]
    np.testing.assert_allclose(found["additive"]["A+B"], singles[0] + singles[1], atol=1e-5)
    # D is held out, so that C+D has no sum, and a single has none either
    for label in ("C+D", "D"):
        np.testing.assert_array_equal(found["additive"][label], found["mean_effect"][label])


def test_combinations_are_predicted_without_their_cells_too(small_screen: AnnData) -> None:
    """From trained parts alone; one with a gene that was never trained stands apart, and is named."""
    split = split_of(small_screen, ["A+B", "C+D", "D"])
    table = score_baseline_predictions(
        small_screen, COLUMNS, split, tuple(small_screen.var_names), replace(SETTINGS, n_halves=1)
    )
    rows = table[table["metric"].str.startswith("zero_shot")]
    assert set(rows["model"]) == set(BASELINES[:6])  # those that saw no support
    assert set(rows.loc[rows["perturbation"] == "A+B", "kind"]) == {
        "combination, 2 of 2 singles seen"
    }
    apart = rows[rows["perturbation"] == "C+D"]
    assert set(apart["kind"]) == {"combination, never trained: D"}
    assert apart["metric"].str.endswith("_untrained").all()
    observed = ObservedEffects(small_screen, COLUMNS, split, tuple(small_screen.var_names))
    sums = baseline_effects(observed, "ctrl")["additive"]
    value = rows.set_index(["model", "perturbation", "metric"])["value"]
    for label, end in (("A+B", ""), ("C+D", "_untrained")):
        r = stats.pearsonr(sums[label], observed.effects[label]).statistic
        assert value["additive", label, f"zero_shot_pearson_r{end}"] == pytest.approx(r, abs=1e-6)
    # only the first counts in the mean
    tidy = score_baselines(table, "small", "split", SETTINGS)
    own = tidy[(tidy["model"] == "additive") & (tidy["subset"] == QUERY)].set_index("metric")
    assert own.loc["zero_shot_rmse", "value"] == value["additive", "A+B", "zero_shot_rmse"]


def test_a_combination_whose_other_cells_were_trained_is_not_unseen(small_screen: AnnData) -> None:
    labels = read_perturbations(small_screen, COLUMNS)
    names = list(small_screen.obs_names)
    split = make_split(names, labels, "ctrl", name="cells", held_out=0, seed=0, cells_fraction=0.3)
    table = score_baseline_predictions(
        small_screen, COLUMNS, split, tuple(small_screen.var_names), SETTINGS
    )
    assert "A+B" in set(table["perturbation"])
    assert not table["metric"].str.startswith("zero_shot").any()


def test_a_model_predicts_a_combination_from_its_trained_parts(
    fitted: dict[str, FittedModel], small_screen: AnnData, split: Split
) -> None:
    model = fitted["svae_plus"]
    adapted = model.adapt(small_screen[list(split.support)])
    cells = score_cells(adapted, small_screen, split, SETTINGS)
    given = (small_screen, split, replace(SETTINGS, n_halves=1, n_draws=2))
    table = score_model_predictions(model, adapted, cells, *given)
    rows = table[table["metric"] == "zero_shot_rmse_untrained"].set_index("perturbation")
    assert rows["kind"].to_dict() == {
        "A+C": "combination, never trained: C", "C+D": "combination, never trained: C, D",
    }  # fmt: skip
    total = total_of(small_screen)
    observed = ObservedEffects(small_screen, COLUMNS, split, tuple(small_screen.var_names))

    def sampled(cells: AnnData) -> np.ndarray:
        draws = [model.sample(cells, seed=seed).astype(float) for seed in range(2)]
        sums = [np.maximum(d.sum(1, keepdims=True), 1) for d in draws]
        return np.mean([np.log1p(d / s * total) for d, s in zip(draws, sums, strict=True)], axis=0)

    controls = [*split.control_a, *split.control_b]
    start = sampled(small_screen[controls])[: len(split.control_a)].mean(0)
    of_a = small_screen[names_of(small_screen, split.query, "A+C")].copy()
    of_a.obs["gene"] = "A"  # C was never trained: it shifts nothing
    error = np.sqrt(np.mean((sampled(of_a).mean(0) - start - observed.effects["A+C"]) ** 2))
    assert rows.loc["A+C", "value"] == pytest.approx(error, rel=1e-4)


def test_scores_are_correlations_over_genes(
    observed: ObservedEffects, baselines: dict[str, dict[str, np.ndarray]]
) -> None:
    assert list(baselines) == BASELINES
    for name, effects in baselines.items():
        if name == "no_change":
            continue
        r = [stats.pearsonr(effects[p], observed.effects[p]).statistic for p in HELD_OUT]
        interval = observed.score(effects, SETTINGS)
        assert interval.value == pytest.approx(np.mean(r), abs=1e-6)
        assert interval.lower <= interval.value <= interval.upper
    assert np.isnan(observed.score(baselines["no_change"], SETTINGS).value)


def test_errors_are_root_mean_squares_over_genes(
    observed: ObservedEffects, baselines: dict[str, dict[str, np.ndarray]]
) -> None:
    for effects in baselines.values():
        every = [np.sqrt(((effects[p] - observed.effects[p]) ** 2).mean()) for p in HELD_OUT]
        assert observed.error(effects, SETTINGS).value == pytest.approx(np.mean(every), abs=1e-6)
    size = np.mean([np.sqrt((observed.effects[p] ** 2).mean()) for p in HELD_OUT])
    assert observed.error(baselines["no_change"], SETTINGS).value == pytest.approx(size, abs=1e-6)
    assert observed.error(observed.effects, SETTINGS).value == 0.0


def test_ridge_uses_the_parts_that_were_trained(small_screen: AnnData) -> None:
    split = split_of(small_screen, ["A+B", "C+D", "A+C", "D"])
    observed = ObservedEffects(small_screen, COLUMNS, split, tuple(small_screen.var_names))
    found = baseline_effects(observed, "ctrl")
    # only singles are left: nothing to choose the penalty by, so the smallest
    np.testing.assert_allclose(found["ridge"]["A+B"], found["additive"]["A+B"], rtol=2e-3)
    np.testing.assert_allclose(found["ridge"]["A+C"], found["additive"]["A+C"], rtol=2e-3)
    # C was trained and D was not; of D alone nothing is known
    assert not np.allclose(found["ridge"]["C+D"], found["mean_effect"]["C+D"], atol=0.01)
    np.testing.assert_array_equal(found["ridge"]["D"], found["mean_effect"]["D"])


def test_the_low_rank_model_needs_the_perturbed_genes_among_the_measured(
    small_screen: AnnData, baselines: dict[str, dict[str, np.ndarray]]
) -> None:
    for label in HELD_OUT:
        np.testing.assert_array_equal(
            baselines["low_rank_linear"][label], baselines["mean_effect"][label]
        )
    named = small_screen.copy()
    named.var_names = ["A", "B", "C", *named.var_names[3:]]
    split = split_of(named, ["A+B", "C", "D"])
    observed = ObservedEffects(named, COLUMNS, split, tuple(named.var_names))
    found = baseline_effects(observed, "ctrl")
    for label, differs in (("A+B", True), ("C", True), ("D", False)):
        same = np.array_equal(found["low_rank_linear"][label], found["mean_effect"][label])
        assert same != differs


def test_shrinking_to_the_mean_effect_does_not_count_the_noise_of_the_control(
    small_screen: AnnData, split: Split
) -> None:
    """The control is in the support's effect and in the mean effect: whatever it is, the weights stay."""

    def weights(n: int) -> list[float]:
        controls = split.control_a + split.control_b
        part = replace(split, control_a=controls[:n], control_b=controls[n:])
        half = ObservedEffects(small_screen, COLUMNS, part, tuple(small_screen.var_names))
        found = baseline_effects(half, "ctrl")
        mean, support, shrunk, control = (
            np.array([found[name][label] for label in HELD_OUT])
            for name in (
                "mean_effect",
                "support_mean",
                "support_mean_shrunk",
                "support_mean_to_control",
            )
        )
        to_control.append(float((control / support).mean()))
        return ((shrunk - mean) / (support - mean)).mean(axis=1).tolist()

    to_control: list[float] = []
    assert weights(5) == pytest.approx(weights(len(split.control_a)), rel=1e-9)
    assert to_control[0] < to_control[1]


def test_what_falls_back_to_the_mean_effect_says_nothing_of_its_own(
    small_screen: AnnData, split: Split
) -> None:
    table = baseline_table(small_screen, split)
    own = table[(table["metric"] == "ate_delta_r") & (table["subset"] == QUERY)]
    value = own.set_index("model")["value"]
    assert value[["mean_effect", "additive"]].tolist() == [0.0, 0.0]
    assert value["support_mean"] > 0.1


def test_a_strong_effect_is_found_by_its_support_cells(
    observed: ObservedEffects, baselines: dict[str, dict[str, np.ndarray]]
) -> None:
    assert observed.score(baselines["support_mean"], SETTINGS).value > 0.8


def test_tidy_baselines(small_screen: AnnData, split: Split) -> None:
    table = baseline_table(small_screen, split)
    assert list(table.columns) == METRIC_COLUMNS
    assert set(table["subset"]) == {QUERY, *KINDS}
    by_metric = table[table["subset"] == QUERY].groupby("metric")["model"].apply(list)
    assert by_metric["ate_rmse"] == BASELINES
    assert by_metric["ate_pearson_r"] == BASELINES[1:]
    assert by_metric["energy_distance"] == ["mean_effect", "support_mean"]
    # of the combinations held out here, each has a gene that was never trained
    assert set(by_metric.index) == {*METRICS, *UNTRAINED}
    assert by_metric["zero_shot_rmse_untrained"] == BASELINES[:6]
    assert set(table["screen"]) == {"small"}
    assert set(table["split"]) == {"split"}
    assert table["value"].notna().all()
    assert table["seed"].isna().all()
    assert str(table["seed"].dtype) == "Int64"
    assert_intervals_hold_values(table)


def assert_intervals_hold_values(table: pd.DataFrame) -> None:
    """Where there is an interval: of one perturbation there is none."""
    held = table.dropna(subset=["lower", "upper"])
    assert ((held["lower"] <= held["value"]) & (held["value"] <= held["upper"])).all()
    assert set(held["subset"]) >= {QUERY}


def noise_screen() -> AnnData:
    """Perturbations that do nothing, measured against a few control cells."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["ctrl", "T1", "T2", *(f"P{i}" for i in range(6))], [24] + [60] * 8)
    counts = rng.poisson(rng.gamma(2.0, 1.0, size=600), size=(len(labels), 600))
    obs = pd.DataFrame({"gene": labels}, index=[f"c{i}" for i in range(len(labels))])
    return AnnData(
        sparse.csr_matrix(counts, dtype=np.float32),
        obs=obs,
        var=pd.DataFrame(index=[f"G{i}" for i in range(600)]),
    )


def test_halves_of_the_control_keep_noise_from_agreeing() -> None:
    screen = noise_screen()
    split = split_of(screen, [f"P{i}" for i in range(6)])
    genes = tuple(screen.var_names)
    table = baseline_table(screen, split).set_index("model")
    r = table.loc[table["metric"] == "ate_pearson_r", "value"]
    assert r.abs().max() < 0.15
    # one control for both sides makes noise predict noise
    controls = list(split.control_b)
    observed = ObservedEffects(screen, COLUMNS, split, genes)
    shared = {
        label: profile(screen, names_of(screen, split.support, label), observed.target_total)
        - profile(screen, controls, observed.target_total)
        for label in split.held_out
    }
    assert observed.score(shared, SETTINGS).value > 0.4


@pytest.mark.parametrize("name", ["vae", "ivae", "svae_plus", "batches"])
def test_tidy_query_scores(
    name: str, fitted: dict[str, FittedModel], small_screen: AnnData, split: Split
) -> None:
    model = fitted[name].adapt(small_screen[list(split.support)])
    cells = score_cells(model, small_screen, split, SETTINGS)
    table = query_table(model, cells, small_screen, split)
    assert list(table.columns) == METRIC_COLUMNS
    # the genes of this screen are too few to name a target, so that all are not targets
    whole = table[table["subset"] == QUERY]
    likelihood = ["inll_macro_k4", "inll_micro_k4", "query_cells", "query_perturbations"]
    zero_shot = [] if name == "ivae" else UNTRAINED  # each combination is a label of its own there
    assert whole["metric"].tolist() == [*likelihood, *METRICS, *zero_shot]
    assert set(table["subset"]) == {QUERY, *KINDS}
    assert set(table["seed"]) == {0}
    assert_intervals_hold_values(table)
    value = whole.set_index("metric")["value"]
    query = small_screen[list(split.query)]
    bound = model.iwelbo(query, 4, seed=0)
    assert value["inll_macro_k4"] == pytest.approx(-bound.mean(), rel=1e-5)
    each = model.cell_iwelbo(query, 4, seed=0)
    assert value["inll_micro_k4"] == pytest.approx(-each.mean(), rel=1e-5)
    assert value[["query_cells", "query_perturbations"]].tolist() == [len(split.query), 4]
    assert cells.columns.tolist() == ["cell", "perturbation", "iwelbo"]
    assert cells["cell"].tolist() == list(split.query)
    assert cells["perturbation"].tolist() == read_perturbations(query, COLUMNS).tolist()
    np.testing.assert_allclose(cells["iwelbo"], each, rtol=1e-6)
    again = query_table(model, cells, small_screen, split)
    pd.testing.assert_frame_equal(table, again)


def test_predicted_effects_start_from_control_half_a(
    fitted: dict[str, FittedModel], small_screen: AnnData, split: Split
) -> None:
    model = fitted["svae_plus"].adapt(small_screen[list(split.support)])
    total = total_of(small_screen)
    profiles = predict_profiles(model, small_screen, split, total, SETTINGS)
    found = profiles.effects(split)
    assert set(found) == set(HELD_OUT)
    controls = list(split.control_a + split.control_b)
    assert profiles.control_names.tolist() == controls

    def sampled(cells: list[str]) -> np.ndarray:
        draws = [model.sample(small_screen[cells], seed=seed) for seed in (0, 1)]
        profiles = [np.log1p(d / d.sum(1, keepdims=True) * total).mean(0) for d in draws]
        return np.mean(profiles, axis=0)

    draws = [model.sample(small_screen[controls], seed=seed) for seed in (0, 1)]
    each = np.mean([np.log1p(d / d.sum(1, keepdims=True) * total) for d in draws], axis=0)
    start = each[: len(split.control_a)].mean(0)
    for label in HELD_OUT:
        expected = sampled(names_of(small_screen, split.query, label)) - start
        np.testing.assert_allclose(found[label], expected, atol=1e-4)


def test_nothing_held_out_gives_empty_tables(
    fitted: dict[str, FittedModel], small_screen: AnnData
) -> None:
    split = split_of(small_screen, [])
    cells = score_cells(fitted["vae"], small_screen, split, SETTINGS)
    table = query_table(fitted["vae"], cells, small_screen, split)
    assert table.empty
    assert list(table.columns) == METRIC_COLUMNS
    assert cells.empty
    assert cells.columns.tolist() == ["cell", "perturbation", "iwelbo"]
    none = baseline_table(small_screen, split)
    assert none.empty
    assert list(none.columns) == METRIC_COLUMNS


def test_without_control_only_the_bound_is_scored(
    fitted: dict[str, FittedModel], small_screen: AnnData, split: Split
) -> None:
    bare = Split(
        "split", 0, split.held_out, split.support, split.query, control_a=(), control_b=()
    )
    model = fitted["svae_plus"].adapt(small_screen[list(split.support)])
    cells = score_cells(model, small_screen, bare, SETTINGS)
    table = query_table(model, cells, small_screen, bare)
    likelihood = ["inll_macro_k4", "inll_micro_k4", "query_cells", "query_perturbations"]
    assert table["metric"].tolist() == likelihood


def test_training_scores(fitted: dict[str, FittedModel]) -> None:
    model = fitted["svae_plus"]
    table = score_training(model, KEY).set_index("metric")
    best = model.history.iloc[model.records.best]
    assert table.loc["validation_negative_elbo", "value"] == best["validation_negative_elbo"]
    n_edges = (model.inclusion_probability() > 0.5).to_numpy().sum()
    assert table.loc["n_edges", "value"] == n_edges == best["n_edges"]
    assert table["lower"].isna().all()


def test_edges_of_adapted_rows_do_not_count(
    fitted: dict[str, FittedModel], small_screen: AnnData
) -> None:
    for name in ("ivae", "svae_plus"):
        adapted = score_training(fitted[name].adapt(small_screen), KEY)
        pd.testing.assert_frame_equal(adapted, score_training(fitted[name], KEY))


def test_cells_without_counts_in_the_genes_are_left_out(
    fitted: dict[str, FittedModel], small_screen: AnnData, split: Split
) -> None:
    screen = small_screen.copy()
    empty = [split.query[0], split.support[0], split.control_a[0], split.control_b[0]]
    counts = screen.X.toarray()
    counts[screen.obs_names.isin(empty)] = 0.0
    screen.X = sparse.csr_matrix(counts)
    fewer = small_screen[~small_screen.obs_names.isin(empty)].copy()
    rest = Split(
        *(split.name, split.seed, split.held_out),
        *(
            tuple(cell for cell in cells if cell not in empty)
            for cells in (split.support, split.query, split.control_a, split.control_b)
        ),
    )
    tables = [baseline_table(s, p) for s, p in ((screen, split), (fewer, rest))]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    model = fitted["svae_plus"].adapt(fewer[list(rest.support)])
    of_model = []
    for s, p in ((screen, split), (fewer, rest)):
        cells = score_cells(model, s, p, SETTINGS)
        assert cells["cell"].tolist() == list(rest.query)
        of_model.append(query_table(model, cells, s, p))
    pd.testing.assert_frame_equal(of_model[0], of_model[1])


def test_headline_keeps_what_compares_models() -> None:
    rows = [
        ("vae", "inll_macro_k100", "s"),
        ("svae_plus", "inll_macro_k100", "s"),
        ("vae", "n_edges", "s"),
        ("svae_plus", "n_edges", "s"),
        ("vae", "validation_negative_elbo_macro", "s"),
        ("vae", "validation_negative_elbo_macro", "t"),
        ("svae_plus", "validation_negative_elbo_macro", "t"),
    ]
    metrics = pd.DataFrame(rows, columns=["model", "metric", "split"]).assign(subset=QUERY)
    assert headline(metrics).index.tolist() == [0, 1, 5, 6]
    of_singles = metrics.assign(subset="single")
    assert headline(of_singles).empty


def test_latents_are_put_beside_the_screen_by_name(small_screen: AnnData) -> None:
    some = small_screen.obs_names[[7, 3, 299]]
    table = pd.DataFrame([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], index=some)
    embedded = with_latents(small_screen, {"X_vae": table})
    found = pd.DataFrame(embedded.obsm["X_vae"], index=embedded.obs_names)
    assert embedded.obsm["X_vae"].dtype == np.float32
    np.testing.assert_array_equal(found.loc[some], table)
    assert found.drop(some).isna().all(axis=None)
    assert "X_vae" not in small_screen.obsm


def test_raw_effects(small_screen: AnnData) -> None:
    table = raw_effects(small_screen, COLUMNS, tuple(small_screen.var_names))
    assert table.index.tolist() == ["A", "A+B", "A+C", "B", "C", "C+D", "D"]
    total = total_of(small_screen)
    cells = {
        label: list(small_screen.obs_names[small_screen.obs["gene"] == label])
        for label in ("ctrl", "B+A")
    }
    expected = profile(small_screen, cells["B+A"], total) - profile(
        small_screen, cells["ctrl"], total
    )
    np.testing.assert_allclose(table.loc["A+B"], expected, atol=1e-5)
    everyone = raw_effects(small_screen, Columns("gene"), tuple(small_screen.var_names))
    assert "ctrl" in everyone.index
    weight = small_screen.obs["gene"].value_counts()
    weight.index = weight.index.str.replace("B+A", "A+B", regex=False)
    average = np.average(everyone, axis=0, weights=weight[everyone.index])
    np.testing.assert_allclose(average, 0.0, atol=1e-5)


def test_compare_mechanism() -> None:
    rng = np.random.default_rng(0)
    names = [f"g{i}" for i in range(9)]
    alike = pd.DataFrame(rng.normal(size=(9, 3)), index=names)
    alike.loc[["g2", "g5", "g7"]] = [[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.5, 1.0, 0.0]]
    apart = pd.DataFrame(np.eye(9), index=names)
    members = ["g7", "g2", "g5"]
    fits = {
        RunKey("s", "svae_plus", "split", 3): alike,
        RunKey("s", "raw_effects", "split", None): apart,
    }
    table, content = compare_mechanism(fits, members, n_bins=10)
    assert list(table.columns) == METRIC_COLUMNS
    value = table.set_index(["model", "metric"])["value"]
    assert value["svae_plus", "shared_mechanism_cosine"] == pytest.approx(1.0)
    assert value["svae_plus", "shared_mechanism_quantile"] == pytest.approx(1 / math.comb(9, 3))
    assert value["raw_effects", "shared_mechanism_cosine"] == pytest.approx(0.0)
    assert value["raw_effects", "shared_mechanism_quantile"] == 1.0
    assert set(table["subset"]) == {"g7 g2 g5"}
    assert content["genes"] == members
    assert set(content["models"]) == {"svae_plus (seed 3)", "raw_effects"}
    for entry in content["models"].values():
        assert set(entry) == {"cosine", "quantile", "n_sets", "histogram"}
        assert entry["n_sets"] == math.comb(9, 3)
        assert sum(entry["histogram"]["counts"]) == entry["n_sets"]
        assert len(entry["histogram"]["edges"]) == 11
    assert content["models"]["svae_plus (seed 3)"]["histogram"]["counts"][-1] >= 1
    with pytest.raises(ScreenError, match=r"svae_plus has no row for g9, x\. It has g0, g1"):
        compare_mechanism(fits, ["g1", "x", "g9"])


def test_the_papers_protocol_scores_the_cells_it_adapts_to(
    fitted: dict[str, FittedModel],
    small_screen: AnnData,
    split: Split,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = fitted["ivae"]
    table = score_as_paper(model, small_screen, split, KEY, SETTINGS)
    assert table["metric"].tolist() == ["paper_inll_macro_k4", "query_perturbations"]
    assert set(table["subset"]) == {"held_out_cells"}
    labels = read_perturbations(small_screen, COLUMNS)
    cells = small_screen[np.isin(labels, HELD_OUT)]
    bound = model.adapt(cells).iwelbo(cells, 4, seed=0)
    assert table["value"].tolist() == pytest.approx([-bound.mean(), 4], rel=1e-5)
    few = small_screen[~np.isin(labels, HELD_OUT) | (np.arange(len(labels)) % 5 == 0)]
    # 8, 6, 3 and 3 cells are left of them: too few
    assert score_as_paper(model, few, split, KEY, SETTINGS).empty
    assert "without perturbations of 10 cells or fewer: A+C, C, C+D, D." in caplog.text
    nothing = split_of(small_screen, [])
    assert score_as_paper(model, small_screen, nothing, KEY, SETTINGS).empty
