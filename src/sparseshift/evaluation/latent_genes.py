"""Which genes a latent moves: the decoder's answer to one unit of z."""

import numpy as np
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.vae import PerturbationVAE


@torch.no_grad()
def log2_fold_changes(model: PerturbationVAE, start: np.ndarray, step: float = 1.0) -> np.ndarray:
    """Mean change of log2 proportions when one latent moves up by `step` from each start.

    Args:
        model: in eval mode.
        start: latents of some cells, (cells, latents), for example of the control.
        step: in units of the standard deviation of z within a perturbation.

    Returns:
        (latents, genes): averaged over cells and over the model's batches.
    """
    z = torch.as_tensor(start, dtype=torch.float32, device=model.device)
    changes = torch.zeros(z.shape[1], len(model.decoder.scores.bias), device=model.device)
    for code in range(model.n_batches):
        batch = torch.full((len(z),), code, dtype=torch.int64, device=model.device)
        base = _log_expression(model, z, batch)
        for latent in range(z.shape[1]):
            moved = z.clone()
            moved[:, latent] += step
            changes[latent] += (_log_expression(model, moved, batch) - base).mean(0)
    return (changes / (model.n_batches * np.log(2.0))).cpu().numpy()


def _log_expression(model: PerturbationVAE, z: Tensor, batch: Tensor) -> Tensor:
    """Of unperturbed cells, where the decoder sees the perturbation."""
    n_genes = len(model.decoder.scores.bias)
    control = torch.zeros_like(batch)
    design = z.new_zeros(1, model.prior.effect().shape[0])
    cells = Cells(z.new_zeros(0, n_genes), control, batch, design)
    return model.likelihood.log_expression(model.decoder(z, model.covariates(cells)))
