"""What may be set of a model: which parts it is made of, and their sizes."""

import math
from dataclasses import dataclass
from typing import Any

from sparseshift.errors import OptionError, require_whole
from sparseshift.models.likelihoods import LIKELIHOODS
from sparseshift.models.mask_priors import MASK_PRIORS
from sparseshift.models.networks import NORMALISATIONS
from sparseshift.models.priors import MASK_DRAWS
from sparseshift.models.vae import POSTERIORS

SHIFTS = ("none", "table", "additive")
MASKS = ("ones", "bernoulli")
EFFECTS = ("point", "normal")
DISPERSION_STARTS = ("data", "one")

_CHOICES: dict[str, tuple[str, ...]] = {
    "normalisation": NORMALISATIONS,
    "likelihood": LIKELIHOODS,
    "shift": SHIFTS,
    "mask": MASKS,
    "mask_draw": MASK_DRAWS,
    "mask_prior": MASK_PRIORS,
    "effect": EFFECTS,
    "posterior": POSTERIORS,
    "dispersion_start": DISPERSION_STARTS,
}


@dataclass(frozen=True)
class Options:
    """The parts of a model; every preset has the same names, so that models compare.

    Attributes:
        n_hidden: width of each hidden layer.
        n_layers: hidden layers of encoder and of decoder.
        normalisation: of the hidden layers: "layer", "batch" or "none".
        dropout: in the encoder, share of units.
        likelihood: "nb", "poisson" or "gaussian" (of log-normalised counts).
        dispersion_start: of "nb", where each gene's inverse dispersion starts: "data", that of
            independent genes, or "one".
        posterior: what the encoder sees: "cells", "basal" (and the shift) or "conditional" (and
            the perturbation, which the decoder then sees, too).
        shift: "none"; "table", one row a label; "additive", one row a perturbation, combinations
            add up.
        anchor_control: whether the control's shift is fixed at 0; otherwise it has a row.
        mask: "ones" (dense) or "bernoulli".
        mask_draw: how training averages over masks: "marginal" (exactly), "per_batch", "per_cell".
        mask_prior: what inclusion probabilities cost (`models.mask_priors`).
        alpha: strength of l1, beta_map and beta_bernoulli; None: for beta_map after a rotation set
            for each perturbation by its effects and cells (`models.warm_start.strength`), else
            the number of rows of the effect table (Lopez et al. 2023).
        inclusion_prior: p0 of bernoulli_kl.
        edge_budget: edges allowed by edge_budget; None: two a row.
        effect: "point" or "normal" (a posterior under N(0, effect_scale^2)).
        effect_scale: prior standard deviation of normal effects.
        effect_start: standard deviation of the effects at the start.
        initial_logit: where the logits of the inclusion probabilities start.
        temperature: of straight-through draws.
        beta: weight of the KL terms in training (Higgins et al. 2017).
    """

    n_hidden: int = 128
    n_layers: int = 2
    normalisation: str = "batch"
    dropout: float = 0.0
    likelihood: str = "nb"
    dispersion_start: str = "data"
    posterior: str = "cells"
    shift: str = "none"
    anchor_control: bool = True
    mask: str = "ones"
    mask_draw: str = "marginal"
    mask_prior: str = "none"
    alpha: float | None = None
    inclusion_prior: float = 0.01
    edge_budget: float | None = None
    effect: str = "point"
    effect_scale: float = 1.0
    effect_start: float = 0.1
    initial_logit: float = 2.0
    temperature: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_hidden", "n_layers"):
            object.__setattr__(self, name, require_whole(name, getattr(self, name), 1))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}."
                )
        if not isinstance(self.anchor_control, bool):
            raise OptionError(f"anchor_control={self.anchor_control!r} must be true or false.")
        self._require_numbers()
        self._require_parts_that_fit()

    def _require_numbers(self) -> None:
        _require_number("dropout", self.dropout, 0.0, below=1.0)
        for name in ("effect_scale", "temperature", "beta"):
            _require_number(name, getattr(self, name), 0.0, open_end=True)
        _require_number("effect_start", self.effect_start, 0.0)
        _require_number("inclusion_prior", self.inclusion_prior, 0.0, open_end=True, below=1.0)
        self._require_strengths()
        self._require_parts_that_fit()

    def _require_strengths(self) -> None:
        if self.edge_budget is not None:
            _require_number("edge_budget", self.edge_budget, 0.0, open_end=True)
        if self.alpha is not None and not (1.0 <= _number("alpha", self.alpha) < math.inf):
            raise OptionError(
                f"alpha={self.alpha} must be at least 1 (1: no sparsity) and finite."
            )
        if not math.isfinite(_number("initial_logit", self.initial_logit)):
            raise OptionError(f"initial_logit={self.initial_logit} must be finite.")

    def _require_parts_that_fit(self) -> None:
        random = self.mask == "bernoulli" or self.effect == "normal"
        if self.posterior == "basal" and random and self.mask_draw == "marginal":
            raise OptionError(
                "posterior='basal' shows the shift to the encoder, so masks and effects must be "
                "drawn: set mask_draw='per_batch'. The exact average needs posterior='cells'."
            )
        if self.shift == "none" and (self.mask != "ones" or self.effect != "point"):
            raise OptionError(
                "shift='none' has no masks and no effects. Set shift='additive' or 'table', or "
                "leave mask='ones' and effect='point'."
            )
        if self.mask == "ones" and self.mask_prior != "none":
            raise OptionError(
                f"mask_prior={self.mask_prior!r} needs mask='bernoulli'; with mask='ones' there "
                "is nothing to be sparse."
            )

    @property
    def additive(self) -> bool:
        """Whether combinations are the sum of their parts, as far as the design is concerned."""
        return self.shift != "table"


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(f"{name}={value!r} must be a number.")
    return float(value)


def _require_number(
    name: str, value: Any, least: float, *, open_end: bool = False, below: float = math.inf
) -> None:
    number = _number(name, value)
    if not (least <= number < below) or (open_end and number == least):
        left = "(" if open_end else "["
        right = "inf" if math.isinf(below) else f"{below:g}"
        raise OptionError(f"{name}={value} must lie in {left}{least:g}, {right}).")
