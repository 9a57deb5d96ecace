"""The report of a simulation study as one page: a section a condition, published numbers beside ours."""

from collections.abc import Hashable, Mapping
from importlib.metadata import version
from platform import python_version
from typing import Any

import numpy as np
import pandas as pd

from sparseshift._version import __version__
from sparseshift.plots.metric_names import metric_name, ordered_metrics
from sparseshift.plots.numbers import NOT_AVAILABLE, decimals_for, with_interval
from sparseshift.plots.page import FigureBlock, ScreenSection, TableBlock, render_page
from sparseshift.plots.style import ordered_models

CAPTIONS = {
    "recovery": (
        "Matched latents (MCC) and edges (F1) by model: a point a data seed, model seeds averaged; the "
        "upright mark is their mean."
    ),
    "graph": "True and recovered edges of the first fit of the drawn model, latents matched on |r|.",
    "stability": (
        "Agreement of fits that differ in their seed (UDR, which needs no truth) against recovery; a point "
        "a fit."
    ),
    "cost": "CPU seconds of training against recovery; a point a fit.",
}
NOTES = [
    "Latents and edges are scored on trained perturbations and their cells, matched on |r|; a latent without a "
    "match counts 0, surplus edges are false. Unseen: cells of trained perturbations that no fit saw.",
    "Metrics in whose name is 'as published' match latents by signed r and score held-out perturbations, too, "
    "as the published code does; the published columns are of that code, and of twice the cells.",
    "Values are means over data seeds, model seeds averaged first; in brackets Student's 95 % interval over "
    "data seeds, ± is their standard deviation.",
]
_SHOWN = (
    "mcc_pearson",
    "mcc_spearman",
    "r2",
    "r_con",
    "graph_precision",
    "graph_recall",
    "graph_f1",
    "graph_auprc",
    "paper_graph_precision",
    "paper_graph_recall",
    "paper_graph_f1",
    "inll_macro",
    "edge_stability",
    "udr",
    "cpu_seconds",
)


def write_study_page(
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    figures: dict[str, bytes],
    conditions: list[str],
    choice: pd.DataFrame | None = None,
) -> str:
    """One self-contained HTML page.

    Args:
        metrics: of all fits, tidy.
        summary: of `scoring.beside_published`.
        figures: PNG bytes; "recovery.CONDITION", "graph.CONDITION", "stability", "cost".
        conditions: in the order shown.
        choice: of `scoring.choose`, if models were to be chosen.
    """
    seeds = metrics["data_seed"].nunique(), metrics["seed"].dropna().nunique()
    fits = metrics.dropna(subset=["seed"])[["condition", "data_seed", "model", "seed"]]
    run = {
        "conditions": ", ".join(conditions),
        "models": ", ".join(ordered_models(metrics["model"])),
        "fits": f"{len(fits.drop_duplicates()):,} ({seeds[0]} data seeds, {seeds[1]} model seeds)",
        "versions": f"sparseshift {__version__}, Python {python_version()}, torch {version('torch')}",
    }
    sections = [_overview(summary, figures, conditions)]
    if choice is not None and len(choice):
        sections[0].tables.append(_chosen(choice))
    sections += [_section(summary, figures, condition) for condition in conditions]
    return render_page("sparseshift: simulation study", _answers(summary, seeds[0]), run, sections)


def _answers(summary: pd.DataFrame, n_data: int) -> list[str]:
    many = "" if n_data >= 5 else " (exploratory: claims need 5 or more)"
    answers = [f"{n_data} data seed{'s' if n_data > 1 else ''} a condition{many}."]
    for metric, words in (("mcc_pearson", "latents"), ("graph_f1", "edges")):
        rows = summary[(summary["metric"] == metric) & (summary["subset"] == "trained")]
        for condition, of in rows.groupby("condition", sort=False):
            best = of.loc[of["value"].idxmax()]
            if best["value"] > 0.0:
                answers.append(
                    f"{condition}: {words} are recovered best by {best['model']} "
                    f"({metric_name(metric).unit} {best['value']:.3f})."
                )
            else:
                answers.append(f"{condition}: no {words} are recovered by any model.")
    return answers


def _overview(
    summary: pd.DataFrame, figures: dict[str, bytes], conditions: list[str]
) -> ScreenSection:
    trained = summary[summary["subset"] == "trained"]
    rows = []
    for (condition, model), own in trained.groupby(["condition", "model"], sort=False):
        found = {str(of["metric"]): of for of in own.to_dict("records")}
        row = {"condition": condition, "model": model}
        for metric in ("mcc_pearson", "graph_f1"):
            name = metric_name(metric)
            has = metric in found
            row[name.heading] = _with_sd(found[metric]) if has else NOT_AVAILABLE
            row[f"{name.words}, least"] = f"{found[metric]['least']:.3f}" if has else NOT_AVAILABLE
        rows.append(row)
    table = pd.DataFrame(rows)
    place = {name: i for i, name in enumerate(conditions)}
    table = table.sort_values("condition", key=lambda c: c.map(place), kind="stable")
    return ScreenSection(
        name="all conditions",
        facts={},
        figures=_blocks(figures, {"stability": "stability", "cost": "cost"}),
        tables=[
            TableBlock(
                table.reset_index(drop=True),
                "Recovery in every condition: mean ± standard deviation over data seeds, least of all fits.",
            )
        ],
        notes=NOTES,
    )


def _chosen(choice: pd.DataFrame) -> TableBlock:
    rows = [
        {
            "condition": condition,
            "chosen by": metric_name(str(criterion)).words,
            "chosen (screens)": ", ".join(
                f"{name} ({n})" for name, n in own["chosen"].value_counts().items()
            ),
        }
        | {
            f"{metric_name(truth).unit}, short of the best (mean)": (
                f"{own[truth].mean():.3f}, {own[f'{truth}_shortfall'].mean():.3f}"
            )
            for truth in ("mcc_pearson", "graph_f1")
            if truth in own
        }
        for (condition, criterion), own in choice.groupby(["condition", "criterion"], sort=False)
    ]
    return TableBlock(
        pd.DataFrame(rows),
        "Chosen without the truth: what the chosen model recovers, and how far that is from the best there was.",
    )


def _section(summary: pd.DataFrame, figures: dict[str, bytes], condition: str) -> ScreenSection:
    own = summary[(summary["condition"] == condition) & summary["metric"].str.startswith(_SHOWN)]
    own = own[own["metric"] != "latent_correlation"]
    tables = [
        TableBlock(_wide(own), "Means over data seeds with Student's 95 % interval."),
    ]
    published = own[own["published"].notna()]
    if len(published):
        tables.append(TableBlock(_published(published), "Beside Table 1 of Lopez et al. (2023)."))
    names = {kind: f"{kind}.{condition}" for kind in ("recovery", "graph")}
    return ScreenSection(condition, {}, _blocks(figures, names), tables, [])


def _wide(own: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, dict[str, str]] = {}
    for metric in ordered_metrics(own["metric"]):
        for subset, rows in own[own["metric"] == metric].groupby("subset", sort=False):
            heading = metric_name(metric).words + ("" if subset != "unseen_cells" else ", unseen")
            decimals = decimals_for(rows["value"], rows["upper"] - rows["lower"])
            columns[f"{heading} ({metric_name(metric).unit})"] = {
                row["model"]: with_interval(row["value"], row["lower"], row["upper"], decimals)
                for row in rows.to_dict("records")
            }
    # metrics in rows: there are more of them than models, and pages are narrow
    table = pd.DataFrame(columns).T.fillna(NOT_AVAILABLE)
    return table[ordered_models(table.columns)].rename_axis("metric").reset_index()


def _published(own: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "metric": metric_name(row["metric"]).words + f" ({metric_name(row['metric']).unit})",
            "model": row["model"],
            "ours": _with_sd(row),
            "published": f"{row['published']:.2f}"
            + (f" ± {row['published_sd']:.2f}" if np.isfinite(row["published_sd"]) else ""),
        }
        for row in own.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _with_sd(row: Mapping[Hashable, Any]) -> str:
    sd = f" ± {row['sd']:.3f}" if np.isfinite(row["sd"]) else ""
    return f"{row['value']:.3f}{sd}"


def _blocks(figures: dict[str, bytes], names: dict[str, str]) -> list[FigureBlock]:
    return [
        FigureBlock(figures[name], CAPTIONS[kind], f"{name}: {CAPTIONS[kind]}")
        for kind, name in names.items()
        if name in figures
    ]
