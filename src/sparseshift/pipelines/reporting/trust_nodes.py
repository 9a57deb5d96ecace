"""Nodes that say how far to trust the reported model: its refits, its stable graph, its honesty card."""

from typing import Any

import pandas as pd

from sparseshift.pipelines.parameters import (
    EvaluationParameters,
    ReportParameters,
    ScreenParameters,
)


def score_refits(
    effects: pd.DataFrame,
    *refits: pd.DataFrame,
    key: dict[str, Any],
    permutations: int,
) -> pd.DataFrame:
    """Edges of the reported fit beside those of refits to labels that say nothing.

    `refits` are those to permuted labels, then that to control guides, if there is one.
    """
    from sparseshift import scoring

    guides = refits[permutations] if len(refits) > permutations else None
    return scoring.score_null_refits(effects, refits[:permutations], guides, scoring.RunKey(**key))


def find_stable_graph(
    *tables: pd.DataFrame, n_fits: int, reference: bool
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Edges that come back in refits, agreement of their latents, and the stable edges as GraphML.

    Args:
        tables: effects of the fits, then their latents.
        n_fits: how many.
        reference: whether the first fit only names the latents: the others are of half of the cells.
    """
    from sparseshift.evaluation.graph_export import graphml
    from sparseshift.evaluation.stable_graph import stable_graph
    from sparseshift.scoring import refit_of

    pairs = zip(tables[:n_fits], tables[n_fits:], strict=True)
    refits = [refit_of(effects, latents) for effects, latents in pairs]
    named = refits.pop(0) if reference else 0
    graph = stable_graph(refits, named)
    edges = graph.to_frame()
    drawn = edges[edges["stable"]].drop(columns="stable")
    return edges, graph.latents, graphml(drawn, graph.latents)


def keep_graph(effects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The graph of the only fit there is, in the form of a stable one; nothing says how stable it is."""
    from sparseshift.evaluation.graph_export import graphml

    is_edge = effects["inclusion_probability"] > 0.5
    edges = effects.rename(columns={"inclusion_probability": "inclusion"}).assign(
        n_refits=1,
        frequency=is_edge.astype(float),
        effect_sd=float("nan"),
        sign_agreement=1.0,
        stable=is_edge,
    )
    n_edges = edges[is_edge]["latent"].value_counts()
    names = pd.unique(edges["latent"])
    latents = pd.DataFrame(
        {
            "latent": names,
            "agreement": float("nan"),
            "found": 1,
            "n_refits": 1,
            "n_edges": [int(n_edges.get(name, 0)) for name in names],
        }
    )
    return edges, latents, graphml(edges[is_edge].drop(columns="stable"), latents)


def compare_n_shot(
    n_shot: pd.DataFrame, evaluation: EvaluationParameters, *, screen: str, folds: list[str]
) -> pd.DataFrame:
    """Effects predicted after a few cells, models less the best predictor from the same cells."""
    from sparseshift import scoring

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    return scoring.n_shot_differences(n_shot, folds, screen, settings)


def find_interactions(
    latents: pd.DataFrame, screen: Any, parameters: ScreenParameters
) -> pd.DataFrame:
    """What combinations of two do beyond the sum of their parts, latent by latent."""
    from sparseshift.evaluation.interaction import interactions
    from sparseshift.screens.cells import read_perturbations
    from sparseshift.screens.columns import Columns

    columns = Columns(**parameters.columns.model_dump())
    labels = pd.Series(read_perturbations(screen, columns), index=screen.obs_names)
    return interactions(
        latents.to_numpy(),
        labels.loc[latents.index].to_numpy(),
        columns.control,
        names=list(latents.columns),
    )


def draw_stable_graph(edges: pd.DataFrame, latents: pd.DataFrame) -> Any:
    """Perturbations x latents, by how often an edge comes back."""
    from sparseshift.plots.stable_graph import stable_graph

    return stable_graph(edges, latents)


def draw_interactions(interactions: pd.DataFrame) -> Any:
    """Combinations x latents: what is not the sum of the parts."""
    from sparseshift.plots.interaction import interaction

    return interaction(interactions)


def write_honesty_card(
    metrics: pd.DataFrame,
    balance: pd.DataFrame,
    n_shot: pd.DataFrame,
    few_cells: pd.DataFrame,
    report: ReportParameters,
    *tables: Any,
    n_ceilings: int,
    splits: list[str],
    folds: list[str],
) -> dict[str, str]:
    """What a reader should know before believing the rest.

    `tables` are the ceilings of each split, then the content of each split file.
    """
    from sparseshift.honesty import honesty_card
    from sparseshift.screens.quality.batch_warnings import batch_warnings

    filled = [table for table in tables[:n_ceilings] if len(table)]
    ceilings = pd.concat(filled, ignore_index=True) if filled else tables[0]
    content = dict(zip(splits, tables[n_ceilings:], strict=True))
    return honesty_card(
        report.model,
        metrics,
        ceilings,
        pd.concat([n_shot, few_cells], ignore_index=True) if len(few_cells) else n_shot,
        content,
        batch_warnings(balance),
        folds,
    )
