"""kedro-viz builds, and the chart is legible: layers, namespaces, few boxes when collapsed."""

import json
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def chart(finished: Any, run_kedro: Callable[..., Any]) -> dict[str, Any]:
    # `viz build` has no --env
    done = run_kedro(finished.project, "viz", "build", "--include-previews", KEDRO_ENV="test")
    assert done.code == 0, done.text
    content: dict[str, Any] = json.loads((finished.project / "build/api/main").read_text())
    return content


def test_every_dataset_has_a_layer(chart: dict[str, Any]) -> None:
    data = [node for node in chart["nodes"] if node["type"] == "data"]
    assert data
    assert [node["name"] for node in data if node["layer"] is None] == []
    assert chart["layers"][0] == "raw"
    assert chart["layers"][-1] == "reporting"


def test_namespaces_nest_from_screen_to_fit(chart: dict[str, Any]) -> None:
    assert {
        "simulated",
        "simulated.held_out",
        "simulated.held_out.svae_plus",
        "simulated.held_out.svae_plus.seed_0",
        "simulated.report",
    } <= set(chart["modular_pipelines"])


def test_collapsed_the_chart_has_few_boxes(chart: dict[str, Any]) -> None:
    top = chart["modular_pipelines"]["__root__"]["children"]
    shown = [child for child in top if child["type"] != "parameters"]
    assert 2 <= len(shown) <= 15


def test_all_pipelines_can_be_chosen(chart: dict[str, Any]) -> None:
    assert {p["id"] for p in chart["pipelines"]} == {
        "__default__",
        "data_engineering",
        "modelling",
        "refits",
        "reporting",
        "transfer",
    }
