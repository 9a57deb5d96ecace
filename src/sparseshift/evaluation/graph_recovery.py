"""How much of the true graph (which perturbation hits which latent) was found."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score

from sparseshift.errors import OptionError
from sparseshift.evaluation.latent_matching import LatentMatching


class GraphRecovery(NamedTuple):
    """Found edges against true ones. A ratio over nothing is 0, as scikit-learn's zero_division=0.

    Attributes:
        precision: share of the found edges that are true; 0 if none was found.
        recall: share of the true edges that were found; 0 if there is none.
        f1: their harmonic mean, 2 correct / (n_found + n_true); 0 if both are empty.
        n_correct: found edges that are true.
        n_found: found edges, those of surplus latents included.
        n_true: true edges.
    """

    precision: float
    recall: float
    f1: float
    n_correct: int
    n_found: int
    n_true: int

    @property
    def shd(self) -> int:
        """Structural Hamming distance: edges found that are wrong, and true ones missed."""
        return self.n_found + self.n_true - 2 * self.n_correct


def graph_recovery(
    true_edges: np.ndarray,
    found_edges: np.ndarray,
    matching: LatentMatching,
    rows: np.ndarray | None = None,
) -> GraphRecovery:
    """Precision, recall and F1 of the edges, learnt latents renamed by their match.

    All edges of a learnt latent that no true latent is matched to are wrong; all edges of a true
    latent without a match are missed. (Lopez et al. 2023 report the three, Table 1; their code
    matches on signed r and scores perturbations that were never trained.)

    Args:
        true_edges: bool, (perturbations, true latents).
        found_edges: bool, (perturbations, learnt latents), for example
            `inclusion_probability > 0.5`; the same perturbations.
        matching: of the same latents, from `match_latents`.
        rows: the perturbations to score, numbers or a mask; None: all. Those never trained have no
            edges that mean anything: leave them out.

    Raises:
        OptionError: tables that are not bool, or do not fit each other or the matching.
    """
    true_edges, found_edges = np.asarray(true_edges), np.asarray(found_edges)
    _check(true_edges, found_edges, matching)
    if rows is not None:
        true_edges, found_edges = true_edges[rows], found_edges[rows]
    matched = np.flatnonzero(matching.learnt >= 0)
    both = true_edges[:, matched] & found_edges[:, matching.learnt[matched]]
    correct, found, true = (int(edges.sum()) for edges in (both, found_edges, true_edges))
    return GraphRecovery(
        precision=correct / found if found else 0.0,
        recall=correct / true if true else 0.0,
        f1=2 * correct / (found + true) if found + true else 0.0,
        n_correct=correct,
        n_found=found,
        n_true=true,
    )


def graph_average_precision(
    true_edges: np.ndarray, inclusion: np.ndarray, matching: LatentMatching
) -> float:
    """Area under precision and recall as edges are called in the order of their inclusion probabilities.

    Average precision (scikit-learn's), learnt latents renamed by their match. Edges of surplus latents
    are false at whatever place they come; those of true latents without a match come last.

    Args:
        true_edges: bool, (perturbations, true latents).
        inclusion: probabilities, (perturbations, learnt latents); the same perturbations.
        matching: of the same latents, from `match_latents`.

    Returns:
        In [0, 1]; 0 if there is no true edge. Random order gives the share of entries that are edges.

    Raises:
        OptionError: tables that do not fit each other or the matching.
    """
    true_edges, inclusion = np.asarray(true_edges), np.asarray(inclusion, dtype=np.float64)
    _check(true_edges, inclusion > 0.5, matching)
    if not true_edges.any():
        return 0.0
    score = np.full(true_edges.shape, -1.0)
    matched = np.flatnonzero(matching.learnt >= 0)
    score[:, matched] = inclusion[:, matching.learnt[matched]]
    surplus = np.delete(inclusion, matching.learnt[matched], axis=1)
    truth = np.concatenate([true_edges.ravel(), np.zeros(surplus.size, bool)])
    return float(average_precision_score(truth, np.concatenate([score.ravel(), surplus.ravel()])))


def _check(true_edges: np.ndarray, found_edges: np.ndarray, matching: LatentMatching) -> None:
    for name, edges in (("true_edges", true_edges), ("found_edges", found_edges)):
        if edges.dtype != np.bool_ or edges.ndim != 2:
            raise OptionError(
                f"{name} has dtype {edges.dtype} and shape {edges.shape}; expected bool "
                "(perturbations, latents), for example inclusion_probability > 0.5."
            )
    if len(true_edges) != len(found_edges):
        raise OptionError(
            f"true_edges has {len(true_edges)} perturbations and found_edges {len(found_edges)}. "
            "Pass the same perturbations in the same order."
        )
    if (
        len(matching.learnt) != true_edges.shape[1]
        or matching.learnt.max(initial=-1) >= found_edges.shape[1]
    ):
        raise OptionError(
            f"The matching is of {len(matching.learnt)} true latents and learnt latents up to number "
            f"{matching.learnt.max(initial=-1)}; the graphs have {true_edges.shape[1]} and "
            f"{found_edges.shape[1]} latents. Match the latents of this model."
        )
