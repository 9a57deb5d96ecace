"""The settings of training, checked when made."""

import math
from dataclasses import dataclass, replace

from sparseshift.errors import OptionError, require_whole
from sparseshift.training.precision import PRECISIONS

SCHEDULES = ("half_cosine", "constant")
OBJECTIVE_SCALES = ("cell", "screen")

_CHOICES = {
    "schedule": SCHEDULES,
    "objective_scale": OBJECTIVE_SCALES,
    "precision": PRECISIONS,
}


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Lengths count gradient steps, so that small and large screens both converge.

    Attributes:
        max_epochs: passes over the training cells; None: as many as make `steps` steps.
        steps: gradient steps when max_epochs is None.
        batch_size: cells a step.
        learning_rate: of Adam, at its largest.
        schedule: "half_cosine" takes the learning rate to zero, "constant" leaves it.
        logit_rate: learning rate of mask logits as a multiple: they travel several units where
            weights travel tenths.
        kl_warmup: share of the steps in which the weight of the KL terms rises from 0.
        kl_weight: the weight it rises to; 1 gives the ELBO.
        warm_start_share: share of the steps that a rotation recipe gives to the plain VAE.
        warm_start_kl_weight: the KL weight that its ramp ends at.
        warm_starts: how many plain VAEs a rotation recipe trains, from the same weights with other draws; the one with
            the best validation objective goes on.
        cellwise_share: length of the phase with a posterior for each cell, as a multiple of `steps`.
        cellwise_rate: of these posteriors, in units of z a step, at its largest.
        cellwise_encoder_share: the same of the phase in which the encoder learns these afterwards.
        freeze_graph: whether, once trained, the graph is fixed at q > 1/2, at no further cost, and all else
            is trained on for as long again (the protocol of Lopez et al. 2023).
        objective_scale: "cell": the loss is in nats a cell; "screen": times the training cells,
            as published for sVAE+, which matters where Adam's eps or weight decay do.
        adam_eps: what Adam adds to the root of its second moment.
        weight_decay: added to the gradient, as a multiple of the weights.
        validation_fraction: share of the cells kept aside for the validation ELBO.
        patience: stop after this many evaluations without a better validation ELBO.
        n_evaluations: how often, at most, the validation cells are scored.
        precision: of matrix products in training: "float32" or "tf32" (accelerators alone).
        compile: whether the step is compiled by torch.compile (Inductor): about twice as fast, after
            half a minute of compiling for each phase; it needs a C++ compiler.
        gradient_clip: largest norm of a gradient, in nats per unit; None: any.
    """

    max_epochs: int | None = None
    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 3e-3
    schedule: str = "half_cosine"
    logit_rate: float = 10.0
    kl_warmup: float = 0.3
    kl_weight: float = 1.0
    warm_start_share: float = 0.4
    warm_start_kl_weight: float = 0.33
    warm_starts: int = 1
    cellwise_share: float = 12.0
    cellwise_rate: float = 1.0
    cellwise_encoder_share: float = 0.7
    freeze_graph: bool = False
    objective_scale: str = "cell"
    adam_eps: float = 1e-8
    weight_decay: float = 0.0
    validation_fraction: float = 0.1
    patience: int = 10
    n_evaluations: int = 50
    precision: str = "float32"
    compile: bool = False
    gradient_clip: float | None = 100.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "warm_starts", "patience", "n_evaluations"):
            object.__setattr__(self, name, require_whole(name, getattr(self, name), 1))
        if self.max_epochs is not None:
            whole = require_whole("max_epochs", self.max_epochs, 1)
            object.__setattr__(self, "max_epochs", whole)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}."
                )
        for name in ("compile", "freeze_graph"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name}={getattr(self, name)!r} must be true or false.")
        self._require_rates()
        self._require_shares()

    def _require_rates(self) -> None:
        for name in (
            "learning_rate",
            "logit_rate",
            "kl_weight",
            "warm_start_kl_weight",
            "adam_eps",
            "cellwise_share",
            "cellwise_rate",
            "cellwise_encoder_share",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)} must be positive.")
        if self.gradient_clip is not None and not 0 < self.gradient_clip < math.inf:
            raise OptionError(f"gradient_clip={self.gradient_clip} must be positive.")
        if not 0 <= self.weight_decay < math.inf:
            raise OptionError(f"weight_decay={self.weight_decay} must not be negative.")

    def _require_shares(self) -> None:
        if not 0.0 < self.warm_start_share < 1.0:
            raise OptionError(f"warm_start_share={self.warm_start_share} must lie in (0, 1).")
        if not 0.0 <= self.kl_warmup <= 1.0:
            raise OptionError(f"kl_warmup={self.kl_warmup} must lie in [0, 1].")
        if not 0.0 <= self.validation_fraction < 1.0:
            raise OptionError(
                f"validation_fraction={self.validation_fraction} must lie in [0, 1)."
            )

    def part(self, share: float) -> "TrainingConfig":
        """The same settings for a phase with this share of the length."""
        if self.max_epochs is not None:
            return replace(self, max_epochs=max(1, round(share * self.max_epochs)))
        return replace(self, steps=max(1, round(share * self.steps)))

    def epochs(self, n_cells: int) -> int:
        """Epochs for so many training cells."""
        return self.max_epochs or math.ceil(self.steps / self.steps_per_epoch(n_cells))

    def steps_per_epoch(self, n_cells: int) -> int:
        """Gradient steps an epoch: as many batches, nearly equal in size, as come closest.

        Two cells a batch at the least, which batch normalisation needs.
        """
        return max(1, min(round(n_cells / self.batch_size), n_cells // 2))
