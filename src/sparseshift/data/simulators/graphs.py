"""Random graphs of perturbations and the latents that they shift."""

import numpy as np

from sparseshift.errors import OptionError

GRAPHS = ("random", "identifiable", "confounded")


def random_graph(
    rng: np.random.Generator,
    n_perturbations: int,
    n_latents: int,
    *,
    density: float | None = None,
    kind: str = "random",
) -> np.ndarray:
    """Which perturbation shifts which latent, bool, (perturbations, latents); at least one each.

    Args:
        rng: draws the graph.
        n_perturbations: rows.
        n_latents: columns.
        density: chance of each edge; None: 1 to 3 targets each, without replacement.
        kind: "random"; "identifiable", drawn again, row by row, until the graphical criterion holds;
            "confounded", latents in pairs (0 and 1, 2 and 3, ...) that are only ever shifted
            together, so that it holds for none of a pair.

    Raises:
        OptionError: an unknown kind, a density out of (0, 1], or no graph of this kind was found.
    """
    if kind not in GRAPHS:
        raise OptionError(f"simulate: graph={kind!r} is not one of {', '.join(GRAPHS)}.")
    if density is not None and not 0.0 < density <= 1.0:
        raise OptionError(f"simulate: density={density} must be above 0 and at most 1.")
    if kind == "confounded":
        blocks = _rows(rng, n_perturbations, (n_latents + 1) // 2, density)
        return np.repeat(blocks, 2, axis=1)[:, :n_latents]
    graph = _rows(rng, n_perturbations, n_latents, density)
    if kind == "random":
        return graph
    for _ in range(100 * n_perturbations):
        if identifiable_latents(graph).all():
            return graph
        graph[rng.integers(n_perturbations)] = _rows(rng, 1, n_latents, density)[0]
    raise OptionError(
        f"simulate: found no graph of {n_perturbations} perturbations and {n_latents} latents that "
        "satisfies the graphical criterion. Ask for more perturbations, or a lower density."
    )


def identifiable_latents(graph: np.ndarray) -> np.ndarray:
    """Where the graphical criterion holds, bool, (latents,).

    For latent i: the perturbations that shift it have no other latent in common (Lachapelle et al.
    2022, theorem 5; Lopez et al. 2023, section 3). Where it fails, a latent can be mixed with one that is
    always shifted along with it.

    Args:
        graph: bool, (perturbations, latents).
    """
    together = graph.T.astype(np.int64) @ graph  # perturbations that shift both
    alone = np.diag(together)
    always = (together == alone[:, None]).sum(axis=1)  # latents shifted whenever i is, i included
    return (alone > 0) & (always == 1)


def _rows(
    rng: np.random.Generator, n_rows: int, n_columns: int, density: float | None
) -> np.ndarray:
    graph = np.zeros((n_rows, n_columns), bool)
    for row in graph:
        if density is None:
            n_targets = min(int(rng.integers(1, 4)), n_columns)
            row[rng.choice(n_columns, size=n_targets, replace=False)] = True
        else:
            row[:] = rng.random(n_columns) < density
            if not row.any():
                row[rng.integers(n_columns)] = True
    return graph
