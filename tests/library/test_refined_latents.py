"""Latents with a posterior of its own for each cell."""

from typing import Any

import numpy as np
import pytest
from anndata import AnnData

import sparseshift as ss
from sparseshift.errors import OptionError
from sparseshift.fitted_model import FittedModel


def test_by_default_only_a_model_that_was_trained_so_refines(
    training_screen: AnnData, small: dict[str, Any]
) -> None:
    keywords = {**small, "warm_start": "auto", "steps": 6}
    plain = ss.fit(training_screen, "svae_plus", **keywords)
    np.testing.assert_array_equal(
        plain.latents(training_screen), plain.latents(training_screen, refine=0)
    )
    cellwise = ss.fit(training_screen, "svae_plus_cellwise", **keywords)
    assert cellwise.spec.recipe == "cellwise"
    found = cellwise.latents(training_screen)
    np.testing.assert_array_equal(found, cellwise.latents(training_screen, refine=100))
    assert np.abs(found - cellwise.latents(training_screen, refine=0)).max() > 1e-3
    cold = ss.fit(training_screen, "svae_plus_cellwise", **{**keywords, "warm_start": None})
    assert cold.spec.recipe == "plain"


def test_a_cell_is_where_it_is_whatever_is_asked_for_with_it(
    training_screen: AnnData, fitted: dict[str, FittedModel]
) -> None:
    model = fitted["svae_plus"]
    some = training_screen[10:25]
    np.testing.assert_allclose(
        model.latents(some, refine=10),
        model.latents(training_screen, refine=10)[10:25],
        atol=1e-4,
    )


def test_labels_are_not_asked_for(
    training_screen: AnnData, fitted: dict[str, FittedModel]
) -> None:
    nameless = training_screen.copy()
    del nameless.obs["gene"]
    model = fitted["svae_plus"]
    np.testing.assert_array_equal(
        model.latents(nameless, refine=5), model.latents(training_screen, refine=5)
    )


def test_an_encoder_that_sees_shifts_cannot_be_refined(
    training_screen: AnnData, small: dict[str, Any]
) -> None:
    model = ss.fit(training_screen, "sams_vae", **small)
    with pytest.raises(OptionError, match="refine=5 needs an encoder that sees cells alone"):
        model.latents(training_screen, refine=5)


@pytest.mark.parametrize("refine", [-1, 2.5])
def test_steps_are_a_whole_number(
    refine: Any, training_screen: AnnData, fitted: dict[str, FittedModel]
) -> None:
    with pytest.raises(OptionError, match="refine"):
        fitted["svae_plus"].latents(training_screen, refine=refine)
