"""The structure that `cell-eval run` 0.8.2 read without an option."""

import numpy as np
import pandas as pd
import pytest

from sparseshift.errors import ScreenError
from sparseshift.evaluation.average_effects import log_normalise
from sparseshift.screens.cell_eval import to_cell_eval

COUNTS = np.random.default_rng(0).poisson(2.0, size=(9, 4)).astype(float) + 1.0
PROFILES = log_normalise(COUNTS, 100.0)
LABELS = ["ctrl", "A", "A+B"] * 3
GENES = ["A", "B", "C", "D"]


def test_structure() -> None:
    cells = to_cell_eval(PROFILES, LABELS, GENES, "ctrl")
    assert cells.var_names.tolist() == GENES
    assert cells.obs.columns.tolist() == ["target_gene"]
    assert cells.obs["target_gene"].tolist() == ["non-targeting", "A", "A+B"] * 3
    assert isinstance(cells.obs["target_gene"].dtype, pd.CategoricalDtype)
    assert cells.obs_names.is_unique
    assert isinstance(cells.X, np.ndarray)
    assert cells.X.dtype == np.float32
    np.testing.assert_allclose(cells.X, PROFILES, rtol=1e-6)
    same = to_cell_eval(
        PROFILES, [x.replace("ctrl", "non-targeting") for x in LABELS], GENES, "non-targeting"
    )
    assert same.obs.equals(cells.obs)


def test_a_file_keeps_it(tmp_path: object) -> None:
    import anndata

    path = f"{tmp_path}/cells.h5ad"
    cells = to_cell_eval(PROFILES, LABELS, GENES, "ctrl")
    cells.write_h5ad(path)
    again = anndata.read_h5ad(path)
    assert again.obs.equals(cells.obs)
    assert (np.asarray(again.X) == np.asarray(cells.X)).all()


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        (COUNTS, "All values are whole numbers"),
        (np.zeros((9, 4)), "All values are whole numbers"),
        (20.0 * PROFILES, "log-normalised ones are below 15"),
        (PROFILES - 4.0, "not negative"),
        (np.where(PROFILES > 0, np.nan, PROFILES), "finite"),
        (PROFILES[:4], "for 9 labels and 4 genes"),
    ],
)
def test_values_that_cell_eval_would_misread_are_refused(
    profiles: np.ndarray, message: str
) -> None:
    with pytest.raises(ScreenError, match=message):
        to_cell_eval(profiles, LABELS, GENES, "ctrl")


def test_a_control_is_needed_and_its_name_is_taken() -> None:
    with pytest.raises(ScreenError, match="no cell of the control 'NT'"):
        to_cell_eval(PROFILES, LABELS, GENES, "NT")
    taken = ["ctrl", "non-targeting", "A"] * 3
    with pytest.raises(ScreenError, match="Rename it"):
        to_cell_eval(PROFILES, taken, GENES, "ctrl")
