"""New coordinates z' = A (z - c), written into the weights of a trained model."""

import torch
from torch import Tensor

from sparseshift.models.vae import PerturbationVAE


@torch.no_grad()
def absorb(model: PerturbationVAE, transform: Tensor, origin: Tensor, variance: Tensor) -> None:
    """Makes encoder and decoder speak z' = A (z - c): what decodes to what does not change.

    - encoder, mean h W + b: W A^T, A (b - c).
    - encoder, log variance: the same for all cells, log diag(A diag(s^2) A^T). The posterior is
      diagonal and A is not, so this is the one part that is not exact.
    - decoder, first layer z W: z' A^-T W + c W; its rows for batches stay.

    The prior is left as it is; optimiser states of these weights lose their meaning.

    Args:
        model: changed in place, weight by weight: views of its parameters stay valid.
        transform: A, (latents, latents), invertible.
        origin: c, in the old coordinates, (latents,).
        variance: s^2, posterior variance averaged over cells, in the old coordinates, (latents,).
    """
    a, c, s2 = (t.double().cpu() for t in (transform, origin, variance))
    head, n_latents = model.encoder.head, len(c)
    weight, bias = _exact(head.weight), _exact(head.bias)
    weight[:, :n_latents], weight[:, n_latents:] = weight[:, :n_latents] @ a.T, 0.0
    bias[:n_latents], bias[n_latents:] = a @ (bias[:n_latents] - c), (a.square() @ s2).log()
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    first = model.decoder.hidden.layers[0]
    of_z = _exact(first.weight)[:n_latents]
    first.add((c @ of_z).to(first.weight))
    first.weight[:n_latents] = torch.linalg.solve(a.T, of_z).to(first.weight)


def _exact(parameter: Tensor) -> Tensor:
    return parameter.detach().double().cpu()
