"""A simulator nearer to real screens than the paper's: every cell has a library of its own."""

import numpy as np

from sparseshift.data.simulators.decoder import RandomDecoder
from sparseshift.data.simulators.graphs import random_graph
from sparseshift.data.simulators.simulation import Simulation, check_sizes
from sparseshift.errors import OptionError


def default(  # noqa: PLR0913 settings, each by keyword
    rng: np.random.Generator,
    *,
    n_perturbations: int = 100,
    n_cells_per_perturbation: int = 250,
    n_control_cells: int = 1000,
    n_combinations: int = 0,
    n_latents: int = 15,
    n_genes: int = 500,
    effect_size: float = 5.0,
    density: float | None = None,
    graph: str = "random",
    n_targeted_latents: int | None = None,
    guide_efficiency: float = 1.0,
    n_batches: int = 1,
    batch_effect: float = 0.3,
    depth: float = 5000.0,
    depth_spread: float = 0.4,
) -> Simulation:
    """Z ~ N(shift, I); counts ~ Poisson(library * softmax over genes of log expression).

    log expression = log abundance + f(z) / std f + batch effect: f the random network of the paper's
    code, abundances of genes log-normal (sd 1), batch effects normal for each batch and gene. The shift
    of a combination is the sum of its parts'.

    Args:
        rng: draws everything.
        n_perturbations: single perturbations.
        n_cells_per_perturbation: cells of each, and of each combination.
        n_control_cells: unperturbed cells.
        n_combinations: different pairs of perturbations.
        n_latents: latents.
        n_genes: genes.
        effect_size: mean size of a shift, in standard deviations of z; a tenth of it is their spread.
        density: chance that a perturbation shifts a latent; None: 1 to 3 targets without replacement.
        graph: "random", "identifiable" or "confounded" (`graphs.random_graph`).
        n_targeted_latents: only so many latents, the first, are ever shifted; None: any.
        guide_efficiency: share of the cells of a perturbation in which it acts.
        n_batches: batches, to which cells belong at random.
        batch_effect: standard deviation of log expression between batches.
        depth: median library size, counts a cell.
        depth_spread: standard deviation of the log library size.

    Raises:
        OptionError: an impossible size or setting; the message names it.
    """
    targeted = n_latents if n_targeted_latents is None else n_targeted_latents
    check_sizes(
        at_least_one={
            "n_perturbations": n_perturbations,
            "n_cells_per_perturbation": n_cells_per_perturbation,
            "n_latents": n_latents,
            "n_genes": n_genes,
            "n_targeted_latents": targeted,
            "n_batches": n_batches,
        },
        not_negative={"n_control_cells": n_control_cells, "n_combinations": n_combinations},
    )
    _check_settings(
        n_targeted_latents=(targeted, 1, n_latents),
        guide_efficiency=(guide_efficiency, 0.0, 1.0),
        n_combinations=(n_combinations, 0, n_perturbations * (n_perturbations - 1) // 2),
        effect_size=(effect_size, 0.0, np.inf),
        batch_effect=(batch_effect, 0.0, np.inf),
        depth=(depth, 1.0, 1e9),
        depth_spread=(depth_spread, 0.0, 5.0),
    )
    edges = np.zeros((n_perturbations, n_latents), bool)
    edges[:, :targeted] = random_graph(rng, n_perturbations, targeted, density=density, kind=graph)
    size = effect_size * (1.0 + 0.1 * rng.standard_normal(edges.shape))
    shifts = np.where(edges, size * rng.choice([-1.0, 1.0], size=edges.shape), 0.0)

    pairs = _pairs(rng, n_perturbations, n_combinations)
    first = np.concatenate([[-1], np.arange(n_perturbations), pairs[:, 0]])
    second = np.concatenate([[-1], np.full(n_perturbations, -1), pairs[:, 1]])
    sizes = [n_control_cells, *[n_cells_per_perturbation] * (len(first) - 1)]
    perturbation, partner = np.repeat(first, sizes), np.repeat(second, sizes)
    perturbed = (perturbation >= 0) & (rng.random(len(perturbation)) < guide_efficiency)
    of_row = np.concatenate([shifts, np.zeros((1, n_latents))])  # the last row is that of -1
    latents = of_row[perturbation] + of_row[partner]
    latents[~perturbed] = 0.0
    latents += rng.standard_normal(latents.shape)

    batch = rng.integers(n_batches, size=len(latents))
    library = depth * np.exp(depth_spread * rng.standard_normal(len(latents)))
    level = rng.standard_normal(n_genes)
    level = level + (n_batches > 1) * batch_effect * rng.standard_normal((n_batches, n_genes))
    decoder = RandomDecoder(rng, n_latents, n_genes)
    spread = decoder.spread(latents) if n_genes > 1 else 1.0
    counts = np.empty((len(latents), n_genes), np.int32)
    for cells, output in decoder.in_parts(latents):
        proportion = np.exp(output / spread + level[batch[cells]])
        proportion /= proportion.sum(axis=1, keepdims=True)
        counts[cells] = rng.poisson(library[cells, None] * proportion)
    return Simulation(
        counts,
        latents.astype(np.float32),
        perturbation,
        partner,
        batch,
        perturbed,
        shifts.astype(np.float32),
    )


def _check_settings(**settings: tuple[float, float, float]) -> None:
    for name, (value, least, most) in settings.items():
        if not least <= value <= most:
            raise OptionError(f"simulate: {name}={value} must be from {least} to {most}.")


def _pairs(rng: np.random.Generator, n: int, n_pairs: int) -> np.ndarray:
    """Different pairs of different numbers below n, (pairs, 2), the smaller first."""
    if n_pairs == 0:
        return np.zeros((0, 2), np.int64)
    chosen = rng.choice(n * (n - 1) // 2, size=n_pairs, replace=False)
    rows, columns = np.triu_indices(n, 1)
    return np.stack([rows[chosen], columns[chosen]], axis=1)
