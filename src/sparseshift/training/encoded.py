"""What the encoder says of many cells, a few at a time."""

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource, chunk_size
from sparseshift.models.vae import PerturbationVAE


@torch.no_grad()
def encoded(model: PerturbationVAE, cells: CellSource) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z | x), each (cells, latents); leaves the model in eval mode."""
    model.eval()
    # into one tensor each: results in a list would lie between the large ones in memory
    mean = cells.design.new_empty(cells.n_cells, model.n_latents)
    std = torch.empty_like(mean)
    size = chunk_size(cells)
    places = zip(mean.split(size), std.split(size), cells.chunks(size), strict=True)
    for place, spread, part in places:
        found = model.posterior(part)
        place.copy_(found[0])
        spread.copy_(found[1])
    return mean, std
