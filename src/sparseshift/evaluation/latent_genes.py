"""Which genes a latent moves: the decoder's answer to one unit of z."""

import numpy as np
import torch

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
    device = model.log_inverse_dispersion.device
    z = torch.as_tensor(start, dtype=torch.float32, device=device)
    changes = torch.zeros(z.shape[1], model.log_inverse_dispersion.shape[0], device=device)
    for code in range(model.decoder.n_batches):
        batch = torch.full((len(z),), code, dtype=torch.int64, device=device)
        base = model.decoder(z, batch)
        for latent in range(z.shape[1]):
            moved = z.clone()
            moved[:, latent] += step
            changes[latent] += (model.decoder(moved, batch) - base).mean(0)
    return (changes / (model.decoder.n_batches * np.log(2.0))).cpu().numpy()
