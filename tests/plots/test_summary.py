import numpy as np
import pandas as pd

from sparseshift.plots.summary import comparison_table

NLL = "I-NLL, mean of perturbations, 100 particles (nats a cell; lower is better)"
ELBO = "validation negative ELBO, mean of cells (nats a cell; lower is better)"
R = "predicted against observed effects (Pearson r over genes; higher is better)"


def test_models_in_their_order_and_metrics_in_words(metrics: pd.DataFrame) -> None:
    table = comparison_table(metrics)
    assert list(table.columns) == ["model", NLL, R, ELBO, "seeds"]
    assert table["model"].tolist() == [
        "mean_effect",
        "support_mean_shrunk",
        "vae",
        "ivae",
        "svae_plus",
    ]
    assert table["seeds"].tolist() == ["–", "–", "3", "3", "3"]


def test_seeds_are_averaged_and_so_are_the_ends_of_their_intervals(metrics: pd.DataFrame) -> None:
    table = comparison_table(metrics).set_index("model")
    assert table.loc["vae", NLL] == "269.1 [267.6, 270.4]"
    assert table.loc["svae_plus", R] == "0.670 [0.580, 0.760]"
    assert table.loc["vae", ELBO] == "272.1"
    assert table.loc["mean_effect", NLL] == "–"


def test_missing_seeds_and_ends_do_not_count(metrics: pd.DataFrame) -> None:
    metrics.loc[(metrics["model"] == "vae") & (metrics["seed"] > 0), "value"] = np.nan
    metrics.loc[metrics["model"] == "ivae", ["lower", "upper"]] = np.nan
    table = comparison_table(metrics).set_index("model")
    assert table.loc["vae", "seeds"] == "1"
    assert table.loc["vae", NLL] == "268.9 [267.4, 270.2]"
    assert table.loc["ivae", NLL] == "267.6"


def test_a_row_for_each_subset_of_a_metric(metrics: pd.DataFrame) -> None:
    doubles = metrics[metrics["metric"] == "ate_pearson_r"].assign(subset="doubles")
    table = comparison_table(pd.concat([metrics, doubles]))
    assert list(table.columns) == ["model", "subset", NLL, R, ELBO, "seeds"]
    svae_plus = table[table["model"] == "svae_plus"].set_index("subset")
    assert svae_plus.loc["doubles", R] == svae_plus.loc["held_out_query", R]
    assert svae_plus.loc["doubles", NLL] == "–"


def test_nothing_to_compare(metrics: pd.DataFrame) -> None:
    for nothing in (metrics[:0], metrics.assign(value=np.nan)):
        table = comparison_table(nothing)
        assert len(table) == 0
        assert list(table.columns) == ["model", "seeds"]
