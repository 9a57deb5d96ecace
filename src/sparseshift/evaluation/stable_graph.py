"""The edges that come back when a model is fitted again, on half of the cells or from another seed.

Latents have no order and no sign of their own, so those of each refit are first given the names and
signs of one reference. What is left is stability selection (Meinshausen and Bühlmann 2010): an edge is
stable if it is in most of the refits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from sparseshift.errors import OptionError
from sparseshift.evaluation.latent_matching import paired_latents, unit_columns

# The middle of (.6, .9), usual since Meinshausen and Bühlmann (2010); the default of R's hdi::stability.
THRESHOLD = 0.75
# r² > 1/2: at most one of several uncorrelated latents can have it, so the match is not arbitrary.
MIN_CORRELATION = 0.71


class Refit(NamedTuple):
    """What is needed of one fit.

    Attributes:
        latents: posterior means of the same cells for all fits, those it was trained on or not,
            (cells, latents).
        inclusion: inclusion probabilities, (perturbations, latents); the rows are the perturbations it
            was trained on, by name.
        effects: shift of each latent where it is a target, the same rows and columns, units of z.
    """

    latents: np.ndarray
    inclusion: pd.DataFrame
    effects: pd.DataFrame


@dataclass(frozen=True)
class StableGraph:
    """Edges by how often they come back. Tables are (perturbations, latents), latents of the reference.

    Attributes:
        n_refits: refits that were counted.
        threshold: least frequency of a stable edge.
        reference: number of the refit whose latents these are; -1 if it is not one of them.
        n_with: in how many refits each perturbation is, (perturbations,).
        frequency: share of those in which it is an edge, in [0, 1]. A latent that a refit does not have
            has no edges there.
        stable: which edges are stable: a frequency of at least the threshold, and a perturbation that at
            least half of the refits have (fewer say little).
        inclusion: mean inclusion probability over the refits with the perturbation, 0 where the latent is
            not found.
        effect: mean effect over the refits with the edge, aligned in sign, units of z; NaN without any.
        effect_sd: their standard deviation; NaN for fewer than two.
        sign_agreement: share of them that has the commoner sign, in [1/2, 1]; NaN without any.
        latents: a row a latent: latent, agreement (mean |r| with its match over the other refits; 0 where
            there is none), found (refits that have it, |r| large enough), n_refits, n_edges (stable ones).
        mean_edges: mean number of edges of a refit, after matching.
    """

    n_refits: int
    threshold: float
    reference: int
    n_with: pd.Series
    frequency: pd.DataFrame
    stable: pd.DataFrame
    inclusion: pd.DataFrame
    effect: pd.DataFrame
    effect_sd: pd.DataFrame
    sign_agreement: pd.DataFrame
    latents: pd.DataFrame
    mean_edges: float

    @property
    def false_edge_bound(self) -> float:
        """How many stable edges are expected to be false, at most: q² / ((2 threshold - 1) p).

        Theorem 1 of Meinshausen and Bühlmann (2010), q the mean number of edges of a refit and p the
        number of entries. It holds for refits on half-samples that prefer true edges to false ones and no
        false one to another; seeds on all cells are not half-samples.
        """
        return self.mean_edges**2 / ((2 * self.threshold - 1) * max(self.frequency.size, 1))

    def to_frame(self) -> pd.DataFrame:
        """A row an entry, stable or not, perturbations in the order of the tables.

        Columns: perturbation, latent, n_refits (those with the perturbation), frequency, inclusion,
        effect, effect_sd, sign_agreement, stable.
        """
        n_perturbations, n_latents = self.frequency.shape
        tables = {
            "frequency": self.frequency,
            "inclusion": self.inclusion,
            "effect": self.effect,
            "effect_sd": self.effect_sd,
            "sign_agreement": self.sign_agreement,
            "stable": self.stable,
        }
        keys = {
            "perturbation": np.repeat(self.frequency.index.to_numpy(), n_latents),
            "latent": np.tile(self.frequency.columns.to_numpy(), n_perturbations),
            "n_refits": np.repeat(self.n_with.to_numpy(), n_latents),
        }
        return pd.DataFrame(keys | {name: t.to_numpy().ravel() for name, t in tables.items()})


def stable_graph(
    refits: Sequence[Refit],
    reference: Refit | int | None = None,
    *,
    threshold: float = THRESHOLD,
    min_correlation: float = MIN_CORRELATION,
) -> StableGraph:
    """Counts in how many refits each edge is, latents aligned to those of a reference.

    Alignment: one to one on |Pearson r| over cells (Hungarian method); a latent of the reference whose
    match has |r| below `min_correlation` is absent from that refit, and so are its edges. An edge has an
    inclusion probability above 1/2. Only refits that have a perturbation say anything of its edges.

    Args:
        refits: at least two, with latents of the same cells. For `false_edge_bound`: on half-samples
            (`half_samples`).
        reference: whose latents name the columns: the number of a refit, or a fit that is not counted,
            such as the one on all cells. None: the refit that agrees best with all others (largest mean
            MCC; the first of equals).
        threshold: least frequency of a stable edge, above 1/2.
        min_correlation: least |r| of a match.

    Raises:
        OptionError: fewer than two refits, not the same cells, tables that do not fit, an impossible
            threshold or reference.
    """
    _check(refits, reference, threshold)
    units = [_units(refit, refits[0]) for refit in refits]
    place = _medoid(units) if reference is None else reference
    if isinstance(place, Refit):
        named, own, place = place, _units(place, refits[0]), -1
    else:
        named, own = refits[place], units[place]
    aligned = [_align(own, unit, min_correlation) for unit in units]
    names = _in_order(refit.inclusion.index for refit in [named, *refits])
    columns = named.inclusion.columns

    n_with = np.sum([names.isin(refit.inclusion.index) for refit in refits], axis=0)
    probability, effect = _aligned_tables(refits, aligned, names)
    edges = probability > 0.5
    per_refit = np.maximum(n_with, 1)[:, None]
    frequency = edges.sum(axis=0) / per_refit
    stable = (frequency >= threshold) & (2 * n_with >= len(refits))[:, None]
    mean, spread, commoner = _over_edges(effect, edges)
    return StableGraph(
        n_refits=len(refits),
        threshold=threshold,
        reference=place,
        n_with=pd.Series(n_with, names),
        frequency=pd.DataFrame(frequency, names, columns),
        stable=pd.DataFrame(stable, names, columns),
        inclusion=pd.DataFrame(probability.sum(axis=0) / per_refit, names, columns),
        effect=pd.DataFrame(mean, names, columns),
        effect_sd=pd.DataFrame(spread, names, columns),
        sign_agreement=pd.DataFrame(commoner, names, columns),
        latents=_latents(aligned, columns, place, stable),
        mean_edges=float(edges.sum() / len(refits)),
    )


class _Alignment(NamedTuple):
    """The latent of a refit for each of the reference, (reference latents,) each.

    Attributes:
        match: its number; -1 where it is absent.
        sign: of their correlation, -1 or 1.
        correlation: |r| of the match, also where it is too small; 0 without one.
    """

    match: np.ndarray
    sign: np.ndarray
    correlation: np.ndarray


def _align(reference: np.ndarray, unit: np.ndarray, least: float) -> _Alignment:
    r = np.clip(reference.T @ unit, -1.0, 1.0)
    rows, columns = linear_sum_assignment(np.abs(r), maximize=True)
    found = np.zeros(len(r))
    found[rows] = r[rows, columns]
    match = np.full(len(r), -1)
    match[rows] = np.where(np.abs(found[rows]) >= least, columns, -1)
    return _Alignment(match, np.where(found < 0, -1.0, 1.0), np.abs(found))


def _medoid(units: Sequence[np.ndarray]) -> int:
    """The refit with the largest mean MCC with the others; latents without a match count 0."""
    mcc = np.zeros((len(units), len(units)))
    for i, a in enumerate(units):
        for j in range(i):
            r = np.abs(a.T @ units[j])
            mcc[i, j] = mcc[j, i] = r[linear_sum_assignment(r, maximize=True)].sum() / max(r.shape)
    # rounded: equal fits in another order would differ in the last digits
    return int(np.argmax(mcc.sum(axis=1).round(9)))


def _aligned_tables(
    refits: Sequence[Refit], aligned: Sequence[_Alignment], names: pd.Index
) -> tuple[np.ndarray, np.ndarray]:
    """Inclusion probabilities and effects in the reference's terms, (refits, perturbations, latents).

    0 where a refit has not the perturbation or not the latent.
    """
    probability = np.zeros((len(refits), len(names), len(aligned[0].match)))
    effect = np.zeros_like(probability)
    for k, (refit, (match, sign, _)) in enumerate(zip(refits, aligned, strict=True)):
        rows = refit.inclusion.index.get_indexer(names)
        known = (rows >= 0)[:, None] & (match >= 0)
        chosen = np.ix_(rows, match)
        probability[k] = np.where(known, refit.inclusion.to_numpy(np.float64)[chosen], 0.0)
        effect[k] = np.where(known, refit.effects.to_numpy(np.float64)[chosen] * sign, 0.0)
    return probability, effect


def _over_edges(
    effect: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and share of the commoner sign, (perturbations, latents) each.

    Over the refits with the edge alone: where the mask is off nothing holds the effect.
    """
    n = edges.sum(axis=0)
    mean = np.where(edges, effect, 0.0).sum(axis=0) / np.where(n > 0, n, np.nan)
    squares = np.where(edges, (effect - mean) ** 2, 0.0).sum(axis=0)
    raised = (edges & (effect > 0)).sum(axis=0)
    commoner = np.maximum(raised, n - raised) / np.where(n > 0, n, np.nan)
    return mean, np.sqrt(squares / np.where(n > 1, n - 1, np.nan)), commoner


def _latents(
    aligned: Sequence[_Alignment], columns: pd.Index, place: int, stable: np.ndarray
) -> pd.DataFrame:
    others = [a.correlation for i, a in enumerate(aligned) if i != place]
    return pd.DataFrame(
        {
            "latent": columns.to_numpy(),
            "agreement": np.mean(others, axis=0),
            "found": np.sum([a.match >= 0 for a in aligned], axis=0),
            "n_refits": len(aligned),
            "n_edges": stable.sum(axis=0),
        }
    )


def _in_order(indices: Iterable[pd.Index]) -> pd.Index:
    """Each name once, in the order in which they come."""
    found = dict.fromkeys(name for index in indices for name in index)
    return pd.Index(list(found), name="perturbation", dtype=object)


def _units(refit: Refit, first: Refit) -> np.ndarray:
    """Latents as columns of length one, if the fit's parts are of one size and its cells those of the first."""
    latents, _ = paired_latents(refit.latents, first.latents)
    tables = (refit.inclusion, refit.effects)
    if any(t.shape != (len(refit.inclusion), latents.shape[1]) for t in tables):
        raise OptionError(
            f"A fit has {latents.shape[1]} latents, inclusion probabilities {refit.inclusion.shape} and "
            f"effects {refit.effects.shape}; expected (perturbations, latents) of the same fit."
        )
    same = all(a.equals(b) for a, b in zip(refit.inclusion.axes, refit.effects.axes, strict=True))
    if not same or not refit.inclusion.index.is_unique:
        raise OptionError(
            "Rows and columns of inclusion and of effects must be the same, each perturbation once."
        )
    return unit_columns(latents)


def _check(refits: Sequence[Refit], reference: Refit | int | None, threshold: float) -> None:
    if len(refits) < 2:
        raise OptionError(f"Stability is of two refits or more; there is {len(refits)}.")
    if not 0.5 < threshold <= 1.0:
        raise OptionError(
            f"threshold={threshold} must be above .5 and at most 1; .6 to .9 is usual."
        )
    if isinstance(reference, int) and not 0 <= reference < len(refits):
        raise OptionError(f"reference={reference} is not one of the {len(refits)} refits.")
