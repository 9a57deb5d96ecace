"""The honesty card of a screen: what a reader should know before believing the rest of the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sparseshift.scoring.differences import BEST_BASELINE, VAE
from sparseshift.scoring.tidy import QUERY

_BETTER = "ate_pearson_r"
_UNSEEN = "zero_shot_pearson_r"
_FEW_CELLS = {  # in words, whether higher is better, decimals
    _BETTER: ("r of effects", True, 2),
    "ate_delta_r": ("r of what sets each effect apart from the mean effect", True, 2),
    "ate_rmse": ("error (RMSE) of effects", False, 3),
}
CLAIM = 5  # seeds
_OF_PERTURBATION = r"^n_shot_(?P<size>\d+), (?P<perturbation>.+?)(?:, first \d+ draws)?$"


def honesty_card(
    model: str,
    metrics: pd.DataFrame,
    ceilings: pd.DataFrame,
    n_shot: pd.DataFrame,
    splits: Mapping[str, Mapping[str, Any]],
    batch_warnings: Sequence[str],
    folds: Sequence[str] = (),
) -> dict[str, str]:
    """Plain sentences by subject, in the order in which a reader asks.

    Args:
        model: that the report shows.
        metrics: tidy, of one screen: of fits, baselines, differences and refits.
        ceilings: of `scoring.rescale_predictions`, with the split in front; may be empty.
        n_shot: tidy, with the rows of `scoring.particle_convergence` and of `scoring.n_shot_differences`; may be
            empty.
        splits: name to content of the split file.
        batch_warnings: of `screens.quality.batch_warnings`.
        folds: splits that are scored together, as `cross_fit`.
    """
    # the folds of a cross-fit are scored together: their own numbers would say the same less surely
    metrics = metrics[~metrics["split"].isin(folds)]
    ceilings = ceilings[~ceilings["split"].isin(folds)]
    own = metrics[metrics["model"] == model]
    card = {
        "does it beat the mean?": _beats(model, own, metrics),
        "combinations, none of their cells seen": _zero_shot(model, own, metrics),
        "and from a few cells?": " ".join(
            filter(None, (_few_cells(model, n_shot), _too_small(model, n_shot, splits)))
        ),
        "likelihood": _likelihood(model, own),
        "particles": _particles(model, n_shot),
        "what could be seen at all": _ceilings(model, ceilings),
        "permuted labels": _permuted(model, own),
        "control guides": _guides(own),
        "leakage": _leakage(splits),
        "batches": " ".join(batch_warnings)
        or "No sign that perturbations and batches are confounded.",
        "seeds": _seeds(own),
    }
    return {subject: text for subject, text in card.items() if text}


def _beats(model: str, own: pd.DataFrame, metrics: pd.DataFrame) -> str:
    sentences = _compared(_BETTER, f"the effects that {model} predicts", model, own, metrics)
    return sentences or (
        f"Not asked: no split holds out perturbations that {model} predicts, or there is no control."
    )


def _zero_shot(model: str, own: pd.DataFrame, metrics: pd.DataFrame) -> str:
    what = f"of combinations whose genes were all trained the effects that {model} predicts from none of their cells"
    return _compared(_UNSEEN, what, model, own, metrics)


def _compared(metric: str, what: str, model: str, own: pd.DataFrame, metrics: pd.DataFrame) -> str:
    """A sentence a split: the model's correlation beside that of the best simple predictor."""
    rows = own[own["metric"] == f"{metric}_minus_{BEST_BASELINE}"]
    whole = metrics[(metrics["metric"] == metric) & (metrics["subset"] == QUERY)]
    return " ".join(_beside(what, model, row, whole) for row in rows.to_dict("records"))


def _beside(what: str, model: str, row: Mapping[Any, Any], scores: pd.DataFrame) -> str:
    split, baseline = row["split"], str(row["subset"]).rpartition(", ")[2]
    r = scores[scores["split"] == split].groupby("model")["value"].mean()
    verdict = _verdict(row["value"], row["lower"], row["upper"], higher=True)
    return (
        f"Split {split!r}: {what} correlate with those observed with r = "
        f"{r.get(model, np.nan):.2f}, those of the best simple predictor, {baseline}, with {r.get(baseline, np.nan):.2f}; "
        f"difference {_interval(row)}: {verdict}."
    )


def _few_cells(model: str, n_shot: pd.DataFrame) -> str:
    if n_shot.empty:
        return ""
    sentences = []
    for metric, (words, higher, decimals) in _FEW_CELLS.items():
        chosen = (n_shot["model"] == model) & (
            n_shot["metric"] == f"{metric}_minus_{BEST_BASELINE}"
        )
        for split, rows in n_shot[chosen].groupby("split", sort=False):
            steps = []
            for row in rows.to_dict("records"):
                size, baseline = str(row["subset"]).removeprefix("n_shot_").split(", ", 1)
                verdict = _verdict(row["value"], row["lower"], row["upper"], higher=higher)
                steps.append(f"{size} cells {_interval(row, decimals)} ({baseline}): {verdict}")
            sentences.append(
                f"Split {split!r}: {words}, {model} adapted to a few cells of each perturbation less the best simple "
                f"predictor from the same cells: {'; '.join(steps)}."
            )
    return " ".join(sentences)


def _too_small(model: str, n_shot: pd.DataFrame, splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The held-out perturbations that have no support of some size, or too few cells to score."""
    own = n_shot[n_shot["model"] == model] if len(n_shot) else n_shot
    found = own["subset"].astype(str).str.extract(_OF_PERTURBATION) if len(own) else own
    if found.empty:
        return ""
    found = found.assign(split=own["split"]).dropna(subset=["size"])
    held_out = {
        name
        for split in found["split"].unique()
        for name in splits.get(split, {}).get("held_out", ())
    }
    lacking: dict[str, list[str]] = {}
    for size in sorted(found["size"].astype(int).unique()):
        names = held_out - set(found.loc[found["size"] == str(size), "perturbation"])
        if names:
            lacking.setdefault(", ".join(sorted(names)), []).append(str(size))
    steps = [f"with {' and '.join(sizes)} cells {names}" for names, sizes in lacking.items()]
    return f"Left out for want of cells: {'; '.join(steps)}." if steps else ""


def _verdict(value: float, lower: float, upper: float, *, higher: bool) -> str:
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return "too few perturbations to say"
    better = value > 0 if higher else value < 0
    if lower <= 0 <= upper:
        return "not distinguishable from it" if value else "the same"
    return "better, beyond noise" if better else "worse, beyond noise"


def _likelihood(model: str, own: pd.DataFrame) -> str:
    sentences = []
    for name in (VAE, BEST_BASELINE):
        rows = own[own["metric"].str.startswith(f"inll_minus_{name}_k")]
        for row in rows.to_dict("records"):
            reference = str(row["subset"]).rpartition(", ")[2]
            verdict = _verdict(row["value"], row["lower"], row["upper"], higher=False)
            sentences.append(
                f"Split {row['split']!r}: I-NLL of {model} less that of {reference}: {_interval(row)} nats a "
                f"cell: {verdict}."
            )
    for split, of_split in own[own["subset"] == QUERY].groupby("split", sort=False):
        size = of_split.groupby("metric")["value"].first()
        if {"query_cells", "query_perturbations"} <= set(size.index):
            sentences.append(
                f"Split {split!r}: over {size['query_cells']:,.0f} query cells of "
                f"{size['query_perturbations']:.0f} perturbations, each perturbation counting the same."
            )
    return " ".join(sentences)


def _particles(model: str, n_shot: pd.DataFrame) -> str:
    own = n_shot[n_shot["model"] == model] if len(n_shot) else n_shot
    excess = (
        own[own["metric"].astype(str).str.startswith("excess_inll_macro_k")] if len(own) else own
    )
    if excess.empty:
        return ""
    k = excess["metric"].str.extract(r"_k(\d+)", expand=False).astype(int)
    means = excess["value"].astype(float).groupby(k).mean()
    steps = ", ".join(f"{value:.2f} nats at k = {n:,}" for n, value in means.items())
    return f"The bound still falls with more particles; above that of the most particles: {steps}."


def _ceilings(model: str, ceilings: pd.DataFrame) -> str:
    own = ceilings[ceilings["model"] == model] if len(ceilings) else ceilings
    if own.empty:
        return ""
    sentences = []
    for split, rows in own.groupby("split", sort=False):
        hidden = rows.loc[~rows["resolvable"].astype(bool), "metric"].tolist()
        seen = [
            f"{row['metric']} {row['rescaled']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
            for row in rows[rows["resolvable"].astype(bool)].to_dict("records")
        ]
        text = f"Split {split!r}: as a share of the way from the mean effect (0) to the support mean (1): "
        text += f"{', '.join(seen)}." if seen else "nothing."
        if hidden:
            text += f" Not resolvable with these cells: {', '.join(hidden)}."
        sentences.append(text)
    return " ".join(sentences)


def _permuted(model: str, own: pd.DataFrame) -> str:
    nulls = own.loc[own["metric"] == "null_edges", "value"]
    if nulls.empty:
        return "Not asked: no refit to permuted labels (refits.permutations is 0)."
    implanted = own.loc[own["metric"] == "implanted_edges", "value"]
    p = float(own.loc[own["metric"] == "null_edges_p", "value"].iloc[0])
    true = own.loc[own["metric"] == "true_edges", "value"]
    found = int((implanted > 0).sum())
    low, high = int(nulls.min()), int(nulls.max())
    text = (
        f"{model} finds {int(true.iloc[0])} edges, and {low if low == high else f'{low} to {high}'} where labels are permuted "
        f"within batches; p = {p:.2g} of {len(nulls)} permutation{'s' if len(nulls) > 1 else ''}."
    )
    if found:
        text += f" An effect implanted there was found in {found} of {len(implanted)}."
        few = " So most edges of that size are missed: one that is missing says little."
        return text + (few if 2 * found < len(implanted) else "")
    return (
        f"{text} But an effect implanted there was not found: an empty graph says nothing here, the "
        "model may find nothing anywhere."
    )


def _guides(own: pd.DataFrame) -> str:
    rows = own[own["metric"] == "control_guide_edges"]
    if rows.empty:
        return "No power: the screen names no guides, or too few control guides have enough cells."
    row = rows.iloc[0]
    return f"{int(row['value'])} edges of {row['subset']} of the control that were taken for perturbations."


def _leakage(splits: Mapping[str, Mapping[str, Any]]) -> str:
    faults = []
    for name, split in splits.items():
        shared = set(split["support"]) & set(split["query"])
        halves = set(split["control_a"]) & set(split["control_b"])
        if shared or halves:
            faults.append(
                f"{name}: {len(shared)} cells adapted to and scored, {len(halves)} in both control halves"
            )
    if faults:
        return f"Cells are used twice: {'; '.join(faults)}."
    return (
        "No cell is adapted to and scored, no control cell is on both sides; genes were chosen on training cells. "
        "Query cells share batches with training cells."
    )


def _seeds(own: pd.DataFrame) -> str:
    n = int(own["seed"].nunique())
    few = f"exploratory: a claim needs {CLAIM} or more" if n < CLAIM else "enough for a claim"
    return f"{n} seed{'s' if n != 1 else ''} a fit ({few}). Intervals are over perturbations and cells within a seed."


def _interval(row: Mapping[Any, Any], decimals: int = 2) -> str:
    value, lower, upper = (f"{row[name]:+.{decimals}f}" for name in ("value", "lower", "upper"))
    return f"{value} ({lower} to {upper})" if np.isfinite(row["lower"]) else value
