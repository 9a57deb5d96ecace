"""Reading tidy tables of metrics: which columns tell values of one metric apart."""

import pandas as pd


def keys_that_vary(metrics: pd.DataFrame) -> list[str]:
    """Those of screen, split and subset of which some metric has more than one."""
    by_metric = metrics.groupby("metric")
    return [
        column
        for column in ("screen", "split", "subset")
        if column in metrics and int(by_metric[column].nunique().max()) > 1
    ]
