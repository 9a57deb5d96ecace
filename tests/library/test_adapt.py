"""New perturbations in a fitted model, and the bound on their cells."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

import sparseshift as ss
from sparseshift.errors import OptionError, ScreenError
from sparseshift.fitted_model import FittedModel

Models = dict[str, FittedModel]
every_model = pytest.mark.parametrize("name", ["vae", "ivae", "svae_plus", "batches"])


def state(model: FittedModel) -> dict[str, torch.Tensor]:
    """Copies of all weights and buffers."""
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def cells_of(screen: AnnData, *labels: str) -> AnnData:
    """The cells with these labels."""
    return screen[screen.obs["gene"].isin(labels)]


@every_model
def test_bound_by_perturbation_is_the_mean_of_its_cells(
    name: str, fitted: Models, training_screen: AnnData
) -> None:
    model = fitted[name]
    cells = model.cell_iwelbo(training_screen, 7, seed=2)
    assert cells.index.equals(training_screen.obs_names)
    assert cells.name == "iwelbo_k7"
    assert np.isfinite(cells).all()
    bound = model.iwelbo(training_screen, 7, seed=2)
    assert bound.index.tolist() == ["A", "A+B", "B", "ctrl"]
    assert bound.index.name == "perturbation"
    assert bound.name == "iwelbo_k7"
    for label, written in (("A", "A"), ("A+B", "B+A"), ("ctrl", "ctrl")):
        own = cells[(training_screen.obs["gene"] == written).to_numpy()]
        assert bound[label] == pytest.approx(own.mean(), rel=1e-6)
    pd.testing.assert_series_equal(model.iwelbo(training_screen, 7, seed=2), bound)
    assert not model.iwelbo(training_screen, 7, seed=3).equals(bound)


@every_model
def test_more_particles_are_tighter(name: str, fitted: Models, training_screen: AnnData) -> None:
    model = fitted[name]
    one = np.stack([model.cell_iwelbo(training_screen, 1, seed=s) for s in range(30)])
    ten = np.stack([model.cell_iwelbo(training_screen, 10, seed=s) for s in range(30)])
    hundred = model.cell_iwelbo(training_screen, 100)
    # thirty bounds with one particle are the log weights of one with thirty
    thirty = np.logaddexp.reduce(one.astype(np.float64), axis=0) - np.log(len(one))
    bounds = [part.mean() for part in (one, ten, thirty, hundred)]
    error = float(np.sqrt(one.var(axis=0).mean() / thirty.size))
    assert (np.diff(bounds) > -4.0 * error).all()
    # and it converges: what is left beyond thirty is little of what one lacks
    assert bounds[3] - bounds[2] < 0.25 * (bounds[2] - bounds[0]) + 4.0 * error
    assert bounds[0] < bounds[1] < bounds[3] + 4.0 * error


@every_model
def test_unknown_perturbations_are_refused_with_what_to_do(
    name: str, fitted: Models, small_screen: AnnData
) -> None:
    with pytest.raises(ScreenError, match=r"not trained on: .*C.*It knows A.*Call adapt\(\)"):
        fitted[name].iwelbo(small_screen)
    with pytest.raises(ScreenError, match=r"Call adapt\(\)"):
        fitted[name].sample(small_screen)
    with pytest.raises(OptionError, match="n_particles=0 must be at least 1"):
        fitted[name].iwelbo(cells_of(small_screen, "A"), 0)


@every_model
def test_adapted_models_score_what_they_could_not(
    name: str, fitted: Models, small_screen: AnnData
) -> None:
    model = fitted[name].adapt(small_screen[::2])
    bound = model.iwelbo(small_screen[1::2], 5)
    assert bound.index.tolist() == ["A", "A+B", "A+C", "B", "C", "C+D", "D", "ctrl"]
    assert np.isfinite(bound).all()
    assert model.sample(small_screen).shape == (300, 20)


@every_model
def test_adapting_adds_rows_and_changes_nothing_else(
    name: str, fitted: Models, small_screen: AnnData, training_screen: AnnData
) -> None:
    model = fitted[name]
    before, tables = state(model), (model.effects(), model.inclusion_probability())
    adapted = model.adapt(small_screen)
    after, known = state(model), tables[0].index.tolist()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert model.effects().equals(tables[0])
    own = state(adapted)
    frozen = [key for key in before if not key.startswith("prior.")]
    assert all(torch.equal(before[key], own[key]) for key in frozen)
    assert {key for key in own if not key.startswith("prior.")} == set(frozen)
    expected = [*known, "A+C", "C", "C+D", "D"] if name == "ivae" else [*known, "C", "D"]
    for new, old in zip((adapted.effects(), adapted.inclusion_probability()), tables, strict=True):
        assert new.index.tolist() == expected
        pd.testing.assert_frame_equal(new.loc[known], old)
    np.testing.assert_array_equal(adapted.latents(small_screen), model.latents(small_screen))
    expected_bound = model.cell_iwelbo(training_screen, 3)
    np.testing.assert_allclose(
        adapted.cell_iwelbo(training_screen, 3), expected_bound, rtol=1e-5, atol=1e-3
    )
    pd.testing.assert_frame_equal(adapted.history, model.history)
    assert adapted.spec.trained == model.spec.trained
    assert not adapted.module.training


def test_a_new_shift_is_the_mean_latent_of_its_cells(
    fitted: Models, small_screen: AnnData
) -> None:
    support = cells_of(small_screen, "C", "D")
    for name in ("ivae", "svae_plus"):
        adapted = fitted[name].adapt(support)
        latents = fitted[name].latents(cells_of(small_screen, "C"))
        np.testing.assert_allclose(adapted.effects().loc["C"], latents.mean(0), atol=1e-5)
        assert (adapted.inclusion_probability().loc["C"] == 1.0).all()


def test_a_vae_adapts_nothing(fitted: Models, small_screen: AnnData) -> None:
    adapted = fitted["vae"].adapt(small_screen)
    assert adapted.effects().index.tolist() == ["A", "B", "C", "D"]
    assert (adapted.effects() == 0.0).all(axis=None)
    assert (adapted.inclusion_probability() == 0.0).all(axis=None)
    # so that the bound does not depend on the label
    other = small_screen.copy()
    other.obs["gene"] = "ctrl"
    np.testing.assert_allclose(
        adapted.cell_iwelbo(small_screen, 3), adapted.cell_iwelbo(other, 3), rtol=1e-5
    )


def test_doubles_of_trained_parts_need_no_adapting(fitted: Models, small_screen: AnnData) -> None:
    double = cells_of(small_screen, "B+A")
    assert fitted["svae_plus"].adapt(double) is fitted["svae_plus"]
    assert fitted["svae_plus"].iwelbo(double, 3).index.tolist() == ["A+B"]


def test_nothing_new_gives_the_model_itself(fitted: Models, training_screen: AnnData) -> None:
    for model in fitted.values():
        assert model.adapt(training_screen) is model


def test_after_singles_their_doubles_are_zero_shot(fitted: Models, small_screen: AnnData) -> None:
    adapted = fitted["svae_plus"].adapt(cells_of(small_screen, "C", "D"))
    assert adapted.iwelbo(cells_of(small_screen, "C+D", "A+C"), 3).index.tolist() == ["A+C", "C+D"]
    with pytest.raises(ScreenError, match=r"not trained on: A\+C, C\+D"):
        fitted["ivae"].adapt(cells_of(small_screen, "C", "D")).iwelbo(
            cells_of(small_screen, "C+D", "A+C")
        )


@every_model
def test_adapting_in_two_steps_keeps_the_first(
    name: str, fitted: Models, small_screen: AnnData
) -> None:
    once = fitted[name].adapt(cells_of(small_screen, "C"))
    twice = once.adapt(cells_of(small_screen, "D"))
    pd.testing.assert_frame_equal(twice.effects().iloc[:-1], once.effects())
    together = fitted[name].adapt(cells_of(small_screen, "C", "D"))
    pd.testing.assert_frame_equal(twice.effects(), together.effects(), atol=1e-5)


@every_model
def test_order_and_known_cells_do_not_matter(
    name: str, fitted: Models, small_screen: AnnData
) -> None:
    first = fitted[name].adapt(cells_of(small_screen, "C", "D"))
    again = fitted[name].adapt(cells_of(small_screen, "D", "A", "ctrl", "C", "B+A")[::-1])
    pd.testing.assert_frame_equal(first.effects(), again.effects(), atol=1e-5)


def test_support_cells_fit_better_with_their_shift(fitted: Models, small_screen: AnnData) -> None:
    adapted = fitted["svae_plus"].adapt(cells_of(small_screen, "C"))
    cells = cells_of(small_screen, "C").copy()
    own = adapted.cell_iwelbo(cells, 200).mean()
    cells.obs["gene"] = "ctrl"
    assert own > adapted.cell_iwelbo(cells, 200).mean()


def test_missing_columns_are_named(fitted: Models, small_screen: AnnData) -> None:
    bare = AnnData(small_screen.X, obs=small_screen.obs[["batch"]], var=small_screen.var)
    for call in (fitted["svae_plus"].adapt, fitted["svae_plus"].iwelbo):
        with pytest.raises(ScreenError, match=r"obs has no column 'gene'. It has: batch"):
            call(bare)


def test_no_cells_are_refused_in_words(fitted: Models, small_screen: AnnData) -> None:
    none = small_screen[:0]
    assert fitted["svae_plus"].latents(none).shape == (0, 3)
    assert fitted["svae_plus"].adapt(none) is fitted["svae_plus"]
    try:
        bound = fitted["svae_plus"].iwelbo(none)
    except ScreenError:
        return
    assert len(bound) == 0


def test_sparse_adaptation_shifts_what_the_cells_speak_for(
    fitted: Models, small_screen: AnnData
) -> None:
    model, support = fitted["svae_plus"], cells_of(small_screen, "C", "D")
    dense, sparse = model.adapt(support), model.adapt(support, sparse=True)
    pd.testing.assert_frame_equal(dense.effects(), sparse.effects())
    new = ["C", "D"]
    assert (dense.inclusion_probability().loc[new] == 1.0).to_numpy().all()
    found = sparse.inclusion_probability().loc[new].to_numpy()
    evidence = (support.obs["gene"] == "C").sum() * sparse.effects().loc["C"] ** 2
    # an edge needs five standard errors at least
    assert (found[0] > 0.0).any()
    assert (evidence[found[0] > 0.0] > 12.5).all()
    assert (evidence[found[0] > 0.5] > 25.0).all()
    assert (found < 1.0).all()
    assert np.isfinite(sparse.cell_iwelbo(support, 3)).all()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ivae", "has no learnt mask"),
        ("vae", "has no learnt mask"),
        ("adapted", "is adapted already"),
    ],
)
def test_what_cannot_be_sparse_is_refused(
    name: str, why: str, fitted: Models, small_screen: AnnData
) -> None:
    support = cells_of(small_screen, "C", "D")
    model = fitted["svae_plus"].adapt(support) if name == "adapted" else fitted[name]
    with pytest.raises(OptionError, match=f"{why}.*Leave sparse out"):
        model.adapt(support, sparse=True)


def test_a_sparse_model_is_saved_with_its_masks(
    fitted: Models, small_screen: AnnData, tmp_path: Path
) -> None:
    model = fitted["svae_plus"].adapt(cells_of(small_screen, "C", "D"), sparse=True)
    model.save(tmp_path / "model")
    again = ss.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.inclusion_probability(), model.inclusion_probability())


@every_model
def test_without_support_a_perturbation_never_trained_shifts_nothing(
    name: str, fitted: Models, small_screen: AnnData
) -> None:
    model = fitted[name]
    placed = model.without_support(["A", "A+C", "D"])
    design = placed.spec.design
    new = ["A+C", "D"] if name == "ivae" else ["C", "D"]
    assert design.perturbations[-2:] == tuple(new)
    assert (placed.inclusion_probability().loc[new] == 0.0).to_numpy().all()
    cells = cells_of(small_screen, "D").copy()
    control = cells.copy()
    control.obs["gene"] = "ctrl"
    np.testing.assert_array_equal(placed.sample(cells, seed=1), placed.sample(control, seed=1))
    if name != "ivae":  # shifts add up: of A+C only A counts
        both, alone = cells.copy(), cells.copy()
        both.obs["gene"], alone.obs["gene"] = "A+C", "A"
        np.testing.assert_array_equal(placed.sample(both, seed=1), model.sample(alone, seed=1))
    assert model.without_support(["A", "B", "ctrl"]) is model
