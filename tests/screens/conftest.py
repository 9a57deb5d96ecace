import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse


@pytest.fixture
def adata() -> ad.AnnData:
    """120 cells, 30 genes, three perturbations and a double (20 cells each), control 'non-targeting'."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.6, 2.0, size=30), size=(120, 30))
    counts[:, 0] += 1  # no empty cells
    obs = pd.DataFrame(
        {
            "gene": np.repeat(["non-targeting", "G1", "G2", "G3", "G1+G2", "non-targeting"], 20),
            "batch": np.tile(["b1", "b2"], 60),
            "depth": counts.sum(axis=1) * 1.5,
        },
        index=[f"cell{i}" for i in range(120)],
    )
    var = pd.DataFrame(index=[f"G{i}" for i in range(30)])
    return ad.AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs, var=var)
