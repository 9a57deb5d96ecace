"""Linear baselines behind the library's interface."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sparseshift as ss
from sparseshift.errors import OptionError, ScreenError
from sparseshift.evaluation.average_effects import log_normalise
from sparseshift.evaluation.latent_regression import latent_r2
from sparseshift.fitted_factors import FittedFactors
from sparseshift.models.linear_factors import METHODS

COLUMNS: dict[str, Any] = {"perturbation": "gene", "control": "ctrl", "n_latents": 3}
every_method = pytest.mark.parametrize("method", list(METHODS))


def fit(screen: AnnData, method: str, **keywords: Any) -> FittedFactors:
    """`sparseshift.fit`, which is typed for the VAEs."""
    return cast("FittedFactors", cast("Any", ss.fit(screen, method, **{**COLUMNS, **keywords})))


@pytest.fixture(scope="module")
def factors(training_screen: AnnData) -> dict[str, FittedFactors]:
    return {method: fit(training_screen, method) for method in METHODS}


def cells_of(screen: AnnData, *labels: str) -> AnnData:
    return screen[screen.obs["gene"].isin(labels)]


@every_method
def test_latents_have_unit_deviation_within_a_label(
    method: str, factors: dict[str, FittedFactors], training_screen: AnnData
) -> None:
    z = factors[method].latents(training_screen)
    assert z.shape == (200, 3)
    assert z.dtype == np.float32
    within = pd.DataFrame(z.astype(float)).groupby(training_screen.obs["gene"].to_numpy())
    pooled = np.sqrt(within.var().mul(within.size() - 1, axis=0).sum() / (200 - 4))
    np.testing.assert_allclose(pooled, 1.0, rtol=1e-5)
    some = training_screen[[5, 3, 100]].copy()[:, ::-1].copy()
    np.testing.assert_allclose(factors[method].latents(some), z[[5, 3, 100]], atol=1e-4)
    unlabelled = AnnData(some.X, var=some.var)
    np.testing.assert_allclose(factors[method].latents(unlabelled), z[[5, 3, 100]], atol=1e-4)


@every_method
def test_effects_of_singles_are_mean_shifts_from_the_control(
    method: str, small_screen: AnnData
) -> None:
    singles = cells_of(small_screen, "ctrl", "A", "B", "C")
    model = fit(singles, method)
    z = model.latents(singles).astype(float)
    labels = singles.obs["gene"].to_numpy()
    for label in "ABC":
        expected = z[labels == label].mean(0) - z[labels == "ctrl"].mean(0)
        np.testing.assert_allclose(model.effects().loc[label], expected, atol=1e-4)


@every_method
def test_effects_are_least_squares_on_the_design(
    method: str, factors: dict[str, FittedFactors], training_screen: AnnData
) -> None:
    z = factors[method].latents(training_screen).astype(float)
    labels = training_screen.obs["gene"].to_numpy()
    design = np.array([[float(part in label.split("+")) for part in "AB"] for label in labels])
    start = z[labels == "ctrl"].mean(0)
    expected = np.linalg.lstsq(design, z - start, rcond=None)[0]
    effects = factors[method].effects()
    np.testing.assert_allclose(effects, expected, atol=1e-4)
    assert effects.index.tolist() == ["A", "B"]
    assert effects.index.name == "perturbation"
    assert effects.columns.tolist() == ["z0", "z1", "z2"]
    inclusion = factors[method].inclusion_probability()
    assert (inclusion == 1.0).all(axis=None)
    assert inclusion.index.equals(effects.index)


def test_without_a_control_effects_start_from_the_mean(small_screen: AnnData) -> None:
    singles = cells_of(small_screen, "A", "B", "C")
    model = fit(singles, "pca", control=None)
    z = model.latents(singles).astype(float)
    expected = z[(singles.obs["gene"] == "A").to_numpy()].mean(0) - z.mean(0)
    np.testing.assert_allclose(model.effects().loc["A"], expected, atol=1e-4)


def test_profiles_are_scaled_to_the_median_training_total(training_screen: AnnData) -> None:
    model = fit(training_screen, "pca")
    counts = training_screen.X.toarray()
    total = float(np.median(counts.sum(1)))
    assert model.spec.target_total == total
    raw = model.factors.transform(log_normalise(counts, total))
    np.testing.assert_allclose(model.latents(training_screen), raw / model.scale, atol=1e-4)
    # depth alone moves nothing but by the logarithm's one
    deep = training_screen.copy()
    deep.X = deep.X * 8
    np.testing.assert_allclose(model.latents(deep), model.latents(training_screen), atol=1e-4)


@every_method
def test_they_find_the_span_of_the_latents(method: str) -> None:
    screen = ss.simulate("paper", n_perturbations=8, n_cells_per_perturbation=60, n_latents=3)
    found = fit(screen, method, perturbation="perturbation", control=None, n_latents=3)
    assert latent_r2(screen.obsm["z"], found.latents(screen)).mean > 0.5


@every_method
def test_adapting_adds_rows_and_changes_nothing_else(
    method: str, factors: dict[str, FittedFactors], small_screen: AnnData
) -> None:
    model = factors[method]
    adapted = model.adapt(small_screen)
    assert adapted.effects().index.tolist() == ["A", "B", "C", "D"]
    pd.testing.assert_frame_equal(adapted.effects().loc[["A", "B"]], model.effects())
    assert model.effects().index.tolist() == ["A", "B"]
    assert adapted.spec.trained == ("A", "B")
    np.testing.assert_array_equal(adapted.latents(small_screen), model.latents(small_screen))
    # all of C, D, C+D and A+C at once, the trained shift of A taken off
    z = model.latents(small_screen).astype(float) - model.origin
    labels = small_screen.obs["gene"].to_numpy()
    new = np.array([any(p in "CD" for p in label.split("+")) for label in labels])
    design = np.array([[float(p in label.split("+")) for p in "ACD"] for label in labels[new]])
    rest = z[new] - design[:, :1] * model.effects().loc[["A"]].to_numpy()
    expected = np.linalg.lstsq(design[:, 1:], rest, rcond=None)[0]
    np.testing.assert_allclose(adapted.effects().loc[["C", "D"]], expected, atol=1e-4)


def test_cells_of_known_perturbations_adapt_nothing(
    factors: dict[str, FittedFactors], training_screen: AnnData
) -> None:
    assert factors["pca"].adapt(training_screen) is factors["pca"]


@every_method
@pytest.mark.parametrize("adapted", [False, True])
def test_loading_gives_it_back(
    method: str,
    adapted: bool,
    factors: dict[str, FittedFactors],
    small_screen: AnnData,
    tmp_path: Path,
) -> None:
    model = factors[method].adapt(small_screen) if adapted else factors[method]
    model.save(tmp_path / "deep" / "model")
    loaded = cast("Any", ss.load(tmp_path / "deep" / "model"))
    assert isinstance(loaded, FittedFactors)
    assert loaded.spec == model.spec
    np.testing.assert_array_equal(loaded.latents(small_screen), model.latents(small_screen))
    pd.testing.assert_frame_equal(loaded.effects(), model.effects())
    pd.testing.assert_frame_equal(
        loaded.adapt(small_screen).effects(), model.adapt(small_screen).effects()
    )
    loaded.save(tmp_path / "again")
    for file in ("model.json", "weights.safetensors"):
        first = (tmp_path / "deep" / "model" / file).read_bytes()
        assert (tmp_path / "again" / file).read_bytes() == first
    assert len(list((tmp_path / "again").iterdir())) == 2


def test_each_kind_of_model_replaces_the_other(
    factors: dict[str, FittedFactors], fitted: dict[str, ss.FittedModel], tmp_path: Path
) -> None:
    factors["pca"].save(tmp_path)
    fitted["vae"].save(tmp_path)
    assert isinstance(ss.load(tmp_path), ss.FittedModel)
    factors["pca"].save(tmp_path)
    assert isinstance(cast("Any", ss.load(tmp_path)), FittedFactors)
    with pytest.raises(OptionError, match="has model format 'linear_factors_1'"):
        ss.FittedModel.read(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["specification"]["preset"] == "pca"


@pytest.mark.parametrize("what", ["iwelbo", "cell_iwelbo", "sample"])
def test_what_has_no_meaning_is_refused(
    what: str, factors: dict[str, FittedFactors], training_screen: AnnData
) -> None:
    for method, model in factors.items():
        with pytest.raises(OptionError, match=rf"{method} has no likelihood .* no {what}\."):
            getattr(model, what)(training_screen)


def test_what_does_not_apply_is_refused(training_screen: AnnData, small_screen: AnnData) -> None:
    with pytest.raises(OptionError, match=r"pca has no options .* found n_hidden"):
        fit(training_screen, "pca", n_hidden=16)
    with pytest.raises(OptionError, match="n_latents=0 must be at least 1"):
        fit(training_screen, "nmf", n_latents=0)
    with pytest.raises(OptionError, match="n_latents=21: 200 cells by 20 genes"):
        fit(training_screen, "fast_ica", n_latents=21)
    with pytest.raises(ScreenError, match="genes are not in var_names"):
        fit(training_screen, "pca").latents(small_screen[:, :10])


def test_batches_are_said_not_to_be_used(
    training_screen: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    with_batches = fit(training_screen, "pca", batch="batch")
    assert "does not model batches" in caplog.text
    pd.testing.assert_frame_equal(with_batches.effects(), fit(training_screen, "pca").effects())


def test_the_library_is_imported_without_scikit_learn() -> None:
    code = (
        "import sys, sparseshift.fitted_factors; assert 'sklearn.decomposition' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
