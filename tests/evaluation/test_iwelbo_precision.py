"""IWELBO in float32 with many particles, against a float64 computation without any of our code."""

import copy
from collections.abc import Callable

import numpy as np
import torch

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.evaluation.likelihood import cell_iwelbo
from sparseshift.models.likelihoods import NegativeBinomial
from sparseshift.models.vae import PerturbationVAE

LABELS = ("control", "A", "B", "A+B")
DESIGN = Design.of_labels(LABELS, "control", additive=True)


@torch.no_grad()
def test_float32_with_5000_particles_is_brute_force_in_float64(
    make_cells: Callable[..., Cells], make_model: Callable[..., PerturbationVAE]
) -> None:
    # deep cells, so that log weights are large and far apart
    exact = make_model("svae_plus", LABELS, n_genes=30)
    cells = make_cells(DESIGN, LABELS, n_cells=4, n_genes=30)
    cells = cells._replace(counts=torch.floor(cells.counts * 40.0))
    single = copy.deepcopy(exact).float()
    in_single = Cells(cells.counts.float(), cells.label, cells.batch, cells.design.float())
    values = cell_iwelbo(single, in_single, 5000, seed=3)

    mean, std = single.encoder(in_single.counts)
    noise = torch.randn(5000, 4, 3, generator=torch.Generator().manual_seed(3)).double()
    z = mean.double() + std.double() * noise
    assert isinstance(exact.likelihood, NegativeBinomial)
    x, t = cells.counts, exact.likelihood.log_inverse_dispersion.exp()
    log_w = torch.empty(5000, 4, dtype=torch.float64)
    log_prior = exact.prior.density(cells.design).log_density(z, cells.label)
    for n in range(4):
        m = x[n].sum() * exact.decoder(z[:, n]).softmax(-1)
        log_x = torch.distributions.NegativeBinomial(t, logits=m.log() - t.log()).log_prob(x[n])
        log_q = torch.distributions.Normal(mean[n].double(), std[n].double()).log_prob(z[:, n])
        log_w[:, n] = log_x.sum(-1) + log_prior[:, n] - log_q.sum(-1)
    expected = torch.logsumexp(log_w, 0) - np.log(5000)
    torch.testing.assert_close(values.double(), expected, rtol=0.0, atol=5e-3)
