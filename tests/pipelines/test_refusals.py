"""What the command line says to wrong parameters and wrong screens: the fault, no traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparseshift.models.linear_factors import METHODS
from sparseshift.presets import PRESETS

Kedro = Callable[..., Any]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("models.vae.n_latens=3", ["models.vae.n_latens", "there is no such parameter"]),
        ("models.vae.n_latents=0", ["models.vae.n_latents", "greater than or equal to 1"]),
        ("models.vae.preset=veae", ["models.vae", "no model 'veae'", *PRESETS, *METHODS]),
        ("models.vae.options.stepz=3", ["models.vae", "stepz", "learning_rate"]),
        ("run.screens=[mars]", ["run.screens names mars", "simulated"]),
        ("runn.seeds=[1]", ["runn", "there is no such parameter"]),
        ("models.pca.options.steps=3", ["models.pca", "pca has no options", "steps"]),
        ("models.pca.batch_size=3", ["models.pca", "pca has no options", "batch_size"]),
        ("models.vae.warm_start=rotation", ["models.vae", "cannot start from a rotation"]),
        ("models.vae.storage=tape", ["models.vae.storage", "'memory' or 'disk'"]),
        ("models.vae.options.batch_size=3", ["models.vae", "batch_size stands beside preset"]),
        ("report.split=held_out,report.model=pca", ["report.model is pca", "linear baseline"]),
    ],
)
def test_a_wrong_parameter_stops_before_any_node(
    project: Path, run_kedro: Kedro, override: str, words: list[str]
) -> None:
    done = run_kedro(project, "run", "--env", "test", "--params", override)
    assert done.code == 1
    for word in words:
        assert word in done.text
    assert "Traceback" not in done.text
    assert "Running node" not in done.text
    assert not (project / "mlflow.db").exists()


@pytest.fixture(scope="module")
def own_screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    labels = np.repeat(["NT", "STAT1", "JAK2", "KLF1+GATA1", "KLF1", "GATA1"], 60)
    screen = ad.AnnData(
        sparse.csr_matrix(rng.poisson(2.0, (len(labels), 25)).astype(np.float32)),
        obs=pd.DataFrame({"guide_target": labels}, index=[f"c{i}" for i in range(len(labels))]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(25)]),
    )
    path = tmp_path_factory.mktemp("own") / "mine.h5ad"
    screen.write_h5ad(path)
    return path


def test_a_screen_of_ones_own_runs(project: Path, run_kedro: Kedro, own_screen: Path) -> None:
    made = run_kedro(
        project, "new-screen", "mine", "--file", str(own_screen),
        "--perturbation", "guide_target", "--control", "NT",
    )  # fmt: skip
    assert made.code == 0, made.text
    assert "kedro run --env mine" in made.text
    quick = "models.vae.options.steps=20,models.ivae.options.steps=20,models.svae_plus.options.steps=20,run.seeds=[0]"
    done = run_kedro(project, "run", "--env", "mine", "--params", quick)
    assert done.code == 0, done.text
    assert (project / "data/08_reporting/report.html").is_file()
    again = run_kedro(
        project, "new-screen", "mine", "--file", str(own_screen), "--perturbation", "guide_target"
    )
    assert again.code == 1
    assert "conf/mine is there already" in again.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--perturbation", "guide_targt", "--control", "NT"], ["guide_targt", "guide_target"]),
        (["--perturbation", "guide_target", "--control", "N T"], ["'N T'", "NT"]),
        (["--perturbation", "guide_target", "--file", "nowhere.h5ad"], ["no file nowhere.h5ad"]),
    ],
)
def test_new_screen_reads_the_file_first(
    project: Path, run_kedro: Kedro, own_screen: Path, arguments: list[str], words: list[str]
) -> None:
    given = arguments if "--file" in arguments else [*arguments, "--file", str(own_screen)]
    done = run_kedro(project, "new-screen", "mine", *given)
    assert done.code == 1
    for word in words:
        assert word in done.text
    assert "Traceback" not in done.text
    assert not (project / "conf/mine").exists()


def test_a_faulty_screen_lists_all_faults_without_a_traceback(
    project: Path, run_kedro: Kedro, own_screen: Path, tmp_path: Path
) -> None:
    screen = ad.read_h5ad(own_screen)
    screen.X = screen.X * 0.5
    screen.obs["guide_target"] = screen.obs["guide_target"].astype(object)
    screen.obs.iloc[3, 0] = np.nan
    path = tmp_path / "faulty.h5ad"
    screen.write_h5ad(path)
    run_kedro(
        project, "new-screen", "mine", "--file", str(own_screen),
        "--perturbation", "guide_target", "--control", "NT",
    )  # fmt: skip
    catalog = project / "conf/mine/catalog.yml"
    catalog.write_text(catalog.read_text().replace(str(own_screen), str(path)))
    done = run_kedro(project, "run", "--env", "mine")
    assert done.code == 1
    assert "2 faults" in done.text
    assert "not whole numbers" in done.text
    assert "guide_target" in done.text
    assert "Traceback" not in done.text
    assert "SPARSESHIFT_TRACEBACK=1" in done.text
