"""What `fit` promises, and what a fitted model says of itself."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import stats

import sparseshift as ss
from sparseshift.data.cells import CellSource
from sparseshift.errors import OptionError, ScreenError
from sparseshift.evaluation.latent_genes import log2_fold_changes
from sparseshift.fitted_model import FittedModel
from sparseshift.models.dispersion import marginal_log_inverse_dispersion
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training import loop, phase
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History

PRESETS = ("vae", "ivae", "svae_plus")
every_preset = pytest.mark.parametrize("preset", PRESETS)
Models = dict[str, FittedModel]


def fingerprint(adata: AnnData) -> str:
    """Hash of all that an AnnData holds."""
    seen = hashlib.sha256()
    matrices = [adata.X, *adata.layers.values()]
    for matrix in matrices:
        for part in (matrix.data, matrix.indices, matrix.indptr):
            seen.update(part.tobytes())
        seen.update(str((matrix.shape, matrix.dtype, matrix.format)).encode())
    for table in (adata.obs, adata.var):
        seen.update(pd.util.hash_pandas_object(table).to_numpy().tobytes())
        seen.update(str(table.dtypes.to_dict()).encode())
    seen.update(repr((dict(adata.uns), list(adata.obsm), list(adata.varm))).encode())
    return seen.hexdigest()


@pytest.mark.parametrize("preset", [*PRESETS, "batches"])
def test_the_screen_is_left_as_it_was(
    preset: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    screen = training_screen.copy()
    screen.layers["counts"] = screen.X.copy()
    screen.obs["gene"] = screen.obs["gene"].astype("category")
    before = fingerprint(screen)
    options: dict[str, Any] = {"batch": "batch", "layer": "counts"} if preset == "batches" else {}
    name = "svae_plus" if preset == "batches" else preset
    model = ss.fit(screen, name, **{**small, "steps": 2}, **options)
    assert fingerprint(screen) == before
    model.latents(screen)
    model.adapt(screen)
    model.iwelbo(screen, 2)
    model.sample(screen)
    model.top_genes(screen)
    assert fingerprint(screen) == before


def test_a_view_can_be_fitted_and_stays_one(small_screen: AnnData, small: dict[str, Any]) -> None:
    view = small_screen[50:250, :15]
    model = ss.fit(view, "svae_plus", **{**small, "steps": 2})
    assert view.is_view
    copied = ss.fit(view.copy(), "svae_plus", **{**small, "steps": 2})
    np.testing.assert_array_equal(model.latents(view), copied.latents(view))


@every_preset
def test_latents(preset: str, fitted: Models, small_screen: AnnData) -> None:
    latents = fitted[preset].latents(small_screen)
    assert latents.shape == (300, 3)
    assert latents.dtype == np.float32
    assert np.isfinite(latents).all()
    # of each cell alone, labels unseen
    alone = fitted[preset].latents(AnnData(small_screen.X[40:45], var=small_screen.var))
    np.testing.assert_allclose(alone, latents[40:45], atol=1e-5)


@every_preset
def test_latents_do_not_depend_on_the_order_of_genes(
    preset: str, fitted: Models, small_screen: AnnData
) -> None:
    model = fitted[preset]
    order = np.random.default_rng(0).permutation(20)
    turned = small_screen[:, order]
    np.testing.assert_array_equal(model.latents(turned), model.latents(small_screen))
    known = small_screen[small_screen.obs["gene"].isin(["A", "ctrl"])]
    pd.testing.assert_series_equal(model.iwelbo(known[:, order], 3), model.iwelbo(known, 3))


def test_surplus_genes_are_ignored(fitted: Models, small_screen: AnnData) -> None:
    wide = AnnData(
        np.hstack([np.full((300, 2), 5.0), small_screen.X.toarray()]),
        obs=small_screen.obs,
        var=pd.DataFrame(index=["other1", "other2", *small_screen.var_names]),
    )
    model = fitted["svae_plus"]
    np.testing.assert_array_equal(model.latents(wide), model.latents(small_screen))


def test_missing_genes_are_named(fitted: Models, small_screen: AnnData) -> None:
    fewer = small_screen[:, [f"G{i}" for i in range(20) if i not in (3, 11)]]
    with pytest.raises(
        ScreenError, match=r"2 of the model's 20 genes are not in var_names: G3, G11\."
    ):
        fitted["vae"].latents(fewer)
    with pytest.raises(ScreenError, match=r"13 of .* G0, G1, G2, G3, G4 \.\.\."):
        fitted["vae"].latents(small_screen[:, 13:])


def test_cells_without_counts_are_named(fitted: Models, small_screen: AnnData) -> None:
    screen = small_screen.copy()
    dense = screen.X.toarray()
    dense[[4, 9]] = 0.0
    screen.X = dense
    with pytest.raises(
        ScreenError, match=r"2 cells have no count in the model's 20 genes: cell4, cell9"
    ):
        fitted["vae"].latents(screen)


def test_rows_of_additive_models_are_genes(fitted: Models) -> None:
    for preset in ("vae", "svae_plus", "batches"):
        for table in (fitted[preset].effects(), fitted[preset].inclusion_probability()):
            assert table.index.tolist() == ["A", "B"]
            assert table.index.name == "perturbation"
            assert table.columns.tolist() == ["z0", "z1", "z2"]


def test_rows_of_tables_are_labels_in_canonical_order(fitted: Models) -> None:
    assert fitted["ivae"].effects().index.tolist() == ["A", "A+B", "B"]
    assert (fitted["ivae"].inclusion_probability() == 1.0).all(axis=None)


def test_a_vae_has_no_effects(fitted: Models) -> None:
    assert (fitted["vae"].effects() == 0.0).all(axis=None)
    assert (fitted["vae"].inclusion_probability() == 0.0).all(axis=None)


def test_inclusion_probabilities_are_probabilities(fitted: Models) -> None:
    q = fitted["svae_plus"].inclusion_probability()
    assert ((q > 0.0) & (q < 1.0)).all(axis=None)


@every_preset
def test_effects_are_found_where_there_is_one(
    preset: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    model = ss.fit(
        training_screen, preset, **{**small, "steps": 300}, learning_rate=0.01, alpha=2.0
    )
    shift = (model.effects() * model.inclusion_probability()).loc[["A", "B"]]
    norm = np.sqrt((shift**2).sum(axis=1))
    assert (norm == 0).all() if preset == "vae" else (norm > 0.7).all()
    latents = pd.DataFrame(model.latents(training_screen))
    by_label = latents.groupby(training_screen.obs["gene"].to_numpy()).mean()
    for label in ("A", "B") if preset != "vae" else ():
        # the shift points where the cells went
        moved = (by_label.loc[label] - by_label.loc["ctrl"]).to_numpy()
        assert moved @ shift.loc[label].to_numpy() > 0.5 * norm[label] * np.linalg.norm(moved)


def test_layer_and_x_give_the_same(
    training_screen: AnnData, fitted: Models, small: dict[str, Any]
) -> None:
    screen = training_screen.copy()
    screen.layers["counts"] = screen.X.copy()
    screen.X = screen.X.log1p()
    model = ss.fit(screen, "svae_plus", layer="counts", **small)
    expected = fitted["svae_plus"].latents(training_screen)
    np.testing.assert_array_equal(model.latents(screen), expected)
    pd.testing.assert_frame_equal(model.effects(), fitted["svae_plus"].effects())


@pytest.mark.parametrize("kind", ["dense", "csc", "int"])
def test_storage_of_the_counts_does_not_matter(
    kind: str, training_screen: AnnData, fitted: Models, small: dict[str, Any]
) -> None:
    screen = training_screen.copy()
    convert: dict[str, Callable[[Any], Any]] = {
        "dense": lambda m: m.toarray(),
        "csc": lambda m: m.tocsc(),
        "int": lambda m: m.astype(np.int64),
    }
    screen.X = convert[kind](screen.X)
    model = ss.fit(screen, "svae_plus", **small)
    expected = fitted["svae_plus"].latents(training_screen)
    np.testing.assert_array_equal(model.latents(screen), expected)


@every_preset
def test_same_seed_same_model(
    preset: str, training_screen: AnnData, fitted: Models, small: dict[str, Any]
) -> None:
    again = ss.fit(training_screen, preset, seed=0, **small)
    other = ss.fit(training_screen, preset, seed=1, **small)
    expected = fitted[preset].latents(training_screen)
    np.testing.assert_array_equal(again.latents(training_screen), expected)
    pd.testing.assert_frame_equal(again.history, fitted[preset].history)
    assert not np.allclose(other.latents(training_screen), expected)


def test_initial_weights_are_the_seeds(training_screen: AnnData, small: dict[str, Any]) -> None:
    options = {**small, "steps": 1, "learning_rate": 1e-12}
    a, b, c = (
        ss.fit(training_screen, "vae", seed=seed, **options).module.encoder.head.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert (a - c).abs().mean() > 0.01


@pytest.mark.parametrize(("fraction", "n_validation"), [(0.1, 20), (0.25, 50), (0.0, 0)])
def test_validation_cells_are_not_trained_on(
    fraction: float,
    n_validation: int,
    training_screen: AnnData,
    small: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[CellSource | None] = []
    fit = loop.fit

    def watched(
        model: PerturbationVAE,
        train: CellSource,
        validation: CellSource | None,
        config: TrainingConfig,
        seed: int,
        checkpoint: None,
    ) -> History:
        given.extend([train, validation])
        return fit(model, train, validation, config, seed, checkpoint)

    monkeypatch.setattr(phase, "fit", watched)
    for seed in (0, 1):
        options = {**small, "steps": 1, "validation_fraction": fraction}
        ss.fit(training_screen, "vae", seed=seed, **options)
    rows = [
        [tuple(row.tolist()) for row in next(cells.chunks(200)).counts] if cells else []
        for cells in given
    ]
    everyone = sorted(tuple(row) for row in training_screen.X.toarray().tolist())
    assert len(set(everyone)) == 200
    for train, validation in (rows[:2], rows[2:]):
        assert len(validation) == n_validation
        assert sorted([*train, *validation]) == everyone
    assert n_validation == 0 or set(rows[1]) != set(rows[3])


def test_dispersions_start_from_training_cells(
    training_screen: AnnData, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[list[float]] = []
    fit = loop.fit

    def watched(model: PerturbationVAE, train: CellSource, *rest: Any) -> History:
        expected = marginal_log_inverse_dispersion(train)
        start = model.get_parameter("likelihood.log_inverse_dispersion").detach()
        starts.append([(start - expected).abs().max().item(), start.abs().max().item()])
        return fit(model, train, *rest)

    monkeypatch.setattr(phase, "fit", watched)
    for start in ("data", "one"):
        ss.fit(training_screen, "vae", dispersion_start=start, **{**small, "steps": 1})
    (of_data, size), (_, of_one) = starts
    assert of_data == 0.0
    assert size > 0.1
    assert of_one == 0.0


@pytest.mark.parametrize("start", ["data", "one"])
def test_genes_in_bursts_need_a_start_from_data(start: str) -> None:
    # a start at theta = 1 costs 30 nats here, and more steps do not win them back
    rng = np.random.default_rng(0)
    theta = np.exp(rng.uniform(-8.0, -5.0, size=300))
    rate = rng.gamma(theta, 1 / theta, size=(1200, 300))
    screen = AnnData(rng.poisson(0.2 * rate + 1e-3).astype(np.float32))
    screen.obs["perturbation"] = np.array(["control", "A", "B"])[np.arange(1200) % 3]
    screen = screen[np.asarray(screen.X).sum(1) > 0].copy()
    model = ss.fit(
        screen,
        "vae",
        perturbation="perturbation",
        control="control",
        n_latents=3,
        steps=300,
        dispersion_start=start,
    )
    x = np.asarray(screen.X)
    share, totals = x.sum(0) + 0.5, x.sum(1, keepdims=True)
    mean, t = totals * share / share.sum(), np.exp(-6.0)
    alone = stats.nbinom.logpmf(x, t, t / (t + mean)).sum(1).mean()
    gain = model.iwelbo(screen, 50).mean() - alone
    assert gain > 0.0 if start == "data" else gain < -20.0


def test_order_of_words_in_a_label_does_not_matter(
    training_screen: AnnData, fitted: Models, small: dict[str, Any]
) -> None:
    screen = training_screen.copy()
    screen.obs["gene"] = screen.obs["gene"].replace({"B+A": " A + B ", "A": "A+ctrl"})
    model = ss.fit(screen, "ivae", **small)
    pd.testing.assert_frame_equal(model.effects(), fitted["ivae"].effects())


@pytest.mark.parametrize("control", [" ctrl ", "ctrl+ctrl"])
def test_a_control_written_otherwise_is_no_perturbation(
    control: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    screen = training_screen.copy()
    screen.obs["gene"] = screen.obs["gene"].replace({"ctrl": control})
    model = ss.fit(screen, "svae_plus", **{**small, "control": control, "steps": 2})
    assert model.effects().index.tolist() == ["A", "B"]
    zero = model.iwelbo(screen[screen.obs["gene"] == control], 2)
    assert len(zero) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"n_hiden": 3},
            "Unknown option of 'svae_plus': n_hiden. Known options: n_hidden, .*steps",
        ),
        ({"n_latents": 0}, "n_latents=0 must be at least 1"),
        ({"n_latents": -2}, "n_latents=-2 must be at least 1"),
        (
            {"warm_start": "rotate"},
            "warm_start='rotate' is not one of 'auto', 'rotation', None",
        ),
        ({"device": "abacus"}, "device='abacus' cannot be used here .*Use 'cpu' or 'auto'"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"validation_fraction": 1.0}, r"validation_fraction=1.0 must lie in \[0, 1\)"),
        ({"max_epochs": 0}, "max_epochs=0 must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 must be positive"),
        ({"dropout": 2.0}, "dropout=2.0 must lie in"),
        ({"alpha": 0.0}, "alpha=0.0 must be at least 1"),
    ],
)
def test_impossible_options_are_refused(
    changes: dict[str, Any], message: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match=message):
        ss.fit(training_screen, "svae_plus", **{**small, **changes})


def test_unknown_presets_list_the_known(training_screen: AnnData, small: dict[str, Any]) -> None:
    with pytest.raises(
        OptionError, match=r"no model 'svea'\. The models are: vae, beta_vae, .*, svae_plus"
    ):
        ss.fit(training_screen, "svea", **small)


@pytest.mark.parametrize("preset", ["vae", "conditional_vae", "sams_vae"])
def test_a_rotation_needs_shifts_and_an_encoder_that_sees_cells_alone(
    preset: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    with pytest.raises(
        OptionError, match=rf"{preset!r} cannot start from a rotation: .* Use warm_start=None"
    ):
        ss.fit(training_screen, preset, **{**small, "warm_start": "rotation"})


def test_a_preset_that_starts_from_a_rotation_refuses_parts_that_cannot(
    training_screen: AnnData, small: dict[str, Any]
) -> None:
    parts = {"posterior": "basal", "mask_draw": "per_batch"}
    with pytest.raises(OptionError, match="'svae_plus' cannot start from a rotation"):
        ss.fit(training_screen, "svae_plus", **{**small, **parts, "warm_start": "auto"})
    ss.fit(training_screen, "svae_plus", **{**small, **parts, "steps": 1})


@pytest.mark.parametrize(
    "options", [{"warm_start": None}, {"warm_start": "auto", "device": "cpu"}]
)
def test_defaults_can_be_written_out(
    options: dict[str, Any], training_screen: AnnData, fitted: Models, small: dict[str, Any]
) -> None:
    model = ss.fit(training_screen, "vae", **{**small, **options})
    expected = fitted["vae"].latents(training_screen)
    np.testing.assert_array_equal(model.latents(training_screen), expected)


def test_faults_of_the_screen_are_listed(training_screen: AnnData, small: dict[str, Any]) -> None:
    screen = training_screen.copy()
    screen.X = screen.X.log1p()
    with pytest.raises(ScreenError, match=r"(?s)2 faults.*no cell has the control's label.*whole"):
        ss.fit(screen, "vae", **{**small, "control": "Ctrl"})


@every_preset
def test_a_screen_without_control(
    preset: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    screen = training_screen[training_screen.obs["gene"] != "ctrl"]
    model = ss.fit(screen, preset, **{**small, "control": None})
    expected = ["A", "A+B", "B"] if preset == "ivae" else ["A", "B"]
    assert model.effects().index.tolist() == expected
    assert model.iwelbo(screen, 2).index.tolist() == ["A", "A+B", "B"]
    assert len(model.top_genes(screen)) == 3 * 8


@every_preset
def test_one_perturbation_and_a_control(
    preset: str, training_screen: AnnData, small: dict[str, Any]
) -> None:
    screen = training_screen[training_screen.obs["gene"].isin(["A", "ctrl"])]
    model = ss.fit(screen, preset, **small)
    assert model.effects().shape == (1, 3)
    assert model.iwelbo(screen, 2).index.tolist() == ["A", "ctrl"]


def test_nothing_to_compare_is_refused(training_screen: AnnData, small: dict[str, Any]) -> None:
    labels = training_screen.obs["gene"]
    with pytest.raises(ScreenError, match="all 50 cells have one label and there is no control"):
        ss.fit(training_screen[labels == "A"], "svae_plus", **{**small, "control": None})
    with pytest.raises(ScreenError, match="all 70 cells are the control 'ctrl'"):
        ss.fit(training_screen[labels == "ctrl"], "svae_plus", **small)


def test_too_few_cells_are_refused(training_screen: AnnData, small: dict[str, Any]) -> None:
    two = training_screen[[0, 80]]
    with pytest.raises(ScreenError, match="has 2 cells; training needs at least 2 beside"):
        ss.fit(two, "vae", **small, validation_fraction=0.4)


def test_small_screens_and_batches_train_or_are_refused_in_words(
    training_screen: AnnData, small: dict[str, Any]
) -> None:
    three = training_screen[[0, 80, 130]]
    for screen, batch_size in ((three, 2), (training_screen, 1)):
        try:
            model = ss.fit(screen, "vae", **{**small, "steps": 2}, batch_size=batch_size)
        except ss.SparseshiftError as error:
            assert "batch" in str(error)  # noqa: PT017 either is right
        else:
            assert np.isfinite(model.latents(screen)).all()


def test_history(fitted: Models, training_screen: AnnData, small: dict[str, Any]) -> None:
    history = fitted["svae_plus"].history
    assert history["step"].iloc[-1] == 30
    assert history["epoch"].is_monotonic_increasing
    assert np.isfinite(history.to_numpy(dtype=float)).all()
    model = ss.fit(training_screen, "vae", **small, validation_fraction=0.0)
    assert model.history["validation_negative_elbo"].isna().all()
    assert math.isfinite(model.history["train_negative_elbo"].iloc[-1])
    epochs = ss.fit(training_screen, "vae", **{**small, "batch_size": 60}, max_epochs=4).history
    assert epochs[["epoch", "step"]].to_numpy().tolist() == [[1, 3], [2, 6], [3, 9], [4, 12]]


def test_a_batch_is_a_covariate_of_the_decoder(
    fitted: Models, training_screen: AnnData, small: dict[str, Any]
) -> None:
    model = fitted["batches"]
    turned = training_screen.copy()
    turned.obs["batch"] = np.where(turned.obs["batch"] == "b1", "b2", "b1")
    np.testing.assert_array_equal(model.latents(turned), model.latents(training_screen))
    assert not np.allclose(
        model.cell_iwelbo(turned, 2).to_numpy(), model.cell_iwelbo(training_screen, 2).to_numpy()
    )
    turned.obs["batch"] = "b3"
    with pytest.raises(
        ScreenError, match=r"obs\['batch'\] has batches the model was not trained on: b3.*b1, b2"
    ):
        model.iwelbo(turned)
    assert model.latents(turned).shape == (200, 3)
    del turned.obs["batch"]
    with pytest.raises(ScreenError, match=r"obs has no column 'batch'\. It has: gene"):
        model.iwelbo(turned)
    constant = training_screen.copy()
    constant.obs["batch"] = "only"
    one = ss.fit(constant, "vae", **small, batch="batch")
    none = ss.fit(constant, "vae", **small)
    np.testing.assert_array_equal(one.latents(constant), none.latents(constant))


def test_numpy_numbers_are_numbers(
    training_screen: AnnData, small: dict[str, Any], tmp_path: Path
) -> None:
    options = {**small, "n_latents": np.int64(3), "seed": np.int64(0), "steps": np.int64(2)}
    model = ss.fit(training_screen, "vae", **options)
    model.save(tmp_path)
    assert ss.load(tmp_path).latents(training_screen).shape == (200, 3)


@every_preset
def test_samples(preset: str, fitted: Models, training_screen: AnnData) -> None:
    model = fitted[preset]
    drawn = model.sample(training_screen, seed=1)
    assert drawn.shape == training_screen.shape
    assert (drawn >= 0).all()
    assert (drawn == np.round(drawn)).all()
    np.testing.assert_array_equal(drawn, model.sample(training_screen, seed=1))
    totals = np.asarray(training_screen.X.sum(1)).ravel()
    assert drawn.sum() == pytest.approx(totals.sum(), rel=0.1)


@every_preset
def test_top_genes(preset: str, fitted: Models, training_screen: AnnData) -> None:
    table = fitted[preset].top_genes(training_screen, n_genes=4)
    assert table.columns.tolist() == ["latent", "gene", "log2_fold_change", "edges"]
    assert table["latent"].tolist() == ["z0"] * 4 + ["z1"] * 4 + ["z2"] * 4
    for _, rows in table.groupby("latent"):
        assert rows["log2_fold_change"].abs().is_monotonic_decreasing
        assert rows["gene"].is_unique
    edges = (fitted[preset].inclusion_probability() > 0.5).sum()
    assert table.groupby("latent")["edges"].first().tolist() == edges.tolist()
    every = fitted[preset].top_genes(training_screen, n_genes=99)
    assert len(every) == 3 * 20
    controls = training_screen[training_screen.obs["gene"] == "ctrl"]
    model = fitted[preset]
    change = log2_fold_changes(model.module, model.latents(controls))
    found = every.pivot_table(index="latent", columns="gene", values="log2_fold_change")
    np.testing.assert_allclose(found[list(training_screen.var_names)], change, atol=1e-6)
