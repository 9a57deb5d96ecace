"""Hidden layers, encoder and decoder."""

import copy

import pytest
import torch
from torch import nn

from sparseshift.models.networks import Decoder, Encoder, Hidden, HiddenLayer


def test_encoder_is_finite_for_any_counts() -> None:
    torch.manual_seed(0)
    encoder = Encoder(Hidden(4, [8], "none", 0.0), 2)
    mean, std = encoder(torch.tensor([[0.0, 0.0, 0.0, 1.0], [1e7, 1e7, 0.0, 3.0]]))
    with torch.no_grad():
        encoder.head.bias.fill_(1e6)
    assert torch.isfinite(mean).all()
    assert torch.isfinite(std).all()
    assert torch.isfinite(encoder(torch.ones(1, 4))[1]).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("normalisation", ["batch", "layer", "none"])
def test_hidden_layers_are_those_of_torch(normalisation: str, training: bool) -> None:
    torch.manual_seed(0)
    hidden, theirs, n_in = Hidden(5, [7, 6], normalisation, 0.0), nn.Sequential(), 5
    for ours, n_out in zip(hidden.layers, (7, 6), strict=True):
        linear = nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(ours.weight.T)
            linear.bias.copy_(torch.ones(n_out) if ours.bias is None else ours.bias)
        theirs.append(linear)
        if normalisation == "batch":
            theirs.append(nn.BatchNorm1d(n_out, momentum=0.01, eps=1e-3))
        if normalisation == "layer":
            theirs.append(nn.LayerNorm(n_out))
        theirs.append(nn.ReLU())
        n_in = n_out
    x = torch.randn(40, 5)
    for _ in range(3):  # running statistics that are not those of the start
        torch.testing.assert_close(hidden(x), theirs(x))
    if normalisation == "batch":  # but for the bias, which the running mean takes up in theirs
        norms = [module for module in theirs if isinstance(module, nn.BatchNorm1d)]
        for ours, norm in zip(hidden.layers, norms, strict=True):
            assert isinstance(ours.norm, nn.BatchNorm1d)
            assert norm.running_mean is not None
            torch.testing.assert_close(ours.norm.running_var, norm.running_var)
            known = 1.0 - 0.99**3  # of the bias, by so many steps
            norm.running_mean.sub_(known)
            torch.testing.assert_close(ours.norm.running_mean, norm.running_mean)
            norm.running_mean.add_(1.0)
    hidden.train(training)
    theirs.train(training)
    assert hidden.n_out == 6
    torch.testing.assert_close(hidden(x), theirs(x))


def test_dropout_follows_every_hidden_layer() -> None:
    torch.manual_seed(0)
    hidden = Hidden(5, [400], "layer", 0.5)
    x = torch.randn(30, 5)
    dropped = hidden(x)
    kept = hidden.eval()(x)
    assert 0.4 < (dropped[kept > 0] == 0).float().mean() < 0.6
    left = dropped != 0
    torch.testing.assert_close(dropped[left], 2.0 * kept[left])


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_what_is_added_to_a_layer_comes_before_its_normalisation(normalisation: str) -> None:
    torch.manual_seed(0)
    layer, x = HiddenLayer(5, 4, normalisation, 0.0).eval(), torch.randn(9, 5)
    amount = torch.randn(4)
    expected = layer.activate(x @ layer.weight + amount)
    layer.add(amount)
    torch.testing.assert_close(layer(x), expected)


def test_weights_start_as_those_of_torch() -> None:
    torch.manual_seed(0)
    weight = HiddenLayer(50, 400, "batch", 0.0).weight
    bound = nn.Linear(50, 400).weight.abs().max()
    torch.testing.assert_close(weight.abs().max(), bound, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(weight.std(), bound / 3.0**0.5, rtol=0.02, atol=0.0)


def test_encoder_reads_log_counts_then_what_else_it_is_given() -> None:
    torch.manual_seed(0)
    counts, given = torch.tensor([[0.0, 3.0, 8.0], [1.0, 0.0, 5.0]]), torch.randn(2, 2)
    encoder = Encoder(Hidden(5, [], "none", 0.0), 4)
    joined = torch.cat([counts.log1p(), given], dim=1)
    mean, std = encoder(counts, given)
    out = encoder.head(joined)
    torch.testing.assert_close(mean, out[:, :4])
    torch.testing.assert_close(std, (0.5 * out[:, 4:]).exp())


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
    with torch.no_grad():
        plain, folded = hidden(x), hidden.prepared()(x)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(folded, plain, rtol=tolerance, atol=tolerance)
    hidden.train()
    twin = copy.deepcopy(hidden)
    assert torch.equal(hidden.prepared()(x), twin(x))  # in training mode nothing is fixed
