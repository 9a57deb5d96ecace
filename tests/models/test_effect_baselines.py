"""Ridge and low-rank linear effects: closed forms, refits, data drawn from the model."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from sparseshift.models.baselines import additive_effect, no_change
from sparseshift.models.low_rank_effects import (
    LowRankEffects,
    fit_bilinear,
    fit_low_rank_effects,
    gene_embedding,
    perturbation_embedding,
)
from sparseshift.models.ridge_effects import (
    PENALTIES,
    choose_penalty,
    leave_one_out_error,
    ridge_effects,
)

DESIGN = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=float
)


@pytest.fixture
def effects() -> np.ndarray:
    """Seven labels, five genes: nearly additive."""
    rng = np.random.default_rng(0)
    return DESIGN @ rng.normal(size=(3, 5)) + 0.5 * rng.normal(size=(7, 5))


def predict(model: LowRankEffects | None, label: str) -> np.ndarray:
    assert model is not None
    effect = model.predict(label)
    assert effect is not None
    return effect


def test_no_change_is_zero() -> None:
    assert no_change(3).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("penalty", [1e-3, 0.7, 50.0])
def test_ridge_is_scikit_learns(penalty: float, effects: np.ndarray) -> None:
    expected = Ridge(alpha=penalty, fit_intercept=False).fit(DESIGN, effects).coef_.T
    np.testing.assert_allclose(ridge_effects(DESIGN, effects, penalty), expected, atol=1e-10)


@pytest.mark.parametrize("penalty", [1e-3, 0.7, 50.0])
def test_leaving_one_out_is_refitting_without_it(penalty: float, effects: np.ndarray) -> None:
    errors = []
    for i in range(7):
        others = np.arange(7) != i
        refitted = ridge_effects(DESIGN[others], effects[others], penalty)
        errors.append(((effects[i] - DESIGN[i] @ refitted) ** 2).mean())
    assert leave_one_out_error(DESIGN, effects, penalty) == pytest.approx(np.mean(errors))


def test_the_penalty_has_the_smallest_error(effects: np.ndarray) -> None:
    errors = [leave_one_out_error(DESIGN, effects, penalty) for penalty in PENALTIES]
    assert choose_penalty(DESIGN, effects) == PENALTIES[int(np.argmin(errors))]
    noise = np.random.default_rng(1).normal(size=(7, 5))
    assert choose_penalty(DESIGN, noise) > choose_penalty(DESIGN, DESIGN @ noise[:3])


def test_without_penalty_ridge_on_singles_is_additive(effects: np.ndarray) -> None:
    singles = dict(zip("ABC", effects[:3], strict=True))
    by_part = ridge_effects(np.eye(3), effects[:3], 1e-12)
    added = additive_effect(["A", "C"], singles)
    assert added is not None
    np.testing.assert_allclose(np.array([1, 0, 1]) @ by_part, added, atol=1e-9)
    # no label says anything of another
    assert choose_penalty(np.eye(3), effects[:3]) == PENALTIES[0]


def test_parts_never_trained_have_no_effect(effects: np.ndarray) -> None:
    wider = np.hstack([DESIGN, np.zeros((7, 2))])
    found = ridge_effects(wider, effects, 0.3)
    np.testing.assert_allclose(found[:3], ridge_effects(DESIGN, effects, 0.3), atol=1e-12)
    assert np.abs(found[3:]).max() < 1e-12


def test_gene_embeddings_are_principal_component_scores() -> None:
    profiles = np.random.default_rng(0).normal(size=(6, 20))
    expected = PCA(4).fit_transform(profiles.T)
    np.testing.assert_allclose(np.abs(gene_embedding(profiles, 4)), np.abs(expected), atol=1e-10)
    assert gene_embedding(profiles, 50).shape == (20, 6)


def test_without_penalty_the_bilinear_fit_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    y, g, p = rng.normal(size=(8, 6)), rng.normal(size=(8, 2)), rng.normal(size=(6, 3))
    weights, centre = fit_bilinear(y, g, p, 0.0)
    np.testing.assert_allclose(centre, y.mean(1))
    kronecker = np.kron(p, g)  # vec(G W P') = (P kron G) vec(W)
    target = (y - centre[:, None]).T.ravel()
    expected = np.linalg.lstsq(kronecker, target, rcond=None)[0].reshape(3, 2).T
    np.testing.assert_allclose(weights, expected, atol=1e-10)


def drawn_from_the_model() -> tuple[np.ndarray, dict[str, np.ndarray], list[str], np.ndarray]:
    """Control, effects of eight singles, 20 genes, and the effects of all 20 genes."""
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(20)]
    g = rng.normal(size=(20, 3))
    g[7] -= g[:8].sum(axis=0)  # the trained embeddings have mean zero, as b is the mean effect
    g[8:] -= g[8:].mean(axis=0)
    every = g @ rng.normal(size=(3, 3)) @ g.T
    control = 2.0 + g @ rng.normal(size=3)
    return control, {genes[i]: every[:, i] for i in range(8)}, genes, every


def test_the_low_rank_model_is_exact_on_data_of_its_own() -> None:
    control, effects, genes, every = drawn_from_the_model()
    model = fit_low_rank_effects(control, effects, genes, n_components=3, penalty=1e-12)
    for i, gene in enumerate(genes):
        np.testing.assert_allclose(predict(model, gene), every[:, i], atol=1e-6)
    np.testing.assert_allclose(predict(model, "G3+G15"), every[:, 3] + every[:, 15], atol=1e-6)


def test_what_is_not_measured_has_no_prediction() -> None:
    control, effects, genes, _ = drawn_from_the_model()
    model = fit_low_rank_effects(control, effects, genes)
    assert model is not None
    assert model.predict("X") is None
    assert model.predict("G1+X") is None
    embedding = np.arange(40.0).reshape(20, 2)
    places = perturbation_embedding(["G0", "G1+G2", "X"], genes, embedding)
    np.testing.assert_array_equal(places[:2], [[0.0, 1.0], [6.0, 8.0]])
    assert np.isnan(places[2]).all()
    two = {"G0": effects["G0"], "X": effects["G1"]}
    assert fit_low_rank_effects(control, two, genes) is None


def test_an_unmeasured_training_gene_still_informs_the_embedding() -> None:
    control, effects, genes, _ = drawn_from_the_model()
    plain = fit_low_rank_effects(control, effects, genes)
    more = fit_low_rank_effects(control, {**effects, "X": effects["G0"][::-1]}, genes)
    assert plain is not None
    assert more is not None
    assert more.embedding.shape[1] == plain.embedding.shape[1] + 1
    np.testing.assert_allclose(more.centre, plain.centre)


def test_a_large_penalty_leaves_the_mean_effect() -> None:
    control, effects, genes, _ = drawn_from_the_model()
    model = fit_low_rank_effects(control, effects, genes, penalty=1e9)
    mean = np.sum(list(effects.values()), axis=0) / (len(effects) + 1)  # the control's 0 counts
    np.testing.assert_allclose(predict(model, "G12"), mean, atol=1e-6)
