"""New coordinates z' = A (z - c), written into the weights of a trained model."""

import torch
from torch import Tensor, nn

from sparseshift.models.vae import PerturbationVAE


@torch.no_grad()
def absorb(model: PerturbationVAE, transform: Tensor, origin: Tensor, variance: Tensor) -> None:
    """Makes encoder and decoder speak z' = A (z - c): what decodes to what does not change.

    - encoder, mean W h + b: A W, A (b - c).
    - encoder, log variance: the same for all cells, log diag(A diag(s^2) A^T). The posterior is
      diagonal and A is not, so this is the one part that is not exact.
    - decoder, first layer W z + b: W A^-1, b + W c; its columns for batches stay.

    The prior is left as it is; optimiser states of these weights lose their meaning.

    Args:
        model: changed in place, weight by weight: views of its parameters stay valid.
        transform: A, (latents, latents), invertible.
        origin: c, in the old coordinates, (latents,).
        variance: s^2, posterior variance averaged over cells, in the old coordinates, (latents,).
    """
    a, c, s2 = (t.double().cpu() for t in (transform, origin, variance))
    head, log_variance = model.encoder.mean, model.encoder.log_variance
    head.weight.copy_(a @ _exact(head.weight))
    head.bias.copy_(a @ (_exact(head.bias) - c))
    log_variance.weight.zero_()
    log_variance.bias.copy_((a.square() @ s2).log())
    first = _first_linear(model.decoder.hidden.layers)
    of_z = _exact(first.weight)[:, : len(c)]
    first.bias.copy_(_exact(first.bias) + of_z @ c)
    first.weight[:, : len(c)] = torch.linalg.solve(a, of_z, left=False).to(first.weight)


def _exact(parameter: Tensor) -> Tensor:
    return parameter.detach().double().cpu()


def _first_linear(layers: nn.Sequential) -> nn.Linear:
    first = layers[0]
    if not isinstance(first, nn.Linear):  # unreachable: Hidden begins with a linear layer
        raise TypeError(f"The decoder begins with {type(first).__name__}, not with Linear.")
    return first
