"""IWELBO in chunks, and the genes that latents move."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import OptionError
from sparseshift.evaluation import likelihood
from sparseshift.evaluation.latent_genes import log2_fold_changes
from sparseshift.evaluation.likelihood import cell_iwelbo
from sparseshift.models import importance_weights, particle_likelihood
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.likelihoods import NegativeBinomial
from sparseshift.models.networks import Decoder, Encoder, Hidden
from sparseshift.models.priors import StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import iwelbo

LABELS = ("control", "A", "B", "A+B")
DESIGN = Design.of_labels(LABELS, "control", additive=True)


@pytest.fixture(name="cells")
def make_some_cells(make_cells: Callable[..., Cells]) -> Cells:
    """Ten cells."""
    return make_cells(DESIGN, LABELS, n_cells=10)


@pytest.fixture(name="model")
def make_small_model(make_model: Callable[..., PerturbationVAE]) -> PerturbationVAE:
    """With sparse shifts."""
    return make_model("svae_plus", LABELS)


@torch.no_grad()
def test_one_chunk_is_the_bound_of_all_particles(cells: Cells, model: PerturbationVAE) -> None:
    expected = iwelbo(log_weights(model, cells, 50, torch.Generator().manual_seed(3)))
    value = cell_iwelbo(model, cells, 50, seed=3)
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=0.0)
    assert not torch.equal(cell_iwelbo(model, cells, 50, seed=4), expected)


@torch.no_grad()
def test_the_graph_is_passed_on(cells: Cells, model: PerturbationVAE) -> None:
    for graph in ("soft", "map"):
        generator = torch.Generator().manual_seed(3)
        expected = iwelbo(log_weights(model, cells, 20, generator, graph=graph))
        # not to the last bit: sums and exponentials round by where a tensor lies in memory
        value = cell_iwelbo(model, cells, 20, seed=3, graph=graph)
        torch.testing.assert_close(value, expected, rtol=1e-13, atol=0.0)


@torch.no_grad()
@pytest.mark.parametrize("decoded", [1, 60, 6 * 299])
def test_chunks_change_nothing_but_the_draws(
    decoded: int, cells: Cells, model: PerturbationVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_particles = 20 if decoded == 1 else 300
    log_w = log_weights(model, cells, 3000, torch.Generator().manual_seed(9))
    weight = (log_w - log_w.max(0).values).exp()
    error = weight.std(0) / weight.mean(0) / n_particles**0.5  # of a bound
    whole = cell_iwelbo(model, cells, 300, seed=0)
    sizes = []
    prepared = model.decoder.prepared

    def watched() -> Callable[..., torch.Tensor]:
        decode = prepared()

        def decode_and_note(z: torch.Tensor, covariates: torch.Tensor | None) -> torch.Tensor:
            sizes.append(z.shape[:-1].numel())
            return decode(z, covariates)

        return decode_and_note

    monkeypatch.setattr(model.decoder, "prepared", watched)
    for module in (likelihood, importance_weights, particle_likelihood):
        monkeypatch.setattr(module, "decoded_at_once", lambda _device: decoded)
    chunked = cell_iwelbo(model, cells, n_particles, seed=0)
    assert ((chunked - whole).abs() < 6.0 * error).all()
    assert sum(sizes) == 10 * n_particles
    assert len(sizes) > 1
    assert 6 * max(sizes) <= max(decoded, 6)


@torch.no_grad()
def test_an_encoder_that_sees_the_shift_takes_few_particles_at_once(
    cells: Cells, make_model: Callable[..., PerturbationVAE], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sizes = make_model("sams_vae", LABELS), []
    encode = model.encoder.forward

    def watched(counts: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(counts.numel())
        return encode(counts, given)

    monkeypatch.setattr(model.encoder, "forward", watched)
    for module in (likelihood, importance_weights, particle_likelihood):
        monkeypatch.setattr(module, "decoded_at_once", lambda _device: 600)
    cell_iwelbo(model, cells, 100, seed=0)
    assert sum(sizes) == 100 * cells.counts.numel()
    assert max(sizes) <= 600


def test_particles_must_be_positive(cells: Cells, model: PerturbationVAE) -> None:
    with pytest.raises(OptionError, match="n_particles=0 must be at least 1"):
        cell_iwelbo(model, cells, 0, seed=0)


def linear_model(n_batches: int) -> PerturbationVAE:
    """Two latents, five genes, a decoder without hidden layers: log_softmax(W z + b)."""
    torch.manual_seed(0)
    n_in = 2 + (n_batches if n_batches > 1 else 0)
    decoder = Decoder(Hidden(n_in, [], "none", 0.0), 5)
    encoder = Encoder(Hidden(5, [], "none", 0.0), 2)
    prior, counts = StandardNormalPrior(1, 2), NegativeBinomial(5)
    return PerturbationVAE(encoder, decoder, prior, counts, n_batches=n_batches).eval()


@pytest.mark.parametrize("n_batches", [1, 3])
@pytest.mark.parametrize("step", [1.0, -0.5])
def test_fold_changes_of_a_linear_decoder(n_batches: int, step: float) -> None:
    model = linear_model(n_batches)
    start = np.random.default_rng(0).normal(size=(6, 2))
    weight = model.decoder.scores.weight.detach().T.numpy().astype(np.float64)
    bias = model.decoder.scores.bias.detach().numpy().astype(np.float64)
    expected = np.zeros((2, 5))
    for code in range(n_batches):
        constant = bias + (weight[:, 2 + code] if n_batches > 1 else 0.0)
        for z in start:
            for j in range(2):
                logits = weight[:, :2] @ z + constant
                moved = logits + step * weight[:, j]
                before, after = np.exp(logits), np.exp(moved)
                expected[j] += np.log2(after / after.sum()) - np.log2(before / before.sum())
    change = log2_fold_changes(model, start, step)
    np.testing.assert_allclose(change, expected / (6 * n_batches), atol=1e-6)
    # up to a constant over genes, the decoder's weights
    centred = change - change.mean(1, keepdims=True)
    slope = step * (weight[:, :2] - weight[:, :2].mean(0)).T / np.log(2.0)
    np.testing.assert_allclose(centred, slope, atol=1e-6)


def test_fold_changes_leave_the_start_alone() -> None:
    start = np.zeros((3, 2), dtype=np.float32)
    log2_fold_changes(linear_model(1), start)
    assert not start.any()
