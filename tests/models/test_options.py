"""What may be set of a model, and what is refused in which words."""

from dataclasses import fields
from typing import Any

import pytest

from sparseshift.errors import OptionError
from sparseshift.models.options import Options

INFINITE, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_hidden": 0}, "n_hidden=0 must be at least 1"),
        ({"n_layers": -1}, "n_layers=-1 must be at least 1"),
        ({"n_hidden": "64"}, "n_hidden='64' must be a whole number"),
        ({"n_layers": 1.5}, r"n_layers=1\.5 must be a whole number"),
        ({"normalisation": "group"}, "normalisation='group' is not one of layer, batch, none"),
        ({"likelihood": "zinb"}, "likelihood='zinb' is not one of nb, poisson, gaussian"),
        ({"posterior": "mask"}, "posterior='mask' is not one of cells, basal, conditional"),
        ({"shift": "sum"}, "shift='sum' is not one of none, table, additive"),
        ({"mask": "gumbel"}, "mask='gumbel' is not one of ones, bernoulli"),
        ({"mask_draw": "cell"}, "mask_draw='cell' is not one of marginal, per_batch, per_cell"),
        (
            {"mask_prior": "beta"},
            "mask_prior='beta' is not one of none, l1, l1_mean_loss, beta_map, bernoulli_kl, "
            "beta_bernoulli, edge_budget",
        ),
        ({"effect": None}, "effect=None is not one of point, normal"),
        ({"anchor_control": "yes"}, "anchor_control='yes' must be true or false"),
        ({"dropout": 1.0}, r"dropout=1.0 must lie in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout=-0.1 must lie in \[0, 1\)"),
        ({"dropout": True}, "dropout=True must be a number"),
        ({"effect_scale": 0.0}, r"effect_scale=0.0 must lie in \(0, inf\)"),
        ({"effect_scale": NAN}, r"effect_scale=nan must lie in \(0, inf\)"),
        ({"temperature": -1.0}, r"temperature=-1.0 must lie in \(0, inf\)"),
        ({"temperature": INFINITE}, r"temperature=inf must lie in \(0, inf\)"),
        ({"beta": 0}, r"beta=0 must lie in \(0, inf\)"),
        ({"beta": "4"}, "beta='4' must be a number"),
        ({"effect_start": -0.1}, r"effect_start=-0.1 must lie in \[0, inf\)"),
        ({"inclusion_prior": 0.0}, r"inclusion_prior=0.0 must lie in \(0, 1\)"),
        ({"inclusion_prior": 1.0}, r"inclusion_prior=1.0 must lie in \(0, 1\)"),
        ({"edge_budget": 0}, r"edge_budget=0 must lie in \(0, inf\)"),
        ({"alpha": 0.5}, r"alpha=0.5 must be at least 1 \(1: no sparsity\) and finite"),
        ({"alpha": NAN}, "alpha=nan must be at least 1"),
        ({"alpha": INFINITE}, "alpha=inf must be at least 1 .* and finite"),
        ({"alpha": "K"}, "alpha='K' must be a number"),
        ({"initial_logit": INFINITE}, "initial_logit=inf must be finite"),
        ({"initial_logit": [2]}, r"initial_logit=\[2\] must be a number"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"posterior": "basal", "shift": "additive", "mask": "bernoulli"},
            "posterior='basal' shows the shift to the encoder, .* set mask_draw='per_batch'",
        ),
        (
            {"posterior": "basal", "shift": "additive", "effect": "normal"},
            "masks and effects must be drawn.*The exact average needs posterior='cells'",
        ),
        (
            {"shift": "none", "mask": "bernoulli"},
            "shift='none' has no masks and no effects. Set shift='additive' or 'table'",
        ),
        ({"shift": "none", "effect": "normal"}, "or leave mask='ones' and effect='point'"),
        (
            {"shift": "table", "mask_prior": "l1"},
            "mask_prior='l1' needs mask='bernoulli'; with mask='ones' there is nothing to be",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0},
        {"alpha": 1},
        {"alpha": None},
        {"edge_budget": 0.5, "shift": "table", "mask": "bernoulli", "mask_prior": "edge_budget"},
        {"effect_start": 0.0},
        {"posterior": "basal", "shift": "additive"},
        {"posterior": "conditional", "shift": "table", "mask": "bernoulli"},
    ],
)
def test_what_is_possible_is_taken(options: dict[str, Any]) -> None:
    made = Options(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_only_a_table_keeps_combinations_apart() -> None:
    assert [Options(shift=shift).additive for shift in ("none", "table", "additive")] == [
        True, False, True,
    ]  # fmt: skip


def test_every_option_is_explained() -> None:
    assert Options.__doc__ is not None
    for field in fields(Options):
        assert f"        {field.name}: " in Options.__doc__, field.name
