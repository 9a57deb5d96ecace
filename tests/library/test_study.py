"""A simulation study without Kedro: dividing screens, scoring fits, averaging over data seeds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sparseshift as ss
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring import (
    RunKey,
    ScoreSettings,
    beside_published,
    compare_graphs,
    score_simulated_fit,
    score_stability,
    summarise_study,
)
from sparseshift.screens.cells import training_screen
from sparseshift.screens.study_screen import StudyScreen, simulated_columns, study_screen

KEY = RunKey("small", "svae_plus", "data_0", 0)


def _simulated(**settings: int) -> AnnData:
    sizes = {"n_perturbations": 10, "n_cells_per_perturbation": 30, "n_latents": 3, "n_genes": 20}
    return ss.simulate("paper", seed=1, **{**sizes, **settings})


def _divided(adata: AnnData, *, permute: bool = False, seed: int = 0) -> StudyScreen:
    return study_screen(
        adata, held_out_fraction=0.2, unseen_fraction=0.1, permute_labels=permute, seed=seed
    )


@pytest.fixture(scope="module")
def divided() -> StudyScreen:
    return _divided(_simulated())


@pytest.fixture(scope="module")
def fits(divided: StudyScreen) -> list[FittedModel]:
    cells = training_screen(
        divided.screen, simulated_columns(divided.screen), divided.split, divided.screen.var_names
    )
    common: dict[str, Any] = {
        "perturbation": "perturbation",
        "n_latents": 3,
        "steps": 200,
        "n_hidden": 32,
    }
    return [ss.fit(cells, "svae_plus", seed=seed, **common) for seed in (0, 1)]


def test_every_cell_is_in_one_part(divided: StudyScreen) -> None:
    whole = _simulated()
    names = [*divided.screen.obs_names, *divided.unseen.obs_names]
    assert sorted(names) == sorted(whole.obs_names)
    assert divided.split.held_out == ("p008", "p009")
    unseen = divided.unseen.obs["perturbation"].value_counts()
    assert unseen[unseen > 0].to_dict() == {f"p{i:03d}": 3 for i in range(8)}
    assert set(divided.split.support) | set(divided.split.query) == set(
        whole.obs_names[whole.obs["perturbation"].isin(["p008", "p009"])]
    )


def test_dividing_repeats_itself_and_depends_on_the_seed() -> None:
    adata = _simulated()
    first, again, other = _divided(adata), _divided(adata), _divided(adata, seed=1)
    assert list(first.unseen.obs_names) == list(again.unseen.obs_names)
    assert first.split.sha256 == again.split.sha256
    assert list(first.unseen.obs_names) != list(other.unseen.obs_names)


def test_control_cells_are_neither_held_out_nor_unseen() -> None:
    divided = _divided(_simulated(n_control_cells=25))
    assert (divided.screen.obs["perturbation"] == "control").sum() == 25
    assert simulated_columns(divided.screen).control == "control"
    assert simulated_columns(divided.screen, batch=True).batch == "batch"


def test_permuted_labels_leave_cells_and_counts_as_they_are() -> None:
    adata = _simulated()
    divided = _divided(adata, permute=True)
    before = adata[divided.screen.obs_names]
    assert (divided.screen.X != before.X).nnz == 0
    assert not np.any(divided.screen.uns["shifts"])
    assert np.any(adata.uns["shifts"])
    labels = divided.screen.obs["perturbation"]
    assert (labels.astype(str) != before.obs["perturbation"].astype(str)).mean() > 0.7
    everyone = pd.concat([labels, divided.unseen.obs["perturbation"]]).value_counts()
    assert set(everyone[everyone > 0]) == {30}


def test_a_fit_is_scored_on_everything(divided: StudyScreen, fits: list[FittedModel]) -> None:
    settings = ScoreSettings(n_particles=5, n_draws=2, n_resamples=20)
    table = score_simulated_fit(
        fits[0], divided.screen, divided.unseen, divided.split, KEY, settings
    )
    value = table.set_index(["metric", "subset"])["value"]
    assert value["r_con", "trained"] >= value["mcc_pearson", "trained"] - 1e-12
    # as many parameters as latents to match: unseen cells can hardly differ
    assert value["mcc_pearson", "unseen_cells"] == pytest.approx(
        value["mcc_pearson", "trained"], abs=0.1
    )
    per_latent = [value["latent_correlation", f"latent {j}"] for j in range(3)]
    assert np.mean(per_latent) == pytest.approx(value["mcc_pearson", "trained"])
    assert 0 < value["cpu_seconds", "training"] < 60
    assert np.isfinite(value["inll_macro_k5", "held_out_query"])


def test_agreement_of_a_fit_with_itself_is_perfect(
    divided: StudyScreen, fits: list[FittedModel]
) -> None:
    same = score_stability([fits[0], fits[0]], divided.screen, divided.split, [KEY, KEY])
    value = same.set_index("metric")["value"]
    assert value["latent_agreement"] == pytest.approx(1.0)
    assert value["edge_stability"] == 1.0
    keys = [KEY, RunKey("small", "svae_plus", "data_0", 1)]
    other = score_stability(fits, divided.screen, divided.split, keys)
    assert other.loc[other["metric"] == "udr", "seed"].tolist() == [0, 1]
    assert other.loc[other["metric"] == "latent_agreement", "seed"].isna().all()
    assert (other["value"] <= 1.0).all()
    assert score_stability(fits[:1], divided.screen, divided.split, keys[:1]).empty


def test_graphs_are_compared_in_the_order_of_the_truth(
    divided: StudyScreen, fits: list[FittedModel]
) -> None:
    true, found = compare_graphs(fits[0], divided.screen, divided.split)
    assert list(true.index) == list(found.index) == [f"p{i:03d}" for i in range(8)]
    assert list(true.columns) == list(found.columns) == ["true z0", "true z1", "true z2"]
    np.testing.assert_array_equal(true, divided.screen.uns["shifts"][:8])
    inclusion = fits[0].inclusion_probability().to_numpy()
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(inclusion, axis=1))


def _metrics(values: dict[tuple[int, int], float], **fixed: str) -> pd.DataFrame:
    rows = [
        {
            "condition": "a",
            "data_seed": d,
            "model": "paper_svae",
            "seed": s,
            "metric": "inll_macro_k100",
        }
        | {"subset": "x", "value": v, **fixed}
        for (d, s), v in values.items()
    ]
    return pd.DataFrame(rows)


def test_model_seeds_are_averaged_before_data_seeds() -> None:
    values = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 4.0, (1, 1): 4.0, (2, 0): 0.0}
    (row,) = summarise_study(_metrics(values)).to_dict("records")
    means = np.array([2.0, 4.0, 0.0])
    assert row["value"] == pytest.approx(2.0)
    assert row["sd"] == pytest.approx(means.std(ddof=1))
    assert row["upper"] - row["lower"] == pytest.approx(2 * 4.302652729911275 * 2 / np.sqrt(3))
    assert (row["least"], row["largest"], row["data_seeds"], row["fits"]) == (0.0, 4.0, 3, 5)


def test_published_numbers_stand_beside_the_model_they_are_of() -> None:
    summary = summarise_study(_metrics({(0, 0): 1.0}))
    published = pd.DataFrame(
        {
            "source": "Table 1",
            "setting": ["s", "t"],
            "model": "svae",
            "metric": "inll_macro",
            "value": [318.26, 9.0],
            "sd": [3.86, 9.0],
        }
    )
    (row,) = beside_published(summary, published, {"a": "s"}).to_dict("records")
    assert (row["published"], row["published_sd"]) == (318.26, 3.86)
    (without,) = beside_published(summary, published, {}).to_dict("records")
    assert np.isnan(without["published"])
    unseen = summarise_study(_metrics({(0, 0): 1.0}, subset="unseen_cells"))
    (other,) = beside_published(unseen, published, {"a": "s"}).to_dict("records")
    assert np.isnan(other["published"])
