"""The simulator of the code behind Lopez et al. 2023.

It differs from their text: targets are drawn with replacement, and expression is normalised over
the cells of each gene, so that all genes have the same mean and a cell's total depends on the
other cells.
"""

import numpy as np

from sparseshift.data.simulators.decoder import RandomDecoder
from sparseshift.data.simulators.simulation import Simulation, check_sizes

_DEPTH = 1e6  # counts a gene, over all cells


def paper(
    rng: np.random.Generator,
    *,
    n_perturbations: int = 100,
    n_cells_per_perturbation: int = 250,
    n_control_cells: int = 0,
    n_latents: int = 15,
    n_genes: int = 100,
) -> Simulation:
    """The simulator of the paper's code: 1 to 3 targets each, shifts of +-Normal(5, .5).

    Args:
        rng: draws everything.
        n_perturbations: single perturbations.
        n_cells_per_perturbation: cells of each (the paper has 500, its demo 250).
        n_control_cells: unperturbed cells, z ~ N(0, I); the paper has none.
        n_latents: latents.
        n_genes: genes.

    Raises:
        OptionError: a size is not positive.
    """
    check_sizes(
        at_least_one={
            "n_perturbations": n_perturbations,
            "n_cells_per_perturbation": n_cells_per_perturbation,
            "n_latents": n_latents,
            "n_genes": n_genes,
        },
        not_negative={"n_control_cells": n_control_cells},
    )
    shifts = _shifts(rng, n_perturbations, n_latents)
    perturbation = np.repeat(np.arange(n_perturbations), n_cells_per_perturbation)
    perturbation = np.concatenate([np.full(n_control_cells, -1), perturbation])
    mean = np.concatenate([shifts, np.zeros((1, n_latents))])[perturbation]
    latents = mean + rng.standard_normal(mean.shape)
    decoder = RandomDecoder(rng, n_latents, n_genes)
    spread = decoder.spread(latents)
    totals = np.zeros(n_genes)
    for _, output in decoder.in_parts(latents):
        totals += np.exp(output / spread).sum(axis=0)
    counts = np.empty((len(latents), n_genes), np.int32)
    for cells, output in decoder.in_parts(latents):
        counts[cells] = rng.poisson(_DEPTH * np.exp(output / spread) / totals)
    return Simulation(
        counts,
        latents.astype(np.float32),
        perturbation,
        partner=np.full_like(perturbation, -1),
        batch=np.zeros_like(perturbation),
        perturbed=perturbation >= 0,
        shifts=shifts.astype(np.float32),
    )


def _shifts(rng: np.random.Generator, n_perturbations: int, n_latents: int) -> np.ndarray:
    shifts = np.zeros((n_perturbations, n_latents))
    for row in shifts:
        # with replacement, as the published code: two draws may hit the same latent
        targets = np.unique(rng.integers(n_latents, size=rng.integers(1, 4)))
        sign = rng.choice([-1.0, 1.0], size=len(targets))
        row[targets] = sign * rng.normal(5.0, 0.5, size=len(targets))
    return shifts
