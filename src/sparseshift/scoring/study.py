"""A study of simulated screens: all scores of a fit, agreement of seeds, means over data seeds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.intervals import Interval, student_interval
from sparseshift.evaluation.latent_matching import match_latents
from sparseshift.evaluation.stability import agreement, edge_stability, udr
from sparseshift.fitted_factors import FittedFactors
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import Model, score_cells, with_model_counts
from sparseshift.scoring.fits import score_model_predictions, score_query, score_training
from sparseshift.scoring.recovery import TRAINED, score_recovery
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations

KEYS = ["condition", "model", "metric", "subset"]
_INFORMATIVE = 0.01  # nats: Duan et al. 2020


def score_simulated_fit(
    model: Model,
    screen: AnnData,
    unseen: AnnData,
    split: Split,
    key: RunKey,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """Recovery, training, held-out perturbations and cost of one fit, as tidy rows.

    Args:
        model: fitted to the training cells of the split.
        screen: all cells but the unseen ones.
        unseen: of trained perturbations.
        split: which perturbations were held out.
        key: of the rows.
        settings: how to score.
    """
    tables = [score_recovery(model, screen, split, key, unseen), score_training(model, key)]
    if split.support and not isinstance(model, FittedFactors):
        adapted = model.adapt(with_model_counts(screen[list(split.support)], model))
        cells = score_cells(adapted, screen, split, settings)
        predictions = score_model_predictions(model, adapted, cells, screen, split, settings)
        tables.append(score_query(cells, predictions, key, settings))
    if isinstance(model, FittedModel):
        seconds = Interval(model.records.cpu_seconds, np.nan, np.nan)
        tables.append(key.rows([("cpu_seconds", "training", seconds)]))
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def score_stability(
    models: Sequence[Model], screen: AnnData, split: Split, keys: Sequence[RunKey]
) -> pd.DataFrame:
    """How well fits agree that differ in their seed alone, as tidy rows; none of fewer than two.

    `udr` is of each fit, `latent_agreement` and `edge_stability` of all together, without a seed.

    Args:
        models: the fits.
        screen: cells; those of trained perturbations are compared.
        split: which perturbations were held out.
        keys: of the fits.
    """
    if len(models) < 2:
        return keys[0].rows([])
    labels = read_perturbations(screen, models[0].spec.columns)
    cells = with_model_counts(screen[split.is_training(screen.obs_names, labels)], models[0])
    latents = [model.latents(cells) for model in models]
    scores = udr(latents, [_informative(values) for values in latents])
    tables = [
        key.rows([("udr", TRAINED, Interval(float(score), np.nan, np.nan))])
        for key, score in zip(keys, scores, strict=True)
    ]
    trained = list(models[0].spec.trained)
    edges = [(m.inclusion_probability().loc[trained] > 0.5).to_numpy() for m in models]
    together = {"latent_agreement": agreement(latents)}
    if all(isinstance(m, FittedModel) and m.spec.options.mask_prior != "none" for m in models):
        together["edge_stability"] = edge_stability(latents, edges)
    rows = [(name, TRAINED, Interval(value, np.nan, np.nan)) for name, value in together.items()]
    tables.append(replace(keys[0], seed=None).rows([r for r in rows if np.isfinite(r[2].value)]))
    return pd.concat(tables, ignore_index=True)


def _informative(latents: np.ndarray) -> np.ndarray:
    """Latents whose posterior means vary as much as a KL divergence of .01 nats takes at the least.

    KL(N(m, s²) || N(0, 1)) >= m² / 2, so that a variance of .02 over cells is enough.
    """
    return np.asarray(latents.var(axis=0) / 2 > _INFORMATIVE)


def summarise_study(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean of every metric over data seeds, model seeds averaged first.

    Args:
        metrics: tidy, with condition, data_seed, model, seed, metric, subset, value.

    Returns:
        condition, model, metric, subset, value, lower, upper (Student's 95 % interval over data seeds),
        sd (over data seeds), worst and best of all fits, data_seeds, fits (numbers).
    """
    rows = []
    for key, group in metrics.groupby(KEYS, sort=False):
        by_data = group.groupby("data_seed")["value"].mean().to_numpy(dtype=float)
        interval = student_interval(by_data)
        sd = float(by_data.std(ddof=1)) if len(by_data) > 1 else float("nan")
        values = group["value"]
        rows.append((*key, *interval, sd, values.min(), values.max(), len(by_data), len(values)))
    columns = [*KEYS, *Interval._fields, "sd", "least", "largest", "data_seeds", "fits"]
    return pd.DataFrame(rows, columns=columns)


def beside_published(
    summary: pd.DataFrame, published: pd.DataFrame, settings: dict[str, str]
) -> pd.DataFrame:
    """The summary with columns published and published_sd, empty where nothing was published.

    A model `paper_x` and the model `x` stand beside the published x.

    Args:
        summary: of `summarise_study`.
        published: setting, model, metric, value, sd.
        settings: condition to the setting it corresponds to.
    """
    numbers = published.rename(
        columns={"value": "published", "sd": "published_sd", "model": "name", "metric": "stem"}
    )
    joined = summary.assign(
        setting=[settings.get(condition, "") for condition in summary["condition"]],
        name=summary["model"].str.removeprefix("paper_"),
        stem=summary["metric"].str.replace(r"_k\d+$", "", regex=True),
    ).merge(numbers, on=["setting", "name", "stem"], how="left")
    joined.loc[joined["subset"] == "unseen_cells", ["published", "published_sd"]] = np.nan
    return joined.drop(columns=["setting", "name", "stem", "source"], errors="ignore")


def compare_graphs(
    model: FittedModel, screen: AnnData, split: Split
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """True shifts and found edges of the trained perturbations, the latents of both in one order.

    Returns:
        True shifts, and the inclusion probabilities of each true latent's match (0 without one), each
        (perturbations, true latents); surplus latents are left out.
    """
    labels = read_perturbations(screen, model.spec.columns)
    chosen = split.is_training(screen.obs_names, labels) & (labels != model.spec.columns.control)
    cells = with_model_counts(screen[chosen], model)
    matching = match_latents(np.asarray(cells.obsm["z"]), model.latents(cells))
    names = np.asarray(screen.uns["perturbations"]).astype(str)
    trained = [name for name in names if name in set(model.spec.trained)]
    latents = [f"true z{j}" for j in range(len(matching.learnt))]
    true = pd.DataFrame(np.asarray(screen.uns["shifts"]), index=names, columns=latents)
    inclusion = model.inclusion_probability().loc[trained].to_numpy()
    matched = np.where(matching.learnt >= 0, inclusion[:, matching.learnt], 0.0)
    return true.loc[trained], pd.DataFrame(matched, index=trained, columns=latents)
