"""What MLflow holds after the test environment ran."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def client(finished: Any) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{finished.project}/mlflow.db")


@pytest.fixture(scope="module")
def runs(client: Any) -> list[Any]:
    (experiment,) = [e for e in client.search_experiments() if e.name == "sparseshift"]
    return list(client.search_runs([experiment.experiment_id], max_results=100))


def test_a_parent_and_a_child_for_every_fit(runs: list[Any]) -> None:
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    # other runs in the finished folder add parents of their own
    first = min(parents, key=lambda run: run.info.start_time).info.run_id
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == first]
    assert sorted(run.data.tags["sparseshift.namespace"] for run in children) == [
        "simulated.full.svae_plus.seed_0",
        "simulated.held_out.ivae.seed_0",
        "simulated.held_out.pca.seed_0",
        "simulated.held_out.rotated_vae.seed_0",
        "simulated.held_out.svae_plus.seed_0",
        "simulated.held_out.vae.seed_0",
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_child_has_its_parameters_scores_and_history(client: Any, runs: list[Any]) -> None:
    (child,) = [
        run
        for run in runs
        if run.data.tags.get("sparseshift.namespace") == "simulated.held_out.svae_plus.seed_0"
    ]
    assert child.data.params["n_latents"] == "5"
    assert child.data.params["options.steps"] == "60"
    assert child.data.params["model"] == "svae_plus"
    assert child.data.params["seed"] == "0"
    assert "inll_macro_k20/held_out_query" in child.data.metrics
    history = client.get_metric_history(child.info.run_id, "validation_negative_elbo")
    steps = [point.step for point in history]
    # two phases, and no step twice
    assert len(client.get_metric_history(child.info.run_id, "phase")) == len(steps) > 3
    assert sorted(steps) == list(range(1, len(steps) + 1))


def test_the_parent_can_be_run_again_and_knows_its_data(client: Any, runs: list[Any]) -> None:
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    parent = min(parents, key=lambda run: run.info.start_time)
    assert parent.data.tags["kedro.command"] == "kedro run --env test"
    assert "mlflow.source.git.commit" in parent.data.tags or "git" not in str(parent.data.tags)
    artifacts = [a.path for a in client.list_artifacts(parent.info.run_id)]
    assert "params.json" in artifacts
    assert "figures" in artifacts


def test_the_honesty_card_is_with_the_parent(client: Any, runs: list[Any], finished: Any) -> None:
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    parent = min(parents, key=lambda run: run.info.start_time).info.run_id
    found = [a.path for a in artifacts_of(client, parent) if "honesty" in a.path]
    assert len(found) == 1
    card = json.loads(Path(client.download_artifacts(parent, found[0])).read_text())
    written = finished.project / "data/08_reporting/simulated/honesty.json"
    assert card == json.loads(written.read_text())
    assert {"does it beat the mean?", "permuted labels", "seeds"} <= set(card)


def artifacts_of(client: Any, run: str, folder: str | None = None) -> list[Any]:
    """All files of a run, of its folders too."""
    found: list[Any] = []
    for artifact in client.list_artifacts(run, folder):
        found += artifacts_of(client, run, artifact.path) if artifact.is_dir else [artifact]
    return found
