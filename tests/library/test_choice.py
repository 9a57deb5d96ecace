"""Choosing a model without the truth: which one, and what it costs."""

import pandas as pd
import pytest

from sparseshift.scoring import choose

VALUES = {  # model: validation ELBO, UDR, MCC, F1
    "few": (370.0, 0.9, 0.5, 0.6),
    "right": (360.0, 0.8, 0.9, 1.0),
    "many": (355.0, 0.3, 0.8, 0.9),
}
METRICS = (
    ("validation_negative_elbo_macro", "validation_cells"),
    ("udr", "trained"),
    ("mcc_pearson", "trained"),
    ("graph_f1", "trained"),
)


@pytest.fixture
def metrics() -> pd.DataFrame:
    rows = [
        {"condition": "a", "data_seed": 7, "model": model, "seed": seed, "metric": metric}
        | {"subset": subset, "value": value + (0.1 if seed else -0.1)}
        for model, values in VALUES.items()
        for (metric, subset), value in zip(METRICS, values, strict=True)
        for seed in (0, 1)
    ]
    # what must not be looked at
    rows.append({**rows[0], "model": "other", "value": 0.0})
    rows.append({**rows[4], "subset": "unseen_cells", "value": 1.0})
    return pd.DataFrame(rows)


def test_each_criterion_chooses_and_its_cost_is_told(metrics: pd.DataFrame) -> None:
    table = choose(metrics, list(VALUES)).set_index("criterion")
    assert list(table.index) == ["validation_negative_elbo_macro", "udr"]
    assert table["chosen"].tolist() == ["many", "few"]
    assert table["mcc_pearson"].tolist() == pytest.approx([0.8, 0.5])
    assert table["mcc_pearson_shortfall"].tolist() == pytest.approx([0.1, 0.4])
    assert table["graph_f1_shortfall"].tolist() == pytest.approx([0.1, 0.4])
    assert set(table["condition"]) == {"a"}
    assert set(table["data_seed"]) == {7}


def test_the_first_of_equals_is_taken(metrics: pd.DataFrame) -> None:
    level = metrics.assign(value=metrics["value"].where(metrics["metric"] != "udr", 0.5))
    found = choose(level, ["right", "many"]).set_index("criterion")
    assert found.loc["udr", "chosen"] == "right"
    found = choose(level, ["many", "right"]).set_index("criterion")
    assert found.loc["udr", "chosen"] == "many"
    assert found.loc["udr", "mcc_pearson_shortfall"] == pytest.approx(0.1)


def test_what_was_not_fitted_in_a_condition_is_not_chosen(metrics: pd.DataFrame) -> None:
    found = choose(metrics, ["absent", "right"])
    assert set(found["chosen"]) == {"right"}
    assert (found["mcc_pearson_shortfall"] == 0.0).all()
