"""Which genes differ between perturbed and control cells: Wilcoxon rank sums, false discovery rates."""

from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, mannwhitneyu

from sparseshift.errors import OptionError

_GENES_AT_ONCE = 256


class DifferentialExpression(NamedTuple):
    """Perturbed against control cells, gene by gene.

    Attributes:
        effect: mean of the perturbed less mean of the control profiles, (genes,).
        p_value: of the rank-sum test, two-sided, (genes,); 1 for a gene that does not vary.
        q_value: p-values adjusted after Benjamini and Hochberg 1995 over these genes, (genes,).
    """

    effect: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray


def differential_expression(perturbed: np.ndarray, control: np.ndarray) -> DifferentialExpression:
    """Wilcoxon's rank-sum test of every gene: normal approximation, ties and continuity corrected.

    `scipy.stats.mannwhitneyu`. Memory is bounded by blocks of genes. The p-values of pdex, and so of
    cell-eval 0.8.2, are the same.

    Args:
        perturbed: log-normalised profiles, (cells, genes).
        control: those of control cells, (control cells, genes).

    Raises:
        OptionError: genes that differ, a set without a cell, values that are not finite.
    """
    perturbed, control = np.asarray(perturbed), np.asarray(control)
    if perturbed.ndim != 2 or control.ndim != 2 or perturbed.shape[1] != control.shape[1]:
        raise OptionError(
            f"The profiles have shapes {perturbed.shape} and {control.shape}; expected (cells, genes) with "
            "the same genes."
        )
    if not len(perturbed) or not len(control):
        raise OptionError(
            f"There are {len(perturbed)} perturbed and {len(control)} control cells; a test needs both."
        )
    effect = perturbed.mean(axis=0, dtype=np.float64) - control.mean(axis=0, dtype=np.float64)
    if not np.isfinite(effect).all():
        raise OptionError("There are profiles with values that are not finite. Leave them out.")
    p_value = np.ones(len(effect))
    for start in range(0, len(effect), _GENES_AT_ONCE):
        block = slice(start, start + _GENES_AT_ONCE)
        test = mannwhitneyu(perturbed[:, block], control[:, block], method="asymptotic")
        p_value[block] = test.pvalue
    q_value = false_discovery_control(p_value) if len(p_value) else p_value
    return DifferentialExpression(effect, p_value, q_value)
