from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from sparseshift.plots.n_shot import n_shot_curve
from sparseshift.scoring import METRIC_COLUMNS


def table() -> pd.DataFrame:
    rows = []
    for split in ("held_out", "fold_1"):
        for model, metric in (
            ("vae", "inll_macro_k100"),
            ("svae_plus", "inll_macro_k100"),
            ("nb_support", "nll_macro"),
            ("svae_plus", "ate_pearson_r"),
            ("support_mean", "ate_pearson_r"),
            ("svae_plus", "ate_delta_r"),
            ("support_mean", "ate_delta_r"),
        ):
            for seed in (pd.NA,) if "support" in model else (0, 1):
                for n in (5, 20, 100):
                    value = 200.0 - n / 50 + (0 if seed is pd.NA else seed)
                    rows.append((model, split, seed, metric, f"n_shot_{n}", value))
                    rows.append((model, split, seed, f"draw_sd_{metric}", f"n_shot_{n}", 0.5))
                    rows.append((model, split, seed, "n_perturbations", f"n_shot_{n}", 4.0))
                rows.append(
                    (model, split, seed, "inll_macro_k1000", "particle_convergence", 190.0)
                )
    return pd.DataFrame(rows, columns=["model", "split", "seed", "metric", "subset", "value"])


def test_a_panel_a_split_and_a_line_a_model(tmp_path: Path) -> None:
    figure = n_shot_curve(table())
    assert [axes.get_title(loc="left") for axes in figure.axes[::4]] == [
        "split held_out: I-NLL",
        "split fold_1: I-NLL",
    ]
    for axes, closely in zip(figure.axes[::4], figure.axes[1::4], strict=True):
        drawn = [c.get_label() for c in closely.containers if isinstance(c, ErrorbarContainer)]
        assert drawn == ["vae", "svae_plus"]
        found = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
        lines = {c.get_label(): c.lines[0] for c in found}  # the line of an errorbar
        assert set(lines) == {"vae", "svae_plus", "nb_support"}
        # the mean of the seeds, in the order of the sizes
        np.testing.assert_allclose(
            np.asarray(lines["vae"].get_ydata(), dtype=float), [200.4, 200.1, 198.5]
        )
        np.testing.assert_allclose(
            np.asarray(lines["nb_support"].get_ydata(), dtype=float), [199.9, 199.6, 198.0]
        )
        assert list(axes.get_xticks()) == [5, 20, 100]
    for axes in [*figure.axes[2::4], *figure.axes[3::4]]:
        found = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
        assert {c.get_label() for c in found} == {"svae_plus", "support_mean"}
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert sorted(shown) == ["nb_support", "support_mean", "svae_plus", "vae"]
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("rows", [slice(0), slice(6, 7)])
def test_nothing_to_draw_is_said(rows: slice) -> None:
    nothing = table()[table()["subset"] == "particle_convergence"].iloc[rows]
    figure = n_shot_curve(nothing)
    assert "No n-shot curve" in figure.texts[0].get_text()


def test_flat_predictors_without_support_are_not_all_drawn() -> None:
    rows = [
        ("s", model, "held_out", None, metric, f"n_shot_{size}", 0.2, 0.1, 0.3)
        for model, metric in (
            ("svae_plus", "inll_macro_k10"), ("svae_plus", "ate_pearson_r"), ("additive", "ate_pearson_r"),
            ("ridge", "ate_pearson_r"), ("low_rank_linear", "ate_pearson_r"), ("matching_mean", "ate_pearson_r"),
        )
        for size in (5, 10)
    ]  # fmt: skip
    figure = n_shot_curve(pd.DataFrame(rows, columns=METRIC_COLUMNS))
    labels = {c.get_label() for axes in figure.axes for c in axes.containers if c.get_label()}
    assert labels == {"svae_plus", "ridge"}
