"""The bound that scores cells approaches log p(x | perturbation), for every model."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.priors import ShiftPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import PRESETS
from sparseshift.probability.bounds import iwelbo

LABELS = ("control", "A", "B", "A+B")
SETTINGS = ((1, "soft"), (2, "soft"), (1, "map"))
SHIFTED = [name for name, preset in PRESETS.items() if preset.options.shift != "none"]
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]


def log_likelihood_by_quadrature(
    model: PerturbationVAE, cells: Cells, graph: str = "soft"
) -> np.ndarray:
    """Log p(x | a, l) of each cell by the trapezoidal rule over z and a sum over all masks."""
    q, e = model.prior.inclusion_probability(), model.prior.effect()
    if graph == "map":
        q = (q > 0.5).double()
    variance = model.prior.effects.variance() if isinstance(model.prior, ShiftPrior) else None
    n_latents = q.shape[1]
    axis = torch.linspace(-9.0, 9.0, 1801 if n_latents == 1 else 121, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * n_latents).reshape(-1, n_latents)
    volume = (axis[1] - axis[0]).item() ** n_latents
    result = []
    for n in range(cells.n_cells):
        row = cells.design[cells.label[n]]
        own = row > 0  # masks of other perturbations do not matter
        prior = torch.zeros(len(grid), dtype=torch.float64)
        for bits in product((0.0, 1.0), repeat=int(own.sum()) * n_latents):
            mask = torch.zeros_like(q)
            mask[own] = torch.tensor(bits, dtype=torch.float64).reshape(-1, n_latents)
            probability = torch.where(mask[own] > 0, q[own], 1.0 - q[own]).prod()
            if probability > 0:
                spread = torch.ones(n_latents, dtype=torch.float64)
                if variance is not None:  # normal effects are integrated out in closed form
                    spread += row.square() @ (mask * variance)
                at = Normal(row @ (mask * e), spread.sqrt())
                prior += probability * at.log_prob(grid).sum(-1).exp()
        one = cells.take(torch.tensor([n]))
        scores = model.decoder(grid, one_row_each(model.covariates(one), len(grid)))
        counts = one.counts[0].numpy()
        m = counts.sum() * scores.softmax(-1).numpy()
        t = model.get_parameter("likelihood.log_inverse_dispersion").exp().numpy()
        log_x = stats.nbinom.logpmf(counts, t, t / (t + m)).sum(-1)
        peak = log_x.max()
        result.append(math.log((prior.numpy() * np.exp(log_x - peak)).sum() * volume) + peak)
    return np.array(result)


def one_row_each(row: torch.Tensor | None, n: int) -> torch.Tensor | None:
    """A row repeated n times."""
    return None if row is None else row.expand(n, -1)


CASES = [
    *((preset, n, graph, {}) for preset in PRESETS for n, graph in SETTINGS),
    *((preset, 1, "soft", {"effect": "normal"}) for preset in SHIFTED),
]


@pytest.mark.parametrize(("preset", "n_latents", "graph", "changes"), CASES)
@torch.no_grad()
def test_iwelbo_approaches_the_log_likelihood(
    preset: str,
    n_latents: int,
    graph: str,
    changes: dict[str, str],
    make_cells: MakeCells,
    make_design: MakeDesign,
    make_model: MakeModel,
) -> None:
    sizes = {"n_genes": 3, "n_batches": 2}
    cells = make_cells(make_design(preset, LABELS), LABELS, n_cells=4, **sizes)
    model = make_model(
        preset, LABELS, n_latents=n_latents, normalisation="none", **sizes, **changes
    )
    model.decoder.scores.weight *= 3.0  # so that z matters
    for name, parameter in model.prior.named_parameters():
        if name.endswith("table"):
            parameter.mul_(0.6)  # so that q is not far from the posterior
    expected = log_likelihood_by_quadrature(model, cells, graph)
    n_particles = 40_000
    log_w = log_weights(model, cells, n_particles, torch.Generator().manual_seed(0), graph=graph)
    weight = (log_w - log_w.max(0).values).exp()
    error = (weight.std(0) / weight.mean(0)).numpy() / math.sqrt(n_particles)
    assert error.max() < 0.1
    np.testing.assert_array_less(np.abs(iwelbo(log_w).numpy() - expected), 5.0 * error)
    single = log_w.mean(0).numpy()
    assert (single < expected).all()
