"""Do models predict effects better than the mean of the very cells they were adapted to?"""

import pandas as pd

from sparseshift.evaluation.paired import paired_differences
from sparseshift.scoring.compare import CROSS_FIT
from sparseshift.scoring.differences import BEST_BASELINE, best_of
from sparseshift.scoring.n_shot_effects import METRICS
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.simple_predictors import BASELINES
from sparseshift.scoring.tidy import RunKey

_OF_PERTURBATION = r"^n_shot_(?P<size>\d+), (?P<perturbation>.+?)(?P<draws>, first \d+ draws)?$"


def n_shot_differences(
    n_shot: pd.DataFrame, folds: list[str], screen: str, settings: ScoreSettings
) -> pd.DataFrame:
    """Scores of each model's effects less those of the best predictor without a model, as tidy rows.

    Rows METRIC_minus_best_baseline with the subset "n_shot_N, BASELINE". Of `BASELINES` the best at this N is taken
    (`best_of`), so that it is chosen in favour of the baselines. Seeds and draws of the support are averaged first, the
    first draws alone for models that take no more (", first D draws" after it); perturbations are resampled.

    Args:
        n_shot: rows of `score_n_shot_effects` and `score_n_shot_baselines` of one screen.
        folds: splits that are taken together, as `cross_fit`.
        screen: of the rows.
        settings: resamples and seed.
    """
    found = n_shot["subset"].astype(str).str.extract(_OF_PERTURBATION)
    table = n_shot.drop(columns="subset").join(found).dropna(subset=["size"])
    table = table.assign(
        size=table["size"].astype(int),
        draws=table["draws"].fillna(""),
        value=table["value"].astype(float),
        split=table["split"].where(~table["split"].isin(folds), CROSS_FIT),
    )
    frames = []
    keys = ["split", "metric", "size", "draws"]
    for (split, metric, size, draws), own in table.groupby(keys, sort=False):
        wide = own.pivot_table(values="value", index="perturbation", columns="model")
        simple = wide[[name for name in BASELINES if name in wide]]
        if metric not in METRICS or simple.empty or len(wide.columns) == len(simple.columns):
            continue
        best = best_of(simple, higher_is_better=METRICS[str(metric)])
        intervals = paired_differences(
            wide.to_numpy(dtype=float),
            list(wide).index(best),
            n_resamples=settings.n_resamples,
            seed=settings.seed,
        )
        for model, interval in zip(wide, intervals, strict=True):
            if model not in BASELINES:
                row = (
                    f"{metric}_minus_{BEST_BASELINE}",
                    f"n_shot_{size}, {best}{draws}",
                    interval,
                )
                frames.append(RunKey(screen, str(model), str(split), None).rows([row]))
    return (
        pd.concat(frames, ignore_index=True) if frames else RunKey(screen, "", "", None).rows([])
    )
