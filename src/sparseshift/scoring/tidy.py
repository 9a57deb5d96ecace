"""The tidy table of metrics: a row a number, with what it is about."""

from dataclasses import dataclass

import pandas as pd

from sparseshift.evaluation.intervals import Interval

METRIC_COLUMNS = [
    "screen",
    "model",
    "split",
    "seed",
    "metric",
    "subset",
    "value",
    "lower",
    "upper",
]


QUERY = "held_out_query"  # the subset of cells that models are scored on, but not adapted to

HEADLINE = (
    "inll_macro",
    "inll_micro",
    "nll_macro",
    "ate_pearson_r",
    "ate_rmse",
    "mcc_pearson",
    "r2",
    "graph_f1",
    "validation_negative_elbo_macro",
)


@dataclass(frozen=True)
class RunKey:
    """What the rows of a metrics table are about."""

    screen: str
    model: str
    split: str
    seed: int | None

    def rows(self, values: list[tuple[str, str, Interval]]) -> pd.DataFrame:
        """Tidy rows from (metric, subset, interval)."""
        frame = pd.DataFrame(
            [
                (self.screen, self.model, self.split, self.seed, metric, subset, *interval)
                for metric, subset, interval in values
            ],
            columns=METRIC_COLUMNS,
        )
        return frame.astype({"seed": "Int64"})


def headline(metrics: pd.DataFrame) -> pd.DataFrame:
    """The rows of a tidy table that compare models on held-out cells, or with a known truth."""
    compares = is_headline(metrics["metric"]) & ~is_by_kind(metrics)
    n_models = metrics.groupby(["metric", "split"])["model"].transform("nunique")
    return metrics[compares & (n_models > 1)]


def is_headline(metric: pd.Series) -> pd.Series:
    """Which names are headline metrics, whatever their number of particles."""
    return metric.str.replace(r"_k\d+$", "", regex=True).isin(HEADLINE)


def is_by_kind(metrics: pd.DataFrame) -> pd.Series:
    """Which rows are of one kind of perturbation: singles, or combinations by what was seen of them."""
    return metrics["subset"].astype(str).str.startswith(("single", "combination"))
