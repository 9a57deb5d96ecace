"""The settings of training, checked when made."""

import math
from dataclasses import dataclass

from sparseshift.errors import OptionError, require_whole


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Lengths count gradient steps, so that small and large screens both converge.

    Attributes:
        max_epochs: passes over the training cells; None: as many as make `steps` steps.
        steps: gradient steps when max_epochs is None.
        batch_size: cells a step.
        learning_rate: of Adam, at its largest; falls to zero along a half cosine.
        logit_rate: the same for mask logits, as a multiple: they travel several units where
            weights travel tenths.
        kl_warmup: share of the steps in which the weight of the KL terms rises from 0 to 1.
        validation_fraction: share of the cells kept aside for the validation ELBO.
        patience: stop after this many evaluations without a better validation ELBO.
        n_evaluations: how often, at most, the validation cells are scored.
        gradient_clip: largest norm of a gradient, in nats per unit.
    """

    max_epochs: int | None = None
    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 3e-3
    logit_rate: float = 10.0
    kl_warmup: float = 0.3
    validation_fraction: float = 0.1
    patience: int = 10
    n_evaluations: int = 50
    gradient_clip: float = 100.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "patience", "n_evaluations"):
            object.__setattr__(self, name, require_whole(name, getattr(self, name), 1))
        if self.max_epochs is not None:
            whole = require_whole("max_epochs", self.max_epochs, 1)
            object.__setattr__(self, "max_epochs", whole)
        for name in ("learning_rate", "logit_rate", "gradient_clip"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise OptionError(f"{name}={getattr(self, name)} must be positive.")
        for name in ("kl_warmup", "validation_fraction"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise OptionError(f"{name}={getattr(self, name)} must lie in [0, 1).")

    def epochs(self, n_cells: int) -> int:
        """Epochs for so many training cells."""
        return self.max_epochs or math.ceil(self.steps / self.steps_per_epoch(n_cells))

    def steps_per_epoch(self, n_cells: int) -> int:
        """Gradient steps an epoch: as many batches, nearly equal in size, as come closest.

        Two cells a batch at the least, which batch normalisation needs.
        """
        return max(1, min(round(n_cells / self.batch_size), n_cells // 2))
