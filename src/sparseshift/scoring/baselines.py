"""The predictors every model must beat, on the same query cells."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.design import parts
from sparseshift.data.splits import Split
from sparseshift.evaluation.average_effects import (
    effect_variances,
    log_normalise,
    sampling_variance,
)
from sparseshift.models.baselines import additive_effect, mean_effect, shrunk_effect
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.fits import QUERY
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.columns import Columns


def score_baselines(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: tuple[str, ...],
    name: str,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """The predictors every model must beat, on the same query cells, as tidy rows.

    mean_effect: control mean + mean effect of the training perturbations. additive: the sum of the
    parts' effects for a combination whose parts were all trained alone, else mean_effect.
    support_mean: the effect in the support cells, which models adapt to. support_mean_shrunk: the
    same, shrunk to the mean effect by empirical Bayes.

    Args:
        screen: all cells.
        columns: of the screen.
        split: held-out perturbations, support, query, control halves.
        genes: that models see.
        name: of the screen.
        settings: how to score.
    """
    if not split.query or not split.control_a:
        return RunKey(name, "mean_effect", split.name, None).rows([])
    observed = ObservedEffects(screen, columns, split, genes)
    return pd.concat(
        [
            RunKey(name, model, split.name, None).rows(
                [("ate_pearson_r", QUERY, observed.score(effects, settings))]
            )
            for model, effects in baseline_effects(observed, columns.control).items()
        ],
        ignore_index=True,
    )


def baseline_effects(
    observed: ObservedEffects, control: str | None
) -> dict[str, dict[str, np.ndarray]]:
    """For each baseline the predicted effect of each held-out perturbation, (genes,)."""
    split, labels = observed.split, observed.labels
    profiles = log_normalise(observed.counts, observed.target_total)
    reference = observed.rows(split.control_a)
    control_mean = profiles[reference].mean(0)
    trained = sorted(set(labels[split.is_training(labels)].tolist()) - {control})
    cells = {label: profiles[labels == label] for label in trained}
    effects = {label: cells[label].mean(0) - control_mean for label in trained}
    average, between = mean_effect(effects), effect_variances(cells, effects)
    support = observed.rows(split.support)
    predictions: dict[str, dict[str, np.ndarray]] = {
        name: {} for name in ("mean_effect", "additive", "support_mean", "support_mean_shrunk")
    }
    for label in split.held_out:
        own = profiles[support[labels[support] == label]]
        seen = own.mean(0) - control_mean
        noise = sampling_variance(own) + sampling_variance(profiles[reference])
        added = additive_effect(parts(label), effects)
        predictions["mean_effect"][label] = average
        predictions["additive"][label] = average if added is None else added
        predictions["support_mean"][label] = seen
        predictions["support_mean_shrunk"][label] = shrunk_effect(seen, average, between, noise)
    return predictions
