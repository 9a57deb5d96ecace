"""Whether the I-NLL still falls with more particles: the bound at growing k, on some query cells."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from sparseshift.data.cell_store import CellStore
from sparseshift.data.splits import Split
from sparseshift.errors import OptionError, require_whole
from sparseshift.evaluation.intervals import hierarchical_bootstrap, macro_mean
from sparseshift.fitted_factors import FittedFactors
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import iwelbo
from sparseshift.scoring.cells import Model, with_model_counts
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations, to_cells

CONVERGENCE = "particle_convergence"
_CELLS = 8  # at once


def particle_convergence(
    model: Model,
    screen: AnnData,
    split: Split,
    key: RunKey,
    settings: ScoreSettings,
    *,
    ks: Sequence[int] = (1, 10, 100, 1000),
    n_cells: int = 20,
) -> pd.DataFrame:
    """Rows of the subset particle_convergence: the I-NLL of the same cells at growing K, one draw for all.

    inll_macro_kK, and excess_inll_macro_kK, by how much it is above that of the largest K, paired cell by cell.

    The largest K particles are drawn once; for a smaller K they are cut into blocks of K, whose bounds are
    averaged: what K particles give on average, with the noise of all. Where each K divides the next, no
    cell's bound can fall from one to the next.

    Args:
        model: adapted to the split's support cells; one without a likelihood has no rows.
        screen: all cells.
        split: whose query cells to take.
        key: of the rows.
        settings: resamples, and seed of cells and draws; not its particles.
        ks: numbers of particles.
        n_cells: query cells drawn of each perturbation, at most.

    Raises:
        OptionError: there is no k, or a number is not a whole one or too small.
    """
    ks = sorted({require_whole("ks", k, 1) for k in ks})
    n_cells = require_whole("n_cells", n_cells, 1)
    if not ks:
        raise OptionError("ks is empty. Give numbers of particles, such as [1, 10, 100].")
    if isinstance(model, FittedFactors) or not split.query:
        return key.rows([])
    query = with_model_counts(screen[list(split.query)], model)
    chosen = _some_of_each(read_perturbations(query, model.spec.columns), n_cells, settings.seed)
    spec, query = model.spec, query[chosen]
    cells, _ = to_cells(query, spec.columns, spec.genes, spec.design, spec.batches)
    cells = cells.streamed_to(model.module.device)
    bounds = nested_bounds(model.module, cells, ks, settings.seed).cpu().numpy()
    labels = read_perturbations(query, spec.columns)
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    rows = []
    for k, bound in zip(ks, bounds, strict=True):
        losses = {"inll_macro": -bound, "excess_inll_macro": bounds[-1] - bound}
        for name, loss in losses.items():
            groups = {str(label): loss[labels == label] for label in np.unique(labels)}
            interval = hierarchical_bootstrap(groups, macro_mean, **resample)
            rows.append((f"{name}_k{k}", CONVERGENCE, interval))
    return key.rows(rows[:-1])  # the largest has no excess over itself


def nested_bounds(
    model: PerturbationVAE, cells: CellStore, ks: Sequence[int], seed: int
) -> Tensor:
    """IWELBO of each cell for each number of particles, (ks, cells), nats, from one draw of the most."""
    generator = torch.Generator(device=cells.device).manual_seed(seed)
    bounds = cells.design.new_empty(len(ks), cells.n_cells)
    for place, batch in zip(bounds.split(_CELLS, dim=1), cells.chunks(_CELLS), strict=True):
        weights = log_weights(model, batch, max(ks), generator)
        for row, k in zip(place, ks, strict=True):
            row.copy_(_mean_over_blocks(weights, k))
    return bounds


def _mean_over_blocks(weights: Tensor, k: int) -> Tensor:
    n_blocks = len(weights) // k
    blocks = weights[: n_blocks * k].view(n_blocks, k, -1)
    return iwelbo(blocks.transpose(0, 1)).mean(0)


def _some_of_each(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Positions of at most so many cells of each label, drawn at random, ascending."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.sort(np.concatenate([rng.permutation(own)[:most] for own in members]))
