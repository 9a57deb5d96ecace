"""The report: tables and figures of all screens put together as one page."""

from importlib.metadata import version
from platform import python_version
from typing import Any

import pandas as pd

from sparseshift._version import __version__
from sparseshift.plots.page import FigureBlock, ScreenSection, TableBlock, render_page
from sparseshift.plots.summary import comparison_table

CAPTIONS = {
    "metric_comparison": "Scores by model: a point a seed with its 95 % bootstrap interval.",
    "training_curves": "Validation negative ELBO and number of edges during training.",
    "effect_matrix": (
        "Shift of each latent by each perturbation: inclusion probability times effect, in standard "
        "deviations of z within a perturbation. Marked: inclusion probability above 1/2."
    ),
    "latent_embedding": "UMAP of the cells' latents; the perturbations that move them most in colour.",
    "latent_genes": (
        "The genes each latent moves most: change of the decoder's log2 proportions for one unit of z."
    ),
    "quadruples": (
        "Do the named perturbations share latents? Mean pairwise cosine of their shifts, against "
        "all sets of as many perturbations."
    ),
}


def write_report(
    metrics: pd.DataFrame, screens: dict[str, dict[str, Any]], shown: dict[str, Any]
) -> str:
    """One self-contained HTML page.

    Args:
        metrics: the tidy table of all screens.
        screens: name to its parts: figures as PNG bytes by name, facts, filters, split.NAME,
            shared_mechanism where there is one.
        shown: the model, split and so on that figures are about.
    """
    seeds = sorted(metrics["seed"].dropna().unique().tolist())
    run = {
        "screens": ", ".join(screens),
        "models": ", ".join(metrics["model"].unique()),
        "seeds": ", ".join(map(str, seeds)),
        "effects, embedding and genes drawn of": f"{shown['model']} on the split {shown['split']!r}, seed {seeds[0]}",
        "versions": f"sparseshift {__version__}, Python {python_version()}, torch {version('torch')}, "
        f"anndata {version('anndata')}, scanpy {version('scanpy')}, kedro {version('kedro')}",
    }
    sections = [_section(name, metrics, parts) for name, parts in screens.items()]
    return render_page("sparseshift report", _summary(metrics, screens, seeds), run, sections)


def _summary(
    metrics: pd.DataFrame, screens: dict[str, dict[str, Any]], seeds: list[int]
) -> list[str]:
    lines = [
        f"{len(seeds)} seeds: exploratory." if len(seeds) < 5 else f"{len(seeds)} seeds.",
        *(_best_predictor(metrics[metrics["screen"] == name], name) for name in screens),
        *(
            _mechanism(name, parts["shared_mechanism"])
            for name, parts in screens.items()
            if "shared_mechanism" in parts
        ),
    ]
    return [line for line in lines if line]


def _best_predictor(metrics: pd.DataFrame, screen: str) -> str:
    rows = metrics[metrics["metric"] == "ate_pearson_r"]
    if rows.empty:
        return ""
    r = rows.groupby("model")["value"].mean()
    models = rows.loc[rows["seed"].notna(), "model"].unique()
    baselines = [name for name in r.index if name not in models]
    best, simple = r[list(models)].idxmax(), r[baselines].idxmax()
    verdict = "above" if r[best] > r[simple] else "not above"
    return (
        f"{screen}: on held-out perturbations the best model by effect correlation is {best} "
        f"(r = {r[best]:.2f}), {verdict} the best simple predictor, {simple} (r = {r[simple]:.2f})."
    )


def _mechanism(screen: str, mechanism: dict[str, Any]) -> str:
    found = "; ".join(
        f"{name}: cosine {entry['cosine']:.2f}, at least as alike are {entry['quantile']:.2%} of all sets"
        for name, entry in mechanism["models"].items()
    )
    return f"{screen}: do {', '.join(mechanism['genes'])} share latents? {found}."


def _section(name: str, metrics: pd.DataFrame, parts: dict[str, Any]) -> ScreenSection:
    facts = parts["facts"]
    per_perturbation, per_cell = facts["cells_per_perturbation"], facts["counts_per_cell"]
    described = {
        "cells": f"{facts['cells']:,}",
        "genes": f"{facts['genes']:,}",
        "perturbations": f"{facts['perturbations']} ({facts['combinations']} combinations)",
        "control": f"{facts['control']} ({facts['control_cells']:,} cells)",
        "batches": str(facts["batches"]),
        "cells a perturbation": _range(per_perturbation),
        "counts a cell": _range(per_cell),
        "targets measured": ", ".join(facts["targets_measured"]) or "none",
    }
    for key, split in parts.items():
        if key.startswith("split."):
            held_out = ", ".join(split["held_out"]) or "nothing"
            described[f"held out in {key.removeprefix('split.')!r}"] = (
                f"{held_out} ({len(split['support']):,} support, {len(split['query']):,} query cells)"
                if split["held_out"]
                else held_out
            )
    own = metrics[metrics["screen"] == name]
    return ScreenSection(
        name=name,
        facts=described,
        figures=[
            FigureBlock(png=parts[kind], caption=caption, alt=f"{name}: {caption}")
            for kind, caption in CAPTIONS.items()
            if kind in parts
        ],
        tables=[
            TableBlock(
                comparison_table(own),
                "Every model and baseline; the mean over seeds, in brackets the mean of the seeds' "
                "95 % bootstrap bounds over perturbations and cells.",
            ),
            TableBlock(parts["filters"], "What each filter left."),
        ],
        notes=[],
    )


def _range(values: dict[str, float]) -> str:
    return f"{values['median']:,.0f} (median; {values['min']:,.0f} to {values['max']:,.0f})"
