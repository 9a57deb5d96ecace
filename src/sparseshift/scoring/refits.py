"""What refits say: edges where there is nothing to find, and the edges that come back."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sparseshift.evaluation.intervals import Interval
from sparseshift.evaluation.stable_graph import Refit
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.null_screen import IMPLANTED


def score_null_refits(
    effects: pd.DataFrame,
    permuted: Sequence[pd.DataFrame],
    control_guides: pd.DataFrame | None,
    key: RunKey,
) -> pd.DataFrame:
    """Edges of the fit beside those of refits to labels that say nothing, as tidy rows.

    true_edges: of the fit itself. null_edges: edges of a refit to permuted labels, without those of the implanted effect, of which
    implanted_edges are. null_edges_p: (1 + b) / (1 + B), b of B refits having at least as many
    edges as the fit itself. control_guide_edges: edges of control guides taken for perturbations; no
    row where there are too few of them.

    Args:
        effects: of the fit, long: perturbation, latent, inclusion_probability, effect.
        permuted: the same of each refit to permuted labels.
        control_guides: the same of the control guides; None or empty where there was no such refit.
        key: of the fit.
    """
    found = n_edges(effects)
    rows = [("true_edges", "all labels", float(found))]
    nulls = []
    for number, table in enumerate(permuted):
        implanted = table["perturbation"] == IMPLANTED
        nulls.append(n_edges(table[~implanted]))
        where = f"permutation {number}"
        rows += [
            ("null_edges", where, float(nulls[-1])),
            ("implanted_edges", where, float(n_edges(table[implanted]))),
        ]
    if nulls:
        b = sum(null >= found for null in nulls)
        rows.append(("null_edges_p", f"{len(nulls)} permutations", (1 + b) / (1 + len(nulls))))
    if control_guides is not None and len(control_guides):
        guides = control_guides["perturbation"].nunique()
        rows.append(("control_guide_edges", f"{guides} guides", float(n_edges(control_guides))))
    return key.rows([(name, where, Interval(v, np.nan, np.nan)) for name, where, v in rows])


def n_edges(effects: pd.DataFrame) -> int:
    """Edges of a long table of effects: inclusion probabilities above 1/2."""
    return int((effects["inclusion_probability"] > 0.5).sum())


def refit_of(effects: pd.DataFrame, latents: pd.DataFrame) -> Refit:
    """One fit as `evaluation.stable_graph` takes it.

    Args:
        effects: long: perturbation, latent, inclusion_probability, effect.
        latents: posterior means, (cells, latents).
    """
    wide = {"index": "perturbation", "columns": "latent"}
    names = list(latents.columns)
    inclusion = effects.pivot(values="inclusion_probability", **wide)[names]
    return Refit(latents.to_numpy(), inclusion, effects.pivot(values="effect", **wide)[names])
