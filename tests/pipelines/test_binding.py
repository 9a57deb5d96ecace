"""Node functions with fixed arguments, and the types Kedro reads off every node."""

import inspect
import logging
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import loads
from typing import Any, get_type_hints

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Pipeline
from kedro.validation.type_extractor import TypeExtractor
from pydantic import BaseModel

from sparseshift.errors import SparseshiftError
from sparseshift.models.linear_factors import METHODS
from sparseshift.pipelines import data_engineering, modelling, reporting
from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.parameters import ModelParameters, ProjectParameters
from sparseshift.presets import PRESETS

ROOT = Path(__file__).parents[2]


def scale(frame: pd.DataFrame, model: ModelParameters, *others: int, seed: int) -> float:
    """Something to bind."""
    return frame.size * model.n_latents + sum(others) + seed


def parameters() -> dict[str, Any]:
    loader = OmegaConfigLoader(
        conf_source=str(ROOT / "conf"),
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
    )
    return dict(loader["parameters"])


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    plan = ProjectParameters.check(parameters())
    parts = [m.create_pipeline(plan) for m in (data_engineering, modelling, reporting)]
    return sum(parts, Pipeline([]))


def test_a_bound_function_keeps_name_types_and_arguments_across_processes() -> None:
    bound = bind(scale, seed=7)
    there = loads(bytes(ForkingPickler.dumps(bound)))
    for function in (bound, there):
        assert function.__name__ == "scale"
        assert list(inspect.signature(function).parameters) == ["frame", "model", "others"]
        assert get_type_hints(function)["model"] is ModelParameters
        assert function(pd.DataFrame({"a": [1, 2]}), ModelParameters(preset="vae"), 1, 2) == 40


def test_kedro_reads_the_type_of_every_parameter(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        types = TypeExtractor({"__default__": pipeline}).extract_types_from_pipelines()
    assert caplog.records == []
    asked = {name.split(":", 1)[1] for name in pipeline.inputs() if name.startswith("params:")}
    assert set(types) == asked
    assert all(issubclass(kind, BaseModel) for kind in types.values())


def test_every_preset_has_a_block_that_can_be_named_in_run_fits() -> None:
    models = ProjectParameters.check(parameters()).models
    assert {model.preset for model in models.values()} == {*PRESETS, *METHODS}
    named = {name for name, model in models.items() if name == model.preset.replace(".", "_")}
    assert {name for name in models if name not in named} == {"ivae_additive"}
    assert models["ivae_additive"].options["shift"] == "additive"


def test_sparse_adaptation_is_for_models_that_have_it() -> None:
    content = parameters()
    content["models"]["svae_plus"]["adaptation"] = "sparse"
    assert ProjectParameters.check(content).models["svae_plus"].adaptation == "sparse"
    for name in ("ivae", "sams_vae", "pca", "paper_svae_plus"):
        content["models"][name]["adaptation"] = "sparse"
    with pytest.raises(SparseshiftError) as error:
        ProjectParameters.check(content)
    for name in ("ivae", "sams_vae", "pca", "paper_svae_plus"):
        assert f"models.{name}: " in str(error.value)
    assert "cannot place new perturbations sparsely, which takes a learnt mask" in str(error.value)


def test_no_typed_parameter_lies_inside_another() -> None:
    """Kedro sets them one by one, and refuses one inside another that was set before."""
    content = parameters()
    content["screens"]["papalexi"]["simulate"] = {}
    plan = ProjectParameters.check(content)
    parts = [m.create_pipeline(plan) for m in (data_engineering, modelling, reporting)]
    asked = {name for name in sum(parts, Pipeline([])).inputs() if name.startswith("params:")}
    assert not [(a, b) for a in asked for b in asked if b.startswith(f"{a}.")]


def test_every_node_has_a_name_and_a_namespace(pipeline: Pipeline) -> None:
    assert all(node.namespace for node in pipeline.nodes)
    assert len({node.name for node in pipeline.nodes}) == len(pipeline.nodes)


def test_every_dataset_is_declared_in_the_catalog(pipeline: Pipeline) -> None:
    from kedro.io import DataCatalog

    loader = OmegaConfigLoader(
        conf_source=str(ROOT / "conf"), base_env="base", default_run_env="local"
    )
    catalog = DataCatalog.from_config(loader["catalog"])
    names = {name for name in pipeline.datasets() if not name.startswith("params:")}
    undeclared = [
        name
        for name in names
        if name not in loader["catalog"]
        and not catalog.config_resolver.match_dataset_pattern(name)
    ]
    assert undeclared == []
