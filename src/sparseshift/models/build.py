"""A model from its options: each option chooses a part."""

import torch

from sparseshift.data.design import Design
from sparseshift.models.effects import NormalEffect, PointEffect
from sparseshift.models.likelihoods import likelihood
from sparseshift.models.mask_priors import Strengths, mask_prior
from sparseshift.models.masks import BernoulliMask, FixedMask, Mask
from sparseshift.models.networks import Decoder, Encoder, Hidden
from sparseshift.models.options import Options
from sparseshift.models.priors import LatentPrior, ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE


def build_model(
    options: Options, design: Design, *, n_genes: int, n_batches: int, n_latents: int, seed: int
) -> PerturbationVAE:
    """A new model with weights drawn from `seed`; torch's global generator is left as it was.

    Args:
        options: its parts.
        design: rows of the effect table.
        n_genes: columns of the counts.
        n_batches: 1 without batches.
        n_latents: dimensions of z.
        seed: of the starting weights.
    """
    n_rows = len(design.perturbations)
    widths = [options.n_hidden] * options.n_layers
    n_given = 0 if options.posterior == "cells" else n_latents
    n_covariates = n_batches if n_batches > 1 else 0
    if options.posterior == "conditional":
        n_covariates += n_latents
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        into_encoder = Hidden(n_genes + n_given, widths, options.normalisation, options.dropout)
        into_decoder = Hidden(n_latents + n_covariates, widths, options.normalisation, 0.0)
        return PerturbationVAE(
            Encoder(into_encoder, n_latents),
            Decoder(into_decoder, n_genes),
            build_prior(options, n_rows, n_latents),
            likelihood(options.likelihood, n_genes),
            n_batches=n_batches,
            posterior=options.posterior,
            embedding=torch.randn(n_rows, n_latents)
            if options.posterior == "conditional"
            else None,
            beta=options.beta,
        )


def build_prior(options: Options, n_rows: int, n_latents: int) -> LatentPrior:
    """The latent prior that the options ask for, with starting values from torch's generator."""
    if options.shift == "none":
        return StandardNormalPrior(n_rows, n_latents)
    table = options.effect_start * torch.randn(n_rows, n_latents)
    return ShiftPrior(
        _effect(options, table), _mask(options, n_rows, n_latents), options.mask_draw
    )


def _effect(options: Options, table: torch.Tensor) -> PointEffect:
    if options.effect == "point":
        return PointEffect(table)
    return NormalEffect(table, torch.full_like(table, -2.0), options.effect_scale)


def _mask(options: Options, n_rows: int, n_latents: int) -> Mask:
    if options.mask == "ones":
        return FixedMask(torch.ones(n_rows, n_latents))
    budget = 2.0 * n_rows if options.edge_budget is None else options.edge_budget
    chosen = Strengths(options.alpha, options.inclusion_prior, budget, n_rows)
    prior = mask_prior(options.mask_prior, chosen)
    logit = torch.full((n_rows, n_latents), float(options.initial_logit))
    return BernoulliMask(logit, prior, options.temperature)
