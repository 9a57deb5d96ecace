"""A simulated screen as AnnData, with the truth it was drawn with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparseshift.data.design import SEPARATOR
from sparseshift.data.simulators.simulation import Simulation

if TYPE_CHECKING:
    from anndata import AnnData

CONTROL = "control"
_AT_ONCE = 10_000  # cells


def as_anndata(drawn: Simulation) -> AnnData:
    """Counts in X and the truth beside them.

    Returns:
        X CSR float32, (cells, genes); obs: "perturbation" ("p000", "p000+p001", "control"), "batch",
        "perturbed", whether the guide did anything; obsm["z"] the true latents; uns["shifts"]
        (perturbations, latents), in the order of uns["perturbations"].
    """
    from anndata import AnnData
    from scipy import sparse

    names = np.array([f"p{i:03d}" for i in range(len(drawn.shifts))] + [CONTROL])
    label = names[drawn.perturbation].astype(object)
    double = drawn.partner >= 0
    label[double] += SEPARATOR + names[drawn.partner[double]].astype(object)
    n_cells, n_genes = drawn.counts.shape
    parts = [
        sparse.csr_matrix(drawn.counts[first : first + _AT_ONCE], dtype=np.float32)
        for first in range(0, n_cells, _AT_ONCE)
    ]
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(label),
            "batch": pd.Categorical([f"b{code}" for code in drawn.batch]),
            "perturbed": drawn.perturbed,
        },
        index=[f"cell_{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"gene_{i}" for i in range(n_genes)])
    screen = AnnData(X=sparse.vstack(parts, format="csr"), obs=obs, var=var)
    screen.obsm["z"] = drawn.latents
    screen.uns["shifts"] = drawn.shifts
    screen.uns["perturbations"] = names[:-1]
    return screen
