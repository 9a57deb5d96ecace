import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from sparseshift.data.splits import Split, make_split
from sparseshift.errors import ScreenError

SIZES = {"ctrl": 21, "A": 10, "B": 9, "A+B": 4, "C": 2, "D": 30}
LABELS = np.repeat(list(SIZES), list(SIZES.values()))
CELLS = [f"cell{i}" for i in range(len(LABELS))]
LABEL_OF = dict(zip(CELLS, LABELS.tolist(), strict=True))


def split_of(**changes: Any) -> Split:
    """A split that holds two perturbations out, or what `changes` say."""
    given: dict[str, Any] = {"name": "s", "held_out": 2, "seed": 0, **changes}
    return make_split(CELLS, LABELS, given.pop("control", "ctrl"), **given)


def test_a_file_gives_the_split_back() -> None:
    split = split_of()
    text = json.dumps(split.to_json())
    assert Split.from_json(json.loads(text)) == split
    assert json.loads(text)["sha256"] == split.sha256
    assert len(split.sha256) == 64


@pytest.mark.parametrize("field", [*asdict(split_of()), "sha256"])
def test_any_change_of_a_file_is_refused(field: str) -> None:
    content = split_of(held_out=["A", "C"]).to_json()
    value = content[field]
    content[field] = value[:-1] if isinstance(value, list | str) else value + 1
    with pytest.raises(
        ScreenError, match=r"was changed after it was made.*Make it anew: kedro run"
    ):
        Split.from_json(content)


def test_a_file_without_hash_is_refused() -> None:
    content = split_of().to_json()
    del content["sha256"]
    with pytest.raises(ScreenError, match="not a split file"):
        Split.from_json(content)


def test_the_hash_is_of_the_content() -> None:
    split = split_of()
    assert replace(split).sha256 == split.sha256
    hashes = {split.sha256}
    hashes |= {replace(split, **{f: getattr(split, f)[1:]}).sha256 for f in ("support", "query")}
    hashes |= {replace(split, seed=1).sha256, replace(split, name="t").sha256}
    assert len(hashes) == 5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("held_out", [0, 1, 4, ["A+B"], ["C", "A", "C"]])
def test_every_cell_has_one_place(seed: int, held_out: int | list[str]) -> None:
    split = split_of(held_out=held_out, seed=seed)
    expected = held_out if isinstance(held_out, int) else len(set(held_out))
    assert len(split.held_out) == expected
    assert "ctrl" not in split.held_out
    of_held_out = {cell for cell in CELLS if LABEL_OF[cell] in split.held_out}
    assert set(split.support) | set(split.query) == of_held_out
    assert not set(split.support) & set(split.query)
    assert len(split.support) + len(split.query) == len(of_held_out)
    for label in split.held_out:
        for side in (split.support, split.query):
            assert any(LABEL_OF[cell] == label for cell in side)
    training = {cell for cell, t in zip(CELLS, split.is_training(CELLS, LABELS), strict=True) if t}
    assert training == set(CELLS) - of_held_out
    assert not set(split.control_a) & set(split.control_b)
    controls = {cell for cell in CELLS if LABEL_OF[cell] == "ctrl"}
    assert set(split.control_a) | set(split.control_b) == controls
    assert abs(len(split.control_a) - len(split.control_b)) <= 1


@pytest.mark.parametrize(
    ("fraction", "label", "n_support"),
    [(0.5, "A", 5), (0.2, "A", 2), (0.0, "A", 1), (1.0, "A", 9), (0.5, "C", 1), (0.9, "C", 1)],
)
def test_support_fraction(fraction: float, label: str, n_support: int) -> None:
    split = split_of(held_out=[label], support_fraction=fraction)
    assert len(split.support) == n_support
    assert len(split.query) == SIZES[label] - n_support


def test_seeds() -> None:
    assert split_of(seed=3) == split_of(seed=3)
    drawn = [split_of(seed=seed, held_out=["A", "D"]) for seed in range(4)]
    assert len({split.support for split in drawn}) == 4
    assert len({split.control_a for split in drawn}) == 4
    assert len({split_of(seed=seed).held_out for seed in range(20)}) > 3


def test_without_control_there_are_no_halves_and_any_label_may_be_drawn() -> None:
    split = split_of(control=None, held_out=["ctrl"])
    assert split.control_a == split.control_b == ()
    assert len(split.support) + len(split.query) == SIZES["ctrl"]


@pytest.mark.parametrize("number", [5, 6, 100, -1])
def test_too_many_are_refused(number: int) -> None:
    with pytest.raises(ScreenError, match=rf"{number} perturbations cannot be held out of 5"):
        split_of(held_out=number)


def test_all_by_name_are_refused() -> None:
    with pytest.raises(ScreenError, match="All perturbations are held out"):
        split_of(held_out=["A", "B", "A+B", "C", "D"])


def test_combinations_are_held_out_in_any_order_of_their_parts() -> None:
    assert split_of(held_out=["B+A"]) == split_of(held_out=["A+B"])
    assert split_of(held_out=[" B + A", "A+B"]) == split_of(held_out=["A+B"])


def test_unknown_names_are_listed_with_those_there_are() -> None:
    with pytest.raises(
        ScreenError, match=r"does not have: X, Y\. It has, for example, A, A\+B, B"
    ):
        split_of(held_out=["Y", "A", "X"])


def test_of_a_perturbation_of_one_cell_nothing_is_scored(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array(["ctrl", "ctrl", "A", "B", "B", "C"])
    split = make_split(list("vwxyzq"), labels, "ctrl", name="s", held_out=["A", "B"], seed=0)
    assert "the perturbation 'A' has 1 cell; one held out needs at least 2" in caplog.text
    assert split.held_out == ("A", "B")
    assert {*split.support, *split.query} == {"y", "z"}
    assert split.is_training(list("vwxyzq"), labels).tolist() == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_random_cells_of_every_perturbation_are_scored_instead_of_trained_on(seed: int) -> None:
    split = split_of(held_out=0, cells_fraction=0.25, seed=seed)
    assert split == split_of(held_out=0, cells_fraction=0.25, seed=seed)
    training = split.is_training(CELLS, LABELS)
    assert not training[np.isin(CELLS, split.query)].any()
    assert (~training).sum() == len(split.query)
    scored = {label: sum(LABEL_OF[cell] == label for cell in split.query) for label in SIZES}
    assert scored == {"ctrl": 0, "A": 2, "B": 2, "A+B": 1, "C": 1, "D": 8}
    assert split.support == ()


def test_random_cells_and_held_out_labels_go_together() -> None:
    split = split_of(held_out=["D"], cells_fraction=0.5)
    scored = {LABEL_OF[cell] for cell in split.query}
    assert scored == {"A", "B", "A+B", "C", "D"}
    assert {LABEL_OF[cell] for cell in split.support} == {"D"}
    assert not split.is_training(CELLS, LABELS)[
        np.isin(CELLS, [*split.query, *split.support])
    ].any()
