"""A picture of latents in two dimensions, by UMAP."""

import numpy as np
import pandas as pd
from anndata import AnnData


def umap(latents: pd.DataFrame, *, n_cells: int, seed: int) -> pd.DataFrame:
    """UMAP of a random part of the cells (McInnes et al. 2018, as scanpy runs it).

    Args:
        latents: (cells, latents).
        n_cells: cells to show, drawn without replacement; all if there are fewer.
        seed: of the draw and of UMAP.

    Returns:
        Columns x, y, indexed by cell.
    """
    import scanpy

    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(latents), size=min(n_cells, len(latents)), replace=False))
    shown = latents.iloc[rows]
    cells = AnnData(obs=pd.DataFrame(index=shown.index), obsm={"z": shown.to_numpy()})
    n_neighbors = min(15, len(shown) - 1)
    scanpy.pp.neighbors(cells, use_rep="z", n_neighbors=n_neighbors, random_state=seed)
    scanpy.tl.umap(cells, random_state=seed)
    return pd.DataFrame(cells.obsm["X_umap"], index=shown.index, columns=["x", "y"])


def strongest(effects: pd.DataFrame, n: int = 8) -> list[str]:
    """The perturbations that move the latents most: norm of inclusion probability x effect.

    Args:
        effects: columns perturbation, latent, effect, inclusion_probability.
        n: how many at most; those that do not move at all are left out.
    """
    shift = effects["effect"] * effects["inclusion_probability"]
    norm = (shift**2).groupby(effects["perturbation"]).sum() ** 0.5
    return [str(name) for name in norm[norm > 0.5].nlargest(n).index]
