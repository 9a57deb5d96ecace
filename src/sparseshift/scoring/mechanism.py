"""Whether perturbations share latents, in each fit and in the raw mean effects."""

from typing import Any

import numpy as np
import pandas as pd

from sparseshift.errors import ScreenError
from sparseshift.evaluation.intervals import Interval
from sparseshift.evaluation.shared_mechanism import shared_mechanism
from sparseshift.scoring.tidy import RunKey

RAW_EFFECTS = "raw_effects"


def compare_mechanism(
    shifts: dict[RunKey, pd.DataFrame], members: list[str], n_bins: int = 40
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Whether some perturbations share latents, for each fit and for the raw mean effects.

    Args:
        shifts: for each fit (or for the raw effects) its (perturbations, dimensions) table.
        members: the perturbations asked about.
        n_bins: of the histogram over all sets.

    Returns:
        Tidy metrics (shared_mechanism_cosine; shared_mechanism_quantile, the share of all sets of as
        many perturbations that are at least as alike), and {"genes": members, "models": {name:
        {"cosine", "quantile", "n_sets", "histogram"}}} for the figure.

    Raises:
        ScreenError: a member is not a row of every table.
    """
    for key, table in shifts.items():
        if missing := sorted(set(members) - set(table.index)):
            raise ScreenError(
                f"shared_mechanism: {key.model} has no row for {', '.join(missing)}. "
                f"It has {', '.join(map(str, table.index[:10]))} ..."
            )
    edges = np.linspace(-1.0, 1.0, n_bins + 1)
    models: dict[str, Any] = {}
    frames = []
    subset = " ".join(members)
    for key, table in shifts.items():
        index = table.index.get_indexer(pd.Index(members)).tolist()
        cosine, quantile, every = shared_mechanism(table.to_numpy(dtype=float), index)
        counts, _ = np.histogram(np.clip(every, -1.0, 1.0), edges)
        found = {"shared_mechanism_cosine": cosine, "shared_mechanism_quantile": quantile}
        frames.append(
            key.rows([(name, subset, Interval(v, np.nan, np.nan)) for name, v in found.items()])
        )
        models[key.model if key.seed is None else f"{key.model} (seed {key.seed})"] = {
            "cosine": cosine,
            "quantile": quantile,
            "n_sets": len(every),
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        }
    return pd.concat(frames, ignore_index=True), {"genes": list(members), "models": models}
