"""Nodes of reporting: each calls one function of the library."""

from typing import Any, NamedTuple

import pandas as pd

from sparseshift.pipelines.parameters import ReportParameters, ScreenParameters


class Contents(NamedTuple):
    """What there is to say about one screen: names of its figures and splits."""

    screen: str
    figures: list[str]
    splits: list[str]


def collect(*frames: pd.DataFrame) -> pd.DataFrame:
    """Tidy tables one below the other."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled or list(frames), ignore_index=True)


def collect_by_fit(*tables: pd.DataFrame, keys: list[dict[str, Any]]) -> pd.DataFrame:
    """Tables of fits one below the other, with screen, split, model and seed in front."""
    named = [
        pd.concat([pd.DataFrame(key, index=table.index), table], axis=1)
        for table, key in zip(tables, keys, strict=True)
    ]
    return collect(*named)


def rank_genes(
    model: Any,
    screen: Any,
    split: dict[str, Any],
    parameters: ScreenParameters,
    report: ReportParameters,
) -> pd.DataFrame:
    """The genes that each latent moves most, by their symbols, from where the training cells are."""
    from sparseshift.data.splits import Split
    from sparseshift.screens.cells import training_screen
    from sparseshift.screens.columns import Columns, gene_symbols

    cells = training_screen(screen, model.spec.columns, Split.from_json(split), model.spec.genes)
    top = model.top_genes(cells, report.genes_per_latent)
    columns = Columns(**parameters.columns.model_dump())
    symbol = pd.Series(gene_symbols(screen.var, columns), index=screen.var_names)
    return top.assign(gene=symbol.loc[top["gene"]].to_numpy())


def embed_in_plane(
    latents: pd.DataFrame,
    screen: Any,
    effects: pd.DataFrame,
    parameters: ScreenParameters,
    report: ReportParameters,
) -> pd.DataFrame:
    """Two coordinates of some cells, and which perturbations to highlight."""
    from sparseshift.screens.embedding import strongest, umap

    plane = umap(latents, n_cells=report.embedding_cells, seed=report.seed)
    labels = screen.obs[parameters.columns.perturbation].astype(str)
    shown = strongest(effects)
    plane["perturbation"] = labels.loc[plane.index]
    plane["highlight"] = plane["perturbation"].where(plane["perturbation"].isin(shown), "")
    return plane


def compare_mechanism(
    screen: Any,
    genes: pd.DataFrame,
    parameters: ScreenParameters,
    *models: Any,
    keys: list[dict[str, Any]],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Whether the perturbations that should share latents do, in each fit and in the raw effects."""
    from sparseshift import scoring
    from sparseshift.screens.columns import Columns

    columns = Columns(**parameters.columns.model_dump())
    shifts = {
        scoring.RunKey(**key): model.inclusion_probability() * model.effects()
        for key, model in zip(keys, models, strict=True)
    }
    raw = scoring.RunKey(keys[0]["screen"], scoring.RAW_EFFECTS, keys[0]["split"], None)
    chosen = tuple(genes.index[genes["chosen"]].tolist())
    shifts[raw] = scoring.raw_effects(screen, columns, chosen)
    return scoring.compare_mechanism(shifts, parameters.shared_mechanism)


def draw_training(history: pd.DataFrame) -> Any:
    """Validation ELBO and edges during training."""
    from sparseshift.plots.training_curves import training_curves

    return training_curves(history)


def draw_metrics(metrics: pd.DataFrame) -> Any:
    """Every metric by model, with intervals."""
    from sparseshift.plots.metric_comparison import metric_comparison
    from sparseshift.scoring import headline

    return metric_comparison(headline(metrics))


def draw_effects(effects: pd.DataFrame) -> Any:
    """Perturbations x latents, with inclusion probabilities."""
    from sparseshift.plots.effect_matrix import effect_matrix

    wide = {"index": "perturbation", "columns": "latent"}
    return effect_matrix(
        effects.pivot(values="effect", **wide),
        effects.pivot(values="inclusion_probability", **wide),
    )


def draw_embedding(embedding: pd.DataFrame) -> Any:
    """Cells in the plane."""
    from sparseshift.plots.latent_embedding import latent_embedding

    return latent_embedding(embedding.fillna({"highlight": ""}))


def draw_genes(genes: pd.DataFrame) -> Any:
    """The genes that each latent moves most."""
    from sparseshift.plots.latent_genes import latent_genes

    return latent_genes(genes)


def draw_mechanism(mechanism: dict[str, Any]) -> Any:
    """One set of perturbations against all sets of as many."""
    from sparseshift.plots.quadruples import quadruples

    return quadruples(mechanism)


def draw_n_shot(n_shot: pd.DataFrame) -> Any:
    """Likelihood after adapting to a few cells."""
    from sparseshift.plots.n_shot import n_shot_curve

    return n_shot_curve(n_shot)


def draw_cells(quality: pd.DataFrame) -> Any:
    """Cells of each perturbation."""
    from sparseshift.plots.cells_per_perturbation import cells_per_perturbation

    return cells_per_perturbation(quality)


def draw_counts(quality: pd.DataFrame) -> Any:
    """Counts of a cell, by perturbation."""
    from sparseshift.plots.counts_per_cell import counts_per_cell

    return counts_per_cell(quality)


def draw_targets(change: pd.DataFrame) -> Any:
    """What became of the target of each perturbation."""
    from sparseshift.plots.target_knockdown import target_knockdown

    return target_knockdown(change)


def draw_batches(balance: pd.DataFrame) -> Any:
    """Perturbations x batches."""
    from sparseshift.plots.batch_balance import batch_balance

    return batch_balance(balance)


def write_section(
    metrics: pd.DataFrame,
    facts: dict[str, Any],
    filters: pd.DataFrame,
    edges: pd.DataFrame,
    interactions: pd.DataFrame,
    honesty: dict[str, str],
    *parts: Any,
    contents: Contents,
) -> dict[str, Any]:
    """What the report says about one screen, as plain data. `parts` are its figures, splits, and their ceilings."""
    from sparseshift import report as page

    screen, figures, splits = contents
    n_figures, n_splits = len(figures), len(splits)
    shown = dict(zip(figures, parts, strict=False))
    if interactions.empty:
        del shown["interaction"]
    ceilings = pd.concat([t for t in parts[n_figures + n_splits :] if len(t)] or [edges[:0]])
    return page.write_section(
        screen,
        {"comparison": metrics, "filters": filters, "edges": edges, "ceilings": ceilings},
        facts,
        dict(zip(splits, parts[n_figures : n_figures + n_splits], strict=True)),
        shown,
        honesty,
    )


def write_page(metrics: pd.DataFrame, report: ReportParameters, *sections: dict[str, Any]) -> str:
    """One self-contained HTML page."""
    from sparseshift.report import write_page as write

    return write(metrics, list(sections), report.model, report.split)
