"""A screen of which much cannot be done: what can be is done, and what cannot is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from anndata import AnnData

OPTIONS = {
    "n_latents": 3,
    "batch_size": 256,
    "options": {"steps": 40, "n_hidden": 16, "learning_rate": 0.005},
}


def odd_screen() -> AnnData:
    """Six singles; of 2 no cell is in a batch of training cells, of 3 there is one cell.

    Perturbations and genes are called by numbers, and two genes by what tables take for missing.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat(["ctrl", *"123456"], [120, 60, 60, 1, 60, 60, 60])
    effect = {name: np.exp(rng.normal(0.0, 0.6, 25)) for name in "123456"} | {"ctrl": np.ones(25)}
    counts = rng.poisson(np.array([5.0 * effect[label] for label in labels]))
    obs = pd.DataFrame(
        {"gene": labels, "lane": np.where(labels == "2", "late", rng.choice(["1", "2"], len(labels)))},
        index=[f"cell{i}" for i in range(len(labels))],
    )  # fmt: skip
    var = pd.DataFrame(index=[*map(str, range(101, 124)), "NA", "nan"])
    return AnnData(counts.astype(np.float32), obs=obs, var=var)


@pytest.fixture(scope="module")
def odd(
    tmp_path_factory: pytest.TempPathFactory,
    make_project: Callable[[Path], Path],
    run_kedro: Callable[..., Any],
) -> Any:
    project = make_project(tmp_path_factory.mktemp("odd") / "project")
    raw = project / "data" / "01_raw"
    raw.unlink()
    raw.mkdir()
    odd_screen().write_h5ad(raw / "odd.h5ad")
    parameters = {
        "run": {
            "screens": ["odd"],
            "fits": {"held_out": ["vae", "svae_plus", "sparse"], "doubles": ["svae_plus"], "full": ["svae_plus"]},
            "seeds": [0],
        },
        "screens": {
            "odd": {
                "columns": {"perturbation": "gene", "control": "ctrl", "batch": "lane"},
                "filters": {"min_cells_per_perturbation": 1},
                "splits": {
                    "held_out": {"held_out": ["1", "2", "3"]},
                    "doubles": {"held_out": {"doubles": 2}},
                    "full": {"held_out": 0},
                },
            }
        },
        "models": {
            "vae": OPTIONS,
            "svae_plus": OPTIONS,
            "sparse": {"preset": "svae_plus", "adaptation": "sparse", **OPTIONS},
        },
        "evaluation": {"n_particles": 5, "n_draws": 2, "n_halves": 2, "n_resamples": 50, "n_shot": [5, 20, 50]},
        "report": {"embedding_cells": 50},
    }  # fmt: skip
    folder = project / "conf" / "odd"
    folder.mkdir()
    (folder / "parameters.yml").write_text(yaml.safe_dump(parameters))
    (folder / "mlflow.yml").write_text("enabled: false")
    done = run_kedro(project, "run", "--env", "odd")
    assert done.code == 0, done.text
    return done


def test_what_is_left_out_is_said(odd: Any) -> None:
    text = " ".join(odd.text.split())
    assert "the perturbation '3' has 1 cell; one held out needs at least 2" in text
    assert "60 cells are left out of support and query" in text
    assert "(late). Nothing can be scored of 2, 3." in text
    assert "none of the 6 perturbations combines two genes with '+'" in text


def test_the_rest_of_the_table_is_made(odd: Any) -> None:
    metrics = pd.read_csv(odd.project / "data/08_reporting/metrics.csv")
    own = metrics[(metrics["model"] == "svae_plus") & (metrics["subset"] == "held_out_query")]
    of_split = own[own["split"] == "held_out"].set_index("metric")
    assert of_split.loc["query_perturbations", "value"] == 1
    assert np.isfinite(of_split.loc[["inll_macro_k5", "ate_pearson_r"], "value"]).all()
    assert own[own["split"] == "doubles"].empty
    card = json.loads((odd.project / "data/08_reporting/odd/honesty.json").read_text())
    # of one perturbation nothing is beyond noise
    assert "too few perturbations to say" in card["does it beat the mean?"]
    assert "with 5 and 20 cells 2, 3." in card["and from a few cells?"]


def test_a_sparse_variant_is_the_same_fit_adapted_in_another_way(odd: Any) -> None:
    """One checkpoint serves both: they train alike."""
    models = odd.project / "data/06_models/odd/held_out"
    for kind, same in (("model", True), ("adapted", False)):
        files = [
            models / name / "seed_0" / kind / "weights.safetensors"
            for name in ("svae_plus", "sparse")
        ]
        assert (files[0].read_bytes() == files[1].read_bytes()) == same
    states = list((odd.project / "data/06_models/checkpoints").glob("*"))
    assert len(states) > 0
