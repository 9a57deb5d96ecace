"""Learning rate and KL weight over the steps of a fit."""

import math

from sparseshift.training.config import TrainingConfig


class Schedule:
    """Both as functions of the step, scaled to the length of the fit.

    Args:
        config: the settings.
        n_steps: steps of the whole fit.
    """

    def __init__(self, config: TrainingConfig, n_steps: int) -> None:
        self.config = config
        self.n_steps = n_steps
        self.warmup = config.kl_warmup * n_steps

    def kl_weight(self, step: int) -> float:
        """Linear up to the final weight over the warm-up; never quite 0."""
        share = 1.0 if step >= self.warmup else (step + 1) / (self.warmup + 1)
        return self.config.kl_weight * share

    def end_ramp(self, step: int) -> None:
        """Gives the KL weight its final value from this step on, if it has not had it before."""
        self.warmup = min(self.warmup, step)

    def rate(self, step: int) -> float:
        """Share of the largest learning rate."""
        if self.config.schedule == "constant":
            return 1.0
        return 0.5 * (1.0 + math.cos(math.pi * step / self.n_steps))
