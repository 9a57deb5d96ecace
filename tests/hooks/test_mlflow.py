"""What a `kedro run` leaves in MLflow, under each runner and for each way it can end."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

VAE, VAE_1, SVAE = (
    f"papalexi.held_out.{fit}" for fit in ("vae.seed_0", "vae.seed_1", "svae_plus.seed_0")
)
PARALLEL = "--runner ParallelRunner --runner-params max_workers=2"
BETA = "--params models.vae.beta=2.5"
SCENARIOS: dict[str, dict[str, Any]] = {
    "sequential": {"options": BETA},
    "thread": {"options": f"{BETA} --runner ThreadRunner"},
    "fork": {"options": f"{BETA} {PARALLEL}"},
    "spawn": {"options": f"{BETA} {PARALLEL}", "environment": {"KEDRO_MP_CONTEXT": "spawn"}},
    "failing": {"options": "--params 'what=fail in vae'"},
    "failing_parallel": {"options": f"--params 'what=fail in vae' {PARALLEL}"},
    "unwritable": {"options": "--params 'what=unwritable in vae'"},
    "broken": {"options": "--params 'what=break the store'"},
    "nowhere": {"options": "--env server"},
}

Get = Callable[[str], Any]


@pytest.fixture(scope="module")
def outcome(launch: Callable[..., Any]) -> Get:
    futures = launch(SCENARIOS)
    return lambda name: futures[name].result()


@pytest.fixture(scope="module")
def done(outcome: Get) -> Any:
    sequential = outcome("sequential")
    assert sequential.code == 0, sequential.text
    return sequential


def test_parent_says_what_ran_and_how_to_run_it_again(done: Any) -> None:
    (parent,) = done.parents
    tags = parent.data.tags
    assert parent.info.status == "FINISHED"
    assert tags["kedro.pipelines"] == "__default__"
    assert tags["kedro.runner"] == "SequentialRunner"
    assert tags["kedro.command"] == "kedro run --params models.vae.beta=2.5"
    assert tags["version.python"].startswith("3.")
    assert tags["version.kedro"].startswith("1.7")
    assert parent.data.params["models.vae.beta"] == "2.5"
    assert parent.data.params["models.svae_plus.training.epochs"] == "4"
    assert "unused" not in parent.data.params
    everything = json.loads(done.read(parent, "params.json"))
    assert everything["unused"] == 1
    assert everything["models"]["vae"]["training"] == {"epochs": 3, "widths": [8, 8]}


def test_parent_holds_input_digests_and_what_belongs_to_no_fit(done: Any) -> None:
    (parent,) = done.parents
    (screen,) = [entry.dataset for entry in parent.inputs.dataset_inputs]
    content = (done.project / "data" / "screen.csv").read_bytes()
    assert (screen.name, screen.digest) == ("screen", sha256(content).hexdigest()[:16])
    assert screen.source.endswith('data/screen.csv"}')
    assert done.artifacts(parent) == {
        "params.json",
        "json/cells.json",
        "tables/comparison.csv",
        "text/report.md",
    }
    assert done.read(parent, "text/report.md") == "# Report\n\n3 fits\n"


def test_each_fit_is_a_child_with_keys_common_to_all_models(done: Any) -> None:
    children = done.children()
    assert children.keys() == {VAE, VAE_1, SVAE}
    assert {child.info.status for child in children.values()} == {"FINISHED"}
    expected = {"screen": "papalexi", "split": "held_out", "model": "vae", "seed": "1"}
    tags = children[VAE_1].data.tags
    assert {key: tags[f"sparseshift.{key}"] for key in expected} == expected
    assert children[VAE_1].data.params.items() >= expected.items()
    assert children[VAE_1].data.params["beta"] == "2.5"
    assert children[SVAE].data.params["training.widths"] == "[8, 8]"
    assert children[VAE].data.params.keys() == children[SVAE].data.params.keys()


def test_metrics_history_and_figure_of_a_fit(done: Any) -> None:
    fit = done.children()[SVAE]
    assert fit.data.metrics == {
        "elbo": -0.25,
        "kl": 0.5,
        "i_nll_100/query": 2.0,
        "i_nll_100/query/lower": 1.0,
        "i_nll_100/query/upper": 3.0,
        "mcc/all": 0.5,
    }
    history = done.client.get_metric_history(fit.info.run_id, "elbo")
    assert [(point.step, point.value) for point in history] == [
        (epoch, -1 / (1 + epoch)) for epoch in range(4)
    ]
    # The first epoch's KL is not a number, one MCC is infinite.
    assert fit.data.tags["not_finite.history"] == fit.data.tags["not_finite.metrics"] == "1"
    assert done.artifacts(fit) == {"figures/curves.png"}


def summary(outcome: Any) -> dict[str, Any]:
    return {
        run.info.run_name: (
            run.info.status,
            run.data.params,
            run.data.metrics,
            outcome.artifacts(run),
        )
        for run in outcome.runs
    }


@pytest.mark.parametrize("runner", ["thread", "fork", "spawn"])
def test_every_runner_records_the_same(outcome: Get, done: Any, runner: str) -> None:
    other = outcome(runner)
    assert other.code == 0, other.text
    assert len(other.runs) == 4
    assert summary(other) == summary(done)


def test_command_runs_it_again_and_finished_fits_are_left_out(
    done: Any, kedro: Callable[..., Any]
) -> None:
    (first,) = done.parents
    command = shlex.split(first.data.tags["kedro.command"])
    (done.project / "data/papalexi/held_out/vae/1/metrics.csv").unlink()
    missing = kedro(done.project, shlex.join([*command[2:], "--only-missing-outputs"]))
    assert missing.code == 0, missing.text
    second = missing.parents[1]
    assert second.data.tags["kedro.command"] == shlex.join([*command, "--only-missing-outputs"])
    assert missing.children(second).keys() == {VAE_1}
    assert missing.children(second)[VAE_1].data.metrics == {
        key: value for key, value in done.children()[VAE_1].data.metrics.items() if "/" in key
    }
    assert second.data.params.items() <= first.data.params.items()


def test_failing_fit_keeps_its_error_and_the_others_their_state(outcome: Get) -> None:
    failing = outcome("failing")
    assert failing.code == 1
    assert failing.states() == {
        "__default__": "FAILED",
        SVAE: "FINISHED",
        VAE: "FAILED",
        VAE_1: "KILLED",
    }
    for run in (failing.parents[0], failing.children()[VAE]):
        assert run.data.tags["error"] == "ArithmeticError: the bound is not finite"
        trace = failing.read(run, "traceback.txt")
        assert "Traceback (most recent call last)" in trace
        assert "in score" in trace


def test_failure_in_a_worker_process_reaches_its_fit(outcome: Get) -> None:
    failing = outcome("failing_parallel")
    states = failing.states()
    assert failing.code == 1
    assert states["__default__"] == "FAILED"
    failed = {name for name, state in states.items() if state == "FAILED"} - {"__default__"}
    assert failed
    assert failed <= {VAE, VAE_1}
    assert "RUNNING" not in states.values()
    for name in failed:
        assert "in score" in failing.read(failing.children()[name], "traceback.txt")


def test_dataset_that_cannot_be_saved_fails_its_fit(outcome: Get) -> None:
    unwritable = outcome("unwritable")
    assert unwritable.code == 1
    assert unwritable.states()["__default__"] == "FAILED"
    assert unwritable.states()[VAE] == "FAILED"
    assert unwritable.states()[SVAE] == "KILLED"
    assert "DatasetError" in unwritable.children()[VAE].data.tags["error"]


def test_fault_of_the_store_costs_no_results(outcome: Get) -> None:
    broken = outcome("broken")
    assert broken.code == 0, broken.text
    assert broken.text.count("the run goes on untracked") == 1
    assert "Traceback" not in broken.text
    assert "SELECT" not in broken.text
    assert (broken.project / "data" / "comparison.csv").exists()


def test_store_that_cannot_be_reached_stops_the_run_at_once(outcome: Get) -> None:
    nowhere = outcome("nowhere")
    assert nowhere.code == 1
    assert "MLflow cannot be used at nonsense://nowhere" in nowhere.text
    assert "enabled: false" in nowhere.text
    assert "Traceback" not in nowhere.text
    assert not (nowhere.project / "data" / "cells.json").exists()


def test_importing_the_hook_does_not_import_mlflow() -> None:
    code = "import sys, sparseshift.hooks; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
