"""Masks, networks, options and the simple baselines."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Beta

from sparseshift.errors import OptionError
from sparseshift.models.baselines import additive_effect, mean_effect, shrunk_effect
from sparseshift.models.masks import BetaMask, FixedMask
from sparseshift.models.networks import Decoder, Encoder, Hidden
from sparseshift.models.presets import PRESETS, Options, build_options, get_preset


def mask_of(logit: Tensor, alpha: float) -> BetaMask:
    """A mask with these logits."""
    n_rows, n_latents = logit.shape
    mask = BetaMask(n_rows, n_latents, alpha, initial_logit=0.0).to(logit.dtype)
    with torch.no_grad():
        mask.logit.copy_(logit)
    return mask


@pytest.mark.parametrize("alpha", [1.0, 2.5, 100.0])
def test_beta_penalty_is_the_negative_log_prior_up_to_its_constant(alpha: float) -> None:
    logit = torch.linspace(-12.0, 12.0, 12, dtype=torch.float64).reshape(3, 4)
    mask = mask_of(logit, alpha)
    one, a = torch.tensor(1.0).double(), torch.tensor(alpha).double()
    log_prior = Beta(one, a).log_prob(logit.sigmoid()).sum()
    constant = 12 * a.log()
    torch.testing.assert_close(mask.penalty().detach(), constant - log_prior)
    torch.testing.assert_close(mask.inclusion_probability().detach(), logit.sigmoid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beta_penalty_stays_finite_at_far_logits(dtype: torch.dtype) -> None:
    mask = mask_of(torch.tensor([[-50.0, 50.0, -17.5, 17.5]], dtype=dtype), 100.0)
    mask.penalty().backward()
    assert torch.isfinite(mask.penalty())
    assert mask.logit.grad is not None
    expected = 99.0 * mask.logit.detach().sigmoid()
    torch.testing.assert_close(mask.logit.grad, expected)


def test_beta_mask_starts_where_it_is_told_and_costs_nothing_at_alpha_one() -> None:
    mask = BetaMask(2, 3, alpha=1.0, initial_logit=2.0)
    torch.testing.assert_close(
        mask.inclusion_probability(), torch.full((2, 3), 2.0).sigmoid(), rtol=0, atol=0
    )
    assert mask.penalty().item() == 0.0


def test_fixed_mask_has_no_parameters_and_costs_nothing() -> None:
    inclusion = torch.tensor([[0.0, 0.25], [1.0, 0.5]])
    mask = FixedMask(inclusion)
    assert torch.equal(mask.inclusion_probability(), inclusion)
    assert mask.penalty().item() == 0.0
    assert not list(mask.parameters())
    assert torch.equal(mask.state_dict()["inclusion"], inclusion)


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


def test_decoder_sees_the_batch_only_where_there_are_several() -> None:
    torch.manual_seed(0)
    z, codes = torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    one = Decoder(Hidden(2, [8], "none", 0.0), 1, 5)
    assert torch.equal(one(z, codes), one(z, codes.flip(0)))
    several = Decoder(Hidden(2 + 3, [8], "none", 0.0), 3, 5)
    assert not torch.allclose(several(z, codes), several(z, codes.flip(0)))
    assert torch.equal(several(z, codes)[[0, 3]], several(z, torch.zeros_like(codes))[[0, 3]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_hidden": 0}, "n_hidden=0 must be at least 1"),
        ({"n_layers": -1}, "n_layers=-1 must be at least 1"),
        ({"n_hidden": "64"}, "n_hidden='64' must be a whole number"),
        ({"alpha": float("nan")}, "alpha=nan must be at least 1"),
        ({"initial_logit": float("inf")}, "initial_logit=inf must be finite"),
        ({"normalisation": "group"}, "normalisation='group' is not one of layer, batch, none"),
        ({"dropout": 1.0}, r"dropout=1.0 must lie in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout=-0.1 must lie in \[0, 1\)"),
        ({"alpha": 0.5}, "alpha=0.5 must be at least 1"),
        (
            {"hidden": 3, "beta": 1},
            "Unknown option of 'vae': beta, hidden. Known.*n_hidden.*alpha",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build_options("vae", options)


def test_options_replace_the_presets() -> None:
    assert build_options("ivae", {}) == get_preset("ivae").options
    assert build_options("ivae", {"n_hidden": 5}) == Options(n_hidden=5)


def test_unknown_presets_list_the_known() -> None:
    with pytest.raises(
        OptionError, match=rf"no model 'svae'. The models are: {', '.join(PRESETS)}"
    ):
        get_preset("svae")


def test_mean_and_additive_effects() -> None:
    rng = np.random.default_rng(0)
    effects = {name: rng.normal(size=5) for name in "ABC"}
    by_hand = [sum(effects[name][g] for name in "ABC") / 3 for g in range(5)]
    np.testing.assert_allclose(mean_effect(effects), by_hand)
    added = additive_effect(["A", "C"], effects)
    assert added is not None
    np.testing.assert_allclose(added, effects["A"] + effects["C"])
    assert additive_effect(["A", "Z"], effects) is None
    assert additive_effect(["A"], effects) is None


def test_shrunk_effect_lies_between_support_and_fallback() -> None:
    support, fallback = np.array([4.0, -2.0]), np.array([1.0, 0.0])
    np.testing.assert_allclose(shrunk_effect(support, fallback, 2.0, 0.0), support)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 0.0, 2.0), fallback)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 0.0, 0.0), fallback)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 1.0, float("inf")), fallback)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 1.0, 3.0), [1.75, -0.5])


def test_shrunk_effect_has_the_smallest_error() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0.0, 1.0, size=20_000)
    seen = true + rng.normal(0.0, 2.0, size=true.size)
    error = {
        weight: ((shrunk_effect(seen, np.zeros(1), weight, 4.0) - true) ** 2).mean()
        for weight in (0.0, 0.3, 1.0, 3.0, 1e9)
    }
    assert min(error, key=lambda weight: error[weight]) == 1.0
    assert error[1.0] == pytest.approx(1.0 * 4.0 / 5.0, rel=0.05)
