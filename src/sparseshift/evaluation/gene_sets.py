"""Which genes a score is over: those not perturbed, those that move most."""

from collections.abc import Sequence

import numpy as np

from sparseshift.data.design import parts
from sparseshift.errors import require_whole


def perturbed_genes(labels: Sequence[str], symbols: Sequence[str]) -> np.ndarray:
    """Which genes each label perturbs, (labels, genes) bool; no gene where none has the name of a part.

    `~perturbed_genes(...)` leaves out a perturbation's own targets. Where perturbations are compared with
    each other, use `~perturbed_genes(...).any(axis=0)`: with only its own target left out, a perturbation is
    told from the others by *their* targets, which they move and it does not.

    Args:
        labels: perturbations, combinations as `A+B`.
        symbols: of the genes, (genes,).
    """
    names = np.asarray(symbols, dtype=str)
    return np.array([np.isin(names, parts(label)) for label in labels], dtype=bool).reshape(
        len(labels), len(names)
    )


def top_genes(effects: np.ndarray, n: int, among: np.ndarray | None = None) -> np.ndarray:
    """The n genes that move most, of each perturbation, (perturbations, genes) bool.

    Choose on support cells and score on query cells: chosen on the cells that are scored, the genes with the
    largest errors of sampling are preferred, and every prediction looks too small.

    Args:
        effects: seen in the support cells, (perturbations, genes).
        n: how many; all where there are fewer.
        among: bool, (genes,) or (perturbations, genes), the genes to choose from; None: all.

    Returns:
        The n largest |effect|; equal ones in the order of the genes.

    Raises:
        OptionError: n is not a whole number of at least 1.
    """
    require_whole("n", n, 1)
    size = np.abs(np.asarray(effects, dtype=np.float64))
    allowed = np.broadcast_to(True if among is None else np.asarray(among, dtype=bool), size.shape)
    order = np.argsort(np.where(allowed, -size, np.inf), axis=1, kind="stable")
    chosen = np.zeros(size.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :n], True, axis=1)
    return chosen & allowed
