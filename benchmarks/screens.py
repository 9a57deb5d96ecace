"""Screens to measure on: dense counts at a few hundred genes, sparse ones above."""

import anndata
import numpy as np
import pandas as pd

import sparseshift as ss

N_PERTURBATIONS = 50


def screen(n_genes: int, n_cells: int, seed: int = 0) -> anndata.AnnData:
    """Counts in X, (cells, genes) float32 and dense, which is what both tools read fastest.

    Up to 300 genes: the simulator of the paper's code, nearly no zeros. Above: Poisson counts of
    lognormal cells and gamma-distributed genes, about a fifth of them not zero.
    """
    each = n_cells // N_PERTURBATIONS
    if n_genes <= 300:
        adata = ss.simulate(
            seed=seed,
            n_perturbations=N_PERTURBATIONS,
            n_cells_per_perturbation=each,
            n_genes=n_genes,
        )
        adata.X = adata.X.toarray()
        return adata
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(N_PERTURBATIONS), each)
    effect = np.exp(0.3 * rng.standard_normal((N_PERTURBATIONS, n_genes)))
    depth = rng.lognormal(0.0, 0.4, size=(len(label), 1))
    counts = rng.poisson(depth * effect[label] * rng.gamma(0.3, 1.2, size=n_genes))
    obs = pd.DataFrame(
        {"perturbation": pd.Categorical([f"p{i:03d}" for i in label])},
        index=[f"cell_{i}" for i in range(len(label))],
    )
    var = pd.DataFrame(index=[f"gene_{i}" for i in range(n_genes)])
    return anndata.AnnData(counts.astype(np.float32), obs=obs, var=var)
