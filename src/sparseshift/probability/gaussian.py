import math

import torch


def log_prob(values, mean, log_scale):
    return (
        -0.5 * ((values - mean) / log_scale.exp()).square()
        - log_scale
        - 0.5 * math.log(2 * math.pi)
    ).sum(-1)


def sample(mean, log_scale, generator=None):
    return mean + log_scale.exp() * torch.randn(
        mean.shape, generator=generator, dtype=mean.dtype, device=mean.device
    )
