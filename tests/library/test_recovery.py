"""Fits of a simulated screen against its truth."""

import logging
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sparseshift as ss
from sparseshift.data.splits import Split, make_split
from sparseshift.evaluation.latent_matching import match_latents
from sparseshift.evaluation.latent_regression import latent_r2
from sparseshift.scoring import METRIC_COLUMNS, RunKey, score_recovery, score_training
from sparseshift.scoring.cells import Model
from sparseshift.screens.columns import Columns
from sparseshift.screens.filters import Filters, filter_screen

LATENTS = ["mcc_pearson", "mcc_spearman", "r2", "r_con"]
EDGES = ["graph_precision", "graph_recall", "graph_f1", "graph_auprc", "graph_shd"]
PUBLISHED = ["paper_graph_precision", "paper_graph_recall", "paper_graph_f1"]
COLUMNS = Columns("perturbation", "control")
KEY = RunKey("simulated", "some", "held_out", 0)
DENSE = ("vae", "ivae", "cpa_vae", "pca")
SPARSE = ("svae", "svae_plus", "sams_vae", "rotated_vae")


@pytest.fixture(scope="module")
def screen() -> AnnData:
    return ss.simulate(
        n_perturbations=5, n_cells_per_perturbation=30, n_control_cells=30, n_latents=3, n_genes=20
    )


@pytest.fixture(scope="module")
def split(screen: AnnData) -> Split:
    labels = screen.obs["perturbation"].to_numpy(dtype=str)
    return make_split(
        list(screen.obs_names), labels, "control", name="held_out", held_out=["p001"], seed=0
    )


@pytest.fixture(scope="module")
def models(screen: AnnData, split: Split) -> dict[str, Model]:
    trained = screen[
        split.is_training(screen.obs_names, screen.obs["perturbation"].to_numpy(dtype=str))
    ]

    def fit(preset: str) -> Model:
        sizes: dict[str, Any] = {} if preset == "pca" else {"steps": 20, "n_hidden": 8}
        columns: dict[str, Any] = {"perturbation": "perturbation", "control": "control"}
        return ss.fit(trained, preset, n_latents=3, **columns, **sizes)

    return {preset: fit(preset) for preset in (*DENSE, *SPARSE)}


def scores(model: Model, screen: AnnData, split: Split) -> pd.Series:
    table = score_recovery(model, screen, split, KEY)
    assert list(table.columns) == METRIC_COLUMNS
    by_latent = table["metric"] == "latent_correlation"
    assert table.loc[by_latent, "subset"].tolist() == [f"latent {j}" for j in range(3)]
    mean = table.loc[table["metric"] == "mcc_pearson", "value"].item()
    assert table.loc[by_latent, "value"].mean() == pytest.approx(mean)
    table = table[~by_latent]
    published = table["metric"].str.startswith("paper_")
    assert (table["subset"] == np.where(published, "all", "trained")).all()
    return table[~published].set_index("metric")["value"]


def published_scores(model: Model, screen: AnnData, split: Split) -> pd.Series:
    table = score_recovery(model, screen, split, KEY).set_index("metric")["value"]
    return table[[name for name in table.index if name.startswith("paper_")]]


@pytest.mark.parametrize("preset", [*DENSE, *SPARSE])
def test_latents_are_scored_on_the_cells_of_trained_perturbations(
    preset: str, models: dict[str, Model], screen: AnnData, split: Split
) -> None:
    found = scores(models[preset], screen, split)
    own = screen[~screen.obs["perturbation"].isin(["control", "p001"])]
    true, learnt = own.obsm["z"], models[preset].latents(own)
    assert found["mcc_pearson"] == pytest.approx(match_latents(true, learnt).mcc)
    assert found["mcc_spearman"] == pytest.approx(match_latents(true, learnt, "spearman").mcc)
    assert found["r2"] == pytest.approx(latent_r2(true, learnt).mean)
    assert found.index.tolist() == LATENTS + (EDGES if preset in SPARSE else [])
    assert found.drop("graph_shd", errors="ignore").between(0.0, 1.0).all()
    published = published_scores(models[preset], screen, split)
    assert published.index.tolist() == (PUBLISHED if preset in SPARSE else [])


@pytest.mark.parametrize("preset", ["svae_plus", "sams_vae", "pca"])
def test_adapting_and_unseen_cells_change_nothing(
    preset: str, models: dict[str, Model], screen: AnnData, split: Split
) -> None:
    found = scores(models[preset], screen, split)
    adapted = models[preset].adapt(screen[list(split.support)])
    pd.testing.assert_series_equal(scores(adapted, screen, split), found)
    moved = screen.copy()
    others = moved.obs["perturbation"].isin(["control", "p001"]).to_numpy()
    moved.obsm["z"][others] = 1e6
    moved.uns["shifts"][1] = 1.0
    pd.testing.assert_series_equal(scores(models[preset], moved, split), found)


class Oracle:
    """A fit that found the truth, up to the order, sign and scale of the latents."""

    def __init__(self, model: ss.FittedModel, screen: AnnData) -> None:
        self.spec = model.spec
        self.turn = np.array([[0.0, -2.0, 0.0], [0.0, 0.0, 3.0], [0.5, 0.0, 0.0]])
        edges = pd.DataFrame(screen.uns["shifts"] != 0.0, index=screen.uns["perturbations"])
        # rows in an order of the model's own
        self.edges = (edges.astype(float) @ np.abs(np.sign(self.turn))).iloc[::-1]

    def latents(self, cells: AnnData) -> np.ndarray:
        return np.asarray(cells.obsm["z"] @ self.turn)

    def inclusion_probability(self) -> pd.DataFrame:
        return self.edges


def test_the_truth_scores_one_and_each_wrong_edge_costs(
    models: dict[str, Model], screen: AnnData, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparseshift.scoring import recovery

    monkeypatch.setattr(recovery, "FittedModel", Oracle)
    oracle = cast("Any", Oracle(cast("ss.FittedModel", models["svae_plus"]), screen))
    found = scores(oracle, screen, split)
    perfect = {**dict.fromkeys(LATENTS + EDGES, 1.0), "graph_shd": 0.0}
    assert found.to_dict() == pytest.approx(perfect)
    oracle.edges.loc["p001"] = 1.0 - oracle.edges.loc["p001"]  # never trained: does not count
    assert scores(oracle, screen, split).to_dict() == pytest.approx(perfect)
    rows = oracle.edges.index != "p001"
    n_true = int(oracle.edges[rows].to_numpy().sum())
    i, j = np.argwhere(oracle.edges.to_numpy() * rows[:, None])[0]
    oracle.edges.iloc[i, j] = 0.0
    found = scores(oracle, screen, split)
    assert found["graph_precision"] == 1.0
    assert found["graph_recall"] == pytest.approx((n_true - 1) / n_true)
    assert found["graph_shd"] == 1.0
    assert found["graph_auprc"] < 1.0


@pytest.mark.parametrize(("mask_prior", "on"), [("beta_map", 0), ("l1_mean_loss", 3)])
def test_the_published_scores_match_on_signs_and_count_perturbations_never_trained(
    mask_prior: str,
    on: int,
    models: dict[str, Model],
    screen: AnnData,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sparseshift.scoring import recovery

    monkeypatch.setattr(recovery, "FittedModel", Oracle)
    oracle = cast("Any", Oracle(cast("ss.FittedModel", models["svae_plus"]), screen))
    options = replace(oracle.spec.options, mask_prior=mask_prior)
    oracle.spec = replace(oracle.spec, options=options)
    true = pd.DataFrame(screen.uns["shifts"] != 0.0, index=screen.uns["perturbations"])
    # the untrained p001 has no edge on, or every one; the latent of negative sign has no match
    n_found = int(true.drop(index="p001").to_numpy().sum()) + on
    flipped = int(np.flatnonzero((oracle.turn < 0).any(axis=1))[0])
    scored = true if on else true.drop(index="p001")
    n_correct = int(scored.drop(columns=flipped).to_numpy().sum())
    expected = [n_correct / n_found, n_correct / int(true.to_numpy().sum())]
    found = published_scores(oracle, screen, split)
    np.testing.assert_allclose(found[PUBLISHED[:2]], expected)
    oracle.turn = np.abs(oracle.turn)
    share = scored.to_numpy().sum() / true.to_numpy().sum()
    assert published_scores(oracle, screen, split)[PUBLISHED[1]] == pytest.approx(share)


def test_truth_survives_the_filters(
    models: dict[str, Model], screen: AnnData, split: Split
) -> None:
    few = screen[screen.obs["perturbation"] != "p003"].copy()
    left, _ = filter_screen(few[::-1].copy(), COLUMNS, Filters())
    expected = scores(models["svae_plus"], few, split)
    pd.testing.assert_series_equal(scores(models["svae_plus"], left, split), expected)


def test_without_a_truth_there_are_no_rows(
    models: dict[str, Model], screen: AnnData, split: Split
) -> None:
    for leave_out in ("z", "shifts", "perturbations"):
        bare = screen.copy()
        (bare.obsm if leave_out == "z" else bare.uns).pop(leave_out)
        assert score_recovery(models["vae"], bare, split, KEY).empty


def test_what_training_is_scored_for(models: dict[str, Model]) -> None:
    validated = {"validation_negative_elbo", "validation_negative_elbo_macro"}
    expected = {
        "pca": {"n_edges"},
        "ivae": {*validated, "n_edges"},
        "svae_plus": {*validated, "n_edges", "edges_converged"},
        # rotated after its last evaluation
        "rotated_vae": {"n_edges"},
    }
    for preset, metrics in expected.items():
        table = score_training(models[preset], KEY)
        assert set(table["metric"]) == metrics
        assert table["value"].notna().all()


def test_edges_that_still_move_are_not_converged(
    screen: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = ss.fit(
            screen, "svae_plus", perturbation="perturbation", n_latents=3, n_hidden=8, steps=40,
            warm_start=None, learning_rate=0.05, schedule="constant", batch_size=30,
        )  # fmt: skip
    value = score_training(model, KEY).set_index("metric").loc["edges_converged", "value"]
    assert value == float(model.records.edges_converged)
    assert ("number of edges still moved" in caplog.text) == (value == 0.0)
