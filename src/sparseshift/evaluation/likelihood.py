"""Log likelihood of unseen cells: IWELBO with all particles in chunks of bounded memory."""

import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.errors import OptionError
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import iwelbo

_ELEMENTS = 8_000_000  # floats of decoder output held at once: 32 MB


@torch.no_grad()
def cell_iwelbo(
    model: PerturbationVAE, cells: Cells, n_particles: int, seed: int, *, graph: str = "soft"
) -> Tensor:
    """IWELBO of each cell with `n_particles`, (cells,), nats.

    Raises:
        OptionError: n_particles is less than 1.
    """
    if n_particles < 1:
        raise OptionError(f"n_particles={n_particles} must be at least 1.")
    if cells.n_cells == 0:
        return cells.counts.new_zeros(0)
    generator = torch.Generator(device=cells.counts.device).manual_seed(seed)
    n_genes = cells.counts.shape[1]
    cells_at_once = max(1, min(cells.n_cells, _ELEMENTS // (n_genes * min(n_particles, 100))))
    bounds = []
    for index in torch.arange(cells.n_cells, device=cells.counts.device).split(cells_at_once):
        batch = cells.take(index)
        at_once = max(1, _ELEMENTS // (n_genes * batch.n_cells))
        chunks = [
            model.log_weights(batch, min(at_once, n_particles - done), generator, graph=graph)
            for done in range(0, n_particles, at_once)
        ]
        bounds.append(iwelbo(torch.cat(chunks)))
    return torch.cat(bounds)
