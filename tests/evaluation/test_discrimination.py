import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.discrimination import (
    Distance,
    centroid_accuracy,
    discrimination,
)

RNG = np.random.default_rng(0)
PREDICTED, OBSERVED = RNG.normal(size=(2, 9, 15))
DISTANCES: list[Distance] = ["l1", "l2", "cosine"]


def distance_between(a: np.ndarray, b: np.ndarray, kind: str) -> float:
    if kind == "cosine":
        return float(1 - a @ b / np.sqrt((a @ a) * (b @ b)))
    return float(np.abs(a - b).sum() if kind == "l1" else np.sqrt(((a - b) ** 2).sum()))


@pytest.mark.parametrize("kind", DISTANCES)
def test_it_is_a_loop(kind: Distance) -> None:
    genes = RNG.random((9, 15)) < 0.7
    others = RNG.normal(size=(4, 15))
    found = discrimination(PREDICTED, OBSERVED, kind, genes=genes, others=others)
    for p, g in enumerate(genes):
        own = distance_between(PREDICTED[p, g], OBSERVED[p, g], kind)
        rest = [OBSERVED[q, g] for q in range(9) if q != p] + [o[g] for o in others]
        further = [distance_between(PREDICTED[p, g], o, kind) > own for o in rest]
        assert found[p] == pytest.approx(np.mean(further))


@pytest.mark.parametrize("kind", DISTANCES)
def test_laws(kind: Distance) -> None:
    found = discrimination(PREDICTED, OBSERVED, kind)
    assert ((found >= 0) & (found <= 1)).all()
    assert (discrimination(OBSERVED, OBSERVED, kind) == 1.0).all()
    order, genes = RNG.permutation(9), RNG.permutation(15)
    turned = discrimination(PREDICTED[order][:, genes], OBSERVED[order][:, genes], kind)
    assert turned == pytest.approx(found[order])
    pair = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert (discrimination(pair[::-1], pair, kind) == 0.0).all()
    if kind == "cosine":
        assert discrimination(3.0 * PREDICTED, OBSERVED, kind) == pytest.approx(found)
    else:
        moved = discrimination(PREDICTED + 2.0, OBSERVED + 2.0, kind)
        assert moved == pytest.approx(found)


@pytest.mark.parametrize("kind", DISTANCES)
def test_unrelated_predictions_and_one_for_all_have_a_half(kind: Distance) -> None:
    rng = np.random.default_rng(1)
    means = []
    for _ in range(300):
        predicted, observed = rng.normal(size=(2, 7, 12))
        means.append(discrimination(predicted, observed, kind).mean())
        same = np.tile(rng.normal(size=12), (7, 1))
        assert discrimination(same, observed, kind).mean() == pytest.approx(0.5)
    assert np.mean(means) == pytest.approx(0.5, abs=3 * np.std(means) / np.sqrt(300))


def test_ties_count_half() -> None:
    assert (discrimination(np.zeros((9, 15)), OBSERVED, "cosine") == 0.5).all()
    same = np.tile(OBSERVED[0], (9, 1))
    for kind in DISTANCES:
        assert (discrimination(PREDICTED, same, kind) == 0.5).all()
    # equal but for the order of the sum
    shifted = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1]])
    assert (discrimination(np.zeros((3, 3)), shifted, "l1") == 0.5).all()


def test_leaving_out_the_own_target_alone_rewards_no_prediction() -> None:
    """A perturbation that moves its target only: predicting nothing must not be told apart."""
    rng = np.random.default_rng(2)
    observed = 0.02 * rng.normal(size=(40, 300))
    targets = np.zeros((40, 300), bool)
    targets[np.arange(40), np.arange(40)] = True
    observed[targets] -= 1.2
    nothing = 0.02 * rng.normal(size=(40, 300))
    assert discrimination(nothing, observed, "l1", genes=~targets).mean() > 0.95
    fair = discrimination(nothing, observed, "l1", genes=np.asarray(~targets.any(axis=0)))
    assert fair.mean() == pytest.approx(0.5, abs=3 * fair.std() / np.sqrt(40))


def test_size_matters_for_l1_and_l2_only() -> None:
    true = RNG.normal(size=(30, 50))
    observed = true + RNG.normal(size=true.shape)
    noisy = true + 2.0 * RNG.normal(size=true.shape)
    for kind in DISTANCES:
        small, large = (discrimination(f * noisy, observed, kind).mean() for f in (0.01, 1.0))
        if kind == "cosine":
            assert small == pytest.approx(large)
        else:
            assert small < large - 0.2


def test_centroid_accuracy_is_by_euclidean_distance_from_all_centroids() -> None:
    trained = RNG.normal(size=(20, 15))
    found = centroid_accuracy(PREDICTED, OBSERVED, others=trained)
    expected = discrimination(PREDICTED, OBSERVED, "l2", others=trained)
    assert (found == expected).all()
    rotation = np.linalg.qr(RNG.normal(size=(15, 15)))[0]
    turned = centroid_accuracy(
        PREDICTED @ rotation, OBSERVED @ rotation, others=trained @ rotation
    )
    assert turned == pytest.approx(found)


def test_nothing_to_tell_apart_and_no_gene_have_no_score() -> None:
    assert np.isnan(discrimination(PREDICTED[:1], OBSERVED[:1])).all()
    assert discrimination(OBSERVED[:1], OBSERVED[:1], others=PREDICTED).tolist() == [1.0]
    genes = np.ones((9, 15), bool)
    genes[4] = False
    assert np.flatnonzero(np.isnan(discrimination(PREDICTED, OBSERVED, genes=genes))).tolist() == [
        4
    ]
    with pytest.raises(OptionError, match="not one of l1, l2, cosine"):
        discrimination(PREDICTED, OBSERVED, "l3")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="others has shape"):
        discrimination(PREDICTED, OBSERVED, others=PREDICTED[:, :3])
