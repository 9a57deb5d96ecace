"""The test environment end to end: what a run leaves behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

VAES = ("vae", "ivae", "rotated_vae", "svae_plus")
FITS = [("held_out", model) for model in VAES] + [("full", "svae_plus")]
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


def read_metrics(project: Path) -> pd.DataFrame:
    return pd.read_csv(project / "data/08_reporting/metrics.csv")


def test_metrics_are_tidy_and_complete(finished: Any) -> None:
    metrics = read_metrics(finished.project)
    assert list(metrics.columns) == [
        "screen", "model", "split", "seed", "metric", "subset", "value", "lower", "upper",
    ]  # fmt: skip
    assert metrics["value"].notna().all()
    key = ["screen", "model", "split", "seed", "metric", "subset"]
    assert not metrics.duplicated(key).any()
    for split, model in FITS:
        rows = metrics[(metrics["split"] == split) & (metrics["model"] == model)]
        assert ("validation_negative_elbo" in set(rows["metric"])) == (model != "rotated_vae")
        scored = {"inll_macro_k20", "inll_micro_k20", "ate_pearson_r"}
        assert scored <= set(rows["metric"]) if split == "held_out" else True
    assert set(BASELINES) <= set(metrics["model"])
    bounded = metrics.dropna(subset=["lower"])
    assert len(bounded)
    assert (bounded["lower"] <= bounded["value"]).all()
    assert (bounded["value"] <= bounded["upper"]).all()


def test_a_simulated_screen_is_scored_against_its_truth(finished: Any) -> None:
    metrics = read_metrics(finished.project)
    held_out = metrics[metrics["split"] == "held_out"].groupby("model")["metric"].agg(set)
    latents = {"mcc_pearson", "mcc_spearman", "r2", "r_con", "latent_correlation"}
    edges = {"graph_precision", "graph_recall", "graph_f1"}
    for model in ("pca", *VAES):
        assert latents <= held_out[model]
        assert (edges <= held_out[model]) == (model in {"rotated_vae", "svae_plus"})
        assert bool(edges & held_out[model]) == (model in {"rotated_vae", "svae_plus"})
    assert held_out["pca"] == latents | {"n_edges"}


def test_query_cells_were_not_adapted_to_nor_trained_on(finished: Any) -> None:
    folder = finished.project / "data/05_model_input/simulated/held_out"
    split = json.loads((folder / "split.json").read_text())
    assert split["query"]
    assert not set(split["query"]) & set(split["support"])
    scores = pd.read_parquet(
        finished.project / "data/07_model_output/simulated/held_out/vae/seed_0/cell_scores.parquet"
    )
    assert set(scores["cell"]) == set(split["query"])
    assert set(scores["perturbation"]) == set(split["held_out"])


def test_every_dataset_between_nodes_is_a_file(finished: Any) -> None:
    outputs = {
        str(path.relative_to(finished.project / "data"))
        for path in (finished.project / "data").rglob("*")
        if path.is_file()
    }
    for expected in (
        "01_raw/simulated.h5ad",
        "02_intermediate/simulated/facts.json",
        "03_primary/simulated/screen.h5ad",
        "05_model_input/simulated/full/genes.csv",
        "06_models/simulated/held_out/ivae/seed_0/adapted/weights.safetensors",
        "07_model_output/simulated/full/svae_plus/seed_0/latents.parquet",
        "08_reporting/simulated/figures/effect_matrix.png",
        "08_reporting/report.html",
    ):
        assert expected in outputs
    assert not [name for name in outputs if ".tmp" in name or name.endswith((".pkl", ".pickle"))]


def test_the_report_shows_every_figure_and_the_answer(finished: Any) -> None:
    page = (finished.project / "data/08_reporting/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 11
    assert "simulated: on held-out perturbations" in page
    assert "do p000, p001 share latents?" in page
    assert "the true latents are recovered best by" in page
    for model in ("pca", *VAES, *BASELINES):
        assert model in page


def test_a_second_run_of_what_is_missing_runs_nothing(
    finished: Any, run_kedro: Callable[..., Any]
) -> None:
    again = run_kedro(finished.project, "run", "--env", "test", "--only-missing-outputs")
    assert again.code == 0, again.text
    assert "Running node" not in again.text


def test_a_second_run_trains_nothing_and_changes_nothing(
    finished: Any, run_kedro: Callable[..., Any]
) -> None:
    """What is read from states is what was trained; a changed parameter trains anew."""
    fit = ["run", "--env", "test", "--namespaces", "simulated.held_out.rotated_vae"]
    folder = finished.project / "data/06_models/simulated/held_out/rotated_vae/seed_0/model"
    files = [folder / name for name in ("weights.safetensors", "model.json")]
    states = finished.project / "data/06_models/checkpoints"
    before, n_states = [file.read_bytes() for file in files], len(list(states.iterdir()))
    assert n_states == len(FITS) + 1  # the refit to permuted labels
    again = run_kedro(finished.project, *fit)
    assert again.code == 0, again.text
    assert "Finished before, not trained again" in again.text
    assert [file.read_bytes() for file in files] == before
    assert len(list(states.iterdir())) == n_states


@pytest.mark.slow
def test_parallel_runner_and_a_new_folder_give_the_same_metrics(
    finished: Any, tmp_path: Path, run_kedro: Callable[..., Any]
) -> None:
    project = tmp_path / "again"
    shutil.copytree(
        finished.project, project, symlinks=True, ignore=shutil.ignore_patterns("data", "ml*")
    )
    (project / "data/01_raw").mkdir(parents=True)
    parallel = ["--runner", "ParallelRunner", "--runner-params", "max_workers=2"]
    done = run_kedro(project, "run", "--env", "test", *parallel)
    assert done.code == 0, done.text
    first = (finished.project / "data/08_reporting/metrics.csv").read_bytes()
    assert (project / "data/08_reporting/metrics.csv").read_bytes() == first
