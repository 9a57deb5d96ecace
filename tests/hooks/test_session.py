"""What the command line shows for an error, and how a run ends that is stopped."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

PARALLEL = "--runner ParallelRunner --runner-params max_workers=2"
SLEEP = "--params 'what=sleep in vae'"
TOO_LARGE = "--env off --pipelines data --params split.fraction=2"
SCENARIOS: dict[str, dict[str, Any]] = {
    "interrupted": {"options": SLEEP, "stop": signal.SIGINT},
    "interrupted_workers": {"options": f"{SLEEP} {PARALLEL}", "stop": signal.SIGINT},
    "terminated": {"options": SLEEP, "stop": signal.SIGTERM},
    "terminated_workers": {"options": f"{SLEEP} {PARALLEL}", "stop": signal.SIGTERM},
    "value": {"options": TOO_LARGE},
    "value_in_worker": {
        "options": f"{TOO_LARGE} {PARALLEL}",
        "environment": {"KEDRO_MP_CONTEXT": "spawn"},
    },
    "traceback": {"options": TOO_LARGE, "environment": {"SPARSESHIFT_TRACEBACK": "1"}},
    "parameter": {"options": "--env off --params models.vae.trianing=1"},
    "wrapped": {"options": "--env off --pipelines faults --params what=wrapped"},
    "pipeline": {"options": "--env off --pipelines modeling"},
    "namespace": {"options": "--env off --namespaces norman"},
    "bug": {"options": "--env off --params 'what=fail in vae'"},
}
ADVICE = {
    "value": "split.fraction is 2, it must be at most 1.",
    "value_in_worker": "split.fraction is 2, it must be at most 1.",
    "parameter": "trianing",
    "wrapped": "obs has no column 'gene'.",
    "pipeline": "Failed to find the pipeline named 'modeling'",
    "namespace": "Pipeline does not contain nodes with the following namespaces: ['norman']",
}

Get = Callable[[str], Any]


@pytest.fixture(scope="module")
def outcome(launch: Callable[..., Any]) -> Get:
    futures = launch(SCENARIOS)
    return lambda name: futures[name].result()


@pytest.mark.parametrize("name", ADVICE)
def test_error_for_a_person_is_said_once_without_traceback(outcome: Get, name: str) -> None:
    result = outcome(name)
    assert result.code == 1
    assert result.text.count(ADVICE[name]) == 1, result.text
    assert "Traceback" not in result.text
    assert result.text.rstrip().endswith("(SPARSESHIFT_TRACEBACK=1 shows the traceback.)")
    assert "errors.pydantic.dev" not in result.text


def test_traceback_on_request_and_for_bugs(outcome: Get) -> None:
    for name, text in [("traceback", ADVICE["value"]), ("bug", "the bound is not finite")]:
        result = outcome(name)
        assert result.code == 1
        assert "Traceback" in result.text
        assert text in result.text


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("interrupted", 130),
        ("interrupted_workers", 130),
        ("terminated", 143),
        ("terminated_workers", 143),
    ],
)
def test_stopped_run_is_marked_and_leaves_nothing_running(
    outcome: Get, name: str, code: int
) -> None:
    result = outcome(name)
    assert result.code == code, result.text
    states = result.states()
    assert states.pop("__default__") == "KILLED"
    assert "KILLED" in states.values()
    assert set(states.values()) <= {"KILLED", "FINISHED"}
    assert "Traceback" not in result.text
    assert result.text.count("--only-missing-outputs goes on from there") == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(result.process_group, 0)
