"""The environments of the published screens, on small files with the published layout."""

import json
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import pytest
from published_files import norman, replogle, write_legacy

QUICK = "models.{0}.n_latents=3,models.{0}.options.steps=20,models.{0}.options.n_hidden=8"
PATHWAYS = set(
    pd.read_csv(Path(__file__).parents[2] / "data/01_raw/replogle2022_pathways.tsv", sep="\t")[
        "pathway"
    ]
)


@pytest.fixture(scope="module")
def engineered(tmp_path_factory: pytest.TempPathFactory, make_project: Any, run_kedro: Any) -> Any:
    folder = tmp_path_factory.mktemp("replogle")
    file = write_legacy(replogle(), folder / "mine.h5ad")
    project = make_project(folder / "project")
    return run_kedro(
        project, "run", "--env", "replogle", "--pipelines", "data_engineering",
        SPARSESHIFT_REPLOGLE_FILE=str(file),
    )  # fmt: skip


def test_replogle_from_the_file_to_the_splits(engineered: Any) -> None:
    assert engineered.code == 0, engineered.text
    data = engineered.project / "data"
    screen = ad.read_h5ad(data / "03_primary/replogle/screen.h5ad")
    assert "non-targeting" in set(screen.obs["gene"])
    assert not {"UNLISTED1", "UNLISTED2"} & set(screen.obs["gene"])
    assert screen.var_names[0].startswith("ENSG")
    for pathway in PATHWAYS:
        split = json.loads((data / f"05_model_input/replogle/{pathway}/split.json").read_text())
        assert len(split["held_out"]) == 2
        assert len(split["sha256"]) == 64
    steps = pd.read_csv(data / "02_intermediate/replogle/filters.csv")
    assert steps["step"].tolist()[:2] == ["as published", "labelled"]
    assert "listed genes" in set(steps["step"])
    assert "as given" in set(steps["step"])
    assert "mine.h5ad" in engineered.text
    assert "2 perturbations are not in the screen" not in engineered.text
    assert "listed perturbations are not in the screen" in engineered.text


def test_a_finished_cut_is_not_made_again(engineered: Any, run_kedro: Any) -> None:
    file = engineered.project.parent / "mine.h5ad"
    again = run_kedro(
        engineered.project, "run", "--env", "replogle", "--nodes", "replogle.cut",
        SPARSESHIFT_REPLOGLE_FILE=str(file),
    )  # fmt: skip
    assert again.code == 0, again.text
    assert "pieces of the cut were there already" in again.text


@pytest.mark.slow
def test_norman_from_the_file_to_the_report(
    tmp_path: Path, make_project: Any, run_kedro: Any
) -> None:
    norman().write_h5ad(tmp_path / "mine.h5ad")
    project = make_project(tmp_path / "project")
    models = ("vae", "ivae_additive", "svae_plus", "sams_vae", "cpa_vae", "conditional_vae")
    quick = ",".join(QUICK.format(name) for name in models)
    splits = "screens.norman_2019.splits"
    small = (
        f"{splits}.largest.held_out.largest=2,{splits}.doubles_2_seen.held_out.doubles=1,"
        f"{splits}.doubles_1_seen.held_out.doubles=1,{splits}.doubles_0_seen.held_out.doubles=1,"
        "evaluation.n_particles=5,evaluation.n_draws=2,evaluation.n_resamples=50,evaluation.n_shot_gradient_draws=0,report.embedding_cells=100"
    )
    done = run_kedro(
        project, "run", "--env", "norman", "--params", f"{quick},{small}",
        SPARSESHIFT_NORMAN_FILE=str(tmp_path / "mine.h5ad"),
    )  # fmt: skip
    assert done.code == 0, done.text
    metrics = pd.read_csv(project / "data/08_reporting/metrics.csv")
    scored = metrics[metrics["metric"] == "inll_macro_k5"]
    assert set(scored["split"]) == {
        "largest",
        "doubles_2_seen",
        "doubles_1_seen",
        "doubles_0_seen",
    }
    assert set(scored["model"]) == set(models)
    assert "drop guide_id" in (project / "data/08_reporting/report.html").read_text()


def test_random_cells_can_be_held_out(tmp_path: Path, make_project: Any, run_kedro: Any) -> None:
    project = make_project(tmp_path / "project")
    (project / "data/01_raw").unlink()
    (project / "data/01_raw").mkdir()
    done = run_kedro(
        project, "run", "--env", "test", "--params",
        "screens.simulated.splits.held_out.held_out=0,screens.simulated.splits.held_out.cells_fraction=0.2,"
        "run.fits.held_out=[svae_plus]",
    )  # fmt: skip
    assert done.code == 0, done.text
    metrics = pd.read_csv(project / "data/08_reporting/metrics.csv")
    rows = metrics[
        (metrics["split"] == "held_out") & metrics["metric"].str.startswith(("inll", "ate"))
    ]
    assert {"svae_plus", "support_mean", "mean_effect"} <= set(rows["model"])
    split = json.loads((project / "data/05_model_input/simulated/held_out/split.json").read_text())
    assert split["held_out"] == []
    assert len(split["query"]) == 8 * 12


def test_a_missing_file_of_ones_own_is_named(
    tmp_path: Path, make_project: Any, run_kedro: Any
) -> None:
    project = make_project(tmp_path / "project")
    done = run_kedro(
        project, "run", "--env", "norman", "--pipelines", "data_engineering",
        SPARSESHIFT_NORMAN_FILE=str(tmp_path / "nowhere.h5ad"),
    )  # fmt: skip
    assert done.code == 1
    assert "SPARSESHIFT_NORMAN_FILE" in done.text
    assert "nowhere.h5ad" in done.text


def test_folds_are_scored_together(tmp_path: Path, make_project: Any, run_kedro: Any) -> None:
    """Every perturbation is held out in one of the folds; refits and files for cell-eval come with it."""
    project = make_project(tmp_path / "project")
    (project / "data/01_raw").unlink()
    (project / "data/01_raw").mkdir()
    (project / "conf/folds").mkdir()
    folds = "\n".join(f"      fold_{i}: {{held_out: {{fold: {i}, n_folds: 2}}}}" for i in range(2))
    parameters = (project / "conf/test/parameters.yml").read_text()
    parameters = parameters.replace("      held_out: {held_out: 3, seed: 0}", folds).replace(
        "    held_out: [pca, vae, ivae, rotated_vae, svae_plus]",
        "    held_out: []\n    fold_0: [vae, svae_plus]\n    fold_1: [vae, svae_plus]",
    )
    parameters += "refits: {half_samples: 1}\n"
    parameters = parameters.replace("n_particles: 20,", "n_particles: 20, cell_eval: true,")
    (project / "conf/folds/parameters.yml").write_text(parameters)
    done = run_kedro(project, "run", "--env", "folds")
    assert done.code == 0, done.text
    reporting = project / "data/08_reporting/simulated"
    ceilings = pd.read_csv(reporting / "cross_fit/ceilings.csv")
    assert set(ceilings["perturbations"]) == {8}
    metrics = pd.read_csv(project / "data/08_reporting/metrics.csv")
    whole = metrics[metrics["split"] == "cross_fit"]
    assert {
        "inll_macro_k20",
        "ate_pearson_r",
        "inll_minus_vae_k20",
        "ate_pearson_r_minus_best_baseline",
    } <= set(whole["metric"])
    assert set(whole["model"]) >= {"vae", "svae_plus", "support_mean", "nb_support_shrunk"}
    edges = pd.read_csv(reporting / "edges.csv")
    assert set(edges["n_refits"]) == {2}
    assert "<graphml" in (reporting / "graph.graphml").read_text()
    honesty = json.loads((reporting / "honesty.json").read_text())
    assert "Split 'cross_fit'" in honesty["does it beat the mean?"]
    assert "permutation" in honesty["permuted labels"]
    predicted = ad.read_h5ad(
        project / "data/07_model_output/simulated/fold_0/vae/seed_0/cell_eval_predicted.h5ad"
    )
    assert "non-targeting" in set(predicted.obs["target_gene"])
