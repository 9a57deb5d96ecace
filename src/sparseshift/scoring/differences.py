"""Is a model better than another, on the very cells that both were scored on?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sparseshift.evaluation.intervals import Interval
from sparseshift.evaluation.paired import paired_differences, paired_macro_differences
from sparseshift.scoring.prediction_scores import METRICS, ZERO_SHOT
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import QUERY, RunKey

VAE = "vae"
BEST_BASELINE = "best_baseline"


def likelihood_differences(
    fits: Sequence[tuple[RunKey, pd.DataFrame]],
    baselines: Mapping[str, pd.DataFrame],
    settings: ScoreSettings,
) -> pd.DataFrame:
    """I-NLL of each model less that of vae, and less that of the best baseline, as tidy rows.

    A cell's bound is averaged over the seeds of a model first; perturbations and cells are resampled, with
    the same draws for all models. inll_seed_sd is the standard deviation of a model's macro I-NLL over
    its seeds.

    Args:
        fits: of one screen and split, with their table of `score_cells`.
        baselines: name to a table of the same cells: cell, perturbation, log_likelihood (nats).
        settings: how to score.
    """
    filled = [(key, table.set_index("cell")) for key, table in fits if len(table)]
    if not filled:
        return RunKey("", "", "", None).rows([])
    screen, split = filled[0][0].screen, filled[0][0].split
    labels = pd.concat([table["perturbation"] for _, table in filled])
    seeds: dict[str, list[pd.Series]] = {}
    for key, table in filled:
        seeds.setdefault(key.model, []).append(-table["iwelbo"])
    means = {model: pd.concat(own, axis=1).mean(axis=1) for model, own in seeds.items()}
    simple = {
        name: -table.set_index("cell")["log_likelihood"]
        for name, table in baselines.items()
        if len(table)
    }
    nll = pd.DataFrame({**means, **simple}).dropna()
    groups = labels[~labels.index.duplicated()].loc[nll.index].to_numpy(dtype=str)
    references = {VAE: VAE} if VAE in seeds else {}
    if simple:
        references[BEST_BASELINE] = str(nll[list(simple)].groupby(groups).mean().mean().idxmin())
    suffix = f"_k{settings.n_particles}"
    rows = [
        (model, f"inll_seed_sd{suffix}", QUERY, _spread(own, nll.index, groups))
        for model, own in seeds.items()
        if len(own) > 1
    ]
    for name, reference in references.items():
        found = paired_macro_differences(
            nll.to_numpy(),
            groups,
            list(nll).index(reference),
            n_resamples=settings.n_resamples,
            seed=settings.seed,
        )
        metric, subset = f"inll_minus_{name}{suffix}", f"{QUERY}, {reference}"
        others = zip(map(str, nll), found, strict=True)
        rows += [(m, metric, subset, x) for m, x in others if m in seeds and m != reference]
    frames = [
        RunKey(screen, model, split, None).rows([(metric, subset, value)])
        for model, metric, subset, value in rows
    ]
    return pd.concat(frames, ignore_index=True) if frames else RunKey("", "", "", None).rows([])


def effect_differences(
    scores: pd.DataFrame, baselines: Sequence[str], key: RunKey, settings: ScoreSettings
) -> pd.DataFrame:
    """Each model's scores of effects less those of the best baseline, as tidy rows.

    The best baseline (`best_of`) is taken metric by metric; so it is chosen in favour of the baselines. Perturbations are resampled; scores are averaged over seeds first.

    Args:
        scores: long: model, perturbation, metric, value; of models, a row a seed, and baselines.
        baselines: names of those that are simple predictors.
        key: of the rows, whose model is not used.
        settings: how to score.
    """
    frames = []
    for metric, higher in (METRICS | ZERO_SHOT).items():
        own = scores[scores["metric"] == metric]
        table = own.pivot_table(
            values="value", index="perturbation", columns="model", aggfunc="mean"
        )
        simple = [name for name in baselines if name in table and table[name].notna().any()]
        if not simple:
            continue
        best = best_of(table[simple], higher_is_better=higher)
        found = paired_differences(
            table.to_numpy(dtype=float),
            list(table).index(best),
            n_resamples=settings.n_resamples,
            seed=settings.seed,
        )
        for model, interval in zip(table, found, strict=True):
            if model not in baselines:
                row = (f"{metric}_minus_{BEST_BASELINE}", f"{QUERY}, {best}", interval)
                frames.append(RunKey(key.screen, str(model), key.split, None).rows([row]))
    return pd.concat(frames, ignore_index=True) if frames else key.rows([])


def best_of(scores: pd.DataFrame, *, higher_is_better: bool) -> str:
    """The predictor with the best mean, among those that are scored on the most perturbations.

    Over fewer, and perhaps easier, perturbations a mean says less.

    Args:
        scores: (perturbations, predictors); NaN where a score is not defined.
        higher_is_better: else the least is the best.
    """
    defined = scores.notna().sum()
    mean = scores.loc[:, defined == defined.max()].mean()
    return str(mean.idxmax() if higher_is_better else mean.idxmin())


def _spread(seeds: Sequence[pd.Series], cells: pd.Index, groups: np.ndarray) -> Interval:
    """Standard deviation over seeds of the macro mean."""
    macro = [float(own.loc[cells].groupby(groups).mean().mean()) for own in seeds]
    return Interval(float(np.std(macro, ddof=1)), np.nan, np.nan)
