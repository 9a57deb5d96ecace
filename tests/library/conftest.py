"""What several files of this folder share."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from sparseshift.fitted_model import FittedModel


@pytest.fixture(scope="session")
def assert_same() -> Callable[[FittedModel, FittedModel, AnnData], None]:
    """A function that fails unless two models say the same of everything."""

    def compare(a: FittedModel, b: FittedModel, screen: AnnData) -> None:
        np.testing.assert_array_equal(a.latents(screen), b.latents(screen))
        pd.testing.assert_series_equal(a.iwelbo(screen, 4), b.iwelbo(screen, 4))
        pd.testing.assert_frame_equal(a.effects(), b.effects())
        pd.testing.assert_frame_equal(a.inclusion_probability(), b.inclusion_probability())
        pd.testing.assert_frame_equal(a.history, b.history)
        pd.testing.assert_frame_equal(a.top_genes(screen), b.top_genes(screen))
        np.testing.assert_array_equal(a.sample(screen), b.sample(screen))
        assert a.spec == b.spec
        assert a.records.best == b.records.best

    return compare
