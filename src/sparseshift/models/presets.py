"""The models by name: each preset says which parts it is made of, and its default options."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch

from sparseshift.data.design import Design
from sparseshift.errors import OptionError, require_whole
from sparseshift.models.masks import BetaMask, FixedMask
from sparseshift.models.networks import NORMALISATIONS, Decoder, Encoder, Hidden
from sparseshift.models.priors import LatentPrior, ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE


@dataclass(frozen=True)
class Options:
    """What may be set of a model; every preset has the same names, so that models compare.

    Attributes:
        n_hidden: width of each hidden layer.
        n_layers: hidden layers of encoder and of decoder.
        normalisation: of the hidden layers: "layer", "batch" or "none".
        dropout: in the encoder, share of units.
        alpha: Beta(1, alpha) prior of the inclusion probabilities; None: the number of rows of
            the effect table (Lopez et al. 2023). Only sparse models use it.
        initial_logit: where the logits of the inclusion probabilities start.
    """

    n_hidden: int = 128
    n_layers: int = 2
    normalisation: str = "batch"
    dropout: float = 0.0
    alpha: float | None = None
    initial_logit: float = 2.0

    def __post_init__(self) -> None:
        for name in ("n_hidden", "n_layers"):
            object.__setattr__(self, name, require_whole(name, getattr(self, name), 1))
        if self.normalisation not in NORMALISATIONS:
            raise OptionError(
                f"normalisation={self.normalisation!r} is not one of {', '.join(NORMALISATIONS)}."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise OptionError(f"dropout={self.dropout} must lie in [0, 1).")
        if self.alpha is not None and not (1.0 <= self.alpha < math.inf):
            raise OptionError(
                f"alpha={self.alpha} must be at least 1 (1: no sparsity) and finite."
            )
        if not math.isfinite(self.initial_logit):
            raise OptionError(f"initial_logit={self.initial_logit} must be finite.")


def _standard_normal(design: Design, n_latents: int, _options: Options) -> LatentPrior:
    return StandardNormalPrior(len(design.perturbations), n_latents)


def _dense_shift(design: Design, n_latents: int, _options: Options) -> LatentPrior:
    shape = (len(design.perturbations), n_latents)
    return ShiftPrior(0.1 * torch.randn(shape), FixedMask(torch.ones(shape)))


def _sparse_shift(design: Design, n_latents: int, options: Options) -> LatentPrior:
    n_rows = len(design.perturbations)
    alpha = options.alpha if options.alpha is not None else float(max(n_rows, 1))
    mask = BetaMask(n_rows, n_latents, alpha, options.initial_logit)
    return ShiftPrior(0.1 * torch.randn(n_rows, n_latents), mask)


@dataclass(frozen=True)
class Preset:
    """A model of the family: its latent prior, and whether combinations add up their parts."""

    prior: Callable[[Design, int, Options], LatentPrior]
    additive: bool
    options: Options = Options()


PRESETS: dict[str, Preset] = {
    "vae": Preset(_standard_normal, additive=True),
    "ivae": Preset(_dense_shift, additive=False),
    "svae_plus": Preset(_sparse_shift, additive=True),
}


def get_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        OptionError: there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise OptionError(f"There is no model {name!r}. The models are: {', '.join(PRESETS)}.")
    return PRESETS[name]


def build_options(preset: str, options: dict[str, object]) -> Options:
    """The preset's options with some replaced.

    Raises:
        OptionError: an option does not exist; the message lists those that do.
    """
    defaults = get_preset(preset).options
    known = [field.name for field in fields(Options)]
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(
            f"Unknown option of {preset!r}: {', '.join(unknown)}. Known options: {', '.join(known)}."
        )
    return replace(defaults, **options)  # type: ignore[arg-type]


def build_model(
    preset: str,
    options: Options,
    design: Design,
    *,
    n_genes: int,
    n_batches: int,
    n_latents: int,
    seed: int,
) -> PerturbationVAE:
    """A new model with weights drawn from `seed`; torch's global generator is left as it was."""
    widths = [options.n_hidden] * options.n_layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(
            Hidden(n_genes, widths, options.normalisation, options.dropout), n_latents
        )
        n_decoder_inputs = n_latents + (n_batches if n_batches > 1 else 0)
        hidden = Hidden(n_decoder_inputs, widths, options.normalisation, 0.0)
        decoder = Decoder(hidden, n_batches, n_genes)
        prior = get_preset(preset).prior(design, n_latents, options)
        return PerturbationVAE(encoder, decoder, prior, n_genes)
