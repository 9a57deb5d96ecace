"""How far each perturbation moves expression: the linear MMD to the control on principal components."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.errors import ScreenError
from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.counts import read_counts

N_GENES = 3000  # most variable, of the cells that are compared


def effect_sizes(
    adata: AnnData, columns: Columns, *, n_components: int = 50, n_cells: int = 1000, seed: int = 0
) -> pd.Series:
    """Squared distance of each perturbation's mean from the control's, largest first.

    That is the MMD with a linear kernel, mean XX + mean YY - 2 mean XY (Lopez et al. 2023, Norman),
    on principal components of log-normalised profiles of the most variable genes, from at most
    `n_cells` drawn cells a label. It looks at all cells: to choose what to hold out, not to fit.

    Args:
        adata: The screen.
        columns: Its columns; it needs a control.
        n_components: Principal components; fewer if there are fewer genes or cells.
        n_cells: Of each label, at most.
        seed: Of the draw and of the decomposition.

    Returns:
        By label, sorted; in the squared unit of log-normalised expression.

    Raises:
        ScreenError: There is no control.
    """
    import scanpy

    from sparseshift.screens.genes import choose_genes

    labels = canonical(adata.obs[columns.perturbation], columns.control).to_numpy(dtype=str)
    if columns.control is None or not (labels == columns.control).any():
        raise ScreenError(
            "The largest effects are distances from the control, and this screen has none: name it in "
            "columns.control, or hold out named or random perturbations."
        )
    rng = np.random.default_rng(seed)
    drawn = np.sort(
        np.concatenate([_some(rng, labels == name, n_cells) for name in np.unique(labels)])
    )
    chosen = choose_genes(adata, columns, drawn, n_top=N_GENES, protect_targets=False)["chosen"]
    profiles = AnnData(read_counts(adata, columns.layer, drawn)[:, np.flatnonzero(chosen)])
    scanpy.pp.normalize_total(profiles)
    scanpy.pp.log1p(profiles)
    n_components = min(n_components, min(profiles.shape) - 1)
    scores = scanpy.pp.pca(profiles, n_comps=n_components, random_state=seed, copy=True).obsm[
        "X_pca"
    ]
    means = pd.DataFrame(scores).groupby(labels[drawn]).mean()
    distance = ((means - means.loc[columns.control]) ** 2).sum(axis=1)
    return distance.drop(columns.control).sort_values(ascending=False, kind="stable")


def _some(rng: np.random.Generator, mask: np.ndarray, n: int) -> np.ndarray:
    places = np.flatnonzero(mask)
    return places if len(places) <= n else rng.choice(places, n, replace=False)
