"""Supports of an n-shot curve: nested, apart from the query, and honest about what is impossible."""

import numpy as np
import pytest

from sparseshift.data.nested_supports import NestedSupports, nest_supports
from sparseshift.data.splits import Split, make_split
from sparseshift.errors import OptionError

SIZES = {"ctrl": 40, "A": 60, "B": 80, "C": 240, "D": 50, "E": 30, "F": 60}
NAMES = [f"{label}{i}" for label, n in SIZES.items() for i in range(n)]
LABELS = np.repeat(list(SIZES), list(SIZES.values()))


def split_of(*held_out: str) -> Split:
    """Half of each held-out perturbation's cells are support."""
    return make_split(NAMES, LABELS, "ctrl", name="half", held_out=held_out, seed=3)


@pytest.fixture(scope="module")
def split() -> Split:
    """Supports of 40, 120, 25 and 15 cells, queries of as many."""
    return split_of("B", "C", "D", "E")


@pytest.fixture(scope="module")
def nested(split: Split) -> NestedSupports:
    """With the usual settings."""
    return nest_supports(NAMES, LABELS, split)


def test_supports_are_nested_and_of_their_size(nested: NestedSupports) -> None:
    assert nested.sizes == (5, 10, 20, 50, 100)
    for draw in range(nested.n_draws):
        before: set[str] = set()
        for size in nested.sizes:
            cells = nested.support(size, draw)
            labels = [cell[0] for cell in cells]
            assert len(set(cells)) == len(cells) == size * len(nested.possible(size))
            assert {label: labels.count(label) for label in set(labels)} == dict.fromkeys(
                nested.possible(size), size
            )
            remaining = {cell for cell in before if cell[0] in nested.possible(size)}
            assert remaining <= set(cells)
            before = set(cells)


def test_support_is_support_and_query_is_all_of_the_query(
    nested: NestedSupports, split: Split
) -> None:
    assert set(nested.support_cells) <= set(split.support)
    assert set(nested.query_cells).isdisjoint(nested.support_cells)
    for label, cells in nested.query.items():
        assert set(cells) == {cell for cell in split.query if cell.startswith(label)}
    assert [cell[0] for cell in nested.query_cells] == nested.query_labels.tolist()


def test_what_is_impossible_is_named_with_the_reason(nested: NestedSupports) -> None:
    assert list(nested.query) == ["B", "C", "D"]
    assert nested.possible(5) == nested.possible(20) == ("B", "C", "D")
    assert nested.possible(50) == nested.possible(100) == ("C",)
    assert [str(line) for line in nested.impossible] == [
        "B: no support of 50, 100 cells, as the split gives it 40.",
        "D: no support of 50, 100 cells, as the split gives it 25.",
        "E: no support of 5, 10, 20, 50, 100 cells, as it has 15 query cells and 20 are needed.",
    ]


def test_sizes_that_nobody_has_are_not_tried(split: Split) -> None:
    nested = nest_supports(NAMES, LABELS, split, sizes=[200, 30, 7, 30])
    assert nested.sizes == (7, 30)
    lines = {line.perturbation: line.sizes for line in nested.impossible}
    assert lines == {"B": (200,), "C": (200,), "D": (30, 200), "E": (7, 30, 200)}


def test_draws_differ_and_come_from_the_seed(split: Split, nested: NestedSupports) -> None:
    again, other = (nest_supports(NAMES, LABELS, split, seed=seed) for seed in (0, 1))
    for label, order in nested.order.items():
        np.testing.assert_array_equal(order, again.order[label])
        assert not np.array_equal(order, other.order[label])
        assert len({tuple(row) for row in order}) == nested.n_draws == 10
        np.testing.assert_array_equal(nested.query[label], other.query[label])


def test_each_cell_is_as_likely_as_another_to_come_first(split: Split) -> None:
    nested = nest_supports(NAMES, LABELS, split, sizes=[5], n_draws=2000)
    _, counts = np.unique(nested.order["D"], return_counts=True)
    expected = 5 * 2000 / 25
    assert len(counts) == 25
    assert np.abs(counts - expected).max() < 5.0 * np.sqrt(expected)


def test_other_perturbations_and_the_order_of_cells_do_not_matter(
    split: Split, nested: NestedSupports
) -> None:
    shuffled = np.random.default_rng(0).permutation(len(NAMES))
    again = nest_supports(np.array(NAMES)[shuffled].tolist(), LABELS[shuffled], split)
    without = np.isin(LABELS, ["C"])
    alone = nest_supports(np.array(NAMES)[without].tolist(), LABELS[without], split)
    assert list(alone.order) == ["C"]
    np.testing.assert_array_equal(alone.order["C"], nested.order["C"])
    for label, order in nested.order.items():
        np.testing.assert_array_equal(order, again.order[label])


def test_cells_that_are_not_given_are_not_used(split: Split) -> None:
    gone = {*split.support[:12], *split.query[:12]}  # all of B
    left = np.array([name not in gone for name in NAMES])
    nested = nest_supports(np.array(NAMES)[left].tolist(), LABELS[left], split)
    assert gone.isdisjoint([*nested.support_cells, *nested.query_cells])
    assert len(nested.query["B"]) == 28
    assert "B: no support of 50, 100 cells, as the split gives it 28." in map(
        str, nested.impossible
    )


def test_the_largest_support_is_the_same_cells_in_every_draw(split: Split) -> None:
    nested = nest_supports(NAMES, LABELS, split, sizes=[40])
    drawn = {tuple(sorted(row)) for row in nested.order["B"]}
    assert len(drawn) == 1


def test_nothing_held_out_says_so() -> None:
    nested = nest_supports(NAMES, LABELS, split_of())
    assert nested.sizes == ()
    assert len(nested.query_cells) == len(nested.query_labels) == len(nested.support_cells) == 0
    assert [str(line) for line in nested.impossible] == [
        "every perturbation: no support of 5, 10, 20, 50, 100 cells, as the split 'half' holds out no "
        "perturbation."
    ]


def test_random_cells_of_trained_perturbations_have_no_support() -> None:
    split = make_split(
        NAMES, LABELS, "ctrl", name="cells", held_out=[], seed=0, cells_fraction=0.5
    )
    assert split.query
    assert not nest_supports(NAMES, LABELS, split).query


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": []}, "sizes is empty"),
        ({"sizes": [0, 5]}, "sizes=0 must be at least 1"),
        ({"sizes": [2.5]}, "sizes=2.5 must be a whole number"),
        ({"n_draws": 0}, "n_draws=0 must be at least 1"),
        ({"min_query": 0}, "min_query=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(
    settings: dict[str, list[int]], message: str, split: Split
) -> None:
    with pytest.raises(OptionError, match=message):
        nest_supports(NAMES, LABELS, split, **settings)  # type: ignore[arg-type]
