"""The table that answers the question: models in rows, metrics in columns."""

import pandas as pd

from sparseshift.plots.metric_names import metric_name, ordered_metrics
from sparseshift.plots.numbers import NOT_AVAILABLE, decimals_for, with_interval
from sparseshift.plots.style import ordered_models
from sparseshift.plots.tidy import keys_that_vary


def comparison_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row a model, one column a metric, as text.

    Values are averaged over seeds. An interval runs from the mean of the seeds' lower ends to the
    mean of their upper ends: it is the spread within a seed, not that between seeds, and a caption
    should say so. Baselines come first, then models from plain to sparse. A metric taken on several
    splits or subsets gives a row for each, named in columns of their own.

    Args:
        metrics: tidy, with model, split, seed, metric, subset, value, lower, upper.

    Returns:
        Columns: model, those of screen, split, subset that differ, one a metric, headed in words
        with unit and direction, with a dash where it is not available, and seeds, their number (a
        dash for what has none).
    """
    metrics = metrics[metrics["value"].notna()]
    keys = ["model", *keys_that_vary(metrics)] if len(metrics) else ["model"]
    numbers = metrics.astype({"value": float, "lower": float, "upper": float})
    mean = numbers.groupby([*keys, "metric"])[["value", "lower", "upper"]].mean().reset_index()
    n_seeds = metrics.groupby(keys)["seed"].nunique()
    columns = {}
    for metric in ordered_metrics(metrics["metric"]):
        own = mean[mean["metric"] == metric].set_index(keys)
        columns[metric_name(metric).heading] = _text(own[["value", "lower", "upper"]])
    table = pd.DataFrame(columns, index=n_seeds.index).fillna(NOT_AVAILABLE)
    table["seeds"] = [str(n) if n else NOT_AVAILABLE for n in n_seeds]
    table = table.reset_index()
    place = {name: i for i, name in enumerate(ordered_models(table["model"]))}
    order = table["model"].map(place).astype(int)
    return table.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def _text(own: pd.DataFrame) -> pd.Series:
    decimals = decimals_for(own["value"], own["upper"] - own["lower"])
    return pd.Series(
        [
            with_interval(value, lower, upper, decimals)
            for value, lower, upper in own.to_numpy(dtype=float).tolist()
        ],
        index=own.index,
        dtype=object,
    )
