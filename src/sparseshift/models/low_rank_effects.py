"""Effects of unseen perturbations from the expression of the genes they target: a bilinear model.

Ahlmann-Eltze, Huber and Anders 2025, "Deep-learning-based gene perturbation effect prediction does
not yet outperform simple linear baselines", Nature Methods: Y ~ G W P' + b, with embeddings from the
training data. Genes that vary alike over perturbations are taken to act alike when perturbed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sparseshift.data.design import parts

N_COMPONENTS = 10
PENALTY = 0.1  # both as in the paper's code


class LowRankEffects(NamedTuple):
    """A fitted bilinear model of effects.

    Attributes:
        genes: names of the rows of embedding.
        embedding: G, (genes, components).
        weights: W, (components, components).
        centre: b, mean training effect, the control's 0 among them, (genes,).
    """

    genes: tuple[str, ...]
    embedding: np.ndarray
    weights: np.ndarray
    centre: np.ndarray

    def predict(self, label: str) -> np.ndarray | None:
        """Effect of a label, (genes,); None where the gene of a part is not measured.

        A combination's embedding is the sum of its parts' (the paper has singles only).
        """
        position = perturbation_embedding([label], self.genes, self.embedding)[0]
        if np.isnan(position).any():
            return None
        return self.embedding @ self.weights @ position + self.centre


def fit_low_rank_effects(
    control: np.ndarray,
    effects: Mapping[str, np.ndarray],
    genes: Sequence[str],
    n_components: int = N_COMPONENTS,
    penalty: float = PENALTY,
) -> LowRankEffects | None:
    """Fits the model to training labels; None where fewer than two have all their genes measured.

    The control is one of the columns, as in the paper's code, with effect and embedding 0.

    Args:
        control: mean log-normalised profile of control cells, (genes,).
        effects: mean profile less the control's of each training label, (genes,) each.
        genes: names of the genes.
        n_components: of the gene embedding; fewer if profiles do not have as many.
        penalty: ridge penalty on either side.
    """
    labels = sorted(effects)
    control = np.asarray(control, dtype=np.float64)
    every = np.array([effects[label] for label in labels], dtype=np.float64)
    embedding = gene_embedding(np.vstack([control, control + every]), n_components)
    places = perturbation_embedding(labels, genes, embedding)
    known = ~np.isnan(places).any(axis=1)
    if known.sum() < 2:
        return None
    no_change = np.zeros((1, len(control)))
    y = np.vstack([no_change, every[known]]).T
    p = np.vstack([np.zeros((1, places.shape[1])), places[known]])
    weights, centre = fit_bilinear(y, embedding, p, penalty)
    return LowRankEffects(tuple(genes), embedding, weights, centre)


def gene_embedding(profiles: np.ndarray, n_components: int) -> np.ndarray:
    """Principal component scores of genes over mean profiles, (genes, components).

    Genes are the observations: each profile is centred by its mean over genes.

    Args:
        profiles: (labels, genes).
        n_components: at most; as many as there are directions.
    """
    u, s, _ = np.linalg.svd(
        (profiles - profiles.mean(axis=1, keepdims=True)).T, full_matrices=False
    )
    n = min(n_components, int((s > 1e-10 * s[0]).sum()))
    return u[:, :n] * s[:n]


def perturbation_embedding(
    labels: Sequence[str], genes: Sequence[str], embedding: np.ndarray
) -> np.ndarray:
    """Sum of the rows of the perturbed genes, (labels, components); NaN where one is missing."""
    row = dict(zip(genes, embedding, strict=True))
    missing = np.full(embedding.shape[1], np.nan)
    found = [sum(row.get(part, missing) for part in parts(label)) for label in labels]
    return np.array(found).reshape(len(labels), embedding.shape[1])


def fit_bilinear(
    y: np.ndarray, g: np.ndarray, p: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """W and b of Y ~ G W P' + b: b = row means, W = (G'G + penalty I)^-1 G' (Y - b) P (P'P + penalty I)^-1.

    Args:
        y: (genes, labels).
        g: (genes, gene components).
        p: (labels, perturbation components).
        penalty: not negative.

    Returns:
        (gene components, perturbation components) and (genes,).
    """
    centre = y.mean(axis=1)
    left = np.linalg.solve(g.T @ g + penalty * np.eye(g.shape[1]), g.T @ (y - centre[:, None]) @ p)
    return np.linalg.solve(p.T @ p + penalty * np.eye(p.shape[1]), left.T).T, centre
