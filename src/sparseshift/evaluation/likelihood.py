"""Log likelihood of unseen cells: IWELBO with all particles in chunks of bounded memory."""

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource
from sparseshift.errors import OptionError
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.particle_likelihood import decoded_at_once
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import iwelbo
from sparseshift.training.memory import undisturbed
from sparseshift.training.threads import one_thread

_PARTICLES_DECODED = 32  # of a cell at once, at least: the cell's own terms cost as much as a few


@one_thread()
@undisturbed()
@torch.no_grad()
def cell_iwelbo(
    model: PerturbationVAE, cells: CellSource, n_particles: int, seed: int, *, graph: str = "soft"
) -> Tensor:
    """IWELBO of each cell with `n_particles`, (cells,), nats.

    Raises:
        OptionError: n_particles is less than 1.
    """
    if n_particles < 1:
        raise OptionError(f"n_particles={n_particles} must be at least 1.")
    if cells.n_cells == 0:
        return cells.design.new_zeros(0)
    generator = torch.Generator(device=cells.device).manual_seed(seed)
    n_genes = cells.n_genes
    share = decoded_at_once(cells.device) // (n_genes * min(n_particles, _PARTICLES_DECODED))
    cells_at_once = max(1, min(cells.n_cells, share))
    bounds = cells.design.new_empty(cells.n_cells)  # results in a list would fragment memory
    for place, batch in zip(bounds.split(cells_at_once), cells.chunks(cells_at_once), strict=True):
        place.copy_(iwelbo(log_weights(model, batch, n_particles, generator, graph=graph)))
    return bounds
