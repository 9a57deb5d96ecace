"""The report: tables and figures of all screens put together as one page."""

from importlib.metadata import version
from platform import python_version
from typing import Any

import pandas as pd

from sparseshift._version import __version__
from sparseshift.evaluation.ceiling import NOT_RESOLVABLE
from sparseshift.plots.page import FigureBlock, ScreenSection, TableBlock, render_page
from sparseshift.plots.summary import comparison_table
from sparseshift.scoring import METRICS, QUERY, UNTRAINED, ZERO_SHOT, is_by_kind, is_headline
from sparseshift.scoring.differences import BEST_BASELINE

# these have sentences, figures or tables of their own
_ELSEWHERE = (
    "shared_mechanism_",
    "latent_correlation",
    "true_edges",
    "null_edges",
    "implanted_edges",
    "control_guide_edges",
    "inll_seed_sd",
    "query_cells",
    "query_perturbations",
)
CAPTIONS = {
    "metric_comparison": "Scores by model: a point a seed with its 95 % bootstrap interval.",
    "training_curves": (
        "Validation negative ELBO and number of edges during training; a dot marks the weights "
        "that were kept. Where the next phase begins, what is trained changes: after a plain VAE, the "
        "model itself; after a model of the published code, the same with its graph fixed."
    ),
    "stable_graph": (
        "Edges that come back when the model is fitted again: on halves of the cells where they were asked for, "
        "else from other seeds. Latents have the names of the drawn fit or of the fit that agrees best with the others."
    ),
    "effect_matrix": (
        "One fit: shift of each latent by each perturbation, inclusion probability times effect, in standard "
        "deviations of z within a perturbation. Marked: inclusion probability above 1/2, whether it comes back or not."
    ),
    "latent_embedding": "UMAP of the cells' latents; the perturbations that move them most in colour.",
    "latent_genes": (
        "The genes each latent moves most: change of the decoder's log2 proportions for one unit of z."
    ),
    "interaction": (
        "What combinations do beyond the sum of their parts, latent by latent, in standard deviations of z."
    ),
    "n_shot_curve": (
        "I-NLL of held-out perturbations after adapting to so many of their cells (mean over draws; seeds averaged); nb_: genes "
        "independent, exact likelihood. Lower is better. Below, effects predicted after adapting to the same cells: Pearson r, of the whole effect and of what sets it apart from the mean effect; higher is better. "
        "Bars: standard deviation over draws of the support."
    ),
    "cells_per_perturbation": "Cells of each perturbation, after the filters.",
    "counts_per_cell": "Counts of a cell by perturbation: median, and 10 to 90 % of the cells.",
    "target_knockdown": "What became of the target: its expression in the perturbed cells against control cells.",
    "perturbations_by_batch": "Where the cells of a perturbation are: its share in each batch against the share of all cells.",
    "quadruples": (
        "Do the named perturbations share latents? Mean pairwise cosine of their shifts, against "
        "all sets of as many perturbations."
    ),
}


def write_section(
    screen: str,
    tables: dict[str, pd.DataFrame],
    facts: dict[str, Any],
    splits: dict[str, dict[str, Any]],
    figures: dict[str, bytes],
    honesty: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What the page says about one screen, as plain data.

    Args:
        screen: its name.
        tables: "comparison", tidy metrics; "filters" of `screens.filters.filter_screen`; "edges" of
            `evaluation.stable_graph`; "ceilings" of `scoring.rescale_predictions` with the split in front, of all splits.
        facts: of `screens.summary.summarise`.
        splits: name to content of the split file.
        figures: PNG bytes by name.
        honesty: of `honesty.honesty_card`.
    """
    shown = [
        FigureBlock(png=figures[kind], caption=caption, alt=f"{screen}: {caption}")
        for kind, caption in CAPTIONS.items()
        if kind in figures
    ]
    return ScreenSection(
        name=screen,
        facts=_facts(facts) | {f"split {name!r}": _held_out(s) for name, s in splits.items()},
        figures=shown,
        tables=[
            TableBlock(
                comparison_table(_of_fits(tables["comparison"])),
                "Every model and baseline: the mean over seeds; in brackets the mean of the seeds' "
                "95 % bootstrap bounds: over perturbations and cells within them, for effects over "
                "perturbations.",
            ),
            *_more_metrics(tables["comparison"]),
            *_ceilings(tables["ceilings"]),
            TableBlock(
                _edges(tables["edges"]),
                "The stable graph: edges that come back, the most frequent and the largest first. frequency: share of the "
                "refits that have the edge; effect in standard deviations of z.",
            ),
            TableBlock(tables["filters"], "What each filter left."),
        ],
        notes=_notes(tables["comparison"]),
        card=honesty or {},
    ).to_json()


def _of_fits(metrics: pd.DataFrame) -> pd.DataFrame:
    name = metrics["metric"]
    elsewhere = name.str.startswith(_ELSEWHERE) | name.str.contains("_minus_", regex=False)
    apart = elsewhere | name.isin(METRICS | ZERO_SHOT | UNTRAINED)
    return metrics[~is_by_kind(metrics) & (is_headline(name) | ~apart)]


def _more_metrics(metrics: pd.DataFrame) -> list[TableBlock]:
    """Tables of what is not a headline: other scores of predictions, and paired differences."""
    name = metrics["metric"]
    by_kind = is_by_kind(metrics)
    blocks = {
        "Predicted effects by kind of perturbation: what can be predicted of a combination depends on how many of its "
        "singles were trained.": by_kind,
        "Combinations predicted without any of their cells, from what was trained of their genes. Where a gene was never trained "
        "its part is taken for 0: nothing can be known of it, so these stand apart and say nothing of a model.": name.isin(
            ZERO_SHOT | UNTRAINED
        )
        & ~by_kind,
        "Predicted effects scored in other ways: the mean over seeds and perturbations.": name.isin(
            METRICS
        )
        & ~is_headline(name),
        "Differences between models on the same cells and perturbations, with the same resamples for all; "
        "below 0 is better for I-NLL and errors, above 0 for the others.": name.str.contains(
            "_minus_", regex=False
        ),
    }
    return [
        TableBlock(comparison_table(metrics[chosen]), caption)
        for caption, chosen in blocks.items()
        if chosen.any()
    ]


def _ceilings(ceilings: pd.DataFrame) -> list[TableBlock]:
    """Where the models lie between floor and ceiling, or that these cannot be told apart."""
    if ceilings.empty:
        return []
    shown = ceilings.assign(
        position=[
            f"{row['rescaled']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
            if row["resolvable"]
            else NOT_RESOLVABLE
            for row in ceilings.to_dict("records")
        ]
    )
    table = shown.pivot(index=["split", "metric"], columns="model", values="position")
    in_order = shown.drop_duplicates(["split", "metric"])[["split", "metric"]]
    table = table.loc[list(in_order.itertuples(index=False, name=None))][
        list(shown["model"].unique())
    ]
    return [
        TableBlock(
            table.rename_axis(columns=None).reset_index(),
            "Each score as a share of the way from the mean effect (0) to the support mean, the perturbation's own cells (1). "
            f"Where these two are less than two standard errors apart: {NOT_RESOLVABLE}.",
        )
    ]


def _edges(edges: pd.DataFrame, most: int = 50) -> pd.DataFrame:
    stable = edges[edges["stable"].astype(bool)]
    by_size = stable.assign(size=stable["effect"].abs()).sort_values(
        ["frequency", "size"], ascending=False, kind="stable"
    )
    columns = ["perturbation", "latent", "effect", "frequency", "sign_agreement"]
    return by_size[columns].head(most).reset_index(drop=True)


def write_page(
    metrics: pd.DataFrame, sections: list[dict[str, Any]], model: str, split: str
) -> str:
    """One self-contained HTML page.

    Args:
        metrics: the tidy table of all screens.
        sections: of `write_section`, one a screen.
        model: whose effects, embedding and genes are drawn.
        split: of the fit that is drawn.
    """
    seeds = sorted(metrics["seed"].dropna().unique().tolist())
    run = {
        "screens": ", ".join(section["name"] for section in sections),
        "models": ", ".join(metrics.loc[metrics["seed"].notna(), "model"].unique()),
        "seeds": ", ".join(map(str, seeds)),
        "drawn": f"effects, genes and embedding of {model}, split {split!r}, seed {seeds[0]}",
        "versions": f"sparseshift {__version__}, Python {python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "anndata", "scanpy", "kedro")),
    }
    confidence = "exploratory: claims need 5 or more" if len(seeds) < 5 else "intervals over seeds"
    summary = [
        f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''} a model ({confidence}).",
        *(
            sentence
            for section in sections
            for sentence in _answers(
                metrics[metrics["screen"] == section["name"]], section["name"]
            )
        ),
    ]
    blocks = [ScreenSection.from_json(section) for section in sections]
    return render_page("sparseshift report", summary, run, blocks)


def _answers(metrics: pd.DataFrame, screen: str) -> list[str]:
    answers = (_beats_the_mean, _recovers, _mechanism)
    return [text for answer in answers if (text := answer(metrics, screen))]


def _beats_the_mean(metrics: pd.DataFrame, screen: str) -> str | None:
    rows = metrics[(metrics["metric"] == "ate_pearson_r") & (metrics["subset"] == QUERY)]
    r = rows.groupby("model")["value"].mean()
    models = r[r.index.isin(rows.loc[rows["seed"].notna(), "model"])].dropna()
    baselines = r[~r.index.isin(models.index)].dropna()
    if models.empty or baselines.empty:
        return None
    best, simple = str(models.idxmax()), str(baselines.idxmax())
    return (
        f"{screen}: on held-out perturbations the best model by correlation of effects is {best} "
        f"(r = {models[best]:.2f}), the best simple predictor {simple} (r = {baselines[simple]:.2f}): "
        f"{_beyond_noise(metrics, best)}."
    )


def _beyond_noise(metrics: pd.DataFrame, model: str) -> str:
    rows = metrics[
        (metrics["metric"] == f"ate_pearson_r_minus_{BEST_BASELINE}") & (metrics["model"] == model)
    ]
    if rows.empty or rows[["lower", "upper"]].isna().any(axis=None):
        return "too few perturbations to tell them apart"
    if (rows["lower"] > 0).all():
        return "better, beyond noise"
    return "worse, beyond noise" if (rows["upper"] < 0).all() else "not distinguishable"


def _recovers(metrics: pd.DataFrame, screen: str) -> str | None:
    rows = metrics[metrics["metric"] == "mcc_pearson"]
    found = []
    for split, of_split in rows.groupby("split", sort=False):
        mcc = of_split.groupby("model")["value"].mean()
        if len(mcc) > 1:
            found.append(
                f"{mcc.idxmax()} (MCC {mcc.max():.2f}; split {split!r}, {len(mcc)} models)"
            )
    return (
        f"{screen}: the true latents are recovered best by {', '.join(found)}." if found else None
    )


def _mechanism(metrics: pd.DataFrame, screen: str) -> str | None:
    rows = metrics[metrics["metric"].str.startswith("shared_mechanism_")]
    if rows.empty:
        return None
    mean = rows.groupby(["model", "metric"], sort=False)["value"].mean().unstack()
    found = "; ".join(
        f"{model}: mean cosine {row['shared_mechanism_cosine']:.2f}, "
        f"{100 * row['shared_mechanism_quantile']:.3g} % of all sets are at least as alike"
        for model, row in mean.iterrows()
    )
    members = ", ".join(rows["subset"].iloc[0].split())
    return f"{screen}: do {members} share latents? {found} (means over seeds)."


def _facts(facts: dict[str, Any]) -> dict[str, str]:
    return {
        "cells": f"{facts['cells']:,}",
        "genes": f"{facts['genes']:,}",
        "perturbations": f"{facts['perturbations']} ({facts['combinations']} combinations)",
        "control": f"{facts['control']} ({facts['control_cells']:,} cells)",
        "batches": str(facts["batches"]),
        "cells a perturbation": _range(facts["cells_per_perturbation"]),
        "counts a cell": _range(facts["counts_per_cell"]),
        "targets measured": ", ".join(facts["targets_measured"]) or "none",
    }


def _held_out(split: dict[str, Any]) -> str:
    if not split["held_out"]:
        return "nothing held out"
    names, support, query = (
        ", ".join(split["held_out"]),
        len(split["support"]),
        len(split["query"]),
    )
    return f"{names} held out; {support:,} cells to adapt to, {query:,} to score"


def _notes(metrics: pd.DataFrame) -> list[str]:
    notes = [
        "Validation ELBOs are of unseen cells of trained perturbations; I-NLL and effects are of query "
        "cells of held-out perturbations, which no model or baseline saw.",
        "The support_mean baselines and the models saw the same support cells of the held-out "
        "perturbations; the other baselines saw none. vae adapts nothing; a model with additive "
        "shifts ignores support cells of combinations whose genes were all trained.",
    ]
    if (metrics["model"] == "additive").any():
        notes.append(
            "additive is the sum of the single effects where a combination's parts were all trained "
            "alone, and mean_effect elsewhere; ridge needs one part in any trained label, low_rank_linear "
            "the perturbed genes among the measured ones."
        )
    moving = metrics[(metrics["metric"] == "edges_converged") & (metrics["value"] == 0.0)]
    if len(moving):
        fits = moving[["model", "split", "seed"]].astype(str).agg(" ".join, axis=1)
        notes.append(
            f"The number of edges still moved at the end of training in {', '.join(fits)} (model, "
            "split, seed): give them more steps before reading their edges."
        )
    if (metrics["metric"] == "mcc_pearson").any():
        notes.append(
            "The screen is simulated, so that the true latents are known: matched latents, R² and "
            "edges are scored on the cells of the trained perturbations. Linear methods have no "
            "likelihood and no sparse edges."
        )
    return notes


def _range(values: dict[str, float]) -> str:
    return f"{values['median']:,.0f} (median; {values['min']:,.0f} to {values['max']:,.0f})"
