"""Do fits that differ in their seed alone agree? Scores of latents and of edges without a truth."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from sparseshift.errors import OptionError
from sparseshift.evaluation.latent_matching import LatentMatching, correlations, match_latents


def agreement(latents: Sequence[np.ndarray]) -> float:
    """Mean over pairs of fits of the MCC between their latents.

    Matched on |r|; where numbers of latents differ, those without a match count 0.

    Args:
        latents: of the same cells, one a fit, each (cells, latents).

    Raises:
        OptionError: fewer than two fits, or not the same cells.
    """
    pairs = _pairs(latents)
    found = [
        match_latents(a, b) if a.shape[1] >= b.shape[1] else match_latents(b, a) for a, b in pairs
    ]
    return float(np.mean([matching.mcc for matching in found]))


def udr(latents: Sequence[np.ndarray], informative: Sequence[np.ndarray]) -> np.ndarray:
    """Unsupervised disentanglement ranking of each fit (Duan et al. 2020, equations 2 and 3).

    For a pair of fits R_ab is |Spearman's rho| of latent a of one and b of the other. Of each informative
    latent max(R)² / sum(R) is 1 if it has one counterpart and small if it is spread over several; a pair
    scores the mean over the informative latents of both, a fit the median over its pairs.

    Args:
        latents: of the same cells, one a fit, each (cells, latents).
        informative: for each fit which latents know anything of the cells, bool (latents,); Duan et al.
            take a mean KL divergence from the prior above .01 nats.

    Returns:
        (fits,), in [0, 1]; 0 for a fit without informative latents.

    Raises:
        OptionError: fewer than two fits, or not the same cells.
    """
    _pairs(latents)
    n_fits = len(latents)
    scores = np.full((n_fits, n_fits), np.nan)
    for i, j in combinations(range(n_fits), 2):
        r = np.abs(correlations(latents[i], latents[j], "spearman"))
        sides = ((r, informative[i]), (r.T, informative[j]))
        counted = sum(int(np.sum(known)) for _, known in sides)
        total = sum(_one_to_one(rows)[np.asarray(known)].sum() for rows, known in sides)
        scores[i, j] = scores[j, i] = total / counted if counted else 0.0
    return np.nanmedian(scores, axis=1)


def _one_to_one(r: np.ndarray) -> np.ndarray:
    total = r.sum(axis=1)
    return np.asarray(r.max(axis=1) ** 2 / np.where(total > 0, total, 1.0))


def edge_stability(latents: Sequence[np.ndarray], edges: Sequence[np.ndarray]) -> float:
    """Mean over pairs of fits of the share of edges that both have, of those that either has (Jaccard).

    Latents of a pair are matched on |r|; edges of latents without a match are in one fit only.

    Args:
        latents: of the same cells, one a fit, each (cells, latents).
        edges: bool, (perturbations, latents), of the same fits.

    Returns:
        In [0, 1]; NaN if no pair has an edge.

    Raises:
        OptionError: fewer than two fits, or not the same cells.
    """
    _pairs(latents)
    shares = []
    for i, j in combinations(range(len(latents)), 2):
        matching = match_latents(latents[i], latents[j])
        both = _in_both(edges[i], edges[j], matching)
        either = int(edges[i].sum() + edges[j].sum()) - both
        shares.append(both / either if either else np.nan)
    return float(np.nanmean(shares)) if np.isfinite(shares).any() else float("nan")


def _in_both(first: np.ndarray, second: np.ndarray, matching: LatentMatching) -> int:
    matched = np.flatnonzero(matching.learnt >= 0)
    return int((first[:, matched] & second[:, matching.learnt[matched]]).sum())


def _pairs(latents: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(latents) < 2:
        raise OptionError(f"Stability is of two fits or more; there is {len(latents)}.")
    return list(combinations(latents, 2))
