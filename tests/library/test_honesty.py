"""The card that says how far to trust a report."""

from typing import Any

import numpy as np
import pandas as pd

from sparseshift.honesty import honesty_card
from sparseshift.scoring import METRIC_COLUMNS
from sparseshift.scoring.ceilings import COLUMNS

SPLIT: dict[str, Any] = {"support": ["a"], "query": ["b"], "control_a": ["c"], "control_b": ["d"]}
NO_CURVE = pd.DataFrame(columns=METRIC_COLUMNS)
NOTHING = pd.DataFrame(columns=["split", *COLUMNS])


def metrics_of(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """From model, seed, metric, subset, value, lower, upper."""
    full = [
        ("here", m, "s", seed, metric, subset, *values)
        for m, seed, metric, subset, *values in rows
    ]
    return pd.DataFrame(full, columns=METRIC_COLUMNS).astype({"seed": "Int64"})


def nulls_of(*edges: float, implanted: float = 1.0) -> list[tuple[Any, ...]]:
    nan = np.nan
    rows: list[tuple[Any, ...]] = [("svae", 0, "true_edges", "all labels", 9.0, nan, nan)]
    for i, n in enumerate(edges):
        rows.append(("svae", 0, "null_edges", f"permutation {i}", n, nan, nan))
        rows.append(("svae", 0, "implanted_edges", f"permutation {i}", implanted, nan, nan))
    return [*rows, ("svae", 0, "null_edges_p", "n", 1 / (1 + len(edges)), nan, nan)]


def difference(value: float, lower: float, upper: float) -> pd.DataFrame:
    where = "held_out_query, support_mean"
    return metrics_of(
        ("svae", 0, "ate_pearson_r", "held_out_query", 0.5, 0.4, 0.6),
        ("support_mean", None, "ate_pearson_r", "held_out_query", 0.4, 0.3, 0.5),
        ("svae", None, "ate_pearson_r_minus_best_baseline", where, value, lower, upper),
        ("svae", None, "inll_minus_vae_k100", "held_out_query, vae", -value, -upper, -lower),
    )


def test_one_sentence_says_whether_it_beats_the_mean() -> None:
    for values, verdict in (
        ((0.1, 0.05, 0.2), "better, beyond noise"),
        ((0.1, -0.05, 0.2), "not distinguishable from it"),
        ((-0.1, -0.2, -0.05), "worse, beyond noise"),
        ((0.1, np.nan, np.nan), "too few perturbations to say"),
    ):
        card = honesty_card("svae", difference(*values), NOTHING, NO_CURVE, {"s": SPLIT}, [])
        text = card["does it beat the mean?"]
        assert "with r = 0.50, those of the best simple predictor, support_mean, with 0.40" in text
        assert verdict in text
        # below 0 is better for a likelihood
        assert verdict in card["likelihood"]


def test_combinations_of_which_no_cell_was_seen_have_a_sentence() -> None:
    where = "held_out_query, additive"
    rows = metrics_of(
        ("svae", 0, "zero_shot_pearson_r", "held_out_query", 0.5, 0.4, 0.6),
        ("additive", None, "zero_shot_pearson_r", "held_out_query", 0.6, 0.3, 0.5),
        ("svae", None, "zero_shot_pearson_r_minus_best_baseline", where, -0.1, -0.3, 0.1),
    )
    card = honesty_card("svae", rows, NOTHING, NO_CURVE, {}, [])
    text = card["combinations, none of their cells seen"]
    assert "from none of their cells correlate with those observed with r = 0.50" in text
    assert "additive, with 0.60; difference -0.10 (-0.30 to +0.10): not distinguishable" in text
    assert "combinations, none of their cells seen" not in honesty_card(
        "svae", metrics_of(), NOTHING, NO_CURVE, {}, []
    )


def test_an_empty_null_graph_alone_does_not_pass() -> None:
    found = honesty_card("svae", metrics_of(*nulls_of(0, 1)), NOTHING, NO_CURVE, {}, [])[
        "permuted labels"
    ]
    assert "9 edges, and 0 to 1 where labels are permuted" in found
    assert "p = 0.33 of 2 permutations. An effect implanted there was found in 2 of 2." in found
    empty = honesty_card(
        "svae", metrics_of(*nulls_of(0, implanted=0.0)), NOTHING, NO_CURVE, {}, []
    )
    assert "an empty graph says nothing here" in empty["permuted labels"]
    none = honesty_card("svae", metrics_of(), NOTHING, NO_CURVE, {}, [])
    assert none["permuted labels"].startswith("Not asked")
    assert none["control guides"].startswith("No power")
    assert none["does it beat the mean?"].startswith("Not asked")


def test_a_null_graph_where_most_implanted_effects_are_missed_says_little() -> None:
    rows = nulls_of(0, 0, 0, 0, 0)
    implanted = [i for i, row in enumerate(rows) if row[2] == "implanted_edges"]
    for n_found, says_little in ((2, True), (3, False)):
        changed = list(rows)
        for i in implanted[n_found:]:
            changed[i] = (*rows[i][:4], 0.0, *rows[i][5:])
        card = honesty_card("svae", metrics_of(*changed), NOTHING, NO_CURVE, {}, [])
        text = card["permuted labels"]
        assert f"found in {n_found} of 5" in text
        assert ("one that is missing says little" in text) == says_little


def test_over_what_a_likelihood_is_and_what_was_left_out_is_named() -> None:
    nan = np.nan
    sizes = metrics_of(
        ("svae", 0, "query_cells", "held_out_query", 1234.0, nan, nan),
        ("svae", 0, "query_perturbations", "held_out_query", 3.0, nan, nan),
    )
    n_shot = metrics_of(
        *(
            ("svae", 0, "ate_rmse", f"n_shot_{size}, {name}", 0.1, nan, nan)
            for size, names in ((5, ("A", "B+C", "D, 2")), (20, ("A", "D, 2")), (50, ("A",)))
            for name in names
        )
    )
    splits = {"s": {**SPLIT, "held_out": ["A", "B+C", "D, 2", "E"]}}
    card = honesty_card("svae", sizes, NOTHING, n_shot, splits, [])
    assert "over 1,234 query cells of 3 perturbations" in card["likelihood"]
    assert card["and from a few cells?"] == (
        "Left out for want of cells: with 5 cells E; with 20 cells B+C, E; with 50 cells B+C, D, 2, E."
    )


def test_what_cannot_be_seen_is_said() -> None:
    rows = [
        ("s", "ate_pearson_r", "svae", 0.6, 0.2, 0.4, 0.1, 5, True, 0.5, 0.75, 0.6, 0.9),
        ("s", "ate_rmse", "svae", 0.6, 0.6, 0.0, 0.1, 5, False, 0.5, np.nan, np.nan, np.nan),
    ]
    card = honesty_card(
        "svae", metrics_of(), pd.DataFrame(rows, columns=["split", *COLUMNS]), NO_CURVE, {}, []
    )
    text = card["what could be seen at all"]
    assert "ate_pearson_r 0.75 (0.60 to 0.90)" in text
    assert "Not resolvable with these cells: ate_rmse." in text


def test_cells_used_twice_and_few_seeds_are_named() -> None:
    twice = {**SPLIT, "query": ["a"], "control_b": ["c"]}
    card = honesty_card(
        "svae", metrics_of(*nulls_of(0)), NOTHING, NO_CURVE, {"s": twice}, ["batch!"]
    )
    assert "s: 1 cells adapted to and scored, 1 in both control halves" in card["leakage"]
    assert "1 seed a fit (exploratory" in card["seeds"]
    assert card["batches"] == "batch!"
    fine = honesty_card("svae", metrics_of(), NOTHING, NO_CURVE, {"s": SPLIT}, [])
    assert fine["leakage"].startswith("No cell is adapted to and scored")
    assert fine["batches"].startswith("No sign")
    seeds = [("svae", i, "n_edges", "trained", 1.0, np.nan, np.nan) for i in range(5)]
    assert (
        "enough for a claim"
        in honesty_card("svae", metrics_of(*seeds), NOTHING, NO_CURVE, {}, [])["seeds"]
    )


def test_particles_that_are_too_few_are_seen() -> None:
    rows = [
        ("svae", 0, f"excess_inll_macro_k{k}", "particle_convergence", v, 0.0, 1.0)
        for k, v in ((10, 0.5), (100, 0.1))
    ]
    card = honesty_card("svae", metrics_of(), NOTHING, metrics_of(*rows), {}, [])
    assert "0.50 nats at k = 10, 0.10 nats at k = 100." in card["particles"]


def test_folds_that_are_scored_together_are_not_told_one_by_one() -> None:
    fold, whole = difference(0.1, 0.05, 0.2), difference(0.1, 0.05, 0.2).assign(split="cross_fit")
    both = pd.concat([fold.assign(split="fold_0"), whole], ignore_index=True)
    card = honesty_card("svae", both, NOTHING, NO_CURVE, {}, [], ["fold_0"])
    assert "cross_fit" in card["does it beat the mean?"]
    assert "fold_0" not in card["does it beat the mean?"]


def test_few_cells_are_said_size_by_size() -> None:
    metric = "ate_pearson_r_minus_best_baseline"
    rows = [
        ("svae", None, metric, "n_shot_5, support_mean_shrunk", 0.1, 0.05, 0.2),
        ("svae", None, metric, "n_shot_100, support_mean", -0.02, -0.1, 0.05),
        ("ivae", None, metric, "n_shot_5, support_mean", 0.77, 0.7, 0.8),
        (
            "svae",
            None,
            "ate_delta_r_minus_best_baseline",
            "n_shot_5, support_mean",
            -0.3,
            -0.4,
            -0.2,
        ),
        ("svae", None, "ate_rmse_minus_best_baseline", "n_shot_5, no_change", -0.02, -0.03, -0.01),
        ("svae", None, "ate_mae_minus_best_baseline", "n_shot_5, support_mean", 0.88, 0.8, 0.9),
    ]
    card = honesty_card("svae", metrics_of(), NOTHING, metrics_of(*rows), {}, [])
    text = card["and from a few cells?"]
    assert "5 cells +0.10 (+0.05 to +0.20) (support_mean_shrunk): better, beyond noise" in text
    assert "100 cells -0.02 (-0.10 to +0.05) (support_mean): not distinguishable from it." in text
    assert (
        "Split 's': r of effects, svae adapted to a few cells of each perturbation less the"
        in text
    )
    assert "Split 's': r of what sets each effect apart from the mean effect, svae adapted" in text
    assert "5 cells -0.30 (-0.40 to -0.20) (support_mean): worse, beyond noise." in text
    assert "(RMSE) of effects, svae adapted" in text
    assert "5 cells -0.020 (-0.030 to -0.010) (no_change): better, beyond noise." in text
    assert "0.77" not in text
    assert "0.88" not in text
    without = honesty_card("svae", metrics_of(), NOTHING, NO_CURVE, {}, [])
    assert "and from a few cells?" not in without
