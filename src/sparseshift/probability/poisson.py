import torch


def softmax_log_prob(counts, scores):
    log_mean = counts.sum(-1, keepdim=True).log() + scores.log_softmax(-1)
    return (counts * log_mean - log_mean.exp()).sum(-1)


def sample(log_mean, generator=None):
    return torch.poisson(log_mean.exp(), generator=generator)
