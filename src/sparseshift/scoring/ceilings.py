"""Where each model lies between the mean effect and the support mean, if these can be told apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sparseshift.evaluation.ceiling import ceiling_gap, rescale
from sparseshift.scoring.prediction_scores import METRICS
from sparseshift.scoring.settings import ScoreSettings

CEILING = "support_mean"  # the perturbation's own cells, as many as models adapt to
FLOOR = "mean_effect"  # the same for every perturbation
COLUMNS = [
    "metric",
    "model",
    "ceiling",
    "floor",
    "gap",
    "standard_error",
    "perturbations",
    "resolvable",
]
COLUMNS += ["value", "rescaled", "lower", "upper"]


def rescale_predictions(
    scores: pd.DataFrame, models: Sequence[str], settings: ScoreSettings
) -> pd.DataFrame:
    """Each model's scores as a share of the gap between floor and ceiling, metric by metric.

    Args:
        scores: long: model, perturbation, metric, value; of models (seeds averaged) and baselines.
        models: names of those to rescale.
        settings: how many resamples, from which seed.

    Returns:
        A row a metric and model; rescaled is NaN where the gap does not exceed two standard errors.
    """
    rows = []
    for metric, higher in METRICS.items():
        own = scores[scores["metric"] == metric]
        table = own.pivot_table(values="value", index="perturbation", columns="model")
        if CEILING not in table or FLOOR not in table:
            continue
        ceiling = table[CEILING].to_numpy(dtype=float)
        floor = table[FLOOR].to_numpy(dtype=float)
        gap = ceiling_gap(ceiling, floor, lower_is_better=not higher)
        for model in [name for name in models if name in table]:
            values = table[model].to_numpy(dtype=float)
            found = rescale(
                values,
                ceiling,
                floor,
                lower_is_better=not higher,
                n_resamples=settings.n_resamples,
                seed=settings.seed,
            )
            means = [float(np.nanmean(v)) for v in (ceiling, floor)]
            gaps = [*gap[:2], gap.n_perturbations, gap.resolvable]
            rows.append([metric, model, *means, *gaps, float(np.nanmean(values)), *found.score])
    return pd.DataFrame(rows, columns=COLUMNS)
