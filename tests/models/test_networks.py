"""Hidden layers, encoder and decoder."""

import pytest
import torch
from torch import nn

from sparseshift.models.networks import Decoder, Encoder, Hidden


def test_encoder_is_finite_for_any_counts() -> None:
    torch.manual_seed(0)
    encoder = Encoder(Hidden(4, [8], "none", 0.0), 2)
    mean, std = encoder(torch.tensor([[0.0, 0.0, 0.0, 1.0], [1e7, 1e7, 0.0, 3.0]]))
    with torch.no_grad():
        encoder.log_variance.bias.fill_(1e6)
    assert torch.isfinite(mean).all()
    assert torch.isfinite(std).all()
    assert torch.isfinite(encoder(torch.ones(1, 4))[1]).all()


@pytest.mark.parametrize(
    ("normalisation", "kind"),
    [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm), ("none", None)],
)
def test_hidden_layers_are_what_they_are_called(
    normalisation: str, kind: type[nn.Module] | None
) -> None:
    hidden = Hidden(5, [7, 6], normalisation, 0.1)
    linear = [layer for layer in hidden.layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(5, 7), (7, 6)]
    assert sum(isinstance(layer, nn.Dropout) for layer in hidden.layers) == 2
    if kind is not None:
        assert sum(isinstance(layer, kind) for layer in hidden.layers) == 2
    assert hidden(torch.randn(3, 5)).shape == (3, hidden.n_out)
    assert hidden.n_out == 6


def test_encoder_reads_log_counts_then_what_else_it_is_given() -> None:
    torch.manual_seed(0)
    counts, given = torch.tensor([[0.0, 3.0, 8.0], [1.0, 0.0, 5.0]]), torch.randn(2, 2)
    encoder = Encoder(Hidden(5, [], "none", 0.0), 4)
    joined = torch.cat([counts.log1p(), given], dim=1)
    mean, std = encoder(counts, given)
    torch.testing.assert_close(mean, encoder.mean(joined))
    torch.testing.assert_close(std, (0.5 * encoder.log_variance(joined)).exp())


def test_decoder_sees_latents_then_covariates_and_takes_particles_in_front() -> None:
    torch.manual_seed(0)
    z, covariates = torch.randn(5, 4, 2), torch.randn(4, 3)
    decoder = Decoder(Hidden(2 + 3, [8], "none", 0.0), 6)
    scores = decoder(z, covariates)
    assert scores.shape == (5, 4, 6)
    for k in range(5):
        joined = torch.cat([z[k], covariates], dim=1)
        expected = decoder.scores(decoder.hidden(joined))
        torch.testing.assert_close(scores[k], expected)
    alone = Decoder(Hidden(2, [8], "none", 0.0), 6)
    torch.testing.assert_close(alone(z)[0], alone.scores(alone.hidden(z[0])))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scoring_folds_the_normalisation_into_the_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    hidden = Hidden(5, [7, 6], "batch", 0.0).to(dtype)
    x = torch.randn(40, 5, dtype=dtype)
    hidden(3.0 * x + 1.0)  # running statistics that are not those of the start
    for parameter in hidden.parameters():
        torch.nn.init.normal_(parameter)
    hidden.eval()
    with_graph = hidden(x)
    with torch.no_grad():
        folded = hidden(x)
    assert with_graph.requires_grad
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(folded, with_graph.detach(), rtol=tolerance, atol=tolerance)
