"""Interactions of doubles: coverage under additivity, invariances, and one case of every kind."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from sparseshift.errors import OptionError
from sparseshift.evaluation.interaction import KINDS, interactions

NUMBERS = ["a", "b", "expected", "observed", "interaction", "lower", "upper"]


def screen(
    means: dict[str, list[float]], n: int = 400, seed: int = 0, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Cells of each label, normal around its mean of every latent."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(list(means), n)
    centre = np.repeat(np.array(list(means.values())), n, axis=0)
    return centre + spread * rng.normal(size=centre.shape), labels


def kinds(a: float, b: float, ab: float, negligible: float = 0.5) -> pd.Series:
    latents, labels = screen({"control": [0.0], "A": [a], "B": [b], "A+B": [ab]})
    return interactions(latents, labels, "control", negligible=negligible).iloc[0]


@pytest.mark.parametrize(
    ("a", "b", "ab", "kind", "dominant"),
    [
        (1.0, 1.0, 2.0, "additive", ""),
        (0.0, 0.0, 0.0, "additive", ""),
        (1.0, 0.0, 1.0, "additive", ""),
        (1.0, -1.0, 0.0, "additive", ""),
        (1.0, 1.0, 4.0, "synergistic", ""),
        (0.0, 0.0, 2.0, "synergistic", ""),  # neither alone
        (1.0, -1.0, 3.0, "synergistic", ""),
        (2.0, 0.0, 4.0, "synergistic", ""),
        (2.0, 2.0, 3.0, "buffering", ""),
        (2.0, 2.0, 2.0, "buffering", ""),  # redundant: the double is like both
        (2.0, 0.0, 0.0, "buffering", ""),  # B undoes A, and does nothing itself
        (2.0, 0.0, -3.0, "reversed", ""),
        (2.0, 0.0, -0.3, "buffering", ""),
        (2.0, 0.0, 1.0, "buffering", ""),
        (2.0, -2.0, 1.0, "buffering", ""),
        (3.0, 1.0, 3.0, "dominated", "A"),
        (3.0, 1.0, 1.0, "dominated", "B"),
        (2.0, -2.0, -2.0, "dominated", "B"),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_kind(a: float, b: float, ab: float, kind: str, dominant: str, sign: float) -> None:
    found = kinds(sign * a, sign * b, sign * ab)
    assert (found["kind"], found["dominant"], found["reason"]) == (kind, dominant, "")
    assert found["interaction"] == pytest.approx(sign * (ab - a - b), abs=0.4)


def test_few_cells_resolve_nothing() -> None:
    latents, labels = screen({"control": [0.0], "A": [1.0], "B": [1.0], "A+B": [2.0]}, n=10)
    found = interactions(latents, labels, "control").iloc[0]
    assert found["kind"] == "not resolvable"
    assert found["reason"] == "no interaction and one that matters are both possible"
    assert kinds(1.0, 1.0, 2.0, negligible=0.01)["kind"] == "not resolvable"


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Groups of unequal size and spread; 4,000 latents are as many independent screens."""
    rng = np.random.default_rng(1)
    sizes = {"control": 60, "A": 12, "B": 30, "A+B": 8}
    spreads = {"control": 1.0, "A": 3.0, "B": 0.5, "A+B": 2.0}
    shift_a, shift_b = rng.normal(size=(2, 4000))
    means = {"control": 0.0, "A": shift_a, "B": shift_b, "A+B": shift_a + shift_b}
    latents = np.concatenate(
        [means[g] + spreads[g] * rng.normal(size=(sizes[g], 4000)) for g in sizes]
    )
    labels = np.repeat(list(sizes), list(sizes.values()))
    found = interactions(latents, labels, "control")
    off_zero = ((found["lower"] > 0) | (found["upper"] < 0)).mean()
    # 4,000 draws: standard error .0034; Welch and Satterthwaite are approximate, so four of them
    assert off_zero == pytest.approx(0.05, abs=0.014)
    half = interactions(latents, labels, "control", level=0.5)
    assert ((half["lower"] > 0) | (half["upper"] < 0)).mean() == pytest.approx(0.5, abs=0.032)
    # nothing is there to be found: the false discovery rate is the chance of any call
    assert (interactions(latents, labels, "control", negligible=0.0)["q_value"] < 0.05).sum() <= 3


def test_the_numbers_are_those_of_their_formulas() -> None:
    latents, labels = screen({"control": [0.3], "A": [1.0], "B": [2.0], "A+B": [2.5]}, n=25)
    found = interactions(latents, labels, "control").iloc[0]
    groups = [latents[labels == label, 0] for label in ("control", "A", "B", "A+B")]
    zero, a, b, ab = (group.mean() for group in groups)
    expected = [a - zero, b - zero, a + b - 2 * zero, ab - zero, ab - a - b + zero]
    np.testing.assert_allclose(found[NUMBERS[:5]].tolist(), expected)
    error = np.sqrt(sum(group.var(ddof=1) / 25 for group in groups))
    assert found["standard_error"] == pytest.approx(error)
    assert found["upper"] - found["interaction"] == pytest.approx(
        found["interaction"] - found["lower"]
    )


def test_an_interaction_of_no_interest_is_not_called_however_many_cells() -> None:
    latents, labels = screen({"control": [0.0], "A": [0.0], "B": [0.0], "A+B": [0.3]}, n=20_000)
    found = interactions(latents, labels, "control").iloc[0]
    assert found["lower"] > 0.2
    assert found["kind"] == "additive"
    assert interactions(latents, labels, "control", negligible=0.1)["kind"][0] == "synergistic"


def test_two_groups_are_a_welch_test() -> None:
    """With control and B large and without spread the contrast is that of the two other groups."""
    rng = np.random.default_rng(2)
    a, ab = rng.normal(size=9), 1.0 + 3.0 * rng.normal(size=14)
    still = 1e-9 * rng.normal(size=2000)
    latents = np.concatenate([a, ab, still, still])[:, None]
    labels = np.repeat(["A", "A+B", "B", "control"], [9, 14, 2000, 2000])
    found = interactions(latents, labels, "control", negligible=0.0).iloc[0]
    expected = ttest_ind(ab, a, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found["q_value"] == pytest.approx(expected.pvalue, rel=1e-6)
    assert [found["lower"], found["upper"]] == pytest.approx([interval.low, interval.high])


@pytest.fixture
def mixed() -> tuple[np.ndarray, np.ndarray]:
    """Three doubles, four latents, all kinds."""
    rng = np.random.default_rng(3)
    labels = ["control", "A", "B", "C", "A+B", "A+C", "B+C"]
    return screen({label: rng.normal(0, 2, size=4).tolist() for label in labels}, n=60, seed=4)


def test_the_mixed_screen_has_kinds_enough(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    found = interactions(*mixed, "control")
    assert len(found) == 12
    assert set(found["kind"]) <= set(KINDS)
    assert found["kind"].nunique() >= 3


def test_the_order_of_a_label_changes_the_columns_alone(
    mixed: tuple[np.ndarray, np.ndarray],
) -> None:
    latents, labels = mixed
    swapped = np.array(["+".join(label.split("+")[::-1]) for label in labels])
    one, other = (
        interactions(latents, labels, "control"),
        interactions(latents, swapped, "control"),
    )
    other["perturbation"] = ["+".join(label.split("+")[::-1]) for label in other["perturbation"]]
    other = other.rename(columns={"a": "b", "b": "a"})[one.columns]
    keys = ["perturbation", "latent"]
    pd.testing.assert_frame_equal(
        one.sort_values(keys, ignore_index=True), other.sort_values(keys, ignore_index=True)
    )


def test_a_latent_turned_around_turns_signs_alone(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    one, other = (
        interactions(latents, labels, "control"),
        interactions(-latents, labels, "control"),
    )
    flipped = other.assign(lower=-other["upper"], upper=-other["lower"])
    flipped[NUMBERS[:5]] *= -1
    pd.testing.assert_frame_equal(one, flipped)


def test_the_unit_of_a_latent_does_not_matter(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    """Attenuated alike in all groups, as by a linear encoder: ratios, q-values and kinds stay."""
    latents, labels = mixed
    shrunk = latents * [0.3, 0.9, 1e-6, 1e6] + [5.0, 0.0, 0.0, 0.0]
    one, other = interactions(latents, labels, "control"), interactions(shrunk, labels, "control")
    assert one[["kind", "dominant", "reason"]].equals(other[["kind", "dominant", "reason"]])
    np.testing.assert_allclose(one["q_value"], other["q_value"], rtol=1e-6)
    np.testing.assert_allclose(
        one["interaction"] / one["expected"], other["interaction"] / other["expected"], rtol=1e-6
    )


def test_the_order_of_cells_does_not_matter(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    order = np.random.default_rng(5).permutation(len(labels))
    one = interactions(latents, labels, "control")
    pd.testing.assert_frame_equal(one, interactions(latents[order], labels[order], "control"))


def test_doubles_are_found_by_their_labels(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    more = np.concatenate([labels, ["A+B+C"] * 5, ["A+A"] * 5, ["A+control"] * 5])
    found = interactions(
        np.vstack([latents, np.ones((15, 4))]), more, "control", names=list("wxyz")
    )
    assert found["perturbation"].unique().tolist() == ["A+B", "A+C", "B+C"]
    assert found["latent"].tolist() == list("wxyz") * 3


def test_what_is_missing_is_named(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    keep = labels != "B"
    keep[np.flatnonzero(labels == "C")[1:]] = False
    found = interactions(latents[keep], labels[keep], "control")
    assert set(found["kind"]) == {"not resolvable"}
    reasons = found.groupby("perturbation")["reason"].agg(set).to_dict()
    assert reasons == {
        "A+B": {"no cells of B"},
        "A+C": {"1 cell of C"},
        "B+C": {"no cells of B; 1 cell of C"},
    }
    # what can be known is
    of_ab = found[found["perturbation"] == "A+B"]
    assert of_ab[["a", "observed"]].notna().all(axis=None)
    assert of_ab[["b", "interaction", "q_value"]].isna().all(axis=None)


def test_a_missing_single_leaves_the_other_doubles_alone(
    mixed: tuple[np.ndarray, np.ndarray],
) -> None:
    latents, labels = mixed
    keep = labels != "C"
    whole, less = (interactions(latents[k], labels[k], "control") for k in (labels != "", keep))
    one, other = (frame[frame["perturbation"] == "A+B"][NUMBERS] for frame in (whole, less))
    np.testing.assert_allclose(one, other)


def test_without_control_there_is_no_origin(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    for control, reason in ((None, "no control"), ("ctrl", "no cells of ctrl")):
        perturbed = labels != "control"
        found = interactions(latents[perturbed], labels[perturbed], control)
        assert set(found["kind"]) == {"not resolvable"}
        assert found["reason"].str.contains(reason).all()


@pytest.mark.filterwarnings("error")
def test_dead_latents_are_not_resolvable(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    latents[:, 1], latents[:, 2] = 0.1, 0.0
    found = interactions(latents, labels, "control").set_index("latent")
    assert set(found.loc[["z1", "z2"], "reason"]) == {"the latent does not vary"}
    assert set(found.loc[["z1", "z2"], "kind"]) == {"not resolvable"}
    assert found.loc[["z0", "z3"], "q_value"].notna().all()


@pytest.mark.filterwarnings("error")
def test_no_doubles_give_no_rows() -> None:
    latents, labels = screen({"control": [0.0], "A": [1.0]})
    found = interactions(latents, labels, "control")
    assert found.empty
    assert "kind" in found


def test_what_does_not_fit_is_refused(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    latents, labels = mixed
    with pytest.raises(OptionError, match="there are 419 labels and 4 names"):
        interactions(latents, labels[1:], "control")
    with pytest.raises(OptionError, match=r"1 of 420 cells are not finite"):
        interactions(np.where(latents == latents[0, 0], np.nan, latents), labels, "control")
    with pytest.raises(OptionError, match="level=95 must be between 0 and 1"):
        interactions(latents, labels, "control", level=95)
