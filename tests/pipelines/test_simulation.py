"""A small simulation study end to end: its tables, its page, its runs in MLflow, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparseshift.pipelines.parameters import ProjectParameters

STUDY = """
study:
  conditions:
    small: {simulate: &small {n_perturbations: 10, n_cells_per_perturbation: 40, n_latents: 4, n_genes: 30}, published: 15 latents}
    permuted: {simulate: *small, permute_labels: true, models: [svae_plus]}
  models: [pca, rotated_vae, svae_plus]
  data_seeds: [0, 3]
  model_seeds: [0, 1]
  drawn: rotated_vae
models:
  pca: {n_latents: 4}
  rotated_vae: &fit {n_latents: 4, options: {steps: 40, n_hidden: 16}}
  svae_plus: *fit
evaluation: {n_particles: 5, n_draws: 2, n_resamples: 20}
"""
MODELS = ("pca", "rotated_vae", "svae_plus")


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, make_project: Any, run_kedro: Callable[..., Any]
) -> Path:
    project: Path = make_project(tmp_path_factory.mktemp("study") / "project")
    environment = project / "conf" / "small"
    environment.mkdir()
    (environment / "parameters.yml").write_text(STUDY)
    done = run_kedro(project, "run", "--env", "small")
    assert done.code == 0, done.text
    return project


def _read(project: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(project / "data/08_reporting/simulation" / name)


def test_every_fit_is_in_the_table(study: Path) -> None:
    metrics = _read(study, "metrics.csv")
    assert list(metrics.columns) == [
        "condition", "data_seed", "model", "seed", "metric", "subset", "value", "lower", "upper",
    ]  # fmt: skip
    key = ["condition", "data_seed", "model", "seed", "metric", "subset"]
    assert not metrics.duplicated(key).any()
    expected = {("small", d, m, s) for d in (0, 3) for m in MODELS for s in (0.0, 1.0)}
    expected |= {("permuted", d, "svae_plus", s) for d in (0, 3) for s in (0.0, 1.0)}
    of_fits = metrics.dropna(subset=["seed"])
    assert set(of_fits[key[:4]].itertuples(index=False, name=None)) == expected
    found = of_fits.groupby("model")["metric"].agg(set)
    for model in MODELS:
        assert {"mcc_pearson", "r2", "r_con", "udr"} <= found[model]
    assert {"graph_f1", "graph_shd", "inll_macro_k5", "cpu_seconds"} <= found["svae_plus"]
    together = metrics[metrics["seed"].isna()]
    assert set(together["metric"]) == {"latent_agreement", "edge_stability"}
    unseen = metrics[metrics["subset"] == "unseen_cells"]
    assert set(unseen["metric"]) == {"mcc_pearson"}


def test_the_summary_averages_seeds_before_data_seeds(study: Path) -> None:
    metrics, summary = _read(study, "metrics.csv"), _read(study, "summary.csv")
    chosen = "condition == 'small' and model == 'svae_plus' and metric == 'mcc_pearson'"
    chosen += " and subset == 'trained'"
    (row,) = summary.query(chosen).to_dict("records")
    own = metrics.query(chosen)
    assert row["value"] == pytest.approx(own["value"].mean())
    assert row["least"] == own["value"].min()
    assert (row["data_seeds"], row["fits"]) == (2, 4)
    assert (row["published"], row["published_sd"]) == (0.88, 0.04)
    permuted = summary[summary["condition"] == "permuted"]
    assert permuted["published"].isna().all()


def test_with_permuted_labels_there_is_nothing_to_find(study: Path) -> None:
    metrics = _read(study, "metrics.csv").query("condition == 'permuted'")
    assert (metrics.loc[metrics["metric"] == "graph_recall", "value"] == 0).all()


def test_the_page_and_the_figures_are_there(study: Path) -> None:
    folder = study / "data/08_reporting/simulation"
    page = (folder / "report.html").read_text()
    for words in ("2 data seeds a condition (exploratory", "Table 1 of Lopez", "permuted", "0.88"):
        assert words in page
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    conditions = {f"{kind}_{c}" for kind in ("recovery", "graph") for c in ("small", "permuted")}
    assert names == {"stability", "cost"} | conditions


def test_each_fit_is_a_run_that_can_be_compared(study: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{study / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sparseshift")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 1 + 2 * 3 * 2 + 2 * 2
    run = runs["small.data_3.svae_plus.seed_1"]
    assert run.data.params["simulate.n_latents"] == "4"
    assert run.data.params["model"] == "svae_plus"
    assert np.isfinite(run.data.metrics["mcc_pearson/trained"])


def test_a_finished_study_is_not_fitted_again(study: Path, run_kedro: Callable[..., Any]) -> None:
    before = _read(study, "metrics.csv")
    done = run_kedro(study, "run", "--env", "small")
    assert done.code == 0
    assert done.text.count("Finished before, not") == 12  # not the four linear ones
    pd.testing.assert_frame_equal(before, _read(study, "metrics.csv"))


def _faults(**study: Any) -> str:
    content = {
        "run": {"screens": ["s"], "fits": {"full": ["vae"]}, "seeds": [0]},
        "screens": {"s": {"columns": {"perturbation": "p"}}},
        "models": {"vae": {"preset": "vae"}},
        "report": {"model": "vae"},
        "study": {
            "conditions": {"paper": {}},
            "models": ["vae"],
            "data_seeds": [0],
            "model_seeds": [0],
        }
        | study,
    }
    with pytest.raises(Exception, match="nothing was run") as caught:
        ProjectParameters.check(content)
    return str(caught.value)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"models": ["vea"]}, "study.models names vea, which models does not have"),
        (
            {"conditions": {"a": {"models": ["x"]}}},
            "study.conditions.a.models names x, which models does not have",
        ),
        ({"data_seeds": [1, 1]}, "data_seeds names one twice"),
        ({"model_seeds": [-1]}, "model_seeds must not be negative"),
        ({"conditions": {"a.b": {}}}, "'a.b' has a dot"),
        ({"conditions": {"a": {"simulate": {"seed": 3}}}}, "a study says its seeds once"),
        ({"drawn": "svae"}, "drawn is svae, which models does not have"),
        ({"conditions": {"a": {"unseen_fraction": 1.0}}}, "study.conditions.a.unseen_fraction"),
        ({"conditions": {"a": {"simulate": {"densty": 0.1}}}}, "there is no such parameter"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    study: dict[str, Any], message: str
) -> None:
    assert message in _faults(**study)
